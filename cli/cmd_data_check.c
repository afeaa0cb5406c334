/* cmd_data_check.c - `tandem data check`: problems of a dataset by line, and statistics. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/dataset.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/tokenizer.h"

typedef struct {
    const char *model;
    int64_t max_length;
    bool strict, json;
} check_options;

static const tandem_option table[] = {
    {.name = "model", .type = TANDEM_OPTION_STRING, .offset = offsetof(check_options, model), .value = "DIR",
     .help = "measure lengths in tokens of this model's tokenizer.json, not in bytes"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(check_options, max_length), .value = "N",
     .initial = "0", .min = 0, .max = 1 << 20,
     .help = "tokens at which texts are counted as truncated; 0: the limit that the model's files name"},
    {.name = "strict", .type = TANDEM_OPTION_FLAG, .offset = offsetof(check_options, strict),
     .help = "take warnings for errors: exit status 1 unless nothing is wrong"},
    {.name = "json", .type = TANDEM_OPTION_FLAG, .offset = offsetof(check_options, json),
     .help = "print one JSON object"},
    TANDEM_OPTION_END,
};

/* What is measured with, and what came of it. */
typedef struct {
    const char *directory;
    tandem_tokenizer *tokenizer; /* NULL: lengths are bytes */
    size_t max_length;
    tandem_dataset_report report;
} check;

/* ---- the model's limit ------------------------------------------------------------ */
/* Puts the integer `key` of directory/file into *limit, where there is such a file with it. */
static int read_limit(const char *directory, const char *file, const char *key, size_t *limit)
{
    cJSON *json = NULL;
    int64_t value = 0;
    char *path = tandem_path_join(directory, file);
    int rc = path ? tandem_json_read(&json, path) : TANDEM_ERROR;
    if (rc == TANDEM_OK) {
        rc = tandem_json_get_int_or(json, key, path, 1, INT32_MAX, &value);
    }
    if (rc == TANDEM_OK && value > 0) {
        *limit = (size_t)value;
    }
    tandem_json_free(json);
    free(path);
    return rc == TANDEM_NOT_FOUND ? TANDEM_OK : rc;
}

/* As sentence-transformers has it: its own limit, else the tokenizer's, else that of the
 * model's positions; 0 when none is named. */
static int find_limit(check *all, const char *model)
{
    if (all->max_length == 0 && tandem_dir_exists(model)) {
        TANDEM_TRY(read_limit(model, "sentence_bert_config.json", "max_seq_length", &all->max_length));
    }
    if (all->max_length == 0) {
        all->max_length = tandem_tokenizer_truncation(all->tokenizer);
    }
    if (all->max_length == 0 && tandem_dir_exists(model)) {
        TANDEM_TRY(read_limit(model, "config.json", "max_position_embeddings", &all->max_length));
    }
    return TANDEM_OK;
}

/* ---- JSON ---------------------------------------------------------------------------- */
static int put_string(tandem_buffer *out, const char *before, const char *text)
{
    TANDEM_TRY(tandem_buffer_puts(out, before));
    return tandem_buffer_json_string(out, text, strlen(text));
}

static int put_quantiles_json(tandem_buffer *out, const char *key, const size_t lengths[8], size_t truncated)
{
    TANDEM_TRY(tandem_buffer_printf(out, ", \"%s\": {\"quantiles\": [", key));
    for (size_t i = 0; i < 8; i++) {
        TANDEM_TRY(tandem_buffer_printf(out, "%s%zu", i > 0 ? ", " : "", lengths[i]));
    }
    return tandem_buffer_printf(out, "], \"truncated\": %zu}", truncated);
}

static int put_counts_json(tandem_buffer *out, const tandem_dataset_report *report)
{
    bool first = true;
    TANDEM_TRY(tandem_buffer_puts(out, "],\n \"counts\": {"));
    for (size_t i = 0; i < TANDEM_PROBLEM_KINDS; i++) {
        const tandem_problem_kind *kind = &report->kinds[i];
        if (kind->count > 0) {
            TANDEM_TRY(tandem_buffer_printf(out, "%s\"%s\": %zu", first ? "" : ", ", kind->code, kind->count));
            first = false;
        }
    }
    return TANDEM_OK;
}

static int put_problems_json(tandem_buffer *out, const tandem_dataset_report *report)
{
    TANDEM_TRY(tandem_buffer_puts(out, "},\n \"problems\": ["));
    for (size_t i = 0; i < report->problem_count; i++) {
        const tandem_problem *problem = &report->problems[i];
        TANDEM_TRY(put_string(out, i > 0 ? ",\n  {\"file\": " : "\n  {\"file\": ", problem->file));
        TANDEM_TRY(problem->line > 0 ? tandem_buffer_printf(out, ", \"line\": %zu", problem->line)
                                     : tandem_buffer_puts(out, ", \"line\": null"));
        TANDEM_TRY(tandem_buffer_printf(out, ", \"level\": \"%s\", \"code\": \"%s\"",
                                        problem->error ? "error" : "warning", problem->code));
        TANDEM_TRY(put_string(out, ", \"message\": ", problem->message));
        TANDEM_TRY(tandem_buffer_puts(out, "}"));
    }
    return tandem_buffer_puts(out, "]}\n");
}

static int put_json(tandem_buffer *out, const check *all)
{
    const tandem_dataset_report *report = &all->report;
    TANDEM_TRY(put_string(out, "{\"dataset\": ", all->directory));
    TANDEM_TRY(tandem_buffer_printf(out,
                                    ", \"errors\": %zu, \"warnings\": %zu, \"documents\": %zu, \"queries\": %zu,\n",
                                    report->errors, report->warnings, report->documents, report->queries));
    TANDEM_TRY(tandem_buffer_printf(
        out, " \"lengths\": {\"unit\": \"%s\", \"max_length\": %zu, \"percents\": [0, 5, 25, 50, 75, 95, 99, 100]",
        all->tokenizer ? "tokens" : "bytes", all->max_length));
    TANDEM_TRY(put_quantiles_json(out, "documents", report->document_length, report->documents_truncated));
    TANDEM_TRY(put_quantiles_json(out, "queries", report->query_length, report->queries_truncated));
    TANDEM_TRY(tandem_buffer_puts(out, "},\n \"splits\": ["));
    for (size_t i = 0; i < report->split_count; i++) {
        TANDEM_TRY(put_string(out, i > 0 ? ", {\"name\": " : "{\"name\": ", report->splits[i].name));
        TANDEM_TRY(tandem_buffer_printf(out, ", \"queries\": %zu, \"judgments\": %zu, \"relevant\": %zu}",
                                        report->splits[i].queries, report->splits[i].judgments,
                                        report->splits[i].relevant));
    }
    TANDEM_TRY(put_counts_json(out, report));
    return put_problems_json(out, report);
}

/* ---- text ------------------------------------------------------------------------------ */
static int put_quantiles(tandem_buffer *out, const char *name, size_t count, const size_t lengths[8])
{
    TANDEM_TRY(tandem_buffer_printf(out, "%-10s %9zu", name, count));
    for (size_t i = 0; i < 8; i++) {
        TANDEM_TRY(tandem_buffer_printf(out, " %7zu", lengths[i]));
    }
    return tandem_buffer_puts(out, "\n");
}

static int put_truncated(tandem_buffer *out, const check *all)
{
    const tandem_dataset_report *report = &all->report;
    if (!all->tokenizer || all->max_length == 0) {
        return TANDEM_OK;
    }
    double documents =
        report->documents > 0 ? 100.0 * (double)report->documents_truncated / (double)report->documents : 0;
    double queries = report->queries > 0 ? 100.0 * (double)report->queries_truncated / (double)report->queries : 0;
    return tandem_buffer_printf(out, "longer than %zu tokens: %zu documents (%.1f %%), %zu queries (%.1f %%)\n",
                                all->max_length, report->documents_truncated, documents, report->queries_truncated,
                                queries);
}

/* A line a problem, whatever control characters the data has brought into its message. */
static int put_problem(tandem_buffer *out, const tandem_problem *problem)
{
    TANDEM_TRY(problem->line > 0 ? tandem_buffer_printf(out, "%s:%zu", problem->file, problem->line)
                                 : tandem_buffer_puts(out, problem->file));
    TANDEM_TRY(tandem_buffer_puts(out, problem->error ? ": error: " : ": warning: "));
    for (const char *at = problem->message; *at; at++) {
        bool control = (unsigned char)*at < 0x20 || *at == 0x7F;
        TANDEM_TRY(control ? tandem_buffer_printf(out, "\\x%02X", (unsigned)*at) : tandem_buffer_append(out, at, 1));
    }
    return tandem_buffer_puts(out, "\n");
}

static int put_problems(tandem_buffer *out, const tandem_dataset_report *report)
{
    for (size_t i = 0; i < report->problem_count; i++) {
        TANDEM_TRY(put_problem(out, &report->problems[i]));
    }
    for (size_t i = 0; i < TANDEM_PROBLEM_KINDS; i++) {
        const tandem_problem_kind *kind = &report->kinds[i];
        if (kind->count > TANDEM_PROBLEM_LIMIT) {
            TANDEM_TRY(
                tandem_buffer_printf(out, "... and %zu more of %s\n", kind->count - TANDEM_PROBLEM_LIMIT, kind->code));
        }
    }
    return TANDEM_OK;
}

static int put_text(tandem_buffer *out, const check *all)
{
    const tandem_dataset_report *report = &all->report;
    TANDEM_TRY(put_problems(out, report));
    TANDEM_TRY(tandem_buffer_printf(
        out, "%s%-10s %9s     min      5%%     25%%     50%%     75%%     95%%     99%%     max  %s\n",
        report->problem_count > 0 ? "\n" : "", "", "count", all->tokenizer ? "(tokens)" : "(bytes)"));
    TANDEM_TRY(put_quantiles(out, "documents", report->documents, report->document_length));
    TANDEM_TRY(put_quantiles(out, "queries", report->queries, report->query_length));
    TANDEM_TRY(put_truncated(out, all));
    for (size_t i = 0; i < report->split_count; i++) {
        TANDEM_TRY(tandem_buffer_printf(out, "split %s: %zu queries, %zu judgments, %zu of them relevant\n",
                                        report->splits[i].name, report->splits[i].queries, report->splits[i].judgments,
                                        report->splits[i].relevant));
    }
    return tandem_buffer_printf(out, "%zu error%s, %zu warning%s\n", report->errors, report->errors == 1 ? "" : "s",
                                report->warnings, report->warnings == 1 ? "" : "s");
}

/* ---- strictness ------------------------------------------------------------------------ */
static void take_warnings_for_errors(tandem_dataset_report *report)
{
    report->errors += report->warnings;
    report->warnings = 0;
    for (size_t i = 0; i < report->problem_count; i++) {
        report->problems[i].error = true;
    }
}

/* ---- the command -------------------------------------------------------------------------- */
static int run(const void *options, size_t count, char *const *arguments)
{
    (void)count;
    const check_options *wanted = options;
    check all = {.directory = arguments[0], .max_length = (size_t)wanted->max_length};
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = TANDEM_OK;
    if (wanted->model) {
        TANDEM_TRY_GOTO(rc, done, tandem_tokenizer_load(&all.tokenizer, wanted->model));
        TANDEM_TRY_GOTO(rc, done, find_limit(&all, wanted->model));
    } else if (wanted->max_length > 0) {
        rc = tandem_error_code(TANDEM_USAGE, "--max-length counts tokens: it needs --model");
        goto done;
    }
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_check(&all.report, all.directory, all.tokenizer, all.max_length));
    if (wanted->strict) {
        take_warnings_for_errors(&all.report);
    }
    TANDEM_TRY_GOTO(rc, done, wanted->json ? put_json(&text, &all) : put_text(&text, &all));
    fputs(text.data, stdout);
    if (all.report.errors > 0) {
        rc = tandem_error("%s: %zu error%s", all.directory, all.report.errors, all.report.errors == 1 ? "" : "s");
    }
done:
    tandem_buffer_free(&text);
    tandem_dataset_report_free(&all.report);
    tandem_tokenizer_free(all.tokenizer);
    return rc;
}

const tandem_command tandem_command_data_check = {
    .name = "data check",
    .summary = "List a dataset's problems by line, and its statistics",
    .usage = "DATASET",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = table,
    .options_size = sizeof(check_options),
    .run = run,
    .notes =
        "DATASET is a BEIR folder: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, each also as .zst.\n"
        "\n"
        "Errors are what would stop or falsify training:\n"
        "  invalid-line           bad JSON, invalid UTF-8, no _id, no text\n"
        "  duplicate-id           an _id a second time\n"
        "  empty-text             nothing but white space\n"
        "  invalid-judgment       a malformed line, or a pair judged a second time\n"
        "  unknown-id             a judged query or document that does not exist\n"
        "  query-in-two-splits    a query judged in two splits\n"
        "  no-file                no corpus.jsonl or no queries.jsonl\n"
        "  unreadable-file        e.g. damaged compression\n"
        "  no-text                a file without a sound line\n"
        "Warnings are what is seldom meant:\n"
        "  duplicate-text         two ids with one text\n"
        "  text-in-two-splits     a query with the text of one that another split judges: a leak\n"
        "  query-is-document      a query with the text of a document\n"
        "  unjudged-query         a query that no split judges\n"
        "  odd-grade              below 0, or above 30 (a common gain is 2^grade - 1)\n"
        "  no-split               no judgments at all\n"
        "  no-relevant            a split without a grade of 1 or more\n"
        "  space-in-id            white space, which TREC run files cannot hold\n"
        "  long-id                more than 512 bytes, which search engines refuse\n"
        "  control-character      other than tab and line ends\n"
        "  replacement-character  U+FFFD: an earlier conversion lost something\n"
        "  byte-order-mark        at the start of a file; not every reader passes over it\n"
        "  crlf                   lines that end in CR LF; told once a file\n"
        "Texts are compared without regard to case and white space.\n"
        "\n"
        "Each problem is a line, \"FILE:LINE: LEVEL: MESSAGE\", FILE within DATASET; of each kind the first\n"
        "100 are listed. Exit status 1 when there is an error; warnings leave it 0, but with --strict they\n"
        "are errors. --json prints {\"dataset\", \"errors\", \"warnings\", \"documents\", \"queries\", \"lengths\",\n"
        "\"splits\", \"counts\", \"problems\"}: counts has the number of problems of each kind found, problems\n"
        "the listed ones as {\"file\", \"line\" (null: the whole file), \"level\", \"code\", \"message\"}.",
};
