/* loss_distill.c - a bi-encoder learns from a teacher's scores or vectors. */
#include <math.h>

#include "train/loss_parts.h"

/* The similarity of each document with the query that owns it, [m]. */
static int own_similarities(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                            const tandem_bi_candidates *c)
{
    tandem_tensor *owners = NULL;

    TANDEM_TRY(tandem_part_owners(&owners, queries, c));
    return tandem_part_similarities(out, owners, documents, tandem_part_cosine(c, false));
}

static int check_scores(const char *loss, const tandem_bi_candidates *c)
{
    for (size_t j = 0; j < c->m; j++) {
        if (c->scores == NULL || !isfinite(c->scores[j])) {
            return tandem_error("%s: document %zu has no teacher's score", loss, j);
        }
    }
    return TANDEM_OK;
}

int tandem_loss_margin_mse(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                           const tandem_bi_candidates *c)
{
    tandem_tensor *s = NULL, *positive = NULL, *negative = NULL, *error = NULL, *margin = NULL;
    size_t count = c->m - c->n;

    TANDEM_TRY(tandem_part_check_bi("margin_mse", queries, documents, c));
    TANDEM_TRY(check_scores("margin_mse", c));
    if (count == 0) {
        return tandem_error("margin_mse: no row has a negative");
    }
    int64_t *index = tandem_arena_alloc(c->scratch, count, sizeof *index);
    float *margins = tandem_arena_alloc(c->scratch, count, sizeof *margins);

    if (index == NULL || margins == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t k = 0; k < count; k++) {
        index[k] = c->owner[c->n + k];
        margins[k] = (float)(c->settings->teacher_scale * ((double)c->scores[index[k]] - (double)c->scores[c->n + k]));
    }
    TANDEM_TRY(own_similarities(&s, queries, documents, c));
    TANDEM_TRY(tandem_op_index_select(&positive, s, 0, index, count));
    TANDEM_TRY(tandem_op_narrow(&negative, s, 0, (int64_t)c->n, (int64_t)count));
    TANDEM_TRY(tandem_part_floats(&margin, margins, count));
    TANDEM_TRY(tandem_op_sub(&error, positive, negative));
    TANDEM_TRY(tandem_op_sub(&error, error, margin));
    TANDEM_TRY(tandem_op_mul(&error, error, error));
    return tandem_op_mean(out, error);
}

/* Row i's documents as list i: its positive, then its negatives in their order. */
static int own_documents(tandem_lists *out, const tandem_bi_candidates *c)
{
    size_t *sizes = tandem_arena_alloc(c->scratch, c->n, sizeof *sizes);
    size_t *next = tandem_arena_alloc(c->scratch, c->n, sizeof *next);

    if (sizes == NULL || next == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < c->n; i++) {
        sizes[i] = next[i] = 0;
    }
    for (size_t j = 0; j < c->m; j++) {
        sizes[c->owner[j]]++;
    }
    TANDEM_TRY(tandem_lists_new(out, sizes, c->n, c->scratch));
    for (size_t j = 0; j < c->m; j++) {
        uint32_t i = c->owner[j];

        out->index[i * out->width + next[i]++] = (int64_t)j;
    }
    tandem_lists_close(out);
    return TANDEM_OK;
}

/* The teacher's probabilities t and their logarithms, 0 where t is (so that t log t is too). */
static int teacher_of(tandem_tensor **t, tandem_tensor **log_t, const tandem_lists *lists,
                      const tandem_bi_candidates *c)
{
    size_t cells = lists->count * lists->width;
    float *scores = tandem_arena_alloc(c->scratch, lists->width, sizeof *scores);
    float *p = tandem_arena_alloc(c->scratch, cells, sizeof *p);
    float *log_p = tandem_arena_alloc(c->scratch, cells, sizeof *log_p);

    if (scores == NULL || p == NULL || log_p == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < lists->count; i++) {
        for (size_t k = 0; k < lists->sizes[i]; k++) {
            scores[k] = c->scores[lists->index[i * lists->width + k]];
        }
        tandem_part_softmax(p + i * lists->width, scores, lists->sizes[i],
                            c->settings->temperature / c->settings->teacher_scale);
    }
    for (size_t cell = 0; cell < cells; cell++) {
        p[cell] = lists->masked[cell] ? 0.0F : p[cell];
        log_p[cell] = p[cell] > 0.0F ? logf(p[cell]) : 0.0F;
    }
    TANDEM_TRY(tandem_lists_floats(t, p, lists));
    return tandem_lists_floats(log_t, log_p, lists);
}

int tandem_loss_distill_kl(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                           const tandem_bi_candidates *c)
{
    tandem_tensor *s = NULL, *t = NULL, *log_t = NULL;
    double temperature = c->settings->temperature;
    tandem_lists lists;

    TANDEM_TRY(tandem_part_check_bi("distill_kl", queries, documents, c));
    TANDEM_TRY(check_scores("distill_kl", c));
    TANDEM_TRY(own_documents(&lists, c));
    TANDEM_TRY(teacher_of(&t, &log_t, &lists, c));
    TANDEM_TRY(own_similarities(&s, queries, documents, c));
    TANDEM_TRY(tandem_op_scale(&s, s, 1.0 / temperature));
    TANDEM_TRY(tandem_lists_gather(&s, s, &lists));
    TANDEM_TRY(tandem_lists_fill(&s, s, &lists, -INFINITY));
    TANDEM_TRY(tandem_op_log_softmax(&s, s, 1));
    TANDEM_TRY(tandem_lists_fill(&s, s, &lists, 0.0)); /* t is 0 there, and 0 times infinity is NaN */
    TANDEM_TRY(tandem_op_sub(&s, log_t, s));
    TANDEM_TRY(tandem_op_mul(&s, s, t));
    TANDEM_TRY(tandem_op_sum(&s, s));
    return tandem_op_scale(out, s, temperature * temperature / (double)c->n);
}

/* ---- vectors ------------------------------------------------------------------------------------ */
/* Queries, then documents. */
static int stack(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents)
{
    const tandem_tensor *sides[2] = {queries, documents};

    return tandem_op_cat(out, sides, 2, 0);
}

int tandem_loss_embed_distill(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                              const tandem_bi_candidates *c)
{
    tandem_tensor *student = NULL, *teacher = NULL;
    int64_t dim = tandem_tensor_size(queries, 1), texts = (int64_t)(c->n + c->m);

    TANDEM_TRY(tandem_part_check_bi("embed_distill", queries, documents, c));
    TANDEM_TRY(stack(&student, queries, documents));
    TANDEM_TRY(stack(&teacher, c->teacher_queries, c->teacher_documents));
    if (tandem_tensor_size(teacher, 0) != texts || tandem_tensor_size(teacher, 1) < dim) {
        return tandem_error("embed_distill: expected a teacher's vectors of %lld texts and at least %lld values, found "
                            "[%lld, %lld]",
                            (long long)texts, (long long)dim, (long long)tandem_tensor_size(teacher, 0),
                            (long long)tandem_tensor_size(teacher, 1));
    }
    TANDEM_TRY(tandem_op_narrow(&teacher, teacher, 1, 0, dim));
    if (c->settings->distill == TANDEM_DISTILL_COSINE) {
        TANDEM_TRY(tandem_part_cosines(out, student, teacher));
        TANDEM_TRY(tandem_part_complement(out, *out));
        return tandem_op_mean(out, *out);
    }
    TANDEM_TRY(tandem_op_sub(out, student, teacher));
    TANDEM_TRY(c->settings->distill == TANDEM_DISTILL_L2 ? tandem_op_norm(out, *out) : tandem_op_mul(out, *out, *out));
    return tandem_op_mean(out, *out);
}
