/* test_metrics.c - metrics of rankings small enough to compute by hand. The comparison with
 * trec_eval itself is tests/parity/test_trec_eval.py. */
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

#include "tandem/file.h"
#include "tandem/metrics.h"

/* Sums of a few terms: a handful of roundings of numbers near 1. */
#define EXACT 1e-15

static double value_of(const char *name, const tandem_judged_query *judged, const tandem_ranking *ranking)
{
    tandem_metric metric;
    assert_int_equal(tandem_metric_parse(&metric, name), 0);
    return tandem_metric_query(&metric, judged, ranking, NULL);
}

static void is(const char *name, const tandem_judged_query *judged, const tandem_ranking *ranking, double expected)
{
    double value = value_of(name, judged, ranking);
    if (!(fabs(value - expected) <= EXACT)) {
        fail_msg("%s: expected %.17g, found %.17g", name, expected, value);
    }
}

/* Ranked x, a, b, n, c; a has grade 3, c 1, d 2 (not retrieved), b 0, n -1; x is not judged. */
static const tandem_judgment graded[] = {{"a", 3}, {"b", 0}, {"c", 1}, {"d", 2}, {"n", -1}};
static const tandem_judged_query judged = {"q", graded, 5};
static const tandem_result results[] = {{"x", 5}, {"a", 4}, {"b", 3}, {"n", 2}, {"c", 1}};
static const tandem_ranking ranking = {"q", results, 5};

static void test_ndcg_by_hand(void **state)
{
    (void)state;
    double ideal = 3 / log2(2) + 2 / log2(3) + 1 / log2(4);
    is("ndcg", &judged, &ranking, (3 / log2(3) + 1 / log2(6)) / ideal);
    is("ndcg@10", &judged, &ranking, (3 / log2(3) + 1 / log2(6)) / ideal);
    is("ndcg@4", &judged, &ranking, (3 / log2(3)) / ideal);
    is("ndcg@2", &judged, &ranking, (3 / log2(3)) / (3 / log2(2) + 2 / log2(3)));
    is("ndcg@1", &judged, &ranking, 0.0);
}

static void test_binary_metrics_by_hand(void **state)
{
    (void)state;
    /* relevant: a, c, d; at ranks 2 and 5 */
    is("map", &judged, &ranking, (1.0 / 2 + 2.0 / 5) / 3);
    is("map@4", &judged, &ranking, (1.0 / 2) / 3);
    is("recall@1", &judged, &ranking, 0.0);
    is("recall@5", &judged, &ranking, 2.0 / 3);
    is("precision@5", &judged, &ranking, 2.0 / 5);
    is("mrr", &judged, &ranking, 0.5);
    is("mrr@1", &judged, &ranking, 0.0);
    is("mrr@2", &judged, &ranking, 0.5);
    is("rprec", &judged, &ranking, 1.0 / 3);
    is("success@1", &judged, &ranking, 0.0);
    is("success@2", &judged, &ranking, 1.0);
}

static void test_depth_beyond_the_results(void **state)
{
    (void)state;
    is("precision@10", &judged, &ranking, 2.0 / 10);
    is("recall@1000", &judged, &ranking, 2.0 / 3);
    is("success@1000", &judged, &ranking, 1.0);
    is("ndcg@1000000000", &judged, &ranking, value_of("ndcg", &judged, &ranking));
    /* two results of which one is relevant, four relevant in all: rprec looks at four */
    const tandem_judgment four[] = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};
    const tandem_result two[] = {{"a", 2}, {"x", 1}};
    is("rprec", &(tandem_judged_query){"q", four, 4}, &(tandem_ranking){"q", two, 2}, 1.0 / 4);
}

/* Relevant a, c, d, of which a and c are at ranks 2 and 5; b at rank 3 and no other is judged not relevant. */
static void test_the_rest_of_trec_eval_by_hand(void **state)
{
    (void)state;
    is("bpref", &judged, &ranking, (1.0 + (1.0 - 1.0 / 1.0)) / 3);
    is("iprec@0", &judged, &ranking, 1.0 / 2);
    is("iprec@0.5", &judged, &ranking, 2.0 / 5); /* 1.5 of 3 is 2 */
    is("iprec_at_recall_1.00", &judged, &ranking, 0.0);
    is("11pt_avg.0,.5", &judged, &ranking, (1.0 / 2 + 2.0 / 5) / 2);
    is("rprec_mult@0.5", &judged, &ranking, 1.0 / 2); /* 1.5 + 0.9 is 2 */
    is("rprec_mult@2", &judged, &ranking, 2.0 / 6);
    /* at rank 2 nothing above is of the pool; at 5 a, b, and n that was not drawn */
    is("infAP", &judged, &ranking, (1.0 / 2 + 1.0 / 5 + (4.0 / 5) * (3.0 / 4) * (1.00001 / 2.00002)) / 3);
    is("binG", &judged, &ranking, (1 / log2(3) + 1 / log2(5)) / 3);
    /* the ideal ranking has 3, 5, 6, 7, 8 so far, this one 0, 3, 3, 3, 4 */
    is("G", &judged, &ranking, (3 / log2(2 + 5 - 3) + 1 / log2(2 + 8 - 4)) / 6);
    is("utility", &judged, &ranking, 2.0 - 3.0);
    is("utility.2,-1,-3,0", &judged, &ranking, 2 * 2.0 - 3.0 - 3.0);
    is("set_P", &judged, &ranking, 2.0 / 5);
    is("set_recall", &judged, &ranking, 2.0 / 3);
    is("set_relative_P", &judged, &ranking, 2.0 / 3);
    is("set_map", &judged, &ranking, 4.0 / 15);
    is("set_F", &judged, &ranking, 2 * (2.0 / 5) * (2.0 / 3) / (2.0 / 5 + 2.0 / 3));
    is("set_F.3", &judged, &ranking, 4 * (2.0 / 5) * (2.0 / 3) / (3 * 2.0 / 5 + 2.0 / 3));
    is("num_nonrel_judged_ret", &judged, &ranking, 1);
    is("yaap", &judged, &ranking, log((1 + 0.9) / (1 + 3 - 0.9)));
    is("unjudged@5", &judged, &ranking, 2.0 / 5); /* x, and n with its negative grade */
    is("unj_10", &judged, &ranking, 2.0 / 10);
    /* gains over 3: a 1 at weight p, c 1/3 at p^4 */
    is("rbp.p=0.5", &judged, &ranking, 0.5 * (0.5 + pow(0.5, 4) / 3));
    is("rbp_resid.p=0.5", &judged, &ranking, pow(0.5, 5) + 0.5 * (1 + pow(0.5, 3)));
}

static void test_gains(void **state)
{
    (void)state;
    double reached = 3 / log2(3) + 1 / log2(6), ideal = 3 / log2(2) + 2 / log2(3) + 1 / log2(4);
    is("dcg", &judged, &ranking, reached);
    is("ideal_dcg", &judged, &ranking, ideal);
    is("dcg.3=10,0=0.5", &judged, &ranking, 10 / log2(3) + 0.5 / log2(4) + 1 / log2(6));
    is("ndcg.1=9", &judged, &ranking, (3 / log2(3) + 9 / log2(6)) / (9 / log2(2) + 3 / log2(3) + 2 / log2(4)));
    /* at a: 3/log2(3) over the ideal of two; at c; and d, not retrieved */
    is("ndcg_rel", &judged, &ranking, ((3 / log2(3)) / (3 + 2 / log2(3)) + 2 * reached / ideal) / 3);
    /* after 3, after 2, after 1, and at the end, two beyond */
    is("Rndcg", &judged, &ranking, (0 + (3 / log2(3)) / (3 + 2 / log2(3)) + (3 / log2(3)) / ideal + reached / ideal) / 4);
    is("ndcg_exp", &judged, &ranking, (7 / log2(3) + 1 / log2(6)) / (7 + 3 / log2(3) + 1 / log2(4)));
    is("ndcg_exp@2", &judged, &ranking, (7 / log2(3)) / (7 + 3 / log2(3)));
    const tandem_judgment huge[] = {{"a", 5000}, {"b", 4999}};
    is("ndcg_exp", &(tandem_judged_query){"q", huge, 2}, &ranking, (1 / log2(3) + 0.5 / log2(4)) / (1 + 0.5 / log2(3)));
}

static void test_what_search_adds(void **state)
{
    (void)state;
    is("judged@1", &judged, &ranking, 0.0);
    is("judged@5", &judged, &ranking, 4.0 / 5); /* a negative grade is a judgment */
    is("judged@100", &judged, &ranking, 4.0 / 5);
    is("recall_cap@2", &judged, &ranking, 1.0 / 2);
    is("recall_cap@100", &judged, &ranking, 2.0 / 3);
    is("hit_rate@1", &judged, &ranking, 0.0);
}

static double value_with(const char *name, const tandem_ranking *results_of, tandem_score_options options)
{
    tandem_metric metric;
    assert_int_equal(tandem_metric_parse(&metric, name), 0);
    return tandem_metric_query(&metric, &judged, results_of, &options);
}

static void test_options_of_scoring(void **state)
{
    (void)state;
    assert_true(value_with("mrr", &ranking, (tandem_score_options){.level = 4}) == 0.0);
    assert_true(value_with("recall@5", &ranking, (tandem_score_options){.level = 2}) == 0.5);
    assert_true(value_with("ndcg", &ranking, (tandem_score_options){.level = 2}) == value_of("ndcg", &judged, &ranking));
    assert_true(value_with("recall@5", &ranking, (tandem_score_options){.level = 1, .depth = 4}) == 1.0 / 3);
    /* x and n are dropped: a, b, c stay */
    assert_true(value_with("set_P", &ranking, (tandem_score_options){.level = 1, .judged_only = true}) == 2.0 / 3);
    /* the depth is cut first: a and b stay */
    tandem_score_options both = {.level = 1, .judged_only = true, .depth = 4};
    assert_true(value_with("num_ret", &ranking, both) == 2.0);
    const tandem_result self[] = {{"q", 9}, {"a", 4}};
    const tandem_ranking with_self = {"q", self, 2};
    tandem_score_options first = {.level = 1, .depth = 1};
    assert_true(value_with("mrr", &with_self, first) == 0.0);
    first.exclude_self = true;
    assert_true(value_with("mrr", &with_self, first) == 1.0);
}

static void test_the_relevance_string(void **state)
{
    (void)state;
    const tandem_judgment many[] = {{"a", 9}, {"b", 10}, {"n", -7}, {"c", 0}};
    tandem_buffer text = TANDEM_BUFFER_INIT;
    assert_int_equal(tandem_relevance_string(&text, &(tandem_judged_query){"q", many, 4}, &ranking, NULL, 10), 0);
    assert_string_equal(text.data, "-9>.0");
    tandem_buffer_clear(&text);
    assert_int_equal(tandem_relevance_string(&text, &judged, &ranking, NULL, 2), 0);
    assert_string_equal(text.data, "-3");
    tandem_buffer_free(&text);
}

/* All but those that count or weigh what is there: the numbers, and unjudged, judged, rbp, rbp_resid, utility, yaap. */
static const char *const every_metric[] = {
    "ndcg",     "ndcg@10",   "recall@10", "map",  "map@10",   "precision@5", "mrr",            "mrr@10",     "rprec",
    "success@5", "bpref",    "iprec@0",   "infAP", "gm_map",  "gm_bpref",    "rprec_mult@0.2", "11pt_avg",   "binG",
    "G",        "dcg",       "ndcg_rel",  "Rndcg", "set_P",   "set_recall",  "set_map",        "set_F",      "set_relative_P",
    "ndcg_exp", "ndcg_exp@3", "recall_cap@3"};

static void test_nothing_relevant_or_nothing_retrieved_is_zero(void **state)
{
    (void)state;
    const tandem_judgment none[] = {{"a", 0}, {"b", -2}};
    const tandem_judgment negative[] = {{"a", -1}, {"b", -2}};
    const tandem_ranking nothing = {"q", NULL, 0};
    for (size_t i = 0; i < sizeof every_metric / sizeof *every_metric; i++) {
        is(every_metric[i], &(tandem_judged_query){"q", none, 2}, &ranking, 0.0);
        is(every_metric[i], &(tandem_judged_query){"q", negative, 2}, &ranking, 0.0);
        is(every_metric[i], &(tandem_judged_query){"q", NULL, 0}, &ranking, 0.0);
        is(every_metric[i], &judged, NULL, 0.0);
        is(every_metric[i], &judged, &nothing, 0.0);
    }
    is("rbp", &judged, NULL, 0.0);
    is("rbp_resid", &judged, NULL, 0.0);
    is("utility", &judged, NULL, 0.0);
    is("judged@10", &judged, NULL, 0.0);
    is("yaap", &judged, NULL, log(1.0 / 4));
}

static void test_names(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"ndcg@10", "ndcg@10"},    {"nDCG@10", "ndcg@10"},  {"ndcg_cut_10", "ndcg@10"}, {"ndcg_10", "ndcg@10"},
        {"recall_100", "recall@100"}, {"P_5", "precision@5"}, {"p@5", "precision@5"},     {"map", "map"},
        {"map_cut_7", "map@7"},    {"MAP@7", "map@7"},      {"recip_rank", "mrr"},      {"MRR@10", "mrr@10"},
        {"Rprec", "rprec"},        {"success_5", "success@5"}, {"hit@5", "success@5"},
        {"P.5", "precision@5"},    {"ndcg_cut.23.4", "ndcg@23"}, {"recip_rank_10", "mrr@10"}, {"iprec_at_recall_0.20", "iprec@0.20"},
        {"iprec.0.2", "iprec@0.20"}, {"11pt_avg", "11pt_avg"}, {"relative_P_5", "recall_cap@5"}, {"ndcg.1=3,2=9", "ndcg_1=3,2=9"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        tandem_metric metric;
        assert_int_equal(tandem_metric_parse(&metric, same[i][0]), 0);
        assert_string_equal(metric.name, same[i][1]);
    }
}

static void test_names_that_are_none(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"ncdg@10", "did you mean 'ndcg'?"}, {"", "unknown metric ''"},      {"ndcg@", "found ''"},
        {"ndcg@0", "found '0'"},             {"ndcg@1x", "found '1x'"},      {"ndcg@-1", "found '-1'"},
        {"ndcg@99999999999999999999", "from 1 to 1000000000"},
        {"recall", "as in 'recall@10'"},     {"precision", "needs a cutoff"}, {"rprec@5", "takes no cutoff"},
        {"relstring", "is a text"},          {"P.5,10", "found '5,10'"},      {"iprec", "as in 'iprec@0.5'"},
        {"utility.1,2", "expected parameters as in '1,-1,0,0', found '1,2'"}, {"ndcg.-1=3", "GRADE=GAIN with a grade from 0"},
        {"ndcg.1=x", "found '1=x'"},         {"ndcg.1=2,1=3", "two gains of grade 1"}, {"rbp.p=1.5", "p between 0 and 1"},
        {"iprec@nan", "expected a number"}, {"bpref.1", "takes no parameter"},
        {"11pt_avg.1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "more than 16 parameters"},
        {"an_unusually_long_name_of_a_metric@10", "unknown metric"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        tandem_metric metric;
        assert_int_equal(tandem_metric_parse(&metric, wrong[i][0]), TANDEM_USAGE);
        if (!strstr(tandem_error_message(), wrong[i][1])) {
            fail_msg("'%s': expected '%s' in '%s'", wrong[i][0], wrong[i][1], tandem_error_message());
        }
    }
}

static void lists_as(const char *list, tandem_metric_range allowed, const char *expected)
{
    tandem_metric *metrics;
    size_t count;
    tandem_buffer names = TANDEM_BUFFER_INIT;
    assert_int_equal(tandem_metrics_parse(&metrics, &count, list, allowed), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tandem_buffer_printf(&names, "%s%s", i ? " " : "", metrics[i].name), 0);
    }
    assert_string_equal(names.data, expected);
    tandem_buffer_free(&names);
    free(metrics);
}

static void test_lists(void **state)
{
    (void)state;
    lists_as("map,P.5,10,mrr@3,ndcg.1=2,3=4,rbp.p=0.8,1=2,11pt_avg", TANDEM_METRICS_MEANS,
             "map precision@5 precision@10 mrr@3 ndcg_1=2,3=4 rbp_p=0.8,1=2 11pt_avg");
    lists_as("ndcg@10,100,map", TANDEM_METRICS_MEANS, "ndcg@10 ndcg@100 map");
    lists_as("success,success@3", TANDEM_METRICS_MEANS, "success@3");
    lists_as("success@3,success", TANDEM_METRICS_MEANS, "success@3");
    lists_as("set,map", TANDEM_METRICS_ALL,
             "runid num_q num_ret num_rel num_rel_ret utility set_P set_relative_P set_recall set_map set_F map");
    lists_as("set,num_q,relstring.3", TANDEM_METRICS_ALL,
             "runid num_q num_ret num_rel num_rel_ret utility set_P set_relative_P set_recall set_map set_F relstring_3");
    lists_as("set", TANDEM_METRICS_MEANS, "utility set_P set_relative_P set_recall set_map set_F");
    lists_as("set", TANDEM_METRICS_NUMBERS,
             "num_q num_ret num_rel num_rel_ret utility set_P set_relative_P set_recall set_map set_F");
    static const char *const wrong[][2] = {
        {"map,MAP", "'map' is asked for twice"}, {"P.5,5", "'precision@5' is asked for twice"}, {"map,", "unknown metric ''"},
        {"relstring", "is a text"}, {"gm_map", "no mean over queries"}, {"judged", "needs a cutoff"}, {"P.5,x", "unknown metric 'x'"}, {"ndcg@10,0", "found '0'"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        tandem_metric *metrics;
        size_t count;
        assert_int_equal(tandem_metrics_parse(&metrics, &count, wrong[i][0], TANDEM_METRICS_MEANS), TANDEM_USAGE);
        assert_null(metrics);
        if (!strstr(tandem_error_message(), wrong[i][1])) {
            fail_msg("'%s': expected '%s' in '%s'", wrong[i][0], wrong[i][1], tandem_error_message());
        }
    }
}

static void test_summaries(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double expected;
    } cases[] = {{"map", 0.25}, {"num_ret", 0.5}, {"num_q", 0.5}};
    const double values[] = {0.5, 0.0};
    tandem_metric metric;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(tandem_metric_parse(&metric, cases[i].name), 0);
        assert_true(tandem_metric_summarize(&metric, values, 2) == cases[i].expected);
    }
    assert_int_equal(tandem_metric_parse(&metric, "gm_map"), 0);
    assert_true(fabs(tandem_metric_summarize(&metric, values, 2) - sqrt(0.5 * 0.00001)) < EXACT);
}

/* docs/evaluation.md has a row for each metric, with trec_eval's name. */
static void test_every_row_is_described(void **state)
{
    (void)state;
    size_t count = 0, size;
    const char *definition, *spelling, *trec_name, *source = getenv("TANDEM_SOURCE");
    char *page, *path = tandem_path_join(source ? source : ".", "docs/evaluation.md");
    assert_int_equal(tandem_file_read(&page, &size, path), 0);
    while ((spelling = tandem_metric_describe(count, &trec_name, &definition))) {
        char row[96];
        snprintf(row, sizeof row, trec_name ? "| `%s` | `%s` |" : "| `%s` | |", spelling, trec_name);
        if (!strstr(page, row) || !*definition) {
            fail_msg("docs/evaluation.md has no '%s'", row);
        }
        count++;
    }
    assert_true(count > 40);
    free(page);
    free(path);
}

/* ---- all queries ------------------------------------------------------------------- */
static tandem_qrels *read_qrels(const char *text)
{
    char path[] = "/tmp/tandem_test_metrics.XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), (long)strlen(text));
    close(file);
    tandem_qrels *qrels;
    assert_int_equal(tandem_qrels_read(&qrels, path), 0);
    unlink(path);
    return qrels;
}

static tandem_run *make_run(const char *const *queries, size_t count)
{
    tandem_run *run;
    assert_int_equal(tandem_run_new(&run, "r"), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tandem_run_add(run, queries[i], (tandem_result[]){{"a", 1}, {"b", 2}}, 2), 0);
    }
    return run;
}

static void test_means_over_all_or_common_queries(void **state)
{
    (void)state;
    tandem_qrels *qrels = read_qrels("q3 0 a 1\nq1 0 b 1\nq2 0 b 1\nq4 0 b 0\n");
    tandem_run *run = make_run((const char *[]){"q4", "q1", "q3", "stranger"}, 4);
    tandem_metric metrics[2];
    tandem_scores scores;
    assert_int_equal(tandem_metric_parse(&metrics[0], "mrr"), 0);
    assert_int_equal(tandem_metric_parse(&metrics[1], "success@1"), 0);

    assert_int_equal(tandem_scores_compute(&scores, qrels, run, metrics, 2, NULL), 0);
    assert_int_equal(scores.query_count, 4);
    assert_int_equal(scores.missing, 1);
    assert_int_equal(scores.unjudged, 1);
    const double all[] = {1, 0, 0.5, 0, 1, 0, 0, 0}; /* q1 q2 q3 q4 by mrr, then by success@1 */
    for (size_t i = 0; i < 8; i++) {
        assert_true(scores.values[i] == all[i]);
    }
    assert_string_equal(scores.query_ids[1], "q2");
    assert_true(scores.means[0] == 1.5 / 4 && scores.means[1] == 0.25);
    tandem_scores_free(&scores);

    assert_int_equal(tandem_scores_compute(&scores, qrels, run, metrics, 2, &(tandem_score_options){.common = true, .level = 1}), 0);
    assert_int_equal(scores.query_count, 3);
    assert_int_equal(scores.missing, 1);
    assert_string_equal(scores.query_ids[1], "q3");
    assert_true(scores.means[0] == 1.5 / 3 && scores.means[1] == 1.0 / 3);
    tandem_scores_free(&scores);
    tandem_run_free(run);

    run = make_run((const char *[]){"other"}, 1);
    assert_int_equal(tandem_scores_compute(&scores, qrels, run, metrics, 2, NULL), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "none of the run's queries (1) is among those of the qrels (4)"));
    assert_null(scores.values);
    tandem_run_free(run);
    tandem_qrels_free(qrels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ndcg_by_hand),
        cmocka_unit_test(test_binary_metrics_by_hand),
        cmocka_unit_test(test_depth_beyond_the_results),
        cmocka_unit_test(test_the_rest_of_trec_eval_by_hand),
        cmocka_unit_test(test_gains),
        cmocka_unit_test(test_what_search_adds),
        cmocka_unit_test(test_options_of_scoring),
        cmocka_unit_test(test_the_relevance_string),
        cmocka_unit_test(test_nothing_relevant_or_nothing_retrieved_is_zero),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_that_are_none),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_summaries),
        cmocka_unit_test(test_every_row_is_described),
        cmocka_unit_test(test_means_over_all_or_common_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
