/* loss_listwise.c - losses of a group's candidates as one list. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/loss_parts.h"

static int sizes_of(size_t **out, const tandem_candidates *c)
{
    *out = tandem_arena_alloc(c->scratch, c->groups, sizeof **out);
    for (size_t g = 0; *out != NULL && g < c->groups; g++) {
        (*out)[g] = c->starts[g + 1] - c->starts[g];
    }
    return *out == NULL ? TANDEM_ERROR : TANDEM_OK;
}

/* The groups in their own order. */
static int lists_of(tandem_lists *out, const tandem_candidates *c)
{
    size_t *sizes = NULL;

    TANDEM_TRY(sizes_of(&sizes, c));
    TANDEM_TRY(tandem_lists_new(out, sizes, c->groups, c->scratch));
    for (size_t g = 0; g < c->groups; g++) {
        for (size_t k = 0; k < sizes[g]; k++) {
            out->index[g * out->width + k] = (int64_t)(c->starts[g] + k);
        }
    }
    tandem_lists_close(out);
    return TANDEM_OK;
}

/* ---- softmax, mnrl --------------------------------------------------------------------------- */
/* Mean over groups of -log softmax(x)[first]. */
static int first_against_all(tandem_tensor **out, const tandem_tensor *x, const tandem_candidates *c)
{
    tandem_tensor *logits = NULL, *first = NULL;
    tandem_lists lists;
    int64_t groups = (int64_t)c->groups, *zeros = tandem_arena_alloc(c->scratch, c->groups, sizeof *zeros);

    if (zeros == NULL) {
        return TANDEM_ERROR;
    }
    memset(zeros, 0, c->groups * sizeof *zeros);
    TANDEM_TRY(lists_of(&lists, c));
    TANDEM_TRY(tandem_lists_gather(&logits, x, &lists));
    TANDEM_TRY(tandem_lists_fill(&logits, logits, &lists, -INFINITY));
    TANDEM_TRY(tandem_tensor_from_int64(&first, zeros, &groups, 1));
    return tandem_op_cross_entropy(out, logits, first);
}

int tandem_loss_softmax(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    tandem_tensor *x = NULL;

    TANDEM_TRY(tandem_part_logits(&x, "softmax", logits, c, 2));
    return first_against_all(out, x, c);
}

int tandem_loss_cross_mnrl(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    tandem_tensor *x = NULL;

    TANDEM_TRY(tandem_part_logits(&x, "mnrl", logits, c, 1));
    TANDEM_TRY(tandem_op_sigmoid(&x, x));
    TANDEM_TRY(tandem_op_scale(&x, x, c->settings->scale));
    return first_against_all(out, x, c);
}

/* ---- list_net --------------------------------------------------------------------------------- */
int tandem_loss_list_net(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    tandem_tensor *x = NULL, *target = NULL;
    tandem_lists lists;

    TANDEM_TRY(tandem_part_logits(&x, "list_net", logits, c, 1));
    TANDEM_TRY(lists_of(&lists, c));
    float *p = tandem_arena_alloc(c->scratch, lists.count * lists.width, sizeof *p);

    if (p == NULL) {
        return TANDEM_ERROR;
    }
    memset(p, 0, lists.count * lists.width * sizeof *p);
    for (size_t g = 0; g < c->groups; g++) {
        tandem_part_softmax(p + g * lists.width, c->labels + c->starts[g], lists.sizes[g], 1.0);
    }
    TANDEM_TRY(tandem_lists_floats(&target, p, &lists));
    TANDEM_TRY(tandem_lists_gather(&x, x, &lists));
    TANDEM_TRY(tandem_lists_fill(&x, x, &lists, -INFINITY));
    TANDEM_TRY(tandem_op_log_softmax(&x, x, 1));
    TANDEM_TRY(tandem_lists_fill(&x, x, &lists, 0.0)); /* no minus infinity times 0 */
    TANDEM_TRY(tandem_op_mul(&x, x, target));
    TANDEM_TRY(tandem_op_sum(&x, x));
    return tandem_op_scale(out, x, -1.0 / (double)c->groups);
}

/* ---- list_mle, p_list_mle ----------------------------------------------------------------------- */
typedef struct {
    float label;
    uint32_t place;
} labelled;

/* Worst first; equals from their last to their first, as the mirror of a stable sort. */
static int worst_first(const void *left, const void *right)
{
    const labelled *a = left, *b = right;

    if (a->label != b->label) {
        return a->label < b->label ? -1 : 1;
    }
    return (a->place < b->place) - (a->place > b->place);
}

/* Each group by its labels, worst first: then the normalizer of an item, the logsumexp of
 * itself and all worse ones, is a running one from the left. */
static int worst_first_lists(tandem_lists *out, const tandem_candidates *c)
{
    size_t *sizes = NULL;

    TANDEM_TRY(sizes_of(&sizes, c));
    TANDEM_TRY(tandem_lists_new(out, sizes, c->groups, c->scratch));
    labelled *order = tandem_arena_alloc(c->scratch, out->width, sizeof *order);

    if (order == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t g = 0; g < c->groups; g++) {
        for (size_t k = 0; k < sizes[g]; k++) {
            order[k] = (labelled){c->labels[c->starts[g] + k], (uint32_t)k};
        }
        qsort(order, sizes[g], sizeof *order, worst_first);
        for (size_t k = 0; k < sizes[g]; k++) {
            out->index[g * out->width + k] = (int64_t)(c->starts[g] + order[k].place);
        }
    }
    tandem_lists_close(out);
    return TANDEM_OK;
}

/* The weights of a list of n, worst first: 2^(n - r) - 1 of rank r as a share of their sum. A
 * list of one has none. */
static void position_weights(float *out, size_t n)
{
    double sum = 0.0;

    for (size_t k = 0; k < n; k++) { /* n - r = k; less 2^-n, so that no length overflows */
        sum += exp2((double)k - (double)n) - exp2(-(double)n);
    }
    for (size_t k = 0; k < n; k++) {
        out[k] = sum > 0.0 ? (float)((exp2((double)k - (double)n) - exp2(-(double)n)) / sum) : 0.0F;
    }
}

static int list_mle(tandem_tensor **out, const char *loss, const tandem_tensor *logits, const tandem_candidates *c,
                    bool by_position)
{
    tandem_tensor *x = NULL, *normalizers = NULL, *weight = NULL;
    tandem_lists lists;

    TANDEM_TRY(tandem_part_logits(&x, loss, logits, c, 1));
    TANDEM_TRY(worst_first_lists(&lists, c));
    float *weights = tandem_arena_alloc(c->scratch, lists.count * lists.width, sizeof *weights);

    if (weights == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t cell = 0; cell < lists.count * lists.width; cell++) {
        weights[cell] = lists.masked[cell] ? 0.0F : 1.0F;
    }
    for (size_t g = 0; by_position && g < lists.count; g++) {
        position_weights(weights + g * lists.width, lists.sizes[g]);
    }
    TANDEM_TRY(tandem_lists_floats(&weight, weights, &lists));
    TANDEM_TRY(tandem_lists_gather(&x, x, &lists));
    TANDEM_TRY(tandem_op_logcumsumexp(&normalizers, x, 1));
    TANDEM_TRY(tandem_op_sub(&x, normalizers, x));
    TANDEM_TRY(tandem_op_mul(&x, x, weight));
    TANDEM_TRY(tandem_op_sum(&x, x));
    return tandem_op_scale(out, x, 1.0 / (double)c->groups);
}

int tandem_loss_list_mle(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    return list_mle(out, "list_mle", logits, c, false);
}

int tandem_loss_p_list_mle(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    return list_mle(out, "p_list_mle", logits, c, true);
}

/* ---- adr_mse -------------------------------------------------------------------------------------- */
/* The rank of candidate i by label, from 1; equal labels share the mean of their ranks. */
static double true_rank(const float *labels, size_t count, size_t i)
{
    size_t greater = 0, equal = 0;

    for (size_t j = 0; j < count; j++) {
        greater += labels[j] > labels[i];
        equal += labels[j] == labels[i];
    }
    return (double)greater + ((double)equal + 1.0) / 2.0;
}

/* Ranks and their discounts over the number of all candidates, 0 past the lists' ends. */
static int true_ranks(tandem_tensor **rank, tandem_tensor **weight, const tandem_lists *lists,
                      const tandem_candidates *c)
{
    size_t cells = lists->count * lists->width;
    float *ranks = tandem_arena_alloc(c->scratch, cells, sizeof *ranks);
    float *weights = tandem_arena_alloc(c->scratch, cells, sizeof *weights);

    if (ranks == NULL || weights == NULL) {
        return TANDEM_ERROR;
    }
    memset(ranks, 0, cells * sizeof *ranks);
    memset(weights, 0, cells * sizeof *weights);
    for (size_t g = 0; g < lists->count; g++) {
        for (size_t k = 0; k < lists->sizes[g]; k++) {
            double r = true_rank(c->labels + c->starts[g], lists->sizes[g], k);

            ranks[g * lists->width + k] = (float)r;
            weights[g * lists->width + k] = (float)(1.0 / (log2(r + 1.0) * (double)c->starts[c->groups]));
        }
    }
    TANDEM_TRY(tandem_lists_floats(rank, ranks, lists));
    return tandem_lists_floats(weight, weights, lists);
}

/* 1/2 + sum_j sigmoid(alpha * (x_j - x_i)) over the items of i's list, [count, width]. */
static int soft_ranks(tandem_tensor **out, const tandem_tensor *x, const tandem_lists *lists, double alpha)
{
    int64_t count = (int64_t)lists->count, width = (int64_t)lists->width;
    int64_t rows[3] = {count, 1, width}, columns[3] = {count, width, 1};
    tandem_tensor *i = NULL, *j = NULL, *mask = NULL;

    TANDEM_TRY(tandem_op_reshape(&j, x, rows, 3));
    TANDEM_TRY(tandem_op_reshape(&i, x, columns, 3));
    TANDEM_TRY(tandem_op_sub(out, j, i));
    TANDEM_TRY(tandem_op_scale(out, *out, alpha));
    TANDEM_TRY(tandem_op_sigmoid(out, *out));
    TANDEM_TRY(tandem_tensor_from_bool(&mask, lists->masked, rows, 3));
    TANDEM_TRY(tandem_op_masked_fill(out, *out, mask, 0.0));
    TANDEM_TRY(tandem_op_sum_dim(out, *out, 2));
    return tandem_op_shift(out, *out, 0.5);
}

int tandem_loss_adr_mse(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    tandem_tensor *x = NULL, *rank = NULL, *weight = NULL;
    tandem_lists lists;

    TANDEM_TRY(tandem_part_logits(&x, "adr_mse", logits, c, 1));
    TANDEM_TRY(lists_of(&lists, c));
    TANDEM_TRY(true_ranks(&rank, &weight, &lists, c));
    TANDEM_TRY(tandem_lists_gather(&x, x, &lists));
    TANDEM_TRY(soft_ranks(&x, x, &lists, c->settings->alpha));
    TANDEM_TRY(tandem_op_sub(&x, x, rank));
    TANDEM_TRY(tandem_op_mul(&x, x, x));
    TANDEM_TRY(tandem_op_mul(&x, x, weight));
    return tandem_op_sum(out, x);
}
