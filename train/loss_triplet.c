/* loss_triplet.c - triplets of an anchor, a positive and a negative. Which triplets count
 * is decided here in C from the distances' values; the loss is then a hinge of selected
 * distances, whose gradient torch has. */
#include <stdlib.h>

#include "train/loss_parts.h"

/* Hinges or softplus of positive - negative + margin, added and divided. */
typedef struct {
    const int64_t *positive, *negative; /* [count], places among the distances */
    size_t count;
    double divisor;
    bool soft; /* softplus, without margin */
} triplets;

static int triplet_loss(tandem_tensor **out, const tandem_tensor *positive, const tandem_tensor *negative,
                        const triplets *t,
                        double margin)
{
    TANDEM_TRY(tandem_op_sub(out, positive, negative));
    if (t->soft) {
        TANDEM_TRY(tandem_op_softplus(out, *out));
    } else {
        TANDEM_TRY(tandem_op_shift(out, *out, margin));
        TANDEM_TRY(tandem_op_relu(out, *out));
    }
    TANDEM_TRY(tandem_op_sum(out, *out));
    return tandem_op_scale(out, *out, 1.0 / t->divisor);
}

int tandem_loss_triplet(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                        const tandem_bi_candidates *c)
{
    tandem_tensor *owners = NULL, *distances = NULL, *positive = NULL, *negative = NULL;
    size_t count = c->m - c->n;

    TANDEM_TRY(tandem_part_check_bi("triplet", queries, documents, c));
    if (count == 0) {
        return tandem_error("triplet: no row has a negative");
    }
    /* Of each triplet's positive, then of its negative. */
    int64_t *index = tandem_arena_alloc(c->scratch, count, 2 * sizeof *index);

    if (index == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t k = 0; k < count; k++) {
        index[k] = c->owner[c->n + k];
        index[count + k] = (int64_t)(c->n + k);
    }
    triplets t = {index, index + count, count, (double)count, false};

    TANDEM_TRY(tandem_part_owners(&owners, queries, c));
    TANDEM_TRY(tandem_part_distances(&distances, owners, documents, c->settings->triplet.distance, 0.0));
    TANDEM_TRY(tandem_op_index_select(&positive, distances, 0, t.positive, count));
    TANDEM_TRY(tandem_op_index_select(&negative, distances, 0, t.negative, count));
    return triplet_loss(out, positive, negative, &t, c->settings->triplet.margin);
}

/* ---- triplets of a batch by classes ------------------------------------------------------------ */
typedef struct {
    const int64_t *classes; /* [size] */
    const float *d;         /* [size * size] */
    size_t size;
    float margin;
    int64_t *positive, *negative; /* [count], places among the distances */
    size_t count, positive_room, negative_room;
    int rc; /* TANDEM_ERROR when memory ran out */
} batch;

/* Chooses the triplets and gives what their sum is divided by. */
typedef double chooser(batch *b);

static int grow(int64_t **items, size_t *room, size_t needed)
{
    void *grown = *items;

    TANDEM_TRY(tandem_grow(&grown, room, needed, sizeof **items));
    *items = grown;
    return TANDEM_OK;
}

static void add(batch *b, size_t anchor, size_t positive, size_t negative)
{
    if (b->rc < 0 || (b->rc = grow(&b->positive, &b->positive_room, b->count + 1)) < 0 ||
        (b->rc = grow(&b->negative, &b->negative_room, b->count + 1)) < 0) {
        return;
    }
    b->positive[b->count] = (int64_t)(anchor * b->size + positive);
    b->negative[b->count++] = (int64_t)(anchor * b->size + negative);
}

/* Hinges above it count; so does one that is no number, which must not go unseen. */
static const float least_hinge = 1e-16F;

static double choose_all(batch *b)
{
    for (size_t a = 0; a < b->size; a++) {
        const float *d = b->d + a * b->size;

        for (size_t p = 0; p < b->size; p++) {
            for (size_t n = 0; p != a && b->classes[p] == b->classes[a] && n < b->size; n++) {
                if (b->classes[n] != b->classes[a] && !(d[p] - d[n] + b->margin <= least_hinge)) {
                    add(b, a, p, n);
                }
            }
        }
    }
    return (double)b->count;
}

/* An anchor without a positive is its own, at distance 0; one without a negative takes the
 * farthest text for it, so that its hinge is the margin and has no gradient. */
static double choose_hard(batch *b)
{
    for (size_t a = 0; a < b->size; a++) {
        const float *d = b->d + a * b->size;
        size_t positive = a, negative = b->size, farthest = 0;

        for (size_t i = 0; i < b->size; i++) {
            farthest = d[i] > d[farthest] ? i : farthest;
            if (b->classes[i] != b->classes[a]) {
                negative = negative == b->size || d[i] < d[negative] ? i : negative;
            } else if (i != a && d[i] > d[positive]) {
                positive = i;
            }
        }
        add(b, a, positive, negative == b->size ? farthest : negative);
    }
    return (double)b->size;
}

/* The nearest negative beyond the positive, else the farthest negative, else (no negative at
 * all) the nearest text, the anchor itself. */
static size_t semi_hard(const batch *b, size_t anchor, size_t positive)
{
    const float *d = b->d + anchor * b->size;
    size_t outside = b->size, inside = b->size;

    for (size_t i = 0; i < b->size; i++) {
        if (b->classes[i] == b->classes[anchor]) {
            continue;
        }
        if (d[i] > d[positive] && (outside == b->size || d[i] < d[outside])) {
            outside = i;
        }
        if (inside == b->size || d[i] > d[inside]) {
            inside = i;
        }
    }
    if (outside != b->size) {
        return outside;
    }
    return inside != b->size ? inside : anchor;
}

static double choose_semi_hard(batch *b)
{
    for (size_t a = 0; a < b->size; a++) {
        for (size_t p = 0; p < b->size; p++) {
            if (p != a && b->classes[p] == b->classes[a]) {
                add(b, a, p, semi_hard(b, a, p));
            }
        }
    }
    return (double)b->count;
}

/* All queries, then all documents. */
static int batch_distances(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                           int64_t distance)
{
    const tandem_tensor *sides[2] = {queries, documents};
    tandem_tensor *x = NULL;

    TANDEM_TRY(tandem_op_cat(&x, sides, 2, 0));
    if (distance == TANDEM_DISTANCE_EUCLIDEAN) {
        return tandem_op_distances(out, x, x);
    }
    TANDEM_TRY(tandem_op_normalize(&x, x));
    TANDEM_TRY(tandem_op_matmul(out, x, x, true));
    return tandem_part_complement(out, *out);
}

static int batch_loss(tandem_tensor **out, const char *loss, const tandem_tensor *queries,
                      const tandem_tensor *documents,
                      const tandem_bi_candidates *c, chooser *choose, bool soft)
{
    size_t size = c->n + c->m;
    tandem_tensor *distances = NULL, *positive = NULL, *negative = NULL;
    int64_t cells = (int64_t)(size * size);
    int rc = tandem_part_check_bi(loss, queries, documents, c);

    TANDEM_TRY(rc);
    if (c->classes == NULL) {
        return tandem_error("%s: expected the classes of the texts, found none", loss);
    }
    float *values = tandem_arena_alloc(c->scratch, size * size, sizeof *values);
    batch b = {.classes = c->classes, .d = values, .size = size, .margin = (float)c->settings->triplet.margin};

    TANDEM_TRY(batch_distances(&distances, queries, documents, c->settings->triplet.distance));
    TANDEM_TRY(values == NULL ? TANDEM_ERROR : tandem_tensor_read(distances, values));
    triplets t = {.divisor = choose(&b), .soft = soft};

    t.positive = b.positive;
    t.negative = b.negative;
    t.count = b.count;
    TANDEM_TRY_GOTO(rc, done, b.rc);
    if (t.count == 0) {
        rc = tandem_part_zero(out, distances);
        goto done;
    }
    TANDEM_TRY_GOTO(rc, done, tandem_op_reshape(&distances, distances, &cells, 1));
    TANDEM_TRY_GOTO(rc, done, tandem_op_index_select(&positive, distances, 0, t.positive, t.count));
    TANDEM_TRY_GOTO(rc, done, tandem_op_index_select(&negative, distances, 0, t.negative, t.count));
    rc = triplet_loss(out, positive, negative, &t, c->settings->triplet.margin);
done:
    free(b.positive);
    free(b.negative);
    return rc;
}

int tandem_loss_batch_all_triplet(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                                  const tandem_bi_candidates *c)
{
    return batch_loss(out, "batch_all_triplet", queries, documents, c, choose_all, false);
}

int tandem_loss_batch_hard_triplet(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                                   const tandem_bi_candidates *c)
{
    return batch_loss(out, "batch_hard_triplet", queries, documents, c, choose_hard, false);
}

int tandem_loss_batch_hard_soft_margin_triplet(tandem_tensor **out, const tandem_tensor *queries,
                                               const tandem_tensor *documents, const tandem_bi_candidates *c)
{
    return batch_loss(out, "batch_hard_soft_margin_triplet", queries, documents, c, choose_hard, true);
}

int tandem_loss_batch_semi_hard_triplet(tandem_tensor **out, const tandem_tensor *queries,
                                        const tandem_tensor *documents,
                                        const tandem_bi_candidates *c)
{
    return batch_loss(out, "batch_semi_hard_triplet", queries, documents, c, choose_semi_hard, false);
}
