/* cmd_mine.c - tandem mine: hard negatives from the present retrievers. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/dataset.h"
#include "tandem/json.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/model.h"
#include "tandem/negatives.h"

typedef struct {
    tandem_option_list models;
    const char *cross, *dataset, *split, *output;
    const char *range, *absolute_margin, *relative_margin, *positive_percent;
    const char *max_score, *min_score, *near_duplicate, *similar_positive;
    int64_t rank, negatives, sampling, shortage, seed, block, max_length, dtype;
    bool json;
} mine_options;

static const tandem_option table[] = {
    {.name = "model", .type = TANDEM_OPTION_LIST, .required = true, .offset = offsetof(mine_options, models),
     .value = "DIR", .help = "directory of a bi-encoder, or bm25; given again, another retriever beside it"},
    {.name = "cross", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, cross), .value = "DIR",
     .help = "directory of a cross-encoder that judges positives and candidates in place of the first model"},
    {.name = "dataset", .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(mine_options, dataset),
     .value = "DIR", .help = "the corpus, the queries and their judgments"},
    {.name = "split", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, split), .value = "NAME",
     .initial = "train", .help = "mine for the queries with a relevant document in this split"},
    {.name = "range", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, range), .value = "LOW:HIGH",
     .initial = "0:50", .help = "ranks that negatives come from, the best being 0 and HIGH itself left out"},
    {.name = "rank", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(mine_options, rank), .value = "best|fused",
     .initial = "best", .help = "of several models: a document's best rank, or that after reciprocal rank fusion"},
    {.name = "absolute-margin", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, absolute_margin),
     .value = "X|off", .initial = "off", .help = "drop what scores above the lowest positive - X"},
    {.name = "relative-margin", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, relative_margin),
     .value = "X|off", .initial = "0.05", .help = "drop what scores above the lowest positive - X of its size"},
    {.name = "positive-percent", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, positive_percent),
     .value = "P", .help = "the relative margin in other words: 1 - P / 100, so that 95 is 0.05"},
    {.name = "max-score", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, max_score), .value = "X|off",
     .initial = "off", .help = "drop what scores above X"},
    {.name = "min-score", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, min_score), .value = "X|off",
     .initial = "off", .help = "drop what scores below X"},
    {.name = "near-duplicate", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, near_duplicate),
     .value = "X|off", .initial = "off",
     .help = "drop what shares this part of its three-word shingles with a positive"},
    {.name = "similar-positive", .type = TANDEM_OPTION_STRING, .offset = offsetof(mine_options, similar_positive),
     .value = "X|off", .initial = "off", .help = "drop what has at least this cosine with a positive"},
    {.name = "negatives", .type = TANDEM_OPTION_INT, .offset = offsetof(mine_options, negatives), .value = "N",
     .initial = "4", .min = 1, .max = 1e9, .help = "negatives for each query"},
    {.name = "sampling", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(mine_options, sampling),
     .value = "top|random", .initial = "top", .help = "take the hardest, or a random sample of what is left"},
    {.name = "shortage", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(mine_options, shortage),
     .value = "fewer|fill|drop", .initial = "fewer",
     .help = "a query with too few left has fewer, is filled up at random, or is dropped"},
    {.name = "seed", .type = TANDEM_OPTION_INT, .offset = offsetof(mine_options, seed), .value = "N", .initial = "13",
     .min = 0, .max = 9007199254740992.0, .help = "seed of random choices"},
    {.name = "block", .type = TANDEM_OPTION_INT, .offset = offsetof(mine_options, block), .value = "N", .initial = "0",
     .min = 0, .max = 1e9, .help = "queries mined at a time; 0: 64 with a cross-encoder, else up to 4096"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(mine_options, max_length), .value = "N",
     .initial = "0", .min = 0, .max = 1e6, .help = "tokens of a text, or of a pair; 0: what the model says"},
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

static int parse_number(double *out, const char *option, const char *text)
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

static int parse_thresholds(tandem_mining_options *out, const mine_options *options)
{
    TANDEM_TRY(parse_number(&out->absolute_margin, "absolute-margin", options->absolute_margin));
    TANDEM_TRY(parse_number(&out->relative_margin, "relative-margin", options->relative_margin));
    TANDEM_TRY(parse_number(&out->max_score, "max-score", options->max_score));
    TANDEM_TRY(parse_number(&out->min_score, "min-score", options->min_score));
    TANDEM_TRY(parse_number(&out->near_duplicate, "near-duplicate", options->near_duplicate));
    TANDEM_TRY(parse_number(&out->similar_positive, "similar-positive", options->similar_positive));
    if (options->positive_percent) {
        double percent;
        TANDEM_TRY(parse_number(&percent, "positive-percent", options->positive_percent));
        out->relative_margin = 1 - percent / 100;
    }
    return TANDEM_OK;
}

static int parse(tandem_mining_options *out, const mine_options *options)
{
    *out = (tandem_mining_options)TANDEM_MINING_OPTIONS_INIT;
    out->rank = (tandem_mining_rank)options->rank;
    out->negatives = (size_t)options->negatives;
    out->sampling = (tandem_sampling)options->sampling;
    out->shortage = (tandem_shortage)options->shortage;
    out->seed = (uint64_t)options->seed;
    out->block = (size_t)options->block;
    TANDEM_TRY(parse_range(out, options->range));
    TANDEM_TRY(parse_thresholds(out, options));
    if (options->json && strcmp(options->output, "-") == 0) {
        return tandem_error_code(TANDEM_USAGE, "--json and -o - both want stdout");
    }
    return TANDEM_OK;
}

static int load(tandem_model **out, const char *directory, tandem_model_kind kind, const mine_options *options)
{
    const tandem_model_options load = {
        .kind = kind, .max_length = (size_t)options->max_length, .precision = (tandem_precision)options->dtype};
    return tandem_model_load(out, directory, &load);
}

static int mine(tandem_mining_statistics *statistics, const mine_options *options, const tandem_mining_options *mining,
                const tandem_dataset *dataset, const tandem_split *split)
{
    tandem_model **models = tandem_alloc(options->models.count, sizeof *models), *cross = NULL;
    int rc = models ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; rc == TANDEM_OK && i < options->models.count; i++) {
        const char *name = options->models.items[i];
        rc = strcmp(name, "bm25") == 0 ? TANDEM_OK : load(&models[i], name, TANDEM_BI_ENCODER, options);
    }
    if (rc == TANDEM_OK && options->cross) {
        rc = load(&cross, options->cross, TANDEM_CROSS_ENCODER, options);
    }
    if (rc == TANDEM_OK) {
        const tandem_mining_models all = {.retrievers = models, .count = options->models.count, .cross = cross};
        rc = tandem_mine_file(options->output, statistics, &all, dataset, split, mining);
    }
    for (size_t i = 0; models && i < options->models.count; i++) {
        tandem_model_free(models[i]);
    }
    tandem_model_free(cross);
    free(models);
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
    tandem_interrupt_install();
    TANDEM_TRY_GOTO(rc, done, mine(&statistics, options, &mining, dataset, split));
    rc = options->json ? print_json(&statistics) : log_report(&statistics);
done:
    tandem_split_free(split);
    tandem_dataset_free(dataset);
    return rc;
}

const tandem_command tandem_command_mine = {
    .name = "mine",
    .summary = "Mine hard negatives with bi-encoders and BM25, as training groups",
    .options = table,
    .options_size = sizeof(mine_options),
    .run = run,
    .notes = "Ranks are those of a search of the whole corpus. Known positives of the query never become\n"
             "negatives, nor does a document whose text is that of a positive, of the query or of another\n"
             "negative. A random choice depends on the seed and the query's id alone. Negatives are\n"
             "written hardest first.\n"
             "\n"
             "The candidates of several models are united, in the order of reciprocal rank fusion.\n"
             "Margins and scores are those of one judge: the cross-encoder's logits, or else the first\n"
             "model's scores. Margins compare with the query's positive that scores lowest. With a\n"
             "cross-encoder its scores also decide which negatives are the hardest.\n"
             "\n"
             "Finished blocks of queries are kept in OUTPUT.partial: after a kill the same command goes\n"
             "on there, and writes what an undisturbed one writes. docs/mining.md has the details.",
};
