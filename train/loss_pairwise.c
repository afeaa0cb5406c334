/* loss_pairwise.c - losses of two candidates of a group. */
#include "train/loss_parts.h"

/* x[b] - x[a] of the pairs. */
static int differences(tandem_tensor **out, const tandem_tensor *x, const int64_t *a, const int64_t *b, size_t count)
{
    tandem_tensor *left = NULL, *right = NULL;

    TANDEM_TRY(tandem_op_index_select(&left, x, 0, b, count));
    TANDEM_TRY(tandem_op_index_select(&right, x, 0, a, count));
    return tandem_op_sub(out, left, right);
}

int tandem_loss_pairwise(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    tandem_tensor *x = NULL;

    TANDEM_TRY(tandem_part_logits(&x, "pairwise", logits, c, 1));
    size_t count = tandem_part_better_pairs(c), pair = 0;
    int64_t *better = tandem_arena_alloc(c->scratch, count, sizeof *better);
    int64_t *worse = tandem_arena_alloc(c->scratch, count, sizeof *worse);

    if (better == NULL || worse == NULL) {
        return TANDEM_ERROR;
    }
    if (count == 0) {
        return tandem_part_zero(out, x);
    }
    for (size_t g = 0; g < c->groups; g++) {
        for (size_t a = c->starts[g]; a < c->starts[g + 1]; a++) {
            for (size_t b = c->starts[g]; b < c->starts[g + 1]; b++) {
                if (c->labels[a] > c->labels[b]) {
                    better[pair] = (int64_t)a;
                    worse[pair++] = (int64_t)b;
                }
            }
        }
    }
    TANDEM_TRY(differences(&x, x, better, worse, count));
    TANDEM_TRY(tandem_op_softplus(&x, x));
    return tandem_op_mean(out, x);
}

int tandem_loss_cross_margin_mse(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    tandem_tensor *x = NULL, *margin = NULL;

    TANDEM_TRY(tandem_part_logits(&x, "margin_mse", logits, c, 2));
    size_t count = c->starts[c->groups] - c->groups, pair = 0;
    int64_t *positive = tandem_arena_alloc(c->scratch, count, sizeof *positive);
    int64_t *negative = tandem_arena_alloc(c->scratch, count, sizeof *negative);
    float *margins = tandem_arena_alloc(c->scratch, count, sizeof *margins);

    if (positive == NULL || negative == NULL || margins == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t g = 0; g < c->groups; g++) {
        for (size_t row = c->starts[g] + 1; row < c->starts[g + 1]; row++, pair++) {
            positive[pair] = (int64_t)c->starts[g];
            negative[pair] = (int64_t)row;
            margins[pair] = c->labels[row] - c->labels[c->starts[g]];
        }
    }
    TANDEM_TRY(tandem_part_floats(&margin, margins, count));
    TANDEM_TRY(differences(&x, x, positive, negative, count));
    TANDEM_TRY(tandem_op_sub(&x, x, margin));
    TANDEM_TRY(tandem_op_mul(&x, x, x));
    return tandem_op_mean(out, x);
}
