/* onnx_build.h - what the parts of a model's graph share (private to model/): the builder, common
 * nodes, and weights of the arena. */
#ifndef TANDEM_MODEL_ONNX_BUILD_H
#define TANDEM_MODEL_ONNX_BUILD_H

#include "model/onnx_proto.h"
#include "tandem/memory.h"
#include "tandem/model.h"
#include "tandem/onnx.h"

/* An activation, rounded to uint8 where the graph runs. */
typedef struct {
    onnx_value of; /* what was rounded; empty: nothing yet */
    onnx_value values, scale, zero;
} onnx_rounded;

typedef struct {
    onnx_graph graph;
    const tandem_model *model;
    const tandem_onnx_options *options;
    const tandem_encoder_spec *spec;
    const float *arena;
    tandem_arena *tables;  /* of constants that the file will hold */
    int type;              /* of floats that are computed and kept: ONNX_FLOAT, or in an encoder ONNX_FLOAT16 */
    bool quantized;        /* linear layers multiply integers: in an encoder */
    onnx_rounded rounded;  /* last activation that a linear layer read: its neighbours read it too */
    size_t next_range;     /* of options->ranges */
    bool measured;         /* linear layers add what they read to `ranges`: in an encoder that is calibrated */
    onnx_value *ranges;    /* [range_count], each [1]: least, greatest of one after the other */
    size_t range_count, range_capacity;
    onnx_value mask;       /* attention_mask as float, [batch, sequence] */
    onnx_value length;     /* of the sequences, [1] */
    onnx_value score_mask; /* 0 or onnx_masked, [batch, 1, 1, sequence] */
} onnx_builder;

/* Added to a masked score: lowest finite float, or what float16 adds to any score without
 * leaving its numbers. So a row without any attended token gives a uniform distribution and not NaN. */
float onnx_masked(const onnx_builder *b);

/* ---- nodes ------------------------------------------------------------------------------- */
onnx_value onnx_unary(onnx_builder *b, const char *type, onnx_value x);
onnx_value onnx_binary(onnx_builder *b, const char *type, onnx_value x, onnx_value y);
onnx_value onnx_with_int(onnx_builder *b, const char *type, const onnx_value *inputs, size_t count,
                         const char *attribute, int64_t value);
onnx_value onnx_integer(onnx_builder *b, int64_t value); /* [1] */
onnx_value onnx_real(onnx_builder *b, float value);      /* a scalar of b->type */
onnx_value onnx_transpose(onnx_builder *b, onnx_value x, int64_t d0, int64_t d1, int64_t d2, int64_t d3);
onnx_value onnx_unsqueeze(onnx_builder *b, onnx_value x, int64_t axis);
onnx_value onnx_cast(onnx_builder *b, onnx_value x, int64_t type);
onnx_value onnx_slice(onnx_builder *b, onnx_value x, onnx_value start, onnx_value end, int64_t axis);
onnx_value onnx_reduce(onnx_builder *b, onnx_value x, int64_t axis, bool keep); /* sum */
/* 0 where the float mask is 1, onnx_masked where it is 0 */
onnx_value onnx_masked_by(onnx_builder *b, onnx_value mask);

/* ---- with weights ---------------------------------------------------------------------------- */
onnx_value onnx_vector(onnx_builder *b, tandem_place place, int64_t size);
onnx_value onnx_matrix(onnx_builder *b, tandem_place place, int64_t rows, int64_t columns, bool transposed);
/* Rows `ids` of a table, [..., columns]; of int8 in a quantized encoder. */
onnx_value onnx_embedding(onnx_builder *b, tandem_place place, int64_t rows, int64_t columns, onnx_value ids);
/* x W^T + bias; bias -1: none. */
onnx_value onnx_linear(onnx_builder *b, onnx_value x, tandem_place weight, tandem_place bias, int64_t out, int64_t in);
/* `output` NULL: a fresh name; bias -1: none. */
onnx_value onnx_layer_norm(onnx_builder *b, onnx_value x, tandem_place weight, tandem_place bias, int64_t size,
                           double eps, const char *output);
onnx_value onnx_activation(onnx_builder *b, tandem_activation activation, onnx_value x);
/* [rows, columns] floats of the builder's tables, under a name of their own. */
onnx_value onnx_table(onnx_builder *b, const char *name, const float *data, size_t rows, size_t columns);

/* ---- the parts ----------------------------------------------------------------------------------- */
/* Hidden states, [batch, sequence, hidden], in float32 whatever the encoder computes in, under the name
 * `output` (NULL: a fresh one). Sets mask, length and score_mask. */
onnx_value onnx_encoder(onnx_builder *b, const char *output);
/* -> ranges, of an encoder that was built with `measured` set. */
void onnx_ranges(onnx_builder *b);
void onnx_embedding_head(onnx_builder *b, onnx_value hidden);      /* -> sentence_embedding */
/* -> logits, and scores; false: the model's activation of scores is not known, there are none. */
bool onnx_classification_head(onnx_builder *b, onnx_value hidden);

#endif
