/* A model as an ONNX graph: the encoder of any family's spec, then pooling and
 * normalize, or the classification head.
 *
 * The graph is plain opset 17: ONNX Runtime fuses bias, GELU, LayerNormalization and the
 * attention's scaling itself when it loads the file, and every other engine reads it. */
#include "tandem/onnx.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "model/onnx_proto.h"
#include "tandem/file.h"

/* Lowest finite float: added to a masked score, so that a row without any attended
 * token gives a uniform distribution and not NaN. */
static const float MASKED = -3.4028234663852886e38f;

typedef struct {
    onnx_graph graph;
    const tandem_model *model;
    const tandem_encoder_spec *spec;
    const float *arena;
    onnx_value mask;       /* attention_mask as float, [batch, sequence] */
    onnx_value score_mask; /* 0 or MASKED, [batch, 1, 1, sequence] */
    onnx_value heads_shape, hidden_shape;
} builder;

/* ---- nodes by name ------------------------------------------------------------------- */

static onnx_value unary(builder *b, const char *type, onnx_value x)
{
    return onnx_node(&b->graph, type, &x, 1, NULL, NULL);
}

static onnx_value binary(builder *b, const char *type, onnx_value x, onnx_value y)
{
    return onnx_node(&b->graph, type, (onnx_value[]){x, y}, 2, NULL, NULL);
}

static onnx_value with_int(builder *b, const char *type, const onnx_value *inputs, size_t count, const char *attribute, int64_t value)
{
    const onnx_attribute attributes[] = {{.name = attribute, .type = ONNX_ATTRIBUTE_INT, .i = value}, {.name = NULL}};
    return onnx_node(&b->graph, type, inputs, count, attributes, NULL);
}

static onnx_value integer(builder *b, int64_t value)
{
    return onnx_ints(&b->graph, &value, 1);
}

static onnx_value transpose(builder *b, onnx_value x, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    const int64_t order[] = {d0, d1, d2, d3};
    const onnx_attribute attributes[] = {{.name = "perm", .type = ONNX_ATTRIBUTE_INTS, .ints = order, .count = 4}, {.name = NULL}};
    return onnx_node(&b->graph, "Transpose", &x, 1, attributes, NULL);
}

static onnx_value unsqueeze(builder *b, onnx_value x, int64_t axis)
{
    return binary(b, "Unsqueeze", x, integer(b, axis));
}

static onnx_value cast(builder *b, onnx_value x, int64_t type)
{
    return with_int(b, "Cast", &x, 1, "to", type);
}

static onnx_value reduce_sum(builder *b, onnx_value x, int64_t axis) { /* keeps the dimension */
    return with_int(b, "ReduceSum", (onnx_value[]){x, integer(b, axis)}, 2, "keepdims", 1);
}

/* ---- weights ------------------------------------------------------------------------------ */

/* The Hugging Face name of the parameter at `place`, or `fallback`: q, k and v are
 * places inside one block, so every named weight is found. */
static const char *weight_name(const builder *b, tandem_place place)
{
    for (size_t i = 0; i < tandem_model_parameter_count(b->model); i++) {
        const tandem_parameter *parameter = tandem_model_parameter(b->model, i);
        if (parameter->offset == (size_t)place) {
            return parameter->name;
        }
    }
    return NULL;
}

static onnx_value vector(builder *b, tandem_place place, int64_t size)
{
    const char *name = weight_name(b, place);
    if (!name) {
        b->graph.rc = tandem_error("no parameter at place %lld of the arena", (long long)place);
        return onnx_named("");
    }
    return onnx_weight_add(&b->graph, name, b->arena + place, 1, (size_t)size, false, false);
}

static onnx_value matrix(builder *b, tandem_place place, int64_t rows, int64_t columns, bool transposed)
{
    const char *name = weight_name(b, place);
    if (!name) {
        b->graph.rc = tandem_error("no parameter at place %lld of the arena", (long long)place);
        return onnx_named("");
    }
    return onnx_weight_add(&b->graph, name, b->arena + place, (size_t)rows, (size_t)columns, true, transposed);
}

/* x W^T + bias; `bias` may be -1. */
static onnx_value linear(builder *b, onnx_value x, tandem_place weight, tandem_place bias, int64_t out, int64_t in)
{
    onnx_value y = binary(b, "MatMul", x, matrix(b, weight, out, in, true));
    return bias < 0 ? y : binary(b, "Add", y, vector(b, bias, out));
}

static onnx_value layer_norm(builder *b, onnx_value x, tandem_place weight, tandem_place bias, const char *output)
{
    const onnx_attribute attributes[] = {{.name = "axis", .type = ONNX_ATTRIBUTE_INT, .i = -1},
                                         {.name = "epsilon", .type = ONNX_ATTRIBUTE_FLOAT, .f = (float)b->spec->norm_eps},
                                         {.name = NULL}};
    const onnx_value inputs[] = {x, vector(b, weight, b->spec->hidden), vector(b, bias, b->spec->hidden)};
    return onnx_node(&b->graph, "LayerNormalization", inputs, 3, attributes, output);
}

/* ---- encoder ---------------------------------------------------------------------------------- */

static onnx_value embeddings(builder *b)
{
    const tandem_encoder_spec *s = b->spec;
    onnx_value ids = onnx_named("input_ids");
    onnx_value x = binary(b, "Gather", matrix(b, s->word_embedding, s->vocab, s->hidden, false), ids);
    if (s->types > 0) {
        x = binary(b, "Add", x, binary(b, "Gather", matrix(b, s->type_embedding, s->types, s->hidden, false), onnx_named("token_type_ids")));
    }
    /* Rows offset .. offset + sequence_length of the position table. */
    const onnx_attribute second[] = {{.name = "start", .type = ONNX_ATTRIBUTE_INT, .i = 1}, {.name = "end", .type = ONNX_ATTRIBUTE_INT, .i = 2}, {.name = NULL}};
    onnx_value length = onnx_node(&b->graph, "Shape", &ids, 1, second, NULL);
    onnx_value start = integer(b, s->position_offset);
    const onnx_value slice[] = {matrix(b, s->position_embedding, s->positions, s->hidden, false), start,
                                binary(b, "Add", length, start), integer(b, 0)};
    x = binary(b, "Add", x, onnx_node(&b->graph, "Slice", slice, 4, NULL, NULL));
    return layer_norm(b, x, s->embedding_norm_weight, s->embedding_norm_bias, NULL);
}

static void masks(builder *b)
{
    onnx_graph *g = &b->graph;
    b->mask = cast(b, onnx_named("attention_mask"), ONNX_FLOAT);
    onnx_value missing = binary(b, "Sub", onnx_float(g, 1.0F), b->mask);
    onnx_value scores = binary(b, "Mul", missing, onnx_float(g, MASKED));
    const int64_t axes[] = {1, 2};
    b->score_mask = binary(b, "Unsqueeze", scores, onnx_ints(g, axes, 2));
    const int64_t heads_shape[] = {0, 0, b->spec->heads, b->spec->hidden / b->spec->heads};
    const int64_t hidden_shape[] = {0, 0, b->spec->hidden};
    b->heads_shape = onnx_ints(g, heads_shape, 4);
    b->hidden_shape = onnx_ints(g, hidden_shape, 3);
}

static onnx_value attention(builder *b, onnx_value x, const tandem_layer_spec *layer)
{
    const int64_t h = b->spec->hidden;
    onnx_value part[3]; /* query, key, value as [batch, sequence, heads, head size] */
    for (int64_t i = 0; i < 3; i++) {
        part[i] = linear(b, x, layer->qkv_weight + i * h * h, layer->qkv_bias < 0 ? -1 : layer->qkv_bias + i * h, h, h);
        part[i] = binary(b, "Reshape", part[i], b->heads_shape);
    }
    onnx_value scores = binary(b, "MatMul", transpose(b, part[0], 0, 2, 1, 3), transpose(b, part[1], 0, 2, 3, 1));
    scores = binary(b, "Div", scores, onnx_float(&b->graph, (float)sqrt((double)h / (double)b->spec->heads)));
    scores = binary(b, "Add", scores, b->score_mask);
    onnx_value weights = with_int(b, "Softmax", &scores, 1, "axis", -1);
    onnx_value context = binary(b, "MatMul", weights, transpose(b, part[2], 0, 2, 1, 3));
    context = binary(b, "Reshape", transpose(b, context, 0, 2, 1, 3), b->hidden_shape);
    return linear(b, context, layer->attention_out_weight, layer->attention_out_bias, h, h);
}

static onnx_value activation(builder *b, onnx_value x)
{
    onnx_graph *g = &b->graph;
    switch (b->spec->activation) {
    case TANDEM_ACTIVATION_IDENTITY:
        return x;
    case TANDEM_ACTIVATION_TANH:
        return unary(b, "Tanh", x);
    case TANDEM_ACTIVATION_RELU:
        return unary(b, "Relu", x);
    case TANDEM_ACTIVATION_SILU:
        return binary(b, "Mul", x, unary(b, "Sigmoid", x));
    case TANDEM_ACTIVATION_GELU_TANH: { /* 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
        onnx_value cube = binary(b, "Mul", binary(b, "Mul", x, x), x);
        onnx_value inner = binary(b, "Add", x, binary(b, "Mul", cube, onnx_float(g, 0.044715F)));
        onnx_value tanh = unary(b, "Tanh", binary(b, "Mul", inner, onnx_float(g, 0.7978845608028654F)));
        return binary(b, "Mul", binary(b, "Mul", x, binary(b, "Add", tanh, onnx_float(g, 1.0F))), onnx_float(g, 0.5F));
    }
    case TANDEM_ACTIVATION_GELU:
        break;
    }
    /* 0.5 x (1 + erf(x / sqrt(2))): the five nodes that engines know as GELU */
    onnx_value erf = unary(b, "Erf", binary(b, "Div", x, onnx_float(g, 1.4142135623730951F)));
    return binary(b, "Mul", binary(b, "Mul", x, binary(b, "Add", erf, onnx_float(g, 1.0F))), onnx_float(g, 0.5F));
}

static onnx_value encoder(builder *b, const char *output)
{
    const tandem_encoder_spec *s = b->spec;
    onnx_value x = embeddings(b);
    masks(b);
    for (int64_t i = 0; i < s->layers; i++) {
        const tandem_layer_spec *layer = &s->layer[i];
        const char *name = i + 1 == s->layers ? output : NULL;
        onnx_value y = binary(b, "Add", attention(b, x, layer), x);
        x = layer_norm(b, y, layer->attention_norm_weight, layer->attention_norm_bias, NULL);
        y = activation(b, linear(b, x, layer->up_weight, layer->up_bias, s->intermediate, s->hidden));
        y = linear(b, y, layer->down_weight, layer->down_bias, s->hidden, s->intermediate);
        x = layer_norm(b, binary(b, "Add", y, x), layer->output_norm_weight, layer->output_norm_bias, name);
    }
    return x;
}

/* ---- heads ---------------------------------------------------------------------------------------- */

/* The hidden state of the first or last attended token, [batch, hidden]. */
static onnx_value attended_token(builder *b, onnx_value hidden, bool last)
{
    const onnx_attribute which[] = {{.name = "axis", .type = ONNX_ATTRIBUTE_INT, .i = 1},
                                    {.name = "keepdims", .type = ONNX_ATTRIBUTE_INT, .i = 1},
                                    {.name = "select_last_index", .type = ONNX_ATTRIBUTE_INT, .i = last},
                                    {.name = NULL}};
    onnx_value index = onnx_node(&b->graph, "ArgMax", &b->mask, 1, which, NULL);
    return with_int(b, "GatherND", (onnx_value[]){hidden, index}, 2, "batch_dims", 1);
}

/* Sum over attended tokens of weight * hidden, [batch, hidden]; weights are [batch, sequence]. */
static onnx_value weighted_sum(builder *b, onnx_value hidden, onnx_value weights)
{
    onnx_value product = binary(b, "Mul", hidden, unsqueeze(b, weights, 2));
    return with_int(b, "ReduceSum", (onnx_value[]){product, integer(b, 1)}, 2, "keepdims", 0);
}

static onnx_value at_least(builder *b, onnx_value x, float floor)
{
    return binary(b, "Max", x, onnx_float(&b->graph, floor));
}

/* The six modes, as sentence-transformers' Pooling computes them. */
static onnx_value pool(builder *b, onnx_value hidden, tandem_pooling pooling)
{
    switch (pooling) {
    case TANDEM_POOL_CLS:
        return attended_token(b, hidden, false);
    case TANDEM_POOL_LAST:
        return attended_token(b, hidden, true);
    case TANDEM_POOL_MAX: {
        onnx_value missing = binary(b, "Sub", onnx_float(&b->graph, 1.0F), b->mask);
        onnx_value floor = unsqueeze(b, binary(b, "Mul", missing, onnx_float(&b->graph, MASKED)), 2);
        onnx_value masked = binary(b, "Add", hidden, floor);
        static const int64_t axis[] = {1};
        const onnx_attribute attributes[] = {{.name = "axes", .type = ONNX_ATTRIBUTE_INTS, .ints = axis, .count = 1},
                                             {.name = "keepdims", .type = ONNX_ATTRIBUTE_INT, .i = 0},
                                             {.name = NULL}};
        return onnx_node(&b->graph, "ReduceMax", &masked, 1, attributes, NULL);
    }
    case TANDEM_POOL_WEIGHTED_MEAN: { /* token i of the sequence weighs i, from 1 */
        onnx_value positions = binary(b, "CumSum", b->mask, integer(b, 1));
        onnx_value weights = binary(b, "Mul", positions, b->mask);
        onnx_value total = at_least(b, reduce_sum(b, weights, 1), 1e-9F);
        return binary(b, "Div", weighted_sum(b, hidden, weights), total);
    }
    case TANDEM_POOL_MEAN:
    case TANDEM_POOL_MEAN_SQRT_LEN:
        break;
    }
    onnx_value total = at_least(b, reduce_sum(b, b->mask, 1), 1e-9F);
    if (pooling == TANDEM_POOL_MEAN_SQRT_LEN) {
        total = unary(b, "Sqrt", total);
    }
    return binary(b, "Div", weighted_sum(b, hidden, b->mask), total);
}

static void embedding_head(builder *b, onnx_value hidden, const tandem_model_info *info)
{
    onnx_value embedding = pool(b, hidden, info->pooling);
    if (info->normalize) {
        static const int64_t axis[] = {-1};
        const onnx_attribute attributes[] = {{.name = "axes", .type = ONNX_ATTRIBUTE_INTS, .ints = axis, .count = 1},
                                             {.name = "keepdims", .type = ONNX_ATTRIBUTE_INT, .i = 1},
                                             {.name = NULL}};
        onnx_value norm = onnx_node(&b->graph, "ReduceL2", &embedding, 1, attributes, NULL);
        embedding = binary(b, "Div", embedding, at_least(b, norm, 1e-12F));
    }
    onnx_node(&b->graph, "Identity", &embedding, 1, NULL, "sentence_embedding");
}

static void classification_head(builder *b, onnx_value hidden)
{
    const tandem_encoder_spec *s = b->spec;
    /* Index 0 of axis 1: the first token, whatever the mask, as transformers does. */
    onnx_value zero = integer(b, 0);
    onnx_value first = with_int(b, "Gather", (onnx_value[]){hidden, zero}, 2, "axis", 1);
    onnx_value x = binary(b, "Squeeze", first, integer(b, 1));
    if (s->head_weight >= 0) {
        x = unary(b, "Tanh", linear(b, x, s->head_weight, s->head_bias, s->hidden, s->hidden));
    }
    onnx_value logits = linear(b, x, s->classifier_weight, s->classifier_bias, s->labels, s->hidden);
    onnx_node(&b->graph, "Identity", &logits, 1, NULL, "logits");
}

/* ---- public ---------------------------------------------------------------------------------------- */

int tandem_onnx_write(const tandem_model *model, const char *path)
{
    const tandem_model_info *info = tandem_model_describe(model);
    const tandem_encoder_spec *spec = tandem_model_spec(model);
    const onnx_dim ids[] = {{"batch_size", 0}, {"sequence_length", 0}};
    const onnx_dim hidden_dims[] = {{"batch_size", 0}, {"sequence_length", 0}, {NULL, spec->hidden}};
    builder b = {.model = model, .spec = spec, .arena = tandem_model_parameters(model, NULL)};
    onnx_graph_input(&b.graph, "input_ids", ONNX_INT64, ids, 2);
    onnx_graph_input(&b.graph, "attention_mask", ONNX_INT64, ids, 2);
    if (spec->types > 0) {
        onnx_graph_input(&b.graph, "token_type_ids", ONNX_INT64, ids, 2);
    }
    bool cross = info->kind == TANDEM_CROSS_ENCODER;
    onnx_value hidden = encoder(&b, cross ? NULL : "last_hidden_state");
    if (cross) {
        const onnx_dim logits[] = {{"batch_size", 0}, {NULL, spec->labels}};
        classification_head(&b, hidden);
        onnx_graph_output(&b.graph, "logits", ONNX_FLOAT, logits, 2);
    } else {
        const onnx_dim embedding[] = {{"batch_size", 0}, {NULL, (int64_t)info->dim}};
        embedding_head(&b, hidden, info);
        onnx_graph_output(&b.graph, "last_hidden_state", ONNX_FLOAT, hidden_dims, 3);
        onnx_graph_output(&b.graph, "sentence_embedding", ONNX_FLOAT, embedding, 2);
    }
    int rc = onnx_graph_write(&b.graph, cross ? "cross-encoder" : "bi-encoder", path);
    onnx_graph_free(&b.graph);
    return rc;
}

int tandem_onnx_export(const tandem_model *model, const char *directory)
{
    char *staged = NULL;
    char *graph = NULL;
    int rc;
    TANDEM_TRY(tandem_stage_dir(&staged, directory));
    TANDEM_TRY_GOTO(rc, done, tandem_model_write_files(model, staged));
    graph = tandem_path_join(staged, "onnx/model.onnx");
    rc = graph ? tandem_onnx_write(model, graph) : TANDEM_ERROR;
    if (rc == TANDEM_OK) {
        rc = tandem_stage_commit(staged, directory);
    }
done:
    if (rc < 0) {
        tandem_stage_abort(staged);
    }
    free(graph);
    free(staged);
    return rc;
}
