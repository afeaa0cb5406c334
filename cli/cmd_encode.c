/* cmd_encode.c - `tandem encode`: texts to vectors. */
#include "cli/cli.h"
#include "tandem/dataset.h"
#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/model.h"

typedef struct {
    const char *model, *input, *output, *prompt_name;
    int64_t side; /* tandem_side */
    int64_t max_length, dtype;
} encode_options;

static const tandem_option encode_table[] = {
    {.name = "model", .letter = 'm', .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(encode_options, model),
     .value = "DIR", .help = "the bi-encoder, a sentence-transformers directory"},
    {.name = "input", .letter = 'i', .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(encode_options, input),
     .value = "FILE.jsonl|DATASET", .help = "lines of {\"_id\", \"text\", \"title\"?} (.zst too), or a dataset folder"},
    {.name = "side", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(encode_options, side), .value = "query|document", .initial = "document",
     .help = "whose prompt is put before the texts, and which of a dataset's files is read"},
    {.name = "prompt-name", .type = TANDEM_OPTION_STRING, .offset = offsetof(encode_options, prompt_name), .value = "NAME",
     .help = "the model's prompt of this name instead of the side's"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(encode_options, max_length), .value = "N", .initial = "0",
     .min = 0, .max = 1 << 20, .help = "tokens read of a text, special ones included; 0: what the model says"},
    TANDEM_OPTION_DTYPE(encode_options),
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(encode_options, output),
     .value = "OUT.h5|OUT.npy|OUT.fbin", .help = "where the vectors go, rows in input order"},
    TANDEM_OPTION_END,
};

static int encode_texts(const encode_options *options, tandem_model *model, const tandem_texts *texts)
{
    tandem_vectors vectors;
    tandem_side side = (tandem_side)options->side;
    double start = tandem_seconds();
    TANDEM_TRY(tandem_model_encode_texts(&vectors, model, texts->items, texts->count, side, true, "encoding"));
    int rc = tandem_model_write_vectors(options->output, model, &vectors, texts->items, side);
    if (rc == 0) {
        tandem_log_info("%s: %zu vectors of %zu numbers in %.1f s", options->output, vectors.count, vectors.dim, tandem_seconds() - start);
    }
    tandem_vectors_free(&vectors);
    return rc;
}

/* Names the prompts that there are when there is none of that name. */
static int use_prompt(tandem_model *model, const encode_options *options)
{
    if (options->prompt_name == NULL) {
        return 0;
    }
    const tandem_model_info *info = tandem_model_describe(model);
    const char *prompt = tandem_model_find_prompt(model, options->prompt_name);
    if (prompt != NULL) {
        return tandem_model_set_prompt(model, (tandem_side)options->side, prompt);
    }
    tandem_buffer known = TANDEM_BUFFER_INIT;
    int rc = 0;
    for (size_t i = 0; i < info->prompt_count && rc == 0; i++) {
        rc = tandem_buffer_printf(&known, "%s\"%s\"", i > 0 ? ", " : "", info->prompts[i].name);
    }
    if (rc == 0) {
        rc = tandem_error_code(TANDEM_USAGE, "%s: there is no prompt \"%s\" (known: %s)", options->model, options->prompt_name,
                               known.length > 0 ? known.data : "none");
    }
    tandem_buffer_free(&known);
    return rc;
}

static int encode_dataset(const encode_options *options, tandem_model *model)
{
    tandem_dataset *dataset;
    TANDEM_TRY(tandem_dataset_open(&dataset, options->input));
    int rc = encode_texts(options, model, options->side == TANDEM_QUERY ? &dataset->queries : &dataset->corpus);
    tandem_dataset_free(dataset);
    return rc;
}

static int encode_file(const encode_options *options, tandem_model *model)
{
    tandem_arena *arena = tandem_arena_new();
    if (arena == NULL) {
        return TANDEM_ERROR;
    }
    tandem_texts texts = {0};
    int rc = tandem_texts_read(&texts, arena, options->input);
    if (rc == 0) {
        rc = encode_texts(options, model, &texts);
    }
    tandem_texts_free(&texts);
    tandem_arena_free(arena);
    return rc;
}

static int run_encode(const void *arguments, size_t count, char *const *words)
{
    (void)count;
    (void)words;
    const encode_options *options = arguments;
    TANDEM_TRY(tandem_vectors_check_name(options->output));
    tandem_interrupt_install();
    tandem_model_options load = {.kind = TANDEM_BI_ENCODER, .max_length = (size_t)options->max_length,
                                 .precision = (tandem_precision)options->dtype};
    tandem_model *model;
    TANDEM_TRY(tandem_model_load(&model, options->model, &load));
    int rc = use_prompt(model, options);
    if (rc == 0) {
        rc = tandem_dir_exists(options->input) ? encode_dataset(options, model) : encode_file(options, model);
    }
    tandem_model_free(model);
    return rc;
}

const tandem_command tandem_command_encode = {
    .name = "encode",
    .summary = "Write the embeddings of texts",
    .options = encode_table,
    .options_size = sizeof(encode_options),
    .run = run_encode,
    .notes = "OUT.h5 holds /embeddings [n, d], /ids, and what made them; OUT.npy and OUT.fbin the vectors alone. Vectors are kept in the cache under the hash "
             "of weights, tokenizer, settings and texts, and read from there the next time (TANDEM_CACHE=off: not).",
};
