/* layer_kernel.c - what an encoder computes between two attentions when nothing is kept for a backward pass. All of it
 * is of one row alone, so a block of rows goes from the product that follows one attention to the product that the
 * next one reads while its activations stay in the caches; the weights pass by once a block. */
#include "model/kernels/chunks.h"
#include "model/kernels/kernels.h"
#include "tandem/openmp.h"

tandem_residual_norm_forward_fn TANDEM_KERNEL(residual_norm_forward);
tandem_activation_forward_fn TANDEM_KERNEL(activation_forward);
tandem_bf16_multiply_fn TANDEM_KERNEL(bf16_multiply);
tandem_float_multiply_fn TANDEM_KERNEL(float_multiply);
tandem_int8_quantize_fn TANDEM_KERNEL(int8_quantize);
tandem_int8_multiply_fn TANDEM_KERNEL(int8_multiply);
tandem_rows_product_fn TANDEM_KERNEL(rows_product);
tandem_rows_layer_fn TANDEM_KERNEL(rows_layer);

static const tandem_mask nothing = {0};

/* A thread's scratch memory. */
typedef struct {
    float *part;     /* [TANDEM_ROW_BLOCK, hidden] */
    float *inner;    /* [TANDEM_ROW_BLOCK, width of up] */
    float *ranges;   /* [TANDEM_ROW_BLOCK, 2]: of codes; also what norms tell of their rows */
    uint32_t *codes; /* [TANDEM_ROW_BLOCK, words of the deepest product] */
} scratch;

static scratch scratch_of(tandem_row_scratch size, float *workspace) {
    float *part = workspace + (size_t)omp_get_thread_num() * tandem_row_scratch_floats(size);
    float *inner = part + TANDEM_ROW_BLOCK * size.part, *ranges = inner + TANDEM_ROW_BLOCK * size.inner;
    return (scratch){part, inner, ranges, (uint32_t *)(void *)(ranges + 2 * TANDEM_ROW_BLOCK)};
}

static void multiply(size_t rows, const tandem_laid_out *matrix, const float *x, const scratch *s, float *out) {
    switch (matrix->precision) {
    case TANDEM_INT8:
        TANDEM_KERNEL(int8_quantize)(rows, matrix->depth, x, s->codes, s->ranges);
        TANDEM_KERNEL(int8_multiply)(rows, matrix, s->codes, s->ranges, out);
        break;
    case TANDEM_BF16:
        TANDEM_KERNEL(bf16_multiply)(rows, matrix, x, out);
        break;
    case TANDEM_FP32:
    case TANDEM_AUTO: /* is one of the others by now */
        TANDEM_KERNEL(float_multiply)(rows, matrix, x, out);
        break;
    }
}

void TANDEM_KERNEL(rows_product)(tandem_extent extent, const tandem_laid_out *matrix, const float *x, float *out, float *workspace) {
    size_t rows = block_rows(extent.rows, TANDEM_ROW_BLOCK, extent.threads);
#pragma omp parallel for schedule(dynamic) num_threads(extent.threads)
    for (size_t first = 0; first < extent.rows; first += rows) {
        scratch s = scratch_of((tandem_row_scratch){0, 0, matrix->depth}, workspace);
        multiply(extent.rows - first < rows ? extent.rows - first : rows, matrix, x + first * matrix->depth, &s, out + first * matrix->width);
    }
}

/* The sum of a part, its bias and what came in, and what the next product reads: with the norm after it, x becomes the
 * normed sum; else x becomes the sum, and the normed one is in s->part. */
static const float *join(tandem_extent extent, const tandem_row_layer *layer, const float *bias, tandem_row_norm norm, const scratch *s, float *x) {
    if (layer->pre_norm) { /* the sum of three is the same either way around */
        TANDEM_KERNEL(residual_norm_forward)(extent, x, bias, s->part, nothing, norm.weight, norm.shift, layer->eps, x, s->part, s->ranges);
        return norm.weight == NULL ? x : s->part;
    }
    TANDEM_KERNEL(residual_norm_forward)(extent, s->part, bias, x, nothing, norm.weight, norm.shift, layer->eps, s->part, x, s->ranges);
    return x;
}

static void block(size_t rows, const tandem_row_layer *layer, const float *context, const scratch *s, float *x, float *next) {
    tandem_extent extent = {rows, layer->out.width, 1}, inner = {rows, layer->down.depth, 1};
    multiply(rows, &layer->out, context, s, s->part);
    const float *in = join(extent, layer, layer->out_bias, layer->middle_norm, s, x);
    multiply(rows, &layer->up, in, s, s->inner);
    TANDEM_KERNEL(activation_forward)(inner, layer->activation, layer->gated, s->inner, layer->up_bias, nothing, s->inner);
    multiply(rows, &layer->down, s->inner, s, s->part);
    in = join(extent, layer, layer->down_bias, layer->last_norm, s, x);
    if (next != NULL) {
        multiply(rows, &layer->next, in, s, next);
    }
}

void TANDEM_KERNEL(rows_layer)(tandem_extent extent, const tandem_row_layer *layer, const float *context, float *x, float *next, float *workspace) {
    size_t rows = block_rows(extent.rows, TANDEM_ROW_BLOCK, extent.threads), hidden = extent.width;
#pragma omp parallel for schedule(dynamic) num_threads(extent.threads)
    for (size_t first = 0; first < extent.rows; first += rows) {
        scratch s = scratch_of(tandem_row_scratch_of(layer), workspace);
        size_t count = extent.rows - first < rows ? extent.rows - first : rows;
        block(count, layer, context + first * hidden, &s, x + first * hidden, next == NULL ? NULL : next + first * layer->next.width);
    }
}
