/* tile.h - register tiles, what all products of matrices are made of: words of the left matrix, each broadcast, times
 * vectors of words of the right one.
 *
 * Included once for each kind of words, with these, which it takes back:
 *   TILE(name)                  the names of what it makes
 *   TILE_WORD, TILE_VECTOR      a float, or a pair of narrower numbers in 32 bits; LANES of them
 *   TILE_STEP(sum, word, line)  sum + the products of a word and of each in a vector
 * It makes
 *   TILE(left)     a left matrix
 *   TILE(columns)  the product of all its rows and a few vectors of columns
 */
#include "model/kernels/simd.h"

/* Word k of row r at data[r * row + k * step]. */
typedef struct {
    const TILE_WORD *data;
    size_t row, step;
} TILE(left);

/* c[r, 0..vectors) (+)= sum over k of a(r, k) * b[k, 0..vectors); leading dimensions ldb and ldc; the last vector of c has
 * `tail` columns. rows and vectors are constants after inlining. */
ALWAYS_INLINE void TILE(tile)(int rows, int vectors, size_t depth, TILE(left) a, const TILE_WORD *b, size_t ldb, float *c, size_t ldc, size_t tail, bool add) {
    vfloat sum[TILE_ROWS][TILE_VECTORS];
    const TILE_WORD *pointer[TILE_ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        pointer[r] = a.data + (size_t)r * a.row;
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = add ? vload_first(c + (size_t)r * ldc + (size_t)(v * LANES), v == vectors - 1 ? tail : LANES) : vsplat(0);
        }
    }
    for (size_t k = 0; k < depth; k++) {
        TILE_VECTOR line[TILE_VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            memcpy(&line[v], b + k * ldb + (size_t)(v * LANES), sizeof line[v]);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            TILE_WORD word = pointer[r][k * a.step];
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) {
                sum[r][v] = TILE_STEP(sum[r][v], word, line[v]);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            vstore_first(c + (size_t)r * ldc + (size_t)(v * LANES), sum[r][v], v == vectors - 1 ? tail : LANES);
        }
    }
}

ALWAYS_INLINE void TILE(all_rows)(int vectors, size_t rows, size_t depth, TILE(left) a, const TILE_WORD *b, size_t ldb, float *c, size_t ldc, size_t tail, bool add) {
#pragma GCC unroll 4
    for (int part = TILE_ROWS; part > 0; part /= 2) {
        for (; rows >= (size_t)part; rows -= (size_t)part, a.data += (size_t)part * a.row, c += (size_t)part * ldc) {
            TILE(tile)(part, vectors, depth, a, b, ldb, c, ldc, tail, add);
        }
    }
}

/* c [rows, columns] (+)= a [rows, depth] * b, at most TILE_VECTORS vectors of columns. */
ALWAYS_INLINE void TILE(columns)(size_t columns, size_t rows, size_t depth, TILE(left) a, const TILE_WORD *b, size_t ldb, float *c, size_t ldc, bool add) {
    size_t vectors = divide_up(columns, LANES), tail = columns - (vectors - 1) * LANES;
    if (vectors == 3) {
        TILE(all_rows)(3, rows, depth, a, b, ldb, c, ldc, tail, add);
    } else if (vectors == 2) {
        TILE(all_rows)(2, rows, depth, a, b, ldb, c, ldc, tail, add);
    } else {
        TILE(all_rows)(1, rows, depth, a, b, ldb, c, ldc, tail, add);
    }
}

/* c [rows, width] (+)= a [rows, depth] * b [depth, width], the rows of b padded to whole vectors. Four vectors go as two and
 * two: a tile of one would wait for its sums. */
ALWAYS_INLINE void TILE(multiply)(size_t rows, size_t depth, size_t width, TILE(left) a, const TILE_WORD *b, size_t ldb, float *c, size_t ldc, bool add) {
    for (size_t take; width > 0; width -= take, b += take, c += take) {
        size_t vectors = divide_up(width, LANES);
        take = least_of(width, vectors == 4 ? 2 * LANES : PANEL);
        TILE(columns)(take, rows, depth, a, b, ldb, c, ldc, add);
    }
}

/* The same with b in panels: of PANEL columns, the last of what is left padded to whole vectors, each [depth, columns]. */
ALWAYS_INLINE void TILE(multiply_panels)(size_t rows, size_t depth, size_t width, TILE(left) a, const TILE_WORD *b, float *c, size_t ldc, bool add) {
    for (size_t first = 0; first < width; first += PANEL, b += depth * PANEL) {
        size_t columns = least_of(width - first, PANEL);
        TILE(columns)(columns, rows, depth, a, b, round_up(columns, LANES), c + first, ldc, add);
    }
}

#undef TILE
#undef TILE_WORD
#undef TILE_VECTOR
#undef TILE_STEP
