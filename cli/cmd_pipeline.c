/* cmd_pipeline.c - tandem pipeline: retrieve, rerank, cut, measured as a service would run it. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/pipeline.h"
#include "tandem/machine.h"

typedef struct {
    tandem_option_list set;
    const char *output;
    bool sweep, interactive, json;
} pipeline_options;

static const tandem_option table[] = {
    {.name = "set", .type = TANDEM_OPTION_LIST, .offset = offsetof(pipeline_options, set), .value = "KEY=VALUE",
     .help = "change a setting of the config"},
    {.name = "sweep", .type = TANDEM_OPTION_FLAG, .offset = offsetof(pipeline_options, sweep),
     .help = "also try sweep.models at sweep.depths, and mark the best trade-offs of quality and time"},
    {.name = "interactive", .letter = 'i', .type = TANDEM_OPTION_FLAG,
     .offset = offsetof(pipeline_options, interactive), .help = "answer the queries on stdin, one a line"},
    {.name = "json", .type = TANDEM_OPTION_FLAG, .offset = offsetof(pipeline_options, json),
     .help = "print JSON; with -i an object a line"},
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .offset = offsetof(pipeline_options, output),
     .value = "RUN", .help = "write what comes out as a run"},
    TANDEM_OPTION_END,
};

static int measure(const pipeline *p, const pipeline_options *options)
{
    pipeline_report report;
    tandem_run *final = NULL;
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = pipeline_measure(&report, &final, p, options->sweep);
    if (rc == TANDEM_OK) {
        rc = options->json ? pipeline_report_json(&text, &report, p) : pipeline_report_text(&text, &report, p);
    }
    if (rc == TANDEM_OK && options->output) {
        rc = tandem_run_write(final, options->output);
    }
    if (rc == TANDEM_OK) {
        fputs(text.data, stdout);
    }
    tandem_buffer_free(&text);
    tandem_run_free(final);
    pipeline_report_free(&report);
    return rc;
}

static int run(const void *given, size_t count, char *const *arguments)
{
    const pipeline_options *options = given;
    pipeline p;
    (void)count;
    if (options->interactive && (options->sweep || options->output)) {
        return tandem_error_code(TANDEM_USAGE, "-i answers queries: it goes with neither --sweep nor --output");
    }
    if (!options->interactive) {
        tandem_interrupt_install();
    }
    int rc = pipeline_open(&p, arguments[0], options->set.items, options->set.count);
    if (rc == TANDEM_OK) {
        rc = options->interactive ? pipeline_prompt(&p, options->json) : measure(&p, options);
    }
    pipeline_close(&p);
    return rc;
}

const tandem_command tandem_command_pipeline = {
    .name = "pipeline",
    .summary = "Answer queries by retrieving, reranking and cutting; measure each stage",
    .usage = "CONFIG",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = table,
    .options_size = sizeof(pipeline_options),
    .run = run,
    .notes = "CONFIG is a JSON file; configs/pipeline.json is one, and docs/pipeline.md lists the settings.\n"
             "The queries of its split are answered one at a time, as a service would: by bm25 and\n"
             "bi-encoders, whose lists are joined, then by a cross-encoder for the first rerank.depth\n"
             "documents. The report says how good the ranking is after each stage, how many of the\n"
             "relevant documents the first stage found, what a perfect reranker would make of them, and\n"
             "how long each stage took (percentiles over queries).\n\n"
             "--sweep tries rerankers at several depths; a line is on the front when no other is at least\n"
             "as good and as fast. With -i, type queries; the end of the input ends it.",
};
