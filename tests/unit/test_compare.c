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
    assert_true(c.exact && c.p == 1.0 && c.ties == 3 && c.difference == 0 && c.low == 0 && c.high == 0);
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
    assert_true(c.low == 1 && c.high == 1);
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
    assert_true(first.p == again.p && first.low == again.low && first.high == again.high);
    assert_true(first.low != other.low);
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
    double low, high;
    assert_int_equal(tandem_bootstrap_mean(&low, &high, values, 400, 10000, 13), 0);
    assert_true(fabs(low - (0.5 - 0.049)) < 0.005);
    assert_true(fabs(high - (0.5 + 0.049)) < 0.005);
    const double one = 0.25;
    assert_int_equal(tandem_bootstrap_mean(&low, &high, &one, 1, 100, 13), 0);
    assert_true(low == 0.25 && high == 0.25);
}

static void test_nothing_to_compare_is_an_error(void **state)
{
    (void)state;
    double low, high;
    tandem_comparison c;
    const double a[] = {0};
    assert_int_equal(tandem_bootstrap_mean(&low, &high, a, 0, 100, 1), TANDEM_ERROR);
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
        cmocka_unit_test(test_nothing_to_compare_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
