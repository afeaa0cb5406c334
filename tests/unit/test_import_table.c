/* Pairs, triples and labelled pairs, in every layout of rows. */
#include "import_case.h"

#define ONE_PAIR_CORPUS                                                                                                \
    "{\"_id\": \"d1\", \"title\": \"\", \"text\": \"rise\"}\n{\"_id\": \"d2\", \"title\": \"\", \"text\": \"fall\"}\n"
#define ONE_PAIR_QUERIES "{\"_id\": \"q1\", \"text\": \"up?\"}\n{\"_id\": \"q2\", \"text\": \"down?\"}\n"

static tandem_import_options pairs(const char *const *path, const char *columns)
{
    return (tandem_import_options){.format = TANDEM_IMPORT_PAIRS, .sources = {path, 1}, .columns = columns};
}

/* The same three rows in every layout: two queries, two documents, three judgments. */
static void layouts(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *columns, *record;
        tandem_table_layout layout;
        char separator;
    } cases[] = {
        {"p.tsv", "query\tpositive\nup?\trise\ndown?\tfall\nup?\tfall\n", NULL, NULL, TANDEM_LAYOUT_AUTO, 0},
        {"p.tsv.zst", "x\tup?\trise\nx\tdown?\tfall\ty\nx\tup?\tfall\n", "query=2,positive=3", NULL, TANDEM_LAYOUT_AUTO,
         0},
        {"p.csv", "a,q\r\nrise,up?\r\n\"fall\",down?\r\nfall,\"up?\"\r\n", "query=q,document=a", NULL,
         TANDEM_LAYOUT_AUTO, 0},
        {"p.dat", "a;q\nrise;up?\n\"fall\";down?\nfall;\"up?\"\n", "query=q,document=a", NULL, TANDEM_LAYOUT_CSV, ';'},
        {"p.jsonl", "{\"q\": \"up?\", \"p\": \"rise\", \"x\": 1}\n\n{\"p\": \"fall\", \"q\": [\"down?\", \"up?\"]}\n",
         "query=q,positive=p", NULL, TANDEM_LAYOUT_AUTO, 0},
        {"p.json",
         "[\n{\"q\": \"up?\", \"p\": [\"rise\", {\"text\": \"fall\"}]},\n{\"q\": \"down?\", \"p\": \"fall\"}]",
         "query=q,positive=p", NULL, TANDEM_LAYOUT_AUTO, 0},
        {"p.xml",
         "<?xml version='1.0'?><all><pair q='up?'><p>\nrise\n</p><n>x</n></pair><pair "
         "q='down?'><P>fa<b>ll</b></P></pair>\n<pair q='up?'><p><![CDATA[fall]]></p></pair></all>",
         "query=pair@q,positive=p", "pair", TANDEM_LAYOUT_AUTO, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = keep_file(cases[i].name, cases[i].text);
        tandem_import_options options = pairs(&path, cases[i].columns);
        options.layout = cases[i].layout;
        options.separator = cases[i].separator;
        options.record = cases[i].record;
        tandem_import_report report;
        assert_int_equal(import(&report, &options), 0);
        assert_output("corpus.jsonl", ONE_PAIR_CORPUS);
        assert_output("queries.jsonl", ONE_PAIR_QUERIES);
        char *data;
        size_t size;
        assert_int_equal(tandem_file_read(&data, &size, in_folder("out/qrels/train.tsv")), 0);
        assert_non_null(strstr(data, HEADER "q1\td1\t1\nq1\td2\t1\nq2\td2\t1\n"));
        free(data);
        assert_int_equal(report.splits[0].judgments, 3);
        tandem_import_report_free(&report);
    }
}

/* Ids and titles of columns and of objects; a document that comes again must be the same. */
static void ids(void **state)
{
    (void)state;
    const char *path = keep_file(
        "ids.jsonl",
        "{\"qid\": 7, \"q\": \"up?\", \"docs\": [{\"docid\": \"a\", \"title\": \"T\", \"text\": \"rise\"}, {\"_id\": "
        "3, \"text\": \"fall\"}]}\n"
        "{\"qid\": \"x\", \"q\": \"up?\", \"docs\": {\"id\": \"a\", \"title\": \"T\", \"text\": \"rise\"}}\n");
    tandem_import_options options = pairs(&path, "query-id=qid,query=q,positive=docs");
    tandem_import_report report;
    assert_int_equal(import(&report, &options), 0);
    tandem_import_report_free(&report);
    assert_output("corpus.jsonl", "{\"_id\": \"a\", \"title\": \"T\", \"text\": \"rise\"}\n{\"_id\": \"3\", \"title\": "
                                  "\"\", \"text\": \"fall\"}\n");
    assert_output("queries.jsonl", "{\"_id\": \"7\", \"text\": \"up?\"}\n{\"_id\": \"x\", \"text\": \"up?\"}\n");
    assert_output("qrels/train.tsv", HEADER "7\ta\t1\n7\t3\t1\nx\ta\t1\n");
    path = keep_file("ids.tsv", "1\tup?\td\tTitle\trise\n2\tdown?\td\tTitle\tfall\n");
    options = pairs(&path, "query-id=1,query=2,document-id=3,title=4,document=5");
    refuse(TANDEM_ERROR, &options, "ids.tsv:2: the id \"d\" came before with another text");
    path = keep_file("ids.tsv", "\tup?\tx\n");
    options = pairs(&path, "query-id=1,query=2,document=3");
    refuse(TANDEM_ERROR, &options, "ids.tsv:1: the id is empty");
    path = keep_file("ids.jsonl", "{\"query\": \"a\", \"positive\": {\"text\": \"b\"}}\n{\"query\": \"c\", "
                                  "\"positive\": {\"id\": \"5\", \"text\": \"d\"}}\n");
    options = pairs(&path, NULL);
    refuse(TANDEM_ERROR, &options, "ids.jsonl:2: an id, where those before have none");
    path = keep_file("ids.jsonl", "{\"query\": \"a\", \"positive\": {\"id\": \"x\\ty\", \"text\": \"b\"}}\n");
    refuse(TANDEM_ERROR, &options, "ids.jsonl:1: an id that holds a tab or a line end, which qrels cannot hold");
}

/* Rows of one query are one group; negatives in the order of the rows; a positive is no negative. */
static void triples(void **state)
{
    (void)state;
    const char *path =
        keep_file("t.jsonl", "{\"query\": \"up?\", \"positive\": \"rise\", \"negative\": [\"moon\", \"fall\"]}\n"
                             "{\"query\": \"down?\", \"positive\": \"fall\", \"negative\": []}\n"
                             "{\"query\": \"up?\", \"positive\": \"soar\", \"negative\": [\"rise\", \"moon\", \" \"]}\n"
                             "{\"query\": \" \", \"positive\": \"lonely\", \"negative\": \"x\"}\n");
    tandem_import_options options = pairs(&path, NULL);
    options.format = TANDEM_IMPORT_TRIPLES;
    options.compress = true;
    tandem_import_report report;
    assert_int_equal(import(&report, &options), 0);
    assert_output("qrels/train.tsv.zst", HEADER "q1\td1\t1\nq1\td4\t1\nq2\td3\t1\n");
    assert_output("groups.jsonl.zst",
                  "{\"query_id\": \"q1\", \"query\": \"up?\", \"positives\": [{\"id\": \"d1\", \"text\": \"rise\"}, "
                  "{\"id\": \"d4\", \"text\": \"soar\"}], "
                  "\"negatives\": [{\"id\": \"d2\", \"text\": \"moon\"}, {\"id\": \"d3\", \"text\": \"fall\"}]}\n"
                  "{\"query_id\": \"q2\", \"query\": \"down?\", \"positives\": [{\"id\": \"d3\", \"text\": \"fall\"}], "
                  "\"negatives\": []}\n");
    assert_int_equal(report.empty, 2); /* a negative and a query */
    assert_int_equal(report.lost, 3);
    assert_int_equal(report.groups, 2);
    assert_int_equal(report.negatives, 2);
    tandem_import_report_free(&report);
    path = keep_file("t.tsv", "a\tb\tc\td\n");
    options = pairs(&path, "query=1,positive=2,negative=3,negative=4");
    refuse(TANDEM_USAGE, &options, "--columns: this format takes no column negative");
    options.format = TANDEM_IMPORT_TRIPLES;
    assert_int_equal(import(&report, &options), 0);
    assert_int_equal(report.negatives, 2);
    tandem_import_report_free(&report);
}

/* Grades are whole parts, at least 1; what is below the threshold is a negative, and of what is
 * judged twice the highest grade is kept. */
static void labelled(void **state)
{
    (void)state;
    const char *path = keep_file("l.tsv", "up?\trise\t4.8\nup?\tsoar\t0.75\nup?\tfall\t0.4\ndown?\trise\t0\nup?"
                                          "\trise\t2\nup?\tblank\t\ndown?\tfall\t1e10\n");
    tandem_import_options options = {.format = TANDEM_IMPORT_LABELLED,
                                     .sources = {&path, 1},
                                     .columns = "query=1,document=2,label=3",
                                     .min_label = 0.5};
    tandem_import_report report;
    assert_int_equal(import(&report, &options), 0);
    assert_output("qrels/train.tsv", HEADER "q1\td1\t4\nq1\td2\t1\nq2\td3\t2147483647\n");
    assert_output("groups.jsonl.zst", "{\"query_id\": \"q1\", \"query\": \"up?\", \"positives\": [{\"id\": \"d1\", "
                                      "\"text\": \"rise\"}, {\"id\": \"d2\", \"text\": \"soar\"}], "
                                      "\"negatives\": [{\"id\": \"d3\", \"text\": \"fall\"}]}\n"
                                      "{\"query_id\": \"q2\", \"query\": \"down?\", \"positives\": [{\"id\": \"d3\", "
                                      "\"text\": \"fall\"}], \"negatives\": [{\"id\": \"d1\", \"text\": \"rise\"}]}\n");
    assert_int_equal(report.repeated, 1);
    assert_int_equal(report.unlabelled, 1);
    tandem_import_report_free(&report);
    path = keep_file("l.tsv", "a\tb\t1\nc\td\tnan\n");
    refuse(TANDEM_ERROR, &options, "l.tsv:2: expected a number as the label, found \"nan\"");
    path =
        keep_file("l.jsonl", "{\"q\": \"a\", \"d\": \"b\", \"l\": true}\n{\"q\": \"a\", \"d\": \"c\", \"l\": 3.5}\n");
    options.columns = "query=q,document=d,label=l";
    assert_int_equal(import(&report, &options), 0);
    assert_output("qrels/train.tsv", HEADER "q1\td1\t1\nq1\td2\t3\n");
    tandem_import_report_free(&report);
}

static void malformed(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *columns, *message;
    } cases[] = {
        {"a.tsv", "query\tanswer\nx\ty\n", NULL,
         "a.tsv:1: no column \"positive\"; the first row has \"query\", \"answer\""},
        {"b.tsv", "query\tpositive\nx\n", NULL, "b.tsv:2: expected 2 fields, as in the first row, found 1"},
        {"c.tsv", "a\tb\na\n", "query=1,positive=2", "c.tsv:2: expected at least 2 fields, found 1"},
        {"d.csv", "", NULL, "d.csv: empty: expected a first row with the names of the columns"},
        {"e.jsonl", "{\"query\": \"x\"}\n", NULL, "e.jsonl:1: no document"},
        {"f.jsonl", "{\"query\": \"x\", \"positive\": [[\"y\"]]}\n", NULL,
         "f.jsonl:1: \"positive\": expected a text, an object with \"text\", or an array of them"},
        {"g.jsonl", "{\"query\": \"x\", \"positive\": \"y\", \"i\": [\"1\", \"2\"]}\n",
         "query=query,positive=positive,query-id=i", "g.jsonl:1: 2 query ids for 1 queries"},
        {"h.json", "[{\"query\": \"x\", \"positive\": \"y\"}, 3]", NULL, "h.json: item 2: expected a JSON object"},
        {"i.json", "{}", NULL, "i.json: expected a JSON array of objects"},
        {"j.tsv", "query\tpositive\n \ty\n", NULL, "no query with a text was found"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = keep_file(cases[i].name, cases[i].text);
        tandem_import_options options = pairs(&path, cases[i].columns);
        refuse(TANDEM_ERROR, &options, cases[i].message);
    }
    const char *path = keep_file("k.xml", "<r>\n<p><query>x</query>\n<p>");
    tandem_import_options options = pairs(&path, NULL);
    refuse(TANDEM_USAGE, &options, "k.xml: XML needs --record, the element that is a row");
    options.record = "p";
    refuse(TANDEM_ERROR, &options, "k.xml:2: the <p> that begins here is not closed");
    path = keep_file("k.txt", "");
    refuse(TANDEM_USAGE, &options,
           "k.txt: the name does not end in .tsv, .csv, .jsonl, .json or .xml: --layout says what it is");
    options.columns = "query=1,positive=a,b";
    refuse(TANDEM_USAGE, &options, "--columns: expected up to 64 ROLE=COLUMN between commas, found \"b\"");
    options.columns = "query=1,answer=2";
    refuse(TANDEM_USAGE, &options,
           "--columns: no role \"answer\"; there are query, positive, negative, document, label, query-id, "
           "positive-id, negative-id, document-id and title");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts),  cmocka_unit_test(ids),       cmocka_unit_test(triples),
        cmocka_unit_test(labelled), cmocka_unit_test(malformed),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
