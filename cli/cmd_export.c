/* tandem export: a model directory to ONNX. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/export_check.h"
#include "cli/model_card.h"
#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/model.h"
#include "tandem/onnx.h"

typedef struct {
    const char *model, *output, *dtype;
    int64_t outputs, dimensions, weight_bits, max_length;
    bool check;
    const char *dataset, *split, *calibrate;
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
    {.name = "calibrate", .type = TANDEM_OPTION_STRING, .offset = offsetof(export_options, calibrate), .value = "DATASET",
     .help = "int8 with fixed ranges of activations (static), measured on texts of this dataset"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(export_options, max_length), .value = "N",
     .initial = "0", .min = 0, .max = 1e6, .help = "limit in tokens that the configs name; 0: the model's own"},
    {.name = "check", .type = TANDEM_OPTION_FLAG, .offset = offsetof(export_options, check),
     .help = "run the graphs through ONNX Runtime or OpenVINO and print how far they are from the model"},
    {.name = "dataset", .type = TANDEM_OPTION_STRING, .offset = offsetof(export_options, dataset), .value = "DATASET",
     .help = "with --check, print what the graphs change of its nDCG@10 too"},
    {.name = "split", .type = TANDEM_OPTION_STRING, .offset = offsetof(export_options, split), .value = "NAME",
     .initial = "test", .help = "whose queries --dataset asks"},
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

static int check_options(const export_options *options)
{
    if (options->dataset != NULL && !options->check) {
        return tandem_error_code(TANDEM_USAGE, "--dataset is for --check");
    }
    if (options->dataset != NULL && options->outputs == TANDEM_ONNX_HIDDEN) {
        return tandem_error_code(TANDEM_USAGE, "--dataset needs sentence_embedding, which --outputs hidden leaves out");
    }
    return TANDEM_OK;
}

/* Gives the int8 graph its ranges, which the caller frees. */
static int calibrate(float **ranges, tandem_onnx_options *graphs, size_t count, const tandem_model *model,
                     const export_options *options)
{
    for (size_t i = 0; i < count; i++) {
        if (graphs[i].dtype == TANDEM_ONNX_INT8) {
            TANDEM_TRY(export_calibrate(ranges, &graphs[i].range_count, model, options->calibrate, options->output));
            graphs[i].ranges = *ranges;
            return TANDEM_OK;
        }
    }
    return tandem_error_code(TANDEM_USAGE, "--calibrate is for --dtype int8");
}

static int load(tandem_model **out, const export_options *options)
{
    tandem_model_options load = {.max_length = (size_t)options->max_length};
    TANDEM_TRY(tandem_model_detect(&load.kind, options->model));
    TANDEM_TRY(tandem_model_load(out, options->model, &load));
    return options->dimensions > 0 ? tandem_model_set_dimensions(*out, (size_t)options->dimensions) : TANDEM_OK;
}

static int write_directory(const tandem_model *model, const char *directory, const tandem_onnx_options *graphs,
                           size_t count)
{
    tandem_buffer card = TANDEM_BUFFER_INIT;
    bool own = false;
    size_t length = strlen(directory);
    while (length > 1 && directory[length - 1] == '/') {
        length--;
    }
    char *trimmed = tandem_strndup(directory, length);
    int rc = trimmed ? model_card(&card, &own, model, tandem_path_base(trimmed), graphs, count) : TANDEM_ERROR;
    rc = rc < 0 ? rc : tandem_onnx_export(model, directory, graphs, count, card.data);
    if (rc == TANDEM_OK && own) {
        tandem_log_info("%s/README.md is the model's own; no card was made", directory);
    }
    tandem_buffer_free(&card);
    free(trimmed);
    return rc;
}

static int export(const void *given, size_t count, char *const *arguments)
{
    const export_options *options = given;
    tandem_onnx_options graphs[DTYPES];
    tandem_model *model = NULL;
    (void)count;
    (void)arguments;
    TANDEM_TRY(parse_graphs(graphs, &count, options));
    TANDEM_TRY(check_options(options));
    tandem_interrupt_install();
    if (tandem_dir_exists(options->output) || tandem_file_exists(options->output)) {
        return tandem_error("%s is there already", options->output);
    }
    float *ranges = NULL;
    int rc = load(&model, options);
    rc = rc < 0 || options->calibrate == NULL ? rc : calibrate(&ranges, graphs, count, model, options);
    rc = rc < 0 ? rc : write_directory(model, options->output, graphs, count);
    if (rc == TANDEM_OK && options->check) {
        rc = export_check(model, options->output, graphs, count, options->dataset, options->split);
    }
    tandem_model_free(model);
    free(ranges);
    return rc;
}

const tandem_command tandem_command_export = {
    .name = "export",
    .summary = "Write a model as ONNX, in a directory that other tools load as it is",
    .max_arguments = 0,
    .options = table,
    .options_size = sizeof(export_options),
    .run = export,
    .notes = "onnx/model.onnx (fp32), model_fp16.onnx and model_quantized.onnx (int8) are of opset 17 and take input_ids,\n"
             "attention_mask and, where the model reads them, token_type_ids: int64 [batch_size, sequence_length]. A\n"
             "bi-encoder gives last_hidden_state and sentence_embedding, with pooling, Dense, Normalize and the cut\n"
             "inside; a cross-encoder gives logits, and scores after its activation; all float32. Weights are inline,\n"
             "over 2 GB in a second file (model.onnx_data). Configs, tokenizer, model.safetensors and a model card\n"
             "lie beside, so that ONNX Runtime, transformers.js, sentence-transformers, text-embeddings-inference,\n"
             "fastembed and Vespa use the directory as it is. A README.md of the model is kept in place of the card.\n\n"
             "int8 rounds weights for each output and activations where the graph runs (dynamic quantization), and\n"
             "word embeddings for each word. --calibrate takes the ranges of activations from up to 256 documents and\n"
             "256 queries, or 256 pairs, and fixes them (static quantization).\n\n"
             "--check exits 1 where a graph differs by more than 1e-4 (fp32), .01 (fp16) or .1 (int8), in units of\n"
             "the largest number where that is over 1, or loses more than .005 nDCG@10. A bi-encoder searches the\n"
             "corpus, a cross-encoder ranks BM25's first 20 documents. The engine is the one that TANDEM_ONNX_ENGINE\n"
             "names (the path of libonnxruntime.so or libopenvino_c.so), else one that the loader or the build finds.\n",
};
