#include "model/onnx_build.h"

#include <stdio.h>
#include <string.h>

const float ONNX_MASKED = -3.4028234663852886e38f;

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
    return onnx_float(&b->graph, value);
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
    return onnx_binary(b, "Mul", onnx_binary(b, "Sub", onnx_real(b, 1.0F), mask), onnx_real(b, ONNX_MASKED));
}

/* ---- with weights ---------------------------------------------------------------------------- */

/* Adds `rows` * `columns` floats at a place under the Hugging Face name of their parameter; of a part
 * of one (query, key and value in one weight) with the number of its first row. */
static onnx_value add_weight(onnx_builder *b, tandem_place place, int64_t rows, int64_t columns, bool matrix,
                             bool transposed)
{
    size_t first = (size_t)place, count = (size_t)(rows * columns);
    for (size_t i = 0; i < tandem_model_parameter_count(b->model); i++) {
        const tandem_parameter *parameter = tandem_model_parameter(b->model, i);
        if (first < parameter->offset || first >= parameter->offset + parameter->count) {
            continue;
        }
        char name[sizeof(onnx_value)];
        size_t row = (first - parameter->offset) / (size_t)(matrix ? columns : 1);
        int length = parameter->count == count ? snprintf(name, sizeof name, "%s", parameter->name)
                                               : snprintf(name, sizeof name, "%s.%zu", parameter->name, row);
        if (length >= (int)sizeof name) {
            b->graph.rc = tandem_error("weight %s: its name is too long for an ONNX graph", parameter->name);
        }
        return onnx_weight_add(&b->graph, name, b->arena + place, (size_t)rows, (size_t)columns, matrix, transposed);
    }
    b->graph.rc = tandem_error("no parameter at place %lld of the arena", (long long)place);
    return onnx_named("");
}

onnx_value onnx_vector(onnx_builder *b, tandem_place place, int64_t size)
{
    return add_weight(b, place, 1, size, false, false);
}

onnx_value onnx_matrix(onnx_builder *b, tandem_place place, int64_t rows, int64_t columns, bool transposed)
{
    return add_weight(b, place, rows, columns, true, transposed);
}

/* x W^T + bias */
onnx_value onnx_linear(onnx_builder *b, onnx_value x, tandem_place weight, tandem_place bias, int64_t out, int64_t in)
{
    onnx_value y = onnx_binary(b, "MatMul", x, onnx_matrix(b, weight, out, in, true));
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
    return onnx_weight_add(&b->graph, name, data, rows, columns, true, false);
}
