/* float_kernel.c - products of float32 matrices, the right one laid out beforehand in panels, which the register tiles
 * read from the second-level cache: nothing is copied when weights are multiplied, so that a few rows cost no more than
 * the reading of the weights. */
#include "model/kernels/chunks.h"
#include "model/kernels/float32.h"
#include "model/kernels/kernels.h"
#include "model/kernels/panels.h"

/* Of a gradient: ROW_BLOCK columns of the left matrix and DEPTH of their rows stay in the second-level cache. */
enum { ROW_BLOCK = 48, DEPTH = TANDEM_FLOAT_DEPTH };

tandem_float_lay_out_fn TANDEM_KERNEL(float_lay_out);
tandem_float_multiply_fn TANDEM_KERNEL(float_multiply);
tandem_float_gradient_fn TANDEM_KERNEL(float_gradient);

void TANDEM_KERNEL(float_lay_out)(tandem_extent extent, const float *from, bool transposed, float *to) {
    size_t depth = extent.rows, width = extent.width;
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (size_t first = 0; first < width; first += PANEL) {
        if (transposed) {
            lay_out_transposed(from + first * depth, depth, depth, least_of(width - first, PANEL), to + first * depth);
        } else {
            lay_out_rows(from + first, width, depth, least_of(width - first, PANEL), to + first * depth);
        }
    }
}

void TANDEM_KERNEL(float_multiply)(size_t rows, const tandem_laid_out *b, tandem_columns columns, const float *x, float *c) {
    const float *panels = (const float *)b->data + b->depth * columns.first;
    float_multiply_panels(rows, b->depth, columns.end - columns.first, (float_left){x, b->depth, 1}, panels, c + columns.first, b->width, false);
}

void TANDEM_KERNEL(float_gradient)(tandem_extent extent, size_t depth, const float *a, const float *b, float *scratch, float *c) {
    size_t width = extent.width, rows = block_rows(extent.rows, ROW_BLOCK, extent.threads);
#pragma omp parallel num_threads(extent.threads)
    for (size_t start = 0; start < depth; start += DEPTH) {
        size_t deep = least_of(depth - start, DEPTH);
#pragma omp for schedule(static)
        for (size_t first = 0; first < width; first += PANEL) {
            lay_out_rows(b + start * width + first, width, deep, least_of(width - first, PANEL), scratch + first * deep);
        }
#pragma omp for schedule(dynamic)
        for (size_t first = 0; first < extent.rows; first += rows) {
            float block[DEPTH * ROW_BLOCK];
            size_t count = least_of(extent.rows - first, rows);
            for (size_t k = 0; k < deep; k++) {
                memcpy(block + k * ROW_BLOCK, a + (start + k) * extent.rows + first, count * sizeof *block);
            }
            float_multiply_panels(count, deep, width, (float_left){block, 1, ROW_BLOCK}, scratch, c + first * width, width, true);
        }
    }
}
