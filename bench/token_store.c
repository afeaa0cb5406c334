/* bench_token_store TOKENIZER CORPUS.jsonl [COPIES]: speed of the token store, in bytes of text a second, where the
 * corpus is taken COPIES times, each time with other texts. Tokenized and written; read from the cache (the median of
 * ROUNDS); and with a tenth of the texts new. The cache lies in a temporary folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/dataset.h"
#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/token_store.h"

enum { ROUNDS = 7 };

typedef struct {
    tandem_tokenizer *tokenizer;
    tandem_arena *arena;
    tandem_text *texts; /* [count] */
    size_t count;
} corpus;

static size_t bytes_of(const tandem_text *texts, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += texts[i].length;
    }
    return bytes;
}

/* All texts `copies` times, with the number of the copy behind each. */
static int copy_texts(corpus *all, const tandem_texts *once, size_t copies)
{
    size_t count;
    all->texts = tandem_size_mul(&count, once->count, copies) ? tandem_alloc(count, sizeof *all->texts) : NULL;
    if (!all->texts) {
        return tandem_error("%zu copies of %zu texts do not fit memory", copies, once->count);
    }
    for (size_t i = 0; i < count; i++) {
        const tandem_text *from = &once->items[i % once->count];
        char *text = tandem_arena_alloc(all->arena, from->length + 24, 1);
        if (!text) {
            return TANDEM_ERROR;
        }
        int length = snprintf(text, from->length + 24, "%s %zu", from->text, i / once->count);
        all->texts[all->count++] = (tandem_text){from->id, text, (size_t)length};
    }
    return TANDEM_OK;
}

static int time_make(const corpus *all, size_t count, double *seconds, size_t *tokenized)
{
    tandem_token_store *store = NULL;
    double start = tandem_seconds();
    TANDEM_TRY(tandem_token_store_make(&store, all->tokenizer, all->texts, count, NULL, 0));
    *seconds = tandem_seconds() - start;
    *tokenized = tandem_token_store_tokenized(store);
    tandem_token_store_free(store);
    return TANDEM_OK;
}

static int compare_doubles(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

static void report(const char *what, double seconds, size_t bytes, size_t tokenized)
{
    printf("%-28s %8.1f ms %8.1f MB/s  %8zu texts tokenized\n", what, 1e3 * seconds, (double)bytes / 1e6 / seconds,
           tokenized);
}

static int measure(const corpus *all)
{
    size_t most = all->count - all->count / 10, tokenized = 0;
    size_t bytes = bytes_of(all->texts, most);
    double seconds = 0, rounds[ROUNDS];
    printf("%zu texts, %.1f MB, %zu threads\n", most, (double)bytes / 1e6, tandem_machine_threads());
    TANDEM_TRY(time_make(all, most, &seconds, &tokenized));
    report("tokenized and written", seconds, bytes, tokenized);
    for (size_t i = 0; i < ROUNDS; i++) {
        TANDEM_TRY(time_make(all, most, &rounds[i], &tokenized));
    }
    qsort(rounds, ROUNDS, sizeof *rounds, compare_doubles);
    report("read from the cache", rounds[ROUNDS / 2], bytes, tokenized);
    TANDEM_TRY(time_make(all, all->count, &seconds, &tokenized));
    report("a tenth more, and written", seconds, bytes_of(all->texts, all->count), tokenized);
    printf("peak memory %.1f MiB\n", (double)tandem_machine_peak_rss() / (1 << 20));
    return TANDEM_OK;
}

static int run(char **arguments, size_t copies)
{
    corpus all = {.arena = tandem_arena_new()};
    tandem_texts once = {0};
    int rc = all.arena ? TANDEM_OK : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_tokenizer_load(&all.tokenizer, arguments[1]));
    TANDEM_TRY_GOTO(rc, done, tandem_texts_read(&once, all.arena, arguments[2]));
    TANDEM_TRY_GOTO(rc, done, copy_texts(&all, &once, copies));
    rc = measure(&all);
done:
    tandem_texts_free(&once);
    tandem_tokenizer_free(all.tokenizer);
    tandem_arena_free(all.arena);
    free(all.texts);
    return rc;
}

int main(int count, char **arguments)
{
    char folder[] = "/tmp/tandem-bench-XXXXXX";
    long copies = count == 4 ? strtol(arguments[3], NULL, 10) : 1;
    if (count < 3 || count > 4 || copies < 1) {
        fputs("usage: bench_token_store TOKENIZER CORPUS.jsonl [COPIES]\n", stderr);
        return 2;
    }
    if (!mkdtemp(folder) || setenv("TANDEM_CACHE", folder, 1) != 0) {
        perror(folder);
        return 1;
    }
    int rc = run(arguments, (size_t)copies);
    if (rc < 0) {
        fprintf(stderr, "bench_token_store: %s\n", tandem_error_message());
    }
    tandem_dir_remove(folder);
    return rc < 0;
}
