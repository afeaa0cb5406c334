/* export_check.c - the numbers of exported graphs beside those of the model. */
#include "cli/export_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tandem/file.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/random.h"

/* Of a difference: in units of the largest number compared, where that is over 1. fp32 differs in the order of
 * sums; fp16 keeps 11 bits of each number; int8 rounds activations to 1/255 of their range. */
static const double bounds[] = {[TANDEM_ONNX_FP32] = 1e-4, [TANDEM_ONNX_FP16] = 1e-2, [TANDEM_ONNX_INT8] = 0.1};

/* What a graph may lose of nDCG@10. */
static const double quality_bound = 0.005;

/* The batches: `count` sequences, of lengths up to `longest`. */
enum { BATCHES = 4, MANY = 8, SHORT = 32, LONG = 2048 /* more takes gigabytes for attention */ };

typedef struct {
    onnx_runner runner;
    tandem_model *model;
    size_t width;      /* numbers of a row */
    bool tokens;       /* a row for every token, not every sequence */
    double difference; /* largest */
    double largest;    /* number of the model's */
} comparison;

/* ---- numbers -------------------------------------------------------------------------------- */

static int add_sequence(tandem_batch_builder *builder, const tandem_model_info *info, size_t length,
                        tandem_random *random)
{
    int32_t *ids, *types;
    TANDEM_TRY(tandem_batch_builder_add(builder, length, &ids, &types));
    for (size_t i = 0; i < length; i++) {
        ids[i] = (int32_t)tandem_random_below(random, (uint64_t)info->vocab);
        types[i] = info->reads_types && info->types > 1 && i >= length / 2 ? 1 : 0;
    }
    return TANDEM_OK;
}

/* The model's own rows, cut to `width`. */
static int reference(const comparison *c, const tandem_batch *batch, float *rows, size_t count)
{
    static const tandem_side sides[MANY] = {TANDEM_DOCUMENT, TANDEM_DOCUMENT, TANDEM_DOCUMENT, TANDEM_DOCUMENT,
                                            TANDEM_DOCUMENT, TANDEM_DOCUMENT, TANDEM_DOCUMENT, TANDEM_DOCUMENT};
    const tandem_dropout none = {.train = false};
    bool cross = tandem_model_describe(c->model)->kind == TANDEM_CROSS_ENCODER;
    tandem_tensor *result = NULL;
    TANDEM_TRY(tandem_scope_begin());
    int rc = cross       ? tandem_model_logits(&result, c->model, batch, none)
             : c->tokens ? tandem_model_hidden(&result, c->model, batch, none)
                         : tandem_model_embed_sides(&result, c->model, batch, sides, none);
    rc = rc < 0 ? rc : tandem_op_narrow(&result, result, 1, 0, (int64_t)c->width);
    if (rc == TANDEM_OK && (size_t)tandem_tensor_size(result, 0) != count) {
        rc = tandem_error("%lld rows where %zu were expected", (long long)tandem_tensor_size(result, 0), count);
    }
    rc = rc < 0 ? rc : tandem_tensor_read(result, rows);
    tandem_scope_end();
    return rc;
}

static void compare_rows(comparison *c, const float *expected, const float *found, size_t rows)
{
    for (size_t i = 0; i < rows * c->width; i++) {
        double difference = fabs((double)found[i] - (double)expected[i]);
        c->difference = difference > c->difference || isnan(difference) ? difference : c->difference;
        c->largest = fmax(c->largest, fabs((double)expected[i]));
    }
}

static int compare_batch(comparison *c, const tandem_batch *batch, size_t longest)
{
    size_t own = c->tokens ? batch->total : batch->count, padded = c->tokens ? batch->count * longest : batch->count;
    float *expected = tandem_alloc(own, c->width * sizeof *expected);
    float *found = tandem_alloc(padded, c->width * sizeof *found);
    int rc = expected && found ? reference(c, batch, expected, own) : TANDEM_ERROR;
    rc = rc < 0 ? rc : onnx_runner_batch(&c->runner, batch, found, padded * c->width);
    if (rc == TANDEM_OK && !c->tokens) {
        compare_rows(c, expected, found, own);
    }
    for (size_t i = 0; rc == TANDEM_OK && c->tokens && i < batch->count; i++) {
        size_t first = (size_t)batch->offsets[i], length = (size_t)batch->offsets[i + 1] - first;
        compare_rows(c, expected + first * c->width, found + i * longest * c->width, length);
    }
    free(expected);
    free(found);
    return rc;
}

/* Random tokens: batches of one and many, of lengths from one to the limit. */
static int compare_batches(comparison *c, tandem_batch_builder *builder)
{
    const tandem_model_info *info = tandem_model_describe(c->model);
    tandem_random random = tandem_random_stream(13, "export check", 0);
    size_t least = tandem_model_prompt_length(c->model, TANDEM_DOCUMENT) + 1;
    size_t most = info->max_length < LONG ? info->max_length : LONG, middle = most < SHORT ? most : SHORT;
    const struct {
        size_t count, longest;
    } shapes[BATCHES] = {{1, least}, {1, most}, {MANY, middle}, {2, most}};
    for (size_t b = 0; b < BATCHES; b++) {
        tandem_batch_builder_clear(builder);
        for (size_t i = 0; i < shapes[b].count; i++) {
            size_t length = shapes[b].longest * (shapes[b].count - i) / shapes[b].count;
            TANDEM_TRY(add_sequence(builder, info, length > least ? length : least, &random));
        }
        tandem_batch batch = tandem_batch_builder_view(builder);
        TANDEM_TRY(compare_batch(c, &batch, shapes[b].longest > least ? shapes[b].longest : least));
    }
    return TANDEM_OK;
}

static int compare(comparison *c)
{
    tandem_batch_builder *builder = tandem_batch_builder_new();
    int rc = builder ? compare_batches(c, builder) : TANDEM_ERROR;
    tandem_batch_builder_free(builder);
    return rc;
}

/* ---- graphs ------------------------------------------------------------------------------------- */

static const char *output_of(const tandem_model *model, const tandem_onnx_options *graph)
{
    return tandem_model_describe(model)->kind == TANDEM_CROSS_ENCODER ? "logits"
           : graph->outputs == TANDEM_ONNX_HIDDEN                     ? "last_hidden_state"
                                                                      : "sentence_embedding";
}

static size_t width_of(const tandem_model *model, const tandem_onnx_options *graph)
{
    const tandem_model_info *info = tandem_model_describe(model);
    return info->kind == TANDEM_CROSS_ENCODER       ? (size_t)info->labels
           : graph->outputs == TANDEM_ONNX_HIDDEN ? (size_t)info->hidden
                                                    : info->dim;
}

/* Prints the row of a graph; *failed counts what is over a bound. */
static int check_session(comparison *c, const tandem_onnx_options *graph, const check_quality *quality, size_t *failed)
{
    TANDEM_TRY(compare(c));
    double bound = bounds[graph->dtype] * fmax(1, c->largest), measured = 0;
    *failed += !(c->difference <= bound);
    printf("%-22s%-20s%12.2e%12.2e", tandem_onnx_file_name(graph->dtype), c->runner.output, c->difference, bound);
    fflush(stdout);
    if (quality) {
        TANDEM_TRY(check_quality_measure(&measured, quality, &c->runner));
        double change = measured - check_quality_own(quality);
        *failed += !(change >= -quality_bound);
        printf("%12.4f%+12.4f", measured, change);
    }
    printf("\n");
    return TANDEM_OK;
}

static int check_graph(const onnx_engine *engine, tandem_model *model, const char *directory,
                       const tandem_onnx_options *graph, const check_quality *quality, size_t *failed)
{
    tandem_buffer path = TANDEM_BUFFER_INIT;
    comparison c = {.runner = {.model = model, .output = output_of(model, graph), .side = TANDEM_DOCUMENT},
                    .model = model,
                    .width = width_of(model, graph),
                    .tokens = graph->outputs == TANDEM_ONNX_HIDDEN};
    int rc = tandem_buffer_printf(&path, "%s/onnx/%s", directory, tandem_onnx_file_name(graph->dtype));
    rc = rc < 0 ? rc : onnx_session_open(&c.runner.session, engine, path.data);
    rc = rc < 0 ? rc : check_session(&c, graph, quality, failed);
    onnx_session_close(c.runner.session);
    onnx_runner_free(&c.runner);
    tandem_buffer_free(&path);
    return rc;
}

static void print_head(const onnx_engine *engine, const check_quality *quality)
{
    printf("%s, %zu threads", onnx_engine_name(engine), tandem_machine_threads());
    if (quality) {
        printf("; nDCG@10 of tandem's own numbers: %.4f", check_quality_own(quality));
    }
    printf("\n\n%-22s%-20s%12s%12s", "graph", "output", "difference", "bound");
    printf(quality ? "%12s%12s\n" : "\n", "nDCG@10", "change");
}

int export_check(tandem_model *model, const char *directory, const tandem_onnx_options *graphs, size_t count,
                 const char *dataset, const char *split)
{
    onnx_engine *engine = NULL;
    check_quality *quality = NULL;
    size_t failed = 0;
    int rc = onnx_engine_open(&engine);
    rc = rc < 0 || dataset == NULL ? rc : check_quality_new(&quality, model, dataset, split);
    if (rc == TANDEM_OK) {
        print_head(engine, quality);
    }
    for (size_t i = 0; i < count && rc == TANDEM_OK; i++) {
        rc = check_graph(engine, model, directory, &graphs[i], quality, &failed);
    }
    if (rc == TANDEM_OK && failed > 0) {
        rc = tandem_error("%s: %zu of the graph's numbers over their bounds", directory, failed);
    }
    check_quality_free(quality);
    onnx_engine_close(engine);
    return rc;
}
