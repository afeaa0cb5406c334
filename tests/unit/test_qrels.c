/* Judgments: BEIR's tsv and TREC's four columns. */
#include "folder.h"

#include "tandem/qrels.h"

static tandem_qrels *read_text(const char *name, const char *text)
{
    tandem_qrels *qrels = NULL;
    assert_int_equal(tandem_qrels_read(&qrels, put_file(name, text)), 0);
    return qrels;
}

static void refuse(const char *name, const char *text, const char *message)
{
    tandem_qrels *qrels = NULL;
    assert_fails(tandem_qrels_read(&qrels, put_file(name, text)), message);
    assert_null(qrels);
}

/* The same judgments in every form: q10 before q2 (strcmp), documents in file order. */
static void check_four(tandem_qrels *qrels)
{
    assert_int_equal(tandem_qrels_count(qrels), 2);
    assert_string_equal(tandem_qrels_query(qrels, 0)->query_id, "q10");
    assert_string_equal(tandem_qrels_query(qrels, 1)->query_id, "q2");
    const tandem_judged_query *query = tandem_qrels_find(qrels, "q2");
    assert_ptr_equal(query, tandem_qrels_query(qrels, 1));
    assert_int_equal(query->count, 3);
    assert_string_equal(query->judgments[0].document_id, "d9");
    assert_int_equal(query->judgments[0].grade, 2);
    assert_string_equal(query->judgments[1].document_id, "d1");
    assert_int_equal(query->judgments[1].grade, -1);
    assert_string_equal(query->judgments[2].document_id, "d#3");
    assert_int_equal(query->judgments[2].grade, 0);
    assert_null(tandem_qrels_find(qrels, "q1"));
    tandem_qrels_free(qrels);
}

static void forms(void **state)
{
    (void)state;
    const char *rows = "q2\td9\t2\nq10\td9\t1\nq2\td1\t-1\r\nq2\td#3\t0";
    char text[256];
    snprintf(text, sizeof text, "query-id\tcorpus-id\tscore\n%s\n", rows);
    check_four(read_text("header.tsv", text));
    check_four(read_text("bare.tsv", rows)); /* the first row is no header */
    check_four(read_text("packed.tsv.zst", text));
    check_four(read_text("trec.qrels", "# comment\nq2 0 d9 2\nq10\t0\td9\t1\n\n q2  Q0 d1   -1 \nq2 0 d#3 0\n"));
}

/* BEIR's ids may hold spaces, and only the first line may be a header. */
static void tsv_details(void **state)
{
    (void)state;
    tandem_qrels *qrels = read_text("spaces.tsv", "a b\tc d\t1\n");
    assert_string_equal(tandem_qrels_query(qrels, 0)->query_id, "a b");
    assert_string_equal(tandem_qrels_query(qrels, 0)->judgments[0].document_id, "c d");
    tandem_qrels_free(qrels);
    qrels = read_text("empty.tsv", "query-id\tcorpus-id\tscore\n");
    assert_int_equal(tandem_qrels_count(qrels), 0);
    assert_null(tandem_qrels_find(qrels, "q"));
    tandem_qrels_free(qrels);
    refuse("two.tsv", "query-id\tcorpus-id\tscore\nquery-id\tcorpus-id\tscore\n",
           "two.tsv:2: expected an integer grade, found \"score\"");
}

static void malformed(void **state)
{
    (void)state;
    refuse("a.tsv", "q\td\t1\nq\td2\n", "a.tsv:2: expected 3 fields between tabs (query-id, corpus-id, score), found 2");
    refuse("b.tsv", "q\t0\td\t1\n",
           "b.tsv:1: expected 3 fields between tabs (query-id, corpus-id, score), found 4; TREC's 4 columns are read from a "
           "name that does not end in .tsv");
    refuse("c.qrels", "q 0 d 1 x\n", "c.qrels:1: expected 4 fields (query, iteration, document, grade), found 5");
    refuse("d.qrels", "q d 1\n",
           "d.qrels:1: expected 4 fields (query, iteration, document, grade), found 3; BEIR's 3 columns are read from a "
           "name that ends in .tsv");
    refuse("e.tsv", "q\td\t1.0\n", "e.tsv:1: expected an integer grade, found \"1.0\"");
    refuse("f.tsv", "q\td\t \n", "f.tsv:1: expected an integer grade, found \" \"");
    refuse("g.qrels", "q 0 d 99999999999\n", "g.qrels:1: grade 99999999999 is out of range");
    refuse("h.tsv", "\td\t1\n", "h.tsv:1: the query id is empty");
    refuse("i.tsv", "q\t\t1\n", "i.tsv:1: the document id is empty");
    refuse("j.tsv", "q\td\t1\nq2\td\t1\nq\td\t0\n", "j.tsv:3: query \"q\" and document \"d\" are judged a second time");
    refuse("k.tsv", "q\td\xff\t1\n", "k.tsv:1: at byte 4: invalid UTF-8");
    const char nul[] = "q\td\0x\t1\n";
    assert_int_equal(tandem_file_write(in_folder("l.tsv"), nul, sizeof nul - 1), 0);
    tandem_qrels *qrels;
    assert_fails(tandem_qrels_read(&qrels, in_folder("l.tsv")), "l.tsv:1: at byte 4: a NUL byte");
    assert_int_equal(tandem_qrels_read(&qrels, in_folder("none.tsv")), TANDEM_NOT_FOUND);
}

/* trec_eval's own test data: judgments of 3 topics, binary and graded, and of one. */
static void trec_eval_files(void **state)
{
    (void)state;
    const char *shared = getenv("TANDEM_SHARED");
    const char *names[] = {"qrels.test", "qrels.rel_level", "qrels-302.test"};
    const size_t topics[] = {3, 3, 1}, lines[] = {3681, 3681, 1061};
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/fixtures/trec_eval/test/%s", shared ? shared : "../shared", names[i]);
        if (!tandem_file_exists(path)) {
            skip();
        }
        tandem_qrels *qrels = NULL;
        assert_int_equal(tandem_qrels_read(&qrels, path), 0);
        size_t judgments = 0;
        for (size_t j = 0; j < tandem_qrels_count(qrels); j++) {
            judgments += tandem_qrels_query(qrels, j)->count;
        }
        assert_int_equal(tandem_qrels_count(qrels), topics[i]);
        assert_int_equal(judgments, lines[i]);
        tandem_qrels_free(qrels);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(tsv_details),
        cmocka_unit_test(malformed),
        cmocka_unit_test(trec_eval_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
