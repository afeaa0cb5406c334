/* onnx_proto.h - a graph under construction, and the file that holds it (private to model/).
 * Messages are built in buffers; weights are never copied into one, but streamed from the arena,
 * and converted on the way, when the file is written.
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
enum { ONNX_FLOAT = 1, ONNX_UINT8 = 2, ONNX_INT8 = 3, ONNX_INT32 = 6, ONNX_INT64 = 7, ONNX_FLOAT16 = 10 };

/* A weight that the file will hold: [rows, columns] floats of the arena (one row for a
 * vector), written transposed when `transpose` is set: torch keeps a linear layer's weight as
 * [out, in], MatMul reads [in, out]. */
typedef struct {
    char *name; /* given by onnx_weight_add */
    const float *data;
    size_t rows, columns;
    bool matrix; /* else its shape is [columns] */
    bool transpose;
    int type;            /* ONNX_FLOAT, ONNX_FLOAT16, or ONNX_INT8: round(data / scale of its row) */
    const float *scales; /* [rows], of ONNX_INT8 */
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
onnx_value onnx_float(onnx_graph *graph, float value, int type);              /* a scalar, ONNX_FLOAT or ONNX_FLOAT16 */
onnx_value onnx_int(onnx_graph *graph, int64_t value);                        /* a scalar */
onnx_value onnx_byte(onnx_graph *graph, uint8_t value);                       /* a scalar */
onnx_value onnx_ints(onnx_graph *graph, const int64_t *values, size_t count); /* [count] */
/* The name is copied, data and scales are borrowed until the file is written. */
onnx_value onnx_weight_add(onnx_graph *graph, const char *name, onnx_weight weight);

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

/* The same with `output_count` outputs, all of fresh names, which `outputs` gets. */
void onnx_node_of_many(onnx_graph *graph, const char *type, const onnx_value *inputs, size_t count,
                       onnx_value *outputs, size_t output_count);

/* ---- the file (onnx_file.c) ---------------------------------------------------------------- */
/* Writes ModelProto (IR 8, opset 17). Where it would take more than `limit` bytes, or more than protobuf can
 * read (2 GB), weights of 1024 bytes and more go into a file beside it (external data), `path` with "_data"
 * at its end, each at a multiple of 4096. A number that float16 cannot hold is an error. */
int onnx_graph_write(const onnx_graph *graph, const char *graph_name, const char *path, uint64_t limit);

#endif
