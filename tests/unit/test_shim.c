/* The shim: handles and scopes, operations and their gradients. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/machine.h"
#include "tensors.h"

/* ---- runtime, handles, scopes ------------------------------------------------------------ */

static void test_runtime(void **state)
{
    (void)state;
    ok(tandem_torch_init());
    ok(tandem_torch_init());
    assert_true(tandem_torch_version()[0] >= '2');
}

/* Forgotten handles would keep 200 times 32 MiB; a sanitizer keeps 256 MiB of freed
 * memory for a while. */
static void test_scopes_free(void **state)
{
    (void)state;
    const int64_t shape[] = {4 << 20};
    float *data = calloc((size_t)shape[0], sizeof *data);
    tandem_tensor *kept = NULL;
    ok(tandem_scope_begin());
    ok(tandem_tensor_from(&kept, data, shape, 1));
    size_t before = tandem_machine_peak_rss();
    for (int i = 0; i < 200; i++) {
        tandem_tensor *a, *b;
        ok(tandem_scope_begin());
        ok(tandem_tensor_from(&a, data, shape, 1));
        ok(tandem_op_shift(&b, a, 1));
        tandem_scope_end();
    }
    assert_true(tandem_machine_peak_rss() - before < (size_t)1 << 30);
    tandem_scope_keep(kept);
    tandem_scope_end();
    assert_int_equal(tandem_tensor_size(kept, 0), shape[0]); /* outlived its scope */
    tandem_tensor_free(kept);
    tandem_tensor_free(NULL);
    tandem_scope_keep(NULL);
    free(data);
}

static void test_free_inside_scope(void **state)
{
    (void)state;
    const float one[] = {1};
    tandem_tensor_free(matrix(one, 1, 1)); /* freed early, and not again by the scope */
}

static void test_shapes(void **state)
{
    (void)state;
    const float data[] = {1, 2, 3, 4, 5, 6};
    tandem_tensor *a = matrix(data, 2, 3), *b;
    assert_int_equal(tandem_tensor_dims(a), 2);
    assert_int_equal(tandem_tensor_size(a, 0), 2);
    assert_int_equal(tandem_tensor_size(a, 1), 3);
    assert_int_equal(tandem_tensor_size(a, 2), 0);
    assert_int_equal(tandem_tensor_dims(NULL), 0);
    double value;
    refused(tandem_tensor_item(a, &value), "tandem_tensor_item");
    const int64_t shape[] = {1, 1, 1, 1, 1}, negative[] = {-1};
    refused(tandem_tensor_from(&b, data, shape, 5), "0 to 4 dimensions, not 5");
    refused(tandem_tensor_from(&b, data, negative, 1), "-1");
    refused(tandem_op_add(&b, a, NULL), "NULL");
    refused(tandem_op_matmul(&b, a, a, false), "tandem_op_matmul");
    refused(tandem_op_narrow(&b, a, 1, 2, 2), "tandem_op_narrow");
    const int64_t outside[] = {2};
    refused(tandem_op_index_select(&b, a, 0, outside, 1), "tandem_op_index_select");
    refused(tandem_backward(a), "tandem_backward"); /* nothing was recorded */
}

/* ---- operations -------------------------------------------------------------------------- */

static void test_operations(void **state)
{
    (void)state;
    const float x[] = {1, 2, -3, 4}, y[] = {2, 4, 8, -1};
    tandem_tensor *a = matrix(x, 2, 2), *b = matrix(y, 2, 2), *c;
    ok(tandem_op_matmul(&c, a, b, false));
    expect(c, (const float[]){18, 2, 26, -16}, 4);
    ok(tandem_op_matmul(&c, a, b, true));
    expect(c, (const float[]){10, 6, 10, -28}, 4);
    ok(tandem_op_add(&c, a, b));
    expect(c, (const float[]){3, 6, 5, 3}, 4);
    ok(tandem_op_sub(&c, a, b));
    expect(c, (const float[]){-1, -2, -11, 5}, 4);
    ok(tandem_op_mul(&c, a, b));
    expect(c, (const float[]){2, 8, -24, -4}, 4);
    ok(tandem_op_div(&c, a, b));
    expect(c, (const float[]){0.5f, 0.5f, -0.375f, -4}, 4);
    ok(tandem_op_scale(&c, a, -2));
    expect(c, (const float[]){-2, -4, 6, -8}, 4);
    ok(tandem_op_shift(&c, a, 0.5));
    expect(c, (const float[]){1.5f, 2.5f, -2.5f, 4.5f}, 4);
    ok(tandem_op_exp(&c, a));
    expect(c, (const float[]){expf(1), expf(2), expf(-3), expf(4)}, 4);
    ok(tandem_op_log(&c, c));
    expect(c, x, 4);
    ok(tandem_op_sigmoid(&c, a));
    expect(c, (const float[]){0.7310586f, 0.8807971f, 0.04742587f, 0.9820138f}, 4);
    ok(tandem_op_softplus(&c, a));
    expect(c, (const float[]){1.3132617f, 2.126928f, 0.04858735f, 4.01815f}, 4);
    ok(tandem_op_relu(&c, a));
    expect(c, (const float[]){1, 2, 0, 4}, 4);
    ok(tandem_op_abs(&c, a));
    expect(c, (const float[]){1, 2, 3, 4}, 4);
    ok(tandem_op_softmax(&c, a, 1));
    expect(c, (const float[]){0.26894143f, 0.7310586f, 9.110512e-4f, 0.99908894f}, 4);
    ok(tandem_op_log_softmax(&c, a, 1));
    expect(c, (const float[]){-1.3132617f, -0.3132617f, -7.0009117f, -9.1146e-4f}, 4);
    ok(tandem_op_logsumexp(&c, a, 1));
    expect(c, (const float[]){2.3132617f, 4.0009117f}, 2);
    ok(tandem_op_sum(&c, a));
    expect(c, (const float[]){4}, 1);
    ok(tandem_op_mean(&c, a));
    double mean;
    ok(tandem_tensor_item(c, &mean));
    assert_true(mean == 1);
    ok(tandem_op_sum_dim(&c, a, 0));
    expect(c, (const float[]){-2, 6}, 2);
    ok(tandem_op_normalize(&c, a));
    expect(c, (const float[]){0.4472136f, 0.8944272f, -0.6f, 0.8f}, 4);
    const tandem_tensor *parts[] = {a, b};
    ok(tandem_op_cat(&c, parts, 2, 1));
    expect(c, (const float[]){1, 2, 2, 4, -3, 4, 8, -1}, 8);
    ok(tandem_op_narrow(&c, c, 1, 1, 2));
    expect(c, (const float[]){2, 2, 4, 8}, 4);
    const int64_t index[] = {1, 0, 1};
    ok(tandem_op_index_select(&c, a, 0, index, 3));
    expect(c, (const float[]){-3, 4, 1, 2, -3, 4}, 6);
    const int64_t flat[] = {4};
    ok(tandem_op_reshape(&c, a, flat, 1));
    assert_int_equal(tandem_tensor_dims(c), 1);
    expect(c, x, 4);
    ok(tandem_op_transpose(&c, a, 0, 1));
    expect(c, (const float[]){1, -3, 2, 4}, 4);
    const bool masked[] = {true, false, false, true};
    const int64_t square[] = {2, 2}, two[] = {2}, labels[] = {1, 0};
    tandem_tensor *mask, *label;
    ok(tandem_tensor_from_bool(&mask, masked, square, 2));
    ok(tandem_op_masked_fill(&c, a, mask, -7));
    expect(c, (const float[]){-7, 2, -3, -7}, 4);
    ok(tandem_tensor_from_int64(&label, labels, two, 1));
    ok(tandem_op_cross_entropy(&c, a, label));
    expect(c, (const float[]){0.5f * (0.3132617f + 7.0009117f)}, 1);
}

/* Rows of zeros, as an empty text may give, normalize to zeros without a NaN gradient. */
static void test_normalize_zero(void **state)
{
    (void)state;
    const float zeros[2] = {0, 0};
    tandem_tensor *leaf, *c, *gradient;
    tandem_grad_enable(1);
    ok(tandem_op_leaf(&leaf, matrix(zeros, 1, 2)));
    ok(tandem_op_normalize(&c, leaf));
    expect(c, zeros, 2);
    ok(tandem_op_sum(&c, c));
    ok(tandem_backward(c));
    float found[2];
    ok(tandem_tensor_grad(&gradient, leaf));
    ok(tandem_tensor_read(gradient, found));
    assert_true(isfinite(found[0]) && isfinite(found[1]));
}

/* d sum(a * a) = 2 a, twice over by backward_with; nothing recorded without asking. */
static void test_gradients(void **state)
{
    (void)state;
    const float x[] = {1, -2, 3, 4};
    tandem_tensor *leaf, *square, *loss, *gradient, *constant;
    assert_int_equal(tandem_grad_enable(1), 0);
    assert_int_equal(tandem_grad_enable(1), 1);
    ok(tandem_op_leaf(&leaf, matrix(x, 2, 2)));
    ok(tandem_tensor_grad(&gradient, leaf));
    expect(gradient, (const float[]){0, 0, 0, 0}, 4);
    ok(tandem_op_mul(&square, leaf, leaf));
    ok(tandem_op_sum(&loss, square));
    ok(tandem_backward(loss));
    ok(tandem_tensor_grad(&gradient, leaf));
    expect(gradient, (const float[]){2, -4, 6, 8}, 4);
    ok(tandem_op_mul(&square, leaf, leaf));
    ok(tandem_backward_with(square, matrix((const float[]){1, 0, 0, 0.5f}, 2, 2)));
    ok(tandem_tensor_grad(&gradient, leaf));
    expect(gradient, (const float[]){4, -4, 6, 12}, 4);
    ok(tandem_op_detach(&constant, leaf));
    ok(tandem_op_sum(&loss, constant));
    refused(tandem_backward(loss), "tandem_backward");
    assert_int_equal(tandem_grad_enable(0), 1);
    ok(tandem_op_sum(&loss, leaf));
    refused(tandem_backward(loss), "tandem_backward");
}

static void test_sgemm(void **state)
{
    (void)state;
    const float a[] = {1, 2, 9, 3, 4, 9}, b[] = {1, 0, 9, 9, 2, 1, 9, 9, 0, 1, 9, 9};
    float c[] = {7, 7, 7, 7, 7, 7, 7, 7};
    ok(tandem_sgemm_nt(2, 3, 2, a, 3, b, 4, c, 4));
    const float expected[] = {1, 4, 2, 7, 3, 10, 4, 7}; /* the fourth column is not touched */
    assert_memory_equal(c, expected, sizeof c);
    refused(tandem_sgemm_nt(2, 3, 2, a, 1, b, 4, c, 4), "leading dimension");
    ok(tandem_sgemm_nt(0, 3, 2, a, 3, b, 4, c, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runtime),
        cmocka_unit_test(test_scopes_free),
        IN_SCOPE(test_free_inside_scope),
        IN_SCOPE(test_shapes),
        IN_SCOPE(test_operations),
        IN_SCOPE(test_normalize_zero),
        IN_SCOPE(test_gradients),
        IN_SCOPE(test_sgemm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
