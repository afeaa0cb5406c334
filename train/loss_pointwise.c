/* loss_pointwise.c - losses of each logit by itself. */
#include <math.h>

#include "train/loss_parts.h"

int tandem_loss_bce(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    tandem_tensor *x = NULL, *minus = NULL, *positive = NULL, *negative = NULL, *y = NULL, *not_y = NULL;

    TANDEM_TRY(tandem_part_logits(&x, "bce", logits, c, 1));
    TANDEM_TRY(tandem_part_floats(&y, c->labels, c->starts[c->groups]));
    TANDEM_TRY(tandem_part_complement(&not_y, y));
    TANDEM_TRY(tandem_op_scale(&minus, x, -1.0));
    TANDEM_TRY(tandem_op_softplus(&positive, minus)); /* -log sigmoid(x) */
    TANDEM_TRY(tandem_op_softplus(&negative, x));     /* -log(1 - sigmoid(x)) */
    TANDEM_TRY(tandem_op_mul(&positive, positive, y));
    TANDEM_TRY(tandem_op_scale(&positive, positive, c->settings->pos_weight));
    TANDEM_TRY(tandem_op_mul(&negative, negative, not_y));
    TANDEM_TRY(tandem_op_add(&positive, positive, negative));
    return tandem_op_mean(out, positive);
}

int tandem_loss_mse(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    tandem_tensor *x = NULL, *y = NULL;

    TANDEM_TRY(tandem_part_logits(&x, "mse", logits, c, 1));
    TANDEM_TRY(tandem_part_floats(&y, c->labels, c->starts[c->groups]));
    TANDEM_TRY(tandem_op_sub(&x, x, y));
    TANDEM_TRY(tandem_op_mul(&x, x, x));
    return tandem_op_mean(out, x);
}

int tandem_loss_cross_entropy(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    tandem_tensor *y = NULL;
    int64_t n = tandem_tensor_size(logits, 0), classes = tandem_tensor_size(logits, 1);

    if (tandem_tensor_dims(logits) != 2 || n < 1 || c->groups == 0 || c->starts[c->groups] != (size_t)n) {
        return tandem_error("cross_entropy: expected logits [pairs, classes] that the groups cover, found [%lld, %lld]",
                            (long long)n, (long long)classes);
    }
    int64_t *labels = tandem_arena_alloc(c->scratch, (size_t)n, sizeof *labels);

    for (int64_t i = 0; labels != NULL && i < n; i++) {
        double label = (double)c->labels[i];

        if (!(label >= 0.0 && label < (double)classes && label == floor(label))) {
            return tandem_error("cross_entropy: expected a label that is a class, 0 to %lld, found %g",
                                (long long)classes - 1, label);
        }
        labels[i] = (int64_t)label;
    }
    TANDEM_TRY(labels == NULL ? TANDEM_ERROR : tandem_tensor_from_int64(&y, labels, &n, 1));
    return tandem_op_cross_entropy(out, logits, y);
}
