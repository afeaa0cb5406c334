/* loss_lambda.c - LambdaLoss: a logistic loss of pairs, each weighted by what it means for nDCG. */
#include <math.h>
#include <stdlib.h>

#include "train/loss_parts.h"

/* One group; ranks from 0. */
typedef struct {
    size_t size;
    const float *labels;
    double *gain; /* [size], as a share of the best DCG@k */
    size_t *rank; /* [size], by logit */
    const tandem_loss_settings *settings;
} lambda_group;

/* Pairs (a, b) of all groups, places among the logits. */
typedef struct {
    int64_t *a, *b;
    float *weight;
    size_t count;
} lambda_pairs;

typedef struct {
    float value;
    uint32_t place;
} valued;

/* Greatest first, equals in their order; what is no number last. */
static int descending(const void *left, const void *right)
{
    const valued *a = left, *b = right;

    if (a->value != b->value) {
        return a->value > b->value ? -1 : 1;
    }
    return (a->place > b->place) - (a->place < b->place);
}

static void sort(valued *out, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (valued){isnan(values[i]) ? -INFINITY : values[i], (uint32_t)i};
    }
    qsort(out, count, sizeof *out, descending);
}

static double discount(size_t rank)
{
    return log2(2.0 + (double)rank);
}

static bool is_past(const lambda_group *g, size_t rank)
{
    return g->settings->lambda.k > 0 && rank >= (size_t)g->settings->lambda.k;
}

/* Gains (2^y - 1) / max DCG@k, both sides divided by 2^best, so that no label is too large. Labels
 * below 0 count as 0. */
static void set_gains(lambda_group *g, valued *order)
{
    double best_dcg = 0.0, best;

    sort(order, g->labels, g->size);
    best = fmax((double)order[0].value, 0.0);
    for (size_t i = 0; i < g->size; i++) {
        g->gain[i] = exp2(fmax((double)g->labels[i], 0.0) - best) - exp2(-best);
    }
    for (size_t r = 0; r < g->size && !is_past(g, r); r++) {
        best_dcg += g->gain[order[r].place] / discount(r);
    }
    for (size_t i = 0; i < g->size; i++) {
        g->gain[i] = best_dcg > 0.0 ? g->gain[i] / best_dcg : 0.0;
    }
}

static double weight_of(const lambda_group *g, size_t a, size_t b)
{
    size_t apart = g->rank[a] > g->rank[b] ? g->rank[a] - g->rank[b] : g->rank[b] - g->rank[a];
    double gap = fabs(g->gain[a] - g->gain[b]);
    double rank = fabs(1.0 / discount(g->rank[a]) - 1.0 / discount(g->rank[b])) * gap;
    double ndcg2 = apart > 0 ? (1.0 / discount(apart - 1) - 1.0 / discount(apart)) * gap : 0.0;

    switch (g->settings->lambda.weighting) {
    case TANDEM_LAMBDA_NDCG2PP: return g->settings->lambda.mu * ndcg2 + rank;
    case TANDEM_LAMBDA_NDCG2: return ndcg2;
    case TANDEM_LAMBDA_NDCG1: return g->gain[a] / discount(g->rank[a]);
    case TANDEM_LAMBDA_RANK: return rank;
    default: return 1.0;
    }
}

static void add_pairs(lambda_pairs *pairs, const lambda_group *g, size_t start)
{
    bool all = g->settings->lambda.weighting == TANDEM_LAMBDA_NDCG1;

    for (size_t a = 0; a < g->size; a++) {
        for (size_t b = 0; b < g->size; b++) {
            if ((all || g->labels[a] > g->labels[b]) && !(is_past(g, g->rank[a]) && is_past(g, g->rank[b]))) {
                pairs->a[pairs->count] = (int64_t)(start + a);
                pairs->b[pairs->count] = (int64_t)(start + b);
                pairs->weight[pairs->count++] = (float)weight_of(g, a, b);
            }
        }
    }
}

/* `most` pairs at most. */
static int collect(lambda_pairs *pairs, const tandem_tensor *x, const tandem_candidates *c, size_t most)
{
    size_t n = c->starts[c->groups];
    float *values = tandem_arena_alloc(c->scratch, n, sizeof *values);
    valued *order = tandem_arena_alloc(c->scratch, n, sizeof *order);
    lambda_group g = {.settings = c->settings};

    g.gain = tandem_arena_alloc(c->scratch, n, sizeof *g.gain);
    g.rank = tandem_arena_alloc(c->scratch, n, sizeof *g.rank);
    pairs->a = tandem_arena_alloc(c->scratch, most, sizeof *pairs->a);
    pairs->b = tandem_arena_alloc(c->scratch, most, sizeof *pairs->b);
    pairs->weight = tandem_arena_alloc(c->scratch, most, sizeof *pairs->weight);
    if (values == NULL || order == NULL || g.gain == NULL || g.rank == NULL || pairs->a == NULL || pairs->b == NULL ||
        pairs->weight == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(tandem_tensor_read(x, values));
    for (size_t i = 0; i < c->groups; i++) {
        g.size = c->starts[i + 1] - c->starts[i];
        g.labels = c->labels + c->starts[i];
        set_gains(&g, order);
        sort(order, values + c->starts[i], g.size);
        for (size_t r = 0; r < g.size; r++) {
            g.rank[order[r].place] = r;
        }
        add_pairs(pairs, &g, c->starts[i]);
    }
    return TANDEM_OK;
}

int tandem_loss_lambda(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    const tandem_loss_settings *s = c->settings;
    tandem_tensor *x = NULL, *a = NULL, *b = NULL, *weight = NULL;
    lambda_pairs pairs = {0};

    TANDEM_TRY(tandem_part_logits(&x, "lambda", logits, c, 1));
    size_t terms = tandem_part_lambda_pairs(c);

    TANDEM_TRY(collect(&pairs, x, c, terms));
    if (pairs.count == 0) {
        return tandem_part_zero(out, x);
    }
    TANDEM_TRY(tandem_op_index_select(&a, x, 0, pairs.a, pairs.count));
    TANDEM_TRY(tandem_op_index_select(&b, x, 0, pairs.b, pairs.count));
    TANDEM_TRY(tandem_part_floats(&weight, pairs.weight, pairs.count));
    TANDEM_TRY(tandem_op_sub(&x, b, a));
    TANDEM_TRY(tandem_op_scale(&x, x, s->lambda.sigma));
    TANDEM_TRY(tandem_op_softplus(&x, x)); /* -log sigmoid(sigma * (x_a - x_b)) */
    TANDEM_TRY(tandem_op_mul(&x, x, weight));
    TANDEM_TRY(tandem_op_sum(&x, x));
    return tandem_op_scale(out, x, 1.0 / ((double)terms * (s->lambda.log == TANDEM_LOG_BINARY ? log(2.0) : 1.0)));
}

size_t tandem_part_lambda_pairs(const tandem_candidates *c)
{
    size_t pairs = 0;

    if (c->settings->lambda.weighting != TANDEM_LAMBDA_NDCG1) {
        return tandem_part_better_pairs(c);
    }
    for (size_t g = 0; g < c->groups; g++) {
        pairs += (c->starts[g + 1] - c->starts[g]) * (c->starts[g + 1] - c->starts[g]);
    }
    return pairs;
}
