/* Several runs joined into one. Scores by hand; ranx 0.3.21 has the same formulas, but leaves ties to chance, gives a
 * document that is missing by z-score 0, the mean, and one whose scores are all one by min-max 0. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/pipeline.h"

#define EXACT 1e-15 /* a few roundings of numbers below 2 */

enum { RUNS = 2 };

static tandem_run *runs[RUNS];

static int make_runs(void **state)
{
    (void)state;
    const tandem_result a1[] = {{"d1", 9}, {"d2", 7}, {"d3", 5}}, a2[] = {{"d1", 2}};
    const tandem_result b1[] = {{"d3", 0.75}, {"d4", 0.5}, {"d1", 0.25}, {"d5", 0.25}}, b3[] = {{"d2", 1}, {"d1", 1}};
    return tandem_run_new(&runs[0], "a") + tandem_run_new(&runs[1], "b") + tandem_run_add(runs[0], "q1", a1, 3) +
           tandem_run_add(runs[0], "q2", a2, 1) + tandem_run_add(runs[1], "q1", b1, 4) +
           tandem_run_add(runs[1], "q3", b3, 2);
}

static int free_runs(void **state)
{
    (void)state;
    tandem_run_free(runs[0]);
    tandem_run_free(runs[1]);
    return 0;
}

static tandem_run *fuse(tandem_hybrid how, size_t top)
{
    tandem_run *out;
    assert_int_equal(tandem_hybrid_fuse(&out, "joined", (const tandem_run *const *)runs, RUNS, &how, top), 0);
    assert_string_equal(tandem_run_name(out), "joined");
    assert_int_equal(tandem_run_count(out), 3);
    return out;
}

static void expect(const tandem_run *run, const char *query, const tandem_result *expected, size_t count)
{
    const tandem_ranking *ranking = tandem_run_find(run, query);
    assert_non_null(ranking);
    assert_int_equal(ranking->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(ranking->results[i].document_id, expected[i].document_id);
        assert_true(fabs(ranking->results[i].score - expected[i].score) <= EXACT);
    }
}

static void test_reciprocal_ranks(void **state)
{
    (void)state;
    tandem_run *out = fuse((tandem_hybrid)TANDEM_HYBRID_INIT, 10);
    /* In b, d5 comes before d1: their scores are equal. */
    const tandem_result q1[] = {{"d3", 1 / 63. + 1 / 61.}, {"d1", 1 / 61. + 1 / 64.}, {"d4", 1 / 62.}, {"d2", 1 / 62.},
                                {"d5", 1 / 63.}};
    const tandem_result q2[] = {{"d1", 1 / 61.}}, q3[] = {{"d2", 1 / 61.}, {"d1", 1 / 62.}};
    expect(out, "q1", q1, 5);
    expect(out, "q2", q2, 1);
    expect(out, "q3", q3, 2);
    tandem_run_free(out);
    const double weights[] = {3, 0.5};
    out = fuse((tandem_hybrid){TANDEM_HYBRID_RRF, 0, weights}, 2);
    const tandem_result weighted[] = {{"d1", 3 + 0.5 / 4}, {"d3", 1 + 0.5}}; /* d2 has 1.5, too */
    expect(out, "q1", weighted, 2);
    tandem_run_free(out);
}

static void test_min_max(void **state)
{
    (void)state;
    const double weights[] = {0.25, 0.75};
    tandem_run *out = fuse((tandem_hybrid){TANDEM_HYBRID_MIN_MAX, 60, weights}, 10);
    const tandem_result q1[] = {{"d3", 0.75}, {"d4", 0.375}, {"d1", 0.25}, {"d2", 0.125}, {"d5", 0}};
    const tandem_result q2[] = {{"d1", 0.25}}, q3[] = {{"d2", 0.75}, {"d1", 0.75}}; /* found beats not found */
    expect(out, "q1", q1, 5);
    expect(out, "q2", q2, 1);
    expect(out, "q3", q3, 2);
    tandem_run_free(out);
}

static void test_z_scores(void **state)
{
    (void)state;
    tandem_run *out = fuse((tandem_hybrid){TANDEM_HYBRID_Z_SCORE, 60, NULL}, 10);
    /* a: mean 7, deviation sqrt(8/3); b: mean 7/16, deviation sqrt(11)/16; what is missing is as the worst. */
    double a = 2 / sqrt(8 / 3.), b = 1 / sqrt(11);
    const tandem_result q1[] = {{"d1", a - 3 * b}, {"d3", -a + 5 * b}, {"d2", 0 - 3 * b}, {"d4", -a + b},
                                {"d5", -a - 3 * b}};
    const tandem_result q2[] = {{"d1", 0}}, q3[] = {{"d2", 0}, {"d1", 0}};
    expect(out, "q1", q1, 5);
    expect(out, "q2", q2, 1);
    expect(out, "q3", q3, 2);
    tandem_run_free(out);
}

static void test_what_cannot_be_joined(void **state)
{
    (void)state;
    const double negative[] = {1, -1}, nothing[] = {0, 0}, none[] = {1, (double)NAN};
    const double *weights[] = {negative, nothing, none};
    tandem_run *out;
    for (size_t i = 0; i < 3; i++) {
        const tandem_hybrid how = {TANDEM_HYBRID_RRF, 60, weights[i]};
        assert_int_equal(tandem_hybrid_fuse(&out, "r", (const tandem_run *const *)runs, RUNS, &how, 10), TANDEM_USAGE);
        assert_null(out);
    }
    const tandem_hybrid below = {TANDEM_HYBRID_RRF, -1, NULL};
    assert_int_equal(tandem_hybrid_fuse(&out, "r", (const tandem_run *const *)runs, RUNS, &below, 10), TANDEM_USAGE);
    const tandem_result far[] = {{"d1", 1.5e308}, {"d2", -1.5e308}}; /* their difference is no double */
    tandem_run *run;
    assert_int_equal(tandem_run_new(&run, "i"), 0);
    assert_int_equal(tandem_run_add(run, "q", far, 2), 0);
    const tandem_run *one[] = {run};
    for (int method = TANDEM_HYBRID_RRF; method <= TANDEM_HYBRID_Z_SCORE; method++) {
        const tandem_hybrid how = {(tandem_hybrid_method)method, 60, NULL};
        int rc = tandem_hybrid_fuse(&out, "r", one, 1, &how, 10);
        assert_int_equal(rc, method == TANDEM_HYBRID_RRF ? 0 : TANDEM_ERROR); /* ranks need no scale */
        tandem_run_free(out);
    }
    assert_non_null(strstr(tandem_error_message(), "query 'q': scores from -1.5e+308 to 1.5e+308 cannot be scaled"));
    tandem_run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reciprocal_ranks),
        cmocka_unit_test(test_min_max),
        cmocka_unit_test(test_z_scores),
        cmocka_unit_test(test_what_cannot_be_joined),
    };
    return cmocka_run_group_tests(tests, make_runs, free_runs);
}
