/* dot.c - inner products in a fixed order. */
#include "mining/dot.h"

#include <math.h>

enum { LANES = 8 }; /* independent sums, so that the compiler can use vectors */

static double dot(const float *a, const float *b, size_t dim)
{
    double lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            lanes[lane] += (double)a[i + lane] * (double)b[i + lane];
        }
    }
    for (; i < dim; i++) {
        lanes[i % LANES] += (double)a[i] * (double)b[i];
    }
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

float tandem_dot(const float *a, const float *b, size_t dim)
{
    return (float)dot(a, b, dim);
}

int tandem_row_norms(double *out, double *largest, const float *rows, size_t count, size_t dim, const char *what)
{
    double maximum = 0;
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < count; row++) {
        out[row] = sqrt(dot(rows + row * dim, rows + row * dim, dim));
    }
    for (size_t row = 0; row < count; row++) {
        if (!isfinite(out[row])) { /* squares of finite floats do not overflow a double */
            return tandem_error("%s vector in row %zu holds NaN or infinity", what, row);
        }
        maximum = fmax(maximum, out[row]);
    }
    if (largest) {
        *largest = maximum;
    }
    return TANDEM_OK;
}
