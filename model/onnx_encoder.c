/* onnx_encoder.c - the encoder of any family's spec as a graph. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/onnx_build.h"

/* Cosines and sines of a base, [sequence, head size / 2]. */
typedef struct {
    double theta;
    onnx_value cosines, sines;
} rotary;

/* What the layers share, made once a kind. */
typedef struct {
    onnx_value heads_shape, hidden_shape;
    onnx_value relative;    /* offsets of the scores, [1, heads, sequence, sequence] */
    int64_t window;         /* of window_mask; 0: none yet */
    onnx_value window_mask; /* score_mask with that window, [batch, 1, sequence, sequence] */
    rotary *rotaries;       /* [rotary_count], at most one a layer */
    size_t rotary_count;
} shared;

/* ---- embeddings -------------------------------------------------------------------------- */

/* Rows of the position table: those from the offset on, or by RoBERTa's rule, where a padding
 * token gets the offset less one and is not counted. */
static onnx_value positions(onnx_builder *b, onnx_value ids)
{
    const tandem_encoder_spec *s = b->spec;
    onnx_value table = onnx_matrix(b, s->position_embedding, s->positions, s->embedding_size, false);
    if (s->position_pad_id < 0) {
        onnx_value start = onnx_integer(b, s->position_offset);
        return onnx_slice(b, table, start, onnx_binary(b, "Add", b->length, start), 0);
    }
    onnx_value padding = onnx_binary(b, "Equal", ids, onnx_integer(b, s->position_pad_id));
    onnx_value counted = onnx_cast(b, onnx_unary(b, "Not", padding), ONNX_INT64);
    onnx_value number = onnx_binary(b, "Mul", onnx_binary(b, "CumSum", counted, onnx_integer(b, 1)), counted);
    return onnx_binary(b, "Gather", table, onnx_binary(b, "Add", number, onnx_integer(b, s->position_offset - 1)));
}

static onnx_value types(onnx_builder *b)
{
    const tandem_encoder_spec *s = b->spec;
    onnx_value table = onnx_matrix(b, s->type_embedding, s->types, s->embedding_size, false);
    if (tandem_model_describe(b->model)->reads_types) {
        return onnx_binary(b, "Gather", table, onnx_named("token_type_ids"));
    }
    return onnx_binary(b, "Gather", table, onnx_integer(b, 0)); /* [1, size]: type 0 throughout */
}

static onnx_value embeddings(onnx_builder *b)
{
    const tandem_encoder_spec *s = b->spec;
    onnx_value ids = onnx_named("input_ids");
    onnx_value x = onnx_embedding(b, s->word_embedding, s->vocab, s->embedding_size, ids);
    if (s->type_embedding >= 0) {
        x = onnx_binary(b, "Add", x, types(b));
    }
    if (s->position_embedding >= 0) {
        x = onnx_binary(b, "Add", x, positions(b, ids));
    }
    x = onnx_layer_norm(b, x, s->embedding_norm_weight, s->embedding_norm_bias, s->embedding_size, s->norm_eps, NULL);
    if (s->projection_weight >= 0) {
        x = onnx_linear(b, x, s->projection_weight, s->projection_bias, s->hidden, s->embedding_size);
    }
    return x;
}

/* ---- attention ------------------------------------------------------------------------------ */

/* key - query of every pair of a sequence, [sequence, sequence]. */
static onnx_value distances(onnx_builder *b)
{
    onnx_value end = onnx_binary(b, "Squeeze", b->length, onnx_integer(b, 0));
    const onnx_value range[] = {onnx_int(&b->graph, 0), end, onnx_int(&b->graph, 1)};
    onnx_value place = onnx_node(&b->graph, "Range", range, 3, NULL, NULL);
    return onnx_binary(b, "Sub", onnx_unsqueeze(b, place, 0), onnx_unsqueeze(b, place, 1));
}

/* The mask of a layer: that of the padding, and of what is farther than the window. The lesser of
 * both and not their sum, which would leave the finite numbers. */
static onnx_value layer_mask(onnx_builder *b, shared *common, int64_t window)
{
    if (window == 0) {
        return b->score_mask;
    }
    if (common->window != window) {
        onnx_value far = onnx_binary(b, "Greater", onnx_unary(b, "Abs", distances(b)), onnx_integer(b, window));
        onnx_value outside = onnx_binary(b, "Mul", onnx_cast(b, far, b->type), onnx_real(b, onnx_masked(b)));
        common->window = window;
        common->window_mask = onnx_binary(b, "Min", b->score_mask, outside);
    }
    return common->window_mask;
}

/* Offsets by distance (T5's buckets): beyond relative_distance all are alike, so that a table of the
 * distances up to there serves sequences of any length. */
static onnx_value relative_offsets(onnx_builder *b)
{
    const tandem_encoder_spec *s = b->spec;
    int64_t span = s->relative_distance + 1;
    size_t count = (size_t)(2 * span - 1);
    int32_t *buckets = tandem_arena_alloc(b->tables, count, sizeof *buckets);
    int64_t *wide = tandem_arena_alloc(b->tables, count, sizeof *wide);
    int rc = buckets == NULL || wide == NULL
                 ? TANDEM_ERROR
                 : tandem_relative_buckets(buckets, s->relative_buckets, s->relative_distance, span);
    if (rc < 0) {
        b->graph.rc = rc;
        return onnx_named("");
    }
    for (size_t i = 0; i < count; i++) {
        wide[i] = buckets[i];
    }
    onnx_value table = onnx_matrix(b, s->relative_bias, s->relative_buckets, s->heads, false);
    onnx_value by_distance =
        onnx_binary(b, "Gather", table, onnx_ints(&b->graph, wide, count)); /* [2 * span - 1, heads] */
    onnx_value near = onnx_binary(b, "Min", distances(b), onnx_integer(b, s->relative_distance));
    near = onnx_binary(b, "Max", near, onnx_integer(b, -s->relative_distance));
    onnx_value offsets =
        onnx_binary(b, "Gather", by_distance, onnx_binary(b, "Add", near, onnx_integer(b, s->relative_distance)));
    return onnx_transpose(b, onnx_unsqueeze(b, offsets, 0), 0, 3, 1, 2);
}

/* Adds the cosines and sines of all positions under a base as constants of the file, and the nodes that
 * cut them to the sequence. */
static int add_rotary(onnx_builder *b, rotary *out, double theta, size_t number)
{
    size_t positions = (size_t)b->spec->positions, size = (size_t)(b->spec->hidden / b->spec->heads), half = size / 2;
    float *table = tandem_arena_alloc(b->tables, positions, size * sizeof *table);
    float *parts = tandem_arena_alloc(b->tables, positions, size * sizeof *parts);
    if (table == NULL || parts == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(tandem_rotary_table(table, theta, (int64_t)size, (int64_t)positions));
    for (size_t p = 0; p < positions; p++) {
        memcpy(parts + p * half, table + p * size, half * sizeof *parts);
        memcpy(parts + (positions + p) * half, table + p * size + half, half * sizeof *parts);
    }
    char name[32];
    onnx_value zero = onnx_integer(b, 0);
    snprintf(name, sizeof name, "rotary_cosines_%zu", number);
    out->cosines = onnx_slice(b, onnx_table(b, name, parts, positions, half), zero, b->length, 0);
    snprintf(name, sizeof name, "rotary_sines_%zu", number);
    out->sines = onnx_slice(b, onnx_table(b, name, parts + positions * half, positions, half), zero, b->length, 0);
    out->theta = theta;
    return 0;
}

static const rotary *find_rotary(onnx_builder *b, shared *common, double theta)
{
    for (size_t i = 0; i < common->rotary_count; i++) {
        if (common->rotaries[i].theta == theta) {
            return &common->rotaries[i];
        }
    }
    rotary *made = &common->rotaries[common->rotary_count];
    int rc = add_rotary(b, made, theta, common->rotary_count);
    if (rc < 0) {
        b->graph.rc = rc;
    }
    common->rotary_count++;
    return made;
}

/* Turns each pair (i, i + head size / 2) of x, [batch, heads, sequence, head size], by its angle. */
static onnx_value rotate(onnx_builder *b, onnx_value x, const rotary *by)
{
    int64_t size = b->spec->hidden / b->spec->heads;
    onnx_value zero = onnx_integer(b, 0), half = onnx_integer(b, size / 2), end = onnx_integer(b, size);
    onnx_value first = onnx_slice(b, x, zero, half, 3), second = onnx_slice(b, x, half, end, 3);
    onnx_value turned[2] = {
        onnx_binary(b, "Sub", onnx_binary(b, "Mul", first, by->cosines), onnx_binary(b, "Mul", second, by->sines)),
        onnx_binary(b, "Add", onnx_binary(b, "Mul", second, by->cosines), onnx_binary(b, "Mul", first, by->sines)),
    };
    return onnx_with_int(b, "Concat", turned, 2, "axis", 3);
}

static onnx_value attention(onnx_builder *b, shared *common, onnx_value x, const tandem_layer_spec *layer)
{
    const int64_t h = b->spec->hidden;
    onnx_value part[3]; /* query, key, value as [batch, heads, sequence, head size] */
    for (int64_t i = 0; i < 3; i++) {
        part[i] =
            onnx_linear(b, x, layer->qkv_weight + i * h * h, layer->qkv_bias < 0 ? -1 : layer->qkv_bias + i * h, h, h);
        part[i] = onnx_binary(b, "Reshape", part[i], common->heads_shape);
    }
    if (layer->rope_theta > 0) {
        const rotary *by = find_rotary(b, common, layer->rope_theta);
        onnx_value query = rotate(b, onnx_transpose(b, part[0], 0, 2, 1, 3), by),
                   key = rotate(b, onnx_transpose(b, part[1], 0, 2, 1, 3), by);
        part[0] = query;
        part[1] = onnx_transpose(b, key, 0, 1, 3, 2);
    } else {
        part[0] = onnx_transpose(b, part[0], 0, 2, 1, 3);
        part[1] = onnx_transpose(b, part[1], 0, 2, 3, 1);
    }
    onnx_value scores = onnx_binary(b, "MatMul", part[0], part[1]);
    scores = onnx_binary(b, "Div", scores, onnx_real(b, (float)sqrt((double)h / (double)b->spec->heads)));
    if (b->spec->relative_bias >= 0) {
        scores = onnx_binary(b, "Add", scores, common->relative);
    }
    scores = onnx_binary(b, "Add", scores, layer_mask(b, common, layer->window));
    onnx_value weights = onnx_with_int(b, "Softmax", &scores, 1, "axis", -1);
    onnx_value context = onnx_binary(b, "MatMul", weights, onnx_transpose(b, part[2], 0, 2, 1, 3));
    context = onnx_binary(b, "Reshape", onnx_transpose(b, context, 0, 2, 1, 3), common->hidden_shape);
    return onnx_linear(b, context, layer->attention_out_weight, layer->attention_out_bias, h, h);
}

/* ---- layers ------------------------------------------------------------------------------------ */

static onnx_value feed_forward(onnx_builder *b, onnx_value x, const tandem_layer_spec *layer)
{
    const tandem_encoder_spec *s = b->spec;
    int64_t inner = s->intermediate, h = s->hidden;
    onnx_value y = onnx_activation(b, s->activation, onnx_linear(b, x, layer->up_weight, layer->up_bias, inner, h));
    if (s->gated) {
        tandem_place bias = layer->up_bias < 0 ? -1 : layer->up_bias + inner;
        y = onnx_binary(b, "Mul", y, onnx_linear(b, x, layer->up_weight + inner * h, bias, inner, h));
    }
    return onnx_linear(b, y, layer->down_weight, layer->down_bias, h, inner);
}

static onnx_value norm(onnx_builder *b, onnx_value x, tandem_place weight, tandem_place bias, const char *output)
{
    return onnx_layer_norm(b, x, weight, bias, b->spec->hidden, b->spec->norm_eps, output);
}

static onnx_value post_norm_layer(onnx_builder *b, shared *common, onnx_value x, const tandem_layer_spec *layer,
                                  const char *output)
{
    onnx_value y = onnx_binary(b, "Add", attention(b, common, x, layer), x);
    x = norm(b, y, layer->attention_norm_weight, layer->attention_norm_bias, NULL);
    y = onnx_binary(b, "Add", feed_forward(b, x, layer), x);
    return norm(b, y, layer->output_norm_weight, layer->output_norm_bias, output);
}

static onnx_value pre_norm_layer(onnx_builder *b, shared *common, onnx_value x, const tandem_layer_spec *layer)
{
    onnx_value y = x;
    if (layer->attention_norm_weight >= 0) {
        y = norm(b, x, layer->attention_norm_weight, layer->attention_norm_bias, NULL);
    }
    x = onnx_binary(b, "Add", attention(b, common, y, layer), x);
    y = norm(b, x, layer->output_norm_weight, layer->output_norm_bias, NULL);
    return onnx_binary(b, "Add", feed_forward(b, y, layer), x);
}

static void share(onnx_builder *b, shared *common)
{
    const tandem_encoder_spec *s = b->spec;
    const int64_t heads_shape[] = {0, 0, s->heads, s->hidden / s->heads}, hidden_shape[] = {0, 0, s->hidden},
                  axes[] = {1, 2};
    const onnx_attribute second[] = {{.name = "start", .type = ONNX_ATTRIBUTE_INT, .i = 1},
                                     {.name = "end", .type = ONNX_ATTRIBUTE_INT, .i = 2},
                                     {.name = NULL}};
    onnx_value ids = onnx_named("input_ids");
    b->length = onnx_node(&b->graph, "Shape", &ids, 1, second, NULL);
    b->mask = onnx_cast(b, onnx_named("attention_mask"), b->type);
    b->score_mask = onnx_binary(b, "Unsqueeze", onnx_masked_by(b, b->mask), onnx_ints(&b->graph, axes, 2));
    *common = (shared){.heads_shape = onnx_ints(&b->graph, heads_shape, 4),
                       .hidden_shape = onnx_ints(&b->graph, hidden_shape, 3)};
    common->rotaries = tandem_arena_alloc(b->tables, (size_t)s->layers, sizeof *common->rotaries);
    if (common->rotaries == NULL) {
        b->graph.rc = TANDEM_ERROR;
    } else if (s->relative_bias >= 0) {
        common->relative = relative_offsets(b);
    }
}

/* Ends the encoder's own precision: what follows it is small, and computed in float32. */
static onnx_value widen(onnx_builder *b, onnx_value hidden, const char *output)
{
    b->quantized = b->measured = false;
    if (b->type == ONNX_FLOAT) {
        return hidden;
    }
    b->type = ONNX_FLOAT;
    b->mask = onnx_cast(b, onnx_named("attention_mask"), ONNX_FLOAT);
    const onnx_attribute to[] = {{.name = "to", .type = ONNX_ATTRIBUTE_INT, .i = ONNX_FLOAT}, {.name = NULL}};
    return onnx_node(&b->graph, "Cast", &hidden, 1, to, output);
}

onnx_value onnx_encoder(onnx_builder *b, const char *output)
{
    const tandem_encoder_spec *s = b->spec;
    shared common;
    b->type = b->options->dtype == TANDEM_ONNX_FP16 ? ONNX_FLOAT16 : ONNX_FLOAT;
    b->quantized = b->options->dtype == TANDEM_ONNX_INT8;
    const char *last = b->type == ONNX_FLOAT ? output : NULL;
    share(b, &common);
    onnx_value x = embeddings(b);
    for (int64_t i = 0; i < s->layers && b->graph.rc == 0; i++) {
        x = s->pre_norm ? pre_norm_layer(b, &common, x, &s->layer[i])
                        : post_norm_layer(b, &common, x, &s->layer[i], i + 1 == s->layers ? last : NULL);
    }
    x = s->pre_norm ? norm(b, x, s->final_norm_weight, s->final_norm_bias, last) : x;
    return widen(b, x, output);
}
