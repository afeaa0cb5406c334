/* loss_mnrl.c - contrastive losses with in-batch negatives. They are computed for a run of
 * rows: blocks [rows, columns] of logits of those rows against all texts of the step, so
 * that a large step needs no matrix of its own size squared. */
#include <math.h>
#include <string.h>

#include "train/loss_parts.h"

enum { MOST_BLOCKS = 4 };

typedef struct {
    const tandem_bi_candidates *c;
    size_t rows;
    const tandem_tensor *queries, *documents; /* normalized for cosines */
    const tandem_tensor *guide_queries, *guide_documents, *threshold; /* gist: [n, any], [m, any], [rows, 1] */
    double scale;
    tandem_tensor *block[MOST_BLOCKS]; /* the first is query to document */
    size_t blocks;
} contrast;

/* Rows of the step of one side against `columns` of another. */
static int similarities(tandem_tensor **out, const contrast *t, const tandem_tensor *side, const tandem_tensor *other,
                        size_t columns)
{
    tandem_tensor *left = NULL, *right = NULL;

    TANDEM_TRY(tandem_op_narrow(&left, side, 0, (int64_t)t->c->first, (int64_t)t->rows));
    TANDEM_TRY(tandem_op_narrow(&right, other, 0, 0, (int64_t)columns));
    return tandem_op_matmul(out, left, right, true);
}

/* ---- what is no negative ----------------------------------------------------------------- */
static bool *new_mask(const contrast *t, size_t columns)
{
    bool *mask = NULL;
    size_t cells = 0;

    if (!tandem_size_mul(&cells, t->rows, columns)) {
        (void)tandem_error("a step of %zu rows and %zu columns is too large", t->rows, columns);
        return NULL;
    }
    mask = tandem_arena_alloc(t->c->scratch, cells, sizeof *mask);
    if (mask != NULL) {
        memset(mask, 0, cells * sizeof *mask);
    }
    return mask;
}

/* Row i's known documents, among the first `columns`. */
static void mask_known(bool *mask, const contrast *t, size_t columns)
{
    const tandem_bi_candidates *c = t->c;

    for (size_t i = c->first; c->known_starts != NULL && i < c->last; i++) {
        for (size_t k = c->known_starts[i]; k < c->known_starts[i + 1]; k++) {
            if (c->known[k] < columns) {
                mask[(i - c->first) * columns + c->known[k]] = true;
            }
        }
    }
}

/* The queries, [rows, n], that know row i's positive. */
static void mask_knowing(bool *mask, const contrast *t)
{
    const tandem_bi_candidates *c = t->c;

    for (size_t query = 0; c->known_starts != NULL && query < c->n; query++) {
        for (size_t k = c->known_starts[query]; k < c->known_starts[query + 1]; k++) {
            if (c->known[k] >= c->first && c->known[k] < c->last) {
                mask[(c->known[k] - c->first) * c->n + query] = true;
            }
        }
    }
}

/* Row i's own documents, among the first `columns`. */
static void mask_own(bool *mask, const contrast *t, size_t columns)
{
    for (size_t j = 0; j < columns; j++) {
        uint32_t row = t->c->owner[j];

        if (row >= t->c->first && row < t->c->last) {
            mask[(row - t->c->first) * columns + j] = true;
        }
    }
}

static int fill(tandem_tensor **scores, const contrast *t, const bool *mask, size_t columns)
{
    tandem_tensor *cells = NULL;
    int64_t shape[2] = {(int64_t)t->rows, (int64_t)columns};

    TANDEM_TRY(tandem_tensor_from_bool(&cells, mask, shape, 2));
    return tandem_op_masked_fill(scores, *scores, cells, -INFINITY);
}

/* The cells that the guide scores above the threshold of their row; `positives`: not those
 * of the rows' own positives. */
static int fill_guided(tandem_tensor **scores, const contrast *t, const tandem_tensor *side, const tandem_tensor *other,
                       size_t columns, bool positives)
{
    tandem_tensor *guide = NULL, *above = NULL;

    TANDEM_TRY(similarities(&guide, t, side, other, columns));
    if (positives) {
        bool *own = new_mask(t, columns);

        if (own == NULL) {
            return TANDEM_ERROR;
        }
        for (size_t r = 0; r < t->rows; r++) {
            own[r * columns + t->c->first + r] = true;
        }
        TANDEM_TRY(fill(&guide, t, own, columns));
    }
    TANDEM_TRY(tandem_op_greater(&above, guide, t->threshold));
    return tandem_op_masked_fill(scores, *scores, above, -INFINITY);
}

/* ---- blocks ------------------------------------------------------------------------------ */
/* strength * the similarity, without gradient, where the mode says so: zero elsewhere. */
static int penalty(tandem_tensor **out, const contrast *t, const tandem_tensor *similarity)
{
    const tandem_bi_candidates *c = t->c;
    size_t cells = 0;
    bool fits = tandem_size_mul(&cells, t->rows, c->m); /* so did the mask of these cells */
    float *factor = fits ? tandem_arena_alloc(c->scratch, cells, sizeof *factor) : NULL;
    int64_t shape[2] = {(int64_t)t->rows, (int64_t)c->m}, mode = c->settings->hardness.mode;
    tandem_tensor *constant = NULL;

    if (factor == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t cell = 0; cell < cells; cell++) {
        size_t i = c->first + cell / c->m, j = cell % c->m;
        bool meant = c->owner[j] == i ? j != i && mode != TANDEM_HARDNESS_IN_BATCH : mode != TANDEM_HARDNESS_HARD;

        factor[cell] = meant ? (float)c->settings->hardness.strength : 0.0F;
    }
    TANDEM_TRY(tandem_tensor_from(&constant, factor, shape, 2));
    TANDEM_TRY(tandem_op_detach(out, similarity));
    return tandem_op_mul(out, *out, constant);
}

static int query_to_document(contrast *t)
{
    const tandem_bi_candidates *c = t->c;
    tandem_tensor *similarity = NULL, **block = &t->block[t->blocks++], *extra = NULL;
    bool *mask = new_mask(t, c->m);

    if (mask == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(similarities(&similarity, t, t->queries, t->documents, c->m));
    TANDEM_TRY(tandem_part_scaled(block, similarity, t->c, t->scale));
    if (t->guide_queries == NULL && c->settings->hardness.mode != TANDEM_HARDNESS_OFF &&
        c->settings->hardness.strength > 0.0) {
        TANDEM_TRY(penalty(&extra, t, similarity));
        TANDEM_TRY(tandem_op_add(block, *block, extra));
    }
    mask_known(mask, t, c->m);
    TANDEM_TRY(fill(block, t, mask, c->m));
    return t->guide_queries == NULL ? TANDEM_OK : fill_guided(block, t, t->guide_queries, t->guide_documents, c->m,
                                                              true);
}

/* A query is no negative of another when the positive of one is known to answer the other. */
static int query_to_query(contrast *t)
{
    const tandem_bi_candidates *c = t->c;
    tandem_tensor **block = &t->block[t->blocks++];
    bool *mask = new_mask(t, c->n);

    if (mask == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(similarities(block, t, t->queries, t->queries, c->n));
    TANDEM_TRY(tandem_part_scaled(block, *block, t->c, t->scale));
    mask_own(mask, t, c->n);
    mask_known(mask, t, c->n);
    mask_knowing(mask, t);
    TANDEM_TRY(fill(block, t, mask, c->n));
    return t->guide_queries == NULL ? TANDEM_OK : fill_guided(block, t, t->guide_queries, t->guide_queries, c->n,
                                                              false);
}

static int document_to_query(contrast *t)
{
    const tandem_bi_candidates *c = t->c;
    tandem_tensor **block = &t->block[t->blocks++];
    bool *mask = new_mask(t, c->n);

    if (mask == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(similarities(block, t, t->documents, t->queries, c->n));
    TANDEM_TRY(tandem_part_scaled(block, *block, t->c, t->scale));
    mask_knowing(mask, t);
    return fill(block, t, mask, c->n);
}

/* Of a positive to the first `columns` documents; those of its own row, and those known to
 * answer its query, are no negatives of it. */
static int document_to_document(contrast *t, size_t columns)
{
    tandem_tensor **block = &t->block[t->blocks++];
    bool *mask = new_mask(t, columns);

    if (mask == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(similarities(block, t, t->documents, t->documents, columns));
    TANDEM_TRY(tandem_part_scaled(block, *block, t->c, t->scale));
    mask_own(mask, t, columns);
    mask_known(mask, t, columns);
    TANDEM_TRY(fill(block, t, mask, columns));
    return t->guide_queries == NULL ? TANDEM_OK : fill_guided(block, t, t->guide_documents, t->guide_documents, columns,
                                                              false);
}

/* ---- losses ------------------------------------------------------------------------------ */
/* Mean over the rows of -log softmax(logits)[column of the own positive, or query]. */
static int cross_entropy(tandem_tensor **out, const contrast *t, const tandem_tensor *logits)
{
    int64_t *labels = tandem_arena_alloc(t->c->scratch, t->rows, sizeof *labels), rows = (int64_t)t->rows;
    tandem_tensor *constant = NULL;

    if (labels == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t r = 0; r < t->rows; r++) {
        labels[r] = (int64_t)(t->c->first + r);
    }
    TANDEM_TRY(tandem_tensor_from_int64(&constant, labels, &rows, 1));
    return tandem_op_cross_entropy(out, logits, constant);
}

static int joint(tandem_tensor **out, const contrast *t)
{
    const tandem_tensor *blocks[MOST_BLOCKS];
    tandem_tensor *logits = NULL;

    for (size_t b = 0; b < t->blocks; b++) {
        blocks[b] = t->block[b];
    }
    TANDEM_TRY(tandem_op_cat(&logits, blocks, t->blocks, 1));
    return cross_entropy(out, t, logits);
}

static int per_direction(tandem_tensor **out, const contrast *t)
{
    tandem_tensor *one = NULL;

    TANDEM_TRY(cross_entropy(out, t, t->block[0]));
    for (size_t b = 1; b < t->blocks; b++) {
        TANDEM_TRY(cross_entropy(&one, t, t->block[b]));
        TANDEM_TRY(tandem_op_add(out, *out, one));
    }
    return tandem_op_scale(out, *out, 1.0 / (double)t->blocks);
}

/* The rows' part of the mean over all rows. */
static int finish(tandem_tensor **out, const contrast *t, bool as_one)
{
    TANDEM_TRY(as_one ? joint(out, t) : per_direction(out, t));
    return tandem_op_scale(out, *out, (double)t->rows / (double)t->c->n);
}

static int begin(contrast *t, const char *loss, const tandem_tensor *queries, const tandem_tensor *documents,
                 const tandem_bi_candidates *c, bool cosine, double scale)
{
    tandem_tensor *q = NULL, *d = NULL;

    TANDEM_TRY(tandem_part_check_bi(loss, queries, documents, c));
    *t = (contrast){.c = c, .rows = c->last - c->first, .queries = queries, .documents = documents, .scale = scale};
    if (cosine) {
        TANDEM_TRY(tandem_op_normalize(&q, queries));
        TANDEM_TRY(tandem_op_normalize(&d, documents));
        t->queries = q;
        t->documents = d;
    }
    return TANDEM_OK;
}

int tandem_loss_mnrl(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                     const tandem_bi_candidates *c)
{
    const tandem_loss_settings *s = c->settings;
    contrast t;

    TANDEM_TRY(begin(&t, "mnrl", queries, documents, c, tandem_part_cosine(c, true), s->scale));
    TANDEM_TRY(query_to_document(&t));
    if (s->directions.query_to_query) {
        TANDEM_TRY(query_to_query(&t));
    }
    if (s->directions.doc_to_query) {
        TANDEM_TRY(document_to_query(&t));
    }
    if (s->directions.doc_to_doc) {
        TANDEM_TRY(document_to_document(&t, c->m));
    }
    return finish(out, &t, s->partition == TANDEM_PARTITION_JOINT);
}

/* The guide's similarity of each row's query and positive, less the margin, [rows, 1]. Taken from
 * the very product that the cells are taken from, so that equal texts compare as equal. */
static int guide_threshold(tandem_tensor **out, const contrast *t)
{
    const tandem_loss_settings *s = t->c->settings;
    tandem_tensor *all = NULL, *margin = NULL;
    int64_t *own = tandem_arena_alloc(t->c->scratch, t->rows, sizeof *own);
    int64_t cells = (int64_t)(t->rows * t->c->m), column[2] = {(int64_t)t->rows, 1};

    if (own == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t r = 0; r < t->rows; r++) {
        own[r] = (int64_t)(r * t->c->m + t->c->first + r);
    }
    TANDEM_TRY(similarities(&all, t, t->guide_queries, t->guide_documents, t->c->m));
    TANDEM_TRY(tandem_op_reshape(&all, all, &cells, 1));
    TANDEM_TRY(tandem_op_index_select(out, all, 0, own, t->rows));
    TANDEM_TRY(tandem_op_reshape(out, *out, column, 2));
    if (s->gist.margin_strategy == TANDEM_MARGIN_ABSOLUTE) {
        return tandem_op_shift(out, *out, -s->gist.margin);
    }
    TANDEM_TRY(tandem_op_abs(&margin, *out));
    TANDEM_TRY(tandem_op_scale(&margin, margin, s->gist.margin));
    return tandem_op_sub(out, *out, margin);
}

int tandem_loss_gist(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                     const tandem_bi_candidates *c)
{
    const tandem_loss_settings *s = c->settings;
    tandem_tensor *guide_queries = NULL, *guide_documents = NULL, *threshold = NULL;
    contrast t;

    TANDEM_TRY(begin(&t, "gist", queries, documents, c, true, 1.0 / s->gist.temperature));
    if (tandem_tensor_size(c->teacher_queries, 0) != (int64_t)c->n ||
        tandem_tensor_size(c->teacher_documents, 0) != (int64_t)c->m) {
        return tandem_error("gist: expected the guide's vectors of %zu queries and %zu documents, found %lld and %lld",
                            c->n, c->m,
                            (long long)tandem_tensor_size(c->teacher_queries,
                                                          0), (long long)tandem_tensor_size(c->teacher_documents, 0));
    }
    TANDEM_TRY(tandem_op_normalize(&guide_queries, c->teacher_queries));
    TANDEM_TRY(tandem_op_normalize(&guide_documents, c->teacher_documents));
    t.guide_queries = guide_queries;
    t.guide_documents = guide_documents;
    TANDEM_TRY(guide_threshold(&threshold, &t));
    t.threshold = threshold;
    TANDEM_TRY(query_to_document(&t));
    if (s->gist.contrast_anchors) {
        TANDEM_TRY(query_to_query(&t));
    }
    if (s->gist.contrast_positives) {
        TANDEM_TRY(document_to_document(&t, c->n));
    }
    return finish(out, &t, true);
}
