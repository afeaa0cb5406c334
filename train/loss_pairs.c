/* loss_pairs.c - losses over labelled pairs: each document with the query that owns it. */
#include <math.h>
#include <stdlib.h>

#include "train/loss_parts.h"

/* What torch's pairwise_distance adds to the difference, by default. */
static const double nudge = 1e-6;

static int pair_distances(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                          const tandem_bi_candidates *c)
{
    tandem_tensor *owners = NULL;

    TANDEM_TRY(tandem_part_owners(&owners, queries, c));
    return tandem_part_distances(out, owners, documents, c->settings->contrastive.distance, nudge);
}

static float *labels_of(const tandem_bi_candidates *c)
{
    float *labels = tandem_arena_alloc(c->scratch, c->m, sizeof *labels);

    for (size_t j = 0; labels != NULL && j < c->m; j++) {
        labels[j] = tandem_part_label(c, j);
    }
    return labels;
}

/* ---- cosent and angle ------------------------------------------------------------------------ */
typedef struct {
    float label;
    uint32_t pair;
} labelled;

static int by_label(const void *left, const void *right)
{
    const labelled *a = left, *b = right;

    if (a->label != b->label) {
        return a->label < b->label ? -1 : 1;
    }
    return (a->pair > b->pair) - (a->pair < b->pair);
}

/* With the pairs in the order of their labels, best first, the sum over y_a < y_b of
 * exp(s_a - s_b) is that over a of exp(s_a + logsumexp of -s of all pairs before a's label
 * begins): one running logsumexp, and no matrix of pairs of pairs. */
static int cosent_of(tandem_tensor **out, const tandem_tensor *scores, const tandem_bi_candidates *c)
{
    size_t m = c->m, terms = 0;
    labelled *order = tandem_arena_alloc(c->scratch, m, sizeof *order);
    int64_t *best_first = tandem_arena_alloc(c->scratch, m, sizeof *best_first);
    int64_t *lower = tandem_arena_alloc(c->scratch, m, sizeof *lower);
    int64_t *before = tandem_arena_alloc(c->scratch, m, sizeof *before);
    tandem_tensor *better = NULL, *worse = NULL, *zero = NULL;
    const float nothing = 0.0F;

    if (order == NULL || best_first == NULL || lower == NULL || before == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t j = 0; j < m; j++) {
        order[j] = (labelled){-tandem_part_label(c, j), (uint32_t)j};
    }
    qsort(order, m, sizeof *order, by_label);
    for (size_t k = 0, start = 0; k < m; k++) {
        best_first[k] = order[k].pair;
        start = order[k].label != order[start].label ? k : start;
        if (start > 0) {
            lower[terms] = order[k].pair;
            before[terms++] = (int64_t)start - 1;
        }
    }
    if (terms == 0) {
        return tandem_part_zero(out, scores);
    }
    TANDEM_TRY(tandem_op_index_select(&better, scores, 0, best_first, m));
    TANDEM_TRY(tandem_op_scale(&better, better, -1.0));
    TANDEM_TRY(tandem_op_logcumsumexp(&better, better, 0));
    TANDEM_TRY(tandem_op_index_select(&better, better, 0, before, terms));
    TANDEM_TRY(tandem_op_index_select(&worse, scores, 0, lower, terms));
    TANDEM_TRY(tandem_op_add(&worse, worse, better));
    TANDEM_TRY(tandem_part_floats(&zero, &nothing, 1));

    const tandem_tensor *parts[2] = {zero, worse};
    TANDEM_TRY(tandem_op_cat(&worse, parts, 2, 0));
    return tandem_op_logsumexp(out, worse, 0);
}

int tandem_loss_cosent(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                       const tandem_bi_candidates *c)
{
    tandem_tensor *owners = NULL, *scores = NULL;

    TANDEM_TRY(tandem_part_check_bi("cosent", queries, documents, c));
    TANDEM_TRY(tandem_part_owners(&owners, queries, c));
    TANDEM_TRY(tandem_part_similarities(&scores, owners, documents, tandem_part_cosine(c, true)));
    TANDEM_TRY(tandem_part_scaled(&scores, scores, c, c->settings->scale));
    return cosent_of(out, scores, c);
}

/* Normalized rows as two halves; an odd width is filled up with a zero. */
static int halves(tandem_tensor **first, tandem_tensor **second, const tandem_tensor *a, tandem_arena *scratch)
{
    int64_t rows = tandem_tensor_size(a, 0), dim = tandem_tensor_size(a, 1), shape[2] = {rows, 1};
    tandem_tensor *x = NULL, *zeros = NULL;

    TANDEM_TRY(tandem_op_normalize(&x, a));
    if (dim % 2 != 0) {
        float *values = tandem_arena_alloc(scratch, (size_t)rows, sizeof *values);

        for (int64_t i = 0; values != NULL && i < rows; i++) {
            values[i] = 0.0F;
        }
        TANDEM_TRY(values == NULL ? TANDEM_ERROR : tandem_tensor_from(&zeros, values, shape, 2));

        const tandem_tensor *parts[2] = {x, zeros};
        TANDEM_TRY(tandem_op_cat(&x, parts, 2, 1));
        dim++;
    }
    TANDEM_TRY(tandem_op_narrow(first, x, 1, 0, dim / 2));
    return tandem_op_narrow(second, x, 1, dim / 2, dim / 2);
}

int tandem_loss_angle(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                      const tandem_bi_candidates *c)
{
    tandem_tensor *owners = NULL, *q1 = NULL, *q2 = NULL, *d1 = NULL, *d2 = NULL, *scores = NULL, *sine = NULL;

    TANDEM_TRY(tandem_part_check_bi("angle", queries, documents, c));
    TANDEM_TRY(tandem_part_owners(&owners, queries, c));
    TANDEM_TRY(tandem_part_cosines(&scores, owners, documents));
    TANDEM_TRY(halves(&q1, &q2, owners, c->scratch));
    TANDEM_TRY(halves(&d1, &d2, documents, c->scratch));
    TANDEM_TRY(tandem_part_dots(&sine, q2, d1));
    TANDEM_TRY(tandem_op_add(&scores, scores, sine));
    TANDEM_TRY(tandem_part_dots(&sine, q1, d2));
    TANDEM_TRY(tandem_op_sub(&scores, scores, sine));
    TANDEM_TRY(tandem_op_abs(&scores, scores));
    TANDEM_TRY(tandem_part_scaled(&scores, scores, c, c->settings->scale));
    return cosent_of(out, scores, c);
}

/* ---- cosine similarity, contrastive ------------------------------------------------------------ */
int tandem_loss_cosine_similarity(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                                  const tandem_bi_candidates *c)
{
    tandem_tensor *owners = NULL, *error = NULL, *y = NULL;

    TANDEM_TRY(tandem_part_check_bi("cosine_similarity", queries, documents, c));
    const float *labels = labels_of(c);
    TANDEM_TRY(labels == NULL ? TANDEM_ERROR : tandem_part_floats(&y, labels, c->m));
    TANDEM_TRY(tandem_part_owners(&owners, queries, c));
    TANDEM_TRY(tandem_part_cosines(&error, owners, documents));
    TANDEM_TRY(tandem_op_sub(&error, error, y));
    TANDEM_TRY(tandem_op_mul(&error, error, error));
    return tandem_op_mean(out, error);
}

/* positive[j] * d_j^2 + negative[j] * max(0, margin - d_j)^2. */
static int two_sided(tandem_tensor **out, const tandem_tensor *distances, const float *positive, const float *negative,
                     const tandem_bi_candidates *c)
{
    tandem_tensor *near = NULL, *far = NULL, *weight = NULL;

    TANDEM_TRY(tandem_op_mul(&far, distances, distances));
    TANDEM_TRY(tandem_part_floats(&weight, positive, c->m));
    TANDEM_TRY(tandem_op_mul(&far, far, weight));
    TANDEM_TRY(tandem_op_scale(&near, distances, -1.0));
    TANDEM_TRY(tandem_op_shift(&near, near, c->settings->contrastive.margin));
    TANDEM_TRY(tandem_op_relu(&near, near));
    TANDEM_TRY(tandem_op_mul(&near, near, near));
    TANDEM_TRY(tandem_part_floats(&weight, negative, c->m));
    TANDEM_TRY(tandem_op_mul(&near, near, weight));
    return tandem_op_add(out, far, near);
}

int tandem_loss_contrastive(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                            const tandem_bi_candidates *c)
{
    tandem_tensor *distances = NULL;

    TANDEM_TRY(tandem_part_check_bi("contrastive", queries, documents, c));
    float *positive = labels_of(c), *negative = labels_of(c);

    if (positive == NULL || negative == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t j = 0; j < c->m; j++) {
        negative[j] = 1.0F - positive[j];
    }
    TANDEM_TRY(pair_distances(&distances, queries, documents, c));
    TANDEM_TRY(two_sided(out, distances, positive, negative, c));
    TANDEM_TRY(tandem_op_mean(out, *out));
    return tandem_op_scale(out, *out, 0.5);
}

/* positive[j], negative[j]: 1 for the pairs that count, 0 for others. Where a side is missing, the
 * mean of the other stands for its nearest or farthest. */
static void choose_hard(float *positive, float *negative, const float *d, const float *labels, size_t count)
{
    double sum[2] = {0.0, 0.0};
    float farthest_positive = -INFINITY, nearest_negative = INFINITY;
    size_t counts[2] = {0, 0};

    for (size_t j = 0; j < count; j++) {
        size_t side = labels[j] == 1.0F;

        sum[side] += (double)d[j];
        counts[side]++;
        if (side == 1) {
            farthest_positive = fmaxf(farthest_positive, d[j]);
        } else {
            nearest_negative = fminf(nearest_negative, d[j]);
        }
    }
    if (counts[1] == 0) {
        farthest_positive = (float)(sum[0] / (double)counts[0]);
    }
    if (counts[0] == 0) {
        nearest_negative = (float)(sum[1] / (double)counts[1]);
    }
    for (size_t j = 0; j < count; j++) {
        positive[j] = labels[j] == 1.0F && d[j] > nearest_negative ? 1.0F : 0.0F;
        negative[j] = labels[j] != 1.0F && d[j] < farthest_positive ? 1.0F : 0.0F;
    }
}

int tandem_loss_online_contrastive(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                                   const tandem_bi_candidates *c)
{
    tandem_tensor *distances = NULL;

    TANDEM_TRY(tandem_part_check_bi("online_contrastive", queries, documents, c));
    const float *labels = labels_of(c);
    float *d = tandem_arena_alloc(c->scratch, c->m, sizeof *d);
    float *positive = tandem_arena_alloc(c->scratch, c->m, sizeof *positive);
    float *negative = tandem_arena_alloc(c->scratch, c->m, sizeof *negative);

    if (labels == NULL || d == NULL || positive == NULL || negative == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(pair_distances(&distances, queries, documents, c));
    TANDEM_TRY(tandem_tensor_read(distances, d));
    choose_hard(positive, negative, d, labels, c->m);
    TANDEM_TRY(two_sided(out, distances, positive, negative, c));
    return tandem_op_sum(out, *out);
}
