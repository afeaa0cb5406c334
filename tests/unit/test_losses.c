/* Losses against golden values, and their gradients against central differences of the
 * same formulas written here in doubles. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/loss.h"
#include "train/losses.h"

/* Values: float32 arithmetic over a handful of terms. Gradients: the same, and the
 * differences below are good to 1e-8. */
static const double tolerance = 2e-6;

static void assert_close(double found, double expected)
{
    if (!(fabs(found - expected) <= tolerance * fmax(1.0, fabs(expected)))) {
        print_error("expected %.10f, found %.10f\n", expected, found);
        fail();
    }
}

static int begin(void **state)
{
    (void)state;
    return tandem_scope_begin();
}

static int end(void **state)
{
    (void)state;
    tandem_scope_end();
    return 0;
}

static tandem_tensor *matrix(const float *data, int64_t rows, int64_t columns)
{
    tandem_tensor *tensor = NULL;
    int64_t shape[2] = {rows, columns};

    assert_int_equal(tandem_tensor_from(&tensor, data, shape, 2), 0);
    return tensor;
}

static double value_of(const tandem_tensor *tensor)
{
    double value = NAN;

    assert_int_equal(tandem_tensor_item(tensor, &value), 0);
    return value;
}

/* ---- mnrl --------------------------------------------------------------------------- */
static const float queries[9] = {1, 0, 0, 0, 1, 0, 1, 1, 1};
static const float documents[18] = {2, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0, 2, 0, 1, 1}; /* positives, negatives */

static double mnrl(size_t m, const bool *masked, double scale)
{
    tandem_tensor *loss = NULL;

    assert_int_equal(tandem_loss_mnrl(&loss, matrix(queries, 3, 3), matrix(documents, (int64_t)m, 3), masked, scale), 0);
    return value_of(loss);
}

/* Values of the formula in double arithmetic for sentence-transformers'
 * MultipleNegativesRankingLoss (query_to_doc). */
static void test_mnrl_golden(void **state)
{
    (void)state;
    assert_close(mnrl(3, NULL, 20.0), 0.3059308709);
    assert_close(mnrl(6, NULL, 20.0), 0.9096002428);
    assert_close(mnrl(6, NULL, 1.0), 1.5841362136);
}

/* The formula in doubles; `q` and `d` of 3 columns. */
static double mnrl_reference(const double *q, size_t n, const double *d, size_t m, const bool *masked, double scale)
{
    double total = 0.0;

    for (size_t i = 0; i < n; i++) {
        double sum = 0.0, own = 0.0;

        for (size_t j = 0; j < m; j++) {
            double dot = 0.0, qq = 0.0, dd = 0.0;

            for (size_t c = 0; c < 3; c++) {
                dot += q[3 * i + c] * d[3 * j + c];
                qq += q[3 * i + c] * q[3 * i + c];
                dd += d[3 * j + c] * d[3 * j + c];
            }
            double score = scale * dot / sqrt(qq * dd);

            own = i == j ? score : own;
            sum += masked != NULL && masked[i * m + j] ? 0.0 : exp(score);
        }
        total += log(sum) - own;
    }
    return total / (double)n;
}

static const bool some_masked[18] = {0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0};

static void widen(double *out, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (double)values[i];
    }
}

static void test_mnrl_mask(void **state)
{
    (void)state;
    double q[9], d[18];

    widen(q, queries, 9);
    widen(d, documents, 18);
    double expected = mnrl_reference(q, 3, d, 6, some_masked, 5.0);
    assert_close(mnrl(6, some_masked, 5.0), expected);
    assert_true(expected < mnrl_reference(q, 3, d, 6, NULL, 5.0) - 0.01);
}

static void test_mnrl_row_without_negatives_costs_nothing(void **state)
{
    (void)state;
    const bool all[9] = {0, 1, 1, 1, 0, 1, 1, 1, 0};

    assert_close(mnrl(3, all, 20.0), 0.0);
}

static void test_mnrl_refuses(void **state)
{
    (void)state;
    const bool own[9] = {0, 0, 0, 0, 1, 0, 0, 0, 0};
    tandem_tensor *loss = NULL;

    assert_true(tandem_loss_mnrl(&loss, matrix(queries, 3, 3), matrix(documents, 2, 3), NULL, 20.0) < 0);
    assert_true(tandem_loss_mnrl(&loss, matrix(queries, 3, 3), matrix(documents, 3, 3), own, 20.0) < 0);
    assert_non_null(strstr(tandem_error_message(), "row 1"));
}

static void test_mnrl_gradient(void **state)
{
    (void)state;
    tandem_tensor *q = NULL, *d = NULL, *loss = NULL, *gradient = NULL;
    float found[18];
    double qs[9], ds[18];

    widen(qs, queries, 9);
    widen(ds, documents, 18);
    int previous = tandem_grad_enable(1);
    assert_int_equal(tandem_op_leaf(&q, matrix(queries, 3, 3)), 0);
    assert_int_equal(tandem_op_leaf(&d, matrix(documents, 6, 3)), 0);
    assert_int_equal(tandem_loss_mnrl(&loss, q, d, some_masked, 5.0), 0);
    assert_int_equal(tandem_backward(loss), 0);
    tandem_grad_enable(previous);
    for (int side = 0; side < 2; side++) {
        double *values = side == 0 ? qs : ds;
        size_t count = side == 0 ? 9 : 18;

        assert_int_equal(tandem_tensor_grad(&gradient, side == 0 ? q : d), 0);
        assert_int_equal(tandem_tensor_read(gradient, found), 0);
        for (size_t i = 0; i < count; i++) {
            double kept = values[i], step = 1e-5;

            values[i] = kept + step;
            double above = mnrl_reference(qs, 3, ds, 6, some_masked, 5.0);
            values[i] = kept - step;
            double below = mnrl_reference(qs, 3, ds, 6, some_masked, 5.0);
            values[i] = kept;
            assert_close((double)found[i], (above - below) / (2.0 * step));
        }
    }
}

/* ---- cross-encoder --------------------------------------------------------------------- */
enum { ROWS = 9 };

static const float logits[ROWS] = {1.0F, -0.5F, 2.0F, 0.3F, -40.0F, 3.0F, 0.0F, 25.0F, -1.5F};
static const float offsets[ROWS] = {0.5F, 0.25F, -1.0F, 0.0F, 2.0F, -0.5F, 1.0F, -3.0F, 0.75F};
static const float labels[ROWS] = {1, 0, 0, 0, 1, 0, 1, 0, 0};
static const size_t starts[4] = {0, 4, 6, ROWS};

static double softplus(double x)
{
    return x > 0.0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double bce_reference(const double *x, double pos_weight)
{
    double total = 0.0;

    for (size_t i = 0; i < ROWS; i++) {
        total += labels[i] > 0.5F ? pos_weight * softplus(-x[i]) : softplus(x[i]);
    }
    return total / ROWS;
}

static double pairwise_reference(const double *x, double unused)
{
    double total = 0.0;

    (void)unused;
    for (size_t g = 0; g < 3; g++) {
        for (size_t i = starts[g] + 1; i < starts[g + 1]; i++) {
            total += softplus(x[i] - x[starts[g]]);
        }
    }
    return total / (ROWS - 3);
}

static double softmax_reference(const double *x, double unused)
{
    double total = 0.0;

    (void)unused;
    for (size_t g = 0; g < 3; g++) {
        double sum = 0.0;

        for (size_t i = starts[g]; i < starts[g + 1]; i++) {
            sum += exp(x[i] - x[starts[g]]);
        }
        total += log(sum);
    }
    return total / 3.0;
}

static double (*const references[])(const double *, double) = {bce_reference, pairwise_reference, softmax_reference};

/* Every row of the table: value and gradient, with offsets. */
static void test_cross_losses(void **state)
{
    (void)state;
    tandem_candidates candidates = {3, starts, labels, offsets, 4.0};

    for (size_t k = 0; tandem_cross_loss_names[k] != NULL; k++) {
        const tandem_cross_loss *row = tandem_cross_loss_at(k);
        tandem_tensor *leaf = NULL, *loss = NULL, *gradient = NULL;
        double x[ROWS];
        float found[ROWS];
        int previous = tandem_grad_enable(1);

        assert_string_equal(row->name, tandem_cross_loss_names[k]);
        assert_int_equal(tandem_op_leaf(&leaf, matrix(logits, ROWS, 1)), 0);
        assert_int_equal(row->compute(&loss, leaf, &candidates), 0);
        assert_int_equal(tandem_backward(loss), 0);
        tandem_grad_enable(previous);
        assert_int_equal(tandem_tensor_grad(&gradient, leaf), 0);
        assert_int_equal(tandem_tensor_read(gradient, found), 0);
        for (size_t i = 0; i < ROWS; i++) {
            x[i] = (double)logits[i] + (double)offsets[i];
        }
        assert_close(value_of(loss), references[k](x, 4.0));
        for (size_t i = 0; i < ROWS; i++) {
            double kept = x[i], step = 1e-5;

            x[i] = kept + step;
            double above = references[k](x, 4.0);
            x[i] = kept - step;
            double below = references[k](x, 4.0);
            x[i] = kept;
            assert_close((double)found[i], (above - below) / (2.0 * step));
        }
    }
}

/* sentence-transformers' RankNetLoss of logits 1, -.5, 2, .3 with grades 2, 0, 1, 0 is
 * 0.6245532951; it is LambdaLoss with weights 1 and takes logarithms to base 2. The same
 * five pairs, as groups that begin with the better document: */
static void test_pairwise_golden(void **state)
{
    (void)state;
    const float x[7] = {1.0F, -0.5F, 2.0F, 0.3F, 2.0F, -0.5F, 0.3F};
    const size_t groups[3] = {0, 4, 7};
    tandem_tensor *loss = NULL;

    assert_int_equal(tandem_loss_pairwise(&loss, matrix(x, 7, 1), groups, 2, NULL), 0);
    assert_close(value_of(loss), 0.6245532951 * log(2.0));
}

/* The mean of the whole is the sum of part means times their share of the terms. */
static void test_terms_make_parts_add_up(void **state)
{
    (void)state;
    const size_t first[2] = {0, 4}, rest[3] = {0, 2, 5};
    tandem_candidates whole = {3, starts, labels, NULL, 2.0}, a = {1, first, labels, NULL, 2.0}, b = {2, rest, labels + 4, NULL, 2.0};

    for (size_t k = 0; tandem_cross_loss_names[k] != NULL; k++) {
        const tandem_cross_loss *row = tandem_cross_loss_at(k);
        tandem_tensor *all = NULL, *one = NULL, *two = NULL;
        double terms = (double)row->terms(&whole);

        assert_int_equal(row->compute(&all, matrix(logits, ROWS, 1), &whole), 0);
        assert_int_equal(row->compute(&one, matrix(logits, 4, 1), &a), 0);
        assert_int_equal(row->compute(&two, matrix(logits + 4, 5, 1), &b), 0);
        assert_int_equal(row->terms(&a) + row->terms(&b), row->terms(&whole));
        assert_close(value_of(one) * (double)row->terms(&a) / terms + value_of(two) * (double)row->terms(&b) / terms,
                     value_of(all));
    }
}

static void test_groups_without_negatives_are_refused(void **state)
{
    (void)state;
    const size_t lonely[3] = {0, 1, 3}, short_of[2] = {0, 2};
    tandem_tensor *loss = NULL;

    assert_true(tandem_loss_softmax(&loss, matrix(logits, 3, 1), lonely, 2, NULL) < 0);
    assert_true(tandem_loss_pairwise(&loss, matrix(logits, 3, 1), lonely, 2, NULL) < 0);
    assert_true(tandem_loss_softmax(&loss, matrix(logits, 3, 1), short_of, 1, NULL) < 0);
    assert_true(tandem_loss_bce(&loss, matrix(logits, 3, 2), labels, NULL, 1.0) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mnrl_golden, begin, end),
        cmocka_unit_test_setup_teardown(test_mnrl_mask, begin, end),
        cmocka_unit_test_setup_teardown(test_mnrl_row_without_negatives_costs_nothing, begin, end),
        cmocka_unit_test_setup_teardown(test_mnrl_refuses, begin, end),
        cmocka_unit_test_setup_teardown(test_mnrl_gradient, begin, end),
        cmocka_unit_test_setup_teardown(test_cross_losses, begin, end),
        cmocka_unit_test_setup_teardown(test_pairwise_golden, begin, end),
        cmocka_unit_test_setup_teardown(test_terms_make_parts_add_up, begin, end),
        cmocka_unit_test_setup_teardown(test_groups_without_negatives_are_refused, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
