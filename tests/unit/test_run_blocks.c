/* test_run_blocks.c - run files of many blocks, which several threads parse: the same run and the same message wherever
 * the file is cut, and in as many threads as there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "folder.h"
#include "tandem/memory.h"
#include "tandem/openmp.h"
#include "tandem/run.h"

/* Lines of some 30 bytes: with blocks of 128 KiB the file has ten. */
enum { LINES = 40000, QUERIES = 50, LONGEST = 48 };

/* Queries come in turns of 900 lines, which no block's end agrees with, so that most come back; there are runs of
 * single lines too. */
static size_t query_of(size_t line)
{
    return line % 5000 < 300 ? line % 7 : line / 900 % QUERIES;
}

static double score_of(size_t line)
{
    return (double)(line * 7919 % 1000) / 8;
}

typedef struct {
    size_t line;
    const char *text; /* in place of what is there; \1 stands for a NUL */
} change;

static const char *changed(const change *changes, size_t count, size_t line)
{
    for (size_t i = 0; i < count; i++) {
        if (changes[i].line == line) {
            return changes[i].text;
        }
    }
    return NULL;
}

static void put_line(tandem_buffer *text, size_t line)
{
    if (line % 1000 == 0) {
        assert_int_equal(tandem_buffer_puts(text, line % 2000 == 0 ? "# between" : "  "), 0);
    } else {
        assert_int_equal(tandem_buffer_printf(text, "query%zu Q0 document%zu %zu %.3f run%zu", query_of(line), line,
                                              line, score_of(line), line), 0);
    }
}

/* The first line is a comment of `shift` bytes; the last one lacks its end. */
static void make_lines(tandem_buffer *text, size_t shift, const char *end, const change *changes, size_t count)
{
    tandem_buffer_clear(text);
    assert_int_equal(tandem_buffer_printf(text, "#%*s", (int)shift, ""), 0);
    for (size_t line = 1; line <= LINES; line++) {
        const char *other = changed(changes, count, line);
        assert_int_equal(tandem_buffer_puts(text, line == 1 ? "" : end), 0);
        if (other) {
            assert_int_equal(tandem_buffer_puts(text, other), 0);
        } else if (line > 1) {
            put_line(text, line);
        }
    }
    for (char *at = text->data; (at = strchr(at, '\1'));) {
        *at = '\0';
        at++;
    }
}

/* The same results without a file. */
static tandem_run *make_expected(void)
{
    static char documents[LINES + 1][16];
    static tandem_result results[LINES];
    tandem_run *run;
    assert_int_equal(tandem_run_new(&run, "run39999"), 0);
    for (size_t q = 0; q < QUERIES; q++) {
        char id[16];
        size_t count = 0;
        snprintf(id, sizeof id, "query%zu", q);
        for (size_t i = 2; i <= LINES; i++) {
            if (i % 1000 != 0 && query_of(i) == q) {
                snprintf(documents[i], sizeof documents[i], "document%zu", i);
                results[count++] = (tandem_result){documents[i], score_of(i)};
            }
        }
        if (count > 0) {
            assert_int_equal(tandem_run_add(run, id, results, count), 0);
        }
    }
    return run;
}

static void assert_same(const tandem_run *run, const tandem_run *expected)
{
    assert_string_equal(tandem_run_name(run), tandem_run_name(expected));
    assert_int_equal(tandem_run_count(run), tandem_run_count(expected));
    for (size_t q = 0; q < tandem_run_count(run); q++) {
        const tandem_ranking *a = tandem_run_ranking(run, q), *b = tandem_run_ranking(expected, q);
        assert_string_equal(a->query_id, b->query_id);
        assert_int_equal(a->count, b->count);
        for (size_t i = 0; i < a->count; i++) {
            assert_string_equal(a->results[i].document_id, b->results[i].document_id);
            assert_true(a->results[i].score == b->results[i].score);
        }
    }
}

static int read_bytes(tandem_run **out, const tandem_buffer *text)
{
    assert_int_equal(tandem_file_write(in_folder("run"), text->data, text->length), 0);
    return tandem_run_read(out, in_folder("run"));
}

static void test_a_file_is_the_same_wherever_it_is_cut(void **state)
{
    (void)state;
    tandem_buffer text = TANDEM_BUFFER_INIT;
    tandem_run *run, *expected = make_expected();
    int threads = omp_get_max_threads();
    for (size_t shift = 0; shift < LONGEST; shift++) {
        make_lines(&text, shift, shift % 2 ? "\r\n" : "\n", NULL, 0);
        omp_set_num_threads(1 + (int)shift % 4);
        assert_int_equal(read_bytes(&run, &text), 0);
        assert_same(run, expected);
        tandem_run_free(run);
    }
    omp_set_num_threads(threads);
    tandem_run_free(expected);
    tandem_buffer_free(&text);
}

/* The first of these lines is named, however many threads meet how many of them at once. */
static void refuses(const change *changes, size_t count, const char *message)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    tandem_run *run;
    int threads = omp_get_max_threads();
    make_lines(&text, 0, "\n", changes, count);
    for (int t = 1; t <= 4; t++) {
        omp_set_num_threads(t);
        assert_fails(read_bytes(&run, &text), message);
        assert_null(run);
    }
    omp_set_num_threads(threads);
    tandem_buffer_free(&text);
}

static void test_the_first_wrong_line_is_named(void **state)
{
    (void)state;
    static const size_t places[] = {2, 4500, 4501, 17777, 39999, LINES};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char message[128];
        change changes[] = {{places[i], "q Q0 d 1 high r"}, {places[i] + 1, "q Q0 d 1 1\1 r"}, {places[i] + 9000, "q"}};
        snprintf(message, sizeof message, "run:%zu: expected a finite number as the score, found 'high'", places[i]);
        refuses(changes, 3, message);
        changes[0].text = "q Q0 d\1 1 1 r";
        snprintf(message, sizeof message, "run:%zu: a NUL byte", places[i]);
        refuses(changes, 3, message);
        changes[0].text = "q Q0 d";
        snprintf(message, sizeof message, "run:%zu: expected 'query Q0 document rank score name', found 3 fields",
                 places[i]);
        refuses(changes, 3, message);
    }
}

static void test_a_document_that_comes_again_far_away(void **state)
{
    (void)state;
    /* Query 3 comes first: in a later query a document is twice at an earlier place. */
    refuses((const change[]){{39001, "query3 Q0 document3 1 0 r"}, {1500, "query1 Q0 document1000 1 0 r"},
                             {1501, "query1 Q0 document1000 1 0 r"}, {20000, "query3 Q0 document10 1 0 r"}},
            4, "run:20000: document 'document10' of query 'query3' is in line 10 already");
}

/* Longer than a block: an id, and a comment after the line that names the run. */
static void test_lines_longer_than_a_block(void **state)
{
    (void)state;
    enum { LENGTH = 300000 };
    tandem_buffer text = TANDEM_BUFFER_INIT;
    tandem_run *run;
    char *id = tandem_alloc(LENGTH + 1, 1);
    assert_non_null(id);
    memset(id, 'd', LENGTH);
    assert_int_equal(tandem_buffer_printf(&text, "\xEF\xBB\xBFq Q0 a 1 3 r\nq Q0 %s 1 2 r\nq Q0 b 1 1 last\n#%s\n\n#%s",
                                          id, id, id), 0);
    assert_int_equal(read_bytes(&run, &text), 0);
    assert_int_equal(tandem_run_count(run), 1);
    assert_string_equal(tandem_run_name(run), "last");
    const tandem_ranking *ranking = tandem_run_find(run, "q");
    assert_non_null(ranking);
    assert_int_equal(ranking->count, 3);
    assert_string_equal(ranking->results[0].document_id, "a");
    assert_string_equal(ranking->results[1].document_id, id);
    assert_string_equal(ranking->results[2].document_id, "b");
    tandem_run_free(run);
    assert_int_equal(tandem_buffer_puts(&text, "\nq Q0 c 1 1\n"), 0);
    assert_fails(read_bytes(&run, &text), "run:7: expected 'query Q0 document rank score name', found 5 fields");
    free(id);
    tandem_buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_is_the_same_wherever_it_is_cut),
        cmocka_unit_test(test_the_first_wrong_line_is_named),
        cmocka_unit_test(test_a_document_that_comes_again_far_away),
        cmocka_unit_test(test_lines_longer_than_a_block),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
