/* loss_run.c - runs a bi-encoder's loss: row by row where it can, and for each of Matryoshka's
 * sizes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/losses.h"

/* Cells of the widest matrix of a part: 16 MB of float32, of which a loss holds a few. */
enum { PART_CELLS = 1 << 22 };

/* ---- matryoshka --------------------------------------------------------------------------------- */
/* Numbers with commas between, at most TANDEM_MATRYOSHKA_MOST. */
static int parse_numbers(double *out, size_t *count, const char *text, const char *key)
{
    *count = 0;
    for (;;) {
        char *end = NULL;
        double value = strtod(text, &end);

        if (end == text || !isfinite(value) || (*end != ',' && *end != '\0') || *count == TANDEM_MATRYOSHKA_MOST) {
            return tandem_error_code(TANDEM_USAGE,
                                     "%s: expected at most %d numbers with commas between, found \"%.40s\"", key,
                                     TANDEM_MATRYOSHKA_MOST, text);
        }
        out[(*count)++] = value;
        if (*end == '\0') {
            return TANDEM_OK;
        }
        text = end + 1;
    }
}

static int parse_weights(tandem_matryoshka *out, const char *text)
{
    size_t count = out->count;

    if (text == NULL) {
        for (size_t i = 0; i < out->count; i++) {
            out->weights[i] = 1.0;
        }
        return TANDEM_OK;
    }
    TANDEM_TRY(parse_numbers(out->weights, &count, text, "loss.matryoshka.weights"));
    if (count != out->count) {
        return tandem_error_code(TANDEM_USAGE,
                                 "loss.matryoshka.weights: expected one for each of the %zu sizes, found %zu",
                                 out->count, count);
    }
    return TANDEM_OK;
}

int tandem_matryoshka_parse(tandem_matryoshka *out, const tandem_loss_settings *settings, int64_t dim)
{
    double dims[TANDEM_MATRYOSHKA_MOST];

    *out = (tandem_matryoshka){0};
    if (settings->matryoshka.dims == NULL) {
        return settings->matryoshka.weights == NULL
                   ? TANDEM_OK
                   : tandem_error_code(TANDEM_USAGE, "loss.matryoshka.weights is set, but not loss.matryoshka.dims");
    }
    TANDEM_TRY(parse_numbers(dims, &out->count, settings->matryoshka.dims, "loss.matryoshka.dims"));
    for (size_t i = 0; i < out->count; i++) {
        if (!(dims[i] >= 1.0 && dims[i] <= (double)dim && dims[i] == floor(dims[i]))) {
            return tandem_error_code(TANDEM_USAGE,
                                     "loss.matryoshka.dims: expected sizes from 1 to the model's %lld, found %g",
                                     (long long)dim, dims[i]);
        }
        out->dims[i] = (int64_t)dims[i];
    }
    return parse_weights(out, settings->matryoshka.weights);
}

/* ---- parts ---------------------------------------------------------------------------------------- */
/* Rows first .. last of the loss, times `weight`: its value, and its gradients into the leaves. */
static int run_part(double *value, const tandem_bi_loss *loss, const tandem_tensor *queries,
                    const tandem_tensor *documents,
                    const tandem_bi_candidates *c, double weight)
{
    tandem_tensor *scalar = NULL;
    double part = 0.0;

    TANDEM_TRY(loss->compute(&scalar, queries, documents, c));
    TANDEM_TRY(tandem_op_scale(&scalar, scalar, weight));
    TANDEM_TRY(tandem_tensor_item(scalar, &part));
    *value += part;
    return tandem_backward(scalar);
}

static int run_parts(double *value, const tandem_tensor *queries, const tandem_tensor *documents,
                     const tandem_bi_candidates *candidates, double weight)
{
    const tandem_bi_loss *loss = tandem_bi_loss_at((size_t)candidates->settings->name);
    tandem_bi_candidates c = *candidates;
    size_t rows = PART_CELLS / c.m;

    rows = (loss->needs & TANDEM_GOES_BY_ROWS) == 0 ? c.n : rows < 1 ? 1 : rows;
    for (c.first = 0; c.first < c.n; c.first = c.last) {
        c.last = c.n - c.first < rows ? c.n : c.first + rows;
        tandem_arena_reset(c.scratch);
        TANDEM_TRY(tandem_scope_begin());
        int rc = run_part(value, loss, queries, documents, &c, weight);
        tandem_scope_end();
        TANDEM_TRY(rc);
    }
    return TANDEM_OK;
}

static int cut(tandem_tensor **shorter, tandem_tensor **leaf, const tandem_tensor *vectors, int64_t dim)
{
    TANDEM_TRY(tandem_op_narrow(shorter, vectors, 1, 0, dim));
    TANDEM_TRY(tandem_op_normalize(shorter, *shorter));
    return tandem_op_leaf(leaf, *shorter);
}

/* The loss of vectors cut to `dim` and normalized. */
static int run_shorter(double *value, const tandem_tensor *queries, const tandem_tensor *documents,
                       const tandem_bi_candidates *c, int64_t dim, double weight)
{
    tandem_tensor *q = NULL, *d = NULL, *q_leaf = NULL, *d_leaf = NULL, *gradient = NULL;

    TANDEM_TRY(cut(&q, &q_leaf, queries, dim));
    TANDEM_TRY(cut(&d, &d_leaf, documents, dim));
    TANDEM_TRY(run_parts(value, q_leaf, d_leaf, c, weight));
    TANDEM_TRY(tandem_tensor_grad(&gradient, q_leaf));
    TANDEM_TRY(tandem_backward_with(q, gradient));
    TANDEM_TRY(tandem_tensor_grad(&gradient, d_leaf));
    return tandem_backward_with(d, gradient);
}

static int run_leaves(double *value, const tandem_tensor *queries, const tandem_tensor *documents,
                      const tandem_bi_candidates *c)
{
    tandem_matryoshka matryoshka;

    TANDEM_TRY(tandem_matryoshka_parse(&matryoshka, c->settings, tandem_tensor_size(queries, 1)));
    if (matryoshka.count == 0) {
        return run_parts(value, queries, documents, c, 1.0);
    }
    for (size_t i = 0; i < matryoshka.count; i++) {
        TANDEM_TRY(run_shorter(value, queries, documents, c, matryoshka.dims[i], matryoshka.weights[i]));
    }
    return TANDEM_OK;
}

int tandem_bi_loss_run(double *value, tandem_tensor **query_gradients, tandem_tensor **document_gradients,
                       const tandem_tensor *queries, const tandem_tensor *documents,
                       const tandem_bi_candidates *candidates)
{
    tandem_tensor *q = NULL, *d = NULL;
    int previous = tandem_grad_enable(1);
    int rc = tandem_op_leaf(&q, queries);

    *value = 0.0;
    rc = rc < 0 ? rc : tandem_op_leaf(&d, documents);
    rc = rc < 0 ? rc : run_leaves(value, q, d, candidates);
    tandem_grad_enable(previous);
    TANDEM_TRY(rc);
    TANDEM_TRY(tandem_tensor_grad(query_gradients, q));
    return tandem_tensor_grad(document_gradients, d);
}
