/* onnx.h - writing a model as ONNX (opset 17, IR 8), weights inline, one file. */
#ifndef TANDEM_ONNX_H
#define TANDEM_ONNX_H

#include "tandem/error.h"
#include "tandem/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The graph alone. Inputs input_ids, attention_mask, token_type_ids: int64
 * [batch_size, sequence_length]. Outputs of a bi-encoder: last_hidden_state
 * [batch_size, sequence_length, hidden] and sentence_embedding [batch_size, dim]
 * (pooling and normalize inside); of a cross-encoder: logits [batch_size, labels].
 * Written by rename. A file over 2 GB (protobuf's limit) is refused. */
int tandem_onnx_write(const tandem_model *model, const char *path);

/* A directory that ONNX Runtime, transformers.js and sentence-transformers use as it is:
 * onnx/model.onnx beside config.json, tokenizer.json, tokenizer_config.json,
 * special_tokens_map.json, vocab.txt, model.safetensors and, for a bi-encoder, the sentence-transformers files.
 * Complete under its name or not at all. */
int tandem_onnx_export(const tandem_model *model, const char *directory);

#ifdef __cplusplus
}
#endif
#endif
