/* export_calibrate.c - the ranges of activations for static int8, measured on texts of a dataset. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/export_check.h"
#include "tandem/file.h"
#include "tandem/machine.h"

/* Texts of each kind, or pairs; evenly over the dataset. */
enum { SAMPLE = 256 };

typedef struct {
    onnx_runner runner;
    tandem_batch_builder *builder;
    float *ranges, *found; /* [count, 2] */
    size_t count;
} calibration;

static size_t sampled(const tandem_texts *texts)
{
    return texts->count < SAMPLE ? texts->count : SAMPLE;
}

static tandem_text *sample(const tandem_texts *texts)
{
    size_t count = sampled(texts);
    tandem_text *chosen = tandem_alloc(count, sizeof *chosen);
    for (size_t i = 0; chosen != NULL && i < count; i++) {
        chosen[i] = texts->items[i * texts->count / count];
    }
    return chosen;
}

/* One text or pair alone, so that no padding counts. */
static int measure(calibration *c, tandem_bare first, const tandem_bare *second)
{
    tandem_batch_builder_clear(c->builder);
    TANDEM_TRY(tandem_model_append(c->runner.model, c->builder, first, second));
    tandem_batch batch = tandem_batch_builder_view(c->builder);
    TANDEM_TRY(onnx_runner_batch(&c->runner, &batch, c->found, 2 * c->count));
    for (size_t i = 0; i < c->count; i++) {
        c->ranges[2 * i] = fminf(c->ranges[2 * i], c->found[2 * i]);
        c->ranges[2 * i + 1] = fmaxf(c->ranges[2 * i + 1], c->found[2 * i + 1]);
    }
    return tandem_interrupted() ? tandem_error_code(TANDEM_INTERRUPTED, "interrupted") : TANDEM_OK;
}

/* A bi-encoder reads texts; a cross-encoder pairs, of each query with some document. */
static int measure_all(calibration *c, const tandem_token_store *queries, const tandem_token_store *documents)
{
    bool cross = tandem_model_describe(c->runner.model)->kind == TANDEM_CROSS_ENCODER;
    size_t query_count = tandem_token_store_count(queries), document_count = tandem_token_store_count(documents);
    for (size_t i = 0; i < document_count; i++) {
        tandem_bare document = tandem_token_store_get(documents, i);
        TANDEM_TRY(cross ? measure(c, tandem_token_store_get(queries, i % query_count), &document)
                         : measure(c, document, NULL));
    }
    for (size_t i = 0; i < query_count && !cross; i++) {
        TANDEM_TRY(measure(c, tandem_token_store_get(queries, i), NULL));
    }
    return TANDEM_OK;
}

static int tokenize_and_measure(calibration *c, const tandem_dataset *dataset)
{
    tandem_text *queries = sample(&dataset->queries), *documents = sample(&dataset->corpus);
    tandem_token_store *query_tokens = NULL, *document_tokens = NULL;
    int rc = queries && documents ? TANDEM_OK : TANDEM_ERROR;
    rc = rc < 0 ? rc : tandem_model_tokenize(&query_tokens, c->runner.model, queries, sampled(&dataset->queries), TANDEM_QUERY);
    rc = rc < 0 ? rc : tandem_model_tokenize(&document_tokens, c->runner.model, documents, sampled(&dataset->corpus), TANDEM_DOCUMENT);
    rc = rc < 0 ? rc : measure_all(c, query_tokens, document_tokens);
    tandem_token_store_free(query_tokens);
    tandem_token_store_free(document_tokens);
    free(queries);
    free(documents);
    return rc;
}

static int measure_dataset(calibration *c, const char *path)
{
    tandem_dataset *dataset = NULL;
    c->builder = tandem_batch_builder_new();
    c->ranges = tandem_alloc(c->count, 2 * sizeof *c->ranges);
    c->found = tandem_alloc(c->count, 2 * sizeof *c->found);
    int rc = c->builder && c->ranges && c->found ? tandem_dataset_open(&dataset, path) : TANDEM_ERROR;
    rc = rc < 0 ? rc : tokenize_and_measure(c, dataset);
    tandem_dataset_free(dataset);
    tandem_batch_builder_free(c->builder);
    free(c->found);
    return rc;
}

static int measure_graph(calibration *c, const char *path, const char *dataset)
{
    onnx_engine *engine = NULL;
    int rc = onnx_engine_open(&engine);
    rc = rc < 0 ? rc : tandem_onnx_write_ranges(c->runner.model, path, &c->count);
    rc = rc < 0 ? rc : onnx_session_open(&c->runner.session, engine, path);
    rc = rc < 0 ? rc : measure_dataset(c, dataset);
    onnx_session_close(c->runner.session);
    onnx_runner_free(&c->runner);
    onnx_engine_close(engine);
    return rc;
}

int export_calibrate(float **ranges, size_t *count, const tandem_model *model, const char *dataset, const char *output)
{
    calibration c = {.runner = {.model = model, .output = "ranges", .side = TANDEM_DOCUMENT}};
    char *staged = NULL;
    TANDEM_TRY(tandem_stage_dir(&staged, output)); /* never committed: a place for the graph that measures */
    char *path = tandem_path_join(staged, "ranges.onnx");
    int rc = path ? measure_graph(&c, path, dataset) : TANDEM_ERROR;
    tandem_stage_abort(staged);
    free(staged);
    free(path);
    if (rc < 0) {
        free(c.ranges);
        return rc;
    }
    *ranges = c.ranges;
    *count = c.count;
    return rc;
}
