/* compare.h - is a difference real: paired tests over queries. */
#ifndef TANDEM_COMPARE_H
#define TANDEM_COMPARE_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Values that are equal in exact arithmetic differ by rounding, sums of n of them by at most n * 1.1e-16
 * of the sum of their magnitudes. This is far above it for any number of queries there is, and far
 * below what two different results could differ by. */
#define TANDEM_ROUNDING 1e-10

/* Enough that the ends of an interval hold to about a hundredth of its width. */
enum { TANDEM_BOOTSTRAP_RESAMPLES = 10000 };

typedef struct {
    double low, high;
} tandem_interval;

/* 95 % bootstrap intervals of a mean, both from the same resamples: percentile (Efron & Tibshirani
 * 1993, chapter 13), and bias-corrected and accelerated (chapter 14; the acceleration by
 * the jackknife). */
typedef struct {
    tandem_interval percentile, bca;
} tandem_bootstrap;

/* Intervals of the mean of `values` [count]; seeded. No value, no resample or a value that is not
 * finite is an error. */
int tandem_bootstrap_mean(tandem_bootstrap *out, const double *values, size_t count, size_t resamples, uint64_t seed);

typedef struct {
    double difference;         /* mean(b) - mean(a) */
    tandem_bootstrap interval; /* of the difference */
    double p;                  /* two-sided, paired randomization */
    int exact;                 /* 1: every sign assignment was enumerated */
    double t, t_p;             /* paired t-test with count - 1 degrees of freedom, two-sided */
    double effect;             /* Cohen's d of the paired differences: their mean over their deviation (n - 1) */
    size_t wins, ties, losses; /* of b against a, by query */
} tandem_comparison;

/* Compares a[count] and b[count], values of one metric by query. p is the paired randomization
 * (sign-flip) test with |mean| as its statistic, >= within TANDEM_ROUNDING, so that noise of
 * ties counts as equal (Smucker, Allan & Carterette 2007). Exact when at most 20 differences are not zero,
 * else `rounds` random sign assignments with p = (hits + 1) / (rounds + 1); the intervals take
 * TANDEM_BOOTSTRAP_RESAMPLES. t, t_p and effect are NaN where differences do not vary: one query,
 * or all differences equal. Seeded: the same input gives the same result on every machine. No query, no
 * round or a value that is not finite is an error. */
int tandem_compare_paired(tandem_comparison *out, const double *a, const double *b, size_t count, size_t rounds,
                          uint64_t seed);

/* Holm's correction (Holm 1979) of `count` p-values for having been looked at together; `adjusted` may be `p`. */
int tandem_holm(double *adjusted, const double *p, size_t count);

typedef struct {
    size_t query;      /* index in a and b */
    double difference; /* b - a, and 0 where they differ by rounding */
} tandem_move;

/* All queries by what they gained, most first; ties in the order of the queries. */
void tandem_moves(tandem_move *out, const double *a, const double *b, size_t count);

#ifdef __cplusplus
}
#endif
#endif
