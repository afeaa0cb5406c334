/* float_kernel.c - products of blocks of rows in float32 with weights that were laid out beforehand, in panels of
 * TILE_VECTORS vectors of columns as in product_kernel.c: nothing is copied when a product is made, so that a few rows
 * cost no more than the reading of the weights. */
#include "model/kernels/kernels.h"
#include "model/kernels/simd.h"

enum { TILE_VECTORS = 3, PANEL = TILE_VECTORS * LANES };
#if defined(__AVX512F__)
enum { TILE_ROWS = 8 };
#else
enum { TILE_ROWS = 4 };
#endif

tandem_float_lay_out_fn TANDEM_KERNEL(float_lay_out);
tandem_float_multiply_fn TANDEM_KERNEL(float_multiply);

static size_t least_of(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t vectors_of(size_t columns) {
    return (columns + LANES - 1) / LANES;
}

void TANDEM_KERNEL(float_lay_out)(tandem_extent extent, const float *from, float *to) {
    size_t depth = extent.rows, width = extent.width;
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (size_t first = 0; first < width; first += PANEL) {
        size_t columns = least_of(width - first, PANEL), stride = vectors_of(columns) * LANES;
        float *panel = to + first * depth;
        for (size_t k = 0; k < depth; k++) {
            for (size_t i = 0; i < stride; i++) {
                panel[k * stride + i] = i < columns ? from[(first + i) * depth + k] : 0;
            }
        }
    }
}

/* c[r, 0..vectors) of whole rows; the last vector has `tail` columns. rows and vectors are constants after inlining. */
ALWAYS_INLINE void tile(int rows, int vectors, size_t depth, const float *a, const float *b, float *c, size_t ldc, size_t tail) {
    vfloat sum[TILE_ROWS][TILE_VECTORS];
    const float *row[TILE_ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        row[r] = a + (size_t)r * depth;
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = vsplat(0);
        }
    }
    for (size_t k = 0; k < depth; k++, b += vectors * LANES) {
        vfloat line[TILE_VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            line[v] = vload(b + v * LANES);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            float scalar = row[r][k];
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) {
                sum[r][v] += scalar * line[v];
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            float *to = c + (size_t)r * ldc + v * LANES;
            if (v < vectors - 1 || tail == LANES) {
                vstore(to, sum[r][v]);
            } else {
                vstore_part(to, sum[r][v], tail);
            }
        }
    }
}

/* All rows of one panel. */
ALWAYS_INLINE void tile_column(int vectors, size_t rows, size_t depth, const float *a, const float *b, float *c, size_t ldc, size_t tail) {
#pragma GCC unroll 4
    for (int part = TILE_ROWS; part > 0; part /= 2) {
        for (; rows >= (size_t)part; rows -= (size_t)part, a += (size_t)part * depth, c += (size_t)part * ldc) {
            tile(part, vectors, depth, a, b, c, ldc, tail);
        }
    }
}

void TANDEM_KERNEL(float_multiply)(size_t rows, const tandem_laid_out *b, const float *x, float *c) {
    const float *panel = b->data;
    for (size_t first = 0; first < b->width; first += PANEL, panel += b->depth * PANEL) {
        size_t columns = least_of(b->width - first, PANEL), vectors = vectors_of(columns), tail = columns - (vectors - 1) * LANES;
        if (vectors == 3) {
            tile_column(3, rows, b->depth, x, panel, c + first, b->width, tail);
        } else if (vectors == 2) {
            tile_column(2, rows, b->depth, x, panel, c + first, b->width, tail);
        } else {
            tile_column(1, rows, b->depth, x, panel, c + first, b->width, tail);
        }
    }
}
