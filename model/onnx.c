/* A model as an ONNX graph: the encoder of any family's spec, then pooling and its modules, or the
 * classification head.
 *
 * The graph is plain opset 17: ONNX Runtime fuses bias, GELU, LayerNormalization and the
 * attention's scaling itself when it loads the file, and every other engine reads it. */
#include "tandem/onnx.h"

#include <stdlib.h>

#include "model/model_private.h"
#include "model/onnx_build.h"
#include "tandem/file.h"

static void build(onnx_builder *b, bool cross)
{
    const tandem_model_info *info = tandem_model_describe(b->model);
    const onnx_dim ids[] = {{"batch_size", 0}, {"sequence_length", 0}};
    const onnx_dim hidden_dims[] = {{"batch_size", 0}, {"sequence_length", 0}, {NULL, info->hidden}};
    onnx_graph_input(&b->graph, "input_ids", ONNX_INT64, ids, 2);
    onnx_graph_input(&b->graph, "attention_mask", ONNX_INT64, ids, 2);
    if (info->reads_types) {
        onnx_graph_input(&b->graph, "token_type_ids", ONNX_INT64, ids, 2);
    }
    onnx_value hidden = onnx_encoder(b, cross ? NULL : "last_hidden_state");
    if (cross) {
        const onnx_dim logits[] = {{"batch_size", 0}, {NULL, info->labels}};
        onnx_classification_head(b, hidden);
        onnx_graph_output(&b->graph, "logits", ONNX_FLOAT, logits, 2);
    } else {
        const onnx_dim embedding[] = {{"batch_size", 0}, {NULL, (int64_t)info->dim}};
        onnx_embedding_head(b, hidden);
        onnx_graph_output(&b->graph, "last_hidden_state", ONNX_FLOAT, hidden_dims, 3);
        onnx_graph_output(&b->graph, "sentence_embedding", ONNX_FLOAT, embedding, 2);
    }
}

int tandem_onnx_write(const tandem_model *model, const char *path)
{
    onnx_builder b = {.model = model,
                      .spec = tandem_model_spec(model),
                      .arena = tandem_model_parameters(model, NULL),
                      .tables = tandem_arena_new()};
    bool cross = tandem_model_describe(model)->kind == TANDEM_CROSS_ENCODER;
    if (b.tables == NULL) {
        return TANDEM_ERROR;
    }
    build(&b, cross);
    int rc = onnx_graph_write(&b.graph, cross ? "cross-encoder" : "bi-encoder", path);
    onnx_graph_free(&b.graph);
    tandem_arena_free(b.tables);
    return rc;
}

int tandem_onnx_export(const tandem_model *model, const char *directory)
{
    char *staged = NULL;
    char *graph = NULL;
    int rc;
    TANDEM_TRY(tandem_stage_dir(&staged, directory));
    TANDEM_TRY_GOTO(rc, done, tandem_model_write_files(model, staged));
    graph = tandem_path_join(staged, "onnx/model.onnx");
    rc = graph ? tandem_onnx_write(model, graph) : TANDEM_ERROR;
    if (rc == TANDEM_OK) {
        rc = tandem_stage_commit(staged, directory);
    }
done:
    if (rc < 0) {
        tandem_stage_abort(staged);
    }
    free(graph);
    free(staged);
    return rc;
}
