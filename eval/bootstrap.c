/* bootstrap.c - intervals of a mean over queries. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "tandem/compare.h"
#include "tandem/memory.h"
#include "tandem/random.h"

static const double NORMAL_975 = 1.959963984540054; /* the normal distribution's quantile at 0.975 */

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

static double normal_share(double z)
{
    return 0.5 * erfc(-z * M_SQRT1_2);
}

/* The z below which a share p in (0, 1) lies, by bisection: 64 halvings of [-40, 40] leave no
 * double between, and it is asked for once an interval. */
static double normal_quantile(double p)
{
    double low = -40, high = 40;
    for (int i = 0; i < 64; i++) {
        double middle = (low + high) / 2;
        *(normal_share(middle) < p ? &low : &high) = middle;
    }
    return (low + high) / 2;
}

/* Uniform in [0, count) from the high half of a product: one number of 2^64 in `count` less or more
 * likely does not matter here, and two divisions a draw would. */
static size_t draw(tandem_random *random, size_t count)
{
    __extension__ typedef unsigned __int128 wide;
    return (size_t)((wide)tandem_random_next(random) * count >> 64);
}

static void resample(double *means, size_t resamples, const double *values, size_t count, uint64_t seed)
{
    tandem_random random = tandem_random_stream(seed, "bootstrap", 0);
    for (size_t r = 0; r < resamples; r++) {
        double sum = 0.0;
        for (size_t i = 0; i < count; i++) {
            sum += values[draw(&random, count)];
        }
        means[r] = sum / (double)count;
    }
    qsort(means, resamples, sizeof *means, ascending);
}

/* What makes the percentiles asymmetric: the skewness of the values and how far the mean is from
 * the median of the resampled means. */
static void accelerate(tandem_interval *out, const double *means, size_t resamples, const double *values, size_t count)
{
    double mean = 0.0, magnitude = 0.0, squares = 0.0, cubes = 0.0, below = 0.0;
    for (size_t i = 0; i < count; i++) {
        mean += values[i] / (double)count;
        magnitude += fabs(values[i]) / (double)count;
    }
    for (size_t i = 0; i < count; i++) {
        double deviation = values[i] - mean;
        squares += deviation * deviation;
        cubes += deviation * deviation * deviation;
    }
    for (size_t r = 0; r < resamples; r++) {
        below += fabs(means[r] - mean) <= TANDEM_ROUNDING * magnitude ? 0.5 : means[r] < mean;
    }
    double share = below / (double)resamples;
    bool skewed = squares > 0 && share > 0 && share < 1;
    double acceleration = skewed ? cubes / (6 * pow(squares, 1.5)) : 0;
    double bias = skewed ? normal_quantile(share) : 0;
    double from = bias - NORMAL_975, to = bias + NORMAL_975;
    out->low = quantile(means, resamples, normal_share(bias + from / (1 - acceleration * from)));
    out->high = quantile(means, resamples, normal_share(bias + to / (1 - acceleration * to)));
}

int tandem_bootstrap_mean(tandem_bootstrap *out, const double *values, size_t count, size_t resamples, uint64_t seed)
{
    if (count == 0 || resamples == 0) {
        return tandem_error("a bootstrap interval needs values and resamples, found %zu and %zu", count, resamples);
    }
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return tandem_error("a bootstrap interval needs finite values, found %g as value %zu", values[i], i + 1);
        }
    }
    double *means = tandem_alloc(resamples, sizeof *means);
    if (!means) {
        return TANDEM_ERROR;
    }
    resample(means, resamples, values, count, seed);
    out->percentile.low = quantile(means, resamples, 0.025);
    out->percentile.high = quantile(means, resamples, 0.975);
    accelerate(&out->bca, means, resamples, values, count);
    free(means);
    return TANDEM_OK;
}
