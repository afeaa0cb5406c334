/* onnx.h - writing a model as ONNX (opset 17, IR 8): graphs of standard operators alone. */
#ifndef TANDEM_ONNX_H
#define TANDEM_ONNX_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the encoder of a graph keeps its weights in and computes with; pooling, modules and classification
 * head, which are small, are float32 in all three, and so are the outputs. */
typedef enum {
    TANDEM_ONNX_FP32,
    TANDEM_ONNX_FP16,
    /* Linear layers multiply int8 weights, symmetric with a scale for each output, by activations that are rounded
     * to uint8 where the graph runs (DynamicQuantizeLinear, once for layers that read the same; MatMulInteger); word
     * embeddings are int8 with a scale a row. All else is float32. */
    TANDEM_ONNX_INT8
} tandem_onnx_dtype;

/* The outputs of a bi-encoder's graph. */
typedef enum {
    TANDEM_ONNX_ALL,       /* last_hidden_state and sentence_embedding */
    TANDEM_ONNX_HIDDEN,    /* last_hidden_state alone: for tools that pool themselves */
    TANDEM_ONNX_EMBEDDING, /* sentence_embedding alone: for tools that take what comes first */
} tandem_onnx_outputs;

typedef struct {
    tandem_onnx_dtype dtype;
    tandem_onnx_outputs outputs; /* TANDEM_ONNX_ALL of a cross-encoder */
    int weight_bits;             /* of int8's linear layers: 8, or 7 for CPUs without VNNI, whose sums saturate else */
    /* Of int8: the least and greatest number of each activation that linear layers read, [range_count, 2] in the graph's
     * order, for static quantization: QuantizeLinear and DequantizeLinear around each product, with these ranges for
     * every text (tandem_onnx_write_ranges measures them). NULL: dynamic. Borrowed. */
    const float *ranges;
    size_t range_count;
    uint64_t inline_limit;       /* a graph of more bytes has its weights in a file beside it; 0: 2 GB, protobuf's limit */
} tandem_onnx_options;

#define TANDEM_ONNX_OPTIONS_INIT {.weight_bits = 8}

/* The name of a graph of that dtype as optimum and transformers.js look for it: "model.onnx",
 * "model_fp16.onnx", "model_quantized.onnx". Static. */
const char *tandem_onnx_file_name(tandem_onnx_dtype dtype);

/* The graph alone, of any family and module that loads; `options` NULL: the defaults. Inputs input_ids,
 * attention_mask and, where the model reads them (tandem_model_info.reads_types), token_type_ids: int64
 * [batch_size, sequence_length]. Outputs, float32, of a bi-encoder: last_hidden_state [batch_size,
 * sequence_length, hidden] and sentence_embedding [batch_size, dim] (pooling and the modules after it inside);
 * of a cross-encoder: logits and scores [batch_size, labels], the scores after the activation that
 * sentence-transformers gives them (left out, with a warning, where that is none of Sigmoid, Identity, Tanh). The
 * graph of a model that pools without prompts has one more input, prompt_length, int64 [1]: the tokens at the
 * front of each sequence that pooling leaves out, 0 where it is not given.
 *
 * Written by rename. Weights are inline; of a graph over the limit they are in `path` with "_data" at its end (external
 * data), which must stay beside it. A weight that float16 cannot hold is an error. */
int tandem_onnx_write(const tandem_model *model, const char *path, const tandem_onnx_options *options);

/* A float32 graph with the inputs of the model's own and one output, `ranges` [2 * count]: least and greatest
 * number of each activation that tandem_onnx_options.ranges is about, over the batch. */
int tandem_onnx_write_ranges(const tandem_model *model, const char *path, size_t *count);

/* A directory that ONNX Runtime, transformers.js, sentence-transformers and the other tools of docs/export.md
 * use as it is: onnx/ with a graph for each of `graphs` (which differ in dtype), beside config.json, tokenizer.json,
 * tokenizer_config.json, special_tokens_map.json, vocab.txt, model.safetensors and, for a bi-encoder,
 * the sentence-transformers files. `card` is the text of README.md; NULL: none. Complete under its name or not at all. */
int tandem_onnx_export(const tandem_model *model, const char *directory, const tandem_onnx_options *graphs, size_t count,
                       const char *card);

#ifdef __cplusplus
}
#endif
#endif
