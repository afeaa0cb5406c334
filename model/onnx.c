/* A model as an ONNX graph: the encoder of any family's spec, then pooling and its modules, or the
 * classification head.
 *
 * The graph is plain opset 17: ONNX Runtime fuses bias, GELU, LayerNormalization and the
 * attention's scaling itself when it loads the file, and every other engine reads it. */
#include "tandem/onnx.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "model/onnx_build.h"
#include "tandem/file.h"
#include "tandem/json.h"

const char *tandem_onnx_file_name(tandem_onnx_dtype dtype)
{
    static const char *const names[] = {[TANDEM_ONNX_FP32] = "model.onnx", [TANDEM_ONNX_FP16] = "model_fp16.onnx",
                                        [TANDEM_ONNX_INT8] = "model_quantized.onnx"};
    return names[dtype];
}

/* ---- a graph ------------------------------------------------------------------------------ */

static void build_inputs(onnx_builder *b)
{
    const onnx_dim ids[] = {{"batch_size", 0}, {"sequence_length", 0}};
    onnx_graph_input(&b->graph, "input_ids", ONNX_INT64, ids, 2);
    onnx_graph_input(&b->graph, "attention_mask", ONNX_INT64, ids, 2);
    if (tandem_model_describe(b->model)->reads_types) {
        onnx_graph_input(&b->graph, "token_type_ids", ONNX_INT64, ids, 2);
    }
}

static void build_cross(onnx_builder *b)
{
    const onnx_dim labels[] = {{"batch_size", 0}, {NULL, tandem_model_describe(b->model)->labels}};
    bool scores = onnx_classification_head(b, onnx_encoder(b, NULL));
    onnx_graph_output(&b->graph, "logits", ONNX_FLOAT, labels, 2);
    if (scores) {
        onnx_graph_output(&b->graph, "scores", ONNX_FLOAT, labels, 2);
    }
}

static void build_bi(onnx_builder *b)
{
    const tandem_model_info *info = tandem_model_describe(b->model);
    const onnx_dim hidden_dims[] = {{"batch_size", 0}, {"sequence_length", 0}, {NULL, info->hidden}};
    const onnx_dim embedding[] = {{"batch_size", 0}, {NULL, (int64_t)info->dim}};
    bool shown = b->options->outputs != TANDEM_ONNX_EMBEDDING;
    onnx_value hidden = onnx_encoder(b, shown ? "last_hidden_state" : NULL);
    if (shown) {
        onnx_graph_output(&b->graph, "last_hidden_state", ONNX_FLOAT, hidden_dims, 3);
    }
    if (b->options->outputs != TANDEM_ONNX_HIDDEN) {
        onnx_embedding_head(b, hidden);
        onnx_graph_output(&b->graph, "sentence_embedding", ONNX_FLOAT, embedding, 2);
    }
}

static onnx_builder begin(const tandem_model *model, const tandem_onnx_options *options)
{
    static const tandem_onnx_options usual = TANDEM_ONNX_OPTIONS_INIT;
    onnx_builder b = {.model = model,
                      .options = options ? options : &usual,
                      .spec = tandem_model_spec(model),
                      .arena = tandem_model_parameters(model, NULL),
                      .tables = tandem_arena_new()};
    b.graph.rc = b.tables ? 0 : TANDEM_ERROR;
    if (b.tables) {
        build_inputs(&b);
    }
    return b;
}

static void end(onnx_builder *b)
{
    onnx_graph_free(&b->graph);
    tandem_arena_free(b->tables);
    free(b->ranges);
}

int tandem_onnx_write(const tandem_model *model, const char *path, const tandem_onnx_options *options)
{
    bool cross = tandem_model_describe(model)->kind == TANDEM_CROSS_ENCODER;
    if (cross && options && options->outputs != TANDEM_ONNX_ALL) {
        return tandem_error_code(TANDEM_USAGE, "a cross-encoder's graph has no other outputs than logits and scores");
    }
    onnx_builder b = begin(model, options);
    uint64_t limit = b.options->inline_limit != 0 ? b.options->inline_limit : UINT64_MAX;
    if (b.graph.rc == 0) {
        cross ? build_cross(&b) : build_bi(&b);
    }
    int rc = onnx_graph_write(&b.graph, cross ? "cross-encoder" : "bi-encoder", path, limit);
    end(&b);
    return rc;
}

int tandem_onnx_write_ranges(const tandem_model *model, const char *path, size_t *count)
{
    onnx_builder b = begin(model, NULL);
    b.measured = true;
    if (b.graph.rc == 0) {
        onnx_encoder(&b, NULL);
        onnx_ranges(&b);
        onnx_graph_output(&b.graph, "ranges", ONNX_FLOAT, &(onnx_dim){NULL, (int64_t)b.range_count}, 1);
    }
    *count = b.range_count / 2;
    int rc = onnx_graph_write(&b.graph, "ranges", path, UINT64_MAX);
    end(&b);
    return rc;
}

/* ---- a directory --------------------------------------------------------------------------- */

/* Writes a graph into onnx/ of `staged`, and adds it to `external` where it got a second file. */
static int add_graph(const tandem_model *model, const char *staged, const tandem_onnx_options *options, cJSON *external)
{
    const char *name = tandem_onnx_file_name(options->dtype);
    tandem_buffer path = TANDEM_BUFFER_INIT;
    int rc = tandem_buffer_printf(&path, "%s/onnx/%s", staged, name);
    rc = rc < 0 ? rc : tandem_onnx_write(model, path.data, options);
    rc = rc < 0 ? rc : tandem_buffer_puts(&path, "_data");
    if (rc == 0 && tandem_file_exists(path.data) && cJSON_AddTrueToObject(external, name) == NULL) {
        rc = tandem_error("out of memory");
    }
    tandem_buffer_free(&path);
    return rc;
}

static int write_card(const char *staged, const char *card)
{
    char *path = tandem_path_join(staged, "README.md");
    int rc = path ? tandem_file_write(path, card, strlen(card)) : TANDEM_ERROR;
    free(path);
    return rc;
}

int tandem_onnx_export(const tandem_model *model, const char *directory, const tandem_onnx_options *graphs, size_t count,
                       const char *card)
{
    char *staged = NULL;
    cJSON *external = cJSON_CreateObject();
    int rc = external ? tandem_stage_dir(&staged, directory) : tandem_error("out of memory");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = add_graph(model, staged, &graphs[i], external);
    }
    rc = rc < 0 ? rc : tandem_model_write_files(model, staged, external);
    rc = rc < 0 || card == NULL ? rc : write_card(staged, card);
    rc = rc < 0 ? rc : tandem_stage_commit(staged, directory);
    if (rc < 0 && staged) {
        tandem_stage_abort(staged);
    }
    cJSON_Delete(external);
    free(staged);
    return rc;
}
