/* Encoders that compute by libtorch's operations, on the CPU and on a GPU where there is one: beside the kernels, on
 * tiny random models, one a family; the way of parameters, gradients and moments there and back; updates. */
#include "tiny_encoder.h"
#include "train/optimizer.h"

static const variant *const families[] = {&bert, &roberta, &distilbert, &mpnet, &electra, &modernbert};
enum { FAMILIES = sizeof families / sizeof *families };

static const tandem_pooling poolings[] = {TANDEM_POOL_CLS, TANDEM_POOL_MAX, TANDEM_POOL_MEAN, TANDEM_POOL_MEAN_SQRT_LEN,
                                          TANDEM_POOL_WEIGHTED_MEAN, TANDEM_POOL_LAST};

static tandem_device device; /* of the test that runs */

static void assert_close(const float *a, const float *b, size_t count, double tolerance)
{
    double norm = 0, difference = 0;

    for (size_t i = 0; i < count; i++) {
        norm = fmax(norm, fabs((double)a[i]));
        difference = fmax(difference, fabs((double)a[i] - (double)b[i]));
    }
    assert_true(norm > 0);
    if (!(difference <= tolerance * norm)) {
        fail_msg("%g apart, of %g", difference, norm);
    }
}

static void pooled_by(float *out, model *m, tandem_pooling pooling)
{
    tandem_tensor *pooled;

    ok(tandem_scope_begin());
    ok(tandem_encoder_forward_pooled(&pooled, m->encoder, &some_batch, pooling, no_dropout));
    ok(tandem_tensor_read(pooled, out));
    tandem_scope_end();
}

/* Both read the same parameters; sums of some dozen terms in another order. */
static void test_embeddings(void **state)
{
    (void)state;
    for (size_t f = 0; f < FAMILIES; f++) {
        model ours = model_make(*families[f]), theirs = model_make_on(*families[f], device);

        assert_int_equal(tandem_encoder_device(theirs.encoder), device);
        for (size_t p = 0; p < sizeof poolings / sizeof *poolings; p++) {
            float a[COUNT * HIDDEN], b[COUNT * HIDDEN];

            pooled_by(a, &ours, poolings[p]);
            pooled_by(b, &theirs, poolings[p]);
            assert_close(a, b, COUNT * HIDDEN, 2e-6);
        }
        tandem_encoder_free(ours.encoder);
        tandem_encoder_free(theirs.encoder);
    }
}

/* Without dropout, which draws other masks there. */
static void check_step(variant v, tandem_precision precision, tandem_pooling pooling, double tolerance)
{
    model ours = model_make(v), theirs = model_make_on(v, device);

    ok(tandem_encoder_set_precision(ours.encoder, precision));
    ok(tandem_encoder_set_precision(theirs.encoder, precision));
    assert_non_null(tandem_encoder_gradients(ours.encoder));
    assert_non_null(tandem_encoder_gradients(theirs.encoder));
    tandem_grad_enable(1);
    double a = run_loss(&ours, no_dropout, pooling, true);
    double b = run_loss(&theirs, no_dropout, pooling, true);
    tandem_grad_enable(0);
    assert_true(fabs(a - b) <= 10 * tolerance * fmax(1, fabs(a)));
    assert_close(gradients_in(&ours), gradients_in(&theirs), ours.floats, tolerance);
    tandem_encoder_free(ours.encoder);
    tandem_encoder_free(theirs.encoder);
}

/* In bf16 the operations round what a product gives, too. */
static void test_gradients(void **state)
{
    (void)state;
    for (size_t f = 0; f < FAMILIES; f++) {
        for (size_t p = 0; p < sizeof poolings / sizeof *poolings; p++) {
            check_step(*families[f], TANDEM_FP32, poolings[p], 1e-5);
            check_step(*families[f], TANDEM_BF16, poolings[p], 5e-2);
        }
    }
}

/* The same masks whether gradients are recorded or not, as GradCache needs them; others in another step. */
static void test_dropout(void **state)
{
    (void)state;
    model m = model_make_on(bert, device);
    float values[3][COUNT * HIDDEN];

    assert_non_null(tandem_encoder_gradients(m.encoder));

    for (int i = 0; i < 3; i++) {
        const tandem_dropout dropout = {.train = true, .seed = 1, .step = i < 2 ? 1 : 2};
        tandem_tensor *pooled;

        ok(tandem_scope_begin());
        tandem_grad_enable(i == 1);
        ok(tandem_encoder_forward_pooled(&pooled, m.encoder, &some_batch, TANDEM_POOL_MEAN, dropout));
        tandem_grad_enable(0);
        ok(tandem_tensor_read(pooled, values[i]));
        tandem_scope_end();
    }
    assert_memory_equal(values[0], values[1], sizeof values[0]);
    assert_memory_not_equal(values[0], values[2], sizeof values[0]);
    pooled_by(values[1], &m, TANDEM_POOL_MEAN);
    assert_memory_not_equal(values[0], values[1], sizeof values[0]);
    tandem_encoder_free(m.encoder);
}

/* ---- there and back -------------------------------------------------------------------- */
static void test_parameters_follow(void **state)
{
    (void)state;
    model m = model_make_on(bert, device);
    float *parameters = tandem_encoder_parameters(m.encoder), before[COUNT * HIDDEN], after[COUNT * HIDDEN];
    float kept = parameters[m.spec.word_embedding + 5 * HIDDEN];

    pooled_by(before, &m, TANDEM_POOL_MEAN);
    parameters[m.spec.word_embedding + 5 * HIDDEN] += 1;
    pooled_by(after, &m, TANDEM_POOL_MEAN);
    assert_memory_equal(before, after, sizeof before); /* nobody said that it changed */
    tandem_encoder_parameters_changed(m.encoder);
    ok(tandem_encoder_fetch_parameters(m.encoder)); /* must not undo it */
    assert_true(parameters[m.spec.word_embedding + 5 * HIDDEN] == kept + 1);
    pooled_by(after, &m, TANDEM_POOL_MEAN);
    assert_memory_not_equal(before, after, sizeof before);
    parameters[m.spec.word_embedding + 5 * HIDDEN] = 7;
    ok(tandem_encoder_fetch_parameters(m.encoder));
    assert_true(parameters[m.spec.word_embedding + 5 * HIDDEN] == kept + 1);
    tandem_encoder_free(m.encoder);
}

/* The same updates by tandem_adamw_step, over arrays of their own: with another rate and without decay for a part, a
 * part that is not trained, moments that come from elsewhere, and gradients scaled. */
static void test_updates(void **state)
{
    (void)state;
    model m = model_make_on(bert, device);
    size_t n = m.floats, cut = 3 * n / 8, end = n / 2;
    const tandem_span spans[] = {{0, cut, true, 1.0}, {cut, end - cut, false, 0.5}, {end + 16, n - end - 16, false, 0.5}};
    float *expected = malloc(n * sizeof *expected), *gradients = malloc(n * sizeof *gradients);
    float *mean = malloc(n * sizeof *mean), *variance = malloc(n * sizeof *variance);
    tandem_adamw *adamw = NULL;
    tandem_update runs[3];

    assert_int_equal(tandem_adamw_new(&adamw, n, spans, 3, 0.1), 0);
    for (size_t i = 0; i < n; i++) {
        adamw->m[i] = 1e-3F * sinf((float)i);
        adamw->v[i] = 1e-6F;
    }
    memcpy(expected, tandem_encoder_parameters(m.encoder), n * sizeof *expected);
    assert_non_null(tandem_encoder_gradients(m.encoder));
    ok(tandem_encoder_send_moments(m.encoder, adamw->m, adamw->v));
    adamw->updates = 4;
    for (int i = 0; i < 3; i++) {
        runs[i] = (tandem_update){(tandem_place)spans[i].offset, (int64_t)spans[i].count, 1e-2 * spans[i].rate,
                                  spans[i].decay ? 0.1 : 0.0};
    }
    for (uint64_t number = 5; number < 8; number++) {
        double norm = 0, found = 0;

        ok(tandem_encoder_zero_gradients(m.encoder));
        tandem_grad_enable(1);
        ok(tandem_scope_begin());
        tandem_tensor *pooled, *sum;
        ok(tandem_encoder_forward_pooled(&pooled, m.encoder, &some_batch, TANDEM_POOL_MEAN, no_dropout));
        weighted_sum(&sum, pooled, COUNT * HIDDEN, (float)number);
        ok(tandem_backward(sum));
        tandem_scope_end();
        tandem_grad_enable(0);
        memcpy(gradients, gradients_in(&m), n * sizeof *gradients);
        assert_int_equal(tandem_norm(&norm, gradients, n), 0);
        ok(tandem_encoder_gradient_norm(&found, m.encoder));
        assert_true(norm > 0 && fabs(norm - found) <= 1e-6 * norm);
        tandem_adamw_step(adamw, expected, gradients, 1e-2, 0.25);
        ok(tandem_encoder_update(m.encoder, runs, 3, number, adamw->beta1, adamw->beta2, adamw->epsilon, 0.25));
        ok(tandem_encoder_fetch_parameters(m.encoder));
        assert_close(expected, tandem_encoder_parameters(m.encoder), n, 1e-6);
    }
    ok(tandem_encoder_fetch_moments(m.encoder, mean, variance));
    assert_close(adamw->m, mean, n, 1e-5);
    assert_close(adamw->v, variance, n, 1e-5);
    tandem_adamw_free(adamw);
    free(expected);
    free(gradients);
    free(mean);
    free(variance);
    tandem_encoder_free(m.encoder);
}

static void test_refused(void **state)
{
    (void)state;
    model m = model_make_on(bert, TANDEM_DEVICE_LIBTORCH), other;

    refused(tandem_encoder_set_precision(m.encoder, TANDEM_INT8), "int8 is computed by the CPU's kernels");
    refused(tandem_encoder_set_precision(m.encoder, TANDEM_TF32), "tf32 is of GPUs");
    tandem_encoder_free(m.encoder);
    model_spec(&other, bert);
    if (tandem_torch_gpus() == 0) {
        refused(tandem_encoder_new(&other.encoder, &other.spec, other.floats, TANDEM_DEVICE_CUDA), "CUDA");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embeddings), cmocka_unit_test(test_gradients), cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_parameters_follow), cmocka_unit_test(test_updates), cmocka_unit_test(test_refused),
    };

    device = TANDEM_DEVICE_LIBTORCH;
    int failed = cmocka_run_group_tests(tests, load_libtorch, NULL);

    if (tandem_torch_gpus() > 0) {
        device = TANDEM_DEVICE_CUDA;
        failed += cmocka_run_group_tests_name("with CUDA", tests, NULL, NULL);
    }
    return failed;
}
