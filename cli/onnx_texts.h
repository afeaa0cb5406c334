/* onnx_texts.h - a model's texts through an engine: packed batches padded, vectors and logits of many texts. */
#ifndef TANDEM_CLI_ONNX_TEXTS_H
#define TANDEM_CLI_ONNX_TEXTS_H

#include "cli/onnx_engine.h"
#include "tandem/model.h"

/* A session with what its graph is asked for. */
typedef struct {
    onnx_session *session;
    const tandem_model *model; /* that the graph was made of */
    const char *output;        /* "sentence_embedding", "last_hidden_state", "logits" */
    tandem_side side;          /* of the texts */
    int64_t *ids;              /* padded [3, batch, longest]: ids, mask, types; grown as needed */
    size_t capacity;
} onnx_runner;

void onnx_runner_free(onnx_runner *runner); /* its arrays; not session and model */
/* One packed batch. `floats` numbers: [count, dim], [count, longest, hidden] or [count, labels]. */
int onnx_runner_batch(onnx_runner *runner, const tandem_batch *batch, float *out, size_t floats);
/* Vectors [count, dim] of the texts of a store that tandem_model_tokenize made for the runner's side. */
int onnx_runner_embed(onnx_runner *runner, const tandem_token_store *store, float *out, const char *title);
/* Logits [count, labels] of pairs. */
int onnx_runner_score(onnx_runner *runner, const tandem_token_store *queries, const tandem_token_store *documents,
                      const tandem_pair *pairs, size_t count, float *out, const char *title);

#endif
