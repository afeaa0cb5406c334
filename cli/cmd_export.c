/* tandem export: a model directory to ONNX. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/file.h"
#include "tandem/model.h"
#include "tandem/onnx.h"

typedef struct {
    const char *model, *output, *dtype;
    int64_t outputs, dimensions, weight_bits, max_length;
} export_options;

static const tandem_option table[] = {
    {.name = "model", .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(export_options, model),
     .value = "DIR", .help = "bi-encoder or cross-encoder directory"},
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(export_options, output), .value = "DIR", .help = "directory to write; must not exist"},
    {.name = "dtype", .type = TANDEM_OPTION_STRING, .offset = offsetof(export_options, dtype), .value = "LIST",
     .initial = "fp32", .help = "graphs to write, separated by commas: fp32, fp16, int8"},
    {.name = "outputs", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(export_options, outputs),
     .value = "all|hidden|embedding", .initial = "all",
     .help = "what a bi-encoder's graph gives: hidden: last_hidden_state alone, for tools that pool themselves; "
             "embedding: sentence_embedding alone"},
    {.name = "dimensions", .type = TANDEM_OPTION_INT, .offset = offsetof(export_options, dimensions), .value = "N",
     .initial = "0", .min = 0, .max = 1e6, .help = "cut embeddings to their first N numbers (Matryoshka); 0: as the model does"},
    {.name = "weight-bits", .type = TANDEM_OPTION_INT, .offset = offsetof(export_options, weight_bits), .value = "N",
     .initial = "8", .min = 7, .max = 8, .help = "bits of int8's weights; 7: for CPUs without VNNI, where 8 saturate"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(export_options, max_length), .value = "N",
     .initial = "0", .min = 0, .max = 1e6, .help = "limit in tokens that the configs name; 0: the model's own"},
    TANDEM_OPTION_END,
};

enum { DTYPES = TANDEM_ONNX_INT8 + 1 };

/* Fills `graphs` [DTYPES] by --dtype, each at most once. */
static int parse_graphs(tandem_onnx_options *graphs, size_t *count, const export_options *options)
{
    static const char *const names[DTYPES] = {"fp32", "fp16", "int8"};
    unsigned seen = 0;
    *count = 0;
    for (const char *word = options->dtype; word != NULL;) {
        const char *comma = strchr(word, ',');
        size_t length = comma ? (size_t)(comma - word) : strlen(word), dtype = 0;
        while (dtype < DTYPES && (strlen(names[dtype]) != length || memcmp(names[dtype], word, length) != 0)) {
            dtype++;
        }
        if (dtype == DTYPES || seen >> dtype & 1U) {
            return tandem_error_code(TANDEM_USAGE, "--dtype %s: %s \"%.*s\" (known: fp32, fp16, int8)", options->dtype,
                                     dtype == DTYPES ? "unknown" : "twice", (int)length, word);
        }
        seen |= 1U << dtype;
        graphs[(*count)++] = (tandem_onnx_options){.dtype = (tandem_onnx_dtype)dtype,
                                                   .outputs = (tandem_onnx_outputs)options->outputs,
                                                   .weight_bits = (int)options->weight_bits};
        word = comma ? comma + 1 : NULL;
    }
    return TANDEM_OK;
}

static int load(tandem_model **out, const export_options *options)
{
    tandem_model_options load = {.max_length = (size_t)options->max_length};
    TANDEM_TRY(tandem_model_detect(&load.kind, options->model));
    TANDEM_TRY(tandem_model_load(out, options->model, &load));
    return options->dimensions > 0 ? tandem_model_set_dimensions(*out, (size_t)options->dimensions) : TANDEM_OK;
}

static int export(const void *given, size_t count, char *const *arguments)
{
    const export_options *options = given;
    tandem_onnx_options graphs[DTYPES];
    tandem_model *model = NULL;
    (void)count;
    (void)arguments;
    TANDEM_TRY(parse_graphs(graphs, &count, options));
    if (tandem_dir_exists(options->output) || tandem_file_exists(options->output)) {
        return tandem_error("%s is there already", options->output);
    }
    int rc = load(&model, options);
    rc = rc < 0 ? rc : tandem_onnx_export(model, options->output, graphs, count, NULL);
    tandem_model_free(model);
    return rc;
}

const tandem_command tandem_command_export = {
    .name = "export",
    .summary = "Write a model as ONNX, in a directory that other tools load as it is",
    .max_arguments = 0,
    .options = table,
    .options_size = sizeof(export_options),
    .run = export,
    .notes = "onnx/model.onnx (opset 17, weights inline) takes input_ids, attention_mask and token_type_ids, int64\n"
             "[batch_size, sequence_length]. A bi-encoder gives last_hidden_state and sentence_embedding, with pooling\n"
             "and normalize inside the graph; a cross-encoder gives logits. Configs, tokenizer and model.safetensors\n"
             "lie beside it, so that ONNX Runtime, transformers.js and sentence-transformers use the directory.\n",
};
