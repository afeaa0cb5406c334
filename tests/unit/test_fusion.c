/* test_fusion.c - joining the scores of the two stages. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tandem/pipeline.h"

/* Sums of a few terms: a handful of roundings of numbers near 1. */
#define EXACT 1e-14

typedef struct {
    const char *query;
    tandem_result results[6];
} row;

static tandem_run *make_run(const row *rows, size_t count)
{
    tandem_run *run;
    assert_int_equal(tandem_run_new(&run, "r"), 0);
    for (size_t i = 0; i < count; i++) {
        size_t n = 0;
        while (n < 6 && rows[i].results[n].document_id) {
            n++;
        }
        assert_int_equal(tandem_run_add(run, rows[i].query, rows[i].results, n), 0);
    }
    return run;
}

static tandem_qrels *read_qrels(const char *text)
{
    char path[] = "/tmp/tandem_test_fusion.XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), (long)strlen(text));
    close(file);
    tandem_qrels *qrels;
    assert_int_equal(tandem_qrels_read(&qrels, path), 0);
    unlink(path);
    return qrels;
}

static void order_is(const tandem_run *run, const char *query, const char *ids)
{
    const tandem_ranking *ranking = tandem_run_find(run, query);
    char found[64] = "";
    size_t length = 0;
    for (size_t i = 0; i < ranking->count; i++) {
        found[length++] = ranking->results[i].document_id[0];
    }
    assert_string_equal(found, ids);
}

static const row first_rows[] = {
    {"q1", {{"a", 9}, {"b", 8}, {"c", 7}, {"d", 6}, {"e", 6}}},
    {"q2", {{"a", 3}, {"b", 2}}},
};
static const row reranked_rows[] = {{"q1", {{"c", 2}, {"b", -1}, {"a", -2}}}};

static tandem_run *apply(const tandem_fusion *fusion)
{
    tandem_run *first = make_run(first_rows, 2), *reranked = make_run(reranked_rows, 1), *out;
    assert_int_equal(tandem_fusion_apply(&out, "fused", fusion, first, reranked), 0);
    tandem_run_free(first);
    tandem_run_free(reranked);
    return out;
}

static void test_the_reranker_alone(void **state)
{
    (void)state;
    tandem_fusion fusion = TANDEM_FUSION_INIT;
    tandem_run *run = apply(&fusion);
    assert_string_equal(tandem_run_name(run), "fused");
    order_is(run, "q1", "cbaed"); /* e before d: their first-stage scores tie */
    order_is(run, "q2", "ab");
    const tandem_result *results = tandem_run_find(run, "q1")->results;
    const double scores[] = {2, -1, -2, -3, -4};
    for (size_t i = 0; i < 5; i++) {
        assert_true(results[i].score == scores[i]);
    }
    tandem_run_free(run);
}

static void test_the_first_stage_alone(void **state)
{
    (void)state;
    tandem_run *run = apply(&(tandem_fusion){0, 8, 2, 0, 1});
    order_is(run, "q1", "abced");
    assert_true(tandem_run_find(run, "q1")->results[0].score == 0.5);
    tandem_run_free(run);
}

static void test_blended_scores_by_hand(void **state)
{
    (void)state;
    /* first (x - 8) / 2: a 0.5, b 0, c -0.5; reranked (x - 1) / 4: a -0.75, b -0.5, c 0.25 */
    tandem_run *run = apply(&(tandem_fusion){0.25, 8, 2, 1, 4});
    const tandem_result *results = tandem_run_find(run, "q1")->results;
    order_is(run, "q1", "abced");
    assert_true(fabs(results[0].score - (0.75 * 0.5 + 0.25 * -0.75)) < EXACT);
    assert_true(fabs(results[1].score - (0.75 * 0.0 + 0.25 * -0.5)) < EXACT);
    assert_true(fabs(results[2].score - (0.75 * -0.5 + 0.25 * 0.25)) < EXACT);
    assert_true(results[3].score < results[2].score && results[4].score < results[3].score);
    tandem_run_free(run);
}

static double metric_of(const tandem_metric *metric, const tandem_qrels *qrels, const tandem_run *run)
{
    tandem_scores scores;
    assert_int_equal(tandem_scores_compute(&scores, qrels, run, metric, 1, NULL), 0);
    double mean = scores.means[0];
    tandem_scores_free(&scores);
    return mean;
}

/* Each stage is sure and right about one query, and slightly wrong about the other. */
static void test_a_weight_in_the_middle(void **state)
{
    (void)state;
    tandem_run *first = make_run((row[]){{"q1", {{"a", 10}, {"b", 0}}}, {"q2", {{"a", 6}, {"b", 5}}}}, 2);
    tandem_run *reranked = make_run((row[]){{"q1", {{"a", 5}, {"b", 6}}}, {"q2", {{"a", 0}, {"b", 10}}}}, 2);
    tandem_qrels *qrels = read_qrels("q1 0 a 1\nq2 0 b 1\n");
    tandem_metric metric;
    tandem_fusion fusion;
    double curve[TANDEM_FUSION_WEIGHTS];
    assert_int_equal(tandem_metric_parse(&metric, "success@1"), 0);
    assert_int_equal(tandem_fusion_fit(&fusion, curve, first, reranked, qrels, &metric), 0);
    /* Both stages' scores have mean 5.25 and one deviation, so q1 is right while (1 - w) * 10 > w, and q2
     * when 10 w > 1 - w: from 1/11 to 10/11, on the grid from 0.1. */
    assert_true(fusion.weight == 0.1);
    assert_true(fusion.first_mean == 5.25 && fusion.rerank_mean == 5.25);
    double deviation = sqrt((4.75 * 4.75 + 5.25 * 5.25 + 0.75 * 0.75 + 0.25 * 0.25) / 4);
    assert_true(fabs(fusion.first_deviation - deviation) < EXACT);
    assert_true(fabs(fusion.rerank_deviation - deviation) < EXACT);
    for (size_t i = 0; i < TANDEM_FUSION_WEIGHTS; i++) {
        assert_true(curve[i] == (i >= 2 && i <= 18 ? 1.0 : 0.5));
    }
    assert_true(curve[0] == metric_of(&metric, qrels, first));
    assert_true(curve[TANDEM_FUSION_WEIGHTS - 1] == metric_of(&metric, qrels, reranked));
    tandem_run *joined;
    assert_int_equal(tandem_fusion_apply(&joined, "r", &fusion, first, reranked), 0);
    assert_true(metric_of(&metric, qrels, joined) == 1.0);
    tandem_run_free(joined);
    tandem_run_free(first);
    tandem_run_free(reranked);
    tandem_qrels_free(qrels);
}

static tandem_fusion fit(const row *first_row, const row *reranked_row)
{
    tandem_run *first = make_run(first_row, 1), *reranked = make_run(reranked_row, 1);
    tandem_qrels *qrels = read_qrels("q 0 a 1\nmissing 0 a 1\n");
    tandem_metric metric;
    tandem_fusion fusion;
    assert_int_equal(tandem_metric_parse(&metric, "mrr"), 0);
    assert_int_equal(tandem_fusion_fit(&fusion, NULL, first, reranked, qrels, &metric), 0);
    tandem_run_free(first);
    tandem_run_free(reranked);
    tandem_qrels_free(qrels);
    return fusion;
}

static void test_a_reranker_must_earn_its_weight(void **state)
{
    (void)state;
    const row right = {"q", {{"a", 2}, {"b", 1}}}, wrong = {"q", {{"b", 2}, {"a", 1}}};
    const row flat = {"q", {{"b", 3}, {"a", 3}}};
    assert_true(fit(&right, &right).weight == 0.0);
    assert_true(fit(&right, &wrong).weight == 0.0);
    /* with equal force on both sides the reranker wins from just above a half */
    assert_true(fit(&wrong, &right).weight == 0.55);
    tandem_fusion fusion = fit(&right, &flat);
    assert_true(fusion.weight == 0.0 && fusion.rerank_deviation == 1.0);
}

static void test_what_cannot_be_joined(void **state)
{
    (void)state;
    static const struct {
        row reranked;
        const char *message;
    } cases[] = {
        {{"q1", {{"z", 1}}}, "document 'z' is in the reranked run, not in the first stage's"},
        {{"q9", {{"a", 1}}}, "query 'q9' is in the reranked run, not in the first stage's"},
        {{"q1", {{NULL, 0}}}, "no document was reranked"},
    };
    tandem_run *first = make_run(first_rows, 2);
    tandem_qrels *qrels = read_qrels("q1 0 a 1\n");
    tandem_metric metric;
    tandem_fusion fusion;
    assert_int_equal(tandem_metric_parse(&metric, "mrr"), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tandem_run *reranked = make_run(&cases[i].reranked, 1);
        assert_int_equal(tandem_fusion_fit(&fusion, NULL, first, reranked, qrels, &metric), TANDEM_ERROR);
        if (!strstr(tandem_error_message(), cases[i].message)) {
            fail_msg("expected '%s' in '%s'", cases[i].message, tandem_error_message());
        }
        tandem_run_free(reranked);
    }
    tandem_run_free(first);
    first = make_run((row[]){{"q1", {{"a", DBL_MAX}, {"b", 1}}}}, 1);
    tandem_run *reranked = make_run((row[]){{"q1", {{"a", 1}, {"b", 2}}}}, 1), *out;
    assert_int_equal(tandem_fusion_fit(&fusion, NULL, first, reranked, qrels, &metric), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "first stage's scores are not all finite"));
    tandem_fusion half = {0.5, 0, 0.25, 0, 1}, alone = TANDEM_FUSION_INIT;
    assert_int_equal(tandem_fusion_apply(&out, "r", &half, first, reranked), TANDEM_ERROR);
    assert_null(out);
    assert_int_equal(tandem_fusion_apply(&out, "r", &alone, first, reranked), 0);
    order_is(out, "q1", "ba");
    tandem_run_free(out);
    tandem_run_free(first);
    tandem_run_free(reranked);
    tandem_qrels_free(qrels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_reranker_alone),
        cmocka_unit_test(test_the_first_stage_alone),
        cmocka_unit_test(test_blended_scores_by_hand),
        cmocka_unit_test(test_a_weight_in_the_middle),
        cmocka_unit_test(test_a_reranker_must_earn_its_weight),
        cmocka_unit_test(test_what_cannot_be_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
