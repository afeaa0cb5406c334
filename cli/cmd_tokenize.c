/* cmd_tokenize.c - `tandem tokenize`: what a model reads of a text. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/tokenizer.h"

typedef struct {
    const char *model;
    int64_t max_length;
} tokenize_options;

static const tandem_option table[] = {
    {.name = "model", .letter = 'm', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(tokenize_options, model), .value = "DIR", .help = "model directory, or a tokenizer.json"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(tokenize_options, max_length), .value = "N",
     .min = 0, .max = INT32_MAX,
     .help = "keep at most N tokens, special ones included (0: as tokenizer.json says)"},
    TANDEM_OPTION_END,
};

/* One text of a line: its bare tokens, copied from the scratch. */
typedef struct {
    uint32_t *ids, *starts, *ends; /* [count] in one allocation that begins at ids */
    size_t count, capacity;
    size_t total; /* tokens of the text: those beyond max_length are not kept */
} side;

typedef struct {
    tandem_tokenizer *tokenizer;
    tandem_token_scratch *scratch;
    size_t max_length;
    side first, second;
    uint32_t *ids; /* [capacity] of the whole, as origin and type_ids */
    int64_t *origin;
    uint8_t *type_ids;
    size_t capacity;
    tandem_buffer out;
} work;

static int read_side(work *w, side *out, const char *text)
{
    tandem_tokens tokens;
    TANDEM_TRY(tandem_tokenizer_bare(w->tokenizer, w->scratch, text, strlen(text), w->max_length, true, &tokens));
    if (tokens.count > out->capacity) {
        void *ids = out->ids;
        int rc = tandem_realloc(&ids, tokens.count, 3 * sizeof *out->ids);
        out->ids = ids;
        TANDEM_TRY(rc);
        out->capacity = tokens.count;
    }
    out->count = tokens.count;
    out->total = tokens.total;
    out->starts = out->ids + out->count;
    out->ends = out->starts + out->count;
    if (tokens.count > 0) {
        memcpy(out->ids, tokens.ids, tokens.count * sizeof *out->ids);
        memcpy(out->starts, tokens.starts, tokens.count * sizeof *out->ids);
        memcpy(out->ends, tokens.ends, tokens.count * sizeof *out->ids);
    }
    return TANDEM_OK;
}

static int make_room(work *w, size_t total)
{
    if (total <= w->capacity) {
        return TANDEM_OK;
    }
    void *ids = w->ids, *origin = w->origin, *type_ids = w->type_ids;
    int rc = tandem_realloc(&ids, total, sizeof *w->ids);
    w->ids = ids;
    TANDEM_TRY(rc);
    rc = tandem_realloc(&origin, total, sizeof *w->origin);
    w->origin = origin;
    TANDEM_TRY(rc);
    rc = tandem_realloc(&type_ids, total, sizeof *w->type_ids);
    w->type_ids = type_ids;
    TANDEM_TRY(rc);
    w->capacity = total;
    return TANDEM_OK;
}

static int print_tokens(work *w, size_t total)
{
    tandem_buffer *out = &w->out;
    TANDEM_TRY(tandem_buffer_puts(out, "{\"ids\":["));
    for (size_t i = 0; i < total; i++) {
        TANDEM_TRY(tandem_buffer_printf(out, "%s%u", i ? "," : "", w->ids[i]));
    }
    TANDEM_TRY(tandem_buffer_puts(out, "],\"type_ids\":["));
    for (size_t i = 0; i < total; i++) {
        TANDEM_TRY(tandem_buffer_printf(out, "%s%u", i ? "," : "", w->type_ids[i]));
    }
    TANDEM_TRY(tandem_buffer_puts(out, "],\"offsets\":["));
    for (size_t i = 0; i < total; i++) {
        const side *from = w->origin[i] % 2 == 0 ? &w->first : &w->second;
        bool special = w->origin[i] < 0;
        uint32_t start = special ? 0 : from->starts[w->origin[i] / 2], end = special ? 0 : from->ends[w->origin[i] / 2];
        TANDEM_TRY(tandem_buffer_printf(out, "%s[%u,%u]", i ? "," : "", start, end));
    }
    return tandem_buffer_puts(out, "]}\n");
}

/* Leaves the line of output in w->out; `pair` may be NULL. */
static int tokenize_texts(work *w, const char *text, const char *pair)
{
    TANDEM_TRY(read_side(w, &w->first, text));
    if (pair) {
        TANDEM_TRY(read_side(w, &w->second, pair));
    }
    tandem_assembly plan;
    tandem_bare first = {w->first.ids, w->first.total}, second = {w->second.ids, w->second.total};
    TANDEM_TRY(tandem_tokenizer_plan(w->tokenizer, first.count, pair ? &second.count : NULL, w->max_length, &plan));
    TANDEM_TRY(make_room(w, plan.total));
    TANDEM_TRY(tandem_tokenizer_assemble(w->tokenizer, first, pair ? &second : NULL, w->max_length, w->ids,
                                         w->type_ids, w->origin));
    tandem_buffer_clear(&w->out);
    return print_tokens(w, plan.total);
}

static int tokenize_line(work *w, const char *line, size_t length, const char *source)
{
    cJSON *json = NULL;
    const char *text, *pair = NULL;
    TANDEM_TRY(tandem_json_parse(&json, line, length, source));
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_json_get_string(json, "text", source, &text));
    TANDEM_TRY_GOTO(rc, done, tandem_json_get_string_or(json, "pair", source, &pair));
    rc = tokenize_texts(w, text, pair);
    rc = rc < 0 ? tandem_error_context(rc, "%s", source) : rc;
done:
    tandem_json_free(json);
    return rc;
}

static int tokenize_lines(work *w, tandem_lines *lines, tandem_writer *writer)
{
    char *line;
    size_t length;
    int rc;
    tandem_buffer source = TANDEM_BUFFER_INIT;
    while ((rc = tandem_lines_next(lines, &line, &length)) == 1) {
        tandem_buffer_clear(&source);
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(&source, "%s:%zu", tandem_lines_path(lines),
                                                       tandem_lines_number(lines)));
        TANDEM_TRY_GOTO(rc, done, tokenize_line(w, line, length, source.data));
        TANDEM_TRY_GOTO(rc, done, tandem_writer_write(writer, w->out.data, w->out.length));
    }
done:
    tandem_buffer_free(&source);
    return rc;
}

static int tokenize_file(work *w, const char *path)
{
    tandem_lines *lines = NULL;
    tandem_writer *writer = NULL;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_lines_open(&lines, path));
    TANDEM_TRY_GOTO(rc, done, tandem_writer_open(&writer, "-"));
    TANDEM_TRY_GOTO(rc, done, tokenize_lines(w, lines, writer));
    rc = tandem_writer_commit(&writer);
done:
    tandem_writer_abort(writer);
    tandem_lines_close(lines);
    return rc;
}

static int run_tokenize(const void *raw, size_t count, char *const *arguments)
{
    (void)count;
    const tokenize_options *options = raw;
    work w = {.max_length = (size_t)options->max_length};
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_tokenizer_load(&w.tokenizer, options->model));
    w.max_length = w.max_length > 0 ? w.max_length : tandem_tokenizer_truncation(w.tokenizer);
    w.scratch = tandem_token_scratch_new();
    rc = w.scratch ? tokenize_file(&w, arguments[0]) : TANDEM_ERROR;
done:
    free(w.first.ids);
    free(w.second.ids);
    free(w.ids);
    free(w.origin);
    free(w.type_ids);
    tandem_buffer_free(&w.out);
    tandem_token_scratch_free(w.scratch);
    tandem_tokenizer_free(w.tokenizer);
    return rc;
}

const tandem_command tandem_command_tokenize = {
    .name = "tokenize",
    .summary = "Print what a model reads of a text: token ids, type ids, offsets",
    .usage = "FILE.jsonl",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = table,
    .options_size = sizeof(tokenize_options),
    .run = run_tokenize,
    .notes =
        "Each line of FILE (\"-\": stdin) is {\"text\": \"...\"}, with \"pair\" for the second text of a pair; each "
        "line of output {\"ids\": [...], \"type_ids\": [...], \"offsets\": [[start, end], ...]}. Offsets count code "
        "points of the text; those of special tokens are [0, 0]. Ids are those of Hugging Face tokenizers 0.23.3.",
};
