/* loss_cross.c - losses over a cross-encoder's logits. */
#include <math.h>
#include <stdlib.h>

#include "tandem/loss.h"
#include "tandem/memory.h"

/* logits [n] or [n, 1] as x [n], with the offsets added. */
static int flat_logits(tandem_tensor **out, int64_t *count, const tandem_tensor *logits, const float *offsets)
{
    tandem_tensor *constant = NULL;
    int dims = tandem_tensor_dims(logits);
    int64_t n = dims == 0 ? 0 : tandem_tensor_size(logits, 0);

    if (n < 1 || dims > 2 || (dims == 2 && tandem_tensor_size(logits, 1) != 1)) {
        return tandem_error("loss: expected logits of shape [n] or [n, 1], found %d dimensions, the last of size %lld",
                            dims, dims == 0 ? 0 : (long long)tandem_tensor_size(logits, dims - 1));
    }
    *count = n;
    TANDEM_TRY(tandem_op_reshape(out, logits, &n, 1));
    if (offsets == NULL) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_tensor_from(&constant, offsets, &n, 1));
    return tandem_op_add(out, *out, constant);
}

int tandem_loss_bce(tandem_tensor **out, const tandem_tensor *logits, const float *labels, const float *offsets,
                    double pos_weight)
{
    tandem_tensor *x = NULL, *minus = NULL, *positive = NULL, *negative = NULL, *y = NULL, *not_y = NULL;
    int64_t n = 0;

    TANDEM_TRY(flat_logits(&x, &n, logits, offsets));
    TANDEM_TRY(tandem_tensor_from(&y, labels, &n, 1));
    TANDEM_TRY(tandem_op_scale(&not_y, y, -1.0));
    TANDEM_TRY(tandem_op_shift(&not_y, not_y, 1.0));
    TANDEM_TRY(tandem_op_scale(&minus, x, -1.0));
    TANDEM_TRY(tandem_op_softplus(&positive, minus)); /* -log sigmoid(x) */
    TANDEM_TRY(tandem_op_softplus(&negative, x));     /* -log(1 - sigmoid(x)) */
    TANDEM_TRY(tandem_op_mul(&positive, positive, y));
    TANDEM_TRY(tandem_op_scale(&positive, positive, pos_weight));
    TANDEM_TRY(tandem_op_mul(&negative, negative, not_y));
    TANDEM_TRY(tandem_op_add(&positive, positive, negative));
    return tandem_op_mean(out, positive);
}

/* Groups must tile the n rows, each with its positive and at least one negative. */
static int check_groups(const char *loss, const size_t *starts, size_t groups, int64_t n)
{
    if (groups == 0 || starts[0] != 0 || starts[groups] != (size_t)n) {
        return tandem_error("%s: expected groups that cover %lld logits", loss, (long long)n);
    }
    for (size_t g = 0; g < groups; g++) {
        if (starts[g + 1] < starts[g] + 2) {
            return tandem_error("%s: group %zu has no negative", loss, g);
        }
    }
    return TANDEM_OK;
}

int tandem_loss_pairwise(tandem_tensor **out, const tandem_tensor *logits, const size_t *starts, size_t groups,
                         const float *offsets)
{
    tandem_tensor *x = NULL, *positives = NULL, *negatives = NULL, *difference = NULL;
    int64_t n = 0;

    TANDEM_TRY(flat_logits(&x, &n, logits, offsets));
    TANDEM_TRY(check_groups("pairwise", starts, groups, n));

    size_t pairs = (size_t)n - groups, pair = 0;
    int64_t *index = tandem_alloc(pairs, 2 * sizeof *index); /* of each pair's positive, then its negative */

    if (index == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t g = 0; g < groups; g++) {
        for (size_t row = starts[g] + 1; row < starts[g + 1]; row++, pair++) {
            index[pair] = (int64_t)starts[g];
            index[pairs + pair] = (int64_t)row;
        }
    }
    int rc = tandem_op_index_select(&positives, x, 0, index, pairs);
    if (rc == TANDEM_OK) {
        rc = tandem_op_index_select(&negatives, x, 0, index + pairs, pairs);
    }
    free(index);
    TANDEM_TRY(rc);
    TANDEM_TRY(tandem_op_sub(&difference, negatives, positives));
    TANDEM_TRY(tandem_op_softplus(&difference, difference));
    return tandem_op_mean(out, difference);
}

/* Where group g's candidate c lies among the logits, [groups, width]; places past a
 * group's end point at its positive and are masked. */
static void group_matrix(int64_t *index, bool *masked, const size_t *starts, size_t groups, size_t width)
{
    for (size_t g = 0; g < groups; g++) {
        size_t size = starts[g + 1] - starts[g];

        for (size_t c = 0; c < width; c++) {
            index[g * width + c] = (int64_t)(starts[g] + (c < size ? c : 0));
            masked[g * width + c] = c >= size;
        }
    }
}

static int group_logits(tandem_tensor **out, const tandem_tensor *x, const size_t *starts, size_t groups)
{
    tandem_tensor *mask = NULL;
    size_t width = 0, cells = 0;
    int rc = TANDEM_ERROR;

    for (size_t g = 0; g < groups; g++) {
        size_t size = starts[g + 1] - starts[g];
        width = size > width ? size : width;
    }
    if (!tandem_size_mul(&cells, groups, width)) {
        return tandem_error("softmax: %zu groups of %zu are too many", groups, width);
    }
    int64_t *index = tandem_alloc(cells, sizeof *index);
    bool *masked = tandem_alloc(cells, sizeof *masked);
    int64_t shape[2] = {(int64_t)groups, (int64_t)width};

    if (index == NULL || masked == NULL) {
        goto done;
    }
    group_matrix(index, masked, starts, groups, width);
    TANDEM_TRY_GOTO(rc, done, tandem_op_index_select(out, x, 0, index, cells));
    TANDEM_TRY_GOTO(rc, done, tandem_op_reshape(out, *out, shape, 2));
    TANDEM_TRY_GOTO(rc, done, tandem_tensor_from_bool(&mask, masked, shape, 2));
    TANDEM_TRY_GOTO(rc, done, tandem_op_masked_fill(out, *out, mask, -INFINITY));
done:
    free(index);
    free(masked);
    return rc;
}

int tandem_loss_softmax(tandem_tensor **out, const tandem_tensor *logits, const size_t *starts, size_t groups,
                        const float *offsets)
{
    tandem_tensor *x = NULL, *labels = NULL;
    int64_t n = 0, rows = (int64_t)groups;

    TANDEM_TRY(flat_logits(&x, &n, logits, offsets));
    TANDEM_TRY(check_groups("softmax", starts, groups, n));
    TANDEM_TRY(group_logits(&x, x, starts, groups));

    int64_t *first = tandem_alloc(groups, sizeof *first); /* zeros: the positive comes first */
    if (first == NULL) {
        return TANDEM_ERROR;
    }
    int rc = tandem_tensor_from_int64(&labels, first, &rows, 1);
    free(first);
    TANDEM_TRY(rc);
    return tandem_op_cross_entropy(out, x, labels);
}
