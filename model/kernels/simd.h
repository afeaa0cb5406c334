/* simd.h - vectors of floats as wide as the instruction set a kernel is compiled
 * for, and the few functions that GCC's vector extensions do not give. */
#ifndef TANDEM_MODEL_KERNELS_SIMD_H
#define TANDEM_MODEL_KERNELS_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

typedef float vfloat __attribute__((vector_size(LANES * 4)));
typedef uint32_t vuint __attribute__((vector_size(LANES * 4)));
typedef int32_t vint __attribute__((vector_size(LANES * 4)));

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Rows and vectors of a register tile: 8 x 3 of 32 registers, 4 x 3 of 16; and columns of the panels that weights are
 * laid out in, which such a tile takes at once. */
enum { TILE_VECTORS = 3, TILE_ROWS = LANES == 16 ? 8 : 4, PANEL = TILE_VECTORS * LANES };

/* Vectors of a row that are summed, or compared, apart, so that none waits for the one before it. */
enum { APART = 4 };

ALWAYS_INLINE size_t least_of(size_t a, size_t b) {
    return a < b ? a : b;
}

ALWAYS_INLINE size_t divide_up(size_t n, size_t unit) {
    return (n + unit - 1) / unit;
}

ALWAYS_INLINE size_t round_up(size_t n, size_t unit) {
    return divide_up(n, unit) * unit;
}

ALWAYS_INLINE vfloat vsplat(float x) {
    return x - (vfloat){0};
}

ALWAYS_INLINE vfloat vload(const float *p) {
    vfloat v;
    memcpy(&v, p, sizeof v);
    return v;
}

ALWAYS_INLINE void vstore(float *p, vfloat v) {
    memcpy(p, &v, sizeof v);
}

/* A vector of which `count` floats, if so few, are there, zeros after them, and the reverse: for the end of a row. */
ALWAYS_INLINE vfloat vload_first(const float *p, size_t count) {
    if (count >= LANES) {
        return vload(p);
    }
#if defined(__AVX512F__)
    return (vfloat)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
#else
    vfloat v = {0};
    memcpy(&v, p, count * sizeof *p);
    return v;
#endif
}

ALWAYS_INLINE void vstore_first(float *p, vfloat v, size_t count) {
    if (count >= LANES) {
        vstore(p, v);
        return;
    }
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)v);
#else
    memcpy(p, &v, count * sizeof *p);
#endif
}

ALWAYS_INLINE vuint vload_words(const uint32_t *p) {
    vuint v;
    memcpy(&v, p, sizeof v);
    return v;
}

ALWAYS_INLINE void vstore_words(uint32_t *p, vuint v) {
    memcpy(p, &v, sizeof v);
}

/* to = transpose of the four floats of each of four rows. */
ALWAYS_INLINE void transpose_4x4(const float *from, size_t from_stride, float *to, size_t to_stride) {
    typedef float four __attribute__((vector_size(16)));
    four a, b, c, d;
    memcpy(&a, from, sizeof a);
    memcpy(&b, from + from_stride, sizeof b);
    memcpy(&c, from + 2 * from_stride, sizeof c);
    memcpy(&d, from + 3 * from_stride, sizeof d);
    four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    b = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
    memcpy(to, &a, sizeof a);
    memcpy(to + to_stride, &b, sizeof b);
    memcpy(to + 2 * to_stride, &c, sizeof c);
    memcpy(to + 3 * to_stride, &d, sizeof d);
}

ALWAYS_INLINE vfloat vselect(vint condition, vfloat yes, vfloat no) {
#if defined(__AVX512F__)
    return (vfloat)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)condition), (__m512)no, (__m512)yes);
#else
    return (vfloat)((condition & (vint)yes) | (~condition & (vint)no));
#endif
}

/* The greater; b when either is no number, so that b should be the data. */
ALWAYS_INLINE vfloat vmax(vfloat a, vfloat b) {
#if defined(__AVX512F__)
    return (vfloat)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vfloat)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vselect(a > b, a, b);
#endif
}

/* The lesser; b when either is no number. */
ALWAYS_INLINE vfloat vmin(vfloat a, vfloat b) {
#if defined(__AVX512F__)
    return (vfloat)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vfloat)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return vselect(a < b, a, b);
#endif
}

/* Sum of the lanes, in the order of a binary tree. */
ALWAYS_INLINE float vsum(vfloat v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float lane[LANES];
    vstore(lane, v);
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            lane[i] += lane[i + half];
        }
    }
    return lane[0];
#endif
}

/* e^x for x <= 88, within 2 units in the last place, and anything beyond; below -87 it
 * stays at e^-87, which no sum of float32 notices. x = n ln 2 + r with |r| <= ln 2 / 2;
 * the polynomial in r is a minimax fit of relative error 3e-9. */
ALWAYS_INLINE vfloat vexp(vfloat x) {
    const float shift = 0x1.8p23f; /* adding it rounds to an integer in the low bits */
    x = vmax(vsplat(-87.0f), x);
    vfloat shifted = x * 0x1.715476p0f + shift;
    vfloat n = shifted - shift;
    vfloat r = x - n * 0x1.62e400p-1f; /* the high bits of ln 2: exact */
    r = r - n * 0x1.7f7d1cp-20f;
    vfloat p = r * 1.3814185510e-03f + 8.3689145465e-03f;
    p = p * r + 4.1668407320e-02f;
    p = p * r + 1.6666518997e-01f;
    p = p * r + 4.9999993337e-01f;
    p = p * (r * r) + r + 1.0f;
    vuint power = (vuint)shifted << 23; /* unsigned: beyond 88 it wraps */
    return (vfloat)((vuint)p + power);
}

/* The elements of `v` that dropout keeps, scaled; the others become 0. low and high
 * are the halves of tandem_mask_row, `column` the element's column. */
ALWAYS_INLINE vfloat vmask(vfloat v, vuint low, vuint high, vuint column, uint32_t threshold, float scale) {
    vuint x = column ^ low;
    x = (x ^ (x >> 16)) * UINT32_C(0x7feb352d);
    x ^= high;
    x = (x ^ (x >> 15)) * UINT32_C(0x846ca68b);
    x ^= x >> 16;
#if defined(__AVX512F__)
    __mmask16 keep = _mm512_cmpge_epu32_mask((__m512i)x, _mm512_set1_epi32((int)threshold));
    return (vfloat)_mm512_maskz_mul_ps(keep, (__m512)v, _mm512_set1_ps(scale));
#else
    return (vfloat)((vint)(x >= threshold) & (vint)(v * scale));
#endif
}

/* 0, 1, 2, ... */
ALWAYS_INLINE vuint viota(void) {
    vuint v;
    for (int i = 0; i < LANES; i++) {
        v[i] = (uint32_t)i;
    }
    return v;
}

#endif
