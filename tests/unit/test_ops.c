/* The tensor operations that losses use at the borders where a formula alone would not do: distance 0, no rounding,
 * NaN. Values are exact or powers of two. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/torch/shim.h"

static int begin(void **state)
{
    (void)state;
    tandem_grad_enable(1);
    return tandem_scope_begin();
}

static int end(void **state)
{
    (void)state;
    tandem_scope_end();
    tandem_grad_enable(0);
    return 0;
}

static tandem_tensor *leaf_of(const float *data, int64_t rows, int64_t columns)
{
    tandem_tensor *tensor = NULL, *leaf = NULL;
    int64_t shape[2] = {rows, columns};

    assert_int_equal(tandem_tensor_from(&tensor, data, shape, 2), 0);
    assert_int_equal(tandem_op_leaf(&leaf, tensor), 0);
    return leaf;
}

/* Goes back from the sum of `out` and reads both. */
static void read(float *values, float *gradients, const tandem_tensor *out, const tandem_tensor *leaf)
{
    tandem_tensor *sum = NULL, *gradient = NULL;

    assert_int_equal(tandem_tensor_read(out, values), 0);
    assert_int_equal(tandem_op_sum(&sum, out), 0);
    assert_int_equal(tandem_backward(sum), 0);
    assert_int_equal(tandem_tensor_grad(&gradient, leaf), 0);
    assert_int_equal(tandem_tensor_read(gradient, gradients), 0);
}

static void test_norm(void **state)
{
    (void)state;
    const float data[4] = {3, -4, 0, 0};
    tandem_tensor *leaf = leaf_of(data, 2, 2), *out = NULL;
    float values[2], gradients[4];

    assert_int_equal(tandem_op_norm(&out, leaf), 0);
    read(values, gradients, out, leaf);
    assert_true(values[0] == 5.0F && values[1] == 0.0F);
    assert_true(fabsf(gradients[0] - 0.6F) < 1e-7F && fabsf(gradients[1] + 0.8F) < 1e-7F);
    assert_true(gradients[2] == 0.0F && gradients[3] == 0.0F);
}

/* Rows 2^-10 apart and 4096 from the origin: |a|^2 - 2ab + |b|^2 would be all rounding. */
static void test_distances(void **state)
{
    (void)state;
    const float data[6] = {4096, 0, 4096.0F + 0x1p-10F, 0, 4096, 3};
    tandem_tensor *leaf = leaf_of(data, 3, 2), *out = NULL;
    float values[9], gradients[6];

    assert_int_equal(tandem_op_distances(&out, leaf, leaf), 0);
    read(values, gradients, out, leaf);
    assert_true(values[0] == 0.0F && values[4] == 0.0F && values[8] == 0.0F);
    assert_true(values[1] == 0x1p-10F && values[3] == 0x1p-10F && values[2] == 3.0F);
    for (size_t i = 0; i < 6; i++) {
        assert_true(isfinite(gradients[i])); /* of the distances 0 nothing comes */
    }
    /* Of 3 to 1, and of 1 to 3, one each: 2 along the second axis; of 3 to 2 nearly so. */
    assert_true(fabsf(gradients[5] - 4.0F) < 1e-6F);
}

static void test_logcumsumexp(void **state)
{
    (void)state;
    const float data[3] = {1000, 1000, -1000};
    tandem_tensor *leaf = leaf_of(data, 1, 3), *out = NULL;
    float values[3], gradients[3];

    assert_int_equal(tandem_op_logcumsumexp(&out, leaf, 1), 0);
    read(values, gradients, out, leaf);
    assert_true(values[0] == 1000.0F);
    assert_true(fabsf(values[1] - 1000.0F - logf(2.0F)) < 1e-4F && values[2] == values[1]); /* 2^-14 is a unit at 1000 */
    assert_true(fabsf(gradients[0] - 2.0F) < 1e-4F && fabsf(gradients[1] - 1.0F) < 1e-4F && gradients[2] == 0.0F);
}

static void test_greater(void **state)
{
    (void)state;
    const float left[4] = {1, 2, 3, NAN}, right[1] = {2};
    tandem_tensor *a = leaf_of(left, 1, 4), *b = leaf_of(right, 1, 1), *mask = NULL, *out = NULL;
    float values[4];

    assert_int_equal(tandem_op_greater(&mask, a, b), 0);
    assert_int_equal(tandem_op_masked_fill(&out, a, mask, -1.0), 0);
    assert_int_equal(tandem_tensor_read(out, values), 0);
    assert_true(values[0] == 1.0F && values[1] == 2.0F && values[2] == -1.0F && isnan(values[3]));
}

static void test_wrong_shapes_are_errors(void **state)
{
    (void)state;
    const float data[6] = {1, 2, 3, 4, 5, 6};
    tandem_tensor *out = NULL;

    assert_true(tandem_op_distances(&out, leaf_of(data, 2, 3), leaf_of(data, 3, 2)) < 0);
    assert_true(tandem_op_greater(&out, leaf_of(data, 2, 3), leaf_of(data, 3, 2)) < 0);
    assert_true(tandem_op_logcumsumexp(&out, leaf_of(data, 2, 3), 2) < 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

static int load_libtorch(void **state)
{
    (void)state;
    return tandem_torch_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_norm), TEST(test_distances), TEST(test_logcumsumexp), TEST(test_greater), TEST(test_wrong_shapes_are_errors),
    };

    return cmocka_run_group_tests(tests, load_libtorch, NULL);
}
