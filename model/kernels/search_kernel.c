/* search_kernel.c - the inner loops of exact search: scores of a few queries, the sifting of scores, and
 * scores in double. */
#include "model/kernels/float32.h"
#include "model/kernels/kernels.h"
#include "model/kernels/panels.h"
#include "model/kernels/search.h"

tandem_rows_dot_fn TANDEM_KERNEL(rows_dot);
tandem_rows_dot_bfloat16_fn TANDEM_KERNEL(rows_dot_bfloat16);
tandem_rows_dot_int8_fn TANDEM_KERNEL(rows_dot_int8);
tandem_rows_lay_out_fn TANDEM_KERNEL(rows_lay_out);
tandem_rows_multiply_fn TANDEM_KERNEL(rows_multiply);
tandem_scores_keep_fn TANDEM_KERNEL(scores_keep);
tandem_scores_count_fn TANDEM_KERNEL(scores_count);
tandem_dot_exact_fn TANDEM_KERNEL(dot_exact);

/* ---- inner products in float ---------------------------------------------------------- */

ALWAYS_INLINE vfloat load_float(const float *from) {
    return vload(from);
}

ALWAYS_INLINE float one_float(float x) {
    return x;
}

/* A bfloat16 is the upper half of a float. */
ALWAYS_INLINE vfloat load_bfloat16(const uint16_t *from) {
#if defined(__AVX512F__)
    return (vfloat)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i_u *)from)), 16);
#elif defined(__AVX2__)
    return (vfloat)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i_u *)from)), 16);
#else
    return (vfloat)((vuint){from[0], from[1], from[2], from[3]} << 16);
#endif
}

ALWAYS_INLINE float one_bfloat16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

ALWAYS_INLINE vfloat load_int8(const int8_t *from) {
#if defined(__AVX512F__)
    return (vfloat)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i_u *)from)));
#elif defined(__AVX2__)
    return (vfloat)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i_u *)from)));
#else
    return __builtin_convertvector(((vint){from[0], from[1], from[2], from[3]}), vfloat);
#endif
}

ALWAYS_INLINE float one_int8(int8_t x) {
    return x;
}

/* The inner product of floats and a row of `type`: four independent sums keep the units busy. */
#define DEFINE_DOT(name, type)                                                             \
    ALWAYS_INLINE float dot_##name(const float *query, const type *row, size_t dim) {      \
        vfloat a = {0}, b = {0}, c = {0}, d = {0};                                         \
        size_t i = 0;                                                                      \
        for (; i + 4 * LANES <= dim; i += 4 * LANES) {                                     \
            a += vload(query + i) * load_##name(row + i);                                  \
            b += vload(query + i + LANES) * load_##name(row + i + LANES);                  \
            c += vload(query + i + 2 * LANES) * load_##name(row + i + 2 * LANES);          \
            d += vload(query + i + 3 * LANES) * load_##name(row + i + 3 * LANES);          \
        }                                                                                  \
        for (; i + LANES <= dim; i += LANES) {                                             \
            a += vload(query + i) * load_##name(row + i);                                  \
        }                                                                                  \
        float sum = vsum((a + b) + (c + d));                                               \
        for (; i < dim; i++) {                                                             \
            sum += query[i] * one_##name(row[i]);                                          \
        }                                                                                  \
        return sum;                                                                        \
    }

DEFINE_DOT(float, float)
DEFINE_DOT(bfloat16, uint16_t)
DEFINE_DOT(int8, int8_t)

void TANDEM_KERNEL(rows_dot)(const float *queries, size_t count, const float *rows, size_t row_count, size_t dim, float *scores) {
    for (size_t row = 0; row < row_count; row++) {
        for (size_t q = 0; q < count; q++) {
            scores[q * row_count + row] = dot_float(queries + q * dim, rows + row * dim, dim);
        }
    }
}

void TANDEM_KERNEL(rows_dot_bfloat16)(const float *queries, size_t count, const uint16_t *rows, size_t row_count, size_t dim, float *scores) {
    for (size_t row = 0; row < row_count; row++) {
        for (size_t q = 0; q < count; q++) {
            scores[q * row_count + row] = dot_bfloat16(queries + q * dim, rows + row * dim, dim);
        }
    }
}

void TANDEM_KERNEL(rows_dot_int8)(const float *queries, size_t count, const int8_t *rows, const float *scales, size_t row_count, size_t dim, float *scores) {
    for (size_t row = 0; row < row_count; row++) {
        for (size_t q = 0; q < count; q++) {
            scores[q * row_count + row] = scales[row] * dot_int8(queries + q * dim, rows + row * dim, dim);
        }
    }
}

/* ---- of many queries ------------------------------------------------------------------- */

void TANDEM_KERNEL(rows_lay_out)(const float *rows, size_t count, size_t dim, float *to) {
    for (size_t first = 0; first < count; first += PANEL) {
        lay_out_transposed(rows + first * dim, dim, dim, least_of(count - first, PANEL), to + first * dim);
    }
}

void TANDEM_KERNEL(rows_multiply)(const float *queries, size_t count, const float *laid_out, size_t row_count, size_t dim, float *scores) {
    float_multiply_panels(count, dim, row_count, (float_left){queries, dim, 1}, laid_out, scores, row_count, false);
}

/* ---- sifting ------------------------------------------------------------------------------ */

/* One bit a lane of a comparison. */
ALWAYS_INLINE unsigned lane_bits(vint truth) {
#if defined(__AVX512F__)
    return _mm512_movepi32_mask((__m512i)truth);
#elif defined(__AVX2__)
    return (unsigned)_mm256_movemask_ps((__m256)truth);
#else
    uint64_t halves[2];
    memcpy(halves, &truth, sizeof halves);
    return (halves[0] | halves[1]) == 0 ? 0 : (unsigned)((truth[0] & 1) | (truth[1] & 2) | (truth[2] & 4) | (truth[3] & 8));
#endif
}

size_t TANDEM_KERNEL(scores_count)(const float *scores, size_t count, float least) {
    vint total = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        total -= (vint)(vload(scores + i) >= least); /* a true lane is -1 */
    }
    size_t reached = 0;
    for (size_t lane = 0; lane < LANES; lane++) {
        reached += (size_t)total[lane];
    }
    for (; i < count; i++) {
        reached += scores[i] >= least;
    }
    return reached;
}

/* Appends the lanes of `bits` of the scores from `at` on. */
ALWAYS_INLINE size_t append(const float *scores, const uint32_t *documents, uint32_t first, size_t at, unsigned bits, float *to_scores, uint32_t *to_documents) {
#if defined(__AVX512F__)
    /* Compressed in a register and stored whole: a compressing store is slow on some CPUs. */
    __m512i names = documents != NULL ? _mm512_loadu_si512(documents + at) : _mm512_add_epi32((__m512i)viota(), _mm512_set1_epi32((int)(first + (uint32_t)at)));
    __mmask16 mask = (__mmask16)bits;
    _mm512_storeu_ps(to_scores, _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(scores + at)));
    _mm512_storeu_si512(to_documents, _mm512_maskz_compress_epi32(mask, names));
    return (size_t)__builtin_popcount(bits);
#else
    size_t kept = 0;
    for (; bits != 0; bits &= bits - 1) {
        size_t i = at + (size_t)__builtin_ctz(bits);
        to_scores[kept] = scores[i];
        to_documents[kept++] = documents != NULL ? documents[i] : first + (uint32_t)i;
    }
    return kept;
#endif
}

size_t TANDEM_KERNEL(scores_keep)(const float *scores, const uint32_t *documents, uint32_t first, size_t count, float least, float *to_scores, uint32_t *to_documents) {
    size_t kept = 0, i = 0;
    for (; i + LANES <= count; i += LANES) {
        unsigned bits = lane_bits((vint)(vload(scores + i) >= least));
        if (bits != 0) {
            kept += append(scores, documents, first, i, bits, to_scores + kept, to_documents + kept);
        }
    }
    for (; i < count; i++) {
        if (scores[i] >= least) {
            to_scores[kept] = scores[i];
            to_documents[kept++] = documents != NULL ? documents[i] : first + (uint32_t)i;
        }
    }
    return kept;
}

/* ---- inner products in double ------------------------------------------------------------- */

/* As many sums for every instruction set, so that all of them give the same bits. */
enum { SUMS = 8 };
typedef double vdouble __attribute__((vector_size(SUMS * 8)));
typedef float vhalf __attribute__((vector_size(SUMS * 4)));

double TANDEM_KERNEL(dot_exact)(const float *a, const float *b, size_t dim) {
    vdouble sum = {0};
    size_t i = 0;
    for (; i + SUMS <= dim; i += SUMS) {
        vhalf x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        sum += __builtin_convertvector(x, vdouble) * __builtin_convertvector(y, vdouble);
    }
    for (size_t lane = 0; i < dim; i++, lane++) {
        sum[lane] += (double)a[i] * (double)b[i];
    }
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}
