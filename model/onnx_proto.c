/* Protobuf for ONNX: messages in buffers, weights streamed. */
#include "model/onnx_proto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"

/* protobuf wire types */
enum { WIRE_VARINT = 0, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum { ONNX_IR_VERSION = 8, ONNX_OPSET = 17 };

/* A file beyond this cannot be parsed by protobuf, whose sizes are 32-bit signed. */
static const uint64_t ONNX_SIZE_LIMIT = (UINT64_C(1) << 31) - 1;

/* ---- varints and fields ------------------------------------------------------------- */

static size_t varint_encode(unsigned char out[10], uint64_t value)
{
    size_t length = 0;
    while (value >= 0x80) {
        out[length++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    out[length++] = (unsigned char)value;
    return length;
}

static size_t varint_size(uint64_t value)
{
    unsigned char bytes[10];
    return varint_encode(bytes, value);
}

static int put_varint(tandem_buffer *out, uint64_t value)
{
    unsigned char bytes[10];
    return tandem_buffer_append(out, bytes, varint_encode(bytes, value));
}

static int put_tag(tandem_buffer *out, unsigned field, unsigned wire)
{
    return put_varint(out, (uint64_t)field << 3 | wire);
}

static int put_int(tandem_buffer *out, unsigned field, int64_t value)
{
    TANDEM_TRY(put_tag(out, field, WIRE_VARINT));
    return put_varint(out, (uint64_t)value);
}

static int put_float(tandem_buffer *out, unsigned field, float value)
{
    TANDEM_TRY(put_tag(out, field, WIRE_FIXED32));
    return tandem_buffer_append(out, &value, sizeof value); /* x86-64 and AArch64: little-endian */
}

static int put_bytes(tandem_buffer *out, unsigned field, const void *data, size_t length)
{
    TANDEM_TRY(put_tag(out, field, WIRE_BYTES));
    TANDEM_TRY(put_varint(out, length));
    return tandem_buffer_append(out, data, length);
}

static int put_string(tandem_buffer *out, unsigned field, const char *text)
{
    return put_bytes(out, field, text, strlen(text));
}

/* ---- graph ------------------------------------------------------------------------------ */

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
        TANDEM_TRY_GOTO(rc, done, dims[i].name ? put_string(&dim, 2, dims[i].name) : put_int(&dim, 1, dims[i].value));
        TANDEM_TRY_GOTO(rc, done, put_bytes(&shape, 1, dim.data, dim.length));
    }
    TANDEM_TRY_GOTO(rc, done, put_int(&tensor, 1, type));
    TANDEM_TRY_GOTO(rc, done, put_bytes(&tensor, 2, shape.data, shape.length));
    tandem_buffer_clear(&shape);
    TANDEM_TRY_GOTO(rc, done, put_bytes(&shape, 1, tensor.data, tensor.length)); /* TypeProto */
    tandem_buffer_clear(&tensor);
    TANDEM_TRY_GOTO(rc, done, put_string(&tensor, 1, name));
    TANDEM_TRY_GOTO(rc, done, put_bytes(&tensor, 2, shape.data, shape.length));
    TANDEM_TRY_GOTO(rc, done, put_bytes(&graph->values, field, tensor.data, tensor.length));
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
        TANDEM_TRY(put_int(tensor, 1, dims[i]));
    }
    TANDEM_TRY(put_int(tensor, 2, type));
    TANDEM_TRY(put_string(tensor, 8, name));
    TANDEM_TRY(put_bytes(tensor, 9, data, bytes));
    return put_bytes(&graph->values, 5, tensor->data, tensor->length);
}

onnx_value onnx_float(onnx_graph *graph, float value)
{
    onnx_value name = fresh(graph, "constant");
    if (graph->rc == TANDEM_OK) {
        graph->rc = constant(graph, name.text, ONNX_FLOAT, NULL, 0, &value, sizeof value);
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

onnx_value onnx_ints(onnx_graph *graph, const int64_t *values, size_t count)
{
    onnx_value name = fresh(graph, "constant");
    int64_t dim = (int64_t)count;
    if (graph->rc == TANDEM_OK) {
        graph->rc = constant(graph, name.text, ONNX_INT64, &dim, 1, values, count * sizeof *values);
    }
    return name;
}

onnx_value onnx_weight_add(onnx_graph *graph, const char *name, const float *data, size_t rows, size_t columns,
                           bool matrix, bool transpose)
{
    if (graph->rc == TANDEM_OK) {
        graph->rc = tandem_grow((void **)&graph->weights, &graph->weight_capacity, graph->weight_count + 1,
                                sizeof *graph->weights);
    }
    if (graph->rc == TANDEM_OK) {
        char *copy = tandem_strdup(name);
        if (copy) {
            graph->weights[graph->weight_count++] = (onnx_weight){copy, data, rows, columns, matrix, transpose};
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
    TANDEM_TRY(put_string(scratch, 1, attribute->name));
    switch (attribute->type) {
    case ONNX_ATTRIBUTE_FLOAT: TANDEM_TRY(put_float(scratch, 2, attribute->f)); break;
    case ONNX_ATTRIBUTE_INT: TANDEM_TRY(put_int(scratch, 3, attribute->i)); break;
    case ONNX_ATTRIBUTE_INTS:
        for (size_t i = 0; i < attribute->count; i++) {
            TANDEM_TRY(put_int(scratch, 8, attribute->ints[i]));
        }
        break;
    }
    TANDEM_TRY(put_int(scratch, 20, attribute->type));
    return put_bytes(node, 5, scratch->data, scratch->length);
}

/* NodeProto{input=1, output=2, name=3, op_type=4, attribute=5} */
static int put_node(onnx_graph *graph, const char *type, const onnx_value *inputs, size_t count,
                    const onnx_attribute *attributes, const char *output)
{
    tandem_buffer *node = &graph->scratch;
    tandem_buffer_clear(node);
    for (size_t i = 0; i < count; i++) {
        TANDEM_TRY(put_string(node, 1, inputs[i].text));
    }
    TANDEM_TRY(put_string(node, 2, output));
    TANDEM_TRY(put_string(node, 3, output)); /* a node has one output, whose name names it */
    TANDEM_TRY(put_string(node, 4, type));
    for (const onnx_attribute *a = attributes; a && a->name; a++) {
        TANDEM_TRY(put_attribute(node, &graph->scratch2, a));
    }
    return put_bytes(&graph->nodes, 1, node->data, node->length);
}

onnx_value onnx_node(onnx_graph *graph, const char *type, const onnx_value *inputs, size_t count,
                     const onnx_attribute *attributes, const char *output)
{
    onnx_value name = output ? onnx_named(output) : fresh(graph, type);
    if (graph->rc == TANDEM_OK) {
        graph->rc = put_node(graph, type, inputs, count, attributes, name.text);
    }
    return name;
}

/* ---- the file ---------------------------------------------------------------------------- */

/* Everything of a weight's TensorProto but its payload. */
static int weight_head(tandem_buffer *out, const onnx_weight *weight, uint64_t payload)
{
    tandem_buffer_clear(out);
    if (weight->matrix) {
        TANDEM_TRY(put_int(out, 1, (int64_t)(weight->transpose ? weight->columns : weight->rows)));
    }
    TANDEM_TRY(put_int(out, 1, (int64_t)(weight->matrix && weight->transpose ? weight->rows : weight->columns)));
    TANDEM_TRY(put_int(out, 2, ONNX_FLOAT));
    TANDEM_TRY(put_string(out, 8, weight->name));
    TANDEM_TRY(put_tag(out, 9, WIRE_BYTES));
    return put_varint(out, payload);
}

static uint64_t payload_size(const onnx_weight *weight)
{
    return (uint64_t)weight->rows * weight->columns * sizeof(float);
}

/* Streams [columns, rows] of a [rows, columns] matrix, some output rows at a time. */
static int write_transposed(tandem_writer *writer, const onnx_weight *weight)
{
    enum { BLOCK = 64 };
    float *block = tandem_alloc(BLOCK * weight->rows, sizeof *block);
    if (!block) {
        return TANDEM_ERROR;
    }
    int rc = TANDEM_OK;
    for (size_t first = 0; rc == TANDEM_OK && first < weight->columns; first += BLOCK) {
        size_t count = weight->columns - first < BLOCK ? weight->columns - first : BLOCK;
        for (size_t row = 0; row < weight->rows; row++) {
            for (size_t i = 0; i < count; i++) {
                block[i * weight->rows + row] = weight->data[row * weight->columns + first + i];
            }
        }
        rc = tandem_writer_write(writer, block, count * weight->rows * sizeof *block);
    }
    free(block);
    return rc;
}

static int write_weights(tandem_writer *writer, const onnx_graph *graph, tandem_buffer *scratch)
{
    for (size_t i = 0; i < graph->weight_count; i++) {
        const onnx_weight *weight = &graph->weights[i];
        uint64_t payload = payload_size(weight);
        tandem_buffer tag = TANDEM_BUFFER_INIT;
        TANDEM_TRY(weight_head(scratch, weight, payload));
        int rc = put_tag(&tag, 5, WIRE_BYTES);
        rc = rc < 0 ? rc : put_varint(&tag, scratch->length + payload);
        rc = rc < 0 ? rc : tandem_writer_write(writer, tag.data, tag.length);
        tandem_buffer_free(&tag);
        TANDEM_TRY(rc);
        TANDEM_TRY(tandem_writer_write(writer, scratch->data, scratch->length));
        TANDEM_TRY(weight->transpose ? write_transposed(writer, weight)
                                     : tandem_writer_write(writer, weight->data, payload));
    }
    return TANDEM_OK;
}

/* The bytes that the weights will take inside GraphProto. */
static int weights_size(uint64_t *out, const onnx_graph *graph, tandem_buffer *scratch)
{
    *out = 0;
    for (size_t i = 0; i < graph->weight_count; i++) {
        uint64_t payload = payload_size(&graph->weights[i]);
        TANDEM_TRY(weight_head(scratch, &graph->weights[i], payload));
        uint64_t size = scratch->length + payload;
        *out += 1 + varint_size(size) + size; /* field 5: a tag of one byte */
    }
    return TANDEM_OK;
}

/* ModelProto{ir_version=1, producer_name=2, graph=7, opset_import=8{version=2}};
 * GraphProto{node=1, name=2, initializer=5, input=11, output=12} */
int onnx_graph_write(const onnx_graph *graph, const char *graph_name, const char *path)
{
    TANDEM_TRY(graph->rc);
    tandem_buffer head = TANDEM_BUFFER_INIT;
    tandem_buffer name = TANDEM_BUFFER_INIT;
    tandem_buffer scratch = TANDEM_BUFFER_INIT;
    tandem_writer *writer = NULL;
    uint64_t weights = 0;
    int rc;
    TANDEM_TRY_GOTO(rc, done, put_string(&name, 2, graph_name));
    TANDEM_TRY_GOTO(rc, done, weights_size(&weights, graph, &scratch));
    uint64_t size = graph->nodes.length + name.length + graph->values.length + weights;
    if (size > ONNX_SIZE_LIMIT - 4096) {
        rc = tandem_error("%s: the model takes %llu bytes, an ONNX file with weights inline holds at most %llu", path,
                          (unsigned long long)size, (unsigned long long)ONNX_SIZE_LIMIT);
        goto done;
    }
    TANDEM_TRY_GOTO(rc, done, put_int(&head, 1, ONNX_IR_VERSION));
    TANDEM_TRY_GOTO(rc, done, put_string(&head, 2, "tandem"));
    tandem_buffer_clear(&scratch);
    TANDEM_TRY_GOTO(rc, done, put_int(&scratch, 2, ONNX_OPSET));
    TANDEM_TRY_GOTO(rc, done, put_bytes(&head, 8, scratch.data, scratch.length));
    TANDEM_TRY_GOTO(rc, done, put_tag(&head, 7, WIRE_BYTES));
    TANDEM_TRY_GOTO(rc, done, put_varint(&head, size));

    TANDEM_TRY_GOTO(rc, done, tandem_writer_open(&writer, path));
    TANDEM_TRY_GOTO(rc, done, tandem_writer_write(writer, head.data, head.length));
    TANDEM_TRY_GOTO(rc, done, tandem_writer_write(writer, graph->nodes.data, graph->nodes.length));
    TANDEM_TRY_GOTO(rc, done, tandem_writer_write(writer, name.data, name.length));
    TANDEM_TRY_GOTO(rc, done, tandem_writer_write(writer, graph->values.data, graph->values.length));
    TANDEM_TRY_GOTO(rc, done, write_weights(writer, graph, &scratch));
    rc = tandem_writer_commit(&writer);
done:
    tandem_writer_abort(writer);
    tandem_buffer_free(&head);
    tandem_buffer_free(&name);
    tandem_buffer_free(&scratch);
    return rc;
}
