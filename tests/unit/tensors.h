/* tensors.h - what the tests of the shim share: checks of results and of tensors. */
#ifndef TANDEM_TESTS_TENSORS_H
#define TANDEM_TESTS_TENSORS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "model/torch/shim.h"

static inline void ok(int rc)
{
    if (rc < 0) {
        fail_msg("%s", tandem_error_message());
    }
}

static inline void refused(int rc, const char *message_part)
{
    assert_int_equal(rc, TANDEM_ERROR);
    if (strstr(tandem_error_message(), message_part) == NULL) {
        fail_msg("the message \"%s\" lacks \"%s\"", tandem_error_message(), message_part);
    }
}

static inline tandem_tensor *matrix(const float *data, int64_t rows, int64_t columns)
{
    tandem_tensor *out;
    const int64_t shape[] = {rows, columns};
    ok(tandem_tensor_from(&out, data, shape, 2));
    return out;
}

static inline void expect(const tandem_tensor *tensor, const float *values, size_t count)
{
    float found[64];
    size_t size = 1;
    for (int d = 0; d < tandem_tensor_dims(tensor); d++) {
        size *= (size_t)tandem_tensor_size(tensor, d);
    }
    assert_int_equal(size, count);
    ok(tandem_tensor_read(tensor, found));
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(found[i] - values[i]) <= 1e-6f * fmaxf(1, fabsf(values[i])))) { /* a few roundings */
            fail_msg("element %zu is %.9g, expected %.9g", i, (double)found[i], (double)values[i]);
        }
    }
}

/* The setup of a group of tests: all functions of the shim may be called. */
static inline int load_libtorch(void **state)
{
    (void)state;
    return tandem_torch_init();
}

static inline int scope_setup(void **state)
{
    (void)state;
    return tandem_scope_begin();
}

static inline int scope_teardown(void **state)
{
    (void)state;
    tandem_grad_enable(0);
    tandem_scope_end();
    return 0;
}

#define IN_SCOPE(test) cmocka_unit_test_setup_teardown(test, scope_setup, scope_teardown)

#endif
