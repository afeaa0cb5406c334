/* attention_kernel.c - softmax attention over packed sequences, forward and backward.
 *
 * Work is cut into (sequence, head) items, each computed by one thread. Within an
 * item, queries go in blocks and everything of a block is kept transposed: a score
 * matrix is [keys, queries], so that the vector lanes are queries. Softmax is then
 * element by element down the rows, any length and any head size needs no masking,
 * and all five matrix products are one loop: rows of scalars, broadcast, times
 * vectors. A sequence's whole row of scores fits a block; the backward pass computes
 * it again from the saved logarithm of the softmax's denominator (Dao et al. 2022,
 * FlashAttention, section 3.1), so nothing of size length^2 is ever kept.
 */
#include <math.h>
#include <omp.h>

#include "model/kernels/kernels.h"
#include "model/kernels/simd.h"

/* Rows and vectors of a register tile: 8 x 3 of 32 registers, 4 x 3 of 16. */
enum { BLOCK = TANDEM_QUERY_BLOCK, TILE_VECTORS = 3 };
#if defined(__AVX512F__)
enum { TILE_ROWS = 8 };
#else
enum { TILE_ROWS = 4 };
#endif

/* A matrix of scalars: element (r, k) at data[r * row + k * step]. */
typedef struct {
    const float *data;
    size_t row, step;
} scalars;

/* c[r, 0..vectors) (+)= sum over k of a(r, k) * b[k, 0..vectors); leading dimensions
 * ldb and ldc. rows and vectors are constants after inlining. */
ALWAYS_INLINE void tile(int rows, int vectors, size_t depth, scalars a, const float *b, size_t ldb, float *c, size_t ldc, bool accumulate) {
    vfloat sum[TILE_ROWS][TILE_VECTORS];
    const float *pointer[TILE_ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        pointer[r] = a.data + (size_t)r * a.row;
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = accumulate ? vload(c + (size_t)r * ldc + (size_t)(v * LANES)) : vsplat(0);
        }
    }
    for (size_t k = 0; k < depth; k++) {
        vfloat line[TILE_VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            line[v] = vload(b + k * ldb + (size_t)(v * LANES));
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            float scalar = pointer[r][k * a.step];
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
            vstore(c + (size_t)r * ldc + (size_t)(v * LANES), sum[r][v]);
        }
    }
}

/* All rows of one column of tiles. */
ALWAYS_INLINE void tile_column(int vectors, size_t rows, size_t depth, scalars a, const float *b, size_t ldb, float *c, size_t ldc, bool accumulate) {
    size_t r = 0;
    for (; r + TILE_ROWS <= rows; r += TILE_ROWS) {
        tile(TILE_ROWS, vectors, depth, a, b, ldb, c, ldc, accumulate);
        a.data += TILE_ROWS * a.row;
        c += TILE_ROWS * ldc;
    }
#pragma GCC unroll 3
    for (int part = TILE_ROWS / 2; part > 0; part /= 2) {
        if (rows - r >= (size_t)part) {
            tile(part, vectors, depth, a, b, ldb, c, ldc, accumulate);
            a.data += (size_t)part * a.row;
            c += (size_t)part * ldc;
            r += (size_t)part;
        }
    }
}

/* c [rows, width] (+)= a [rows, depth] * b [depth, width]; width is a multiple of LANES. */
ALWAYS_INLINE void multiply(size_t rows, size_t depth, size_t width, scalars a, const float *b, size_t ldb, float *c, size_t ldc, bool accumulate) {
    size_t column = 0;
    for (; column + TILE_VECTORS * LANES <= width; column += TILE_VECTORS * LANES) {
        tile_column(TILE_VECTORS, rows, depth, a, b + column, ldb, c + column, ldc, accumulate);
    }
    if (width - column == 2 * LANES) {
        tile_column(2, rows, depth, a, b + column, ldb, c + column, ldc, accumulate);
    } else if (width - column == LANES) {
        tile_column(1, rows, depth, a, b + column, ldb, c + column, ldc, accumulate);
    }
}

/* a(r, k) = data[r * row + k]: a row-major matrix. */
static void multiply_rows(size_t rows, size_t depth, size_t width, const float *a, size_t row, const float *b, size_t ldb, float *c, size_t ldc, bool accumulate) {
    multiply(rows, depth, width, (scalars){a, row, 1}, b, ldb, c, ldc, accumulate);
}

/* a(r, k) = data[k * step + r]: the transpose of a row-major matrix. */
static void multiply_columns(size_t rows, size_t depth, size_t width, const float *a, size_t step, const float *b, size_t ldb, float *c, size_t ldc) {
    multiply(rows, depth, width, (scalars){a, 1, step}, b, ldb, c, ldc, false);
}

/* ---- one (sequence, head) ------------------------------------------------------------ */

/* Where an item lies and a thread's scratch memory. */
typedef struct {
    size_t length, size, padded;  /* tokens; head size, and rounded up to the lanes */
    size_t first;                 /* the sequence's first token in the batch */
    size_t head, heads, hidden;
    size_t in_stride;             /* of qkv: 3 * hidden */
    float scale;                  /* of the scores: 1 / sqrt(head size) */
    float *keys, *values;         /* [length, size], bias added */
    float *d_keys, *d_values;     /* [length, padded] */
    float *scores, *d_scores;     /* [length, BLOCK] */
    float *query_columns, *out_columns, *d_columns; /* [size, BLOCK] */
    float *query_rows, *d_out_rows;                 /* [BLOCK, padded] */
} item;

static size_t round_up(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

static item item_make(const tandem_attention *attention, size_t index, float *scratch) {
    size_t sequence = index / attention->heads;
    item it = {
        .length = (size_t)(attention->offsets[sequence + 1] - attention->offsets[sequence]),
        .size = attention->head_size,
        .padded = round_up(attention->head_size, LANES),
        .first = (size_t)attention->offsets[sequence],
        .head = index % attention->heads,
        .heads = attention->heads,
        .hidden = attention->heads * attention->head_size,
        .in_stride = 3 * attention->heads * attention->head_size,
        .scale = 1.0f / sqrtf((float)attention->head_size),
    };
    float **parts[] = {&it.keys, &it.values, &it.d_keys, &it.d_values, &it.scores, &it.d_scores, &it.query_columns, &it.out_columns, &it.d_columns, &it.query_rows, &it.d_out_rows};
    size_t along = it.length * round_up(it.size, 16), wide = it.length * BLOCK, block = BLOCK * round_up(it.size, 16);
    size_t floats[] = {along, along, along, along, wide, wide, block, block, block, block, block};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i] = scratch;
        scratch += floats[i];
    }
    return it;
}

/* to [length, size] = rows of qkv from column `from`, bias added. */
static void gather(const item *it, const float *qkv, const float *bias, size_t from, float *to) {
    for (size_t i = 0; i < it->length; i++) {
        const float *row = qkv + (it->first + i) * it->in_stride + from;
        if (bias == NULL) {
            memcpy(to + i * it->size, row, it->size * sizeof *to);
            continue;
        }
        for (size_t d = 0; d < it->size; d++) {
            to[i * it->size + d] = row[d] + bias[from + d];
        }
    }
}

/* to [size, BLOCK] = transpose of `count` rows, times `factor`, zeros after them. */
static void transpose_in(const item *it, const float *rows, size_t stride, const float *bias, size_t count, size_t lanes, float factor, float *to) {
    for (size_t i = 0; i < count; i++) {
        for (size_t d = 0; d < it->size; d++) {
            to[d * BLOCK + i] = (bias == NULL ? rows[i * stride + d] : rows[i * stride + d] + bias[d]) * factor;
        }
    }
    for (size_t d = 0; d < it->size; d++) {
        for (size_t i = count; i < lanes; i++) {
            to[d * BLOCK + i] = 0;
        }
    }
}

/* to [lanes, padded] = the rows that `columns` [size, BLOCK] holds transposed. */
static void untranspose(const item *it, const float *columns, size_t lanes, float *to) {
    for (size_t i = 0; i < lanes; i++) {
        float *row = to + i * it->padded;
        for (size_t d = 0; d < it->size; d++) {
            row[d] = columns[d * BLOCK + i];
        }
        for (size_t d = it->size; d < it->padded; d++) {
            row[d] = 0;
        }
    }
}

/* `count` rows of the output = transpose of columns [size, BLOCK], times factor. */
static void transpose_out(const item *it, const float *columns, size_t count, const float *factor, float *rows, size_t stride) {
    for (size_t i = 0; i < count; i++) {
        for (size_t d = 0; d < it->size; d++) {
            rows[i * stride + d] = columns[d * BLOCK + i] * factor[i];
        }
    }
}

/* The dropout keys of a vector of queries. */
typedef struct {
    vuint low, high;
} mask_keys;

static mask_keys mask_keys_make(const item *it, tandem_mask mask, size_t query) {
    mask_keys keys;
    for (size_t lane = 0; lane < LANES; lane++) {
        uint64_t row = (it->first + query + lane) * it->heads + it->head;
        uint64_t key = tandem_mask_row(mask.key, row);
        keys.low[lane] = (uint32_t)key;
        keys.high[lane] = (uint32_t)(key >> 32);
    }
    return keys;
}

/* Turns one vector of columns of scores into exponentials, in place, dropped ones 0;
 * gives the inverse of the softmax's denominator and its logarithm. */
static void softmax_column(const item *it, tandem_mask mask, size_t query, float *scores, float *inverse, float *lse) {
    vfloat most = vload(scores);
    for (size_t j = 1; j < it->length; j++) {
        most = vmax(most, vload(scores + j * BLOCK));
    }
    vfloat sum = vsplat(0);
    if (mask.threshold == 0) {
        for (size_t j = 0; j < it->length; j++) {
            vfloat p = vexp(vload(scores + j * BLOCK) - most);
            sum += p;
            vstore(scores + j * BLOCK, p);
        }
    } else {
        mask_keys keys = mask_keys_make(it, mask, query);
        for (size_t j = 0; j < it->length; j++) {
            vfloat p = vexp(vload(scores + j * BLOCK) - most);
            sum += p;
            vuint column = (uint32_t)j - (vuint){0};
            vstore(scores + j * BLOCK, vmask(p, keys.low, keys.high, column, mask.threshold, mask.scale));
        }
    }
    vstore(inverse, 1.0f / sum);
    for (int lane = 0; lane < LANES; lane++) {
        lse[lane] = most[lane] + logf(sum[lane]);
    }
}

static void forward_item(const tandem_attention *attention, const item *it, const float *qkv, const float *bias, float *out, float *lse) {
    size_t query_at = it->head * it->size, key_at = query_at + it->hidden, value_at = key_at + it->hidden;
    const float *query_bias = bias == NULL ? NULL : bias + query_at;
    gather(it, qkv, bias, key_at, it->keys);
    gather(it, qkv, bias, value_at, it->values);
    for (size_t start = 0; start < it->length; start += BLOCK) {
        size_t count = it->length - start < BLOCK ? it->length - start : BLOCK;
        size_t lanes = round_up(count, LANES);
        float inverse[BLOCK], block_lse[BLOCK];
        transpose_in(it, qkv + (it->first + start) * it->in_stride + query_at, it->in_stride, query_bias, count, lanes, it->scale, it->query_columns);
        multiply_rows(it->length, it->size, lanes, it->keys, it->size, it->query_columns, BLOCK, it->scores, BLOCK, false);
        for (size_t lane = 0; lane < lanes; lane += LANES) {
            softmax_column(it, attention->mask, start + lane, it->scores + lane, inverse + lane, block_lse + lane);
        }
        multiply_columns(it->size, it->length, lanes, it->values, it->size, it->scores, BLOCK, it->out_columns, BLOCK);
        transpose_out(it, it->out_columns, count, inverse, out + (it->first + start) * it->hidden + query_at, it->hidden);
        memcpy(lse + it->first + start, block_lse, count * sizeof *lse);
    }
}

/* From scores to dropped probabilities (scores) and from d probabilities to d scores
 * (d_scores), in place, for one vector of queries. delta: sum over the head of
 * out * d_out, which equals the sum over keys of probability * d probability. */
static void backward_column(const item *it, tandem_mask mask, size_t query, float *scores, float *d_scores, const float *lse, const float *delta) {
    vfloat log_sum = vload(lse), mean = vload(delta);
    if (mask.threshold == 0) {
        for (size_t j = 0; j < it->length; j++) {
            vfloat p = vexp(vload(scores + j * BLOCK) - log_sum);
            vstore(d_scores + j * BLOCK, p * (vload(d_scores + j * BLOCK) - mean));
            vstore(scores + j * BLOCK, p);
        }
        return;
    }
    mask_keys keys = mask_keys_make(it, mask, query);
    for (size_t j = 0; j < it->length; j++) {
        vuint column = (uint32_t)j - (vuint){0};
        vfloat p = vexp(vload(scores + j * BLOCK) - log_sum);
        vfloat kept = vmask(vsplat(1), keys.low, keys.high, column, mask.threshold, mask.scale);
        vstore(d_scores + j * BLOCK, p * (kept * vload(d_scores + j * BLOCK) - mean));
        vstore(scores + j * BLOCK, kept * p);
    }
}

/* delta and lse of a block's queries, zeros after them. */
static void block_statistics(const item *it, size_t start, size_t count, size_t lanes, const float *out, const float *lse, const float *d_out, float *delta, float *block_lse) {
    for (size_t i = 0; i < lanes; i++) {
        delta[i] = 0;
        block_lse[i] = 0;
        if (i < count) {
            size_t at = (it->first + start + i) * it->hidden + it->head * it->size;
            for (size_t d = 0; d < it->size; d++) {
                delta[i] += out[at + d] * d_out[at + d];
            }
            block_lse[i] = lse[it->first + start + i];
        }
    }
}

static void backward_item(const tandem_attention *attention, const item *it, const float *qkv, const float *bias, const float *out, const float *lse, const float *d_out, float *d_qkv) {
    size_t query_at = it->head * it->size, key_at = query_at + it->hidden, value_at = key_at + it->hidden;
    const float *query_bias = bias == NULL ? NULL : bias + query_at;
    float scale[BLOCK];
    for (size_t i = 0; i < BLOCK; i++) {
        scale[i] = it->scale;
    }
    gather(it, qkv, bias, key_at, it->keys);
    gather(it, qkv, bias, value_at, it->values);
    for (size_t start = 0; start < it->length; start += BLOCK) {
        size_t count = it->length - start < BLOCK ? it->length - start : BLOCK;
        size_t lanes = round_up(count, LANES);
        size_t row = it->first + start;
        float delta[BLOCK], block_lse[BLOCK];
        transpose_in(it, qkv + row * it->in_stride + query_at, it->in_stride, query_bias, count, lanes, it->scale, it->query_columns);
        transpose_in(it, d_out + row * it->hidden + query_at, it->hidden, NULL, count, lanes, 1, it->out_columns);
        untranspose(it, it->query_columns, lanes, it->query_rows);
        untranspose(it, it->out_columns, lanes, it->d_out_rows);
        block_statistics(it, start, count, lanes, out, lse, d_out, delta, block_lse);
        multiply_rows(it->length, it->size, lanes, it->keys, it->size, it->query_columns, BLOCK, it->scores, BLOCK, false);
        multiply_rows(it->length, it->size, lanes, it->values, it->size, it->out_columns, BLOCK, it->d_scores, BLOCK, false);
        for (size_t lane = 0; lane < lanes; lane += LANES) {
            backward_column(it, attention->mask, start + lane, it->scores + lane, it->d_scores + lane, block_lse + lane, delta + lane);
        }
        multiply_rows(it->length, lanes, it->padded, it->scores, BLOCK, it->d_out_rows, it->padded, it->d_values, it->padded, start > 0);
        multiply_rows(it->length, lanes, it->padded, it->d_scores, BLOCK, it->query_rows, it->padded, it->d_keys, it->padded, start > 0);
        multiply_columns(it->size, it->length, lanes, it->keys, it->size, it->d_scores, BLOCK, it->d_columns, BLOCK);
        transpose_out(it, it->d_columns, count, scale, d_qkv + row * it->in_stride + query_at, it->in_stride);
    }
    for (size_t i = 0; i < it->length; i++) {
        float *row = d_qkv + (it->first + i) * it->in_stride;
        memcpy(row + key_at, it->d_keys + i * it->padded, it->size * sizeof *row);
        memcpy(row + value_at, it->d_values + i * it->padded, it->size * sizeof *row);
    }
}

/* ---- the batch --------------------------------------------------------------------------- */

tandem_attention_forward_fn TANDEM_KERNEL(attention_forward);
tandem_attention_backward_fn TANDEM_KERNEL(attention_backward);

void TANDEM_KERNEL(attention_forward)(const tandem_attention *attention, const float *qkv, const float *bias, float *out, float *lse) {
    size_t items = attention->sequences * attention->heads, total = (size_t)attention->offsets[attention->sequences];
    size_t scratch = tandem_attention_workspace(attention) / (size_t)attention->threads;
#pragma omp parallel for schedule(dynamic) num_threads(attention->threads)
    for (size_t i = 0; i < items; i++) {
        item it = item_make(attention, i, attention->workspace + (size_t)omp_get_thread_num() * scratch);
        forward_item(attention, &it, qkv, bias, out, lse + it.head * total);
    }
}

void TANDEM_KERNEL(attention_backward)(const tandem_attention *attention, const float *qkv, const float *bias, const float *out, const float *lse, const float *d_out, float *d_qkv) {
    size_t items = attention->sequences * attention->heads, total = (size_t)attention->offsets[attention->sequences];
    size_t scratch = tandem_attention_workspace(attention) / (size_t)attention->threads;
#pragma omp parallel for schedule(dynamic) num_threads(attention->threads)
    for (size_t i = 0; i < items; i++) {
        item it = item_make(attention, i, attention->workspace + (size_t)omp_get_thread_num() * scratch);
        backward_item(attention, &it, qkv, bias, out, lse + it.head * total, d_out, d_qkv);
    }
}
