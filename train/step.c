/* step.c - forward, loss and backward of one training step. */
#include "train/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/memory.h"
#include "tandem/random.h"
#include "train/forward.h"
#include "train/in_batch.h"

struct tandem_stepper {
    tandem_model *model;
    tandem_forward forward;
    tandem_arena *arena;   /* of one step */
    tandem_arena *scratch; /* of one part of its loss */
};

int tandem_stepper_new(tandem_stepper **out, tandem_model *model)
{
    tandem_stepper *stepper = tandem_alloc(1, sizeof *stepper);

    if (stepper == NULL) {
        return TANDEM_ERROR;
    }
    stepper->model = model;
    stepper->arena = tandem_arena_new();
    stepper->scratch = tandem_arena_new();
    if (stepper->arena == NULL || stepper->scratch == NULL) {
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
        tandem_arena_free(stepper->scratch);
        free(stepper);
    }
}

/* A part of a step has a number of its own, so that no two forwards of a run share
 * their dropout masks. A step has fewer than 2^20 parts: batch_size is at most that. */
static tandem_dropout part_dropout(bool train, uint64_t seed, uint64_t step, size_t part)
{
    return (tandem_dropout){.train = train, .seed = seed, .step = step << 20 | part};
}

/* Each example's positive in its place, then all negatives. */
static int lay_out_texts(tandem_batch_texts *out, tandem_arena *arena, const tandem_examples *examples,
                         const uint32_t *batch, size_t count)
{
    size_t m = count, next = count;

    for (size_t i = 0; i < count; i++) {
        m += examples->items[batch[i]].negative_count;
    }
    *out = (tandem_batch_texts){.n = count, .m = m};
    out->queries = tandem_arena_alloc(arena, count, sizeof *out->queries);
    out->documents = tandem_arena_alloc(arena, m, sizeof *out->documents);
    out->owner = tandem_arena_alloc(arena, m, sizeof *out->owner);
    out->scores = tandem_arena_alloc(arena, m, sizeof *out->scores);
    if (out->queries == NULL || out->documents == NULL || out->owner == NULL || out->scores == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        const tandem_example *example = &examples->items[batch[i]];

        out->queries[i] = example->query;
        out->documents[i] = example->positive;
        out->owner[i] = (uint32_t)i;
        out->scores[i] = example->positive_score;
        for (size_t k = 0; k < example->negative_count; k++, next++) {
            out->documents[next] = example->negatives[k];
            out->owner[next] = (uint32_t)i;
            out->scores[next] = example->negative_scores[k];
        }
    }
    return TANDEM_OK;
}

/* ---- bi-encoder ------------------------------------------------------------------- */
/* The step's texts, queries first, and what they are to each other. */
typedef struct {
    tandem_batch_texts texts;
    tandem_sequence *sequences; /* [n + m] */
    tandem_bi_candidates candidates;
} bi_batch;

static int lay_out_bi(bi_batch *out, tandem_arena *arena, const tandem_examples *examples, const uint32_t *batch,
                      size_t count, const tandem_loss_settings *settings)
{
    bool by_class = (tandem_loss_needs(settings, false) & TANDEM_READS_CLASSES) != 0;
    size_t *starts = NULL;
    uint32_t *known = NULL;
    int64_t *classes = NULL;

    TANDEM_TRY(lay_out_texts(&out->texts, arena, examples, batch, count));
    size_t n = out->texts.n, m = out->texts.m;

    out->sequences = tandem_arena_alloc(arena, n + m, sizeof *out->sequences);
    if (out->sequences == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < n; i++) {
        out->sequences[i] = (tandem_sequence){
            .first = tandem_token_store_get(examples->queries, out->texts.queries[i]), .side = TANDEM_QUERY};
    }
    for (size_t j = 0; j < m; j++) {
        out->sequences[n + j] = (tandem_sequence){
            .first = tandem_token_store_get(examples->documents, out->texts.documents[j]), .side = TANDEM_DOCUMENT};
    }
    TANDEM_TRY(tandem_batch_known(&starts, &known, examples, &out->texts, arena));
    TANDEM_TRY(by_class ? tandem_batch_classes(&classes, starts, known, &out->texts, arena) : TANDEM_OK);
    out->candidates = (tandem_bi_candidates){.n = n, .m = m, .owner = out->texts.owner, .known_starts = starts,
                                             .known = known, .scores = out->texts.scores, .classes = classes,
                                             .settings = settings};
    return TANDEM_OK;
}

/* The rows' vectors of the teacher. */
static int gather(tandem_tensor **out, const tandem_vectors *vectors, const uint32_t *rows, size_t count,
                  tandem_arena *arena)
{
    int64_t shape[2] = {(int64_t)count, (int64_t)vectors->dim};
    float *data = tandem_arena_alloc(arena, count, vectors->dim * sizeof *data);

    for (size_t i = 0; data != NULL && i < count; i++) {
        memcpy(data + i * vectors->dim, vectors->data + rows[i] * vectors->dim, vectors->dim * sizeof *data);
    }
    return data == NULL ? TANDEM_ERROR : tandem_tensor_from(out, data, shape, 2);
}

static int set_teacher(bi_batch *batch, const tandem_examples *examples, tandem_arena *arena)
{
    tandem_tensor *queries = NULL, *documents = NULL;

    if (examples->teacher_queries.data == NULL) {
        return TANDEM_OK;
    }
    TANDEM_TRY(gather(&queries, &examples->teacher_queries, batch->texts.queries, batch->texts.n, arena));
    TANDEM_TRY(gather(&documents, &examples->teacher_documents, batch->texts.documents, batch->texts.m, arena));
    batch->candidates.teacher_queries = queries;
    batch->candidates.teacher_documents = documents;
    return TANDEM_OK;
}

/* The scale as a leaf, where it is learned. */
static int set_scale(bi_batch *batch)
{
    const tandem_loss_settings *settings = batch->candidates.settings;
    float value = (float)tandem_loss_scale(settings);
    int64_t one = 1;
    tandem_tensor *constant = NULL, *leaf = NULL;

    if (settings->scale_learning_rate <= 0.0) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_tensor_from(&constant, &value, &one, 1));
    TANDEM_TRY(tandem_op_leaf(&leaf, constant));
    batch->candidates.scale = leaf;
    return TANDEM_OK;
}

/* d loss / d log scale = scale * d loss / d scale. */
static int read_scale_gradient(double *out, const bi_batch *batch)
{
    tandem_tensor *gradient = NULL;
    double value = 0.0;

    if (batch->candidates.scale == NULL) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_tensor_grad(&gradient, batch->candidates.scale));
    TANDEM_TRY(tandem_tensor_item(gradient, &value));
    *out = value * tandem_loss_scale(batch->candidates.settings);
    return TANDEM_OK;
}

/* The embeddings of all sequences, in the forward's order, without what backward would need. */
static int embed_parts(tandem_tensor **out, tandem_stepper *stepper, tandem_dropout dropout)
{
    tandem_forward *forward = &stepper->forward;
    size_t dim = tandem_model_describe(stepper->model)->width;
    int64_t shape[2] = {(int64_t)forward->count, (int64_t)dim};
    float *rows = tandem_arena_alloc(stepper->arena, forward->count, dim * sizeof *rows);
    int rc = rows == NULL ? TANDEM_ERROR : TANDEM_OK, previous = tandem_grad_enable(0);

    for (size_t part = 0; rc == TANDEM_OK && part < forward->parts; part++) {
        tandem_tensor *embeddings = NULL;

        rc = tandem_scope_begin();
        if (rc == TANDEM_OK) {
            rc = tandem_forward_part(&embeddings, forward, stepper->model, part, dropout);
            rc = rc < 0 ? rc : tandem_tensor_read(embeddings, rows + forward->starts[part] * dim);
            tandem_scope_end();
        }
    }
    tandem_grad_enable(previous);
    return rc < 0 ? rc : tandem_tensor_from(out, rows, shape, 2);
}

/* Each part forward again, under the same dropout masks, and backward from its rows of the gradient. */
static int backward_parts(tandem_stepper *stepper, const tandem_tensor *gradient, tandem_dropout dropout)
{
    const tandem_forward *forward = &stepper->forward;
    int rc = TANDEM_OK;

    for (size_t part = 0; rc == TANDEM_OK && part < forward->parts; part++) {
        tandem_tensor *embeddings = NULL, *rows = NULL;
        int64_t first = (int64_t)forward->starts[part], count = (int64_t)forward->starts[part + 1] - first;

        rc = tandem_scope_begin();
        if (rc == TANDEM_OK) {
            rc = tandem_forward_part(&embeddings, &stepper->forward, stepper->model, part, dropout);
            rc = rc < 0 ? rc : tandem_op_narrow(&rows, gradient, 0, first, count);
            rc = rc < 0 ? rc : tandem_backward_with(embeddings, rows);
            tandem_scope_end();
        }
    }
    return rc;
}

/* The loss, and its gradient by the embeddings, both in the forward's order. */
static int loss_of(double *loss, tandem_tensor **gradient, const tandem_forward *forward,
                   const tandem_tensor *embeddings, const bi_batch *batch)
{
    tandem_tensor *rows = NULL, *queries = NULL, *documents = NULL, *sides[2] = {NULL, NULL}, *joined = NULL;
    int64_t n = (int64_t)batch->texts.n, m = (int64_t)batch->texts.m;

    TANDEM_TRY(tandem_op_index_select(&rows, embeddings, 0, forward->positions, forward->count));
    TANDEM_TRY(tandem_op_narrow(&queries, rows, 0, 0, n));
    TANDEM_TRY(tandem_op_narrow(&documents, rows, 0, n, m));
    TANDEM_TRY(tandem_bi_loss_run(loss, &sides[0], &sides[1], queries, documents, &batch->candidates));
    TANDEM_TRY(tandem_op_cat(&joined, (const tandem_tensor *const *)sides, 2, 0));
    return tandem_op_index_select(gradient, joined, 0, forward->order, forward->count);
}

/* In one part directly; in several by GradCache (Gao et al. 2021): all embeddings without
 * graphs, the loss from them, then part by part again, with the gradient that it gave. */
static int bi_forward_backward(tandem_step_figures *figures, tandem_stepper *stepper, const bi_batch *batch,
                               tandem_dropout dropout)
{
    tandem_forward *forward = &stepper->forward;
    tandem_tensor *embeddings = NULL, *gradient = NULL;
    bool whole = forward->parts == 1;

    TANDEM_TRY(whole ? tandem_forward_part(&embeddings, forward, stepper->model, 0, dropout)
                     : embed_parts(&embeddings, stepper, dropout));
    TANDEM_TRY(loss_of(&figures->loss, &gradient, forward, embeddings, batch));
    TANDEM_TRY(read_scale_gradient(&figures->scale_gradient, batch));
    if (!isfinite(figures->loss)) {
        return TANDEM_OK;
    }
    return whole ? tandem_backward_with(embeddings, gradient) : backward_parts(stepper, gradient, dropout);
}

/* Whether mnrl has no negative in any row: all documents of the step are known positives. Losses with other
 * terms than (query, document) have those. */
static bool bi_idle(const tandem_bi_candidates *c)
{
    const tandem_loss_settings *s = c->settings;
    bool others = s->directions.query_to_query || s->directions.doc_to_query || s->directions.doc_to_doc;

    if (others || tandem_bi_loss_at((size_t)s->name)->compute != tandem_loss_mnrl) {
        return false;
    }
    for (size_t i = 0; i < c->n; i++) {
        if (c->known_starts[i + 1] - c->known_starts[i] + 1 < c->m) {
            return false;
        }
    }
    return true;
}

int tandem_step_bi(tandem_step_figures *figures, tandem_stepper *stepper, const tandem_examples *examples,
                   const uint32_t *batch, size_t count, const tandem_loss_settings *settings, size_t forward_tokens,
                   bool train, uint64_t seed, uint64_t step)
{
    bi_batch laid_out = {0};

    *figures = (tandem_step_figures){0};
    tandem_arena_reset(stepper->arena);
    TANDEM_TRY(lay_out_bi(&laid_out, stepper->arena, examples, batch, count, settings));
    laid_out.candidates.scratch = stepper->scratch;
    TANDEM_TRY(tandem_forward_plan(&stepper->forward, stepper->model, laid_out.sequences,
                                   laid_out.texts.n + laid_out.texts.m, forward_tokens));
    figures->pairs = count;
    figures->tokens = stepper->forward.tokens;
    figures->padded = stepper->forward.padded;
    figures->parts = stepper->forward.parts;
    figures->idle = bi_idle(&laid_out.candidates);
    TANDEM_TRY(tandem_scope_begin());
    int previous = tandem_grad_enable(1);
    int rc = set_teacher(&laid_out, examples, stepper->arena);

    rc = rc < 0 ? rc : set_scale(&laid_out);
    rc = rc < 0 ? rc : bi_forward_backward(figures, stepper, &laid_out, part_dropout(train, seed, step, 0));
    tandem_grad_enable(previous);
    tandem_scope_end();
    return rc;
}

/* ---- cross-encoder ------------------------------------------------------------------ */
typedef struct {
    tandem_candidates candidates;
    tandem_sequence *sequences; /* [candidates.starts[groups]] */
    float *labels, *offsets;
} cross_batch;

/* What a pair's label is, of a positive or a negative with a score or NaN. */
static float label_of(const tandem_loss_settings *settings, bool positive, float score)
{
    const tandem_cross_loss *loss = tandem_cross_loss_at((size_t)settings->name);
    bool scores = settings->labels == TANDEM_LABELS_SCORES || (loss->needs & TANDEM_NEEDS_SCORES) != 0;

    return scores && !isnan(score) ? score : positive ? 1.0F : 0.0F;
}

static void add_pair(cross_batch *out, size_t row, const tandem_examples *examples, uint32_t query, uint32_t document,
                     bool positive, float score, const tandem_loss_settings *settings)
{
    out->sequences[row] = (tandem_sequence){.first = tandem_token_store_get(examples->queries, query),
                                            .second = tandem_token_store_get(examples->documents, document),
                                            .pair = true};
    out->labels[row] = label_of(settings, positive, score);
    out->offsets[row] = (float)(settings->offset_scale * (double)score);
}

/* The pairs of an example, its positives first; the row after the last. */
static size_t add_example(cross_batch *out, size_t row, const tandem_examples *examples, const tandem_example *example,
                          const tandem_loss_settings *settings)
{
    add_pair(out, row++, examples, example->query, example->positive, true, example->positive_score, settings);
    for (size_t k = 0; k < example->other_count; k++) {
        add_pair(out, row++, examples, example->query, example->others[k], true, example->other_scores[k], settings);
    }
    for (size_t k = 0; k < example->negative_count; k++) {
        add_pair(out, row++, examples, example->query, example->negatives[k], false, example->negative_scores[k],
                 settings);
    }
    return row;
}

/* Documents that each group takes from other groups of the step. */
static size_t drawn_of(const tandem_loss_settings *settings)
{
    bool draws = tandem_cross_loss_at((size_t)settings->name)->compute == tandem_loss_cross_mnrl;

    return draws ? (size_t)settings->in_batch_negatives : 0;
}

static int lay_out_cross(cross_batch *out, tandem_arena *arena, const tandem_examples *examples, const uint32_t *batch,
                         size_t count, const tandem_loss_settings *settings, tandem_random random)
{
    size_t drawn = drawn_of(settings), pairs = count * (1 + drawn), row = 0;
    tandem_batch_texts texts;

    TANDEM_TRY(lay_out_texts(&texts, arena, examples, batch, count));
    for (size_t i = 0; i < count; i++) {
        pairs += examples->items[batch[i]].negative_count + examples->items[batch[i]].other_count;
    }
    size_t *starts = tandem_arena_alloc(arena, count + 1, sizeof *starts);
    uint32_t *room = tandem_arena_alloc(arena, texts.m, sizeof *room);
    uint32_t *picks = tandem_arena_alloc(arena, drawn, sizeof *picks);

    out->labels = tandem_arena_alloc(arena, pairs, sizeof *out->labels);
    out->offsets = tandem_arena_alloc(arena, pairs, sizeof *out->offsets);
    out->sequences = tandem_arena_alloc(arena, pairs, sizeof *out->sequences);
    if (starts == NULL || room == NULL || picks == NULL || out->labels == NULL || out->offsets == NULL ||
        out->sequences == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        starts[i] = row;
        row = add_example(out, row, examples, &examples->items[batch[i]], settings);
        size_t more = tandem_batch_draw(picks, drawn, i, examples, &texts, room, &random);
        for (size_t k = 0; k < more; k++) {
            add_pair(out, row++, examples, texts.queries[i], texts.documents[picks[k]], false, NAN, settings);
        }
    }
    starts[count] = row;
    out->candidates = (tandem_candidates){.groups = count, .starts = starts, .labels = out->labels,
                                          .settings = settings,
                                          .offsets = settings->offset_scale > 0.0 ? out->offsets : NULL};
    return TANDEM_OK;
}

/* Tokens of group g as the model reads them. */
static size_t group_tokens(const tandem_model *model, const cross_batch *batch, size_t g)
{
    size_t tokens = 0;

    for (size_t row = batch->candidates.starts[g]; row < batch->candidates.starts[g + 1]; row++) {
        tokens += tandem_forward_tokens(model, &batch->sequences[row]);
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
                                  size_t all_terms, tandem_dropout dropout)
{
    const tandem_cross_loss *loss = tandem_cross_loss_at((size_t)part->candidates.settings->name);
    tandem_tensor *sorted = NULL, *logits = NULL, *mean = NULL, *weighted = NULL;
    tandem_forward *forward = &stepper->forward;
    size_t terms = loss->terms(&part->candidates);
    double value = 0.0;

    TANDEM_TRY(tandem_forward_plan(forward, stepper->model, part->sequences,
                                   part->candidates.starts[part->candidates.groups], SIZE_MAX));
    TANDEM_TRY(tandem_forward_part(&sorted, forward, stepper->model, 0, dropout));
    TANDEM_TRY(tandem_op_index_select(&logits, sorted, 0, forward->positions, forward->count));
    figures->tokens += forward->tokens;
    figures->padded += forward->padded;
    figures->parts++;
    TANDEM_TRY(loss->compute(&mean, logits, &part->candidates));
    TANDEM_TRY(tandem_op_scale(&weighted, mean, terms == 0 ? 0.0 : (double)terms / (double)all_terms));
    TANDEM_TRY(tandem_tensor_item(weighted, &value));
    figures->loss += value;
    return isfinite(value) ? tandem_backward(weighted) : TANDEM_OK;
}

/* Whether no group has two candidates that the loss compares. */
static bool cross_idle(const tandem_candidates *c)
{
    const tandem_cross_loss *loss = tandem_cross_loss_at((size_t)c->settings->name);

    return loss->compute == tandem_loss_cross_mnrl ? c->starts[c->groups] == c->groups : loss->terms(c) == 0;
}

int tandem_step_cross(tandem_step_figures *figures, tandem_stepper *stepper, const tandem_examples *examples,
                      const uint32_t *batch, size_t count, const tandem_loss_settings *settings, size_t forward_tokens,
                      bool train, uint64_t seed, uint64_t step)
{
    cross_batch whole = {0};
    int rc = TANDEM_OK;

    *figures = (tandem_step_figures){0};
    tandem_arena_reset(stepper->arena);
    TANDEM_TRY(lay_out_cross(&whole, stepper->arena, examples, batch, count, settings,
                             tandem_random_stream(seed, "in-batch negatives", step)));
    whole.candidates.scratch = stepper->scratch;
    figures->pairs = whole.candidates.starts[count];
    figures->idle = cross_idle(&whole.candidates);
    size_t terms = tandem_cross_loss_at((size_t)settings->name)->terms(&whole.candidates);
    size_t *starts = tandem_arena_alloc(stepper->arena, count + 1, sizeof *starts);

    if (starts == NULL) {
        return TANDEM_ERROR;
    }
    int previous = tandem_grad_enable(1);
    for (size_t first = 0, part = 0; rc == TANDEM_OK && first < count && isfinite(figures->loss); part++) {
        size_t last = first + 1, tokens = group_tokens(stepper->model, &whole, first);

        while (last < count && (tokens += group_tokens(stepper->model, &whole, last)) <= forward_tokens) {
            last++;
        }
        cross_batch cut = part_of(&whole, first, last, starts);

        tandem_arena_reset(stepper->scratch);
        rc = tandem_scope_begin();
        if (rc == TANDEM_OK) {
            rc = cross_forward_backward(figures, stepper, &cut, terms, part_dropout(train, seed, step, part));
            tandem_scope_end();
        }
        first = last;
    }
    tandem_grad_enable(previous);
    return rc;
}
