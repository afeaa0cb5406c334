/* compare.c - paired tests over queries: the randomization test, the t-test, Holm's correction. */
#include "tandem/compare.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "tandem/memory.h"
#include "tandem/random.h"

enum { EXACT_LIMIT = 20 }; /* 2^19 assignments: some milliseconds */

/* ---- differences ----------------------------------------------------------------------- */
/* b - a, and 0 where both are one value but for rounding. */
static double difference_of(double a, double b)
{
    return fabs(b - a) <= TANDEM_ROUNDING * fmax(fabs(a), fabs(b)) ? 0.0 : b - a;
}

static int take_differences(double *out, const double *a, const double *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) {
            return tandem_error("a comparison needs finite values, found %g and %g of query %zu", a[i], b[i], i + 1);
        }
        out[i] = difference_of(a[i], b[i]);
    }
    return TANDEM_OK;
}

/* Moves the differences that are not zero to the front; how many there are. */
static size_t drop_ties(double *values, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (values[i] != 0) {
            values[kept++] = values[i];
        }
    }
    return kept;
}

static double sum_of(const double *values, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += values[i];
    }
    return sum;
}

/* ---- randomization test ---------------------------------------------------------------- */
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

/* Of differences that are not zero. */
static void randomize(tandem_comparison *out, const double *values, size_t count, size_t rounds, uint64_t seed)
{
    double magnitude = 0.0;
    for (size_t i = 0; i < count; i++) {
        magnitude += fabs(values[i]);
    }
    double observed = fabs(sum_of(values, count)) - TANDEM_ROUNDING * magnitude;
    out->exact = count <= EXACT_LIMIT;
    out->p = count == 0   ? 1.0
             : out->exact ? exact_p(values, count, observed)
                          : sampled_p(values, count, observed, rounds, seed);
}

/* ---- t-test ------------------------------------------------------------------------------ */
/* Regularized incomplete beta function I_x(a, b) by its continued fraction (DLMF 8.17.22), evaluated
 * from the front (Lentz's method); it converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double x, double a, double b)
{
    double numerator = 1, denominator = 1 / (1 - (a + b) * x / (a + 1)), value = denominator;
    for (int m = 1; m < 10000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        denominator = 1 / (1 + even * denominator);
        numerator = 1 + even / numerator;
        value *= numerator * denominator;
        denominator = 1 / (1 + odd * denominator);
        numerator = 1 + odd / numerator;
        value *= numerator * denominator;
        if (fabs(numerator * denominator - 1) < 4 * DBL_EPSILON) {
            break;
        }
    }
    return value;
}

static double beta_tail(double x, double a, double b)
{
    return exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a * beta_fraction(x, a, b);
}

static double incomplete_beta(double x, double a, double b)
{
    if (x <= 0 || x >= 1) {
        return x <= 0 ? 0 : 1;
    }
    return x < (a + 1) / (a + b + 2) ? beta_tail(x, a, b) : 1 - beta_tail(1 - x, b, a);
}

/* Of all differences, ties included. */
static void student(tandem_comparison *out, const double *values, size_t count)
{
    double mean = out->difference, squares = 0.0, largest = 0.0;
    for (size_t i = 0; i < count; i++) {
        squares += (values[i] - mean) * (values[i] - mean);
        largest = fmax(largest, fabs(values[i]));
    }
    double deviation = count > 1 ? sqrt(squares / (double)(count - 1)) : 0;
    out->t = out->t_p = out->effect = (double)NAN;
    if (deviation <= TANDEM_ROUNDING * largest) {
        return;
    }
    double freedom = (double)(count - 1);
    out->effect = mean / deviation;
    out->t = out->effect * sqrt((double)count);
    out->t_p = incomplete_beta(freedom / (freedom + out->t * out->t), freedom / 2, 0.5);
}

/* ---- both -------------------------------------------------------------------------------- */
static int compare(tandem_comparison *out, double *values, size_t count, size_t rounds, uint64_t seed)
{
    out->difference = sum_of(values, count) / (double)count;
    for (size_t i = 0; i < count; i++) {
        out->wins += values[i] > 0;
        out->losses += values[i] < 0;
        out->ties += values[i] == 0;
    }
    student(out, values, count);
    TANDEM_TRY(tandem_bootstrap_mean(&out->interval, values, count, TANDEM_BOOTSTRAP_RESAMPLES, seed));
    randomize(out, values, drop_ties(values, count), rounds, seed);
    return TANDEM_OK;
}

int tandem_compare_paired(tandem_comparison *out, const double *a, const double *b, size_t count, size_t rounds,
                          uint64_t seed)
{
    *out = (tandem_comparison){0};
    if (count == 0 || rounds == 0) {
        return tandem_error("a comparison needs queries and rounds, found %zu and %zu", count, rounds);
    }
    double *values = tandem_alloc(count, sizeof *values);
    int rc = values ? take_differences(values, a, b, count) : TANDEM_ERROR;
    if (rc >= 0) {
        rc = compare(out, values, count, rounds, seed);
    }
    free(values);
    return rc;
}

/* ---- several comparisons --------------------------------------------------------------------- */
typedef struct {
    double value;
    size_t index;
} keyed;

static int by_value(const void *left, const void *right)
{
    const keyed *a = left, *b = right;
    if (a->value != b->value) {
        return a->value < b->value ? -1 : 1;
    }
    return (a->index > b->index) - (a->index < b->index);
}

int tandem_holm(double *adjusted, const double *p, size_t count)
{
    keyed *order = tandem_alloc(count, sizeof *order);
    if (!order) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        order[i] = (keyed){p[i], i};
    }
    qsort(order, count, sizeof *order, by_value);
    double largest = 0.0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fmin(1.0, order[i].value * (double)(count - i)));
        adjusted[order[i].index] = largest;
    }
    free(order);
    return TANDEM_OK;
}

/* ---- queries that moved ----------------------------------------------------------------------- */
static int by_gain(const void *left, const void *right)
{
    const tandem_move *a = left, *b = right;
    if (a->difference != b->difference) {
        return a->difference > b->difference ? -1 : 1;
    }
    return (a->query > b->query) - (a->query < b->query);
}

void tandem_moves(tandem_move *out, const double *a, const double *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (tandem_move){i, difference_of(a[i], b[i])};
    }
    qsort(out, count, sizeof *out, by_gain);
}
