/* tiny_encoder.h - random models of a few thousand parameters, one a family, and a batch
 * for them. */
#ifndef TANDEM_TESTS_TINY_ENCODER_H
#define TANDEM_TESTS_TINY_ENCODER_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/random.h"
#include "tensors.h"

enum { LAYERS = 2, HIDDEN = 24, HEADS = 3, INNER = 40, VOCAB = 30, POSITIONS = 14, TYPES = 2, LABELS = 2 };

/* Where a model differs from BERT. */
typedef struct {
    tandem_activation activation;
    bool pad_positions;              /* RoBERTa */
    bool no_types, no_positions;     /* MPNet has no types, ModernBERT neither */
    bool relative;                   /* MPNet */
    bool projection;                 /* ELECTRA */
    bool pre_norm, gated, no_biases; /* ModernBERT */
    double rope_theta;
    int64_t window; /* of the second layer */
    double inner_dropout;
    bool head_dropout_first, head_norm;
    tandem_activation head_activation;
    tandem_pooling head_pooling;
    bool modules;
} variant;

static const variant bert = {.head_activation = TANDEM_ACTIVATION_TANH};
static const variant roberta = {.pad_positions = true, .head_activation = TANDEM_ACTIVATION_TANH, .head_dropout_first = true};
static const variant distilbert = {.no_types = true, .head_activation = TANDEM_ACTIVATION_SILU}; /* its ReLU has a kink, which differences straddle */
static const variant mpnet = {.no_types = true, .pad_positions = true, .relative = true, .head_activation = TANDEM_ACTIVATION_TANH, .head_dropout_first = true};
static const variant electra = {.projection = true, .head_activation = TANDEM_ACTIVATION_GELU, .head_dropout_first = true};
static const variant modernbert = {.no_types = true, .no_positions = true, .pre_norm = true, .gated = true, .no_biases = true, .rope_theta = 100, .window = 2, .inner_dropout = 0.2,
                                   .head_norm = true, .head_activation = TANDEM_ACTIVATION_GELU, .head_pooling = TANDEM_POOL_MEAN};

enum { MODULES = 3, MODULE_OUT = 20, EMBEDDING = 20, BUCKETS = 8 };

typedef struct {
    tandem_encoder *encoder;
    tandem_encoder_spec spec;
    tandem_layer_spec layers[LAYERS];
    tandem_module_spec modules[MODULES];
    size_t floats;
    tandem_place layers_end;
} model;

static inline tandem_place put(model *m, int64_t floats)
{
    tandem_place place = (tandem_place)m->floats;
    m->floats += (size_t)(floats + 15) / 16 * 16;
    return place;
}

static inline tandem_place put_unless(model *m, bool missing, int64_t floats)
{
    return missing ? -1 : put(m, floats);
}

static inline void put_layer(model *m, int index, variant v)
{
    int64_t up = v.gated ? 2 * INNER : INNER;
    m->layers[index] = (tandem_layer_spec){
        .qkv_weight = put(m, 3 * HIDDEN * HIDDEN),
        .qkv_bias = put_unless(m, v.no_biases, 3 * HIDDEN),
        .attention_out_weight = put(m, HIDDEN * HIDDEN),
        .attention_out_bias = put_unless(m, v.no_biases, HIDDEN),
        .attention_norm_weight = put_unless(m, v.pre_norm && index == 0, HIDDEN),
        .attention_norm_bias = put_unless(m, v.no_biases, HIDDEN),
        .up_weight = put(m, up * HIDDEN),
        .up_bias = put_unless(m, v.no_biases, up),
        .down_weight = put(m, HIDDEN * INNER),
        .down_bias = put_unless(m, v.no_biases, HIDDEN),
        .output_norm_weight = put(m, HIDDEN),
        .output_norm_bias = put_unless(m, v.no_biases, HIDDEN),
        .window = index == 1 ? v.window : 0,
        .rope_theta = v.rope_theta * (1 + index),
    };
}

static inline void model_spec(model *m, variant v)
{
    m->floats = 0;
    int64_t embedding = v.projection ? EMBEDDING : HIDDEN;
    tandem_encoder_spec *s = &m->spec;
    *s = (tandem_encoder_spec){
        .layers = LAYERS, .hidden = HIDDEN, .heads = HEADS, .intermediate = INNER, .vocab = VOCAB, .positions = POSITIONS, .types = v.no_types ? 0 : TYPES, .embedding_size = embedding,
        .position_offset = 2, .position_pad_id = v.pad_positions ? 1 : -1, .pre_norm = v.pre_norm, .gated = v.gated, .norm_eps = 1e-5, .embedding_dropout = 0.2,
        .attention_out_dropout = 0.2, .down_dropout = 0.2, .attention_dropout = 0.3, .inner_dropout = v.inner_dropout, .classifier_dropout = 0.25, .activation = v.activation,
        .relative_buckets = BUCKETS, .relative_distance = 6, .layer = m->layers, .head_pooling = v.head_pooling, .head_dropout_first = v.head_dropout_first,
        .head_activation = v.head_activation, .labels = LABELS, .module = m->modules, .modules = v.modules ? MODULES : 0,
    };
    s->word_embedding = put(m, VOCAB * embedding);
    s->position_embedding = put_unless(m, v.no_positions, POSITIONS * embedding);
    s->type_embedding = put_unless(m, v.no_types, TYPES * embedding);
    s->embedding_norm_weight = put(m, embedding);
    s->embedding_norm_bias = put_unless(m, v.no_biases, embedding);
    s->projection_weight = put_unless(m, !v.projection, HIDDEN * embedding);
    s->projection_bias = put_unless(m, !v.projection, HIDDEN);
    s->relative_bias = put_unless(m, !v.relative, BUCKETS * HEADS);
    for (int i = 0; i < LAYERS; i++) {
        put_layer(m, i, v);
    }
    m->layers_end = (tandem_place)m->floats;
    s->final_norm_weight = put_unless(m, !v.pre_norm, HIDDEN);
    s->final_norm_bias = put_unless(m, !v.pre_norm || v.no_biases, HIDDEN);
    s->head_weight = put(m, HIDDEN * HIDDEN);
    s->head_bias = put_unless(m, v.no_biases, HIDDEN);
    s->head_norm_weight = put_unless(m, !v.head_norm, HIDDEN);
    s->head_norm_bias = -1;
    s->classifier_weight = put(m, LABELS * HIDDEN);
    s->classifier_bias = put(m, LABELS);
    if (v.modules) {
        m->modules[0] = (tandem_module_spec){TANDEM_MODULE_DENSE, HIDDEN, MODULE_OUT, put(m, MODULE_OUT * HIDDEN), put(m, MODULE_OUT), TANDEM_ACTIVATION_TANH, 0};
        m->modules[1] = (tandem_module_spec){TANDEM_MODULE_LAYER_NORM, MODULE_OUT, MODULE_OUT, put(m, MODULE_OUT), put(m, MODULE_OUT), TANDEM_ACTIVATION_IDENTITY, 1e-5};
        m->modules[2] = (tandem_module_spec){TANDEM_MODULE_NORMALIZE, MODULE_OUT, MODULE_OUT, -1, -1, TANDEM_ACTIVATION_IDENTITY, 0};
    }
}

static inline void shift_norm(float *parameters, tandem_place weight, int width)
{
    for (int i = 0; weight != -1 && i < width; i++) {
        parameters[weight + i] += 1;
    }
}

static inline model model_make_on(variant v, tandem_device device)
{
    model m;
    model_spec(&m, v);
    ok(tandem_encoder_new(&m.encoder, &m.spec, m.floats, device));
    float *parameters = tandem_encoder_parameters(m.encoder);
    assert_int_equal((uintptr_t)parameters % 64, 0);
    tandem_random random = tandem_random_stream(3, "model", 0);
    for (size_t i = 0; i < m.floats; i++) {
        assert_true(parameters[i] == 0);
        parameters[i] = (float)(0.6 * tandem_random_double(&random) - 0.3);
    }
    shift_norm(parameters, m.spec.embedding_norm_weight, (int)m.spec.embedding_size);
    shift_norm(parameters, m.spec.final_norm_weight, HIDDEN);
    shift_norm(parameters, m.spec.head_norm_weight, HIDDEN);
    for (int l = 0; l < LAYERS; l++) {
        shift_norm(parameters, m.layers[l].attention_norm_weight, HIDDEN);
        shift_norm(parameters, m.layers[l].output_norm_weight, HIDDEN);
    }
    m.spec.layer = NULL; /* both were copied */
    m.spec.module = NULL;
    return m;
}

static inline model model_make(variant v)
{
    return model_make_on(v, TANDEM_DEVICE_CPU);
}

static const int32_t some_ids[] = {1, 5, 7, 2, 1, 29, 1, 3, 3, 4, 8, 9, 2, 11, 12, 13, 14, 2};
static const int32_t some_types[] = {0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
static const int32_t some_offsets[] = {0, 4, 6, 7, 18};
enum { COUNT = 4, TOTAL = 18 };
static const tandem_batch some_batch = {COUNT, TOTAL, some_ids, some_types, some_offsets};
static const tandem_dropout no_dropout = {.train = false};

/* Logits of hidden states: pooled for the head, then through it. */
static inline void classify(tandem_tensor **out, const model *m, const tandem_tensor *hidden, const tandem_batch *batch, tandem_dropout dropout)
{
    tandem_tensor *pooled;
    ok(tandem_encoder_pool(&pooled, hidden, batch, m->spec.head_pooling));
    ok(tandem_encoder_classify(out, m->encoder, pooled, dropout));
}

/* Sum of (fixed weights * values) of a tensor: in double, and as a tensor. */
static inline double weighted_sum(tandem_tensor **sum, const tandem_tensor *values, size_t count, float phase)
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
static inline double run_loss(model *m, tandem_dropout dropout, tandem_pooling pooling, bool backward)
{
    tandem_tensor *hidden, *pooled, *logits, *loss, *part;
    tandem_encoder_parameters_changed(m->encoder); /* as callers do between two losses */
    ok(tandem_scope_begin());
    ok(tandem_encoder_forward(&hidden, m->encoder, &some_batch, dropout));
    ok(tandem_encoder_forward_pooled(&pooled, m->encoder, &some_batch, pooling, dropout));
    classify(&logits, m, hidden, &some_batch, dropout);
    ok(tandem_encoder_modules(&pooled, m->encoder, pooled));
    double value = weighted_sum(&loss, pooled, COUNT * (size_t)tandem_tensor_size(pooled, 1), 0) + weighted_sum(&part, logits, COUNT * LABELS, 1);
    ok(tandem_op_add(&loss, loss, part));
    if (backward) {
        ok(tandem_backward(loss));
    }
    tandem_scope_end();
    return value;
}

/* The gradients, where C reads them. */
static inline float *gradients_in(const model *m)
{
    ok(tandem_encoder_fetch_gradients(m->encoder));
    return tandem_encoder_gradients(m->encoder);
}

#endif
