/* cmd_mine.c - tandem mine: hard negatives from the present retriever. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/dataset.h"
#include "tandem/groups.h"
#include "tandem/json.h"
#include "tandem/log.h"
#include "tandem/model.h"
#include "tandem/negatives.h"
#include "tandem/search.h"

typedef struct {
    const char *model, *dataset, *split, *output;
    const char *range, *absolute_margin, *relative_margin;
    int64_t negatives, sampling, seed, max_length, dtype;
    bool json;
} mine_options;

static const tandem_option table[] = {
    {.name = "model", .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(mine_options, model),
     .value = "DIR", .help = "directory of the bi-encoder, or bm25"},
    {.name = "dataset", .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(mine_options, dataset),
     .value = "DIR", .help = "the corpus, the queries and their judgments"},
    {.name = "split", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, split), .value = "NAME",
     .initial = "train", .help = "mine for the queries with a relevant document in this split"},
    {.name = "range", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, range), .value = "LOW:HIGH",
     .initial = "0:50", .help = "ranks that negatives come from, the best being 0 and HIGH itself left out"},
    {.name = "absolute-margin", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, absolute_margin),
     .value = "X|off", .initial = "off", .help = "drop what scores above the lowest positive - X"},
    {.name = "relative-margin", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, relative_margin),
     .value = "X|off", .initial = "0.05", .help = "drop what scores above the lowest positive - X of its size"},
    {.name = "negatives", .type = TANDEM_OPTION_INT, .offset = offsetof(mine_options, negatives), .value = "N",
     .initial = "4", .min = 1, .max = 1e9, .help = "negatives for each query"},
    {.name = "sampling", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(mine_options, sampling),
     .value = "top|random", .initial = "top", .help = "take the hardest, or a random sample of what is left"},
    {.name = "seed", .type = TANDEM_OPTION_INT, .offset = offsetof(mine_options, seed), .value = "N", .initial = "13",
     .min = 0, .max = 9007199254740992.0, .help = "seed of the random sample"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(mine_options, max_length), .value = "N",
     .initial = "0", .min = 0, .max = 1e6, .help = "tokens of a text; 0: what the model says"},
    TANDEM_OPTION_DTYPE(mine_options),
    {.name = "json", .type = TANDEM_OPTION_FLAG, .offset = offsetof(mine_options, json),
     .help = "print the statistics to stdout as one JSON object"},
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(mine_options, output), .value = "GROUPS.jsonl[.zst]", .help = "the training groups to write"},
    TANDEM_OPTION_END,
};

/* A rank at the start of `text`; *end is what follows it. */
static bool parse_rank(size_t *out, const char *text, char **end)
{
    if (*text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    unsigned long long value = strtoull(text, end, 10);
    *out = (size_t)value;
    return errno == 0 && value <= UINT32_MAX;
}

static int parse_range(tandem_mining_options *out, const char *text)
{
    char *end;
    if (!parse_rank(&out->range_low, text, &end) || *end != ':' || !parse_rank(&out->range_high, end + 1, &end) ||
        *end) {
        return tandem_error_code(TANDEM_USAGE, "--range: expected LOW:HIGH, found \"%s\"", text);
    }
    return TANDEM_OK;
}

static int parse_margin(double *out, const char *option, const char *text)
{
    char *end;
    if (strcmp(text, "off") == 0) {
        *out = NAN;
        return TANDEM_OK;
    }
    *out = strtod(text, &end);
    if (end == text || *end || !isfinite(*out)) {
        return tandem_error_code(TANDEM_USAGE, "--%s: expected a number or off, found \"%s\"", option, text);
    }
    return TANDEM_OK;
}

static int parse(tandem_mining_options *out, const mine_options *options)
{
    *out = (tandem_mining_options){.negatives = (size_t)options->negatives,
                                   .sampling = (tandem_sampling)options->sampling,
                                   .seed = (uint64_t)options->seed};
    TANDEM_TRY(parse_range(out, options->range));
    TANDEM_TRY(parse_margin(&out->absolute_margin, "absolute-margin", options->absolute_margin));
    TANDEM_TRY(parse_margin(&out->relative_margin, "relative-margin", options->relative_margin));
    if (options->json && strcmp(options->output, "-") == 0) {
        return tandem_error_code(TANDEM_USAGE, "--json and -o - both want stdout");
    }
    return TANDEM_OK;
}

static int mine_bm25(tandem_groups **out, tandem_mining_statistics *statistics, const tandem_dataset *dataset,
                     const tandem_split *split, const tandem_mining_options *options)
{
    tandem_bm25 *index = NULL;
    TANDEM_TRY(tandem_bm25_new(&index, dataset->corpus.items, dataset->corpus.count,
                               (tandem_bm25_options)TANDEM_BM25_OPTIONS_INIT));
    const tandem_mining_source source = {.bm25 = index};
    int rc = tandem_mine_negatives(out, statistics, dataset, split, &source, options);
    tandem_bm25_free(index);
    return rc;
}

static int mine(tandem_groups **out, tandem_mining_statistics *statistics, const mine_options *options,
                const tandem_mining_options *mining, const tandem_dataset *dataset, const tandem_split *split)
{
    if (strcmp(options->model, "bm25") == 0) {
        return mine_bm25(out, statistics, dataset, split, mining);
    }
    const tandem_model_options load = {.kind = TANDEM_BI_ENCODER, .max_length = (size_t)options->max_length,
                                       .precision = (tandem_precision)options->dtype};
    tandem_model *model = NULL;
    TANDEM_TRY(tandem_model_load(&model, options->model, &load));
    int rc = tandem_mine_with_model(out, statistics, model, dataset, split, mining, true);
    tandem_model_free(model);
    return rc;
}

static int print_json(const tandem_mining_statistics *statistics)
{
    cJSON *report;
    TANDEM_TRY(tandem_mining_report_json(&report, statistics));
    char *text = cJSON_Print(report);
    tandem_json_free(report);
    if (!text) {
        return tandem_error("out of memory");
    }
    puts(text);
    cJSON_free(text);
    return TANDEM_OK;
}

static int log_report(const tandem_mining_statistics *statistics)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = tandem_mining_report(&text, statistics);
    if (rc == TANDEM_OK) {
        tandem_log_info("%s", text.data);
    }
    tandem_buffer_free(&text);
    return rc;
}

static int run(const void *given, size_t count, char *const *arguments)
{
    const mine_options *options = given;
    tandem_mining_options mining;
    tandem_mining_statistics statistics;
    tandem_dataset *dataset = NULL;
    tandem_split *split = NULL;
    tandem_groups *groups = NULL;
    int rc;
    (void)count;
    (void)arguments;
    TANDEM_TRY(parse(&mining, options));
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_open(&dataset, options->dataset));
    TANDEM_TRY_GOTO(rc, done, tandem_split_load(&split, dataset, options->split));
    if (split->missing > 0) {
        tandem_log_warn("%s: %zu judgments of split %s name no query or document of the dataset; they are passed over",
                        options->dataset, split->missing, options->split);
    }
    TANDEM_TRY_GOTO(rc, done, mine(&groups, &statistics, options, &mining, dataset, split));
    TANDEM_TRY_GOTO(rc, done, tandem_groups_write(groups, options->output));
    rc = options->json ? print_json(&statistics) : log_report(&statistics);
done:
    tandem_groups_free(groups);
    tandem_split_free(split);
    tandem_dataset_free(dataset);
    return rc;
}

const tandem_command tandem_command_mine = {
    .name = "mine",
    .summary = "Mine hard negatives with a bi-encoder or BM25, as training groups",
    .options = table,
    .options_size = sizeof(mine_options),
    .run = run,
    .notes = "Ranks are those of a search of the whole corpus. Known positives of the query never become\n"
             "negatives, nor does a document whose text is that of a positive, of the query or of another\n"
             "negative. Margins compare with the query's positive that scores lowest. A random sample\n"
             "depends on the seed and the query's id alone. Every query is written, with the positives it\n"
             "has and the negatives that were left, hardest first.",
};
