/* tandem export: a model directory to ONNX. */
#include <stdio.h>

#include "cli/cli.h"
#include "tandem/file.h"
#include "tandem/model.h"
#include "tandem/onnx.h"

typedef struct {
    const char *model, *output;
    int64_t max_length;
} export_options;

static const tandem_option table[] = {
    {.name = "model", .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(export_options, model),
     .value = "DIR", .help = "bi-encoder or cross-encoder directory"},
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(export_options, output), .value = "DIR", .help = "directory to write; must not exist"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(export_options, max_length), .value = "N",
     .initial = "0", .min = 0, .max = 1e6, .help = "limit in tokens that the configs name; 0: the model's own"},
    TANDEM_OPTION_END,
};

static int export(const void *given, size_t count, char *const *arguments)
{
    const export_options *options = given;
    (void)count;
    (void)arguments;
    if (tandem_dir_exists(options->output) || tandem_file_exists(options->output)) {
        return tandem_error("%s is there already", options->output);
    }
    tandem_model_options load = {.max_length = (size_t)options->max_length};
    tandem_model *model = NULL;
    TANDEM_TRY(tandem_model_detect(&load.kind, options->model));
    TANDEM_TRY(tandem_model_load(&model, options->model, &load));
    int rc = tandem_onnx_export(model, options->output);
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
