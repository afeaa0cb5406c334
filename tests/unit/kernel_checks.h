/* kernel_checks.h - what the tests of the CPU kernels share: memory, and the comparison
 * with a reference. */
#ifndef TANDEM_TESTS_KERNEL_CHECKS_H
#define TANDEM_TESTS_KERNEL_CHECKS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/kernels/kernels.h"
#include "tandem/random.h"

enum { THREADS = 2 };

/* Uniform in [-span, span). */
static inline void fill(tandem_random *random, float *x, size_t count, double span)
{
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)(span * (2 * tandem_random_double(random) - 1));
    }
}

static inline float *floats(size_t count)
{
    float *x = aligned_alloc(64, (count * sizeof *x + 63) / 64 * 64 + 64);
    assert_non_null(x);
    memset(x, 0, count * sizeof *x);
    return x;
}

static inline float *random_floats(tandem_random *random, size_t count, double span)
{
    float *x = floats(count);
    fill(random, x, count, span);
    return x;
}

static inline double *doubles(size_t count)
{
    double *x = calloc(count + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

/* Fails when an element differs by more than `tolerance` of the greatest one. */
static inline void check_close(const char *what, tandem_isa isa, const float *found, const double *expected, size_t count, double tolerance)
{
    double greatest = 1e-30, worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        greatest = fmax(greatest, fabs(expected[i]));
        double difference = fabs((double)found[i] - expected[i]);
        if (!(difference <= worst)) {
            worst = difference;
            at = i;
        }
    }
    if (!(worst <= tolerance * greatest)) {
        fail_msg("%s, %s: element %zu is %.9g, expected %.9g (off by %.2e of the greatest, allowed %.2e)", what, tandem_isa_name(isa), at, (double)found[at], expected[at],
                 worst / greatest, tolerance);
    }
}

#endif
