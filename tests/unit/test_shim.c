/* The shim: handles and scopes, operations and their gradients, and the encoder's
 * forward, gradients, pooling, dropout and errors on a tiny random model. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/torch/shim.h"
#include "tandem/machine.h"
#include "tandem/random.h"

static void ok(int rc)
{
    if (rc < 0) {
        fail_msg("%s", tandem_error_message());
    }
}

static void refused(int rc, const char *message_part)
{
    assert_int_equal(rc, TANDEM_ERROR);
    if (strstr(tandem_error_message(), message_part) == NULL) {
        fail_msg("the message \"%s\" lacks \"%s\"", tandem_error_message(), message_part);
    }
}

static tandem_tensor *matrix(const float *data, int64_t rows, int64_t columns)
{
    tandem_tensor *out;
    const int64_t shape[] = {rows, columns};
    ok(tandem_tensor_from(&out, data, shape, 2));
    return out;
}

static void expect(const tandem_tensor *tensor, const float *values, size_t count)
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

static int scope_setup(void **state)
{
    (void)state;
    return tandem_scope_begin();
}

static int scope_teardown(void **state)
{
    (void)state;
    tandem_grad_enable(0);
    tandem_scope_end();
    return 0;
}

/* ---- runtime, handles, scopes ------------------------------------------------------------ */

static void test_runtime(void **state)
{
    (void)state;
    ok(tandem_torch_init());
    ok(tandem_torch_init());
    assert_true(tandem_torch_version()[0] >= '2');
    assert_non_null(strstr(tandem_torch_build_info(), "threads: "));
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

/* ---- a tiny encoder ------------------------------------------------------------------------ */

enum { LAYERS = 2, HIDDEN = 24, HEADS = 3, INNER = 40, VOCAB = 30, POSITIONS = 14, TYPES = 2, LABELS = 2 };

typedef struct {
    tandem_encoder *encoder;
    tandem_encoder_spec spec;
    tandem_layer_spec layers[LAYERS];
    size_t floats;
} model;

static tandem_place put(model *m, size_t floats)
{
    tandem_place place = (tandem_place)m->floats;
    m->floats += (floats + 15) / 16 * 16;
    return place;
}

static void model_spec(model *m)
{
    m->floats = 0;
    tandem_encoder_spec *s = &m->spec;
    *s = (tandem_encoder_spec){.layers = LAYERS, .hidden = HIDDEN, .heads = HEADS, .intermediate = INNER, .vocab = VOCAB, .positions = POSITIONS, .types = TYPES, .position_offset = 2,
                               .norm_eps = 1e-5, .embedding_dropout = 0.2, .attention_out_dropout = 0.2, .down_dropout = 0.2,
                               .embedding_size = HIDDEN, .position_pad_id = -1, .head_activation = TANDEM_ACTIVATION_TANH,
                               .projection_weight = -1, .projection_bias = -1, .relative_bias = -1, .final_norm_weight = -1,
                               .final_norm_bias = -1, .head_norm_weight = -1, .head_norm_bias = -1, .attention_dropout = 0.3, .classifier_dropout = 0.25, .activation = TANDEM_ACTIVATION_GELU, .layer = m->layers,
                               .labels = LABELS};
    s->word_embedding = put(m, VOCAB * HIDDEN);
    s->position_embedding = put(m, POSITIONS * HIDDEN);
    s->type_embedding = put(m, TYPES * HIDDEN);
    s->embedding_norm_weight = put(m, HIDDEN);
    s->embedding_norm_bias = put(m, HIDDEN);
    for (int i = 0; i < LAYERS; i++) {
        m->layers[i] = (tandem_layer_spec){
            put(m, 3 * HIDDEN * HIDDEN), put(m, 3 * HIDDEN), put(m, HIDDEN * HIDDEN), put(m, HIDDEN),         put(m, HIDDEN), put(m, HIDDEN),
            put(m, INNER * HIDDEN),      put(m, INNER),      put(m, HIDDEN * INNER),  put(m, HIDDEN), put(m, HIDDEN), put(m, HIDDEN),
        };
    }
    s->head_weight = put(m, HIDDEN * HIDDEN);
    s->head_bias = put(m, HIDDEN);
    s->classifier_weight = put(m, LABELS * HIDDEN);
    s->classifier_bias = put(m, LABELS);
}

static model model_make(tandem_activation activation)
{
    model m;
    model_spec(&m);
    m.spec.activation = activation;
    ok(tandem_encoder_new(&m.encoder, &m.spec, m.floats));
    float *parameters = tandem_encoder_parameters(m.encoder);
    assert_int_equal((uintptr_t)parameters % 64, 0);
    tandem_random random = tandem_random_stream(3, "model", 0);
    for (size_t i = 0; i < m.floats; i++) {
        assert_true(parameters[i] == 0);
        parameters[i] = (float)(0.6 * tandem_random_double(&random) - 0.3);
    }
    for (int i = 0; i < HIDDEN; i++) {
        parameters[m.spec.embedding_norm_weight + i] += 1;
        for (int l = 0; l < LAYERS; l++) {
            parameters[m.layers[l].attention_norm_weight + i] += 1;
            parameters[m.layers[l].output_norm_weight + i] += 1;
        }
    }
    m.spec.layer = NULL; /* was copied */
    return m;
}

static const int32_t some_ids[] = {1, 5, 7, 2, 1, 29, 1, 3, 3, 4, 8, 9, 2, 11, 12, 13, 14, 2};
static const int32_t some_types[] = {0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
static const int32_t some_offsets[] = {0, 4, 6, 7, 18};
enum { COUNT = 4, TOTAL = 18 };
static const tandem_batch some_batch = {COUNT, TOTAL, some_ids, some_types, some_offsets};
static const tandem_dropout no_dropout = {false, 0, 0};

/* Sum of (fixed weights * values) of a tensor: in double, and as a tensor. */
static double weighted_sum(tandem_tensor **sum, const tandem_tensor *values, size_t count, float phase)
{
    float weights[COUNT * HIDDEN], found[COUNT * HIDDEN];
    double total = 0;
    ok(tandem_tensor_read(values, found));
    for (size_t i = 0; i < count; i++) {
        weights[i] = sinf((float)i + phase);
        total += (double)weights[i] * (double)found[i];
    }
    tandem_tensor *product;
    ok(tandem_op_mul(&product, values, matrix(weights, tandem_tensor_size(values, 0), tandem_tensor_size(values, 1))));
    ok(tandem_op_sum(sum, product));
    return total;
}

/* A loss of the embeddings and the logits, so that every parameter takes part. */
static double run_loss(model *m, tandem_dropout dropout, tandem_pooling pooling, bool backward)
{
    tandem_tensor *hidden, *pooled, *logits, *loss, *part;
    ok(tandem_scope_begin());
    ok(tandem_encoder_forward(&hidden, m->encoder, &some_batch, dropout));
    ok(tandem_encoder_pool(&pooled, hidden, &some_batch, pooling));
    ok(tandem_encoder_classify(&logits, m->encoder, hidden, &some_batch, dropout));
    double value = weighted_sum(&loss, pooled, COUNT * HIDDEN, 0) + weighted_sum(&part, logits, COUNT * LABELS, 1);
    ok(tandem_op_add(&loss, loss, part));
    if (backward) {
        ok(tandem_backward(loss));
    }
    tandem_scope_end();
    return value;
}

/* Central differences along random directions within blocks of 48 parameters. */
static void check_gradients(tandem_activation activation, tandem_dropout dropout, tandem_pooling pooling)
{
    model m = model_make(activation);
    float *parameters = tandem_encoder_parameters(m.encoder), *gradients = tandem_encoder_gradients(m.encoder);
    assert_int_equal((uintptr_t)gradients % 64, 0);
    tandem_grad_enable(1);
    run_loss(&m, dropout, pooling, true);
    tandem_grad_enable(0);
    tandem_random random = tandem_random_stream(4, "directions", 0);
    double norm = 0;
    for (size_t i = 0; i < m.floats; i++) {
        norm = fmax(norm, fabs((double)gradients[i]));
    }
    assert_true(norm > 0.1);
    for (size_t first = 0; first < m.floats; first += 48) {
        enum { BLOCK = 48 };
        size_t count = m.floats - first < BLOCK ? m.floats - first : BLOCK;
        float keep[BLOCK], step[BLOCK];
        double loss[2], expected = 0;
        for (size_t i = 0; i < count; i++) {
            keep[i] = parameters[first + i];
            step[i] = tandem_random_below(&random, 2) ? 0x1p-10f : -0x1p-10f;
            /* The steps as float addition makes them. */
            expected += (double)gradients[first + i] * ((double)(keep[i] + step[i]) - (double)(keep[i] - step[i]));
        }
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < count; i++) {
                parameters[first + i] = side == 0 ? keep[i] + step[i] : keep[i] - step[i];
            }
            loss[side] = run_loss(&m, dropout, pooling, false);
        }
        memcpy(parameters + first, keep, count * sizeof *keep);
        /* The forward's rounding, 1e-7 of a hundred outputs of size 1, moves the loss
         * by some 1e-6; the third-order error is of the same size. Ten times that is
         * allowed, where the mean movement is 6e-3. */
        if (!(fabs(loss[0] - loss[1] - expected) < 2e-5 + 1e-3 * fabs(expected))) {
            fail_msg("activation %d, pooling %d, parameters from %zu: the loss moved by %.7f, the gradient says %.7f", activation, pooling, first, loss[0] - loss[1], expected);
        }
    }
    tandem_encoder_free(m.encoder);
}

static void test_encoder_gradients(void **state)
{
    (void)state;
    const tandem_dropout dropout = {true, 17, 4};
    check_gradients(TANDEM_ACTIVATION_GELU, no_dropout, TANDEM_POOL_MEAN);
    check_gradients(TANDEM_ACTIVATION_GELU, dropout, TANDEM_POOL_MEAN_SQRT_LEN);
    check_gradients(TANDEM_ACTIVATION_GELU_TANH, no_dropout, TANDEM_POOL_WEIGHTED_MEAN);
    check_gradients(TANDEM_ACTIVATION_SILU, dropout, TANDEM_POOL_CLS);
    check_gradients(TANDEM_ACTIVATION_GELU, no_dropout, TANDEM_POOL_LAST);
    check_gradients(TANDEM_ACTIVATION_GELU, dropout, TANDEM_POOL_MAX);
}

/* Backward adds into the arena; with zeros it starts again, bit for bit. */
static void test_gradients_accumulate(void **state)
{
    (void)state;
    model m = model_make(TANDEM_ACTIVATION_GELU);
    float *gradients = tandem_encoder_gradients(m.encoder), *once = malloc(m.floats * sizeof *once);
    tandem_grad_enable(1);
    const tandem_dropout dropout = {true, 1, 2};
    run_loss(&m, dropout, TANDEM_POOL_MEAN, true);
    memcpy(once, gradients, m.floats * sizeof *once);
    run_loss(&m, dropout, TANDEM_POOL_MEAN, true);
    for (size_t i = 0; i < m.floats; i++) {
        /* g + g is exact; only a parameter used by several rows sums in another order. */
        assert_true(fabsf(gradients[i] - 2 * once[i]) <= 1e-5f * fmaxf(1, fabsf(once[i])));
    }
    memset(gradients, 0, m.floats * sizeof *gradients);
    run_loss(&m, dropout, TANDEM_POOL_MEAN, true);
    assert_memory_equal(gradients, once, m.floats * sizeof *once);
    assert_ptr_equal(tandem_encoder_gradients(m.encoder), gradients);
    free(once);
    tandem_encoder_free(m.encoder);
}

/* A second backward through one forward is an error and not a wrong sum. */
static void test_backward_twice(void **state)
{
    (void)state;
    model m = model_make(TANDEM_ACTIVATION_GELU);
    assert_non_null(tandem_encoder_gradients(m.encoder));
    tandem_grad_enable(1);
    tandem_tensor *hidden, *loss;
    ok(tandem_encoder_forward(&hidden, m.encoder, &some_batch, no_dropout));
    ok(tandem_op_sum(&loss, hidden));
    ok(tandem_backward(loss));
    ok(tandem_op_sum(&loss, hidden));
    refused(tandem_backward(loss), "twice");
    tandem_encoder_free(m.encoder);
    double value; /* a graph may outlive its encoder */
    ok(tandem_tensor_item(loss, &value));
    assert_true(isfinite(value));
}

static void read_pooled(model *m, const tandem_batch *batch, tandem_dropout dropout, tandem_pooling pooling, float *out)
{
    tandem_tensor *hidden, *pooled;
    ok(tandem_scope_begin());
    ok(tandem_encoder_forward(&hidden, m->encoder, batch, dropout));
    ok(tandem_encoder_pool(&pooled, hidden, batch, pooling));
    assert_int_equal(tandem_tensor_size(pooled, 0), batch->count);
    assert_int_equal(tandem_tensor_size(pooled, 1), HIDDEN);
    ok(tandem_tensor_read(pooled, out));
    tandem_scope_end();
}

/* A text's embedding is its own, whatever the batch; type_ids NULL is all zeros. */
static void test_batch_composition(void **state)
{
    (void)state;
    model m = model_make(TANDEM_ACTIVATION_GELU);
    float all[COUNT * HIDDEN], one[HIDDEN];
    read_pooled(&m, &some_batch, no_dropout, TANDEM_POOL_MEAN, all);
    for (size_t s = 0; s < COUNT; s++) {
        int32_t first = some_offsets[s], offsets[] = {0, some_offsets[s + 1] - first};
        tandem_batch alone = {1, (size_t)offsets[1], some_ids + first, some_types + first, offsets};
        read_pooled(&m, &alone, no_dropout, TANDEM_POOL_MEAN, one);
        for (int i = 0; i < HIDDEN; i++) {
            assert_true(fabsf(one[i] - all[s * HIDDEN + (size_t)i]) < 2e-6f); /* matrix products may sum in another order */
        }
    }
    const int32_t zeros[TOTAL] = {0};
    tandem_batch typed = some_batch, untyped = some_batch;
    float other[COUNT * HIDDEN];
    typed.type_ids = zeros;
    untyped.type_ids = NULL;
    read_pooled(&m, &typed, no_dropout, TANDEM_POOL_MEAN, all);
    read_pooled(&m, &untyped, no_dropout, TANDEM_POOL_MEAN, other);
    assert_memory_equal(all, other, sizeof all);
    tandem_encoder_free(m.encoder);
}

/* The six modes against their definitions, on given hidden states. */
static void test_pooling(void **state)
{
    (void)state;
    const float x[] = {1, -2, 3, 4, -5, 6, 2, 2};
    const int32_t offsets[] = {0, 3, 4};
    tandem_batch batch = {2, 4, some_ids, NULL, offsets};
    tandem_tensor *hidden = matrix(x, 4, 2), *pooled;
    ok(tandem_encoder_pool(&pooled, hidden, &batch, TANDEM_POOL_CLS));
    expect(pooled, (const float[]){1, -2, 2, 2}, 4);
    ok(tandem_encoder_pool(&pooled, hidden, &batch, TANDEM_POOL_MAX));
    expect(pooled, (const float[]){3, 6, 2, 2}, 4);
    ok(tandem_encoder_pool(&pooled, hidden, &batch, TANDEM_POOL_MEAN));
    expect(pooled, (const float[]){-1 / 3.0f, 8 / 3.0f, 2, 2}, 4);
    ok(tandem_encoder_pool(&pooled, hidden, &batch, TANDEM_POOL_MEAN_SQRT_LEN));
    expect(pooled, (const float[]){-1 / sqrtf(3), 8 / sqrtf(3), 2, 2}, 4);
    ok(tandem_encoder_pool(&pooled, hidden, &batch, TANDEM_POOL_WEIGHTED_MEAN));
    expect(pooled, (const float[]){-8 / 6.0f, 24 / 6.0f, 2, 2}, 4);
    ok(tandem_encoder_pool(&pooled, hidden, &batch, TANDEM_POOL_LAST));
    expect(pooled, (const float[]){-5, 6, 2, 2}, 4);
    refused(tandem_encoder_pool(&pooled, hidden, &batch, (tandem_pooling)7), "pooling mode 7");
    batch.total = 3;
    refused(tandem_encoder_pool(&pooled, hidden, &batch, TANDEM_POOL_MEAN), "offsets run from 0 to 4");
    batch.count = 1;
    refused(tandem_encoder_pool(&pooled, hidden, &batch, TANDEM_POOL_MEAN), "[3, hidden]");
}

/* One seed and step give one result; another step, another; evaluation, none at all. */
static void test_dropout(void **state)
{
    (void)state;
    model m = model_make(TANDEM_ACTIVATION_GELU);
    float a[COUNT * HIDDEN], b[COUNT * HIDDEN];
    read_pooled(&m, &some_batch, (tandem_dropout){true, 1, 1}, TANDEM_POOL_MEAN, a);
    read_pooled(&m, &some_batch, (tandem_dropout){true, 1, 1}, TANDEM_POOL_MEAN, b);
    assert_memory_equal(a, b, sizeof a);
    read_pooled(&m, &some_batch, (tandem_dropout){true, 1, 2}, TANDEM_POOL_MEAN, b);
    assert_memory_not_equal(a, b, sizeof a);
    read_pooled(&m, &some_batch, (tandem_dropout){true, 2, 1}, TANDEM_POOL_MEAN, b);
    assert_memory_not_equal(a, b, sizeof a);
    read_pooled(&m, &some_batch, (tandem_dropout){false, 1, 1}, TANDEM_POOL_MEAN, a);
    read_pooled(&m, &some_batch, no_dropout, TANDEM_POOL_MEAN, b);
    assert_memory_equal(a, b, sizeof a);
    tandem_encoder_free(m.encoder);
}

static void test_encoder_refuses_batches(void **state)
{
    (void)state;
    model m = model_make(TANDEM_ACTIVATION_GELU);
    tandem_tensor *out;
    int32_t ids[20] = {1, 2, 3, 4}, types[20] = {0}, offsets[] = {0, 2, 4};
    tandem_batch batch = {2, 4, ids, types, offsets};
    ids[3] = VOCAB;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "sequence 1, token 1: id 30 is outside the vocabulary of 30");
    ids[3] = -1;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "id -1");
    ids[3] = 4;
    types[0] = TYPES;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "sequence 0, token 0: type id 2 is outside the types of 2");
    types[0] = 0;
    offsets[1] = 4;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "sequence 1 is empty");
    offsets[1] = 9;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "empty");
    offsets[0] = 1;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "offsets run from 1 to 4");
    const int32_t longer[] = {0, POSITIONS - 1};
    batch = (tandem_batch){1, POSITIONS - 1, ids, NULL, longer};
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "has 13 tokens; the model has positions for 12");
    batch.count = 0;
    refused(tandem_encoder_forward(&out, m.encoder, &batch, no_dropout), "batch is empty");
    tandem_encoder_free(m.encoder);
}

static void test_encoder_refuses_specs(void **state)
{
    (void)state;
    model m;
    tandem_tensor *out, *hidden;
    model_spec(&m);
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats - 16), "outside the arena");
    m.spec.heads = 5;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats), "no multiple of 5 heads");
    model_spec(&m);
    m.layers[1].up_bias += 1;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats), "misaligned");
    model_spec(&m);
    m.layers[0].down_weight = -1;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats), "lacks");
    model_spec(&m);
    m.spec.down_dropout = 1;
    refused(tandem_encoder_new(&m.encoder, &m.spec, m.floats), "dropout");
    model_spec(&m);
    m.spec.head_weight = m.spec.head_bias = m.spec.classifier_weight = m.spec.classifier_bias = -1;
    m.spec.labels = 0;
    ok(tandem_encoder_new(&m.encoder, &m.spec, m.floats));
    ok(tandem_encoder_forward(&hidden, m.encoder, &some_batch, no_dropout));
    refused(tandem_encoder_classify(&out, m.encoder, hidden, &some_batch, no_dropout), "no classification head");
    tandem_encoder_free(m.encoder);
    tandem_encoder_free(NULL);
}

#define IN_SCOPE(test) cmocka_unit_test_setup_teardown(test, scope_setup, scope_teardown)

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
        IN_SCOPE(test_encoder_gradients),
        IN_SCOPE(test_gradients_accumulate),
        IN_SCOPE(test_backward_twice),
        IN_SCOPE(test_batch_composition),
        IN_SCOPE(test_pooling),
        IN_SCOPE(test_dropout),
        IN_SCOPE(test_encoder_refuses_batches),
        IN_SCOPE(test_encoder_refuses_specs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
