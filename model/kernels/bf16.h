/* bf16.h - numbers of bfloat16 in pairs, and register tiles that multiply them: what products and attention in
 * bfloat16 share. */
#ifndef TANDEM_MODEL_KERNELS_BF16_H
#define TANDEM_MODEL_KERNELS_BF16_H

#include <stdbool.h>

#include "model/kernels/simd.h"

/* Rows and vectors of a register tile, as attention_kernel.c has them. */
enum { PAIR_TILE_VECTORS = 3 };
#if defined(__AVX512F__)
enum { PAIR_TILE_ROWS = 8 };
#else
enum { PAIR_TILE_ROWS = 4 };
#endif

/* ---- numbers --------------------------------------------------------------------------- */

/* To bfloat16, to the nearest, ties to even, in the low half of each lane; no number stays
 * none. AVX512_BF16 takes numbers below 2^-126 for 0. */
ALWAYS_INLINE vuint vbf16(vfloat v) {
#if defined(__AVX512BF16__)
    return (vuint)_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)v));
#else
    vuint bits = (vuint)v, rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (vuint)vselect((vint)(v == v), (vfloat)rounded, (vfloat)((bits >> 16) | 0x40));
#endif
}

/* sum + the products of both halves of the pairs. */
ALWAYS_INLINE vfloat vdot(vfloat sum, vuint a, vuint b) {
#if defined(__AVX512BF16__)
    return (vfloat)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    sum += (vfloat)(a << 16) * (vfloat)(b << 16);
    return sum + (vfloat)(a & 0xffff0000) * (vfloat)(b & 0xffff0000);
#endif
}

ALWAYS_INLINE vfloat load_floats(const float *from, size_t left) {
    return left >= LANES ? vload(from) : vload_part(from, left);
}

ALWAYS_INLINE vuint load_pairs(const uint32_t *from) {
    vuint v;
    memcpy(&v, from, sizeof v);
    return v;
}

ALWAYS_INLINE void store_pairs(uint32_t *to, vuint v) {
    memcpy(to, &v, sizeof v);
}

/* ---- register tiles ---------------------------------------------------------------------- */

/* Pairs of the left matrix: that of row r and pair p at data[r * row + p * step]. */
typedef struct {
    const uint32_t *data;
    size_t row, step;
} pairs_of;

/* c[r, 0..vectors) (+)= sum over p of a(r, p) * b[p, 0..vectors); leading dimensions ldb and ldc; the last vector of c has
 * `tail` columns. rows and vectors are constants after inlining. */
ALWAYS_INLINE void pair_tile(int rows, int vectors, size_t pairs, pairs_of a, const uint32_t *b, size_t ldb, float *c, size_t ldc, size_t tail, bool add) {
    vfloat sum[PAIR_TILE_ROWS][PAIR_TILE_VECTORS];
    const uint32_t *pointer[PAIR_TILE_ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        pointer[r] = a.data + (size_t)r * a.row;
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = add ? load_floats(c + (size_t)r * ldc + (size_t)(v * LANES), v == vectors - 1 ? tail : LANES) : vsplat(0);
        }
    }
    for (size_t p = 0; p < pairs; p++) {
        vuint line[PAIR_TILE_VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            line[v] = load_pairs(b + p * ldb + (size_t)(v * LANES));
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vuint pair = pointer[r][p * a.step] - (vuint){0};
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) {
                sum[r][v] = vdot(sum[r][v], pair, line[v]);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            float *to = c + (size_t)r * ldc + (size_t)(v * LANES);
            if (v < vectors - 1 || tail == LANES) {
                vstore(to, sum[r][v]);
            } else {
                vstore_part(to, sum[r][v], tail);
            }
        }
    }
}

/* All rows of one column of tiles. */
ALWAYS_INLINE void pair_tile_column(int vectors, size_t rows, size_t pairs, pairs_of a, const uint32_t *b, size_t ldb, float *c, size_t ldc, size_t tail, bool add) {
    size_t r = 0;
    for (; r + PAIR_TILE_ROWS <= rows; r += PAIR_TILE_ROWS) {
        pair_tile(PAIR_TILE_ROWS, vectors, pairs, a, b, ldb, c, ldc, tail, add);
        a.data += PAIR_TILE_ROWS * a.row;
        c += PAIR_TILE_ROWS * ldc;
    }
#pragma GCC unroll 3
    for (int part = PAIR_TILE_ROWS / 2; part > 0; part /= 2) {
        if (rows - r >= (size_t)part) {
            pair_tile(part, vectors, pairs, a, b, ldb, c, ldc, tail, add);
            a.data += (size_t)part * a.row;
            c += (size_t)part * ldc;
            r += (size_t)part;
        }
    }
}

#endif
