/* bf16_kernel.c - matrix products of float32 matrices rounded to bfloat16, summed in
 * float32.
 *
 * Rounding happens where a matrix is laid out for the registers, so that activations and
 * gradients stay float32 in memory and a pass of conversions over them is never made. Two
 * numbers that follow one another along the summed dimension are a *pair* in 32 bits: one
 * instruction of AVX512_BF16 multiplies and adds vectors of pairs; elsewhere its two halves
 * are widened to float32 again, which gives the same products at the speed of float32.
 *
 * The right matrix comes in blocks of DEPTH rows, these in panels of TILE_VECTORS vectors
 * of columns, these in pairs of rows (Goto and van de Geijn 2008, Anatomy of
 * high-performance matrix multiplication): a panel stays in the nearest caches while
 * the rows of the left one pass by.
 */
#include <string.h>

#include "model/kernels/bf16.h"
#include "model/kernels/chunks.h"
#include "model/kernels/kernels.h"

/* ROW_BLOCK rows of DEPTH of the left matrix stay in the second-level cache. */
enum { ROW_BLOCK = 96, DEPTH = TANDEM_BF16_DEPTH, PAIRS = DEPTH / 2 };

/* ---- laying out ------------------------------------------------------------------------- */

/* Pairs of two rows: to [pairs, width rounded up to lanes] with `stride` from [depth, width]. */
static void pairs_of_rows(const float *from, size_t ld, size_t depth, size_t width, uint32_t *to, size_t stride) {
    for (size_t k = 0; k < depth; k += 2, from += 2 * ld, to += stride) {
        for (size_t i = 0; i < width; i += LANES) {
            vfloat high = k + 1 < depth ? vload_first(from + ld + i, width - i) : (vfloat){0};
            vstore_words(to + i, vpair(vload_first(from + i, width - i), high));
        }
    }
}

/* Pairs within a row: to [rows, PAIRS] from [rows, depth]. */
static void pairs_within_rows(const float *from, size_t ld, size_t rows, size_t depth, uint32_t *to) {
    for (size_t row = 0; row < rows; row++, from += ld, to += PAIRS) {
        for (size_t k = 0; k < depth; k += LANES) {
            vstore_bf16(to + k / 2, vload_first(from + k, depth - k));
        }
    }
}

/* One panel of a block of the right matrix: from [depth, width], or its transpose. */
static void lay_out_panel(const float *from, size_t ld, bool transposed, size_t depth, size_t width, uint32_t *to) {
    size_t stride = round_up(width, LANES), pairs = (depth + 1) / 2;
    if (!transposed) {
        pairs_of_rows(from, ld, depth, width, to, stride);
        return;
    }
    uint32_t lines[LANES * PAIRS];
    for (size_t first = 0; first < width; first += LANES, to += LANES) {
        size_t count = width - first < LANES ? width - first : LANES;
        pairs_within_rows(from + first * ld, ld, count, depth, lines);
        memset(lines + count * PAIRS, 0, (LANES - count) * PAIRS * sizeof *lines);
        for (size_t k = 0; k < pairs; k++) {
            for (size_t i = 0; i < LANES; i++) {
                to[k * stride + i] = lines[i * PAIRS + k];
            }
        }
    }
}

/* ---- whole matrices ------------------------------------------------------------------------ */

tandem_bf16_lay_out_fn TANDEM_KERNEL(bf16_lay_out);
tandem_bf16_multiply_fn TANDEM_KERNEL(bf16_multiply);
tandem_bf16_gradient_fn TANDEM_KERNEL(bf16_gradient);

void TANDEM_KERNEL(bf16_lay_out)(tandem_extent extent, const float *from, bool transposed, uint32_t *to) {
    size_t depth = extent.rows, width = extent.width, panels = divide_up(width, PANEL), blocks = divide_up(depth, DEPTH);
    size_t ld = transposed ? depth : width, stride = round_up(width, LANES);
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (size_t i = 0; i < blocks * panels; i++) {
        size_t k = i / panels * DEPTH, first = i % panels * PANEL, deep = least_of(depth - k, DEPTH);
        lay_out_panel(from + (transposed ? first * ld + k : k * ld + first), ld, transposed, deep, least_of(width - first, PANEL), to + k / 2 * stride + (deep + 1) / 2 * first);
    }
}

void TANDEM_KERNEL(bf16_multiply)(size_t rows, const tandem_laid_out *b, tandem_columns columns, const float *x, float *c) {
    size_t width = b->width, depth = b->depth, stride = round_up(width, LANES);
    const uint32_t *words = b->data;
    c += columns.first;
    for (size_t first = 0; first < rows; first += ROW_BLOCK) {
        uint32_t block[ROW_BLOCK * PAIRS];
        size_t count = least_of(rows - first, ROW_BLOCK);
        for (size_t k = 0; k < depth; k += DEPTH) {
            size_t deep = least_of(depth - k, DEPTH);
            pairs_within_rows(x + first * depth + k, depth, count, deep, block);
            const uint32_t *panels = words + k / 2 * stride + (deep + 1) / 2 * columns.first;
            pair_multiply_panels(count, (deep + 1) / 2, columns.end - columns.first, (pair_left){block, PAIRS, 1}, panels, c + first * width, width, k > 0);
        }
    }
}

void TANDEM_KERNEL(bf16_gradient)(tandem_extent extent, size_t depth, const float *a, const float *b, uint32_t *scratch, float *c) {
    size_t width = extent.width, rows = block_rows(extent.rows, ROW_BLOCK, extent.threads);
#pragma omp parallel num_threads(extent.threads)
    for (size_t k = 0; k < depth; k += DEPTH) {
        size_t deep = least_of(depth - k, DEPTH), pairs = (deep + 1) / 2;
#pragma omp for schedule(static)
        for (size_t first = 0; first < width; first += PANEL) {
            lay_out_panel(b + k * width + first, width, false, deep, least_of(width - first, PANEL), scratch + pairs * first);
        }
#pragma omp for schedule(static)
        for (size_t first = 0; first < extent.rows; first += rows) {
            uint32_t block[PAIRS * ROW_BLOCK];
            size_t count = least_of(extent.rows - first, rows);
            pairs_of_rows(a + k * extent.rows + first, extent.rows, deep, count, block, ROW_BLOCK);
            pair_multiply_panels(count, pairs, width, (pair_left){block, 1, ROW_BLOCK}, scratch, c + first * width, width, true);
        }
    }
}
