/* pool.c - from the hidden states of tokens to one vector a text, as sentence-transformers' Pooling
 * does it: modes joined, and a prompt's tokens left out where the model says so. */
#include <stdlib.h>

#include "model/model_private.h"

/* Tokens at the front of sequence i that pooling leaves out: at least one remains. */
static int32_t skip_of(const tandem_model *model, const tandem_batch *batch, const tandem_side *sides, size_t i)
{
    int32_t length = batch->offsets[i + 1] - batch->offsets[i], skip = (int32_t)model->prompt_tokens[sides[i]];
    return skip < length ? skip : length - 1;
}

/* ---- without prompts ------------------------------------------------------------------ */

/* What remains of a batch: rows of hidden states, where they lie, and how many were left out. */
typedef struct {
    tandem_batch batch; /* ids and type ids are those of the whole and mean nothing */
    int64_t *rows;      /* [batch.total] */
    int32_t *offsets;   /* [batch.count + 1] */
    int32_t *skips;     /* [batch.count] */
} remainder;

static void free_remainder(remainder *rest)
{
    free(rest->rows);
    free(rest->offsets);
    free(rest->skips);
}

static int make_remainder(remainder *rest, const tandem_model *model, const tandem_batch *batch,
                          const tandem_side *sides)
{
    *rest = (remainder){.batch = *batch};
    rest->rows = tandem_alloc(batch->total, sizeof *rest->rows);
    rest->offsets = tandem_alloc(batch->count + 1, sizeof *rest->offsets);
    rest->skips = tandem_alloc(batch->count, sizeof *rest->skips);
    if (rest->rows == NULL || rest->offsets == NULL || rest->skips == NULL) {
        return TANDEM_ERROR;
    }
    int32_t kept = 0;
    rest->offsets[0] = 0;
    for (size_t i = 0; i < batch->count; i++) {
        rest->skips[i] = skip_of(model, batch, sides, i);
        for (int32_t row = batch->offsets[i] + rest->skips[i]; row < batch->offsets[i + 1]; row++) {
            rest->rows[kept++] = row;
        }
        rest->offsets[i + 1] = kept;
    }
    rest->batch.total = (size_t)kept;
    rest->batch.offsets = rest->offsets;
    return 0;
}

/* A column of weights, [count, 1], times the rows of `x`. */
static int scale_rows(tandem_tensor **out, const tandem_tensor *x, const float *weights, size_t count)
{
    tandem_tensor *column;
    const int64_t shape[] = {(int64_t)count, 1};
    TANDEM_TRY(tandem_tensor_from(&column, weights, shape, 2));
    return tandem_op_mul(out, x, column);
}

/* The weighted mean keeps each token's place in the whole text as its weight. Over n tokens
 * after s others that is (W * w + n s * m) / (W + n s), with W = n (n + 1) / 2, of the
 * weighted mean w and the mean m that count from the first token that remains. */
static int weighted_mean(tandem_tensor **out, const tandem_tensor *hidden, const remainder *rest)
{
    size_t count = rest->batch.count;
    float *weights = tandem_alloc(2 * count, sizeof *weights);
    if (weights == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        double n = rest->offsets[i + 1] - rest->offsets[i], inner = n * (n + 1) / 2, shift = n * rest->skips[i];
        weights[i] = (float)(inner / (inner + shift));
        weights[count + i] = (float)(shift / (inner + shift));
    }
    tandem_tensor *weighted, *mean, *left, *right;
    int rc = tandem_encoder_pool(&weighted, hidden, &rest->batch, TANDEM_POOL_WEIGHTED_MEAN);
    rc = rc < 0 ? rc : tandem_encoder_pool(&mean, hidden, &rest->batch, TANDEM_POOL_MEAN);
    rc = rc < 0 ? rc : scale_rows(&left, weighted, weights, count);
    rc = rc < 0 ? rc : scale_rows(&right, mean, weights + count, count);
    rc = rc < 0 ? rc : tandem_op_add(out, left, right);
    free(weights);
    return rc;
}

/* ---- the modes, joined ------------------------------------------------------------------- */

/* `rest` NULL: prompts are pooled, too. */
static int pool_modes(tandem_tensor **out, const tandem_model *model, const tandem_tensor *hidden,
                      const tandem_batch *batch, const remainder *rest)
{
    const tandem_model_info *info = &model->info;
    tandem_tensor *parts[TANDEM_POOLING_MODES];
    for (size_t i = 0; i < info->poolings; i++) {
        bool weighted = rest != NULL && info->pooling[i] == TANDEM_POOL_WEIGHTED_MEAN;
        TANDEM_TRY(weighted ? weighted_mean(&parts[i], hidden, rest)
                            : tandem_encoder_pool(&parts[i], hidden, batch, info->pooling[i]));
    }
    if (info->poolings == 1) {
        *out = parts[0];
        return 0;
    }
    return tandem_op_cat(out, (const tandem_tensor *const *)parts, info->poolings, 1);
}

static int pool_whole(tandem_tensor **out, const tandem_model *model, const tandem_batch *batch, tandem_dropout dropout)
{
    if (model->info.poolings == 1) {
        return tandem_encoder_forward_pooled(out, model->encoder, batch, model->info.pooling[0], dropout);
    }
    tandem_tensor *hidden;
    TANDEM_TRY(tandem_encoder_forward(&hidden, model->encoder, batch, dropout));
    return pool_modes(out, model, hidden, batch, NULL);
}

int tandem_model_pool(tandem_tensor **out, const tandem_model *model, const tandem_batch *batch,
                      const tandem_side *sides, tandem_dropout dropout)
{
    if (model->prompt_tokens[TANDEM_QUERY] == 0 && model->prompt_tokens[TANDEM_DOCUMENT] == 0) {
        return pool_whole(out, model, batch, dropout);
    }
    if (sides == NULL) {
        return tandem_error("%s: pools without its prompts (include_prompt), which needs to know the side of each text",
                            model->info.directory);
    }
    remainder rest;
    tandem_tensor *hidden, *kept;
    TANDEM_TRY(tandem_encoder_forward(&hidden, model->encoder, batch, dropout));
    int rc = make_remainder(&rest, model, batch, sides);
    rc = rc < 0 ? rc : tandem_op_index_select(&kept, hidden, 0, rest.rows, rest.batch.total);
    rc = rc < 0 ? rc : pool_modes(out, model, kept, &rest.batch, &rest);
    free_remainder(&rest);
    return rc;
}
