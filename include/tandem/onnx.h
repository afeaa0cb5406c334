/* onnx.h - writing a model as ONNX (opset 17, IR 8), weights inline, one file. */
#ifndef TANDEM_ONNX_H
#define TANDEM_ONNX_H

#include "tandem/error.h"
#include "tandem/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The graph alone, of any family and module that loads. Inputs input_ids, attention_mask and, where the
 * model reads them (tandem_model_info.reads_types), token_type_ids: int64 [batch_size,
 * sequence_length]. Outputs of a bi-encoder: last_hidden_state [batch_size, sequence_length,
 * hidden] and sentence_embedding [batch_size, dim] (pooling and the modules after it inside); of a
 * cross-encoder: logits [batch_size, labels]. The graph of a model that pools without prompts has
 * one more input, prompt_length, int64 [1]: the tokens at the front of each sequence that pooling
 * leaves out, 0 where it is not given. Written by rename. A file over 2 GB (protobuf's limit) is
 * refused. */
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
