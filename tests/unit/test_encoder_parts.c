/* The encoder's positions, pooling, modules and head, each against its definition. */
#include "tiny_encoder.h"

/* Hidden states of one sequence. */
static void read_hidden(model *m, const int32_t *ids, int32_t length, float *out)
{
    const int32_t offsets[] = {0, length};
    tandem_batch batch = {1, (size_t)length, ids, NULL, offsets};
    tandem_tensor *hidden;
    ok(tandem_encoder_forward(&hidden, m->encoder, &batch, no_dropout));
    ok(tandem_tensor_read(hidden, out));
}

/* Tokens of the padding id have the row before the first and are not counted. */
static void test_padding_positions(void **state)
{
    (void)state;
    const int32_t ids[] = {7, 1, 8, 9};
    const int row[] = {2, 1, 3, 4}; /* position_offset 2 */
    float with[4 * HIDDEN], without[4 * HIDDEN], table[4 * HIDDEN];
    variant v = roberta;
    model padded = model_make(v);
    v.pad_positions = false;
    model plain = model_make(v);
    float *positions = tandem_encoder_parameters(plain.encoder) + plain.spec.position_embedding;
    for (int i = 0; i < 4; i++) {
        memcpy(table + i * HIDDEN, positions + row[i] * HIDDEN, HIDDEN * sizeof *table);
    }
    memcpy(positions + 2 * HIDDEN, table, sizeof table);
    read_hidden(&padded, ids, 4, with);
    read_hidden(&plain, ids, 4, without);
    assert_memory_equal(with, without, sizeof with);
    tandem_encoder_free(padded.encoder);
    tandem_encoder_free(plain.encoder);
}

/* With a window of 2 in every layer, 2 layers see 4 tokens far and no further. */
static void test_window_reach(void **state)
{
    (void)state;
    model m;
    model_spec(&m, modernbert);
    m.layers[0].window = 2;
    ok(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU));
    model filled = model_make(modernbert);
    memcpy(tandem_encoder_parameters(m.encoder), tandem_encoder_parameters(filled.encoder), m.floats * sizeof(float));
    int32_t ids[] = {3, 4, 5, 6, 7, 8, 9};
    float before[7 * HIDDEN], after[7 * HIDDEN];
    read_hidden(&m, ids, 7, before);
    ids[6] = 20;
    read_hidden(&m, ids, 7, after);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(memcmp(before + i * HIDDEN, after + i * HIDDEN, HIDDEN * sizeof(float)) == 0, i < 2);
    }
    tandem_encoder_free(m.encoder);
    tandem_encoder_free(filled.encoder);
}

/* Without positions a token does not know where it stands; rotary ones and relative ones
 * tell it. */
static void test_positions_matter(void **state)
{
    (void)state;
    const int32_t ids[] = {3, 4, 5, 6}, turned[] = {3, 5, 4, 6};
    for (int kind = 0; kind < 3; kind++) {
        variant v = modernbert;
        v.window = 0;
        v.rope_theta = kind == 1 ? 100 : 0;
        v.relative = kind == 2;
        model m = model_make(v);
        float a[4 * HIDDEN], b[4 * HIDDEN], most = 0;
        read_hidden(&m, ids, 4, a);
        read_hidden(&m, turned, 4, b);
        for (int i = 0; i < HIDDEN; i++) {
            most = fmaxf(most, fabsf(a[i] - b[i]));
        }
        assert_true(kind == 0 ? most < 1e-6f : most > 1e-4f); /* without: but for the order of sums */
        tandem_encoder_free(m.encoder);
    }
}

static void test_rotary_table(void **state)
{
    (void)state;
    enum { SIZE = 6, COUNT_ = 50 };
    float table[COUNT_ * SIZE];
    ok(tandem_rotary_table(table, 10000, SIZE, COUNT_));
    for (int p = 0; p < COUNT_; p++) {
        for (int i = 0; i < SIZE / 2; i++) {
            double angle = p * pow(10000, -2.0 * i / SIZE);
            /* The angle, up to 49, is rounded to float32: 4e-6 with its frequency. */
            assert_true(fabs((double)table[p * SIZE + i] - cos(angle)) < 6e-6);
            assert_true(fabs((double)table[p * SIZE + SIZE / 2 + i] - sin(angle)) < 6e-6);
        }
    }
    refused(tandem_rotary_table(table, 10000, 7, 1), "even head size");
    refused(tandem_rotary_table(table, 0, 6, 1), "positive base");
}

/* 32 buckets up to 128: single distances below 8, then two a doubling, the last without
 * an end; keys after the query have the upper half. */
static void test_relative_buckets(void **state)
{
    (void)state;
    enum { SPAN = 600 };
    const struct {
        int distance, bucket;
    } some[] = {{0, 0},   {1, 1},   {7, 7},   {8, 8},   {11, 8},  {12, 9},  {15, 9},  {16, 10},  {22, 10}, {23, 11},
                {31, 11}, {32, 12}, {45, 12}, {46, 13}, {64, 14}, {90, 14}, {91, 15}, {128, 15}, {599, 15}};
    int32_t bucket[2 * SPAN - 1];
    ok(tandem_relative_buckets(bucket, 32, 128, SPAN));
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        assert_int_equal(bucket[SPAN - 1 - some[i].distance], some[i].bucket);
        assert_int_equal(bucket[SPAN - 1 + some[i].distance], some[i].bucket + (some[i].distance > 0 ? 16 : 0));
    }
    refused(tandem_relative_buckets(bucket, 30, 128, SPAN), "multiple of four");
    refused(tandem_relative_buckets(bucket, 32, 8, SPAN), "distance");
}

/* ---- pooling, modules, head ------------------------------------------------------------------ */

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

/* Dense, LayerNorm and Normalize on given vectors, and the head of ModernBERT, step by step. */
static void test_modules(void **state)
{
    (void)state;
    model m;
    model_spec(&m, bert);
    m.modules[0] = (tandem_module_spec){TANDEM_MODULE_DENSE, 2, 3, put(&m, 6), put(&m, 3), TANDEM_ACTIVATION_RELU, 0};
    m.modules[1] = (tandem_module_spec){TANDEM_MODULE_NORMALIZE, 3, 3, -1, -1, TANDEM_ACTIVATION_IDENTITY, 0};
    m.modules[2] = (tandem_module_spec){TANDEM_MODULE_LAYER_NORM, 3, 3, put(&m, 3), -1, TANDEM_ACTIVATION_IDENTITY, 0};
    m.spec.modules = 2;
    const float weight[] = {1, 2, 0, -1, 1, 1}, bias[] = {0.5f, 4, -1}, scale[] = {2, 1, -1}, x[] = {1, 2, -1, 0};
    for (int modules = 1; modules <= 3; modules++) {
        m.spec.modules = modules;
        ok(tandem_encoder_new(&m.encoder, &m.spec, m.floats, TANDEM_DEVICE_CPU));
        float *parameters = tandem_encoder_parameters(m.encoder);
        memcpy(parameters + m.modules[0].weight, weight, sizeof weight);
        memcpy(parameters + m.modules[0].bias, bias, sizeof bias);
        memcpy(parameters + m.modules[2].weight, scale, sizeof scale);
        tandem_tensor *out;
        ok(tandem_encoder_modules(&out, m.encoder, matrix(x, 2, 2)));
        float r = sqrtf(5.5f * 5.5f + 4 + 4);
        if (modules == 1) {
            expect(out, (const float[]){5.5f, 2, 2, 0, 4, 0}, 6);
        } else if (modules == 2) {
            expect(out, (const float[]){5.5f / r, 2 / r, 2 / r, 0, 1, 0}, 6);
        } else { /* of (a, b, b): sqrt(2) and -1/sqrt(2) */
            float s = sqrtf(2);
            expect(out, (const float[]){2 * s, -1 / s, 1 / s, -2 / s, s, 1 / s}, 6);
        }
        refused(tandem_encoder_modules(&out, m.encoder, matrix(x, 1, 4)), "do not fit the first module");
        tandem_encoder_free(m.encoder);
    }
}

/* [out] = weight [out, in] x + bias. */
static void apply_linear(const float *weight, const float *bias, int out, const double *x, double *y)
{
    for (int r = 0; r < out; r++) {
        y[r] = bias == NULL ? 0 : (double)bias[r];
        for (int i = 0; i < HIDDEN; i++) {
            y[r] += (double)weight[r * HIDDEN + i] * x[i];
        }
    }
}

/* Mean, dense, GELU, LayerNorm without shift, classifier. */
static void test_head(void **state)
{
    (void)state;
    model m = model_make(modernbert);
    const float *p = tandem_encoder_parameters(m.encoder);
    float hidden[TOTAL * HIDDEN], logits[COUNT * LABELS];
    tandem_random random = tandem_random_stream(8, "hidden", 0);
    for (int i = 0; i < TOTAL * HIDDEN; i++) {
        hidden[i] = (float)(2 * tandem_random_double(&random) - 1);
    }
    tandem_tensor *out;
    classify(&out, &m, matrix(hidden, TOTAL, HIDDEN), &some_batch, no_dropout);
    ok(tandem_tensor_read(out, logits));
    for (int s = 0; s < COUNT; s++) {
        double mean[HIDDEN] = {0}, x[HIDDEN], centre = 0, variance = 0, expected[LABELS];
        for (int t = some_offsets[s]; t < some_offsets[s + 1]; t++) {
            for (int i = 0; i < HIDDEN; i++) {
                mean[i] += (double)hidden[t * HIDDEN + i] / (some_offsets[s + 1] - some_offsets[s]);
            }
        }
        apply_linear(p + m.spec.head_weight, NULL, HIDDEN, mean, x);
        for (int i = 0; i < HIDDEN; i++) {
            x[i] *= 0.5 * erfc(-x[i] / sqrt(2));
            centre += x[i] / HIDDEN;
        }
        for (int i = 0; i < HIDDEN; i++) {
            variance += (x[i] - centre) * (x[i] - centre) / HIDDEN;
        }
        for (int i = 0; i < HIDDEN; i++) {
            x[i] = (x[i] - centre) / sqrt(variance + 1e-5) * (double)p[m.spec.head_norm_weight + i];
        }
        apply_linear(p + m.spec.classifier_weight, p + m.spec.classifier_bias, LABELS, x, expected);
        for (int l = 0; l < LABELS; l++) {
            assert_true(fabs((double)logits[s * LABELS + l] - expected[l]) < 1e-5); /* some tens of float roundings of numbers near 1 */
        }
    }
    tandem_encoder_free(m.encoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCOPE(test_padding_positions),
        IN_SCOPE(test_window_reach),
        IN_SCOPE(test_positions_matter),
        IN_SCOPE(test_rotary_table),
        IN_SCOPE(test_relative_buckets),
        IN_SCOPE(test_pooling),
        IN_SCOPE(test_modules),
        IN_SCOPE(test_head),
    };
    return cmocka_run_group_tests(tests, load_libtorch, NULL);
}
