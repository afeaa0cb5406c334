/* row_kernel.c - rows of embedding tables in and out, and pooling over sequences. */
#include <string.h>

#include "model/kernels/chunks.h"
#include "model/kernels/kernels.h"

tandem_rows_gather_fn TANDEM_KERNEL(rows_gather);
tandem_rows_scatter_fn TANDEM_KERNEL(rows_scatter);
tandem_segment_sum_fn TANDEM_KERNEL(segment_sum);
tandem_segment_spread_fn TANDEM_KERNEL(segment_spread);

void TANDEM_KERNEL(rows_gather)(tandem_extent extent, const float *table, const int32_t *index, bool add, float *out) {
    size_t width = extent.width;
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (size_t row = 0; row < extent.rows; row++) {
        const float *from = table + (size_t)index[row] * width;
        float *to = out + row * width;
        if (!add) {
            memcpy(to, from, width * sizeof *to);
            continue;
        }
        for (size_t i = 0; i < width; i++) {
            to[i] += from[i];
        }
    }
}

void TANDEM_KERNEL(rows_scatter)(tandem_extent extent, const float *x, const int32_t *index, float *table) {
    size_t width = extent.width;
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (int chunk = 0; chunk < extent.threads; chunk++) {
        size_t first = chunk_start(width, chunk, extent.threads), end = chunk_start(width, chunk + 1, extent.threads);
        for (size_t row = 0; row < extent.rows; row++) {
            if (index[row] < 0) {
                continue;
            }
            const float *from = x + row * width;
            float *to = table + (size_t)index[row] * width;
            for (size_t i = first; i < end; i++) {
                to[i] += from[i];
            }
        }
    }
}

/* Columns that are summed together; their doubles stay in the first-level cache. */
enum { COLUMNS = 256 };

void TANDEM_KERNEL(segment_sum)(tandem_extent extent, const float *x, const int32_t *offsets, const double *scale, bool ramp, float *out) {
    size_t width = extent.width;
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (size_t s = 0; s < extent.rows; s++) {
        for (size_t first = 0; first < width; first += COLUMNS) {
            size_t count = width - first < COLUMNS ? width - first : COLUMNS;
            double sum[COLUMNS] = {0};
            for (int32_t row = offsets[s]; row < offsets[s + 1]; row++) {
                const float *from = x + (size_t)row * width + first;
                double times = ramp ? row - offsets[s] + 1 : 1;
                for (size_t i = 0; i < count; i++) {
                    sum[i] += times * (double)from[i];
                }
            }
            for (size_t i = 0; i < count; i++) {
                out[s * width + first + i] = (float)(scale[s] * sum[i]);
            }
        }
    }
}

void TANDEM_KERNEL(segment_spread)(tandem_extent extent, const float *d_out, const int32_t *offsets, const double *scale, bool ramp, float *d_x) {
    size_t width = extent.width;
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (size_t s = 0; s < extent.rows; s++) {
        for (int32_t row = offsets[s]; row < offsets[s + 1]; row++) {
            float factor = (float)(ramp ? scale[s] * (row - offsets[s] + 1) : scale[s]);
            for (size_t i = 0; i < width; i++) {
                d_x[(size_t)row * width + i] = factor * d_out[s * width + i];
            }
        }
    }
}
