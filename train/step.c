/* step.c - forward, loss and backward of one training step. */
#include "train/step.h"

#include <math.h>
#include <stdlib.h>

#include "tandem/memory.h"
#include "train/forward.h"

struct tandem_stepper {
    tandem_model *model;
    tandem_forward forward;
    tandem_arena *arena; /* of one step */
};

int tandem_stepper_new(tandem_stepper **out, tandem_model *model)
{
    tandem_stepper *stepper = tandem_alloc(1, sizeof *stepper);

    if (stepper == NULL) {
        return TANDEM_ERROR;
    }
    stepper->model = model;
    stepper->arena = tandem_arena_new();
    if (stepper->arena == NULL) {
        tandem_stepper_free(stepper);
        return TANDEM_ERROR;
    }
    *out = stepper;
    return TANDEM_OK;
}

void tandem_stepper_free(tandem_stepper *stepper)
{
    if (stepper != NULL) {
        tandem_forward_free(&stepper->forward);
        tandem_arena_free(stepper->arena);
        free(stepper);
    }
}

/* A part of a step has a number of its own, so that no two forwards of a run share
 * their dropout masks. A step has fewer than 2^20 parts: batch_size is at most that. */
static tandem_dropout part_dropout(bool train, uint64_t seed, uint64_t step, size_t part)
{
    return (tandem_dropout){train, seed, step << 20 | part};
}

/* ---- bi-encoder ------------------------------------------------------------------- */
/* The step's texts: `n` queries, then `m` documents, the first n of them the
 * positives of their rows. */
typedef struct {
    size_t n, m;
    tandem_sequence *sequences;    /* [n + m] */
    uint32_t *queries, *documents; /* rows of the token stores, [n], [m] */
    bool *masked;                  /* [n * m] */
} bi_batch;

static int lay_out_bi(bi_batch *out, tandem_arena *arena, const tandem_examples *examples, const uint32_t *batch, size_t count)
{
    size_t documents = count, cells = 0;

    for (size_t i = 0; i < count; i++) {
        documents += examples->items[batch[i]].negative_count;
    }
    if (!tandem_size_mul(&cells, count, documents)) {
        return tandem_error("a step of %zu queries and %zu documents is too large", count, documents);
    }
    *out = (bi_batch){.n = count, .m = documents};
    out->sequences = tandem_arena_alloc(arena, count + documents, sizeof *out->sequences);
    out->queries = tandem_arena_alloc(arena, count, sizeof *out->queries);
    out->documents = tandem_arena_alloc(arena, documents, sizeof *out->documents);
    out->masked = tandem_arena_alloc(arena, cells, sizeof *out->masked);
    if (out->sequences == NULL || out->queries == NULL || out->documents == NULL || out->masked == NULL) {
        return TANDEM_ERROR;
    }
    size_t next = count;

    for (size_t i = 0; i < count; i++) {
        const tandem_example *example = &examples->items[batch[i]];

        out->queries[i] = example->query;
        out->documents[i] = example->positive;
        for (size_t k = 0; k < example->negative_count; k++) {
            out->documents[next++] = example->negatives[k];
        }
    }
    for (size_t i = 0; i < count; i++) {
        out->sequences[i] = (tandem_sequence){.first = tandem_token_store_get(examples->queries, out->queries[i])};
    }
    for (size_t j = 0; j < documents; j++) {
        out->sequences[count + j] = (tandem_sequence){.first = tandem_token_store_get(examples->documents, out->documents[j])};
    }
    tandem_examples_mask(out->masked, examples, out->queries, count, out->documents, documents);
    return TANDEM_OK;
}

static int bi_forward_backward(tandem_step_figures *figures, tandem_stepper *stepper, const bi_batch *batch,
                               double scale, tandem_dropout dropout)
{
    tandem_tensor *embeddings = NULL, *queries = NULL, *documents = NULL, *loss = NULL;
    int64_t n = (int64_t)batch->n, m = (int64_t)batch->m;

    TANDEM_TRY(tandem_forward_run(&embeddings, &figures->tokens, &stepper->forward, stepper->model, batch->sequences,
                                  batch->n + batch->m, dropout));
    TANDEM_TRY(tandem_op_narrow(&queries, embeddings, 0, 0, n));
    TANDEM_TRY(tandem_op_narrow(&documents, embeddings, 0, n, m));
    TANDEM_TRY(tandem_loss_mnrl(&loss, queries, documents, batch->masked, scale));
    TANDEM_TRY(tandem_tensor_item(loss, &figures->loss));
    return isfinite(figures->loss) ? tandem_backward(loss) : TANDEM_OK;
}

int tandem_step_bi(tandem_step_figures *figures, tandem_stepper *stepper, const tandem_examples *examples,
                   const uint32_t *batch, size_t count, double scale, bool train, uint64_t seed, uint64_t step)
{
    bi_batch laid_out = {0};

    *figures = (tandem_step_figures){0};
    tandem_arena_reset(stepper->arena);
    TANDEM_TRY(lay_out_bi(&laid_out, stepper->arena, examples, batch, count));
    figures->pairs = count;
    TANDEM_TRY(tandem_scope_begin());
    int previous = tandem_grad_enable(1);
    int rc = bi_forward_backward(figures, stepper, &laid_out, scale, part_dropout(train, seed, step, 0));
    tandem_grad_enable(previous);
    tandem_scope_end();
    return rc;
}

/* ---- cross-encoder ------------------------------------------------------------------ */
typedef struct {
    tandem_candidates candidates;
    tandem_sequence *sequences; /* [candidates.starts[groups]] */
} cross_batch;

static int lay_out_cross(cross_batch *out, tandem_arena *arena, const tandem_examples *examples, const uint32_t *batch,
                         size_t count, const tandem_cross_step *options)
{
    size_t pairs = count, row = 0;

    for (size_t i = 0; i < count; i++) {
        pairs += examples->items[batch[i]].negative_count;
    }
    size_t *starts = tandem_arena_alloc(arena, count + 1, sizeof *starts);
    float *labels = tandem_arena_alloc(arena, pairs, sizeof *labels);
    float *offsets = tandem_arena_alloc(arena, pairs, sizeof *offsets);
    out->sequences = tandem_arena_alloc(arena, pairs, sizeof *out->sequences);
    if (starts == NULL || labels == NULL || offsets == NULL || out->sequences == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        const tandem_example *example = &examples->items[batch[i]];
        tandem_bare query = tandem_token_store_get(examples->queries, example->query);

        starts[i] = row;
        for (size_t k = 0; k <= example->negative_count; k++, row++) {
            uint32_t document = k == 0 ? example->positive : example->negatives[k - 1];
            float score = k == 0 ? example->positive_score : example->negative_scores[k - 1];

            out->sequences[row] = (tandem_sequence){query, tandem_token_store_get(examples->documents, document), true};
            labels[row] = k == 0 ? 1.0F : 0.0F;
            offsets[row] = (float)(options->offset_scale * (double)score);
        }
    }
    starts[count] = row;
    out->candidates = (tandem_candidates){count, starts, labels, options->offset_scale > 0.0 ? offsets : NULL, options->pos_weight};
    return TANDEM_OK;
}

/* Tokens of group g as the model reads them. */
static size_t group_tokens(const tandem_model *model, const cross_batch *batch, size_t g)
{
    size_t limit = tandem_model_describe(model)->max_length, tokens = 0;
    size_t special = tandem_tokenizer_special_count(tandem_model_tokenizer(model), true);

    for (size_t row = batch->candidates.starts[g]; row < batch->candidates.starts[g + 1]; row++) {
        size_t length = batch->sequences[row].first.count + batch->sequences[row].second.count + special;

        tokens += length < limit ? length : limit;
    }
    return tokens;
}

/* Groups first .. last of a batch as a batch of their own; `starts` has room for them. */
static cross_batch part_of(const cross_batch *batch, size_t first, size_t last, size_t *starts)
{
    size_t base = batch->candidates.starts[first];
    cross_batch part = *batch;

    for (size_t g = first; g <= last; g++) {
        starts[g - first] = batch->candidates.starts[g] - base;
    }
    part.sequences += base;
    part.candidates.groups = last - first;
    part.candidates.starts = starts;
    part.candidates.labels += base;
    if (part.candidates.offsets != NULL) {
        part.candidates.offsets += base;
    }
    return part;
}

static int cross_forward_backward(tandem_step_figures *figures, tandem_stepper *stepper, const cross_batch *part,
                                  const tandem_cross_loss *loss, size_t all_terms, tandem_dropout dropout)
{
    tandem_tensor *logits = NULL, *mean = NULL, *weighted = NULL;
    double value = 0.0, share = (double)loss->terms(&part->candidates) / (double)all_terms;

    TANDEM_TRY(tandem_forward_run(&logits, &figures->tokens, &stepper->forward, stepper->model, part->sequences,
                                  part->candidates.starts[part->candidates.groups], dropout));
    TANDEM_TRY(loss->compute(&mean, logits, &part->candidates));
    TANDEM_TRY(tandem_op_scale(&weighted, mean, share));
    TANDEM_TRY(tandem_tensor_item(weighted, &value));
    figures->loss += value;
    return isfinite(value) ? tandem_backward(weighted) : TANDEM_OK;
}

int tandem_step_cross(tandem_step_figures *figures, tandem_stepper *stepper, const tandem_examples *examples,
                      const uint32_t *batch, size_t count, const tandem_cross_step *options, bool train,
                      uint64_t seed, uint64_t step)
{
    cross_batch whole = {0};
    int rc = TANDEM_OK;

    *figures = (tandem_step_figures){0};
    tandem_arena_reset(stepper->arena);
    TANDEM_TRY(lay_out_cross(&whole, stepper->arena, examples, batch, count, options));
    figures->pairs = whole.candidates.starts[count];
    size_t terms = options->loss->terms(&whole.candidates);
    size_t *starts = tandem_arena_alloc(stepper->arena, count + 1, sizeof *starts);

    if (starts == NULL) {
        return TANDEM_ERROR;
    }
    int previous = tandem_grad_enable(1);
    for (size_t first = 0, part = 0; rc == TANDEM_OK && first < count && isfinite(figures->loss); part++) {
        size_t last = first + 1, tokens = group_tokens(stepper->model, &whole, first);

        while (last < count && (tokens += group_tokens(stepper->model, &whole, last)) <= options->forward_tokens) {
            last++;
        }
        cross_batch cut = part_of(&whole, first, last, starts);

        rc = tandem_scope_begin();
        if (rc == TANDEM_OK) {
            rc = cross_forward_backward(figures, stepper, &cut, options->loss, terms, part_dropout(train, seed, step, part));
            tandem_scope_end();
        }
        first = last;
    }
    tandem_grad_enable(previous);
    return rc;
}
