/* onnx_proto.c - a graph under construction: its messages in buffers. */
#include "model/onnx_proto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/onnx_wire.h"

void onnx_graph_free(onnx_graph *graph)
{
    for (size_t i = 0; i < graph->weight_count; i++) {
        free(graph->weights[i].name);
    }
    free(graph->weights);
    tandem_buffer_free(&graph->nodes);
    tandem_buffer_free(&graph->values);
    tandem_buffer_free(&graph->scratch);
    tandem_buffer_free(&graph->scratch2);
    memset(graph, 0, sizeof *graph);
}

onnx_value onnx_named(const char *name)
{
    onnx_value value;
    snprintf(value.text, sizeof value.text, "%s", name);
    return value;
}

static onnx_value fresh(onnx_graph *graph, const char *stem)
{
    onnx_value value;
    snprintf(value.text, sizeof value.text, "%s_%zu", stem, graph->next++);
    return value;
}

/* ValueInfoProto{name=1, type=2{tensor_type=1{elem_type=1, shape=2{dim=1{value=1 | param=2}}}}} */
static int value_info(onnx_graph *graph, unsigned field, const char *name, int type, const onnx_dim *dims, size_t count)
{
    tandem_buffer shape = TANDEM_BUFFER_INIT;
    tandem_buffer tensor = TANDEM_BUFFER_INIT;
    tandem_buffer dim = TANDEM_BUFFER_INIT;
    int rc = TANDEM_OK;
    for (size_t i = 0; i < count; i++) {
        tandem_buffer_clear(&dim);
        TANDEM_TRY_GOTO(rc, done, dims[i].name ? onnx_put_string(&dim, 2, dims[i].name) : onnx_put_int(&dim, 1, dims[i].value));
        TANDEM_TRY_GOTO(rc, done, onnx_put_bytes(&shape, 1, dim.data, dim.length));
    }
    TANDEM_TRY_GOTO(rc, done, onnx_put_int(&tensor, 1, type));
    TANDEM_TRY_GOTO(rc, done, onnx_put_bytes(&tensor, 2, shape.data, shape.length));
    tandem_buffer_clear(&shape);
    TANDEM_TRY_GOTO(rc, done, onnx_put_bytes(&shape, 1, tensor.data, tensor.length)); /* TypeProto */
    tandem_buffer_clear(&tensor);
    TANDEM_TRY_GOTO(rc, done, onnx_put_string(&tensor, 1, name));
    TANDEM_TRY_GOTO(rc, done, onnx_put_bytes(&tensor, 2, shape.data, shape.length));
    TANDEM_TRY_GOTO(rc, done, onnx_put_bytes(&graph->values, field, tensor.data, tensor.length));
done:
    tandem_buffer_free(&shape);
    tandem_buffer_free(&tensor);
    tandem_buffer_free(&dim);
    return rc;
}

void onnx_graph_input(onnx_graph *graph, const char *name, int type, const onnx_dim *dims, size_t count)
{
    if (graph->rc == TANDEM_OK) {
        graph->rc = value_info(graph, 11, name, type, dims, count);
    }
}

void onnx_graph_output(onnx_graph *graph, const char *name, int type, const onnx_dim *dims, size_t count)
{
    if (graph->rc == TANDEM_OK) {
        graph->rc = value_info(graph, 12, name, type, dims, count);
    }
}

/* A small constant as TensorProto{dims=1, data_type=2, name=8, raw_data=9}. */
static int constant(onnx_graph *graph, const char *name, int type, const int64_t *dims, size_t dim_count,
                    const void *data, size_t bytes)
{
    tandem_buffer *tensor = &graph->scratch;
    tandem_buffer_clear(tensor);
    for (size_t i = 0; i < dim_count; i++) {
        TANDEM_TRY(onnx_put_int(tensor, 1, dims[i]));
    }
    TANDEM_TRY(onnx_put_int(tensor, 2, type));
    TANDEM_TRY(onnx_put_string(tensor, 8, name));
    TANDEM_TRY(onnx_put_bytes(tensor, 9, data, bytes));
    return onnx_put_bytes(&graph->values, 5, tensor->data, tensor->length);
}

onnx_value onnx_float(onnx_graph *graph, float value, int type)
{
    onnx_value name = fresh(graph, "constant");
    uint16_t half = 0;
    if (graph->rc == TANDEM_OK && type == ONNX_FLOAT16 && !onnx_half(&half, value)) {
        graph->rc = tandem_error("%g is beyond the numbers of float16", (double)value);
    }
    if (graph->rc == TANDEM_OK) {
        graph->rc = type == ONNX_FLOAT16 ? constant(graph, name.text, type, NULL, 0, &half, sizeof half)
                                         : constant(graph, name.text, type, NULL, 0, &value, sizeof value);
    }
    return name;
}

onnx_value onnx_int(onnx_graph *graph, int64_t value)
{
    onnx_value name = fresh(graph, "constant");
    if (graph->rc == TANDEM_OK) {
        graph->rc = constant(graph, name.text, ONNX_INT64, NULL, 0, &value, sizeof value);
    }
    return name;
}

onnx_value onnx_byte(onnx_graph *graph, uint8_t value)
{
    onnx_value name = fresh(graph, "constant");
    if (graph->rc == TANDEM_OK) {
        graph->rc = constant(graph, name.text, ONNX_UINT8, NULL, 0, &value, sizeof value);
    }
    return name;
}

onnx_value onnx_ints(onnx_graph *graph, const int64_t *values, size_t count)
{
    onnx_value name = fresh(graph, "constant");
    int64_t dim = (int64_t)count;
    if (graph->rc == TANDEM_OK) {
        graph->rc = constant(graph, name.text, ONNX_INT64, &dim, 1, values, count * sizeof *values);
    }
    return name;
}

onnx_value onnx_weight_add(onnx_graph *graph, const char *name, onnx_weight weight)
{
    if (graph->rc == TANDEM_OK) {
        graph->rc = tandem_grow((void **)&graph->weights, &graph->weight_capacity, graph->weight_count + 1,
                                sizeof *graph->weights);
    }
    if (graph->rc == TANDEM_OK) {
        weight.name = tandem_strdup(name);
        if (weight.name) {
            graph->weights[graph->weight_count++] = weight;
        } else {
            graph->rc = TANDEM_ERROR;
        }
    }
    return onnx_named(name);
}

void onnx_graph_option(onnx_graph *graph, const char *name, int64_t otherwise)
{
    const onnx_dim dim = {NULL, 1};
    onnx_graph_input(graph, name, ONNX_INT64, &dim, 1);
    if (graph->rc == TANDEM_OK) {
        graph->rc = constant(graph, name, ONNX_INT64, &dim.value, 1, &otherwise, sizeof otherwise);
    }
}

/* AttributeProto{name=1, f=2, i=3, ints=8, type=20} */
static int put_attribute(tandem_buffer *node, tandem_buffer *scratch, const onnx_attribute *attribute)
{
    tandem_buffer_clear(scratch);
    TANDEM_TRY(onnx_put_string(scratch, 1, attribute->name));
    switch (attribute->type) {
    case ONNX_ATTRIBUTE_FLOAT: TANDEM_TRY(onnx_put_float(scratch, 2, attribute->f)); break;
    case ONNX_ATTRIBUTE_INT: TANDEM_TRY(onnx_put_int(scratch, 3, attribute->i)); break;
    case ONNX_ATTRIBUTE_INTS:
        for (size_t i = 0; i < attribute->count; i++) {
            TANDEM_TRY(onnx_put_int(scratch, 8, attribute->ints[i]));
        }
        break;
    }
    TANDEM_TRY(onnx_put_int(scratch, 20, attribute->type));
    return onnx_put_bytes(node, 5, scratch->data, scratch->length);
}

/* NodeProto{input=1, output=2, name=3, op_type=4, attribute=5} */
static int put_node(onnx_graph *graph, const char *type, const onnx_value *inputs, size_t count,
                    const onnx_attribute *attributes, const onnx_value *outputs, size_t output_count)
{
    tandem_buffer *node = &graph->scratch;
    tandem_buffer_clear(node);
    for (size_t i = 0; i < count; i++) {
        TANDEM_TRY(onnx_put_string(node, 1, inputs[i].text));
    }
    for (size_t i = 0; i < output_count; i++) {
        TANDEM_TRY(onnx_put_string(node, 2, outputs[i].text));
    }
    TANDEM_TRY(onnx_put_string(node, 3, outputs[0].text)); /* its first output names a node */
    TANDEM_TRY(onnx_put_string(node, 4, type));
    for (const onnx_attribute *a = attributes; a && a->name; a++) {
        TANDEM_TRY(put_attribute(node, &graph->scratch2, a));
    }
    return onnx_put_bytes(&graph->nodes, 1, node->data, node->length);
}

onnx_value onnx_node(onnx_graph *graph, const char *type, const onnx_value *inputs, size_t count,
                     const onnx_attribute *attributes, const char *output)
{
    onnx_value name = output ? onnx_named(output) : fresh(graph, type);
    if (graph->rc == TANDEM_OK) {
        graph->rc = put_node(graph, type, inputs, count, attributes, &name, 1);
    }
    return name;
}

void onnx_node_of_many(onnx_graph *graph, const char *type, const onnx_value *inputs, size_t count,
                       onnx_value *outputs, size_t output_count)
{
    for (size_t i = 0; i < output_count; i++) {
        outputs[i] = fresh(graph, type);
    }
    if (graph->rc == TANDEM_OK) {
        graph->rc = put_node(graph, type, inputs, count, NULL, outputs, output_count);
    }
}
