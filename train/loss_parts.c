/* loss_parts.c - what several losses are made of. */
#include "train/loss_parts.h"

#include <math.h>
#include <string.h>

int tandem_part_zero(tandem_tensor **out, const tandem_tensor *x)
{
    TANDEM_TRY(tandem_op_sum(out, x));
    return tandem_op_scale(out, *out, 0.0);
}

int tandem_part_floats(tandem_tensor **out, const float *values, size_t n)
{
    int64_t shape = (int64_t)n;

    return tandem_tensor_from(out, values, &shape, 1);
}

int tandem_part_dots(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b)
{
    TANDEM_TRY(tandem_op_mul(out, a, b));
    return tandem_op_sum_dim(out, *out, -1);
}

int tandem_part_cosines(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b)
{
    tandem_tensor *x = NULL, *y = NULL;

    TANDEM_TRY(tandem_op_normalize(&x, a));
    TANDEM_TRY(tandem_op_normalize(&y, b));
    return tandem_part_dots(out, x, y);
}

int tandem_part_similarities(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b, bool cosine)
{
    return cosine ? tandem_part_cosines(out, a, b) : tandem_part_dots(out, a, b);
}

int tandem_part_complement(tandem_tensor **out, const tandem_tensor *a)
{
    TANDEM_TRY(tandem_op_scale(out, a, -1.0));
    return tandem_op_shift(out, *out, 1.0);
}

int tandem_part_distances(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b, int64_t distance,
                          double shift)
{
    tandem_tensor *difference = NULL;

    if (distance == TANDEM_DISTANCE_COSINE) {
        TANDEM_TRY(tandem_part_cosines(out, a, b));
        return tandem_part_complement(out, *out);
    }
    TANDEM_TRY(tandem_op_sub(&difference, a, b));
    TANDEM_TRY(tandem_op_shift(&difference, difference, shift));
    if (distance == TANDEM_DISTANCE_EUCLIDEAN) {
        return tandem_op_norm(out, difference);
    }
    TANDEM_TRY(tandem_op_abs(&difference, difference));
    return tandem_op_sum_dim(out, difference, -1);
}

/* ---- bi-encoder ------------------------------------------------------------------------ */
static bool is_matrix(const tandem_tensor *tensor, size_t rows, int64_t columns)
{
    return tandem_tensor_dims(tensor) == 2 && tandem_tensor_size(tensor, 0) == (int64_t)rows &&
           tandem_tensor_size(tensor, 1) == columns;
}

static int check_shapes(const char *loss, const tandem_tensor *queries, const tandem_tensor *documents,
                        const tandem_bi_candidates *c)
{
    int64_t width = tandem_tensor_size(queries, 1), other = tandem_tensor_size(documents, 1);

    if (!is_matrix(queries, c->n, width) || !is_matrix(documents, c->m, width)) {
        return tandem_error("%s: expected embeddings of %zu queries and %zu documents, found [%lld, %lld] and "
                            "[%lld, %lld]", loss, c->n, c->m, (long long)tandem_tensor_size(queries, 0),
                            (long long)width, (long long)tandem_tensor_size(documents, 0), (long long)other);
    }
    return TANDEM_OK;
}

static int check_known(const char *loss, const tandem_bi_candidates *c)
{
    for (size_t i = 0; c->known_starts != NULL && i < c->n; i++) {
        for (size_t k = c->known_starts[i]; k < c->known_starts[i + 1]; k++) {
            if (c->known[k] >= c->m || c->known[k] == i) {
                return tandem_error("%s: row %zu masks document %u: expected another of the %zu", loss, i, c->known[k],
                                    c->m);
            }
        }
    }
    return TANDEM_OK;
}

int tandem_part_check_bi(const char *loss, const tandem_tensor *queries, const tandem_tensor *documents,
                         const tandem_bi_candidates *c)
{
    if (c->n < 1 || c->m < c->n) {
        return tandem_error("%s: expected at least one document a query, found %zu queries and %zu documents", loss,
                            c->n, c->m);
    }
    if (c->first >= c->last || c->last > c->n) {
        return tandem_error("%s: expected some of the rows 0 .. %zu, found %zu .. %zu", loss, c->n, c->first, c->last);
    }
    for (size_t j = 0; j < c->m; j++) {
        if (j < c->n ? c->owner[j] != j : c->owner[j] >= c->n) {
            return tandem_error("%s: document %zu belongs to row %u of %zu", loss, j, c->owner[j], c->n);
        }
    }
    TANDEM_TRY(check_known(loss, c));
    return check_shapes(loss, queries, documents, c);
}

int tandem_part_owners(tandem_tensor **out, const tandem_tensor *queries, const tandem_bi_candidates *c)
{
    int64_t *index = tandem_arena_alloc(c->scratch, c->m, sizeof *index);

    if (index == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t j = 0; j < c->m; j++) {
        index[j] = c->owner[j];
    }
    return tandem_op_index_select(out, queries, 0, index, c->m);
}

int tandem_part_scaled(tandem_tensor **out, const tandem_tensor *a, const tandem_bi_candidates *c, double scale)
{
    return c->scale != NULL ? tandem_op_mul(out, a, c->scale) : tandem_op_scale(out, a, scale);
}

float tandem_part_label(const tandem_bi_candidates *c, size_t document)
{
    if (c->scores != NULL && c->settings->labels == TANDEM_LABELS_SCORES && !isnan(c->scores[document])) {
        return c->scores[document];
    }
    return document < c->n ? 1.0F : 0.0F;
}

bool tandem_part_cosine(const tandem_bi_candidates *c, bool otherwise)
{
    int64_t similarity = c->settings->similarity;

    return similarity == TANDEM_SIMILARITY_AUTO ? otherwise : similarity == TANDEM_SIMILARITY_COSINE;
}

/* ---- lists ----------------------------------------------------------------------------- */
int tandem_lists_new(tandem_lists *out, const size_t *sizes, size_t count, tandem_arena *scratch)
{
    size_t width = 0, cells = 0;

    for (size_t g = 0; g < count; g++) {
        width = sizes[g] > width ? sizes[g] : width;
    }
    if (!tandem_size_mul(&cells, count, width)) {
        return tandem_error("%zu lists of %zu are too many", count, width);
    }
    *out = (tandem_lists){count, width, sizes, NULL, NULL};
    out->index = tandem_arena_alloc(scratch, cells, sizeof *out->index);
    out->masked = tandem_arena_alloc(scratch, cells, sizeof *out->masked);
    if (out->index == NULL || out->masked == NULL) {
        return TANDEM_ERROR;
    }
    memset(out->index, 0, cells * sizeof *out->index);
    for (size_t cell = 0; cell < cells; cell++) {
        out->masked[cell] = cell % width >= sizes[cell / width];
    }
    return TANDEM_OK;
}

void tandem_lists_close(tandem_lists *lists)
{
    for (size_t g = 0; g < lists->count; g++) {
        int64_t *row = lists->index + g * lists->width;

        for (size_t c = lists->sizes[g]; c < lists->width; c++) {
            row[c] = row[0];
        }
    }
}

static void shape_of(int64_t shape[2], const tandem_lists *lists)
{
    shape[0] = (int64_t)lists->count;
    shape[1] = (int64_t)lists->width;
}

int tandem_lists_gather(tandem_tensor **out, const tandem_tensor *x, const tandem_lists *lists)
{
    int64_t shape[2];

    shape_of(shape, lists);
    TANDEM_TRY(tandem_op_index_select(out, x, 0, lists->index, lists->count * lists->width));
    return tandem_op_reshape(out, *out, shape, 2);
}

int tandem_lists_fill(tandem_tensor **out, const tandem_tensor *a, const tandem_lists *lists, double value)
{
    tandem_tensor *mask = NULL;
    int64_t shape[2];

    shape_of(shape, lists);
    TANDEM_TRY(tandem_tensor_from_bool(&mask, lists->masked, shape, 2));
    return tandem_op_masked_fill(out, a, mask, value);
}

int tandem_lists_floats(tandem_tensor **out, const float *values, const tandem_lists *lists)
{
    int64_t shape[2];

    shape_of(shape, lists);
    return tandem_tensor_from(out, values, shape, 2);
}

void tandem_part_softmax(float *out, const float *values, size_t count, double temperature)
{
    double most = -(double)INFINITY, sum = 0.0;

    for (size_t i = 0; i < count; i++) {
        most = fmax(most, (double)values[i]);
    }
    for (size_t i = 0; i < count; i++) {
        sum += exp(((double)values[i] - most) / temperature);
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)(exp(((double)values[i] - most) / temperature) / sum);
    }
}

/* ---- cross-encoder --------------------------------------------------------------------- */
static int check_groups(const char *loss, const tandem_candidates *c, int64_t n, size_t least)
{
    if (c->groups == 0 || c->starts[0] != 0 || c->starts[c->groups] != (size_t)n) {
        return tandem_error("%s: expected groups that cover %lld logits", loss, (long long)n);
    }
    for (size_t g = 0; g < c->groups; g++) {
        if (c->starts[g + 1] < c->starts[g] + least) {
            return tandem_error(least > 1 ? "%s: group %zu has no negative" : "%s: group %zu is empty", loss, g);
        }
    }
    return TANDEM_OK;
}

int tandem_part_logits(tandem_tensor **out, const char *loss, const tandem_tensor *logits, const tandem_candidates *c,
                       size_t least)
{
    tandem_tensor *constant = NULL;
    int dims = tandem_tensor_dims(logits);
    int64_t n = dims == 0 ? 0 : tandem_tensor_size(logits, 0);

    if (n < 1 || dims > 2 || (dims == 2 && tandem_tensor_size(logits, 1) != 1)) {
        return tandem_error("%s: expected logits of shape [n] or [n, 1], found %d dimensions, the last of size %lld",
                            loss,
                            dims, dims == 0 ? 0 : (long long)tandem_tensor_size(logits, dims - 1));
    }
    TANDEM_TRY(check_groups(loss, c, n, least));
    TANDEM_TRY(tandem_op_reshape(out, logits, &n, 1));
    if (c->offsets == NULL) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_part_floats(&constant, c->offsets, (size_t)n));
    return tandem_op_add(out, *out, constant);
}

size_t tandem_part_better_pairs(const tandem_candidates *c)
{
    size_t pairs = 0;

    for (size_t g = 0; g < c->groups; g++) {
        for (size_t a = c->starts[g]; a < c->starts[g + 1]; a++) {
            for (size_t b = c->starts[g]; b < c->starts[g + 1]; b++) {
                pairs += c->labels[a] > c->labels[b];
            }
        }
    }
    return pairs;
}
