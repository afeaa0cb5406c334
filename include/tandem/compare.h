/* compare.h - is a difference real: paired tests over queries. */
#ifndef TANDEM_COMPARE_H
#define TANDEM_COMPARE_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Enough that the ends of an interval hold to about a hundredth of its width. */
enum { TANDEM_BOOTSTRAP_RESAMPLES = 10000 };

/* Percentile bootstrap interval of the mean of `values` [count], 95 % (Efron & Tibshirani 1993,
 * chapter 13); seeded. No value or no resample is an error. */
int tandem_bootstrap_mean(double *low, double *high, const double *values, size_t count, size_t resamples, uint64_t seed);

typedef struct {
    double difference;    /* mean(b) - mean(a) */
    double low, high;     /* 95 % bootstrap interval of the difference */
    double p;             /* two-sided, paired randomization */
    size_t wins, ties, losses; /* of b against a, by query */
    int exact;            /* 1: every sign assignment was enumerated */
} tandem_comparison;

/* Paired randomization (sign-flip) test of a[count] and b[count], values of one metric by query,
 * with |mean| as its statistic, >= within an epsilon that makes rounding noise of ties count as
 * equal (Smucker, Allan & Carterette 2007). Exact when at most 20 differences are not zero, else
 * `rounds` random sign assignments with p = (hits + 1) / (rounds + 1); the interval takes
 * TANDEM_BOOTSTRAP_RESAMPLES. Seeded: the same input gives the same result on every machine. */
int tandem_compare_paired(tandem_comparison *out, const double *a, const double *b, size_t count, size_t rounds, uint64_t seed);

#ifdef __cplusplus
}
#endif
#endif
