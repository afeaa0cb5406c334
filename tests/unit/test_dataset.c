/* Datasets: loading a BEIR folder, splits, and the check of every line. */
#include "folder.h"

#include "tandem/dataset.h"

/* A dataset folder/NAME with these files. */
static const char *put_dataset(const char *name, const char *corpus, const char *queries)
{
    char path[128];
    snprintf(path, sizeof path, "%s/corpus.jsonl", name);
    put_file(path, corpus);
    snprintf(path, sizeof path, "%s/queries.jsonl", name);
    put_file(path, queries);
    return in_folder(name);
}

static const char CORPUS[] =
    "{\"_id\": \"d1\", \"title\": \"Tides\", \"text\": \"rise and fall\"}\n"
    "{\"_id\": \"d2\", \"title\": \"\", \"text\": \" no title\\u3000\\n\", \"metadata\": {\"year\": 1}}\r\n"
    "\n"
    "{\"_id\": 3, \"text\": \"number\"}\n"
    "{\"_id\": \"d4\", \"title\": \"only a title\", \"text\": \"\"}\n";
static const char QUERIES[] = "{\"_id\": \"q2\", \"text\": \"tides?\"}\n{\"_id\": \"q1\", \"text\": \"numbers?\"}\n"
                              "{\"_id\": \"q3\", \"text\": \"nothing\"}\n";

static void loading(void **state)
{
    (void)state;
    tandem_dataset *dataset = NULL;
    assert_int_equal(tandem_dataset_open(&dataset, put_dataset("plain", CORPUS, QUERIES)), 0);
    const tandem_text *documents = dataset->corpus.items;
    assert_int_equal(dataset->corpus.count, 4);
    assert_string_equal(documents[0].text, "Tides rise and fall");
    assert_string_equal(documents[1].text, "no title"); /* U+3000 is white space to str.strip() */
    assert_int_equal(documents[1].length, strlen("no title"));
    assert_string_equal(documents[2].id, "3");
    assert_string_equal(documents[3].text, "only a title");
    size_t index = 99;
    assert_true(tandem_strmap_find(dataset->queries.by_id, "q1", 2, &index));
    assert_int_equal(index, 1);
    tandem_hash hash = dataset->hash;
    tandem_dataset_free(dataset);

    /* The same content compressed is the same dataset; another byte is another. */
    tandem_dir_remove(in_folder("packed"));
    put_file("packed/corpus.jsonl.zst", CORPUS);
    put_file("packed/queries.jsonl.zst", QUERIES);
    assert_int_equal(tandem_dataset_open(&dataset, in_folder("packed")), 0);
    assert_true(tandem_hash_equal(dataset->hash, hash));
    tandem_dataset_free(dataset);
    assert_int_equal(tandem_dataset_open(&dataset, put_dataset("other", CORPUS, "{\"_id\": \"q\", \"text\": \"x\"}")), 0);
    assert_false(tandem_hash_equal(dataset->hash, hash));
    tandem_dataset_free(dataset);
}

/* What Python's str.strip() removes, at both ends and not inside. */
static void white_space(void **state)
{
    (void)state;
    tandem_arena *arena = tandem_arena_new();
    tandem_texts texts;
    const char *line = "{\"_id\": \"a\", \"text\": \"\\u001f\\u0085\\u00a0\\u1680\\u2003\\u2028\\u202f\\u205f x\\u2028y "
                       "\\u200b\\u00a0\\t\"}\n";
    assert_int_equal(tandem_texts_read(&texts, arena, put_file("white.jsonl", line)), 0);
    assert_string_equal(texts.items[0].text, "x\xe2\x80\xa8y \xe2\x80\x8b"); /* U+200B is no white space */
    tandem_texts_free(&texts);
    tandem_arena_free(arena);
}

static void refuse(const char *corpus, const char *queries, const char *message)
{
    tandem_dataset *dataset = NULL;
    assert_fails(tandem_dataset_open(&dataset, put_dataset("bad", corpus, queries)), message);
    assert_null(dataset);
}

static void malformed(void **state)
{
    (void)state;
    const char *good = "{\"_id\": \"a\", \"text\": \"x\"}\n";
    tandem_dataset *dataset = NULL;
    refuse("{\"_id\": \"a\", \"text\": \"x\"}\n{\"_id\": \"a\", \"text\": \"y\"}\n", good,
           "bad/corpus.jsonl:2: duplicate _id \"a\"");
    refuse("\n{\"_id\": \"a\", \"text\" \"x\"}\n", good, "bad/corpus.jsonl:2: at byte 21: invalid JSON");
    refuse("[1]\n", good, "bad/corpus.jsonl:1: expected a JSON object");
    refuse("{\"text\": \"x\"}\n", good, "bad/corpus.jsonl:1: \"_id\" is missing: expected a string");
    refuse("{\"_id\": \"\", \"text\": \"x\"}\n", good, "bad/corpus.jsonl:1: \"_id\" is empty");
    refuse("{\"_id\": 1.5, \"text\": \"x\"}\n", good, "bad/corpus.jsonl:1: \"_id\": expected an integer, found 1.5");
    refuse("{\"_id\": 9007199254740993, \"text\": \"x\"}\n", good,
           "bad/corpus.jsonl:1: \"_id\": expected an integer, found 9007199254740992");
    refuse("{\"_id\": [], \"text\": \"x\"}\n", good, "bad/corpus.jsonl:1: \"_id\": expected a string, found an array");
    refuse("{\"_id\": \"a\"}\n", good, "bad/corpus.jsonl:1: \"text\" is missing: expected a string");
    refuse("{\"_id\": \"a\", \"text\": \"x\", \"title\": 1}\n", good,
           "bad/corpus.jsonl:1: \"title\": expected a string, found a number");
    refuse("{\"_id\": \"a\", \"text\": \"x\xffy\"}\n", good, "bad/corpus.jsonl:1: at byte 24: invalid UTF-8");
    refuse("{\"_id\": \"a\", \"text\": \"x\\u0000y\"}\n", good,
           "bad/corpus.jsonl:1: at byte 24: the character U+0000 is not supported in strings");
    refuse("{\"_id\": \"a\", \"text\": \"x\"} {}\n", good, "bad/corpus.jsonl:1: at byte 27: expected the end after the JSON value");
    refuse("", good, "bad/corpus.jsonl: no line with a text");
    refuse(good, "\n \n", "bad/queries.jsonl: no line with a text");
    tandem_dir_remove(in_folder("bad"));
    put_file("bad/corpus.jsonl", good);
    assert_fails(tandem_dataset_open(&dataset, in_folder("bad")), "bad/queries.jsonl: no such file, nor with .zst");
    assert_fails(tandem_dataset_open(&dataset, in_folder("nowhere")),
                 "nowhere: no such directory; a dataset is a folder with corpus.jsonl and queries.jsonl");
}

static void splits(void **state)
{
    (void)state;
    tandem_dataset *dataset = NULL;
    tandem_split *split = NULL;
    put_dataset("split", CORPUS, QUERIES);
    /* q3 has no relevant document; q9 and d9 do not exist: 2 + 1 judgments are missing. */
    put_file("split/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\t3\t1\nq2\td4\t0\nq2\td2\t2\nq2\td9\t1\nq2\td1\t1\n"
                                     "q3\td1\t0\nq9\td1\t1\nq9\td9\t1\n");
    put_file("split/qrels/train.tsv.zst", "q1\td1\t1\n");
    assert_int_equal(tandem_dataset_open(&dataset, in_folder("split")), 0);
    assert_int_equal(tandem_split_load(&split, dataset, "test"), 0);
    assert_int_equal(split->count, 2);
    assert_int_equal(split->pairs, 3);
    assert_int_equal(split->missing, 3);
    assert_int_equal(split->queries[0].query, 0); /* q2: the order of queries.jsonl */
    assert_int_equal(split->queries[0].count, 2);
    assert_int_equal(split->queries[0].documents[0], 1);
    assert_int_equal(split->queries[0].grades[0], 2);
    assert_int_equal(split->queries[0].documents[1], 0);
    assert_int_equal(split->queries[1].query, 1);
    assert_int_equal(split->queries[1].documents[0], 2);
    tandem_split_free(split);
    assert_int_equal(tandem_split_load(&split, dataset, "train"), 0);
    assert_int_equal(split->pairs, 1);
    tandem_split_free(split);
    assert_int_equal(tandem_split_load(&split, dataset, "dev"), TANDEM_NOT_FOUND);
    assert_message("split: no split \"dev\" (qrels/dev.tsv); there are: test, train");
    tandem_dataset_free(dataset);
}

/* ---- check ------------------------------------------------------------------------- */
static void assert_problem(const tandem_dataset_report *report, size_t index, const char *where, const char *code, const char *message)
{
    static const char *const errors[] = {"invalid-line", "duplicate-id", "empty-text", "invalid-judgment", "unknown-id",
                                         "query-in-two-splits", "no-file", "unreadable-file", "no-text"};
    assert_true(index < report->problem_count);
    const tandem_problem *problem = &report->problems[index];
    char place[256];
    snprintf(place, sizeof place, problem->line > 0 ? "%s:%zu" : "%s", problem->file, problem->line);
    assert_string_equal(place, where);
    assert_string_equal(problem->code, code);
    assert_string_equal(problem->message, message);
    bool error = false;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        error = error || strcmp(errors[i], code) == 0;
    }
    assert_int_equal(problem->error, error);
}

static void check_finds_errors(void **state)
{
    (void)state;
    put_dataset("check",
                "{\"_id\": \"d1\", \"text\": \"one\"}\n"
                "not json\n"
                "{\"_id\": \"d3\", \"text\": \"\xc3(\"}\n"
                "{\"_id\": \"d1\", \"text\": \"again\"}\n"
                "{\"_id\": \"d5\", \"text\": \" \"}\n"
                "{\"_id\": \"d 6\", \"text\": \"one\"}\n",
                "{\"_id\": \"q1\", \"text\": \"one\"}\n"
                "{\"_id\": \"q2\", \"text\": \"two\"}\n"
                "{\"_id\": \"q3\", \"text\": \"two\"}\n");
    put_file("check/qrels/dev.tsv", "query-id\tcorpus-id\tscore\nq2\td5\t0\n");
    put_file("check/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq3\td9\t1\nq9\td1\t1\nq1\td1\nq1\td1\t1\n");
    put_file("check/qrels/train.tsv", "q1\td1\t1\nq1\td5\t1\n");
    tandem_dataset_report report;
    assert_int_equal(tandem_dataset_check(&report, in_folder("check"), NULL, 0), 0);
    size_t next = 0;
    assert_problem(&report, next++, "corpus.jsonl:2", "invalid-line", "at byte 1: invalid JSON");
    assert_problem(&report, next++, "corpus.jsonl:3", "invalid-line", "at byte 24: invalid UTF-8");
    assert_problem(&report, next++, "corpus.jsonl:4", "duplicate-id", "duplicate _id \"d1\" (first on line 1)");
    assert_problem(&report, next++, "corpus.jsonl:5", "empty-text", "_id \"d5\" has an empty text");
    assert_problem(&report, next++, "corpus.jsonl:6", "space-in-id", "_id \"d 6\" holds white space, which TREC run files cannot hold");
    assert_problem(&report, next++, "corpus.jsonl:6", "duplicate-text", "_id \"d 6\" has the text of \"d1\" (line 1)");
    assert_problem(&report, next++, "queries.jsonl:1", "query-is-document", "_id \"q1\" has the text of document \"d1\" (line 1)");
    assert_problem(&report, next++, "queries.jsonl:3", "duplicate-text", "_id \"q3\" has the text of \"q2\" (line 2)");
    assert_problem(&report, next++, "qrels/dev.tsv", "no-relevant", "no judgment with a grade of 1 or more");
    assert_problem(&report, next++, "qrels/test.tsv:3", "text-in-two-splits", "query \"q3\" has the text of \"q2\", judged in split \"dev\"");
    assert_problem(&report, next++, "qrels/test.tsv:3", "unknown-id", "document \"d9\" is not in corpus.jsonl");
    assert_problem(&report, next++, "qrels/test.tsv:4", "unknown-id", "query \"q9\" is not in queries.jsonl");
    assert_problem(&report, next++, "qrels/test.tsv:5", "invalid-judgment",
                   "expected 3 fields between tabs (query-id, corpus-id, score), found 2");
    assert_problem(&report, next++, "qrels/test.tsv:6", "invalid-judgment", "query \"q1\" and document \"d1\" are judged a second time");
    assert_problem(&report, next++, "qrels/train.tsv:1", "query-in-two-splits", "query \"q1\" is judged in split \"test\" too");
    assert_int_equal(report.problem_count, next);
    assert_int_equal(report.errors, 9);
    assert_int_equal(report.warnings, 6);
    assert_int_equal(report.documents, 3);
    assert_int_equal(report.queries, 3);
    assert_int_equal(report.split_count, 3);
    assert_string_equal(report.splits[1].name, "test");
    assert_int_equal(report.splits[1].queries, 3);
    assert_int_equal(report.splits[1].judgments, 3);
    assert_int_equal(report.splits[1].relevant, 3);
    tandem_dataset_report_free(&report);
}

static void check_finds_oddities(void **state)
{
    (void)state;
    char corpus[2048];
    snprintf(corpus, sizeof corpus,
             "\xEF\xBB\xBF{\"_id\": \"d1\", \"text\": \"bell\\u0007 and\\u0081 tab\\t\"}\n"
             "{\"_id\": \"d2\", \"text\": \"caf\xEF\xBF\xBD\"}\r\n"
             "{\"_id\": \"%0513d\", \"text\": \"long id\"}\r\n"
             "{\"_id\": \"%0512d\", \"text\": \"not  CAF\xC3\x89\\n!\"}\n"
             "{\"_id\": \"d5\", \"title\": \"not\", \"text\": \"caf\xC3\xA9 !\"}\n", 1, 2);
    put_dataset("odd", corpus,
                "{\"_id\": \"q1\", \"text\": \"A  B\"}\n{\"_id\": \"q2\", \"text\": \"a b\"}\n{\"_id\": \"q3\", \"text\": \"a\\u00a0b\"}\n"
                "{\"_id\": \"q4\", \"text\": \"c\"}\n{\"_id\": \"q5\", \"text\": \"d\"}\n{\"_id\": \"q6\", \"text\": \"e\"}\n");
    put_file("odd/qrels/dev.tsv", "\xEF\xBB\xBFquery-id\tcorpus-id\tscore\nq2\td1\t1\nq2\td2\t-1\nq4\td1\t30\n");
    put_file("odd/qrels/test.tsv", "q3\td1\t31\r\nq5\td1\t1\r\n");
    tandem_dataset_report report;
    assert_int_equal(tandem_dataset_check(&report, in_folder("odd"), NULL, 0), 0);
    size_t next = 0;
    assert_problem(&report, next++, "corpus.jsonl:1", "byte-order-mark", "a byte order mark; not every reader passes over it");
    assert_problem(&report, next++, "corpus.jsonl:1", "control-character", "_id \"d1\" holds the control character U+0007");
    assert_problem(&report, next++, "corpus.jsonl:2", "crlf", "the line ends in CR LF; not every reader drops the CR");
    assert_problem(&report, next++, "corpus.jsonl:2", "replacement-character",
                   "_id \"d2\" holds U+FFFD, which stands for what a conversion could not read");
    assert_problem(&report, next++, "corpus.jsonl:3", "long-id", "the _id has 513 bytes; search engines take 512");
    char same[640];
    snprintf(same, sizeof same, "_id \"d5\" has the text of \"%0512d\" (line 4)", 2);
    assert_problem(&report, next++, "corpus.jsonl:5", "duplicate-text", same);
    assert_problem(&report, next++, "queries.jsonl:2", "duplicate-text", "_id \"q2\" has the text of \"q1\" (line 1)");
    assert_problem(&report, next++, "queries.jsonl:3", "duplicate-text", "_id \"q3\" has the text of \"q1\" (line 1)");
    assert_problem(&report, next++, "qrels/dev.tsv:1", "byte-order-mark", "a byte order mark; not every reader passes over it");
    assert_problem(&report, next++, "qrels/dev.tsv:3", "odd-grade", "grade -1 is negative; it counts as not relevant");
    assert_problem(&report, next++, "qrels/test.tsv:1", "crlf", "the line ends in CR LF; not every reader drops the CR");
    /* q1, the first of this text, is judged in no split: q2 is. */
    assert_problem(&report, next++, "qrels/test.tsv:1", "text-in-two-splits", "query \"q3\" has the text of \"q2\", judged in split \"dev\"");
    assert_problem(&report, next++, "qrels/test.tsv:1", "odd-grade", "grade 31 is above 30");
    assert_problem(&report, next++, "queries.jsonl:1", "unjudged-query", "_id \"q1\" is judged in no split");
    assert_problem(&report, next++, "queries.jsonl:6", "unjudged-query", "_id \"q6\" is judged in no split");
    assert_int_equal(report.problem_count, next);
    assert_int_equal(report.errors, 0);
    assert_int_equal(report.warnings, next);
    assert_int_equal(report.splits[0].judgments, 3); /* the header behind the mark is one */
    tandem_dataset_report_free(&report);
}

/* Lengths by nearest rank, and the limit on problems of one kind. */
static void check_counts(void **state)
{
    (void)state;
    tandem_buffer corpus = TANDEM_BUFFER_INIT;
    for (int i = 1; i <= 200; i++) {
        tandem_buffer_printf(&corpus, "{\"_id\": \"%d\", \"text\": \"%0*d\"}\n", i, i, 1);
    }
    for (int i = 0; i < 150; i++) {
        tandem_buffer_puts(&corpus, "{\n");
    }
    tandem_buffer_puts(&corpus, "{\"_id\": \"e\", \"text\": \"\"}\n");
    put_dataset("counts", corpus.data, QUERIES);
    tandem_buffer_free(&corpus);
    tandem_dataset_report report;
    assert_int_equal(tandem_dataset_check(&report, in_folder("counts"), NULL, 0), 0);
    assert_int_equal(report.errors, 151);
    assert_int_equal(report.warnings, 1);
    assert_int_equal(report.problem_count, TANDEM_PROBLEM_LIMIT + 2);
    assert_problem(&report, TANDEM_PROBLEM_LIMIT, "corpus.jsonl:351", "empty-text", "_id \"e\" has an empty text");
    assert_problem(&report, TANDEM_PROBLEM_LIMIT + 1, "qrels", "no-split", "no split: no file qrels/NAME.tsv");
    assert_string_equal(report.kinds[0].code, "invalid-line");
    assert_int_equal(report.kinds[0].count, 150);
    /* 201 lengths: 0 .. 200; rank ceil(201 p / 100), from 1. */
    const size_t expected[8] = {0, 10, 50, 100, 150, 190, 198, 200};
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(report.document_length[i], expected[i]);
    }
    tandem_dataset_report_free(&report);
}

static void check_missing_files(void **state)
{
    (void)state;
    tandem_dataset_report report;
    assert_int_equal(tandem_dir_make(in_folder("hollow")), 0);
    assert_int_equal(tandem_dataset_check(&report, in_folder("hollow"), NULL, 0), 0);
    assert_problem(&report, 0, "corpus.jsonl", "no-file", "no such file, nor with .zst");
    assert_problem(&report, 1, "queries.jsonl", "no-file", "no such file, nor with .zst");
    tandem_dataset_report_free(&report);
    /* Half a zstd file: what can be read is, and the rest is told. */
    char *packed;
    size_t size;
    put_dataset("half", CORPUS, QUERIES);
    put_file("whole.zst", CORPUS);
    FILE *stream = fopen(in_folder("whole.zst"), "rb");
    packed = malloc(4096);
    size = fread(packed, 1, 4096, stream);
    fclose(stream);
    assert_int_equal(remove(in_folder("half/corpus.jsonl")), 0);
    stream = fopen(in_folder("half/corpus.jsonl.zst"), "wb");
    assert_int_equal(fwrite(packed, 1, size / 2, stream), size / 2);
    fclose(stream);
    free(packed);
    assert_int_equal(tandem_dataset_check(&report, in_folder("half"), NULL, 0), 0);
    assert_true(report.errors >= 1);
    assert_string_equal(report.problems[0].file, "corpus.jsonl");
    assert_string_equal(report.problems[0].code, "unreadable-file");
    tandem_dataset_report_free(&report);
    assert_fails(tandem_dataset_check(&report, in_folder("nowhere"), NULL, 0),
                 "nowhere: no such directory; a dataset is a folder with corpus.jsonl and queries.jsonl");
}

/* ---- SciFact ---------------------------------------------------------------------------- */
/* The numbers that BEIR gives for SciFact: 5,183 documents, 809 training and 300 test queries. */
static void scifact(void **state)
{
    (void)state;
    const char *shared = getenv("TANDEM_SHARED");
    char command[1024], path[512];
    snprintf(path, sizeof path, "%s/data/beir-scifact/scifact.zip", shared ? shared : "../shared");
    snprintf(command, sizeof command, "unzip -q %s -d %s/real", path, folder);
    if (!tandem_file_exists(path) || system("command -v unzip >/dev/null") != 0) {
        skip();
    }
    assert_int_equal(system(command), 0);
    tandem_dataset *dataset = NULL;
    tandem_split *split = NULL;
    assert_int_equal(tandem_dataset_open(&dataset, in_folder("real/scifact")), 0);
    assert_int_equal(dataset->corpus.count, 5183);
    assert_int_equal(dataset->queries.count, 1109);
    const size_t queries[2] = {809, 300}, pairs[2] = {919, 339};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(tandem_split_load(&split, dataset, i == 0 ? "train" : "test"), 0);
        assert_int_equal(split->count, queries[i]);
        assert_int_equal(split->pairs, pairs[i]);
        assert_int_equal(split->missing, 0);
        tandem_split_free(split);
    }
    tandem_dataset_free(dataset);
    tandem_dataset_report report;
    assert_int_equal(tandem_dataset_check(&report, in_folder("real/scifact"), NULL, 0), 0);
    assert_int_equal(report.errors, 0);
    tandem_dataset_report_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading),
        cmocka_unit_test(white_space),
        cmocka_unit_test(malformed),
        cmocka_unit_test(splits),
        cmocka_unit_test(check_finds_errors),
        cmocka_unit_test(check_finds_oddities),
        cmocka_unit_test(check_counts),
        cmocka_unit_test(check_missing_files),
        cmocka_unit_test(scifact),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
