/* layer_kernel.c - what an encoder computes between two attentions when nothing is kept for a backward pass. All of it
 * is of one row alone, so a block of rows goes from the product that follows one attention to the product that the
 * next one reads while its activations stay in the caches; the weights pass by once a block. Of a few rows, a single
 * query's, there is one block, and all threads work on it, so that each reads a part of the weights. */
#include <sched.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "model/kernels/chunks.h"
#include "model/kernels/kernels.h"
#include "model/kernels/simd.h"
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

/* ---- threads ------------------------------------------------------------------------------- */

/* Where the threads of a team meet: how many are there, and how often all have been. */
typedef struct {
    int arrived, turn;
} gate;

/* Threads that share a block of rows: of the products each has columns of its own, of the rest rows of its own. */
typedef struct {
    int index, count;
    gate *gate;
} team;

static const team alone = {0, 1, NULL};

/* Returns once all of the team have come. What lies between two meetings takes some microseconds, less than it takes to
 * put a thread to sleep and to wake it; where more threads run than cores, the others get theirs. */
static void meet(team t) {
    enum { PATIENCE = 4096 };
    if (t.count == 1) {
        return;
    }
    int turn = __atomic_load_n(&t.gate->turn, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&t.gate->arrived, 1, __ATOMIC_ACQ_REL) == t.count) {
        __atomic_store_n(&t.gate->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&t.gate->turn, turn + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int i = 0; __atomic_load_n(&t.gate->turn, __ATOMIC_ACQUIRE) == turn; i++) {
        if (i < PATIENCE) {
            #if defined(__SSE2__)
            _mm_pause();
#endif
        } else {
            sched_yield();
        }
    }
}

/* Those of `rows` that are the thread's own. */
static size_t own_start(team t, size_t rows) {
    return chunk_start(rows, t.index, t.count);
}

static size_t own_end(team t, size_t rows) {
    return chunk_start(rows, t.index + 1, t.count);
}

static tandem_columns own_columns(team t, size_t width) {
    size_t panels = divide_up(width, PANEL);
    return (tandem_columns){least_of(own_start(t, panels) * PANEL, width), least_of(own_end(t, panels) * PANEL, width)};
}

/* ---- a block of rows ------------------------------------------------------------------------ */

/* Memory for a block: a thread's own, or what a team shares and, of each thread, codes and ranges. */
typedef struct {
    float *part;     /* [TANDEM_ROW_BLOCK, hidden] */
    float *inner;    /* [TANDEM_ROW_BLOCK, width of up] */
    float *active;   /* [TANDEM_ROW_BLOCK, depth of down]: what the activation gives; of one thread it is `inner` */
    float *ranges;   /* [TANDEM_ROW_BLOCK, 2]: of codes; also what norms tell of their rows */
    uint32_t *codes; /* [TANDEM_ROW_BLOCK, words of the deepest product] */
} scratch;

static scratch scratch_of(tandem_row_scratch size, int thread, float *workspace) {
    float *part = workspace + (size_t)thread * tandem_row_scratch_floats(size);
    float *inner = part + TANDEM_ROW_BLOCK * size.part, *ranges = inner + TANDEM_ROW_BLOCK * size.inner;
    return (scratch){part, inner, inner, ranges, (uint32_t *)(void *)(ranges + 2 * TANDEM_ROW_BLOCK)};
}

/* The first thread's rows are the team's, and the second's are where activations go: those of gated ones are half as
 * wide as what they come from, where other threads still read. */
static scratch team_scratch(team t, tandem_row_scratch size, float *workspace) {
    scratch own = scratch_of(size, t.index, workspace);
    if (t.count > 1) {
        scratch first = scratch_of(size, 0, workspace);
        own.part = first.part;
        own.inner = first.inner;
        own.active = scratch_of(size, 1, workspace).inner;
    }
    return own;
}

/* The thread's columns of a product. */
static void multiply(team t, size_t rows, const tandem_laid_out *matrix, const float *x, const scratch *s, float *out) {
    tandem_columns columns = own_columns(t, matrix->width);
    switch (matrix->precision) {
    case TANDEM_INT8:
        TANDEM_KERNEL(int8_quantize)(rows, matrix->depth, x, s->codes, s->ranges);
        TANDEM_KERNEL(int8_multiply)(rows, matrix, columns, s->codes, s->ranges, out);
        break;
    case TANDEM_BF16:
        TANDEM_KERNEL(bf16_multiply)(rows, matrix, columns, x, out);
        break;
    case TANDEM_FP32:
    case TANDEM_AUTO: /* is one of the others by now */
    case TANDEM_TF32: /* on no CPU */
        TANDEM_KERNEL(float_multiply)(rows, matrix, columns, x, out);
        break;
    }
}

/* The sum of a part, its bias and what came in, and what the next product reads: with the norm after it, x becomes the
 * normed sum; else x becomes the sum, and the normed one is in s->part. */
static const float *join(team t, size_t rows, const tandem_row_layer *layer, const float *bias, tandem_row_norm norm, const scratch *s, float *x) {
    size_t hidden = layer->out.width, first = own_start(t, rows);
    tandem_extent extent = {own_end(t, rows) - first, hidden, 1};
    float *part = s->part + first * hidden, *own = x + first * hidden;
    if (layer->pre_norm) { /* the sum of three is the same either way around */
        TANDEM_KERNEL(residual_norm_forward)(extent, own, bias, part, nothing, norm.weight, norm.shift, layer->eps, own, part, s->ranges);
        return norm.weight == NULL ? x : s->part;
    }
    TANDEM_KERNEL(residual_norm_forward)(extent, part, bias, own, nothing, norm.weight, norm.shift, layer->eps, part, own, s->ranges);
    return x;
}

static void activate_rows(team t, size_t rows, const tandem_row_layer *layer, const scratch *s) {
    size_t width = layer->down.depth, first = own_start(t, rows);
    tandem_extent extent = {own_end(t, rows) - first, width, 1};
    TANDEM_KERNEL(activation_forward)(extent, layer->activation, layer->gated, s->inner + first * layer->up.width, layer->up_bias, nothing, s->active + first * width);
}

static void block(team t, size_t rows, const tandem_row_layer *layer, const float *context, const scratch *s, float *x, float *next) {
    multiply(t, rows, &layer->out, context, s, s->part);
    meet(t);
    const float *in = join(t, rows, layer, layer->out_bias, layer->middle_norm, s, x);
    meet(t);
    multiply(t, rows, &layer->up, in, s, s->inner);
    meet(t);
    activate_rows(t, rows, layer, s);
    meet(t);
    multiply(t, rows, &layer->down, s->active, s, s->part);
    meet(t);
    in = join(t, rows, layer, layer->down_bias, layer->last_norm, s, x);
    if (next != NULL) {
        meet(t);
        multiply(t, rows, &layer->next, in, s, next);
    }
}

/* ---- all rows -------------------------------------------------------------------------------- */

void TANDEM_KERNEL(rows_product)(tandem_extent extent, const tandem_laid_out *matrix, const float *x, float *out, float *workspace) {
    tandem_row_scratch size = {0, 0, matrix->depth};
    if (extent.rows <= TANDEM_FEW_ROWS) {
#pragma omp parallel num_threads(extent.threads)
        {
            team t = {omp_get_thread_num(), omp_get_num_threads(), NULL};
            scratch s = team_scratch(t, size, workspace);
            multiply(t, extent.rows, matrix, x, &s, out);
        }
        return;
    }
    size_t rows = block_rows(extent.rows, TANDEM_ROW_BLOCK, extent.threads);
#pragma omp parallel for schedule(dynamic) num_threads(extent.threads)
    for (size_t first = 0; first < extent.rows; first += rows) {
        scratch s = scratch_of(size, omp_get_thread_num(), workspace);
        multiply(alone, least_of(extent.rows - first, rows), matrix, x + first * matrix->depth, &s, out + first * matrix->width);
    }
}

void TANDEM_KERNEL(rows_layer)(tandem_extent extent, const tandem_row_layer *layer, const float *context, float *x, float *next, float *workspace) {
    tandem_row_scratch size = tandem_row_scratch_of(layer);
    if (extent.rows <= TANDEM_FEW_ROWS) {
        gate shared = {0, 0};
#pragma omp parallel num_threads(extent.threads)
        {
            team t = {omp_get_thread_num(), omp_get_num_threads(), &shared};
            scratch s = team_scratch(t, size, workspace);
            block(t, extent.rows, layer, context, &s, x, next);
        }
        return;
    }
    size_t rows = block_rows(extent.rows, TANDEM_ROW_BLOCK, extent.threads), hidden = extent.width;
#pragma omp parallel for schedule(dynamic) num_threads(extent.threads)
    for (size_t first = 0; first < extent.rows; first += rows) {
        scratch s = scratch_of(size, omp_get_thread_num(), workspace);
        size_t count = least_of(extent.rows - first, rows);
        block(alone, count, layer, context + first * hidden, &s, x + first * hidden, next == NULL ? NULL : next + first * layer->next.width);
    }
}
