/* onnx_file.c - a graph as a file, weights streamed and converted on the way, and external data. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/onnx_proto.h"
#include "model/onnx_wire.h"
#include "tandem/file.h"

enum { ONNX_IR_VERSION = 8, ONNX_OPSET = 17 };

/* A file beyond this cannot be parsed by protobuf, whose sizes are 32-bit signed. */
static const uint64_t SIZE_LIMIT = (UINT64_C(1) << 31) - 1;

/* External data: small tensors stay inline, where engines that infer shapes read them; offsets are multiples
 * of a page, so that they can be mapped. */
enum { EXTERNAL_FROM = 1024, EXTERNAL_ALIGNMENT = 4096 };

/* TensorProto.DataLocation */
enum { LOCATION_EXTERNAL = 1 };

/* Where the weights of a graph go. */
typedef struct {
    const onnx_graph *graph;
    const char *location; /* name of the file of external data; NULL: all inline */
    tandem_buffer head;   /* of the weight at hand */
} placement;

/* ---- weights: conversion -------------------------------------------------------------------- */

static size_t number_size(int type)
{
    return type == ONNX_FLOAT ? 4 : type == ONNX_FLOAT16 ? 2 : 1;
}

static uint64_t payload_size(const onnx_weight *weight)
{
    return (uint64_t)weight->rows * weight->columns * number_size(weight->type);
}

/* Rows `first` to `first` + `count` of the weight as the file holds it, as floats. */
static void gather(float *block, const onnx_weight *weight, size_t first, size_t count)
{
    if (!weight->transpose) {
        memcpy(block, weight->data + first * weight->columns, count * weight->columns * sizeof *block);
        return;
    }
    for (size_t row = 0; row < weight->rows; row++) {
        for (size_t i = 0; i < count; i++) {
            block[i * weight->rows + row] = weight->data[row * weight->columns + first + i];
        }
    }
}

static void quantize(int8_t *out, const float *block, const onnx_weight *weight, size_t first, size_t count)
{
    size_t width = weight->transpose ? weight->rows : weight->columns;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < width; j++) {
            float scale = weight->scales[weight->transpose ? j : first + i];
            out[i * width + j] = (int8_t)lrintf(block[i * width + j] / scale);
        }
    }
}

static int halve(uint16_t *out, const float *block, size_t count, const onnx_weight *weight)
{
    for (size_t i = 0; i < count; i++) {
        if (!onnx_half(&out[i], block[i])) {
            return tandem_error("weight %s: %g is beyond the numbers of float16", weight->name, (double)block[i]);
        }
    }
    return TANDEM_OK;
}

/* Streams a weight, some rows at a time. */
static int write_payload(tandem_writer *writer, const onnx_weight *weight)
{
    enum { BLOCK = 64 };
    size_t rows = weight->transpose ? weight->columns : weight->rows;
    size_t width = weight->transpose ? weight->rows : weight->columns;
    float *block = tandem_alloc(BLOCK * width, sizeof *block);
    void *converted = tandem_alloc(BLOCK * width, sizeof(uint16_t));
    int rc = block && converted ? TANDEM_OK : TANDEM_ERROR;
    for (size_t first = 0; rc == TANDEM_OK && first < rows; first += BLOCK) {
        size_t count = rows - first < BLOCK ? rows - first : BLOCK;
        const void *bytes = weight->type == ONNX_FLOAT ? block : converted;
        gather(block, weight, first, count);
        if (weight->type == ONNX_INT8) {
            quantize(converted, block, weight, first, count);
        } else if (weight->type == ONNX_FLOAT16) {
            rc = halve(converted, block, count * width, weight);
        }
        rc = rc < 0 ? rc : tandem_writer_write(writer, bytes, count * width * number_size(weight->type));
    }
    free(block);
    free(converted);
    return rc;
}

/* ---- weights: where they go -------------------------------------------------------------------- */

static bool is_external(const placement *place, const onnx_weight *weight)
{
    return place->location != NULL && payload_size(weight) >= EXTERNAL_FROM;
}

/* TensorProto.external_data=13, a StringStringEntryProto{key=1, value=2} */
static int put_entry(tandem_buffer *out, const char *key, const char *value)
{
    tandem_buffer entry = TANDEM_BUFFER_INIT;
    int rc = onnx_put_string(&entry, 1, key);
    rc = rc < 0 ? rc : onnx_put_string(&entry, 2, value);
    rc = rc < 0 ? rc : onnx_put_bytes(out, 13, entry.data, entry.length);
    tandem_buffer_free(&entry);
    return rc;
}

static int put_location(placement *place, uint64_t offset, uint64_t length)
{
    char number[24];
    TANDEM_TRY(put_entry(&place->head, "location", place->location));
    snprintf(number, sizeof number, "%llu", (unsigned long long)offset);
    TANDEM_TRY(put_entry(&place->head, "offset", number));
    snprintf(number, sizeof number, "%llu", (unsigned long long)length);
    TANDEM_TRY(put_entry(&place->head, "length", number));
    return onnx_put_int(&place->head, 14, LOCATION_EXTERNAL);
}

/* Everything of a weight's TensorProto but an inline payload, into place->head. */
static int weight_head(placement *place, const onnx_weight *weight, uint64_t offset)
{
    tandem_buffer *out = &place->head;
    uint64_t payload = payload_size(weight);
    tandem_buffer_clear(out);
    if (weight->matrix) {
        TANDEM_TRY(onnx_put_int(out, 1, (int64_t)(weight->transpose ? weight->columns : weight->rows)));
    }
    TANDEM_TRY(onnx_put_int(out, 1, (int64_t)(weight->matrix && weight->transpose ? weight->rows : weight->columns)));
    TANDEM_TRY(onnx_put_int(out, 2, weight->type));
    TANDEM_TRY(onnx_put_string(out, 8, weight->name));
    if (is_external(place, weight)) {
        return put_location(place, offset, payload);
    }
    TANDEM_TRY(onnx_put_tag(out, 9, ONNX_WIRE_BYTES));
    return onnx_put_varint(out, payload);
}

/* Where the next external weight begins, after one that ends at `end`. */
static uint64_t aligned(uint64_t end)
{
    return (end + EXTERNAL_ALIGNMENT - 1) / EXTERNAL_ALIGNMENT * EXTERNAL_ALIGNMENT;
}

/* Goes through all weights: *size gets the bytes that they take inside GraphProto, and they are written
 * there where `writer` is not NULL. */
static int place_weights(uint64_t *size, placement *place, tandem_writer *writer)
{
    uint64_t offset = 0;
    *size = 0;
    for (size_t i = 0; i < place->graph->weight_count; i++) {
        const onnx_weight *weight = &place->graph->weights[i];
        bool external = is_external(place, weight);
        TANDEM_TRY(weight_head(place, weight, offset));
        uint64_t length = place->head.length + (external ? 0 : payload_size(weight));
        *size += 1 + onnx_varint_size(length) + length; /* field 5: a tag of one byte */
        if (writer != NULL) {
            tandem_buffer tag = TANDEM_BUFFER_INIT;
            int rc = onnx_put_tag(&tag, 5, ONNX_WIRE_BYTES);
            rc = rc < 0 ? rc : onnx_put_varint(&tag, length);
            rc = rc < 0 ? rc : tandem_writer_write(writer, tag.data, tag.length);
            tandem_buffer_free(&tag);
            TANDEM_TRY(rc);
            TANDEM_TRY(tandem_writer_write(writer, place->head.data, place->head.length));
            TANDEM_TRY(external ? TANDEM_OK : write_payload(writer, weight));
        }
        offset = external ? aligned(offset + payload_size(weight)) : offset;
    }
    return TANDEM_OK;
}

static int write_external(tandem_writer *writer, const placement *place)
{
    static const char zeros[EXTERNAL_ALIGNMENT];
    for (size_t i = 0; i < place->graph->weight_count; i++) {
        const onnx_weight *weight = &place->graph->weights[i];
        if (is_external(place, weight)) {
            uint64_t end = tandem_writer_offset(writer);
            TANDEM_TRY(tandem_writer_write(writer, zeros, aligned(end) - end));
            TANDEM_TRY(write_payload(writer, weight));
        }
    }
    return TANDEM_OK;
}

static int write_external_file(const placement *place, const char *path)
{
    tandem_writer *writer = NULL;
    TANDEM_TRY(tandem_writer_open(&writer, path));
    int rc = write_external(writer, place);
    if (rc < 0) {
        tandem_writer_abort(writer);
        return rc;
    }
    return tandem_writer_commit(&writer);
}

/* ---- the file ----------------------------------------------------------------------------------- */

/* ModelProto{ir_version=1, producer_name=2, graph=7, opset_import=8{version=2}}, up to the graph of `size` bytes */
static int model_head(tandem_buffer *head, uint64_t size)
{
    tandem_buffer opset = TANDEM_BUFFER_INIT;
    int rc;
    TANDEM_TRY_GOTO(rc, done, onnx_put_int(head, 1, ONNX_IR_VERSION));
    TANDEM_TRY_GOTO(rc, done, onnx_put_string(head, 2, "tandem"));
    TANDEM_TRY_GOTO(rc, done, onnx_put_int(&opset, 2, ONNX_OPSET));
    TANDEM_TRY_GOTO(rc, done, onnx_put_bytes(head, 8, opset.data, opset.length));
    TANDEM_TRY_GOTO(rc, done, onnx_put_tag(head, 7, ONNX_WIRE_BYTES));
    rc = onnx_put_varint(head, size);
done:
    tandem_buffer_free(&opset);
    return rc;
}

/* GraphProto{node=1, name=2, initializer=5, input=11, output=12} */
static int write_model(tandem_writer *writer, placement *place, const tandem_buffer *name, uint64_t weights)
{
    const onnx_graph *graph = place->graph;
    tandem_buffer head = TANDEM_BUFFER_INIT;
    uint64_t size = graph->nodes.length + name->length + graph->values.length + weights;
    int rc = model_head(&head, size);
    rc = rc < 0 ? rc : tandem_writer_write(writer, head.data, head.length);
    rc = rc < 0 ? rc : tandem_writer_write(writer, graph->nodes.data, graph->nodes.length);
    rc = rc < 0 ? rc : tandem_writer_write(writer, name->data, name->length);
    rc = rc < 0 ? rc : tandem_writer_write(writer, graph->values.data, graph->values.length);
    rc = rc < 0 ? rc : place_weights(&weights, place, writer);
    tandem_buffer_free(&head);
    return rc;
}

/* Settles what goes inline; *weights gets its bytes. */
static int choose_place(placement *place, uint64_t *weights, const char *data_path, uint64_t limit)
{
    uint64_t rest = place->graph->nodes.length + place->graph->values.length + EXTERNAL_ALIGNMENT;
    TANDEM_TRY(place_weights(weights, place, NULL));
    if (rest + *weights > (limit < SIZE_LIMIT ? limit : SIZE_LIMIT)) {
        place->location = tandem_path_base(data_path);
        TANDEM_TRY(place_weights(weights, place, NULL));
    }
    return rest + *weights > SIZE_LIMIT ? tandem_error("%s: a graph of over 2 GB without its weights", data_path)
                                        : TANDEM_OK;
}

int onnx_graph_write(const onnx_graph *graph, const char *graph_name, const char *path, uint64_t limit)
{
    TANDEM_TRY(graph->rc);
    placement place = {.graph = graph};
    tandem_buffer name = TANDEM_BUFFER_INIT, data_path = TANDEM_BUFFER_INIT;
    tandem_writer *writer = NULL;
    uint64_t weights = 0;
    int rc;
    TANDEM_TRY_GOTO(rc, done, onnx_put_string(&name, 2, graph_name));
    TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(&data_path, "%s_data", path));
    TANDEM_TRY_GOTO(rc, done, choose_place(&place, &weights, data_path.data, limit));
    if (place.location != NULL) {
        TANDEM_TRY_GOTO(rc, done, write_external_file(&place, data_path.data));
    }
    TANDEM_TRY_GOTO(rc, done, tandem_writer_open(&writer, path));
    TANDEM_TRY_GOTO(rc, done, write_model(writer, &place, &name, weights));
    rc = tandem_writer_commit(&writer);
done:
    tandem_writer_abort(writer);
    tandem_buffer_free(&name);
    tandem_buffer_free(&data_path);
    tandem_buffer_free(&place.head);
    return rc;
}
