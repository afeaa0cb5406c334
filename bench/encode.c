/* bench_encode BI_ENCODER CROSS_ENCODER TEXTS THREADS LIMIT [DEVICE]: the texts are the lines of TEXTS, the first a query, the
 * others documents. For each line "WHAT DTYPE" of stdin, does WHAT once and prints a JSON object: seconds (wall clock)
 * and a sum of what came out. WHAT is documents, their embeddings; query, the query's; or rerank, the scores
 * of the query and each of the documents, the first RERANKED at most. All from text on; loading is not timed. Where WHAT
 * is tokens, it prints how many the model reads of the query and of the documents. bench/encoding.py and
 * bench/scaling.py drive this, and bench/device.py on another DEVICE. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/model.h"

enum { RERANKED = 50, DTYPES = 5, MOST_TEXTS = 4096 };

static const tandem_precision dtypes[DTYPES] = {TANDEM_FP32, TANDEM_BF16, TANDEM_INT8, TANDEM_TF32, TANDEM_AUTO};

typedef struct {
    const char *directories[2]; /* by tandem_model_kind */
    size_t limit;
    tandem_model *models[2][DTYPES]; /* loaded when first asked for */
    tandem_text texts[MOST_TEXTS];
    size_t count;
} bench;

static double sum_of(const float *numbers, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)numbers[i];
    }
    return sum;
}

static int embed(const bench *b, tandem_model *model, size_t first, size_t count, tandem_side side, double *sum)
{
    tandem_vectors vectors;
    TANDEM_TRY(tandem_model_encode_texts(&vectors, model, b->texts + first, count, side, false, NULL));
    *sum = sum_of(vectors.data, vectors.count * vectors.dim);
    tandem_vectors_free(&vectors);
    return TANDEM_OK;
}

static int rerank(const bench *b, tandem_model *model, double *sum)
{
    tandem_token_store *query = NULL, *documents = NULL;
    tandem_pair pairs[RERANKED];
    float scores[RERANKED];
    size_t count = b->count - 1 < RERANKED ? b->count - 1 : RERANKED;
    for (uint32_t i = 0; i < count; i++) {
        pairs[i] = (tandem_pair){0, i};
    }
    int rc = tandem_model_tokenize(&query, model, b->texts, 1, TANDEM_QUERY);
    if (rc == TANDEM_OK) {
        rc = tandem_model_tokenize(&documents, model, b->texts + 1, count, TANDEM_DOCUMENT);
    }
    if (rc == TANDEM_OK) {
        rc = tandem_model_score(scores, model, query, documents, pairs, count, NULL);
        *sum = sum_of(scores, count);
    }
    tandem_token_store_free(query);
    tandem_token_store_free(documents);
    return rc;
}

/* Of `count` texts from `first` on, as tandem_model_encode_texts reads them: cut to the limit, with special tokens. */
static int count_tokens(const bench *b, const tandem_model *model, size_t first, size_t count, tandem_side side,
                        size_t *tokens)
{
    tandem_token_store *store = NULL;
    TANDEM_TRY(tandem_model_tokenize(&store, model, b->texts + first, count, side));
    int rc = TANDEM_OK;
    *tokens = 0;
    for (size_t i = 0; rc == TANDEM_OK && i < count; i++) {
        tandem_assembly plan = {0};
        rc = tandem_tokenizer_plan(tandem_model_tokenizer(model), tandem_token_store_get(store, i).count, NULL,
                                   tandem_model_describe(model)->max_length, &plan);
        *tokens += plan.total;
    }
    tandem_token_store_free(store);
    return rc;
}

static int answer_tokens(const bench *b, const tandem_model *model)
{
    size_t query, documents;
    TANDEM_TRY(count_tokens(b, model, 0, 1, TANDEM_QUERY, &query));
    TANDEM_TRY(count_tokens(b, model, 1, b->count - 1, TANDEM_DOCUMENT, &documents));
    printf("{\"query\": %zu, \"documents\": %zu}\n", query, documents);
    fflush(stdout);
    return TANDEM_OK;
}

static int model_of(bench *b, tandem_model_kind kind, const char *dtype, tandem_model **out)
{
    for (size_t i = 0; i < DTYPES; i++) {
        if (strcmp(dtype, tandem_precision_name(dtypes[i])) == 0) {
            tandem_model_options options = {.kind = kind, .max_length = b->limit, .precision = dtypes[i]};
            tandem_model **slot = &b->models[kind][i];
            int rc = *slot != NULL ? TANDEM_OK : tandem_model_load(slot, b->directories[kind], &options);
            *out = *slot;
            return rc;
        }
    }
    return tandem_error("%s: no such dtype", dtype);
}

static int answer(bench *b, const char *what, const char *dtype)
{
    bool reranks = strcmp(what, "rerank") == 0, is_query = strcmp(what, "query") == 0;
    tandem_model *model = NULL;
    double sum = 0;
    TANDEM_TRY(model_of(b, reranks ? TANDEM_CROSS_ENCODER : TANDEM_BI_ENCODER, dtype, &model));
    if (strcmp(what, "tokens") == 0) {
        return answer_tokens(b, model);
    }
    double wall = tandem_seconds();
    TANDEM_TRY(reranks    ? rerank(b, model, &sum)
               : is_query ? embed(b, model, 0, 1, TANDEM_QUERY, &sum)
                          : embed(b, model, 1, b->count - 1, TANDEM_DOCUMENT, &sum));
    wall = tandem_seconds() - wall;
    printf("{\"wall\": %.6f, \"sum\": %.6f}\n", wall, sum);
    fflush(stdout);
    return TANDEM_OK;
}

static int read_texts(bench *b, const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return tandem_error("%s: %s", path, strerror(errno));
    }
    char *line = NULL;
    size_t size = 0;
    for (ssize_t length; b->count < MOST_TEXTS && (length = getline(&line, &size, file)) > 0;) {
        size_t bytes = line[length - 1] == '\n' ? (size_t)length - 1 : (size_t)length;
        b->texts[b->count++] = (tandem_text){.text = line, .length = bytes};
        line = NULL; /* the text keeps it */
        size = 0;
    }
    free(line);
    fclose(file);
    return b->count > 1 ? TANDEM_OK : tandem_error("%s: fewer than 2 lines", path);
}

static int run(bench *b)
{
    char line[64], what[16], dtype[16];
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%15s %15s", what, dtype) != 2) {
            return tandem_error("%s: expected WHAT DTYPE", line);
        }
        TANDEM_TRY(answer(b, what, dtype));
    }
    return TANDEM_OK;
}

/* The device that has that name, the CPU if none has. */
static tandem_device device_called(const char *name)
{
    tandem_device device = TANDEM_DEVICE_LIBTORCH;
    while (device != TANDEM_DEVICE_CPU && strcmp(tandem_device_name(device), name) != 0) {
        device--;
    }
    return device;
}

int main(int argc, char **argv)
{
    if (argc != 6 && argc != 7) {
        fprintf(stderr, "usage: bench_encode BI_ENCODER CROSS_ENCODER TEXTS THREADS LIMIT [DEVICE] < MEASUREMENTS\n");
        return 2;
    }
    tandem_machine_set_device(argc == 7 ? device_called(argv[6]) : TANDEM_DEVICE_CPU);
    tandem_machine_set_threads(strtoul(argv[4], NULL, 10));
    static bench b;
    b.directories[TANDEM_BI_ENCODER] = argv[1];
    b.directories[TANDEM_CROSS_ENCODER] = argv[2];
    b.limit = strtoul(argv[5], NULL, 10);
    int rc = read_texts(&b, argv[3]);
    if (rc == TANDEM_OK) {
        rc = run(&b);
    }
    if (rc < 0) {
        fprintf(stderr, "bench_encode: %s\n", tandem_error_message());
    }
    for (size_t kind = 0; kind < 2; kind++) {
        for (size_t i = 0; i < DTYPES; i++) {
            tandem_model_free(b.models[kind][i]);
        }
    }
    for (size_t i = 0; i < b.count; i++) {
        free((void *)(uintptr_t)b.texts[i].text);
    }
    return rc < 0;
}
