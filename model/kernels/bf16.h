/* bf16.h - numbers of bfloat16 in pairs, and their products: what products and attention in bfloat16 share. */
#ifndef TANDEM_MODEL_KERNELS_BF16_H
#define TANDEM_MODEL_KERNELS_BF16_H

#include "model/kernels/simd.h"

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

/* Pairs of the numbers of two vectors, rounded so. */
ALWAYS_INLINE vuint vpair(vfloat low, vfloat high) {
#if defined(__AVX512BF16__)
    const __m512i both = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (vuint)_mm512_permutexvar_epi16(both, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
#else
    return vbf16(low) | vbf16(high) << 16;
#endif
}

/* The numbers of a vector, rounded so, to half as many words. */
ALWAYS_INLINE void vstore_bf16(uint32_t *to, vfloat v) {
    typedef uint16_t half __attribute__((vector_size(LANES * 2)));
    half halves = __builtin_convertvector(vbf16(v), half);
    memcpy(to, &halves, sizeof halves);
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

/* Pairs, of which the left matrix's is broadcast. */
#define TILE(name) pair_##name
#define TILE_WORD uint32_t
#define TILE_VECTOR vuint
#define TILE_STEP(sum, word, line) vdot(sum, (word) - (vuint){0}, line)
#include "model/kernels/tile.h"

#endif
