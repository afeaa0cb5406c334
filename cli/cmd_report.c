/* cmd_report.c - tandem report: a run of `tandem run`, or runs of anything, as one HTML page. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/report.h"

typedef struct {
    const char *dataset, *split, *qrels, *metrics, *output;
    tandem_option_list runs;
    int64_t seed;
} report_options;

static const tandem_option table[] = {
    {.name = "run", .type = TANDEM_OPTION_LIST, .offset = offsetof(report_options, runs), .value = "RUN",
     .help = "a run to show too; each is compared with the first of all"},
    {.name = "dataset", .type = TANDEM_OPTION_STRING, .offset = offsetof(report_options, dataset), .value = "DIR",
     .help = "the texts and the judgments; by default the one that OUTDIR names"},
    {.name = "split", .type = TANDEM_OPTION_STRING, .offset = offsetof(report_options, split), .value = "NAME",
     .help = "split of the dataset; by default the one that OUTDIR names, or test"},
    {.name = "qrels", .type = TANDEM_OPTION_STRING, .offset = offsetof(report_options, qrels), .value = "FILE",
     .help = "judgments, in place of the dataset's"},
    {.name = "metrics", .letter = 'm', .type = TANDEM_OPTION_STRING, .offset = offsetof(report_options, metrics),
     .value = "LIST", .initial = "ndcg@10,recall@100,map",
     .help = "metrics, separated by commas; the first is the one of charts and examples"},
    {.name = "seed", .type = TANDEM_OPTION_INT, .offset = offsetof(report_options, seed), .value = "N", .initial = "13",
     .min = 0, .max = 9007199254740992.0, .help = "seed of bootstrap and randomization"},
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(report_options, output), .value = "FILE", .help = "the page to write; - is stdout"},
    TANDEM_OPTION_END,
};

/* What a report is collected in; strings live in the arena or in the JSON. */
typedef struct {
    tandem_report report;
    tandem_report_system *systems;
    tandem_report_item *items; /* facts, then logs, then mined */
    tandem_metric *metrics;
    tandem_arena *arena;
    const char *title;
    cJSON *json; /* results.json */
    tandem_dataset *dataset;
    tandem_qrels *qrels;
} collected;

enum { MAX_FACTS = 16, MAX_FILES = 2 }; /* files: of the bi-encoder and of the cross-encoder */

/* ---- the output of tandem run --------------------------------------------------------------------------- */
static char *in_arena(collected *c, char *text)
{
    char *copy = text ? tandem_arena_strndup(c->arena, text, strlen(text)) : NULL;
    free(text);
    return copy;
}

/* Facts that results.json tells of the run. */
static int take_facts(collected *c)
{
    static const char *const keys[] = {"dataset", "data_hash", "model", "model_hash", "split",   "queries",
                                       "seed",    "threads",   "cpu",   "kernels",    "libtorch"};
    _Static_assert(sizeof keys / sizeof *keys <= MAX_FACTS, "facts have room");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *member = tandem_json_member(c->json, keys[i]);
        const char *value = cJSON_IsString(member) ? member->valuestring : NULL;
        if (cJSON_IsNumber(member)) {
            char number[32];
            snprintf(number, sizeof number, "%.17g", member->valuedouble);
            value = tandem_arena_strndup(c->arena, number, strlen(number));
            if (!value) {
                return TANDEM_ERROR;
            }
        }
        if (value) {
            c->items[c->report.fact_count++] = (tandem_report_item){keys[i], value};
        }
    }
    return TANDEM_OK;
}

/* Adds `directory`/`name` when it is there. */
static int take_file(collected *c, tandem_report_item *items, size_t *count, const char *directory, const char *name,
                     const char *title)
{
    char *path = in_arena(c, tandem_path_join(directory, name));
    if (!path) {
        return TANDEM_ERROR;
    }
    if (tandem_file_exists(path)) {
        items[(*count)++] = (tandem_report_item){title, path};
    }
    return TANDEM_OK;
}

static int take_files(collected *c, const char *directory)
{
    tandem_report_item *logs = c->items + MAX_FACTS, *mined = logs + MAX_FILES;
    tandem_report *report = &c->report;
    report->logs = logs;
    report->mined = mined;
    TANDEM_TRY(take_file(c, logs, &report->log_count, directory, "models/bi-encoder/metrics.jsonl", "Bi-encoder"));
    TANDEM_TRY(
        take_file(c, logs, &report->log_count, directory, "models/cross-encoder/metrics.jsonl", "Cross-encoder"));
    TANDEM_TRY(
        take_file(c, mined, &report->mined_count, directory, "mined/bi-encoder.jsonl.zst", "For the bi-encoder"));
    return take_file(c, mined, &report->mined_count, directory, "mined/cross-encoder.jsonl.zst",
                     "For the cross-encoder");
}

/* The system before `index` that `system` was compared with, by its metrics' "against". */
static size_t baseline_of(const collected *c, const cJSON *system, size_t index)
{
    const cJSON *metrics = tandem_json_member(system, "metrics");
    const cJSON *against = tandem_json_member(metrics ? metrics->child : NULL, "against");
    const cJSON *name = tandem_json_member(against, "system");
    for (size_t i = 0; cJSON_IsString(name) && i < index; i++) {
        if (strcmp(c->systems[i].name, name->valuestring) == 0) {
            return i;
        }
    }
    return TANDEM_REPORT_NONE;
}

static int take_systems(collected *c, const cJSON *systems, const char *directory, const char *source)
{
    const cJSON *system;
    cJSON_ArrayForEach(system, systems)
    {
        size_t index = c->report.system_count;
        const char *name, *run;
        TANDEM_TRY(tandem_json_get_string(system, "name", source, &name));
        TANDEM_TRY(tandem_json_get_string(system, "run", source, &run));
        char *path = in_arena(c, tandem_path_join(directory, run));
        if (!path) {
            return TANDEM_ERROR;
        }
        c->systems[index] = (tandem_report_system){name, path, baseline_of(c, system, index)};
        c->report.system_count++;
    }
    return TANDEM_OK;
}

/* ---- collecting --------------------------------------------------------------------------------------------- */
static int read_results(collected *c, const char *directory, char **path)
{
    *path = in_arena(c, tandem_path_join(directory, "results.json"));
    if (!*path) {
        return TANDEM_ERROR;
    }
    int rc = tandem_json_read(&c->json, *path);
    return rc == TANDEM_NOT_FOUND ? tandem_error("%s: no such file; `tandem run` writes it when it is done", *path)
                                  : rc;
}

/* The last two names of a path, as "scifact/dataset", and the split. */
static int make_title(collected *c, const char *path, const char *split)
{
    size_t length = strlen(path), start, slashes = 0;
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    for (start = length; start > 0; start--) {
        slashes += path[start - 1] == '/';
        if (slashes == 2) {
            break;
        }
    }
    tandem_buffer title = TANDEM_BUFFER_INIT;
    int rc = tandem_buffer_append(&title, path + start, length - start);
    rc = rc < 0 ? rc : tandem_buffer_puts(&title, split ? ", " : "");
    rc = rc < 0 ? rc : tandem_buffer_puts(&title, split ? split : "");
    c->title = rc < 0 ? NULL : tandem_arena_strndup(c->arena, title.data, title.length);
    tandem_buffer_free(&title);
    return c->title ? TANDEM_OK : TANDEM_ERROR;
}

static int take_judgments(collected *c, const report_options *options)
{
    const char *dataset = options->dataset, *split = options->split;
    if (c->json && !dataset) {
        TANDEM_TRY(tandem_json_get_string_or(c->json, "dataset", "results.json", &dataset));
    }
    if (c->json && !split) {
        TANDEM_TRY(tandem_json_get_string_or(c->json, "split", "results.json", &split));
    }
    if (!dataset && !options->qrels) {
        return tandem_error_code(TANDEM_USAGE, "--dataset or --qrels is needed for the judgments");
    }
    TANDEM_TRY(make_title(c, dataset ? dataset : options->qrels, split));
    if (dataset) {
        int rc = tandem_dataset_open(&c->dataset, dataset);
        if (rc < 0 && !options->dataset) {
            return tandem_error_context(rc, "%s, which the run was made from; --dataset says where it is now", dataset);
        }
        TANDEM_TRY(rc);
    }
    return options->qrels ? tandem_qrels_read(&c->qrels, options->qrels)
                          : tandem_dataset_qrels(&c->qrels, c->dataset, split ? split : "test");
}

static int reserve(collected *c, size_t systems)
{
    c->systems = tandem_alloc(systems, sizeof *c->systems);
    c->items = tandem_alloc(MAX_FACTS + 2 * MAX_FILES, sizeof *c->items);
    return c->systems && c->items ? TANDEM_OK : TANDEM_ERROR;
}

static int collect(collected *c, const report_options *options, const char *directory)
{
    tandem_report *report = &c->report;
    const cJSON *systems = NULL;
    char *path = NULL;
    c->arena = tandem_arena_new();
    TANDEM_TRY(c->arena ? TANDEM_OK : TANDEM_ERROR);
    if (directory) {
        TANDEM_TRY(read_results(c, directory, &path));
        systems = tandem_json_member(c->json, "systems");
        if (!cJSON_IsArray(systems)) {
            return tandem_error("%s: expected an array as \"systems\"", path);
        }
    }
    TANDEM_TRY(reserve(c, (size_t)cJSON_GetArraySize(systems) + options->runs.count));
    if (directory) {
        TANDEM_TRY(take_systems(c, systems, directory, path));
        TANDEM_TRY(take_facts(c));
        TANDEM_TRY(take_files(c, directory));
    }
    for (size_t i = 0; i < options->runs.count; i++) {
        size_t index = report->system_count++;
        c->systems[index] = (tandem_report_system){tandem_path_base(options->runs.items[i]), options->runs.items[i],
                                                   index == 0 ? TANDEM_REPORT_NONE : 0};
    }
    if (report->system_count == 0) {
        return tandem_error_code(TANDEM_USAGE, "nothing to report: OUTDIR or --run is needed");
    }
    TANDEM_TRY(tandem_metrics_parse(&c->metrics, &report->metric_count, options->metrics, TANDEM_METRICS_MEANS));
    return take_judgments(c, options);
}

static int write_page(const tandem_report *report, const char *path)
{
    tandem_buffer page = TANDEM_BUFFER_INIT;
    int rc = tandem_report_html(&page, report);
    rc = rc < 0 ? rc : tandem_file_write(path, page.data, page.length);
    tandem_buffer_free(&page);
    return rc;
}

static int run(const void *given, size_t count, char *const *arguments)
{
    const report_options *options = given;
    const char *directory = count > 0 ? arguments[0] : NULL;
    collected c = {0};
    int rc = collect(&c, options, directory);
    if (rc >= 0) {
        c.report.title = c.title;
        c.report.facts = c.items;
        c.report.dataset = c.dataset;
        c.report.qrels = c.qrels;
        c.report.systems = c.systems;
        c.report.metrics = c.metrics;
        c.report.seed = (uint64_t)options->seed;
        rc = write_page(&c.report, options->output);
    }
    tandem_qrels_free(c.qrels);
    tandem_dataset_free(c.dataset);
    tandem_json_free(c.json);
    tandem_arena_free(c.arena);
    free(c.metrics);
    free(c.items);
    free(c.systems);
    return rc;
}

const tandem_command tandem_command_report = {
    .name = "report",
    .summary = "Write an HTML page on what a run changed, query by query",
    .usage = "[OUTDIR]",
    .max_arguments = 1,
    .options = table,
    .options_size = sizeof(report_options),
    .run = run,
    .notes =
        "OUTDIR is the output of `tandem run`. Without it, the page is about the --run files alone, with texts\n"
        "when --dataset is given.\n\n"
        "The page holds means with intervals and differences as `tandem eval --compare` has them; the first metric by\n"
        "length of the query and by number of relevant documents; for each comparison every query before and\n"
        "after, the ranks of relevant documents and the queries won and lost most; training curves;\n"
        "margins of the mined negatives. It is one file without scripts, and loads nothing from anywhere.",
};
