#include "model/onnx_build.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

float onnx_masked(const onnx_builder *b)
{
    return b->type == ONNX_FLOAT16 ? -3e4F : -3.4028234663852886e38F;
}

/* ---- nodes ------------------------------------------------------------------------------- */

onnx_value onnx_unary(onnx_builder *b, const char *type, onnx_value x)
{
    return onnx_node(&b->graph, type, &x, 1, NULL, NULL);
}

onnx_value onnx_binary(onnx_builder *b, const char *type, onnx_value x, onnx_value y)
{
    return onnx_node(&b->graph, type, (onnx_value[]){x, y}, 2, NULL, NULL);
}

onnx_value onnx_with_int(onnx_builder *b, const char *type, const onnx_value *inputs, size_t count,
                         const char *attribute, int64_t value)
{
    const onnx_attribute attributes[] = {{.name = attribute, .type = ONNX_ATTRIBUTE_INT, .i = value}, {.name = NULL}};
    return onnx_node(&b->graph, type, inputs, count, attributes, NULL);
}

onnx_value onnx_integer(onnx_builder *b, int64_t value)
{
    return onnx_ints(&b->graph, &value, 1);
}

onnx_value onnx_real(onnx_builder *b, float value)
{
    return onnx_float(&b->graph, value, b->type);
}

onnx_value onnx_transpose(onnx_builder *b, onnx_value x, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    const int64_t order[] = {d0, d1, d2, d3};
    const onnx_attribute attributes[] = {{.name = "perm", .type = ONNX_ATTRIBUTE_INTS, .ints = order, .count = 4},
                                         {.name = NULL}};
    return onnx_node(&b->graph, "Transpose", &x, 1, attributes, NULL);
}

onnx_value onnx_unsqueeze(onnx_builder *b, onnx_value x, int64_t axis)
{
    return onnx_binary(b, "Unsqueeze", x, onnx_integer(b, axis));
}

onnx_value onnx_cast(onnx_builder *b, onnx_value x, int64_t type)
{
    return onnx_with_int(b, "Cast", &x, 1, "to", type);
}

onnx_value onnx_slice(onnx_builder *b, onnx_value x, onnx_value start, onnx_value end, int64_t axis)
{
    const onnx_value inputs[] = {x, start, end, onnx_integer(b, axis)};
    return onnx_node(&b->graph, "Slice", inputs, 4, NULL, NULL);
}

onnx_value onnx_reduce(onnx_builder *b, onnx_value x, int64_t axis, bool keep)
{
    return onnx_with_int(b, "ReduceSum", (onnx_value[]){x, onnx_integer(b, axis)}, 2, "keepdims", keep);
}

onnx_value onnx_masked_by(onnx_builder *b, onnx_value mask)
{
    return onnx_binary(b, "Mul", onnx_binary(b, "Sub", onnx_real(b, 1.0F), mask), onnx_real(b, onnx_masked(b)));
}

/* ---- with weights ---------------------------------------------------------------------------- */

/* The Hugging Face name of the parameter at a place, then `suffix`; of a part of one (query, key and value
 * in one weight) with the number of its first row. */
static onnx_value weight_name(onnx_builder *b, tandem_place place, size_t count, size_t columns, const char *suffix)
{
    onnx_value name = onnx_named("");
    size_t first = (size_t)place;
    for (size_t i = 0; i < tandem_model_parameter_count(b->model); i++) {
        const tandem_parameter *parameter = tandem_model_parameter(b->model, i);
        if (first < parameter->offset || first >= parameter->offset + parameter->count) {
            continue;
        }
        size_t row = (first - parameter->offset) / columns;
        int length = parameter->count == count
                         ? snprintf(name.text, sizeof name.text, "%s%s", parameter->name, suffix)
                         : snprintf(name.text, sizeof name.text, "%s.%zu%s", parameter->name, row, suffix);
        if (length >= (int)sizeof name.text) {
            b->graph.rc = tandem_error("weight %s: its name is too long for an ONNX graph", parameter->name);
        }
        return name;
    }
    b->graph.rc = tandem_error("no parameter at place %lld of the arena", (long long)place);
    return name;
}

onnx_value onnx_vector(onnx_builder *b, tandem_place place, int64_t size)
{
    const onnx_weight weight = {.data = b->arena + place, .rows = 1, .columns = (size_t)size, .type = b->type};
    return onnx_weight_add(&b->graph, weight_name(b, place, (size_t)size, 1, "").text, weight);
}

static onnx_weight matrix_at(const onnx_builder *b, tandem_place place, int64_t rows, int64_t columns)
{
    return (onnx_weight){.data = b->arena + place, .rows = (size_t)rows, .columns = (size_t)columns, .matrix = true,
                         .type = b->type};
}

static onnx_value add_matrix(onnx_builder *b, tandem_place place, onnx_weight weight)
{
    size_t count = weight.rows * weight.columns;
    return onnx_weight_add(&b->graph, weight_name(b, place, count, weight.columns, "").text, weight);
}

onnx_value onnx_matrix(onnx_builder *b, tandem_place place, int64_t rows, int64_t columns, bool transposed)
{
    onnx_weight weight = matrix_at(b, place, rows, columns);
    weight.transpose = transposed;
    return add_matrix(b, place, weight);
}

/* ---- int8 ------------------------------------------------------------------------------------ */

/* A scale for each row, so that its largest number becomes `highest`; a row of zeros keeps them. */
static float *row_scales(onnx_builder *b, const onnx_weight *weight, int highest)
{
    float *scales = tandem_arena_alloc(b->tables, weight->rows, sizeof *scales);
    if (scales == NULL) {
        b->graph.rc = TANDEM_ERROR;
        return NULL;
    }
    for (size_t row = 0; row < weight->rows; row++) {
        float largest = 0;
        for (size_t i = 0; i < weight->columns; i++) {
            largest = fmaxf(largest, fabsf(weight->data[row * weight->columns + i]));
        }
        scales[row] = largest > 0 ? largest / (float)highest : 1.0F;
    }
    return scales;
}

/* Adds int8 rows, and their scales as [rows] or, for rows to be looked up, as [rows, 1]. */
static onnx_value add_rounded(onnx_builder *b, tandem_place place, onnx_weight weight, int highest,
                              onnx_value *scales)
{
    float *rows = row_scales(b, &weight, highest);
    onnx_value name = weight_name(b, place, weight.rows * weight.columns, weight.columns, ".scale");
    onnx_weight of_rows = {.data = rows, .rows = 1, .columns = weight.rows, .type = ONNX_FLOAT};
    if (!weight.transpose) {
        of_rows = (onnx_weight){.data = rows, .rows = weight.rows, .columns = 1, .matrix = true, .type = ONNX_FLOAT};
    }
    *scales = onnx_weight_add(&b->graph, name.text, of_rows);
    weight.type = ONNX_INT8;
    weight.scales = rows;
    return add_matrix(b, place, weight);
}

onnx_value onnx_embedding(onnx_builder *b, tandem_place place, int64_t rows, int64_t columns, onnx_value ids)
{
    if (!b->quantized) {
        return onnx_binary(b, "Gather", onnx_matrix(b, place, rows, columns, false), ids);
    }
    onnx_value scales, table = add_rounded(b, place, matrix_at(b, place, rows, columns), 127, &scales);
    onnx_value row = onnx_cast(b, onnx_binary(b, "Gather", table, ids), ONNX_FLOAT);
    return onnx_binary(b, "Mul", row, onnx_binary(b, "Gather", scales, ids));
}

/* x in uint8, by the range that it has where the graph runs. */
static onnx_rounded round_dynamically(onnx_builder *b, onnx_value x)
{
    onnx_value outputs[3];
    onnx_node_of_many(&b->graph, "DynamicQuantizeLinear", &x, 1, outputs, 3);
    return (onnx_rounded){x, outputs[0], outputs[1], outputs[2]};
}

/* x in 256 steps of the next measured range, as floats; 0 is one of the steps. */
static onnx_rounded round_statically(onnx_builder *b, onnx_value x)
{
    if (b->next_range == b->options->range_count) {
        b->graph.rc = tandem_error("ranges of %zu activations are too few for this graph", b->options->range_count);
        return (onnx_rounded){.of = x};
    }
    const float *range = b->options->ranges + 2 * b->next_range++;
    float low = fminf(range[0], 0), high = fmaxf(range[1], 0), step = (high - low) / 255;
    step = step > 0 ? step : 1.0F;
    onnx_value scale = onnx_real(b, step), zero = onnx_byte(&b->graph, (uint8_t)lrintf(-low / step));
    const onnx_value inputs[] = {x, scale, zero};
    const onnx_value back[] = {onnx_node(&b->graph, "QuantizeLinear", inputs, 3, NULL, NULL), scale, zero};
    return (onnx_rounded){x, onnx_node(&b->graph, "DequantizeLinear", back, 3, NULL, NULL), scale, zero};
}

/* Once for all layers that read x. */
static const onnx_rounded *round_activation(onnx_builder *b, onnx_value x)
{
    if (strcmp(b->rounded.of.text, x.text) != 0) {
        b->rounded = b->options->ranges ? round_statically(b, x) : round_dynamically(b, x);
    }
    return &b->rounded;
}

/* Dynamic: the product of integers, then both scales, nodes that ONNX Runtime takes together as it makes them itself.
 * Static: the product of what both stand for, from which engines make one of integers. With weights of 7 bits no
 * sum of two products of uint8 and int8 leaves int16, which CPUs without VNNI add them in. */
static onnx_value integer_product(onnx_builder *b, onnx_value x, tandem_place weight, int64_t out, int64_t in)
{
    const onnx_attribute by_column[] = {{.name = "axis", .type = ONNX_ATTRIBUTE_INT, .i = 1}, {.name = NULL}};
    const onnx_rounded *rounded = round_activation(b, x);
    onnx_weight matrix = matrix_at(b, weight, out, in);
    onnx_value scales, rows;
    matrix.transpose = true;
    rows = add_rounded(b, weight, matrix, b->options->weight_bits == 7 ? 63 : 127, &scales);
    if (b->options->ranges) {
        const onnx_value stored[] = {rows, scales};
        onnx_value values = onnx_node(&b->graph, "DequantizeLinear", stored, 2, by_column, NULL);
        return onnx_binary(b, "MatMul", rounded->values, values);
    }
    const onnx_value inputs[] = {rounded->values, rows, rounded->zero};
    onnx_value sums = onnx_cast(b, onnx_node(&b->graph, "MatMulInteger", inputs, 3, NULL, NULL), ONNX_FLOAT);
    return onnx_binary(b, "Mul", sums, onnx_binary(b, "Mul", rounded->scale, scales));
}

/* ---- ranges ----------------------------------------------------------------------------------- */

/* Least and greatest number of x, once for all layers that read it. */
static void measure(onnx_builder *b, onnx_value x)
{
    static const char *const ends[] = {"ReduceMin", "ReduceMax"};
    if (strcmp(b->rounded.of.text, x.text) == 0) {
        return;
    }
    b->rounded.of = x;
    if (b->graph.rc == 0) {
        b->graph.rc = tandem_grow((void **)&b->ranges, &b->range_capacity, b->range_count + 2, sizeof *b->ranges);
    }
    for (size_t i = 0; i < 2 && b->graph.rc == 0; i++) {
        b->ranges[b->range_count++] = onnx_unsqueeze(b, onnx_with_int(b, ends[i], &x, 1, "keepdims", 0), 0);
    }
}

void onnx_ranges(onnx_builder *b)
{
    const onnx_attribute axis[] = {{.name = "axis", .type = ONNX_ATTRIBUTE_INT, .i = 0}, {.name = NULL}};
    onnx_node(&b->graph, "Concat", b->ranges, b->range_count, axis, "ranges");
}

/* ---- layers ----------------------------------------------------------------------------------- */

/* x W^T + bias */
onnx_value onnx_linear(onnx_builder *b, onnx_value x, tandem_place weight, tandem_place bias, int64_t out, int64_t in)
{
    if (b->measured) {
        measure(b, x);
    }
    onnx_value y = b->quantized ? integer_product(b, x, weight, out, in)
                                : onnx_binary(b, "MatMul", x, onnx_matrix(b, weight, out, in, true));
    return bias < 0 ? y : onnx_binary(b, "Add", y, onnx_vector(b, bias, out));
}

onnx_value onnx_layer_norm(onnx_builder *b, onnx_value x, tandem_place weight, tandem_place bias, int64_t size,
                           double eps, const char *output)
{
    const onnx_attribute attributes[] = {{.name = "axis", .type = ONNX_ATTRIBUTE_INT, .i = -1},
                                         {.name = "epsilon", .type = ONNX_ATTRIBUTE_FLOAT, .f = (float)eps},
                                         {.name = NULL}};
    onnx_value inputs[3] = {x, onnx_vector(b, weight, size)};
    if (bias >= 0) {
        inputs[2] = onnx_vector(b, bias, size);
    }
    return onnx_node(&b->graph, "LayerNormalization", inputs, bias >= 0 ? 3 : 2, attributes, output);
}

onnx_value onnx_activation(onnx_builder *b, tandem_activation activation, onnx_value x)
{
    switch (activation) {
    case TANDEM_ACTIVATION_IDENTITY:
        return x;
    case TANDEM_ACTIVATION_TANH:
        return onnx_unary(b, "Tanh", x);
    case TANDEM_ACTIVATION_RELU:
        return onnx_unary(b, "Relu", x);
    case TANDEM_ACTIVATION_SILU:
        return onnx_binary(b, "Mul", x, onnx_unary(b, "Sigmoid", x));
    case TANDEM_ACTIVATION_GELU_TANH: { /* 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
        onnx_value cube = onnx_binary(b, "Mul", onnx_binary(b, "Mul", x, x), x);
        onnx_value inner = onnx_binary(b, "Add", x, onnx_binary(b, "Mul", cube, onnx_real(b, 0.044715F)));
        onnx_value tanh = onnx_unary(b, "Tanh", onnx_binary(b, "Mul", inner, onnx_real(b, 0.7978845608028654F)));
        return onnx_binary(b, "Mul", onnx_binary(b, "Mul", x, onnx_binary(b, "Add", tanh, onnx_real(b, 1.0F))),
                           onnx_real(b, 0.5F));
    }
    case TANDEM_ACTIVATION_GELU:
        break;
    }
    /* 0.5 x (1 + erf(x / sqrt(2))): the five nodes that engines know as GELU */
    onnx_value erf = onnx_unary(b, "Erf", onnx_binary(b, "Div", x, onnx_real(b, 1.4142135623730951F)));
    return onnx_binary(b, "Mul", onnx_binary(b, "Mul", x, onnx_binary(b, "Add", erf, onnx_real(b, 1.0F))),
                       onnx_real(b, 0.5F));
}

onnx_value onnx_table(onnx_builder *b, const char *name, const float *data, size_t rows, size_t columns)
{
    const onnx_weight weight = {.data = data, .rows = rows, .columns = columns, .matrix = true, .type = b->type};
    return onnx_weight_add(&b->graph, name, weight);
}
