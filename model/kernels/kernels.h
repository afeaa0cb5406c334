/* kernels.h - the CPU loops that libtorch has no fast one for: attention over packed
 * sequences, and fused passes over [rows, width] activations.
 *
 * Each *_kernel.c is compiled once an instruction set (CMakeLists.txt); dispatch.c
 * lists the functions in one table a set. To add one: a function type and a table
 * entry here, the function TANDEM_KERNEL(name) in a *_kernel.c, its name in
 * dispatch.c. All arrays are float32, row-major and dense, unless said otherwise. Results depend on the number of threads at most
 * in their rounding, never on timing. Accumulated outputs ("+=") are marked so.
 */
#ifndef TANDEM_MODEL_KERNELS_KERNELS_H
#define TANDEM_MODEL_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/torch/shim.h"
#include "tandem/machine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- dropout masks --------------------------------------------------------------- */
/* One place in the network where elements are dropped. The mask of element (row,
 * column) is a pure function of the key, so backward computes it again instead of
 * keeping it. */
typedef struct {
    uint64_t key;       /* of (seed, step, site) */
    uint32_t threshold; /* an element is dropped when its hash is below: p * 2^32 */
    float scale;        /* of what is kept: 1 / (1 - p) */
} tandem_mask;

/* The mask of a site; `probability` in [0, 1). threshold 0: nothing is dropped. */
tandem_mask tandem_mask_make(uint64_t seed, uint64_t step, uint64_t site, double probability);

/* From a row's counter to the next one's: 2^64 divided by the golden ratio. */
#define TANDEM_MASK_STEP UINT64_C(0x9e3779b97f4a7c15)

/* The mask that begins `rows` rows further down. */
static inline tandem_mask tandem_mask_from(tandem_mask mask, uint64_t rows) {
    mask.key += rows * TANDEM_MASK_STEP;
    return mask;
}

/* Two 32-bit keys of a row, the high and the low half of the SplitMix64 output
 * function (Steele, Lea and Flood 2014) of the row's counter. */
static inline uint64_t tandem_mask_row(uint64_t key, uint64_t row) {
    uint64_t x = key + (row + 1) * TANDEM_MASK_STEP;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The hash of one element: a xorshift-multiply mix of 32 bits whose two halves are
 * keyed by the row. simd.h has the same for a vector. */
static inline uint32_t tandem_mask_hash(uint64_t row_key, uint32_t column) {
    uint32_t x = column ^ (uint32_t)row_key;
    x = (x ^ (x >> 16)) * UINT32_C(0x7feb352d);
    x ^= (uint32_t)(row_key >> 32);
    x = (x ^ (x >> 15)) * UINT32_C(0x846ca68b);
    return x ^ (x >> 16);
}

/* 1 / (1 - p) where the element is kept, 0 where it is dropped. */
static inline float tandem_mask_factor(const tandem_mask *mask, uint64_t row_key, uint32_t column) {
    return tandem_mask_hash(row_key, column) >= mask->threshold ? mask->scale : 0.0f;
}

/* ---- attention -------------------------------------------------------------------- */
/* Which tokens of a sequence ask: what comes of the others is not needed. */
typedef enum { TANDEM_QUERIES_ALL, TANDEM_QUERIES_FIRST, TANDEM_QUERIES_LAST } tandem_queries;

/* Softmax attention of the tokens of each sequence on one another. qkv is
 * [total, 3 * heads * head_size]: a row holds the queries of all heads, then the
 * keys, then the values; `bias` (the same width, or NULL) is added to each row. The
 * score of query i and key j is q k / sqrt(head_size), and what `relative` adds. */
typedef struct {
    size_t sequences, heads, head_size;
    const int32_t *offsets; /* [sequences + 1], from 0 */
    tandem_queries queries;
    size_t window;          /* query i sees the keys j with |i - j| <= window; 0: all */
    const float *rotary;    /* [longest sequence, head_size], tandem_rotary_table: turns queries and keys; or NULL */
    const float *relative;  /* [heads, 2 * span], element span + i - j of a row; or NULL */
    size_t span;            /* at least the longest sequence + 16 */
    tandem_mask mask;       /* of the probabilities: row (i * heads + head), column j, with i the query's row of
                               what comes out and j counted in the sequence */
    bool bf16;              /* where nothing is dropped and no lse asked for: rounds queries, keys, values and
                               probabilities to bfloat16; sums stay float32 */
    int threads;
    float *workspace; /* tandem_attention_workspace() floats, 64-byte aligned */
} tandem_attention;

/* Floats of scratch memory for all threads together; linear in the longest sequence,
 * and, with `relative`, in the batch. */
size_t tandem_attention_workspace(const tandem_attention *attention);
/* One thread's part of it, which comes first. */
size_t tandem_attention_scratch(const tandem_attention *attention);

/* Queries in a block: wide enough to fill the vector registers of every set. */
enum { TANDEM_QUERY_BLOCK = 48 };

/* The most keys that a block of queries sees in a sequence of `length`. */
static inline size_t tandem_attention_keys(const tandem_attention *attention, size_t length) {
    size_t window = attention->window;
    return window == 0 || window >= length || 2 * window + TANDEM_QUERY_BLOCK >= length ? length : 2 * window + TANDEM_QUERY_BLOCK;
}

/* Rows of what comes out: one a query. */
static inline size_t tandem_attention_rows(const tandem_attention *attention) {
    return attention->queries == TANDEM_QUERIES_ALL ? (size_t)attention->offsets[attention->sequences] : attention->sequences;
}

/* ---- the functions of one instruction set --------------------------------------------- */

/* out: [rows, heads * head_size]; lse: [heads, rows], the logarithm of each
 * softmax's denominator, for the backward pass, or NULL. */
typedef void tandem_attention_forward_fn(const tandem_attention *attention, const float *qkv, const float *bias, float *out, float *lse);

/* d_qkv: [total, 3 * heads * head_size]; d_relative: as `relative`, which alone needs it. */
typedef void tandem_attention_backward_fn(const tandem_attention *attention, const float *qkv, const float *bias, const float *out, const float *lse, const float *d_out, float *d_qkv,
                                          float *d_relative);

/* [rows, width] activations, and how many threads share them. */
typedef struct {
    size_t rows, width;
    int threads;
} tandem_extent;

/* sum = dropout(x + bias) + residual, out = LayerNorm(sum) * weight + shift. The mean
 * and the inverse deviation of each row are kept in stats [rows, 2]. `bias`,
 * `residual` and `shift` may be NULL; `sum` may be `x`, and `out` the residual. `weight` NULL: no LayerNorm,
 * `out` and `stats` are not touched. */
typedef void tandem_residual_norm_forward_fn(tandem_extent extent, const float *x, const float *bias, const float *residual, tandem_mask mask, const float *weight, const float *shift,
                                             float eps, float *sum, float *out, float *stats);

/* d_residual = d sum and d_x = dropout(d_residual), which is the same memory when
 * nothing is dropped. d_weight +=, d_shift += (or NULL), d_bias += (or NULL).
 * partial: threads * 3 * width floats of scratch. */
typedef void tandem_residual_norm_backward_fn(tandem_extent extent, const float *d_out, const float *sum, const float *stats, const float *weight, tandem_mask mask, float *partial,
                                              float *d_residual, float *d_x, float *d_weight, float *d_shift, float *d_bias);

/* out = dropout(activation(x + bias)); `bias` may be NULL. extent: of `out`. Gated, x and
 * bias are twice as wide: out = dropout(activation(a) * b), a the left half and b the
 * right one (Shazeer 2020, GLU variants). With one thread `out` may be `x`. */
typedef void tandem_activation_forward_fn(tandem_extent extent, tandem_activation activation, bool gated, const float *x, const float *bias, tandem_mask mask, float *out);

/* d_x: of the width of x; d_bias += (or NULL). partial: threads * that width floats of
 * scratch. */
typedef void tandem_activation_backward_fn(tandem_extent extent, tandem_activation activation, bool gated, const float *d_out, const float *x, const float *bias, tandem_mask mask,
                                           float *partial, float *d_x, float *d_bias);

/* out = dropout(x), its own backward pass; `out` may be `x`. */
typedef void tandem_dropout_fn(tandem_extent extent, const float *x, tandem_mask mask, float *out);

/* out[column] += sum over rows. partial: threads * width floats of scratch. */
typedef void tandem_column_sum_fn(tandem_extent extent, const float *x, float *partial, float *out);

/* out[i] = (or, with `add`, +=) table[index[i]], rows of `width`. */
typedef void tandem_rows_gather_fn(tandem_extent extent, const float *table, const int32_t *index, bool add, float *out);

/* table[index[i]] += x[i], in the order of i: threads share the columns. A negative
 * index leaves its row out. */
typedef void tandem_rows_scatter_fn(tandem_extent extent, const float *x, const int32_t *index, float *table);

/* out[s] = scale[s] * sum of a sequence's rows, summed in double; with `ramp` the
 * first row counts once, the second twice, and so on. extent.rows: sequences. */
typedef void tandem_segment_sum_fn(tandem_extent extent, const float *x, const int32_t *offsets, const double *scale, bool ramp, float *out);

/* Its backward pass: d_x[row] = scale[s] * (row's count) * d_out[s]. */
typedef void tandem_segment_spread_fn(tandem_extent extent, const float *d_out, const int32_t *offsets, const double *scale, bool ramp, float *d_x);

/* ---- products with what is laid out ------------------------------------------------- */
/* A weight as products read it, laid out for the kernels of one set. */
typedef struct {
    tandem_precision precision; /* fp32, bf16 or int8 */
    size_t depth, width;
    const void *data;           /* by tandem_float_lay_out_fn, tandem_bf16_lay_out_fn or tandem_int8_lay_out_fn */
    const float *scales, *sums; /* int8: [width], what a column's codes are multiplied by, and the sum of the column so made */
} tandem_laid_out;

/* Numbers of the summed dimension whose sums some sets keep apart, with two rows more beside them. */
enum { TANDEM_FLOAT_CHUNK = 192 };

/* Floats of a laid-out matrix [depth, width], for every set. */
static inline size_t tandem_float_words(size_t depth, size_t width) {
    return (depth + 1 + 2 * ((depth + TANDEM_FLOAT_CHUNK - 1) / TANDEM_FLOAT_CHUNK)) * ((width + 15) / 16 * 16);
}

/* to = the right factor [depth, width] = extent's rows and width, laid out. `from` is it, or with `transposed` its
 * transpose [width, depth]. */
typedef void tandem_float_lay_out_fn(tandem_extent extent, const float *from, bool transposed, float *to);

/* Of a product's columns those from `first` up to `end`; `first` where a panel begins. */
typedef struct {
    size_t first, end;
} tandem_columns;

static inline tandem_columns tandem_all_columns(const tandem_laid_out *b) {
    return (tandem_columns){0, b->width};
}

/* Columns of c [rows, width] = x [rows, depth] * b, each sum in the order of its terms. */
typedef void tandem_float_multiply_fn(size_t rows, const tandem_laid_out *b, tandem_columns columns, const float *x, float *c);

/* Numbers of the summed dimension that a gradient takes at once. */
enum { TANDEM_FLOAT_DEPTH = 960 };

/* c += a^T * b with a [depth, rows] and b [depth, width], extent of c: the gradient of a weight. scratch:
 * tandem_float_words(TANDEM_FLOAT_DEPTH, width). */
typedef void tandem_float_gradient_fn(tandem_extent extent, size_t depth, const float *a, const float *b, float *scratch, float *c);

/* In bfloat16 both factors are rounded, to the nearest, and the products summed in float32, in an order that depends on
 * the sizes alone. Words of a laid-out matrix [depth, width], for every set: */
static inline size_t tandem_bf16_words(size_t depth, size_t width) {
    return (depth + 1) / 2 * ((width + 15) / 16 * 16);
}

/* As tandem_float_lay_out_fn. */
typedef void tandem_bf16_lay_out_fn(tandem_extent extent, const float *from, bool transposed, uint32_t *to);

/* As tandem_float_multiply_fn. */
typedef void tandem_bf16_multiply_fn(size_t rows, const tandem_laid_out *b, tandem_columns columns, const float *x, float *c);

/* Numbers of the summed dimension that a product or a gradient takes at once. */
enum { TANDEM_BF16_DEPTH = 512 };

/* As tandem_float_gradient_fn; scratch: tandem_bf16_words(TANDEM_BF16_DEPTH, width). */
typedef void tandem_bf16_gradient_fn(tandem_extent extent, size_t depth, const float *a, const float *b, uint32_t *scratch, float *c);

/* The deepest product in int8 whose sums fit 32 bits: depth * 255 * 127 < 2^31. */
enum { TANDEM_INT8_DEPTH = 66311 };

/* Words of a row of `depth` codes; a laid-out matrix has as many for each column, their number rounded up to 16. */
typedef size_t tandem_int8_words_fn(size_t depth);

/* to, scales, sums = the matrix whose transpose is from [width, depth], extent's width and rows: each column rounded to
 * 255 steps between minus and plus its greatest magnitude. */
typedef void tandem_int8_lay_out_fn(tandem_extent extent, const float *from, uint32_t *to, float *scales, float *sums);

/* codes [rows, words], ranges [rows, 2] = x [rows, depth]: each row rounded to 255 steps from its least number
 * to its greatest, 0 among them; ranges: that least number, and a step. */
typedef void tandem_int8_quantize_fn(size_t rows, size_t depth, const float *x, uint32_t *codes, float *ranges);

/* Columns of c [rows, width] = what codes and ranges stand for * b; the same to the bit for every set. */
typedef void tandem_int8_multiply_fn(size_t rows, const tandem_laid_out *b, tandem_columns columns, const uint32_t *codes, const float *ranges, float *c);

/* ---- layers without gradients ------------------------------------------------------------ */
/* Rows that go through a layer together; and so few that threads share not them but the columns of each product, since to
 * read the weights takes as long as to multiply with them. */
enum { TANDEM_ROW_BLOCK = 64, TANDEM_FEW_ROWS = 32 };

/* Floats a row of a block needs: for sums of the hidden size, for the feed-forward part's inside, for codes. */
typedef struct {
    size_t part, inner, deepest;
} tandem_row_scratch;

/* Of one thread's scratch memory. */
static inline size_t tandem_row_scratch_floats(tandem_row_scratch size) {
    return TANDEM_ROW_BLOCK * (size.part + size.inner + 2 + (size.deepest + 1) / 2);
}

typedef struct {
    const float *weight, *shift; /* weight NULL: no norm; shift NULL: none */
} tandem_row_norm;

/* What lies between the attention of one layer and that of the next. Biases may be NULL. */
typedef struct {
    tandem_laid_out out, up, down, next; /* next: query, key and value of the next layer */
    const float *out_bias, *up_bias, *down_bias;
    tandem_row_norm middle_norm, last_norm; /* of what comes before `up`, and before `next` */
    bool pre_norm;                          /* they norm what a product reads alone; else (post-norm) what is passed on */
    bool gated;
    tandem_activation activation;
    float eps;
} tandem_row_layer;

static inline tandem_row_scratch tandem_row_scratch_of(const tandem_row_layer *layer) {
    size_t hidden = layer->out.width, inner = layer->down.depth;
    return (tandem_row_scratch){hidden, layer->up.width, inner > hidden ? inner : hidden};
}

/* out [rows, width] = x [rows, depth] * matrix; extent: of out. workspace: threads times the scratch of {0, 0, depth}. */
typedef void tandem_rows_product_fn(tandem_extent extent, const tandem_laid_out *matrix, const float *x, float *out, float *workspace);

/* x [rows, hidden], the layer's input, becomes its output; context: what its attention gave. next (or NULL): the product
 * with the next layer's weights, without bias. extent: of x. workspace: threads times the layer's scratch. A row's result
 * depends on that row alone. */
typedef void tandem_rows_layer_fn(tandem_extent extent, const tandem_row_layer *layer, const float *context, float *x, float *next, float *workspace);

typedef struct {
    tandem_attention_forward_fn *attention_forward;
    tandem_attention_backward_fn *attention_backward;
    tandem_residual_norm_forward_fn *residual_norm_forward;
    tandem_residual_norm_backward_fn *residual_norm_backward;
    tandem_activation_forward_fn *activation_forward;
    tandem_activation_backward_fn *activation_backward;
    tandem_dropout_fn *dropout;
    tandem_column_sum_fn *column_sum;
    tandem_rows_gather_fn *rows_gather;
    tandem_rows_scatter_fn *rows_scatter;
    tandem_segment_sum_fn *segment_sum;
    tandem_segment_spread_fn *segment_spread;
    tandem_float_lay_out_fn *float_lay_out;
    tandem_float_multiply_fn *float_multiply;
    tandem_float_gradient_fn *float_gradient;
    tandem_bf16_lay_out_fn *bf16_lay_out;
    tandem_bf16_multiply_fn *bf16_multiply;
    tandem_bf16_gradient_fn *bf16_gradient;
    tandem_int8_words_fn *int8_words;
    tandem_int8_lay_out_fn *int8_lay_out;
    tandem_int8_quantize_fn *int8_quantize;
    tandem_int8_multiply_fn *int8_multiply;
    tandem_rows_product_fn *rows_product;
    tandem_rows_layer_fn *rows_layer;
} tandem_kernels;

/* The functions of `isa`; NULL when this machine (or the environment,
 * tandem/machine.h) does not allow it. */
const tandem_kernels *tandem_kernels_of(tandem_isa isa);
/* The best that this machine allows. */
const tandem_kernels *tandem_kernels_best(void);

#ifdef TANDEM_KERNEL_ISA
#define TANDEM_KERNEL_PASTE_(name, isa) tandem_##name##_##isa
#define TANDEM_KERNEL_PASTE(name, isa) TANDEM_KERNEL_PASTE_(name, isa)
#define TANDEM_KERNEL(name) TANDEM_KERNEL_PASTE(name, TANDEM_KERNEL_ISA)
#endif

#ifdef __cplusplus
}
#endif
#endif
