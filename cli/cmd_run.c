/* tandem run: a whole recipe. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/recipe.h"
#include "tandem/file.h"
#include "tandem/machine.h"

typedef struct {
    tandem_option_list set;
    const char *output;
} run_options;

static const tandem_option table[] = {
    {.name = "set", .type = TANDEM_OPTION_LIST, .offset = offsetof(run_options, set), .value = "KEY=VALUE",
     .help = "change a setting of the recipe (bi.x and cross.x: of the two trainings)"},
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(run_options, output), .value = "OUTDIR", .help = "folder for models, runs and results.json"},
    TANDEM_OPTION_END,
};

static int run(const void *given, size_t count, char *const *arguments)
{
    const run_options *options = given;
    (void)count;
    tandem_interrupt_install();
    recipe r;
    int rc = recipe_open(&r, arguments[0], options->set.items, options->set.count, options->output);
    if (rc == TANDEM_OK) {
        rc = tandem_dir_make(options->output);
    }
    if (rc == TANDEM_OK) {
        rc = recipe_run(&r);
    }
    if (rc == TANDEM_OK) {
        rc = recipe_results(&r);
    }
    recipe_close(&r);
    return rc;
}

const tandem_command tandem_command_run = {
    .name = "run",
    .summary = "Run a whole recipe: zero-shot, mine, train both, rerank, evaluate, export",
    .usage = "RECIPE",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = table,
    .options_size = sizeof(run_options),
    .run = run,
    .notes = "RECIPE is a JSON file; configs/quickstart.json is one. Each stage is skipped when its inputs, by hash,\n"
             "have not changed since it was done: an interrupted run continues where it stopped.\n\n"
             "OUTDIR gets models/ (bi-encoder, cross-encoder), onnx/ (both), runs/ (TREC run files), mined/\n"
             "(training groups) and results.json, and the table is printed.\n",
};
