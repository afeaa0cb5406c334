/* attention_kernel.c - softmax attention over packed sequences, forward and backward.
 *
 * Work is cut into (sequence, head) items, each computed by one thread. Within an
 * item, queries go in blocks whose score matrices are kept transposed, [keys,
 * queries], so that the vector lanes are queries: softmax is then element by element
 * down the rows and any length needs no masking. All five matrix products are one
 * loop: rows of scalars, broadcast, times vectors. The scores of a block with all keys
 * are in memory at once; the backward pass computes them again from the saved
 * logarithm of the softmax's denominator (Dao et al. 2022, FlashAttention, section
 * 3.1), so nothing of size length^2 is ever kept. With a window a block meets only the
 * keys that one of its queries sees.
 */
#include <math.h>

#include "model/kernels/bf16.h"
#include "model/kernels/float32.h"
#include "model/kernels/kernels.h"
#include "tandem/openmp.h"

enum { BLOCK = TANDEM_QUERY_BLOCK };

/* a(r, k) = data[r * row + k]: a row-major matrix. */
static void multiply_rows(size_t rows, size_t depth, size_t width, const float *a, size_t row, const float *b, size_t ldb, float *c, size_t ldc, bool accumulate) {
    float_multiply(rows, depth, width, (float_left){a, row, 1}, b, ldb, c, ldc, accumulate);
}

/* a(r, k) = data[k * step + r]: the transpose of a row-major matrix. */
static void multiply_columns(size_t rows, size_t depth, size_t width, const float *a, size_t step, const float *b, size_t ldb, float *c, size_t ldc) {
    float_multiply(rows, depth, width, (float_left){a, 1, step}, b, ldb, c, ldc, false);
}

/* ---- one (sequence, head) ------------------------------------------------------------ */

/* Where an item lies and a thread's scratch memory. Rows of `size` floats are padded
 * with zeros to a whole number of vectors. */
typedef struct {
    size_t length, size, padded; /* tokens; head size; head size rounded up to the lanes */
    size_t first;                /* the sequence's first token in the batch */
    size_t first_query, asking;  /* its tokens that ask: the first of them, and how many */
    size_t row;                  /* of the first of them in what comes out */
    size_t head, heads, hidden;
    size_t in_stride;            /* of qkv: 3 * hidden */
    size_t block;                /* queries at a time, a multiple of the lanes */
    size_t reach;                /* a query sees the keys at most this far from it */
    float scale;                 /* of the scores: 1 / sqrt(head size) */
    const float *rotary;         /* [length, size], or NULL */
    const float *relative;       /* the head's row from its centre, or NULL */
    float *keys, *values;        /* [length, padded], bias added, keys turned */
    float *d_keys, *d_values;    /* [length, padded] */
    float *scores, *d_scores;    /* [keys, BLOCK]: of a block, transposed */
    float *queries, *d_out, *result;        /* [BLOCK, padded]: rows of a block */
    float *query_columns, *d_out_columns;   /* [padded, BLOCK]: the same transposed */
    float *d_relative;                      /* [2 * span]: of this item */
} item;

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
        .rotary = attention->rotary,
    };
    it.first_query = attention->queries == TANDEM_QUERIES_LAST ? it.length - 1 : 0;
    it.asking = attention->queries == TANDEM_QUERIES_ALL ? it.length : 1;
    it.row = attention->queries == TANDEM_QUERIES_ALL ? it.first : sequence;
    it.reach = attention->window == 0 || attention->window > it.length ? it.length : attention->window;
    it.relative = attention->relative == NULL ? NULL : attention->relative + it.head * 2 * attention->span + attention->span;
    /* Blocks of about equal width: the last one should not be a single vector. */
    size_t vectors = divide_up(it.asking, LANES), blocks = divide_up(vectors, BLOCK / LANES);
    it.block = blocks == 0 ? LANES : divide_up(vectors, blocks) * LANES;
    float **parts[] = {&it.keys, &it.values, &it.d_keys, &it.d_values, &it.scores, &it.d_scores, &it.queries, &it.d_out, &it.result, &it.query_columns, &it.d_out_columns, &it.d_relative};
    size_t along = it.length * round_up(it.size, 16), wide = tandem_attention_keys(attention, it.length) * BLOCK, block = BLOCK * round_up(it.size, 16);
    size_t floats[] = {along, along, along, along, wide, wide, block, block, block, block, block, 0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i] = scratch;
        scratch += floats[i];
    }
    return it;
}

/* A block of an item's queries: `count` of them from `start`, in `lanes` lanes, and the
 * `keys` keys from `first` that one of them sees. */
typedef struct {
    size_t start, count, lanes, first, keys;
} block;

static block block_make(const item *it, size_t start) {
    size_t count = least_of(it->first_query + it->asking - start, it->block);
    size_t first = start > it->reach ? start - it->reach : 0, end = start + count + it->reach;
    return (block){start, count, round_up(count, LANES), first, (end < it->length ? end : it->length) - first};
}

/* Calls the row that comes 16 rows further on: a head's part of it lies a row of all heads away, which the machine does
 * not foresee. */
ALWAYS_INLINE void fetch_ahead(const item *it, const float *row, size_t stride) {
    for (size_t d = 0; d < it->size; d += 64 / sizeof *row) {
        __builtin_prefetch(row + 16 * stride + d);
    }
}

/* to [rows, padded] = factor * (`count` rows of `from` + bias), zero rows after them. */
static void pack_rows(const item *it, const float *from, size_t stride, const float *bias, float factor, size_t count, size_t rows, float *to) {
    for (size_t i = 0; i < count; i++, from += stride) {
        fetch_ahead(it, from, stride);
        for (size_t d = 0; d < it->padded; d += LANES, to += LANES) {
            vfloat v = vload_first(from + d, it->size - d);
            if (bias != NULL) {
                v += vload_first(bias + d, it->size - d);
            }
            vstore(to, factor * v);
        }
    }
    memset(to, 0, (rows - count) * it->padded * sizeof *to);
}

/* Turns `count` packed rows in place by the angles of the positions from `start` on;
 * with a `sign` of -1 back again, which is the way of their gradients. */
static void rotate_rows(const item *it, float *rows, size_t start, size_t count, float sign) {
    size_t half = it->size / 2;
    for (size_t i = 0; it->rotary != NULL && i < count; i++) {
        float *low = rows + i * it->padded, *high = low + half;
        const float *cosines = it->rotary + (start + i) * it->size, *sines = cosines + half;
        for (size_t d = 0; d < half; d += LANES) {
            size_t left = half - d < LANES ? half - d : LANES;
            vfloat a = vload_first(low + d, left), b = vload_first(high + d, left), c = vload_first(cosines + d, left), s = sign * vload_first(sines + d, left);
            vstore_first(low + d, a * c - b * s, left);
            vstore_first(high + d, b * c + a * s, left);
        }
    }
}

/* `count` rows of `to` = factor of the row * from [count, padded]. */
static void unpack_rows(const item *it, const float *from, const float *factor, size_t count, float *to, size_t stride) {
    for (size_t i = 0; i < count; i++, to += stride) {
        for (size_t d = 0; d < it->padded; d += LANES, from += LANES) {
            vstore_first(to + d, vload(from) * factor[i], it->size - d);
        }
    }
}

/* to [padded, BLOCK] = transpose of from [lanes, padded]. */
static void transpose(const item *it, const float *from, size_t lanes, float *to) {
    for (size_t i = 0; i < lanes; i += 4) {
        for (size_t d = 0; d < it->padded; d += 4) {
            transpose_4x4(from + i * it->padded + d, it->padded, to + d * BLOCK + i, BLOCK);
        }
    }
}

/* Sets what a query of the block does not see to `value`. */
static void hide(const item *it, block b, float *scores, float value) {
    for (size_t j = 0; it->reach < it->length && j < b.keys; j++) {
        size_t key = b.first + j;
        if (key + it->reach + 1 >= b.start + b.lanes && key <= b.start + it->reach) {
            continue; /* all of them see it */
        }
        for (size_t lane = 0; lane < b.lanes; lane += LANES) {
            vint distance = (vint)viota() + (int32_t)(b.start + lane) - (int32_t)key;
            vint seen = (distance <= (int32_t)it->reach) & (distance >= -(int32_t)it->reach);
            vstore(scores + j * BLOCK + lane, vselect(seen, vload(scores + j * BLOCK + lane), vsplat(value)));
        }
    }
}

/* What the distances of queries and keys add to the block's scores, if anything. */
static void relate(const item *it, block b) {
    for (size_t j = 0; it->relative != NULL && j < b.keys; j++) {
        const float *from = it->relative + (ptrdiff_t)b.start - (ptrdiff_t)(b.first + j);
        for (size_t lane = 0; lane < b.lanes; lane += LANES) {
            vstore(it->scores + j * BLOCK + lane, vload(from + lane));
        }
    }
}

/* The block's scores, those of hidden keys among them. */
static void score(const item *it, block b) {
    relate(it, b);
    multiply_rows(b.keys, it->size, b.lanes, it->keys + b.first * it->padded, it->padded, it->query_columns, BLOCK, it->scores, BLOCK, it->relative != NULL);
}

/* Where the result of a query is, or goes. */
static size_t row_of(const item *it, size_t query) {
    return it->row + query - it->first_query;
}

/* The dropout keys of a vector of queries. */
typedef struct {
    vuint low, high;
} mask_keys;

static mask_keys mask_keys_make(const item *it, tandem_mask mask, size_t query) {
    mask_keys keys;
    for (size_t lane = 0; lane < LANES; lane++) {
        uint64_t row = (row_of(it, query) + lane) * it->heads + it->head;
        uint64_t key = tandem_mask_row(mask.key, row);
        keys.low[lane] = (uint32_t)key;
        keys.high[lane] = (uint32_t)(key >> 32);
    }
    return keys;
}

/* Turns one vector of columns of scores into exponentials, in place, dropped ones 0;
 * gives the inverse of the softmax's denominator and, if asked for, its logarithm. */
static void softmax_column(const item *it, block b, tandem_mask mask, size_t query, float *scores, float *inverse, float *lse) {
    vfloat most = vload(scores);
    for (size_t j = 1; j < b.keys; j++) {
        most = vmax(most, vload(scores + j * BLOCK));
    }
    vfloat sum = vsplat(0);
    if (mask.threshold == 0) {
        for (size_t j = 0; j < b.keys; j++) {
            vfloat p = vexp(vload(scores + j * BLOCK) - most);
            sum += p;
            vstore(scores + j * BLOCK, p);
        }
    } else {
        mask_keys keys = mask_keys_make(it, mask, query);
        for (size_t j = 0; j < b.keys; j++) {
            vfloat p = vexp(vload(scores + j * BLOCK) - most);
            sum += p;
            vuint column = (uint32_t)(b.first + j) - (vuint){0};
            vstore(scores + j * BLOCK, vmask(p, keys.low, keys.high, column, mask.threshold, mask.scale));
        }
    }
    vstore(inverse, 1.0f / sum);
    for (int lane = 0; lse != NULL && lane < LANES; lane++) {
        lse[lane] = most[lane] + logf(sum[lane]);
    }
}

/* Keys (turned) and values of an item, and where its queries begin in `in`. */
static void pack_keys_and_values(const item *it, const float *in, const float *bias) {
    const float *key_bias = bias == NULL ? NULL : bias + it->hidden, *value_bias = bias == NULL ? NULL : key_bias + it->hidden;
    pack_rows(it, in + it->hidden, it->in_stride, key_bias, 1, it->length, it->length, it->keys);
    pack_rows(it, in + 2 * it->hidden, it->in_stride, value_bias, 1, it->length, it->length, it->values);
    rotate_rows(it, it->keys, 0, it->length, 1);
}

/* The block's queries (turned, scaled), and their transpose. */
static void pack_queries(const item *it, block b, const float *in, const float *bias) {
    pack_rows(it, in + b.start * it->in_stride, it->in_stride, bias, it->scale, b.count, b.lanes, it->queries);
    rotate_rows(it, it->queries, b.start, b.count, 1);
    transpose(it, it->queries, b.lanes, it->query_columns);
}

static void forward_item(const tandem_attention *attention, const item *it, const float *qkv, const float *bias, float *out, float *lse) {
    const float *in = qkv + it->first * it->in_stride + it->head * it->size, *in_bias = bias == NULL ? NULL : bias + it->head * it->size;
    out += it->head * it->size;
    pack_keys_and_values(it, in, in_bias);
    for (size_t start = it->first_query; start < it->first_query + it->asking; start += it->block) {
        block b = block_make(it, start);
        float inverse[BLOCK], block_lse[BLOCK];
        pack_queries(it, b, in, in_bias);
        score(it, b);
        hide(it, b, it->scores, -1e30f); /* below every score, but differences of floats hold it */
        for (size_t lane = 0; lane < b.lanes; lane += LANES) {
            softmax_column(it, b, attention->mask, start + lane, it->scores + lane, inverse + lane, lse == NULL ? NULL : block_lse + lane);
        }
        hide(it, b, it->scores, 0);
        multiply_columns(b.count, b.keys, it->padded, it->scores, BLOCK, it->values + b.first * it->padded, it->padded, it->result, it->padded);
        unpack_rows(it, it->result, inverse, b.count, out + row_of(it, start) * it->hidden, it->hidden);
        if (lse != NULL) {
            memcpy(lse + row_of(it, start), block_lse, b.count * sizeof *lse);
        }
    }
}

/* ---- the same in bfloat16 ------------------------------------------------------------- */
/* Queries, keys, values and probabilities are rounded, sums are not; nothing is dropped, nothing kept. Pairs lie along the
 * head in queries and keys, along the keys in probabilities and values. */

/* One row, its bias added, scaled, turned: [padded]. */
ALWAYS_INLINE void pack_row(const item *it, const float *from, const float *bias, float factor, bool turned, size_t position, float *to) {
    for (size_t d = 0; d < it->padded; d += LANES) {
        vfloat v = vload_first(from + d, it->size - d);
        if (bias != NULL) {
            v += vload_first(bias + d, it->size - d);
        }
        vstore(to + d, factor * v);
    }
    if (turned && it->rotary != NULL) {
        rotate_rows(it, to, position, 1, 1);
    }
}

/* to [padded / 2] = pairs within a row. */
ALWAYS_INLINE void pair_row(const item *it, const float *row, uint32_t *to) {
    for (size_t d = 0; d < it->padded; d += LANES) {
        vstore_bf16(to + d / 2, vload(row + d));
    }
}

/* keys [length, padded / 2], values [length / 2 rounded up, padded]. `lines`: two rows. */
static void pair_keys_and_values(const item *it, const float *in, const float *bias, float *lines, uint32_t *keys, uint32_t *values) {
    const float *key_bias = bias == NULL ? NULL : bias + it->hidden, *value_bias = bias == NULL ? NULL : key_bias + it->hidden;
    float *even = lines, *line = lines + it->padded;
    for (size_t i = 0; i < it->length; i++, in += it->in_stride) {
        fetch_ahead(it, in + it->hidden, it->in_stride);
        fetch_ahead(it, in + 2 * it->hidden, it->in_stride);
        pack_row(it, in + it->hidden, key_bias, 1, true, i, line);
        pair_row(it, line, keys + i * it->padded / 2);
        if (i % 2 == 0) {
            pack_row(it, in + 2 * it->hidden, value_bias, 1, false, i, even);
            memset(line, 0, it->padded * sizeof *line); /* after the last of an odd number */
        } else {
            pack_row(it, in + 2 * it->hidden, value_bias, 1, false, i, line);
        }
        for (size_t d = 0; d < it->padded && (i % 2 == 1 || i + 1 == it->length); d += LANES) {
            vstore_words(values + i / 2 * it->padded + d, vpair(vload(even + d), vload(line + d)));
        }
    }
}

/* The block's queries: columns [padded / 2, BLOCK]. */
static void pair_queries(const item *it, block b, const float *in, const float *bias, float *lines, uint32_t *rows, uint32_t *columns) {
    size_t pairs = it->padded / 2;
    memset(rows, 0, b.lanes * pairs * sizeof *rows);
    for (size_t i = 0; i < b.count; i++) {
        fetch_ahead(it, in + (b.start + i) * it->in_stride, it->in_stride);
        pack_row(it, in + (b.start + i) * it->in_stride, bias, it->scale, true, b.start + i, lines);
        pair_row(it, lines, rows + i * pairs);
    }
    size_t d = 0;
    for (; d + 4 <= pairs; d += 4) {
        for (size_t i = 0; i < b.lanes; i += 4) {
            transpose_4x4((const float *)(const void *)(rows + i * pairs + d), pairs, (float *)(void *)(columns + d * BLOCK + i), BLOCK);
        }
    }
    for (; d < pairs; d++) {
        for (size_t i = 0; i < b.lanes; i++) {
            columns[d * BLOCK + i] = rows[i * pairs + d];
        }
    }
}

/* e^x for x <= 0 to within 8e-5 of itself, a fraction of what rounding to bfloat16 takes. 2^x = 2^floor(x) 2^r with r in
 * [0, 1); the polynomial in r is a minimax fit. */
ALWAYS_INLINE vfloat vexp_coarse(vfloat x) {
#if defined(__AVX512DQ__)
    __m512 t = (__m512)(x * 0x1.715476p0f), r = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    vfloat p = (vfloat)r * 0x1.3f96a4p-4f + 0x1.cefc4cp-3f;
    p = p * (vfloat)r + 0x1.64444cp-1f;
    p = p * (vfloat)r + 0x1.fff632p-1f;
    return (vfloat)_mm512_scalef_ps((__m512)p, t);
#else
    return vexp(x);
#endif
}

/* Turns one vector of columns of scores into pairs of exponentials, in place: rows of half the number. */
static void softmax_pairs(block b, const float *scores, uint32_t *pairs, float *inverse) {
    vfloat most = vload(scores), sum = vsplat(0);
    for (size_t j = 1; j < b.keys; j++) {
        most = vmax(most, vload(scores + j * BLOCK));
    }
    for (size_t j = 0; j < b.keys; j += 2) {
        vfloat low = vexp_coarse(vload(scores + j * BLOCK) - most), high = vsplat(0);
        if (j + 1 < b.keys) {
            high = vexp_coarse(vload(scores + (j + 1) * BLOCK) - most);
        }
        sum += low + high;
        vstore_words(pairs + j / 2 * BLOCK, vpair(low, high));
    }
    vstore(inverse, 1.0f / sum);
}

static void forward_item_in_pairs(const item *it, const float *qkv, const float *bias, float *out) {
    const float *in = qkv + it->first * it->in_stride + it->head * it->size, *in_bias = bias == NULL ? NULL : bias + it->head * it->size;
    uint32_t *keys = (uint32_t *)(void *)it->keys, *values = (uint32_t *)(void *)it->values, *columns = (uint32_t *)(void *)it->query_columns;
    uint32_t *rows = (uint32_t *)(void *)it->queries, *probabilities = (uint32_t *)(void *)it->scores;
    out += it->head * it->size;
    pair_keys_and_values(it, in, in_bias, it->d_out, keys, values);
    for (size_t start = it->first_query; start < it->first_query + it->asking; start += it->block) {
        block b = block_make(it, start);
        b.keys += b.first % 2; /* a pair of keys is not cut: the first is hidden from all; d_scores gives its row */
        b.first -= b.first % 2;
        float inverse[BLOCK];
        pair_queries(it, b, in, in_bias, it->d_out, rows, columns);
        relate(it, b);
        pair_multiply(b.keys, it->padded / 2, b.lanes, (pair_left){keys + b.first * it->padded / 2, it->padded / 2, 1}, columns, BLOCK, it->scores, BLOCK, it->relative != NULL);
        hide(it, b, it->scores, -1e30f); /* their exponentials are 0 beside others */
        for (size_t i = 0; i < b.count; i++) { /* will be written when the products are done */
            for (size_t d = 0; d < it->size; d += 64 / sizeof *out) {
                __builtin_prefetch(out + row_of(it, start + i) * it->hidden + d, 1);
            }
        }
        for (size_t lane = 0; lane < b.lanes; lane += LANES) {
            softmax_pairs(b, it->scores + lane, probabilities + lane, inverse + lane);
        }
        pair_multiply(b.count, (b.keys + 1) / 2, it->padded, (pair_left){probabilities, 1, BLOCK}, values + b.first / 2 * it->padded, it->padded, it->result, it->padded, false);
        unpack_rows(it, it->result, inverse, b.count, out + row_of(it, start) * it->hidden, it->hidden);
    }
}

/* ---- backward ---------------------------------------------------------------------------- */

/* From scores to dropped probabilities (scores) and from d probabilities to d scores
 * (d_scores), in place, for one vector of queries. delta: sum over the head of
 * out * d_out, which equals the sum over keys of probability * d probability. */
static void backward_column(const item *it, block b, tandem_mask mask, size_t query, float *scores, float *d_scores, const float *lse, const float *delta) {
    vfloat log_sum = vload(lse), mean = vload(delta);
    if (mask.threshold == 0) {
        for (size_t j = 0; j < b.keys; j++) {
            vfloat p = vexp(vload(scores + j * BLOCK) - log_sum);
            vstore(d_scores + j * BLOCK, p * (vload(d_scores + j * BLOCK) - mean));
            vstore(scores + j * BLOCK, p);
        }
        return;
    }
    mask_keys keys = mask_keys_make(it, mask, query);
    for (size_t j = 0; j < b.keys; j++) {
        vuint column = (uint32_t)(b.first + j) - (vuint){0};
        vfloat p = vexp(vload(scores + j * BLOCK) - log_sum);
        vfloat kept = vmask(vsplat(1), keys.low, keys.high, column, mask.threshold, mask.scale);
        vstore(d_scores + j * BLOCK, p * (kept * vload(d_scores + j * BLOCK) - mean));
        vstore(scores + j * BLOCK, kept * p);
    }
}

/* delta and lse of a block's queries, zeros after them. */
static void block_statistics(const item *it, block b, const float *out, const float *lse, float *delta, float *block_lse) {
    memset(delta, 0, BLOCK * sizeof *delta);
    memset(block_lse, 0, BLOCK * sizeof *block_lse);
    memcpy(block_lse, lse + row_of(it, b.start), b.count * sizeof *block_lse);
    for (size_t i = 0; i < b.count; i++) {
        const float *row = out + row_of(it, b.start + i) * it->hidden, *d_row = it->d_out + i * it->padded;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t d = 0; d < it->size; d++) {
            sum += row[d] * d_row[d];
        }
        delta[i] = sum;
    }
}

/* Adds the block's d scores along their diagonals. Rows a vector apart come one after
 * the other: those of neighbours would wait for each other's stores. */
static void add_diagonals(const item *it, block b, float *centre) {
    for (size_t phase = 0; phase < LANES; phase++) {
        for (size_t j = phase; j < b.keys; j += LANES) {
            float *to = centre + (ptrdiff_t)b.start - (ptrdiff_t)(b.first + j);
            for (size_t lane = 0; lane < b.lanes; lane += LANES) {
                vstore(to + lane, vload(to + lane) + vload(it->d_scores + j * BLOCK + lane));
            }
        }
    }
}

static void backward_block(const item *it, block b, tandem_mask mask, const float *out, const float *lse) {
    float delta[BLOCK], block_lse[BLOCK];
    size_t first = b.first * it->padded;
    block_statistics(it, b, out, lse, delta, block_lse);
    score(it, b);
    multiply_rows(b.keys, it->size, b.lanes, it->values + first, it->padded, it->d_out_columns, BLOCK, it->d_scores, BLOCK, false);
    for (size_t lane = 0; lane < b.lanes; lane += LANES) {
        backward_column(it, b, mask, b.start + lane, it->scores + lane, it->d_scores + lane, block_lse + lane, delta + lane);
    }
    hide(it, b, it->scores, 0); /* whatever came of scores that no softmax saw */
    hide(it, b, it->d_scores, 0);
    multiply_rows(b.keys, b.count, it->padded, it->scores, BLOCK, it->d_out, it->padded, it->d_values + first, it->padded, true);
    multiply_rows(b.keys, b.count, it->padded, it->d_scores, BLOCK, it->queries, it->padded, it->d_keys + first, it->padded, true);
    multiply_columns(b.count, b.keys, it->padded, it->d_scores, BLOCK, it->keys + first, it->padded, it->result, it->padded);
    rotate_rows(it, it->result, b.start, b.count, -1);
}

/* d_relative: [2 * length] of this item, the element of i - j = 0 in its middle, or NULL. */
static void backward_item(const tandem_attention *attention, const item *it, const float *qkv, const float *bias, const float *out, const float *lse, const float *d_out, float *d_qkv,
                          float *d_relative) {
    const float *in = qkv + it->first * it->in_stride + it->head * it->size, *in_bias = bias == NULL ? NULL : bias + it->head * it->size;
    float *d_in = d_qkv + it->first * it->in_stride + it->head * it->size;
    float scale[BLOCK];
    for (size_t i = 0; i < BLOCK; i++) {
        scale[i] = it->scale;
    }
    out += it->head * it->size;
    d_out += it->head * it->size;
    pack_keys_and_values(it, in, in_bias);
    memset(it->d_keys, 0, it->length * it->padded * sizeof *it->d_keys);
    memset(it->d_values, 0, it->length * it->padded * sizeof *it->d_values);
    for (size_t i = 0; it->asking < it->length && i < it->length; i++) {
        memset(d_in + i * it->in_stride, 0, it->size * sizeof *d_in);
    }
    if (d_relative != NULL) {
        memset(it->d_relative, 0, 2 * attention->span * sizeof *it->d_relative);
    }
    for (size_t start = it->first_query; start < it->first_query + it->asking; start += it->block) {
        block b = block_make(it, start);
        pack_queries(it, b, in, in_bias);
        pack_rows(it, d_out + row_of(it, start) * it->hidden, it->hidden, NULL, 1, b.count, b.lanes, it->d_out);
        transpose(it, it->d_out, b.lanes, it->d_out_columns);
        backward_block(it, b, attention->mask, out, lse);
        unpack_rows(it, it->result, scale, b.count, d_in + start * it->in_stride, it->in_stride);
        if (d_relative != NULL) {
            add_diagonals(it, b, it->d_relative + attention->span);
        }
    }
    rotate_rows(it, it->d_keys, 0, it->length, -1);
    for (size_t i = 0; i < it->length; i++) {
        memcpy(d_in + i * it->in_stride + it->hidden, it->d_keys + i * it->padded, it->size * sizeof *d_in);
        memcpy(d_in + i * it->in_stride + 2 * it->hidden, it->d_values + i * it->padded, it->size * sizeof *d_in);
    }
    if (d_relative != NULL) {
        memcpy(d_relative, it->d_relative + attention->span - it->length, 2 * it->length * sizeof *d_relative);
    }
}

/* ---- the batch --------------------------------------------------------------------------- */

tandem_attention_forward_fn TANDEM_KERNEL(attention_forward);
tandem_attention_backward_fn TANDEM_KERNEL(attention_backward);

void TANDEM_KERNEL(attention_forward)(const tandem_attention *attention, const float *qkv, const float *bias, float *out, float *lse) {
    size_t items = attention->sequences * attention->heads, rows = tandem_attention_rows(attention);
    size_t scratch = tandem_attention_scratch(attention);
#pragma omp parallel for schedule(dynamic) num_threads(attention->threads)
    for (size_t i = 0; i < items; i++) {
        item it = item_make(attention, i, attention->workspace + (size_t)omp_get_thread_num() * scratch);
        if (attention->bf16 && attention->mask.threshold == 0 && lse == NULL) {
            forward_item_in_pairs(&it, qkv, bias, out);
        } else {
            forward_item(attention, &it, qkv, bias, out, lse == NULL ? NULL : lse + it.head * rows);
        }
    }
}

/* d_relative = the sum of the items' parts, [heads, 2 * total], in the order of the
 * sequences. */
static void sum_relative(const tandem_attention *attention, const float *parts, float *d_relative) {
    size_t span = attention->span;
    memset(d_relative, 0, attention->heads * 2 * span * sizeof *d_relative);
    for (size_t head = 0; head < attention->heads; head++, d_relative += 2 * span) {
        for (size_t s = 0; s < attention->sequences; s++) {
            size_t length = (size_t)(attention->offsets[s + 1] - attention->offsets[s]);
            for (size_t i = 0; i < 2 * length; i++) {
                d_relative[span - length + i] += parts[i];
            }
            parts += 2 * length;
        }
    }
}

void TANDEM_KERNEL(attention_backward)(const tandem_attention *attention, const float *qkv, const float *bias, const float *out, const float *lse, const float *d_out, float *d_qkv,
                                       float *d_relative) {
    size_t items = attention->sequences * attention->heads, total = (size_t)attention->offsets[attention->sequences], rows = tandem_attention_rows(attention);
    size_t scratch = tandem_attention_scratch(attention);
    float *parts = attention->workspace + (size_t)attention->threads * scratch;
#pragma omp parallel for schedule(dynamic) num_threads(attention->threads)
    for (size_t i = 0; i < items; i++) {
        item it = item_make(attention, i, attention->workspace + (size_t)omp_get_thread_num() * scratch);
        float *part = attention->relative == NULL ? NULL : parts + 2 * (it.head * total + it.first);
        backward_item(attention, &it, qkv, bias, out, lse + it.head * rows, d_out, d_qkv, part);
    }
    if (attention->relative != NULL) {
        sum_relative(attention, parts, d_relative);
    }
}
