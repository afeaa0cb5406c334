/* test_run.c - runs in memory and TREC run files. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "folder.h"
#include "tandem/run.h"

static int read_text(tandem_run **out, const char *text)
{
    const char *path = in_folder("run.txt");
    assert_int_equal(tandem_file_write(path, text, strlen(text)), 0);
    return tandem_run_read(out, path);
}

static void refuses(const char *text, const char *message)
{
    tandem_run *run;
    assert_int_equal(read_text(&run, text), TANDEM_ERROR);
    assert_null(run);
    if (!strstr(tandem_error_message(), message)) {
        fail_msg("expected '%s' in '%s'", message, tandem_error_message());
    }
}

static void order_is(const tandem_ranking *ranking, const char *const *ids, size_t count)
{
    assert_non_null(ranking);
    assert_int_equal(ranking->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(ranking->results[i].document_id, ids[i]);
    }
}

static void test_order_comes_from_the_score(void **state)
{
    (void)state;
    tandem_run *run;
    assert_int_equal(read_text(&run, "q2 Q0 d1 1 0.5 first\n"
                                     "q1 Q0 a 9 1 first\n"
                                     "q2\tQ0\td9  1\t 2.5 first\n"
                                     "\n"
                                     "# a comment\n"
                                     "q1 Q0 b#4 1 1e1 last more fields here"),
                     0);
    assert_int_equal(tandem_run_count(run), 2);
    assert_string_equal(tandem_run_name(run), "last");
    assert_string_equal(tandem_run_ranking(run, 0)->query_id, "q1");
    assert_string_equal(tandem_run_ranking(run, 1)->query_id, "q2");
    order_is(tandem_run_find(run, "q1"), (const char *[]){"b#4", "a"}, 2);
    order_is(tandem_run_find(run, "q2"), (const char *[]){"d9", "d1"}, 2);
    assert_null(tandem_run_find(run, "q3"));
    tandem_run_free(run);
}

static void test_ties_go_by_document_id_descending(void **state)
{
    (void)state;
    tandem_run *run;
    /* 1.0 and 1.00000001 are a tie in float, not in double. */
    assert_int_equal(read_text(&run, "q Q0 d1 0 2 r\nq Q0 d10 0 2 r\nq Q0 d9 0 2 r\n"
                                     "q Q0 z 0 1.0 r\nq Q0 a 0 1.00000001 r\nq Q0 m 0 -0 r\nq Q0 n 0 0 r\n"),
                     0);
    order_is(tandem_run_find(run, "q"), (const char *[]){"d9", "d10", "d1", "a", "z", "n", "m"}, 7);
    tandem_run_free(run);
}

static void test_scores_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    static const char *const scores[] = {"inf", "-inf", "Infinity", "nan", "-NaN", "1e999"};
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++) {
        char text[64], message[64];
        snprintf(text, sizeof text, "q Q0 a 0 1 r\nq Q0 b 0 %s r\n", scores[i]);
        snprintf(message, sizeof message, "run.txt:2: expected a finite number as the score, found '%s'", scores[i]);
        refuses(text, message);
    }
}

/* Short decimals are read without strtod: the same doubles must come out, the sign of zero too. */
static void test_scores_are_read_as_strtod_reads_them(void **state)
{
    (void)state;
    static const char *const scores[] = {"0.1", "-0", "-0.0", "12.345678", "999999999999999", "0.000000000000001",
                                         "123456789012345", "1234567890123456", "0.30000000000000004", "5.", ".5", "-.25",
                                         "+3", "1e-3", "-2.5E+2", "0x1p3", "00000000000000000001.5", "179.769313486231"};
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++) {
        char text[64];
        tandem_run *run;
        double expected = strtod(scores[i], NULL);
        snprintf(text, sizeof text, "q Q0 a 0 %s r\n", scores[i]);
        assert_int_equal(read_text(&run, text), 0);
        assert_memory_equal(&tandem_run_ranking(run, 0)->results[0].score, &expected, sizeof expected);
        tandem_run_free(run);
    }
    refuses("q Q0 a 1 . r\n", "found '.'");
    refuses("q Q0 a 1 1.2.3 r\n", "found '1.2.3'");
    refuses("q Q0 a 1 - r\n", "found '-'");
}

static void test_malformed_lines_are_named(void **state)
{
    (void)state;
    refuses("q Q0 a 1 abc r\n", "run.txt:1: expected a finite number as the score, found 'abc'");
    refuses("q Q0 a 1 1 r\n\nq Q0 b 1 nan r\n", "run.txt:3: expected a finite number as the score, found 'nan'");
    refuses("q Q0 a 1 1.5x r\n", "found '1.5x'");
    refuses("q Q0 a 1 1 r\nq Q0 b 1 1\n", "run.txt:2: expected 'query Q0 document rank score name', found 5 fields");
    refuses("q\n", "run.txt:1: expected 'query Q0 document rank score name', found 1 field");
    refuses("q Q0 a 1 1 r\np Q0 a 1 1 r\nq Q0 b 1 1 r\nq Q0 a 1 9 r\n",
            "run.txt:4: document 'a' of query 'q' is in line 1 already");
    tandem_run *run;
    assert_int_equal(tandem_run_read(&run, in_folder("absent")), TANDEM_NOT_FOUND);
    const char nul[] = "q Q0 a 1 1 r\nq Q0 b\0 1 1 r\n";
    assert_int_equal(tandem_file_write(in_folder("nul"), nul, sizeof nul - 1), 0);
    assert_int_equal(tandem_run_read(&run, in_folder("nul")), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "nul:2: a NUL byte"));
}

static void test_an_empty_file_is_an_empty_run(void **state)
{
    (void)state;
    tandem_run *run;
    assert_int_equal(read_text(&run, ""), 0);
    assert_int_equal(tandem_run_count(run), 0);
    tandem_run_free(run);
}

/* Bytes of a double: the sign of zero counts. */
static uint64_t bits(double value)
{
    uint64_t out;
    memcpy(&out, &value, sizeof out);
    return out;
}

static void check_scores_survive(const char *name)
{
    static const double scores[] = {1.0 / 3.0, 0.1, DBL_MAX, -DBL_MAX,   DBL_MIN,  4.9e-324, 12345678.9,
                                    -0.0,      1e22, 0.7,     (double)0.7f, 100};
    enum { COUNT = sizeof scores / sizeof *scores };
    tandem_result results[COUNT];
    char ids[COUNT][8];
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(ids[i], sizeof ids[i], "d%02zu", i);
        results[i] = (tandem_result){ids[i], scores[i]};
    }
    tandem_run *run, *again;
    const char *path = in_folder(name);
    assert_int_equal(tandem_run_new(&run, "a name"), 0);
    assert_int_equal(tandem_run_add(run, "q", results, COUNT), 0);
    assert_int_equal(tandem_run_add(run, "empty", NULL, 0), 0);
    assert_int_equal(tandem_run_write(run, path), 0);
    assert_int_equal(tandem_run_read(&again, path), 0);
    assert_string_equal(tandem_run_name(again), "a-name");
    assert_int_equal(tandem_run_count(again), 1);
    const tandem_ranking *ranking = tandem_run_find(again, "q"), *before = tandem_run_find(run, "q");
    assert_int_equal(ranking->count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        size_t which = (size_t)strtoul(ranking->results[i].document_id + 1, NULL, 10);
        assert_true(bits(ranking->results[i].score) == bits(scores[which]));
        assert_string_equal(ranking->results[i].document_id, before->results[i].document_id);
    }
    tandem_run_free(run);
    tandem_run_free(again);
}

static void test_scores_survive_a_file_bit_for_bit(void **state)
{
    (void)state;
    check_scores_survive("scores.trec");
    check_scores_survive("scores.trec.zst");
}

static void test_the_file_has_trec_columns(void **state)
{
    (void)state;
    tandem_run *run;
    char *text;
    size_t size;
    assert_int_equal(tandem_run_new(&run, "tag"), 0);
    assert_int_equal(tandem_run_add(run, "q2", (tandem_result[]){{"x", 0.25}, {"y", 3}}, 2), 0);
    assert_int_equal(tandem_run_add(run, "q1", (tandem_result[]){{"z", 1e-7}}, 1), 0);
    assert_int_equal(tandem_run_write(run, in_folder("columns")), 0);
    assert_int_equal(tandem_file_read(&text, &size, in_folder("columns")), 0);
    assert_string_equal(text, "q1 Q0 z 1 1e-07 tag\nq2 Q0 y 1 3 tag\nq2 Q0 x 2 0.25 tag\n");
    free(text);
    tandem_run_free(run);
}

static void test_adding_refuses_what_is_no_ranking(void **state)
{
    (void)state;
    tandem_run *run;
    assert_int_equal(tandem_run_new(&run, "r"), 0);
    assert_int_equal(tandem_run_add(run, "b", (tandem_result[]){{"x", 1}}, 1), 0);
    assert_int_equal(tandem_run_add(run, "b", (tandem_result[]){{"x", 1}}, 1), TANDEM_ERROR);
    assert_int_equal(tandem_run_add(run, "c", (tandem_result[]){{"x", 1}, {"x", 2}}, 2), TANDEM_ERROR);
    assert_int_equal(tandem_run_add(run, "c", (tandem_result[]){{"x", NAN}}, 1), TANDEM_ERROR);
    assert_int_equal(tandem_run_add(run, "c", (tandem_result[]){{"x", -INFINITY}}, 1), TANDEM_ERROR);
    assert_int_equal(tandem_run_add(run, "a", (tandem_result[]){{"x", 1}, {"y", 1}}, 2), 0);
    assert_int_equal(tandem_run_count(run), 2);
    assert_string_equal(tandem_run_ranking(run, 0)->query_id, "a");
    order_is(tandem_run_find(run, "a"), (const char *[]){"y", "x"}, 2);
    tandem_run_free(run);
}

static void test_ids_that_columns_cannot_hold(void **state)
{
    (void)state;
    static const struct {
        const char *query, *document;
    } cases[] = {{"a b", "d"}, {"", "d"}, {"#q", "d"}, {"q", "a\tb"}, {"q", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tandem_run *run;
        const char *path = in_folder("unwritten");
        assert_int_equal(tandem_run_new(&run, "r"), 0);
        assert_int_equal(tandem_run_add(run, cases[i].query, (tandem_result[]){{cases[i].document, 1}}, 1), 0);
        assert_int_equal(tandem_run_write(run, path), TANDEM_ERROR);
        assert_false(tandem_file_exists(path));
        tandem_run_free(run);
    }
}

static void test_hits_become_a_run(void **state)
{
    (void)state;
    tandem_text queries[] = {{"q0", "", 0}, {"q1", "", 0}, {"q2", "", 0}};
    tandem_text documents[] = {{"a", "", 0}, {"b", "", 0}, {"c", "", 0}};
    tandem_hits hits = {.queries = 2, .k = 2, .documents = (uint32_t[]){2, 0, 1, 0},
                        .scores = (float[]){0.5f, 0.25f, 0.1f, 0}, .counts = (uint32_t[]){2, 1}};
    tandem_run *run;
    assert_int_equal(tandem_run_from_hits(&run, "r", &hits, queries, (uint32_t[]){2, 0}, documents), 0);
    assert_int_equal(tandem_run_count(run), 2);
    order_is(tandem_run_find(run, "q2"), (const char *[]){"c", "a"}, 2);
    order_is(tandem_run_find(run, "q0"), (const char *[]){"b"}, 1);
    assert_true(tandem_run_find(run, "q0")->results[0].score == (double)0.1f);
    tandem_run_free(run);
    assert_int_equal(tandem_run_from_hits(&run, "r", &hits, queries, NULL, documents), 0);
    assert_non_null(tandem_run_find(run, "q1"));
    tandem_run_free(run);
    assert_int_equal(tandem_run_from_hits(&run, "r", &hits, queries, (uint32_t[]){1, 1}, documents), TANDEM_ERROR);
    assert_null(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_comes_from_the_score),
        cmocka_unit_test(test_ties_go_by_document_id_descending),
        cmocka_unit_test(test_scores_that_are_not_finite_are_refused),
        cmocka_unit_test(test_scores_are_read_as_strtod_reads_them),
        cmocka_unit_test(test_malformed_lines_are_named),
        cmocka_unit_test(test_an_empty_file_is_an_empty_run),
        cmocka_unit_test(test_scores_survive_a_file_bit_for_bit),
        cmocka_unit_test(test_the_file_has_trec_columns),
        cmocka_unit_test(test_adding_refuses_what_is_no_ranking),
        cmocka_unit_test(test_ids_that_columns_cannot_hold),
        cmocka_unit_test(test_hits_become_a_run),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
