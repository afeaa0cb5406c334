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
    int64_t max_length, stride;
} tokenize_options;

static const tandem_option table[] = {
    {.name = "model", .letter = 'm', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(tokenize_options, model), .value = "DIR", .help = "model directory, or a tokenizer.json"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(tokenize_options, max_length), .value = "N",
     .min = 0, .max = INT32_MAX,
     .help = "keep at most N tokens, special ones included (0: as tokenizer.json says)"},
    {.name = "stride", .type = TANDEM_OPTION_INT, .offset = offsetof(tokenize_options, stride), .value = "N",
     .initial = "-1", .min = -1, .max = INT32_MAX,
     .help = "with --max-length: print what it cuts off too, in windows that share N tokens (-1: do not)"},
    TANDEM_OPTION_END,
};

typedef struct {
    tandem_tokenizer *tokenizer;
    tandem_token_scratch *scratch;
    tandem_truncation truncation;
    bool overflowing;
    tandem_buffer out; /* the line of output */
    size_t windows;    /* in it so far */
} work;

static int print_tokens(tandem_buffer *out, const tandem_encoding *encoding)
{
    TANDEM_TRY(tandem_buffer_puts(out, "{\"ids\":["));
    for (size_t i = 0; i < encoding->count; i++) {
        TANDEM_TRY(tandem_buffer_printf(out, "%s%u", i ? "," : "", encoding->ids[i]));
    }
    TANDEM_TRY(tandem_buffer_puts(out, "],\"type_ids\":["));
    for (size_t i = 0; i < encoding->count; i++) {
        TANDEM_TRY(tandem_buffer_printf(out, "%s%u", i ? "," : "", encoding->type_ids[i]));
    }
    TANDEM_TRY(tandem_buffer_puts(out, "],\"offsets\":["));
    for (size_t i = 0; i < encoding->count; i++) {
        TANDEM_TRY(tandem_buffer_printf(out, "%s[%u,%u]", i ? "," : "", encoding->starts[i], encoding->ends[i]));
    }
    return tandem_buffer_puts(out, "]");
}

/* Window 0 is left open for those that follow, which are objects of its "overflowing". */
static int print_window(void *context, size_t window, const tandem_encoding *encoding)
{
    work *w = context;
    w->windows = window + 1;
    if (window > 0) {
        TANDEM_TRY(tandem_buffer_puts(&w->out, window == 1 ? ",\"overflowing\":[" : ","));
    }
    TANDEM_TRY(print_tokens(&w->out, encoding));
    return window > 0 ? tandem_buffer_puts(&w->out, "}") : TANDEM_OK;
}

/* Leaves the line of output in w->out; `pair` may be NULL. */
static int tokenize_texts(work *w, const char *text, const char *pair)
{
    const tandem_input input = {text, strlen(text), pair, pair ? strlen(pair) : 0};
    tandem_buffer_clear(&w->out);
    TANDEM_TRY(tandem_tokenizer_encode(w->tokenizer, w->scratch, &input, &w->truncation, w->overflowing, print_window,
                                       w));
    return tandem_buffer_puts(&w->out, w->windows > 1 ? "]}\n" : "}\n");
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

/* tokenizer.json's truncation, but for what the command line says. */
static void set_truncation(work *w, const tokenize_options *options)
{
    w->truncation = tandem_tokenizer_truncation_settings(w->tokenizer);
    w->overflowing = w->truncation.max_length > 0;
    if (options->max_length > 0) {
        w->overflowing = options->stride >= 0;
        w->truncation.max_length = (size_t)options->max_length;
        w->truncation.stride = w->overflowing ? (size_t)options->stride : 0;
    }
}

static int run_tokenize(const void *raw, size_t count, char *const *arguments)
{
    (void)count;
    const tokenize_options *options = raw;
    work w = {0};
    int rc;
    if (options->stride >= 0 && options->max_length == 0) {
        return tandem_error_code(TANDEM_USAGE, "--stride: needs --max-length");
    }
    TANDEM_TRY_GOTO(rc, done, tandem_tokenizer_load(&w.tokenizer, options->model));
    set_truncation(&w, options);
    w.scratch = tandem_token_scratch_new();
    rc = w.scratch ? tokenize_file(&w, arguments[0]) : TANDEM_ERROR;
done:
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
        "points of the text; those of special tokens are [0, 0]. What truncation cuts off, where tokenizer.json "
        "truncates or --stride is given, follows as \"overflowing\": an array of the same. All is as in Hugging Face "
        "tokenizers 0.23.3.",
};
