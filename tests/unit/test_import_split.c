/* Splits: those that the input names, and hold-outs that no query and no document straddles. */
#include "import_case.h"

#include <stdlib.h>

#include "tandem/dataset.h"
#include "tandem/qrels.h"

enum { ROWS = 200, DOCUMENTS = 40 };

/* ROWS pairs "query number I" -> "document number I % DOCUMENTS", forwards or backwards; `blanks`
 * gives every query a twin with other white space and another document. */
static const char *put_pairs(bool backwards, bool blanks)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    for (size_t n = 0; n < ROWS; n++) {
        size_t i = backwards ? ROWS - 1 - n : n;
        assert_int_equal(tandem_buffer_printf(&text, "query number %zu\tdocument number %zu\n", i, i % DOCUMENTS), 0);
        if (blanks) {
            assert_int_equal(tandem_buffer_printf(&text, " query  number %zu\tanother document of %zu\n", i, i), 0);
        }
    }
    const char *path = keep_file("pairs.tsv", text.data);
    tandem_buffer_free(&text);
    return path;
}

static tandem_import_options options_of(const char *const *path)
{
    return (tandem_import_options){
        .format = TANDEM_IMPORT_PAIRS, .sources = {path, 1}, .columns = "query=1,positive=2", .seed = 13};
}

/* The split of each "query number I", from the output: 'r' for train, 'd' for dev, 'e' for test, '-'
 * for none; with `document`, that of each "document number I". One in two splits fails. */
static void read_splits(char *splits, bool document)
{
    tandem_dataset *dataset = NULL;
    memset(splits, '-', ROWS);
    assert_int_equal(tandem_dataset_open(&dataset, in_folder("out")), 0);
    static const char *const names[] = {"train", "dev", "test"};
    static const char marks[] = "rde";
    for (size_t s = 0; s < 3; s++) {
        tandem_split *split = NULL;
        if (tandem_split_load(&split, dataset, names[s]) != 0) {
            continue;
        }
        for (size_t i = 0; i < split->count; i++) {
            const char *text = document ? dataset->corpus.items[split->queries[i].documents[0]].text
                                        : dataset->queries.items[split->queries[i].query].text;
            unsigned number;
            char word[16];
            if (sscanf(text, "%15s number %u", word, &number) == 2) {
                assert_true(splits[number] == '-' || splits[number] == marks[s]);
                splits[number] = marks[s];
            }
        }
        tandem_split_free(split);
    }
    tandem_dataset_free(dataset);
}

static size_t count_of(const char *splits, char wanted)
{
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++) {
        count += splits[i] == wanted;
    }
    return count;
}

static void run(const tandem_import_options *options, char *splits, bool document)
{
    tandem_import_report report;
    assert_int_equal(import(&report, options), 0);
    assert_int_equal(report.shared_queries, 0);
    tandem_import_report_free(&report);
    read_splits(splits, document);
}

static void by_query(void **state)
{
    (void)state;
    char splits[ROWS], again[ROWS];
    const char *path = put_pairs(false, false);
    tandem_import_options options = options_of(&path);
    options.test = 30;
    run(&options, splits, false);
    assert_int_equal(count_of(splits, 'e'), 30);
    assert_int_equal(count_of(splits, 'r'), ROWS - 30);
    options.test = 0.15; /* of 200 */
    run(&options, again, false);
    assert_memory_equal(splits, again, ROWS);
    options.dev = 20; /* does not move test */
    run(&options, again, false);
    assert_int_equal(count_of(again, 'd'), 20);
    for (size_t i = 0; i < ROWS; i++) {
        assert_true((splits[i] == 'e') == (again[i] == 'e'));
    }
    options.dev = 0;
    options.seed = 14;
    run(&options, again, false);
    assert_int_equal(count_of(again, 'e'), 30);
    assert_memory_not_equal(splits, again, ROWS);
    /* The order of the input does not matter. */
    options.seed = 13;
    path = put_pairs(true, false);
    run(&options, again, false);
    assert_memory_equal(splits, again, ROWS);
}

/* Queries that differ in white space alone go together: 200 families of two. */
static void same_texts(void **state)
{
    (void)state;
    char splits[ROWS];
    const char *path = put_pairs(false, true);
    tandem_import_options options = options_of(&path);
    options.test = 51; /* an odd number cannot be reached */
    run(&options, splits, false);
    assert_int_equal(count_of(splits, 'e'), 25);
    tandem_import_report report;
    assert_int_equal(import(&report, &options), 0);
    assert_int_equal(report.queries, 2 * ROWS);
    assert_string_equal(report.splits[0].name, "test");
    assert_int_equal(report.splits[0].queries, 50);
    tandem_import_report_free(&report);
}

/* Documents are counted, and their queries follow them. */
static void by_document(void **state)
{
    (void)state;
    char splits[ROWS], queries[ROWS], again[ROWS];
    const char *path = put_pairs(false, false);
    tandem_import_options options = options_of(&path);
    options.by_document = true;
    options.dev = 0.1;
    run(&options, splits, true);
    assert_int_equal(count_of(splits, 'd'), DOCUMENTS / 10);
    assert_int_equal(count_of(splits, 'r'), DOCUMENTS - DOCUMENTS / 10);
    read_splits(queries, false);
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(queries[i], splits[i % DOCUMENTS]);
    }
    path = put_pairs(true, false);
    run(&options, again, true);
    assert_memory_equal(splits, again, ROWS);
    /* A chain of shared documents is one family: here all of them, which nothing can hold. */
    path = keep_file("chain.tsv", "a\t1\na\t2\nb\t2\nb\t3\nc\t3\n");
    options.dev = 2;
    refuse(TANDEM_ERROR, &options, "--dev: 2 of 3 documents with judgments in \"train\" cannot be held out");
}

/* A held-out document is no negative of train, neither by its id nor by its text. */
static void negatives(void **state)
{
    (void)state;
    const char *path = keep_file("triples.tsv", "a\tone\ttwo\nb\ttwo\tone\nc\tthree\tfour\n");
    tandem_import_options options = options_of(&path);
    options.format = TANDEM_IMPORT_TRIPLES;
    options.columns = "query=1,positive=2,negative=3";
    options.by_document = true;
    options.test = 1;
    tandem_import_report report;
    size_t withheld = 0;
    for (options.seed = 0; options.seed < 20; options.seed++) { /* until "one" or "two" is held out */
        assert_int_equal(import(&report, &options), 0);
        assert_int_equal(report.negatives, 2 - report.withheld); /* one went with its query */
        withheld += report.withheld;
        tandem_import_report_free(&report);
    }
    assert_true(withheld > 0 && withheld < 20);
}

/* Splits of the input are kept; a text in two of them is reported, as two queries. */
static void own_splits(void **state)
{
    (void)state;
    char train[300], test[300];
    snprintf(train, sizeof train, "train=%s", keep_file("a.tsv", "up?\trise\ndown?\tfall\nleft?\tx\n"));
    snprintf(test, sizeof test, "test=%s", keep_file("b.tsv", "up?\tsoar\nfar?\tfall\n"));
    tandem_import_options options = {
        .format = TANDEM_IMPORT_PAIRS, .sources = PATHS(train, test), .columns = "query=1,positive=2"};
    tandem_import_report report;
    assert_int_equal(import(&report, &options), 0);
    assert_int_equal(report.shared_queries, 1);
    assert_int_equal(report.queries, 5);
    assert_int_equal(report.documents, 4); /* "fall" is one document */
    tandem_import_report_free(&report);
    assert_output("qrels/train.tsv", HEADER "q1\td1\t1\nq2\td2\t1\nq3\td3\t1\n");
    assert_output("qrels/test.tsv", HEADER "q4\td4\t1\nq5\td2\t1\n");
    options.dev = 1;
    assert_int_equal(import(&report, &options), 0);
    assert_int_equal(report.split_count, 3);
    tandem_import_report_free(&report);
    options.test = 1;
    refuse(TANDEM_USAGE, &options, "--test: the input has a split \"test\" of its own");
    options.test = 0;
    options.dev = 4;
    refuse(TANDEM_ERROR, &options, "--dev and --test take more than the 3 queries with judgments in \"train\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_query), cmocka_unit_test(same_texts), cmocka_unit_test(by_document),
        cmocka_unit_test(negatives), cmocka_unit_test(own_splits),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
