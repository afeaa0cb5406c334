/* test_compare.c - the paired tests, against p-values counted by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/compare.h"
#include "tandem/random.h"

enum { ROUNDS = 20000 };

static tandem_comparison compare(const double *a, const double *b, size_t count, uint64_t seed)
{
    tandem_comparison out;
    assert_int_equal(tandem_compare_paired(&out, a, b, count, ROUNDS, seed), 0);
    return out;
}

static void test_all_wins_is_the_smallest_p(void **state)
{
    (void)state;
    const double a[] = {0, 0, 0, 0}, b[] = {0.1, 0.2, 0.3, 0.4};
    tandem_comparison c = compare(a, b, 4, 1);
    assert_true(c.exact && c.p == 2.0 / 16); /* all + and all - of 2^4 */
    assert_true(fabs(c.difference - 0.25) < 1e-15);
    assert_true(c.wins == 4 && c.ties == 0 && c.losses == 0);
    c = compare(b, a, 4, 1);
    assert_true(c.p == 2.0 / 16 && c.losses == 4 && c.difference < 0);
}

static void test_p_by_enumeration_by_hand(void **state)
{
    (void)state;
    /* Differences 3, 2, -1, sum 4. Of the 8 sums of +-3 +-2 +-1 (6 4 2 0 0 -2 -4 -6), 4 have magnitude >= 4. */
    const double a[] = {0, 0, 1, 5}, b[] = {3, 2, 0, 5};
    tandem_comparison c = compare(a, b, 4, 1);
    assert_true(c.exact && c.p == 0.5);
    assert_true(c.wins == 2 && c.ties == 1 && c.losses == 1);
    assert_true(c.difference == 1.0);
}

static void test_ties_by_rounding_count_as_equal(void **state)
{
    (void)state;
    /* Differences 0.1, 0.2, 0.3, -0.6 sum to 0 but for rounding: all 16 assignments reach that. */
    const double a1[] = {0, 0, 0, 0.6}, b1[] = {0.1, 0.2, 0.3, 0};
    assert_true(compare(a1, b1, 4, 1).p == 1.0);
    /* Differences -0.1, 0.2, 0.3 sum to 0.4; of the 8 sums +-0.6, +-0.4, +-0.2 and 0 twice, four reach
     * that, if 0.1 - 0.2 - 0.3 does as 0.4 does. */
    const double a2[] = {0.1, 0, 0}, b2[] = {0, 0.2, 0.3};
    assert_true(compare(a2, b2, 3, 1).p == 0.5);
    /* one value computed in two ways */
    const double a3[] = {0.1 + 0.2, 1}, b3[] = {0.3, 1};
    assert_int_equal(compare(a3, b3, 2, 1).ties, 2);
}

static void test_equal_runs_have_p_one(void **state)
{
    (void)state;
    const double a[] = {0.5, 0.25, 1};
    tandem_comparison c = compare(a, a, 3, 1);
    assert_true(c.exact && c.p == 1.0 && c.ties == 3 && c.difference == 0);
    assert_true(c.interval.percentile.low == 0 && c.interval.percentile.high == 0);
    assert_true(c.interval.bca.low == 0 && c.interval.bca.high == 0);
    assert_true(isnan(c.t) && isnan(c.t_p) && isnan(c.effect));
}

static void test_exact_and_sampled_agree(void **state)
{
    (void)state;
    enum { SMALL = 20, LARGE = 21 };
    tandem_random random = tandem_random_stream(5, "test", 0);
    for (int trial = 0; trial < 5; trial++) {
        double zero[LARGE] = {0}, values[LARGE];
        for (size_t i = 0; i < SMALL; i++) {
            values[i] = tandem_random_normal(&random) + 0.3;
        }
        tandem_comparison exact = compare(zero, values, SMALL, 1);
        assert_true(exact.exact);
        /* One more difference, too small to matter, forces sampling. */
        values[SMALL] = 1e-7;
        tandem_comparison sampled = compare(zero, values, LARGE, (uint64_t)trial);
        assert_false(sampled.exact);
        /* 5 standard errors of a share of ROUNDS draws */
        assert_true(fabs(sampled.p - exact.p) < 5 * sqrt(exact.p * (1 - exact.p) / ROUNDS) + 1.0 / ROUNDS);
    }
}

static void test_sampled_p_is_never_zero(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    double a[COUNT] = {0}, b[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        b[i] = 1;
    }
    tandem_comparison c = compare(a, b, COUNT, 1);
    assert_true(!c.exact && c.p == 1.0 / (ROUNDS + 1));
    assert_true(c.interval.percentile.low == 1 && c.interval.percentile.high == 1);
    assert_true(c.interval.bca.low == 1 && c.interval.bca.high == 1);
    assert_true(isnan(c.t_p)); /* all differences are equal */
}

static void test_the_seed_decides(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    double a[COUNT] = {0}, b[COUNT];
    tandem_random random = tandem_random_stream(9, "test", 0);
    for (size_t i = 0; i < COUNT; i++) {
        b[i] = tandem_random_normal(&random) + 0.1;
    }
    tandem_comparison first = compare(a, b, COUNT, 1), again = compare(a, b, COUNT, 1), other = compare(a, b, COUNT, 2);
    assert_true(first.p == again.p && first.interval.percentile.low == again.interval.percentile.low &&
                first.interval.bca.high == again.interval.bca.high);
    assert_true(first.interval.percentile.low != other.interval.percentile.low);
}

static void test_bootstrap_interval(void **state)
{
    (void)state;
    /* 400 values, half 0 and half 1: the mean's standard error is 0.5 / 20 = 0.025, so the interval is about
     * 0.5 +- 1.96 * 0.025; its ends scatter by some 0.0007 with 10,000 resamples, and means are multiples
     * of 1/400. */
    double values[400];
    for (size_t i = 0; i < 400; i++) {
        values[i] = i % 2 ? 1 : 0;
    }
    tandem_bootstrap out;
    assert_int_equal(tandem_bootstrap_mean(&out, values, 400, 10000, 13), 0);
    assert_true(fabs(out.percentile.low - (0.5 - 0.049)) < 0.005);
    assert_true(fabs(out.percentile.high - (0.5 + 0.049)) < 0.005);
    /* Nothing is skewed: the bias is half the chance of a resample at 0.5 itself, and the ends move by less than
     * three steps of 1/400. */
    assert_true(fabs(out.bca.low - out.percentile.low) < 0.0075);
    assert_true(fabs(out.bca.high - out.percentile.high) < 0.0075);
    const double one = 0.25;
    assert_int_equal(tandem_bootstrap_mean(&out, &one, 1, 100, 13), 0);
    assert_true(out.percentile.low == 0.25 && out.percentile.high == 0.25);
    assert_true(out.bca.low == 0.25 && out.bca.high == 0.25);
}

static void test_bca_follows_the_skew(void **state)
{
    (void)state;
    /* One of ten is 1: the skewness is 2.67, so that both ends move up by about
     * 2.67 / sqrt(10) * 0.3 / sqrt(10) = 0.08, a step of 1/10. The percentile interval is [0, 0.3]: of
     * Binomial(10, 0.1), 35 % are 0 and 1.3 % above 3. */
    double values[10] = {1};
    tandem_bootstrap out;
    assert_int_equal(tandem_bootstrap_mean(&out, values, 10, 10000, 13), 0);
    assert_true(out.percentile.low == 0 && fabs(out.percentile.high - 0.3) < 1e-12);
    assert_true(out.bca.high > 0.35 && out.bca.high <= 0.5 + 1e-12);
}

/* Sakai's example (Laboratory Experiments in Information Retrieval, 2018): nDCG@5 of two systems on 20
 * topics, in tenths. t 2.116, p 0.048, effect size 0.473. Of the 2^15 sign assignments 2160 reach the
 * observed sum in whole numbers; counted in doubles without regard to rounding it is fewer. */
static void test_the_example_of_twenty_topics(void **state)
{
    (void)state;
    const int x[20] = {7, 3, 2, 6, 4, 4, 0, 7, 1, 3, 5, 4, 0, 6, 5, 3, 1, 5, 2, 1};
    const int y[20] = {5, 1, 0, 2, 4, 3, 0, 5, 3, 3, 4, 4, 1, 4, 2, 1, 1, 6, 3, 2};
    double a[20], b[20];
    for (int i = 0; i < 20; i++) {
        a[i] = y[i] / 10.0;
        b[i] = x[i] / 10.0;
    }
    tandem_comparison c = compare(a, b, 20, 1);
    assert_true(fabs(c.difference - 0.0750) < 1e-12);
    assert_true(fabs(c.t - 2.116) < 5e-4 && fabs(c.t_p - 0.048) < 5e-4 && fabs(c.effect - 0.473) < 5e-4);
    assert_true(c.exact && c.p == 2160.0 / 32768);
    assert_true(c.wins == 10 && c.ties == 5 && c.losses == 5);
}

static void test_holm(void **state)
{
    (void)state;
    /* Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1, which must not fall below the one before it. */
    const double p[] = {0.01, 0.04, 0.03, 0.005}, expected[] = {0.03, 0.06, 0.06, 0.02}, large[] = {0.6, 0.5};
    double adjusted[4];
    assert_int_equal(tandem_holm(adjusted, p, 4), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_true(fabs(adjusted[i] - expected[i]) < 1e-15);
    }
    assert_int_equal(tandem_holm(adjusted, large, 2), 0);
    assert_true(adjusted[0] == 1 && adjusted[1] == 1);
}

static void test_moves_are_sorted(void **state)
{
    (void)state;
    const double a[] = {0.5, 0, 0.3, 1, 0}, b[] = {0, 0.5, 0.1 + 0.2, 1, 0.5};
    const size_t order[] = {1, 4, 2, 3, 0};
    tandem_move moves[5];
    tandem_moves(moves, a, b, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(moves[i].query, order[i]);
    }
    assert_true(moves[0].difference == 0.5 && moves[2].difference == 0 && moves[4].difference == -0.5);
}

static void test_two_queries(void **state)
{
    (void)state;
    /* With one degree of freedom t is Cauchy's: p = 1 - 2 / pi * atan(t). Differences 0 and d have
     * t = 1, d and 3 d have t = 2. */
    const double a[] = {0, 0}, b[] = {0, 0.5}, c[] = {0.25, 0.75};
    assert_true(fabs(compare(a, b, 2, 1).t_p - 0.5) < 1e-12);
    assert_true(fabs(compare(a, c, 2, 1).t_p - 0.29516723530086653) < 1e-12);
}

static void test_one_query(void **state)
{
    (void)state;
    const double a = 0.25, b = 0.75;
    tandem_comparison c = compare(&a, &b, 1, 1);
    assert_true(c.exact && c.p == 1 && c.difference == 0.5 && c.wins == 1);
    assert_true(c.interval.percentile.low == 0.5 && c.interval.bca.high == 0.5);
    assert_true(isnan(c.t) && isnan(c.t_p) && isnan(c.effect));
}

static void test_nothing_to_compare_is_an_error(void **state)
{
    (void)state;
    tandem_bootstrap out;
    tandem_comparison c;
    const double a[] = {0}, none[] = {NAN};
    assert_int_equal(tandem_bootstrap_mean(&out, a, 0, 100, 1), TANDEM_ERROR);
    assert_int_equal(tandem_bootstrap_mean(&out, none, 1, 100, 1), TANDEM_ERROR);
    assert_int_equal(tandem_compare_paired(&c, a, none, 1, 100, 1), TANDEM_ERROR);
    assert_string_equal(tandem_error_message(), "a comparison needs finite values, found 0 and nan of query 1");
    assert_int_equal(tandem_compare_paired(&c, a, a, 0, 100, 1), TANDEM_ERROR);
    assert_int_equal(tandem_compare_paired(&c, a, a, 1, 0, 1), TANDEM_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_wins_is_the_smallest_p),
        cmocka_unit_test(test_p_by_enumeration_by_hand),
        cmocka_unit_test(test_ties_by_rounding_count_as_equal),
        cmocka_unit_test(test_equal_runs_have_p_one),
        cmocka_unit_test(test_exact_and_sampled_agree),
        cmocka_unit_test(test_sampled_p_is_never_zero),
        cmocka_unit_test(test_the_seed_decides),
        cmocka_unit_test(test_bootstrap_interval),
        cmocka_unit_test(test_bca_follows_the_skew),
        cmocka_unit_test(test_the_example_of_twenty_topics),
        cmocka_unit_test(test_holm),
        cmocka_unit_test(test_moves_are_sorted),
        cmocka_unit_test(test_two_queries),
        cmocka_unit_test(test_one_query),
        cmocka_unit_test(test_nothing_to_compare_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
