/* compare.c - paired tests over queries: bootstrap intervals and the randomization test. */
#include "tandem/compare.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "tandem/memory.h"
#include "tandem/random.h"

enum { EXACT_LIMIT = 20 }; /* 2^19 assignments: some milliseconds */

/* Two sums of differences that are equal in exact arithmetic differ by rounding, at most
 * count * 1.1e-16 of the sum of magnitudes. This is far above it for any number of queries
 * there is, and far below what two different results could differ by. */
static const double EPSILON = 1e-10;

/* ---- bootstrap ---------------------------------------------------------------------- */
static int ascending(const void *left, const void *right)
{
    const double *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

/* Linear between the two nearest order statistics (Hyndman & Fan's type 7). */
static double quantile(const double *sorted, size_t count, double q)
{
    double at = q * (double)(count - 1);
    size_t below = (size_t)at;
    if (below + 1 >= count) {
        return sorted[count - 1];
    }
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

/* Uniform in [0, count) from the high half of a product: one number of 2^64 in `count` less or more
 * likely does not matter here, and two divisions a draw would. */
static size_t draw(tandem_random *random, size_t count)
{
    __extension__ typedef unsigned __int128 wide;
    return (size_t)((wide)tandem_random_next(random) * count >> 64);
}

int tandem_bootstrap_mean(double *low, double *high, const double *values, size_t count, size_t resamples, uint64_t seed)
{
    if (count == 0 || resamples == 0) {
        return tandem_error("a bootstrap interval needs values and resamples, found %zu and %zu", count, resamples);
    }
    double *means = tandem_alloc(resamples, sizeof *means);
    if (!means) {
        return TANDEM_ERROR;
    }
    tandem_random random = tandem_random_stream(seed, "bootstrap", 0);
    for (size_t r = 0; r < resamples; r++) {
        double sum = 0.0;
        for (size_t i = 0; i < count; i++) {
            sum += values[draw(&random, count)];
        }
        means[r] = sum / (double)count;
    }
    qsort(means, resamples, sizeof *means, ascending);
    *low = quantile(means, resamples, 0.025);
    *high = quantile(means, resamples, 0.975);
    free(means);
    return TANDEM_OK;
}

/* ---- randomization test ---------------------------------------------------------------- */
static double magnitude(const double *values, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += fabs(values[i]);
    }
    return sum;
}

/* Every assignment of signs. The first sign is held: flipping all signs leaves the
 * statistic as it is, so half of them have the same share of hits as all. */
static double exact_p(const double *values, size_t count, double observed)
{
    size_t hits = 0, assignments = (size_t)1 << (count - 1);
    for (size_t signs = 0; signs < assignments; signs++) {
        double sum = values[count - 1];
        for (size_t i = 0; i + 1 < count; i++) {
            sum += signs >> i & 1 ? -values[i] : values[i];
        }
        hits += fabs(sum) >= observed;
    }
    return (double)hits / (double)assignments;
}

static double sampled_p(const double *values, size_t count, double observed, size_t rounds, uint64_t seed)
{
    tandem_random random = tandem_random_stream(seed, "randomization", 0);
    size_t hits = 0;
    for (size_t r = 0; r < rounds; r++) {
        double sum = 0.0;
        uint64_t signs = 0;
        for (size_t i = 0; i < count; i++) {
            signs = i % 64 == 0 ? tandem_random_next(&random) : signs >> 1;
            sum += values[i] * (1.0 - 2.0 * (double)(signs & 1));
        }
        hits += fabs(sum) >= observed;
    }
    return (double)(hits + 1) / (double)(rounds + 1);
}

/* Fills `values` with the differences that are not zero and counts wins, ties, losses.
 * Values that differ by rounding are a tie. Returns how many are not zero. */
static size_t take_differences(tandem_comparison *out, double *values, const double *a, const double *b, size_t count)
{
    size_t kept = 0;
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        double difference = b[i] - a[i];
        sum += difference;
        if (fabs(difference) <= EPSILON * fmax(fabs(a[i]), fabs(b[i]))) {
            out->ties++;
            continue;
        }
        out->wins += difference > 0;
        out->losses += difference < 0;
        values[kept++] = difference;
    }
    out->difference = sum / (double)count;
    return kept;
}

static int difference_interval(tandem_comparison *out, double *values, const double *a, const double *b, size_t count,
                               uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = b[i] - a[i];
    }
    return tandem_bootstrap_mean(&out->low, &out->high, values, count, TANDEM_BOOTSTRAP_RESAMPLES, seed);
}

int tandem_compare_paired(tandem_comparison *out, const double *a, const double *b, size_t count, size_t rounds,
                          uint64_t seed)
{
    *out = (tandem_comparison){0};
    if (count == 0 || rounds == 0) {
        return tandem_error("a comparison needs queries and rounds, found %zu and %zu", count, rounds);
    }
    double *values = tandem_alloc(count, sizeof *values);
    if (!values) {
        return TANDEM_ERROR;
    }
    int rc = difference_interval(out, values, a, b, count, seed);
    if (rc >= 0) {
        size_t kept = take_differences(out, values, a, b, count);
        double sum = 0.0;
        for (size_t i = 0; i < kept; i++) {
            sum += values[i];
        }
        double observed = fabs(sum) - EPSILON * magnitude(values, kept);
        out->exact = kept <= EXACT_LIMIT;
        out->p = kept == 0    ? 1.0
                 : out->exact ? exact_p(values, kept, observed)
                              : sampled_p(values, kept, observed, rounds, seed);
    }
    free(values);
    return rc;
}
