/* int8_kernel.c - matrix products of activations rounded to 8 bits, row by row as they come, and weights
 * rounded to 8 bits beforehand, summed exactly in 32 bits.
 *
 * A row of activations becomes x = least + step * code with codes 0 ... 255 over its own range, a column of
 * weights w = scale * code with codes -127 ... 127, so that
 *     sum of x w = step * scale * (sum of code code) + least * scale * (sum of weight codes).
 * Codes that follow one another along the summed dimension share a word of 32 bits: four bytes where an
 * instruction multiplies and adds them (AVX512_VNNI), elsewhere two numbers of 16 bits, whose products no
 * instruction saturates. A word of the row is broadcast and meets a vector of columns. The sums are whole numbers, hence
 * the same for every instruction set, and so is the rest: this file is compiled without fused multiply-adds
 * of floats.
 *
 * The weights come in panels of TILE_VECTORS vectors of columns, as in bf16_kernel.c: a panel of a few hundred
 * rows stays in the first-level cache while the rows of activations pass by.
 */
#include <string.h>

#include "model/kernels/kernels.h"
#include "model/kernels/simd.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(__AVX512VNNI__)
typedef uint8_t code;
#else
typedef uint16_t code;
#endif
typedef code vcode __attribute__((vector_size(LANES * sizeof(code))));

/* Codes in a word. */
enum { GROUP = (int)(sizeof(uint32_t) / sizeof(code)) };

/* sum + the products of the codes of two words, those of b signed. */
ALWAYS_INLINE vint vdot(vint sum, vuint a, vuint b) {
#if defined(__AVX512VNNI__)
    return (vint)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX512F__)
    return sum + (vint)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return sum + (vint)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return sum + (vint)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    sum += (vint)(a & 0xffff) * ((vint)(b << 16) >> 16);
    return sum + (vint)(a >> 16) * ((vint)b >> 16);
#endif
}

tandem_int8_words_fn TANDEM_KERNEL(int8_words);
tandem_int8_lay_out_fn TANDEM_KERNEL(int8_lay_out);
tandem_int8_quantize_fn TANDEM_KERNEL(int8_quantize);
tandem_int8_multiply_fn TANDEM_KERNEL(int8_multiply);

size_t TANDEM_KERNEL(int8_words)(size_t depth) {
    return (depth + GROUP - 1) / GROUP;
}

/* ---- rounding --------------------------------------------------------------------------- */

/* Adding it leaves the nearest whole number, ties to even, in the low bits. */
static const float rounder = 0x1.8p23f;

/* A column's greatest magnitude; compared as bits, which order NaN above all numbers, so that a weight that is no
 * number makes its column none. */
static float greatest(const float *weights, size_t depth) {
    uint32_t most = 0;
    for (size_t i = 0; i < depth; i++) {
        uint32_t bits;
        memcpy(&bits, weights + i, sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    float value;
    memcpy(&value, &most, sizeof value);
    return value;
}

/* One column of weights, into every `stride`th word from `to` on. */
static void lay_out_column(const float *weights, size_t depth, uint32_t *to, size_t stride, float *scale, float *sum) {
    float most = greatest(weights, depth), inverse = most > 0 ? 127 / most : 0;
    int32_t total = 0;
    for (size_t k = 0; k < depth; k += GROUP, to += stride) {
        *to = 0;
        for (size_t i = 0; i < GROUP && k + i < depth; i++) {
            float shifted = weights[k + i] * inverse + rounder;
            uint32_t bits;
            memcpy(&bits, &shifted, sizeof bits);
            int32_t number = (int32_t)(bits << 10) >> 10; /* what stands above the rounder's own bit */
            number = number > 127 ? 127 : number < -127 ? -127 : number;
            total += number;
            *to |= (uint32_t)(code)number << (i * 8 * sizeof(code));
        }
    }
    *scale = most / 127;
    *sum = *scale * (float)total;
}

void TANDEM_KERNEL(int8_lay_out)(tandem_extent extent, const float *from, uint32_t *to, float *scales, float *sums) {
    size_t depth = extent.rows, width = extent.width, words = TANDEM_KERNEL(int8_words)(depth);
    memset(to, 0, words * round_up(width, 16) * sizeof *to);
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (size_t column = 0; column < width; column++) {
        size_t first = column / PANEL * PANEL, stride = round_up(least_of(width - first, PANEL), LANES);
        lay_out_column(from + column * depth, depth, to + first * words + (column - first), stride, scales + column, sums + column);
    }
}

/* The least and the greatest number of a row, 0 among them. */
static void extremes(const float *x, size_t depth, float *least, float *most) {
    vfloat low[APART] = {0}, high[APART] = {0};
    size_t i = 0;
    for (; i + APART * LANES <= depth; i += APART * LANES) {
#pragma GCC unroll 4
        for (int j = 0; j < APART; j++) {
            vfloat v = vload(x + i + j * LANES);
            low[j] = vmin(low[j], v);
            high[j] = vmax(high[j], v);
        }
    }
    for (; i < depth; i += LANES) {
        vfloat v = vload_first(x + i, depth - i);
        low[0] = vmin(low[0], v);
        high[0] = vmax(high[0], v);
    }
    vfloat lows = vmin(vmin(low[0], low[1]), vmin(low[2], low[3])), highs = vmax(vmax(high[0], high[1]), vmax(high[2], high[3]));
    *least = *most = 0;
    for (int lane = 0; lane < LANES; lane++) {
        *least = lows[lane] < *least ? lows[lane] : *least;
        *most = highs[lane] > *most ? highs[lane] : *most;
    }
}

ALWAYS_INLINE vcode codes_of(vfloat x, float least, float inverse) {
    return __builtin_convertvector((vuint)((x - least) * inverse + rounder) & 0xff, vcode);
}

static void quantize_row(const float *x, size_t depth, code *to, size_t words, float *range) {
    float least, most;
    extremes(x, depth, &least, &most);
    float inverse = most - least > 0 ? 255 / (most - least) : 0;
    size_t i = 0;
    for (; i + LANES <= depth; i += LANES) {
        vcode codes = codes_of(vload(x + i), least, inverse);
        memcpy(to + i, &codes, sizeof codes);
    }
    if (i < depth) {
        vcode codes = codes_of(vload_first(x + i, depth - i), least, inverse);
        memcpy(to + i, &codes, (words * GROUP - i) * sizeof *to);
    }
    range[0] = least;
    range[1] = (most - least) / 255;
}

void TANDEM_KERNEL(int8_quantize)(size_t rows, size_t depth, const float *x, uint32_t *codes, float *ranges) {
    size_t words = TANDEM_KERNEL(int8_words)(depth);
    for (size_t row = 0; row < rows; row++) {
        quantize_row(x + row * depth, depth, (code *)(codes + row * words), words, ranges + 2 * row);
    }
}

/* ---- register tiles ---------------------------------------------------------------------- */

/* Rows of codes and what they stand for. */
typedef struct {
    const uint32_t *codes;
    const float *ranges;
    size_t words;
} quantized;

/* c[r, 0..vectors) of whole rows; the last vector has `tail` columns. rows and vectors are constants after inlining. */
ALWAYS_INLINE void tile(int rows, int vectors, quantized a, const uint32_t *b, const float *scales, const float *sums, float *c, size_t ldc, size_t tail) {
    vint sum[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = (vint){0};
        }
    }
    for (size_t k = 0; k < a.words; k++, b += vectors * LANES) {
        vuint line[TILE_VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            line[v] = vload_words(b + v * LANES);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vuint word = a.codes[(size_t)r * a.words + k] - (vuint){0};
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) {
                sum[r][v] = vdot(sum[r][v], word, line[v]);
            }
        }
    }
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
        size_t left = v < vectors - 1 ? LANES : tail;
        vfloat scale = vload_first(scales + v * LANES, left), total = vload_first(sums + v * LANES, left);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vfloat value = __builtin_convertvector(sum[r][v], vfloat) * (scale * a.ranges[2 * r + 1]) + a.ranges[2 * r] * total;
            vstore_first(c + (size_t)r * ldc + v * LANES, value, left);
        }
    }
}

/* All rows of one panel. */
ALWAYS_INLINE void tile_column(int vectors, size_t rows, quantized a, const uint32_t *b, const float *scales, const float *sums, float *c, size_t ldc, size_t tail) {
#pragma GCC unroll 4
    for (int part = TILE_ROWS; part > 0; part /= 2) {
        for (; rows >= (size_t)part; rows -= (size_t)part) {
            tile(part, vectors, a, b, scales, sums, c, ldc, tail);
            a.codes += (size_t)part * a.words;
            a.ranges += 2 * part;
            c += (size_t)part * ldc;
        }
    }
}

void TANDEM_KERNEL(int8_multiply)(size_t rows, const tandem_laid_out *b, tandem_columns columns, const uint32_t *codes, const float *ranges, float *c) {
    quantized a = {codes, ranges, TANDEM_KERNEL(int8_words)(b->depth)};
    const uint32_t *words = (const uint32_t *)b->data + a.words * columns.first;
    for (size_t first = columns.first; first < columns.end; first += PANEL, words += a.words * PANEL) {
        size_t taken = least_of(columns.end - first, PANEL), vectors = divide_up(taken, LANES), tail = taken - (vectors - 1) * LANES;
        const float *scales = b->scales + first, *sums = b->sums + first;
        if (vectors == 3) {
            tile_column(3, rows, a, words, scales, sums, c + first, b->width, tail);
        } else if (vectors == 2) {
            tile_column(2, rows, a, words, scales, sums, c + first, b->width, tail);
        } else {
            tile_column(1, rows, a, words, scales, sums, c + first, b->width, tail);
        }
    }
}
