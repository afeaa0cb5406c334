/* Collections whose texts have ids: BEIR, TREC, SMART, MS MARCO, SQuAD; and what is refused. */
#include "import_case.h"

#include "tandem/dataset.h"

static void beir(void **state)
{
    (void)state;
    put_file("beir/corpus.jsonl",
             "{\"_id\": \"d 1\", \"title\": \"T \", \"text\": \"a\\tb\\u00e9\", \"metadata\": {}}\n\n"
             "{\"_id\": 7, \"text\": \" \"}\n{\"_id\": \"d 1\", \"title\": \"T\", \"text\": \"a b\\u00e9\"}\n{\"_id\": "
             "\"x\\\\\\\"\", \"text\": \"a b\"}\n");
    put_file("beir/queries.jsonl.zst",
             "{\"_id\": \"q1\", \"text\": \"what?\"}\n{\"_id\": \"q2\", \"text\": \"who?\"}\n");
    put_file("beir/qrels/test.tsv", HEADER "q2\tx\\\"\t2\nq2\td 1\t0\nq1\t7\t1\n");
    put_file("beir/qrels/dev.tsv.zst", "q1\td 1\t-1\n");
    tandem_import_options options = {.format = TANDEM_IMPORT_BEIR, .sources = PATHS(keep(in_folder("beir")))};
    tandem_import_report report;
    assert_int_equal(import(&report, &options), 0);
    assert_output("corpus.jsonl", "{\"_id\": \"d 1\", \"title\": \"T \", \"text\": \"a\\tb\xC3\xA9\"}\n{\"_id\": "
                                  "\"x\\\\\\\"\", \"title\": \"\", \"text\": \"a b\"}\n");
    assert_output("queries.jsonl", "{\"_id\": \"q1\", \"text\": \"what?\"}\n{\"_id\": \"q2\", \"text\": \"who?\"}\n");
    assert_output("qrels/test.tsv", HEADER "q2\tx\\\"\t2\nq2\td 1\t0\n");
    assert_output("qrels/dev.tsv", HEADER "q1\td 1\t-1\n");
    assert_output("groups.jsonl.zst", NULL);
    assert_int_equal(report.documents, 2);
    assert_int_equal(report.joined_documents, 1); /* the same but for white space */
    assert_int_equal(report.empty, 1);
    assert_int_equal(report.lost, 1); /* the judgment of the empty one */
    assert_int_equal(report.split_count, 2);
    assert_string_equal(report.splits[0].name, "dev");
    assert_int_equal(report.splits[1].judgments, 2);
    assert_int_equal(report.splits[1].queries, 1);
    tandem_import_report_free(&report);
    /* Compressed, it is the same dataset. */
    options.compress = true;
    tandem_dataset *plain = NULL, *packed = NULL;
    assert_int_equal(tandem_dataset_open(&plain, in_folder("out")), 0);
    assert_int_equal(import(&report, &options), 0);
    tandem_import_report_free(&report);
    assert_output("corpus.jsonl", NULL);
    assert_output("queries.jsonl", NULL);
    assert_output("qrels/dev.tsv.zst", HEADER "q1\td 1\t-1\n");
    assert_int_equal(tandem_dataset_open(&packed, in_folder("out")), 0);
    assert_true(tandem_hash_equal(plain->hash, packed->hash));
    tandem_dataset_free(plain);
    tandem_dataset_free(packed);
}

/* Documents in the form of the TREC disks, topics in that of TREC 1 and of later ones. */
static void trec(void **state)
{
    (void)state;
    put_file("trec/b",
             "<DOC>\n<DOCNO> AP-1 </DOCNO>\n<HEAD>Tides &amp; moons</HEAD>\n<DATE>1</DATE>\n<TEXT>\n<P>rise</P><P>and "
             "fall\n</TEXT>\n<TEXT>3 < 4</TEXT>\n</DOC>\n");
    put_file("trec/a/x.gz", "<doc><docno>LA-2</docno><date>1990</date> no text element "
                            "</doc>\n<doc><docno>E</docno><date>1</date><text> </text></doc>");
    put_file("trec/.hidden", "<doc>");
    const char *topics = keep_file("topics", "<top>\n<head> Tipster\n<num> Number:  051\n<title> Topic:  "
                                             "Rising\nwater\n\n<desc> Description:\nWhat rises?\n</top>\n");
    const char *xml = keep_file(
        "topics.xml", "<topics><topic number=\"q-2\"><title>falls</title><desc>what falls?</desc></topic></topics>");
    const char *qrels = keep_file("qrels", "51 0 AP-1 2\n51 0 LA-2 0\nq-2 0 LA-2 1\n51 0 E 1\n");
    tandem_import_options options = {.format = TANDEM_IMPORT_TREC,
                                     .documents = PATHS(keep(in_folder("trec"))),
                                     .queries = PATHS(topics, xml),
                                     .qrels = PATHS(qrels)};
    tandem_import_report report;
    assert_int_equal(import(&report, &options), 0);
    tandem_import_report_free(&report);
    assert_output("corpus.jsonl",
                  "{\"_id\": \"LA-2\", \"title\": \"\", \"text\": \"1990  no text element\"}\n"
                  "{\"_id\": \"AP-1\", \"title\": \"Tides & moons\", \"text\": \"rise  and fall\\n 3 < 4\"}\n");
    assert_output("queries.jsonl",
                  "{\"_id\": \"51\", \"text\": \"Rising\\nwater\"}\n{\"_id\": \"q-2\", \"text\": \"falls\"}\n");
    assert_output("qrels/test.tsv", HEADER "51\tAP-1\t2\n51\tLA-2\t0\nq-2\tLA-2\t1\n");
    options.topic_fields = "desc,title";
    assert_int_equal(import(&report, &options), 0);
    tandem_import_report_free(&report);
    assert_output("queries.jsonl", "{\"_id\": \"51\", \"text\": \"What rises? Rising\\nwater\"}\n{\"_id\": \"q-2\", "
                                   "\"text\": \"what falls? falls\"}\n");
    options.topic_fields = "narr";
    refuse(TANDEM_ERROR, &options, "topics:1: the topic has no <narr>");
    options.topic_fields = "title,,desc";
    refuse(TANDEM_USAGE, &options, "expected up to 8 elements of a topic between commas, as in \"title,desc\"");
    put_file("trec/c", "\n<DOC><TEXT>x</TEXT></DOC>");
    options.topic_fields = NULL;
    refuse(TANDEM_ERROR, &options, "trec/c:2: a document without <docno>");
    put_file("trec/c", "<DOC><DOCNO>1</DOCNO><TEXT>x</TEXT>\n<DOC>");
    refuse(TANDEM_ERROR, &options, "trec/c:1: the <doc> that begins here is not closed");
}

static void smart(void **state)
{
    (void)state;
    const char *documents = keep_file("all", "\n.I 1\n.T\n tides \n.A\nSomebody\n.W\nrise .\n.W is no "
                                             "section\nfall\n.X\n1\t5\t1\n.I 2\n.W\n.I 3\n.T\nmoons\n");
    const char *queries = keep_file("queries", ".I 1\n.W\nwhat rises\n");
    const char *qrels = keep_file("rel", "1 0 1 1\n1 0 2 1\n1 0 3 4\n");
    tandem_import_options options = {
        .format = TANDEM_IMPORT_SMART, .documents = PATHS(documents), .queries = PATHS(queries), .qrels = PATHS(qrels)};
    tandem_import_report report;
    assert_int_equal(import(&report, &options), 0);
    assert_output("corpus.jsonl", "{\"_id\": \"1\", \"title\": \"tides\", \"text\": \"rise .\\n.W is no "
                                  "section\\nfall\"}\n{\"_id\": \"3\", \"title\": \"moons\", \"text\": \"\"}\n");
    assert_output("qrels/test.tsv", HEADER "1\t1\t1\n1\t3\t4\n");
    assert_int_equal(report.empty, 1);
    assert_int_equal(report.lost, 1);
    tandem_import_report_free(&report);
    put_file("all", "x\n.I 1\n");
    refuse(TANDEM_ERROR, &options, "all:1: expected \".I ID\", found \"x\"");
}

static void msmarco(void **state)
{
    (void)state;
    const char *passages = keep_file("collection.tsv", "0\tfirst\n1\tsecond \"quoted\"\n2\tthird\n");
    const char *queries = keep_file("queries.tsv", "10\twhich?\n11\tnone\n");
    const char *qrels = keep_file("qrels.tsv", "10\t0\t1\t3\n");
    const char *triples = keep_file("triples.tsv", "10\t1\t2\n10\t1\t0\n10\t1\t2\n11\t0\t1\n");
    tandem_import_options options = {.format = TANDEM_IMPORT_MSMARCO,
                                     .documents = PATHS(passages),
                                     .queries = PATHS(queries),
                                     .qrels = PATHS(qrels),
                                     .triples = PATHS(triples)};
    tandem_import_report report;
    assert_int_equal(import(&report, &options), 0);
    assert_output("corpus.jsonl", "{\"_id\": \"0\", \"title\": \"\", \"text\": \"first\"}\n{\"_id\": \"1\", \"title\": "
                                  "\"\", \"text\": \"second \\\"quoted\\\"\"}\n"
                                  "{\"_id\": \"2\", \"title\": \"\", \"text\": \"third\"}\n");
    assert_output("qrels/train.tsv", HEADER "10\t1\t3\n11\t0\t1\n"); /* the judgment's grade, not the triple's */
    assert_output("groups.jsonl.zst",
                  "{\"query_id\": \"10\", \"query\": \"which?\", \"positives\": [{\"id\": \"1\", \"text\": \"second "
                  "\\\"quoted\\\"\"}], "
                  "\"negatives\": [{\"id\": \"2\", \"text\": \"third\"}, {\"id\": \"0\", \"text\": \"first\"}]}\n"
                  "{\"query_id\": \"11\", \"query\": \"none\", \"positives\": [{\"id\": \"0\", \"text\": \"first\"}], "
                  "\"negatives\": [{\"id\": \"1\", \"text\": \"second \\\"quoted\\\"\"}]}\n");
    assert_int_equal(report.groups, 2);
    assert_int_equal(report.negatives, 3);
    tandem_import_report_free(&report);
    put_file("triples.tsv", "10\t1\t9\n");
    refuse(TANDEM_ERROR, &options, "triples.tsv:1: there is no document \"9\"");
    put_file("qrels.tsv", "10 0 1 1\n12 0 1 1\n");
    refuse(TANDEM_ERROR, &options, "qrels.tsv:2: there is no query \"12\"");
    /* The document collection: id, URL, title, body. */
    put_file("collection.tsv", "0\tu\tTitle\tfirst\n1\t\t\tsecond\n2\tu\tT\t\n");
    put_file("qrels.tsv", HEADER "10\t1\t1\n"); /* BEIR's columns */
    put_file("triples.tsv", "");
    assert_int_equal(import(&report, &options), 0);
    tandem_import_report_free(&report);
    assert_output("corpus.jsonl", "{\"_id\": \"0\", \"title\": \"Title\", \"text\": \"first\"}\n{\"_id\": \"1\", "
                                  "\"title\": \"\", \"text\": \"second\"}\n"
                                  "{\"_id\": \"2\", \"title\": \"T\", \"text\": \"\"}\n");
    put_file("collection.tsv", "0\tx\ty\n");
    refuse(TANDEM_ERROR, &options,
           "collection.tsv:1: expected 2 fields between tabs (id, text) or 4 (id, URL, title, body), found 3");
}

static void squad(void **state)
{
    (void)state;
    const char *path = keep_file(
        "squad.json", "{\"version\": \"v2.0\", \"data\": [{\"title\": \"Sea_level\", \"paragraphs\": ["
                      "{\"context\": \"It rises.\", \"qas\": [{\"id\": \"a\", \"question\": \"What does it?\", "
                      "\"answers\": [], \"is_impossible\": false},"
                      "{\"id\": \"b\", \"question\": \"Who?\", \"is_impossible\": true}]},"
                      "{\"context\": \"It falls.\", \"qas\": [{\"id\": \"c\", \"question\": \"And then?\"}]}]}]}");
    char source[300];
    snprintf(source, sizeof source, "dev=%s", path);
    tandem_import_options options = {.format = TANDEM_IMPORT_SQUAD, .sources = PATHS(source)};
    tandem_import_report report;
    assert_int_equal(import(&report, &options), 0);
    assert_output("corpus.jsonl", "{\"_id\": \"d1\", \"title\": \"Sea level\", \"text\": \"It rises.\"}\n{\"_id\": "
                                  "\"d2\", \"title\": \"Sea level\", \"text\": \"It falls.\"}\n");
    assert_output("queries.jsonl",
                  "{\"_id\": \"a\", \"text\": \"What does it?\"}\n{\"_id\": \"c\", \"text\": \"And then?\"}\n");
    assert_output("qrels/dev.tsv", HEADER "a\td1\t1\nc\td2\t1\n");
    assert_int_equal(report.unanswerable, 1);
    tandem_import_report_free(&report);
    put_file("squad.json", "{\"data\": [{\"paragraphs\": [{\"context\": \"x\", \"qas\": []}, {\"context\": 1}]}]}");
    refuse(TANDEM_ERROR, &options,
           "squad.json: article 1, paragraph 2: \"context\": expected a string, found a number");
    put_file("squad.json", "[]");
    refuse(TANDEM_ERROR, &options, "squad.json: expected an object with an array \"data\"");
}

/* Options that contradict each other, and a target that is none. */
static void usage(void **state)
{
    (void)state;
    tandem_import_options options = {.format = TANDEM_IMPORT_TREC, .documents = PATHS("x")};
    refuse(TANDEM_USAGE, &options, "trec: expected --documents and --queries, and no other files");
    options = (tandem_import_options){.format = TANDEM_IMPORT_SQUAD};
    refuse(TANDEM_USAGE, &options,
           "squad: expected the files to read, and no --documents, --queries, --qrels or --triples");
    options = (tandem_import_options){.format = TANDEM_IMPORT_SQUAD, .sources = PATHS("x"), .columns = "a=b"};
    refuse(TANDEM_USAGE, &options,
           "squad: --columns, --layout, --separator and --record belong to pairs, triples and labelled");
    options = (tandem_import_options){.format = TANDEM_IMPORT_SQUAD, .sources = PATHS("x"), .dev = 1.5};
    refuse(TANDEM_USAGE, &options, "--dev and --test: expected a fraction below 1 or a whole number");
    options.dev = options.test = 0.6;
    refuse(TANDEM_USAGE, &options, "--dev and --test: 0.6 and 0.6 are more than the whole");
    options = (tandem_import_options){.format = TANDEM_IMPORT_SQUAD, .sources = PATHS(keep(in_folder("nowhere.json")))};
    refuse(TANDEM_ERROR, &options, "nowhere.json: cannot be read: No such file or directory");

    tandem_import_report report;
    options = (tandem_import_options){
        .format = TANDEM_IMPORT_PAIRS, .sources = PATHS(keep_file("p.tsv", "q\td\n")), .columns = "query=1,positive=2"};
    put_file("precious/thesis.txt", "x");
    assert_int_equal(tandem_import(&report, in_folder("precious"), &options), TANDEM_ERROR);
    assert_message("precious: is there already and is no dataset: it will not be replaced");
    assert_true(tandem_file_exists(in_folder("precious/thesis.txt")));
    assert_int_equal(tandem_dir_make(in_folder("empty")), 0);
    assert_int_equal(tandem_import(&report, in_folder("empty"), &options), 0);
    tandem_import_report_free(&report);
    assert_int_equal(tandem_import(&report, in_folder("empty"), &options), 0); /* now it is a dataset */
    tandem_import_report_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beir), cmocka_unit_test(trec), cmocka_unit_test(smart), cmocka_unit_test(msmarco),
        cmocka_unit_test(squad), cmocka_unit_test(usage),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
