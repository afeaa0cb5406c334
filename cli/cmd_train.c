/* cmd_train.c - `tandem train bi` and `tandem train cross`. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

#include "cli/cli.h"
#include "tandem/json.h"
#include "tandem/machine.h"
#include "tandem/train.h"

typedef struct {
    tandem_option_list set;
    const char *output;
    bool resume, json;
} train_options;

static const tandem_option train_table[] = {
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(train_options, output),
     .value = "MODELDIR", .help = "the model directory to write; one that holds something is refused"},
    {.name = "set", .type = TANDEM_OPTION_LIST, .offset = offsetof(train_options, set), .value = "KEY=VALUE",
     .help = "change a setting of the config, e.g. data.negatives=2"},
    {.name = "resume", .type = TANDEM_OPTION_FLAG, .offset = offsetof(train_options, resume),
     .help = "continue from the newest checkpoint in MODELDIR.checkpoint; a complete MODELDIR is left as it is"},
    {.name = "json", .type = TANDEM_OPTION_FLAG, .offset = offsetof(train_options, json), .help = "print the result as JSON"},
    TANDEM_OPTION_END,
};

/* The defaults, then the file, then --set. */
static int read_config(tandem_train_config *config, const tandem_setting *rows, size_t count, const char *path,
                       const tandem_option_list *set)
{
    cJSON *json = NULL;

    TANDEM_TRY(tandem_settings_init(config, rows, count));
    TANDEM_TRY(tandem_json_read(&json, path));
    int rc = tandem_settings_apply(config, rows, count, json, path);
    tandem_json_free(json);
    for (size_t i = 0; rc == TANDEM_OK && i < set->count; i++) {
        rc = tandem_settings_set(config, rows, count, set->items[i]);
    }
    return rc;
}

static int print_json(const tandem_train_result *result, const char *directory, const char *metric)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "model", directory);
    cJSON_AddNumberToObject(json, "steps", (double)result->steps);
    cJSON_AddNumberToObject(json, "skipped", (double)result->skipped);
    cJSON_AddNumberToObject(json, "seconds", result->seconds);
    cJSON_AddNumberToObject(json, "final_loss", result->final_loss);
    if (isfinite(result->scale)) {
        cJSON_AddNumberToObject(json, "scale", result->scale);
    }
    cJSON_AddNumberToObject(json, "pairs_per_second", result->pairs_per_second);
    cJSON_AddNumberToObject(json, "tokens_per_second", result->tokens_per_second);
    cJSON_AddNumberToObject(json, "peak_memory", (double)result->peak_memory);
    if (isfinite(result->best_metric)) {
        cJSON_AddStringToObject(json, "metric", metric);
        cJSON_AddNumberToObject(json, "best_metric", result->best_metric);
        cJSON_AddNumberToObject(json, "best_step", (double)result->best_step);
    }
    char *text = cJSON_PrintUnformatted(json);

    cJSON_Delete(json);
    if (text == NULL) {
        return tandem_error("out of memory");
    }
    puts(text);
    cJSON_free(text);
    return TANDEM_OK;
}

static void print_text(const tandem_train_result *result, const char *directory, const char *metric)
{
    printf("%s: %zu steps in %.1f s, final loss %.4f, %.1f pairs/s, %.0f tokens/s, %.1f GB of memory", directory,
           result->steps, result->seconds, result->final_loss, result->pairs_per_second, result->tokens_per_second,
           1e-9 * (double)result->peak_memory);
    if (result->skipped > 0) {
        printf(", %zu steps skipped", result->skipped);
    }
    if (isfinite(result->scale)) {
        printf(", scale %.4g", result->scale);
    }
    if (isfinite(result->best_metric)) {
        printf(", best %s %.4f at step %zu", metric, result->best_metric, result->best_step);
    }
    putchar('\n');
}

static int run_train(bool cross, const train_options *options, const char *path)
{
    tandem_train_config config = {0};
    tandem_train_result result;
    size_t count = 0;
    const tandem_setting *rows = tandem_train_settings(cross, &count);
    int rc = read_config(&config, rows, count, path, &options->set);

    if (rc == TANDEM_OK) {
        tandem_interrupt_install();
        rc = tandem_train(&result, &config, cross, options->output, options->resume);
    }
    if (rc == TANDEM_OK && options->json) {
        rc = print_json(&result, options->output, config.dev.metric);
    } else if (rc == TANDEM_OK) {
        print_text(&result, options->output, config.dev.metric);
    }
    tandem_settings_free(&config, rows, count);
    return rc;
}

static int run_train_bi(const void *options, size_t count, char *const *arguments)
{
    (void)count;
    return run_train(false, options, arguments[0]);
}

static int run_train_cross(const void *options, size_t count, char *const *arguments)
{
    (void)count;
    return run_train(true, options, arguments[0]);
}

const tandem_command tandem_command_train_bi = {
    .name = "train bi",
    .summary = "Fine-tune a bi-encoder",
    .usage = "CONFIG",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = train_table,
    .options_size = sizeof(train_options),
    .run = run_train_bi,
    .notes = "CONFIG is a JSON object; docs/config.md lists its keys, configs/bi-encoder.json is an example. MODELDIR\n"
             "becomes a sentence-transformers directory with the best weights by dev.metric (the last ones without\n"
             "dev.dataset), metrics.jsonl (the same for TensorBoard in events.*), config.used.json and the negatives that were\n"
             "mined (mined/). On SIGINT or SIGTERM the step is finished, a checkpoint\n"
             "written, and the exit status is 130; --resume then continues bit for bit.",
};

const tandem_command tandem_command_train_cross = {
    .name = "train cross",
    .summary = "Fine-tune a cross-encoder",
    .usage = "CONFIG",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = train_table,
    .options_size = sizeof(train_options),
    .run = run_train_cross,
    .notes = "CONFIG is a JSON object; docs/config.md lists its keys, configs/cross-encoder.json is an example.\n"
             "Negatives come from data.groups, as `tandem mine` writes them. MODELDIR becomes a Hugging Face\n"
             "sequence-classification directory with metrics.jsonl and config.used.json. On SIGINT or SIGTERM the step is\n"
             "finished, a checkpoint written, and the exit status is 130; --resume then continues bit for bit.",
};
