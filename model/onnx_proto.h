/* onnx_proto.h - the part of protobuf that writing an ONNX file needs (private to
 * model/). Messages are built in buffers; weights are never copied into one, but
 * streamed from the arena when the file is written.
 *
 * Field numbers are those of onnx.proto (ONNX IR version 8). */
#ifndef TANDEM_MODEL_ONNX_PROTO_H
#define TANDEM_MODEL_ONNX_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/memory.h"

/* TensorProto.DataType */
enum { ONNX_FLOAT = 1, ONNX_INT64 = 7 };

/* A weight that the file will hold: [rows, columns] floats of the arena (one row for a
 * vector), written transposed when `transpose` is set: torch keeps a linear layer's weight as
 * [out, in], MatMul reads [in, out]. */
typedef struct {
    char *name;
    const float *data;
    size_t rows, columns;
    bool matrix; /* else its shape is [columns] */
    bool transpose;
} onnx_weight;

/* A graph under construction. After the first failure every call does nothing, and
 * onnx_graph_write returns that failure: so that a graph reads as a list of nodes. */
typedef struct {
    int rc;
    tandem_buffer nodes;  /* GraphProto.node fields, encoded */
    tandem_buffer values; /* GraphProto.initializer of the constants, input and output fields */
    onnx_weight *weights;
    size_t weight_count, weight_capacity;
    tandem_buffer scratch, scratch2;
    size_t next; /* number of the next unnamed value */
} onnx_graph;

void onnx_graph_free(onnx_graph *graph);

/* Input or output of the graph; dims are names ("batch_size"), or numbers where `name` is NULL. */
typedef struct {
    const char *name;
    int64_t value;
} onnx_dim;
void onnx_graph_input(onnx_graph *graph, const char *name, int type, const onnx_dim *dims, size_t count);
void onnx_graph_output(onnx_graph *graph, const char *name, int type, const onnx_dim *dims, size_t count);
/* An int64 input of shape [1] that may be left out: it is then `otherwise`. */
void onnx_graph_option(onnx_graph *graph, const char *name, int64_t otherwise);

/* The name of a value of the graph: short, so that it is copied by value. */
typedef struct {
    char text[96];
} onnx_value;

onnx_value onnx_named(const char *name);
/* Constants, as initializers. */
onnx_value onnx_float(onnx_graph *graph, float value);                        /* a scalar */
onnx_value onnx_int(onnx_graph *graph, int64_t value);                        /* a scalar */
onnx_value onnx_ints(onnx_graph *graph, const int64_t *values, size_t count); /* [count] */
onnx_value onnx_weight_add(onnx_graph *graph, const char *name, const float *data, size_t rows, size_t columns,
                           bool matrix, bool transpose);

/* Attributes of a node; NULL-named row ends the list. */
typedef struct {
    const char *name;
    enum { ONNX_ATTRIBUTE_FLOAT = 1, ONNX_ATTRIBUTE_INT = 2, ONNX_ATTRIBUTE_INTS = 7 } type;
    float f;
    int64_t i;
    const int64_t *ints;
    size_t count;
} onnx_attribute;

/* Adds a node with `count` inputs and one output, named `output` (NULL: a fresh name).
 * `attributes` may be NULL. */
onnx_value onnx_node(onnx_graph *graph, const char *type, const onnx_value *inputs, size_t count,
                     const onnx_attribute *attributes, const char *output);

/* Writes ModelProto (IR 8, opset 17) with weights inline. */
int onnx_graph_write(const onnx_graph *graph, const char *graph_name, const char *path);

#endif
