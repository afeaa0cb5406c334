/* bench_tokenize TOKENIZER TEXTS.jsonl THREADS [COPIES]: tokenizes all texts of {"text": ...} lines once for every
 * line that stdin gives, and prints a JSON object each time: seconds of tokenizing (wall clock), texts,
 * bytes, tokens, the sum of their ids, and the peak memory of the process. The file is read COPIES times, a block of
 * texts at a time, so that memory does not grow with it; reading is not timed. bench/tokenizing.py drives this. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/openmp.h"
#include "tandem/tokenizer.h"

enum { BLOCK = 2048 /* texts in memory at a time */ };

typedef struct {
    const char *text;
    size_t length;
} block_text;

typedef struct {
    const tandem_tokenizer *tokenizer;
    tandem_token_scratch **scratches; /* [threads] */
    size_t threads;
    tandem_arena *arena;
    block_text block[BLOCK];
    size_t count; /* texts in the block */
    double wall;
    unsigned long long texts, bytes, tokens, sum;
} measurement;

static int tokenize_text(measurement *run, size_t index, unsigned long long *tokens, unsigned long long *sum)
{
    const block_text *text = &run->block[index];
    tandem_tokens out;
    TANDEM_TRY(tandem_tokenizer_bare(run->tokenizer, run->scratches[omp_get_thread_num()], text->text, text->length, 0,
                                     false, &out));
    *tokens += out.count;
    for (size_t i = 0; i < out.count; i++) {
        *sum += out.ids[i];
    }
    return TANDEM_OK;
}

static int tokenize_block(measurement *run)
{
    unsigned long long tokens = 0, sum = 0;
    int failed = 0;
    double wall = tandem_seconds();
#pragma omp parallel for num_threads((int)run->threads) schedule(dynamic, 16) \
    reduction(+ : tokens, sum) reduction(| : failed)
    for (size_t i = 0; i < run->count; i++) {
        failed |= tokenize_text(run, i, &tokens, &sum) < 0;
    }
    run->wall += tandem_seconds() - wall;
    run->texts += run->count;
    run->tokens += tokens;
    run->sum += sum;
    run->count = 0;
    tandem_arena_reset(run->arena);
    return failed ? tandem_error("a text cannot be tokenized") : TANDEM_OK;
}

static int add_line(measurement *run, const char *line, size_t length, const char *path)
{
    cJSON *json = NULL;
    const char *text = NULL;
    TANDEM_TRY(tandem_json_parse(&json, line, length, path));
    int rc = tandem_json_get_string(json, "text", path, &text);
    if (rc == TANDEM_OK) {
        block_text *next = &run->block[run->count];
        next->length = strlen(text);
        next->text = tandem_arena_strndup(run->arena, text, next->length);
        rc = next->text ? TANDEM_OK : TANDEM_ERROR;
        run->bytes += next->length;
    }
    tandem_json_free(json);
    TANDEM_TRY(rc);
    return ++run->count == BLOCK ? tokenize_block(run) : TANDEM_OK;
}

static int measure(measurement *run, const char *path, size_t copies)
{
    run->wall = 0;
    run->texts = run->bytes = run->tokens = run->sum = 0;
    for (size_t i = 0; i < copies; i++) {
        tandem_lines *lines = NULL;
        char *line;
        size_t length;
        TANDEM_TRY(tandem_lines_open(&lines, path));
        int rc;
        while ((rc = tandem_lines_next(lines, &line, &length)) == 1 && (rc = add_line(run, line, length, path)) == 0) {
        }
        tandem_lines_close(lines);
        TANDEM_TRY(rc);
    }
    return tokenize_block(run);
}

static int answer(measurement *run, const char *path, size_t copies)
{
    while (getchar() != EOF) {
        TANDEM_TRY(measure(run, path, copies));
        printf("{\"wall\": %.6f, \"texts\": %llu, \"bytes\": %llu, \"tokens\": %llu, \"sum\": %llu, "
               "\"peak_rss\": %zu}\n",
               run->wall, run->texts, run->bytes, run->tokens, run->sum, tandem_machine_peak_rss());
        fflush(stdout);
    }
    return TANDEM_OK;
}

static int run_all(char **arguments, size_t threads, size_t copies)
{
    static measurement run;
    tandem_tokenizer *tokenizer = NULL;
    TANDEM_TRY(tandem_tokenizer_load(&tokenizer, arguments[1]));
    run.tokenizer = tokenizer;
    run.threads = threads;
    run.arena = tandem_arena_new();
    run.scratches = tandem_alloc(threads, sizeof *run.scratches);
    int rc = run.arena && run.scratches ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; i < threads && rc == TANDEM_OK; i++) {
        run.scratches[i] = tandem_token_scratch_new();
        rc = run.scratches[i] ? TANDEM_OK : TANDEM_ERROR;
    }
    if (rc == TANDEM_OK) {
        rc = answer(&run, arguments[2], copies);
    }
    for (size_t i = 0; run.scratches && i < threads; i++) {
        tandem_token_scratch_free(run.scratches[i]);
    }
    free(run.scratches);
    tandem_arena_free(run.arena);
    tandem_tokenizer_free(tokenizer);
    return rc;
}

/* A whole number from 1 to 1024, or 0. */
static size_t parse_count(const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);
    return *end == '\0' && value >= 1 && value <= 1024 ? (size_t)value : 0;
}

int main(int count, char **arguments)
{
    size_t threads = count >= 4 ? parse_count(arguments[3]) : 0;
    size_t copies = count >= 5 ? parse_count(arguments[4]) : 1;
    if (count < 4 || count > 5 || threads == 0 || copies == 0) {
        fputs("usage: bench_tokenize TOKENIZER TEXTS.jsonl THREADS [COPIES]\n", stderr);
        return 2;
    }
    if (run_all(arguments, threads, copies) < 0) {
        fprintf(stderr, "bench_tokenize: %s\n", tandem_error_message());
        return 1;
    }
    return 0;
}
