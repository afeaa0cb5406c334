/* norm_kernel.c - dropout, residual addition and LayerNorm in one pass, and their
 * backward pass; sums over rows. Loops are written element by element where the compiler makes vectors of them as well. */
#include <math.h>
#include <string.h>

#include "model/kernels/chunks.h"
#include "model/kernels/kernels.h"
#include "model/kernels/mask.h"
#include "model/kernels/simd.h"

tandem_residual_norm_forward_fn TANDEM_KERNEL(residual_norm_forward);
tandem_residual_norm_backward_fn TANDEM_KERNEL(residual_norm_backward);
tandem_dropout_fn TANDEM_KERNEL(dropout);
tandem_column_sum_fn TANDEM_KERNEL(column_sum);

/* ---- forward ------------------------------------------------------------------------ */

/* The sum of (x - centre), or with `squared` of its square, which is a constant after inlining. */
ALWAYS_INLINE float sum_of(const float *x, float centre, bool squared, size_t width) {
    vfloat sums[APART] = {0};
    size_t i = 0;
    for (; i + APART * LANES <= width; i += APART * LANES) {
#pragma GCC unroll 4
        for (int j = 0; j < APART; j++) {
            vfloat v = vload(x + i + j * LANES) - centre;
            sums[j] += squared ? v * v : v;
        }
    }
    float end = 0;
    for (; i < width; i++) {
        end += squared ? (x[i] - centre) * (x[i] - centre) : x[i] - centre;
    }
    return vsum((sums[0] + sums[1]) + (sums[2] + sums[3])) + end;
}

static void normalize_row(const float *sum, const float *weight, const float *shift, float eps, size_t width, float *out, float *stats) {
    float mean = sum_of(sum, 0, false, width) / (float)width;
    float inverse = 1.0f / sqrtf(sum_of(sum, mean, true, width) / (float)width + eps);
    if (shift != NULL) {
        for (size_t i = 0; i < width; i++) {
            out[i] = (sum[i] - mean) * inverse * weight[i] + shift[i];
        }
    } else {
        for (size_t i = 0; i < width; i++) {
            out[i] = (sum[i] - mean) * inverse * weight[i];
        }
    }
    stats[0] = mean;
    stats[1] = inverse;
}

/* to = x + bias + residual, either of which may be NULL. */
static void add_row(const float *x, const float *bias, const float *residual, size_t width, float *to) {
    if (bias != NULL && residual != NULL) {
        for (size_t i = 0; i < width; i++) {
            to[i] = x[i] + bias[i] + residual[i];
        }
    } else if (bias != NULL || residual != NULL) {
        const float *added = bias != NULL ? bias : residual;
        for (size_t i = 0; i < width; i++) {
            to[i] = x[i] + added[i];
        }
    } else if (to != x) {
        memcpy(to, x, width * sizeof *to);
    }
}

void TANDEM_KERNEL(residual_norm_forward)(tandem_extent extent, const float *x, const float *bias, const float *residual, tandem_mask mask, const float *weight, const float *shift,
                                          float eps, float *sum, float *out, float *stats) {
    size_t width = extent.width;
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (size_t row = 0; row < extent.rows; row++) {
        const float *from = x + row * width, *added = residual == NULL ? NULL : residual + row * width;
        float *to = sum + row * width;
        if (mask.threshold == 0) {
            add_row(from, bias, added, width, to);
        } else {
            add_row(from, bias, NULL, width, to);
            mask_row(to, mask, row, width, to);
            add_row(to, added, NULL, width, to);
        }
        if (weight != NULL) {
            normalize_row(to, weight, shift, eps, width, out + row * width, stats + 2 * row);
        }
    }
}

/* ---- backward ------------------------------------------------------------------------- */

/* d_sum = inverse * (g - mean(g) - normed * mean(g * normed)) with g = d_out * weight;
 * d_weight += d_out * normed, d_shift += d_out. */
static void normalize_row_backward(const float *d_out, const float *sum, const float *stats, const float *weight, size_t width, float *d_sum, float *d_weight, float *d_shift) {
    float mean = stats[0], inverse = stats[1], g_total = 0, g_normed = 0;
#pragma omp simd reduction(+ : g_total, g_normed)
    for (size_t i = 0; i < width; i++) {
        float normed = (sum[i] - mean) * inverse, g = d_out[i] * weight[i];
        g_total += g;
        g_normed += g * normed;
        d_weight[i] += d_out[i] * normed;
        d_shift[i] += d_out[i];
    }
    float g_mean = g_total / (float)width, slope = g_normed / (float)width;
#pragma omp simd
    for (size_t i = 0; i < width; i++) {
        float normed = (sum[i] - mean) * inverse;
        d_sum[i] = inverse * (d_out[i] * weight[i] - g_mean - normed * slope);
    }
}

void TANDEM_KERNEL(residual_norm_backward)(tandem_extent extent, const float *d_out, const float *sum, const float *stats, const float *weight, tandem_mask mask, float *partial,
                                           float *d_residual, float *d_x, float *d_weight, float *d_shift, float *d_bias) {
    size_t width = extent.width;
    memset(partial, 0, (size_t)extent.threads * 3 * width * sizeof *partial);
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (int chunk = 0; chunk < extent.threads; chunk++) {
        float *weights = partial + (size_t)chunk * 3 * width, *shifts = weights + width, *biases = shifts + width;
        size_t end = chunk_start(extent.rows, chunk + 1, extent.threads);
        for (size_t row = chunk_start(extent.rows, chunk, extent.threads); row < end; row++) {
            float *to = d_residual + row * width, *inner = d_x + row * width;
            normalize_row_backward(d_out + row * width, sum + row * width, stats + 2 * row, weight, width, to, weights, shifts);
            if (mask.threshold != 0) {
                mask_row(to, mask, row, width, inner);
            }
            if (d_bias != NULL) {
                for (size_t i = 0; i < width; i++) {
                    biases[i] += inner[i];
                }
            }
        }
    }
    add_partials(partial, 3 * width, extent.threads, width, d_weight);
    if (d_shift != NULL) {
        add_partials(partial + width, 3 * width, extent.threads, width, d_shift);
    }
    if (d_bias != NULL) {
        add_partials(partial + 2 * width, 3 * width, extent.threads, width, d_bias);
    }
}

/* ---- dropout and sums alone -------------------------------------------------------------- */

void TANDEM_KERNEL(dropout)(tandem_extent extent, const float *x, tandem_mask mask, float *out) {
    size_t width = extent.width;
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (size_t row = 0; row < extent.rows; row++) {
        mask_row(x + row * width, mask, row, width, out + row * width);
    }
}

void TANDEM_KERNEL(column_sum)(tandem_extent extent, const float *x, float *partial, float *out) {
    size_t width = extent.width;
    memset(partial, 0, (size_t)extent.threads * width * sizeof *partial);
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (int chunk = 0; chunk < extent.threads; chunk++) {
        float *sums = partial + (size_t)chunk * width;
        size_t end = chunk_start(extent.rows, chunk + 1, extent.threads);
        for (size_t row = chunk_start(extent.rows, chunk, extent.threads); row < end; row++) {
            for (size_t i = 0; i < width; i++) {
                sums[i] += x[row * width + i];
            }
        }
    }
    add_partials(partial, width, extent.threads, width, out);
}
