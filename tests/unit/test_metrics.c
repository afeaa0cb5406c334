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
    return tandem_metric_query(&metric, judged, ranking);
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

static const char *const every_metric[] = {"ndcg",        "ndcg@10", "recall@10", "map",   "map@10",
                                           "precision@5", "mrr",     "mrr@10",    "rprec", "success@5"};

static void test_nothing_relevant_or_nothing_retrieved_is_zero(void **state)
{
    (void)state;
    const tandem_judgment none[] = {{"a", 0}, {"b", -2}};
    const tandem_ranking nothing = {"q", NULL, 0};
    for (size_t i = 0; i < sizeof every_metric / sizeof *every_metric; i++) {
        is(every_metric[i], &(tandem_judged_query){"q", none, 2}, &ranking, 0.0);
        is(every_metric[i], &(tandem_judged_query){"q", NULL, 0}, &ranking, 0.0);
        is(every_metric[i], &judged, NULL, 0.0);
        is(every_metric[i], &judged, &nothing, 0.0);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"ndcg@10", "ndcg@10"},    {"nDCG@10", "ndcg@10"},  {"ndcg_cut_10", "ndcg@10"}, {"ndcg_10", "ndcg@10"},
        {"recall_100", "recall@100"}, {"P_5", "precision@5"}, {"p@5", "precision@5"},     {"map", "map"},
        {"map_cut_7", "map@7"},    {"MAP@7", "map@7"},      {"recip_rank", "mrr"},      {"MRR@10", "mrr@10"},
        {"Rprec", "rprec"},        {"success_5", "success@5"}, {"hit@5", "success@5"},
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

static void test_every_row_is_described(void **state)
{
    (void)state;
    size_t count = 0;
    const char *definition, *spelling;
    while ((spelling = tandem_metric_describe(count, &definition))) {
        assert_true(*spelling && *definition);
        count++;
    }
    assert_int_equal(count, 7);
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

    assert_int_equal(tandem_scores_compute(&scores, qrels, run, metrics, 2, true), 0);
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

    assert_int_equal(tandem_scores_compute(&scores, qrels, run, metrics, 2, false), 0);
    assert_int_equal(scores.query_count, 3);
    assert_int_equal(scores.missing, 1);
    assert_string_equal(scores.query_ids[1], "q3");
    assert_true(scores.means[0] == 1.5 / 3 && scores.means[1] == 1.0 / 3);
    tandem_scores_free(&scores);
    tandem_run_free(run);

    run = make_run((const char *[]){"other"}, 1);
    assert_int_equal(tandem_scores_compute(&scores, qrels, run, metrics, 2, true), TANDEM_ERROR);
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
        cmocka_unit_test(test_nothing_relevant_or_nothing_retrieved_is_zero),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_that_are_none),
        cmocka_unit_test(test_every_row_is_described),
        cmocka_unit_test(test_means_over_all_or_common_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
