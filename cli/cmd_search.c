/* cmd_search.c - tandem search: the first stage, from bi-encoders, BM25, stored embeddings, or several of them joined. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/dataset.h"
#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/memory.h"
#include "tandem/model.h"
#include "tandem/pipeline.h"
#include "tandem/run.h"
#include "tandem/search.h"
#include "tandem/vectors.h"

typedef struct {
    tandem_option_list models, runs, weights;
    const char *dataset, *split, *output;
    const char *documents, *queries, *document_ids, *query_ids;
    int64_t top, max_length, dtype, fusion, analyzer;
    double rrf_k, k1, b;
} search_options;

static const tandem_option table[] = {
    {.name = "model", .type = TANDEM_OPTION_LIST, .offset = offsetof(search_options, models), .value = "DIR|bm25",
     .help = "directory of a bi-encoder, or bm25; given several times, the results are joined"},
    {.name = "documents", .type = TANDEM_OPTION_STRING, .offset = offsetof(search_options, documents),
     .value = "FILE", .help = "embeddings of the documents (.h5, .npy or .fbin) to search as they are"},
    {.name = "queries", .type = TANDEM_OPTION_STRING, .offset = offsetof(search_options, queries), .value = "FILE",
     .help = "embeddings of the queries"},
    {.name = "document-ids", .type = TANDEM_OPTION_STRING, .offset = offsetof(search_options, document_ids),
     .value = "FILE", .help = "their ids, one a line; without it those of the .h5, or row numbers from 0"},
    {.name = "query-ids", .type = TANDEM_OPTION_STRING, .offset = offsetof(search_options, query_ids),
     .value = "FILE", .help = "ids of the queries, likewise"},
    {.name = "run", .type = TANDEM_OPTION_LIST, .offset = offsetof(search_options, runs), .value = "RUN",
     .help = "a run to join with the others"},
    {.name = "dataset", .type = TANDEM_OPTION_STRING, .offset = offsetof(search_options, dataset), .value = "DIR",
     .help = "the corpus, the queries and their judgments, which a model searches"},
    {.name = "split", .type = TANDEM_OPTION_STRING, .offset = offsetof(search_options, split), .value = "NAME",
     .initial = "test", .help = "search for the queries that this split judges"},
    {.name = "top", .letter = 'k', .type = TANDEM_OPTION_INT, .offset = offsetof(search_options, top), .value = "N",
     .initial = "100", .min = 1, .max = 1e9, .help = "documents for each query"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(search_options, max_length), .value = "N",
     .initial = "0", .min = 0, .max = 1e6, .help = "tokens of a text; 0: what the model says"},
    TANDEM_OPTION_DTYPE(search_options),
    {.name = "k1", .type = TANDEM_OPTION_DOUBLE, .offset = offsetof(search_options, k1), .value = "X",
     .initial = "0.9", .min = 0, .max = 1000, .help = "BM25: how slowly repeated terms saturate"},
    {.name = "b", .type = TANDEM_OPTION_DOUBLE, .offset = offsetof(search_options, b), .value = "X",
     .initial = "0.4", .min = 0, .max = 1, .help = "BM25: how much long documents lose"},
    {.name = "analyzer", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(search_options, analyzer),
     .value = "english|standard", .initial = "english", .help = "BM25: how texts become terms"},
    {.name = "fusion", .type = TANDEM_OPTION_CHOICE, .offset = offsetof(search_options, fusion),
     .value = "rrf|min-max|z-score", .initial = "rrf", .help = "how several results are joined"},
    {.name = "rrf-k", .type = TANDEM_OPTION_DOUBLE, .offset = offsetof(search_options, rrf_k), .value = "X",
     .initial = "60", .min = 0, .max = 1e9, .help = "rrf: a document adds 1 / (X + its rank)"},
    {.name = "weight", .type = TANDEM_OPTION_LIST, .offset = offsetof(search_options, weights), .value = "X",
     .help = "of each model, the embeddings and each run, in this order; 1 each when none is given"},
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(search_options, output), .value = "RUN", .help = "the run to write; - is stdout"},
    TANDEM_OPTION_END,
};

/* ---- sources ----------------------------------------------------------------------------- */
typedef struct {
    tandem_run **runs; /* [count] of the models, of stored embeddings, then those that were read */
    double *weights;   /* [count]; NULL: none given */
    size_t count;
} sources;

static void free_sources(sources *s)
{
    for (size_t i = 0; s->runs && i < s->count; i++) {
        tandem_run_free(s->runs[i]);
    }
    free(s->runs);
    free(s->weights);
}

static size_t count_sources(const search_options *options)
{
    return options->models.count + (options->documents != NULL) + options->runs.count;
}

static int check(const search_options *options)
{
    size_t count = count_sources(options);
    if (!options->documents != !options->queries || (!options->documents && options->document_ids) ||
        (!options->queries && options->query_ids)) {
        return tandem_error_code(TANDEM_USAGE, "embeddings are searched with both --documents and --queries");
    }
    if (count == 0) {
        return tandem_error_code(TANDEM_USAGE, "expected a --model, --documents or a --run");
    }
    if (options->models.count > 0 && !options->dataset) {
        return tandem_error_code(TANDEM_USAGE, "--model needs a --dataset to search");
    }
    if (options->weights.count != 0 && options->weights.count != count) {
        return tandem_error_code(TANDEM_USAGE, "--weight is given %zu times for %zu sources",
                                 options->weights.count, count);
    }
    return TANDEM_OK;
}

static int read_weights(sources *s, const tandem_option_list *given)
{
    if (given->count == 0) {
        return TANDEM_OK;
    }
    s->weights = tandem_alloc(given->count, sizeof *s->weights);
    if (!s->weights) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < given->count; i++) {
        char *end;
        s->weights[i] = strtod(given->items[i], &end);
        if (end == given->items[i] || *end || !isfinite(s->weights[i]) || s->weights[i] < 0) {
            return tandem_error_code(TANDEM_USAGE, "--weight: expected a number of 0 or more, found \"%s\"",
                                     given->items[i]);
        }
    }
    return TANDEM_OK;
}

static int retrieve(tandem_run **out, const char *name, const search_options *options, const tandem_dataset *dataset,
                    const tandem_qrels *qrels)
{
    size_t k = (size_t)options->top;
    if (strcmp(name, "bm25") == 0) {
        const tandem_bm25_options bm25 = {options->k1, options->b, (tandem_analyzer)options->analyzer};
        return tandem_retrieve_bm25(out, dataset, qrels, k, bm25, true);
    }
    const tandem_model_options load = {.kind = TANDEM_BI_ENCODER, .max_length = (size_t)options->max_length,
                                       .precision = (tandem_precision)options->dtype};
    tandem_model *model = NULL;
    TANDEM_TRY(tandem_model_load(&model, name, &load));
    int rc = tandem_retrieve_dense(out, model, dataset, qrels, k, true);
    tandem_model_free(model);
    return rc;
}

static int search_models(sources *s, const search_options *options)
{
    tandem_dataset *dataset = NULL;
    tandem_qrels *qrels = NULL;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_open(&dataset, options->dataset));
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_qrels(&qrels, dataset, options->split));
    for (size_t i = 0; i < options->models.count; i++, s->count++) {
        TANDEM_TRY_GOTO(rc, done, retrieve(&s->runs[s->count], options->models.items[i], options, dataset, qrels));
    }
done:
    tandem_qrels_free(qrels);
    tandem_dataset_free(dataset);
    return rc;
}

/* Stored embeddings, and the ids of their rows. */
typedef struct {
    tandem_vectors vectors;
    tandem_text *ids;
} stored;

static int read_stored(stored *out, tandem_arena *arena, const char *path, const char *list)
{
    TANDEM_TRY(tandem_vectors_read(&out->vectors, path, NULL));
    return tandem_vectors_ids(&out->ids, arena, path, list, out->vectors.count);
}

static void free_stored(stored *vectors)
{
    tandem_vectors_free(&vectors->vectors);
    free(vectors->ids);
}

static int search_stored(tandem_run **out, const search_options *options, const stored *documents,
                         const stored *queries)
{
    const tandem_vectors *d = &documents->vectors, *q = &queries->vectors;
    if (d->dim != q->dim) {
        return tandem_error("%s: vectors of %zu dimensions; those of %s have %zu", options->queries, q->dim,
                            options->documents, d->dim);
    }
    tandem_hits hits = {0};
    uint32_t *tie_ranks = NULL;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_tie_ranks(&tie_ranks, documents->ids, d->count));
    TANDEM_TRY_GOTO(rc, done, tandem_search_exact(&hits, q->data, q->count, d->data, d->count, d->dim,
                                                  (size_t)options->top, tie_ranks));
    rc = tandem_run_from_hits(out, tandem_path_base(options->documents), &hits, queries->ids, NULL, documents->ids);
done:
    tandem_hits_free(&hits);
    free(tie_ranks);
    return rc;
}

static int search_files(tandem_run **out, const search_options *options)
{
    stored documents = {0}, queries = {0};
    tandem_arena *arena = tandem_arena_new();
    int rc = arena ? TANDEM_OK : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, read_stored(&documents, arena, options->documents, options->document_ids));
    TANDEM_TRY_GOTO(rc, done, read_stored(&queries, arena, options->queries, options->query_ids));
    rc = search_stored(out, options, &documents, &queries);
done:
    free_stored(&documents);
    free_stored(&queries);
    tandem_arena_free(arena);
    return rc;
}

static int find_sources(sources *out, const search_options *options)
{
    *out = (sources){.runs = tandem_alloc(count_sources(options), sizeof *out->runs)};
    if (!out->runs) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(read_weights(out, &options->weights));
    if (options->models.count > 0) {
        TANDEM_TRY(search_models(out, options));
    }
    if (options->documents) {
        TANDEM_TRY(search_files(&out->runs[out->count], options));
        out->count++;
    }
    for (size_t i = 0; i < options->runs.count; i++, out->count++) {
        TANDEM_TRY(tandem_run_read(&out->runs[out->count], options->runs.items[i]));
    }
    return TANDEM_OK;
}

/* ---- joining ----------------------------------------------------------------------------- */
static int join_names(tandem_buffer *out, const sources *s)
{
    for (size_t i = 0; i < s->count; i++) {
        TANDEM_TRY(tandem_buffer_printf(out, "%s%s", i > 0 ? "+" : "", tandem_run_name(s->runs[i])));
    }
    return TANDEM_OK;
}

static int write_joined(const sources *s, const search_options *options)
{
    const tandem_hybrid how = {(tandem_hybrid_method)options->fusion, options->rrf_k, s->weights};
    tandem_buffer name = TANDEM_BUFFER_INIT;
    tandem_run *joined = NULL;
    int rc;
    TANDEM_TRY_GOTO(rc, done, join_names(&name, s));
    TANDEM_TRY_GOTO(rc, done, tandem_hybrid_fuse(&joined, name.data, (const tandem_run *const *)s->runs, s->count, &how,
                                                 (size_t)options->top));
    rc = tandem_run_write(joined, options->output);
done:
    tandem_run_free(joined);
    tandem_buffer_free(&name);
    return rc;
}

static int run(const void *given, size_t count, char *const *arguments)
{
    const search_options *options = given;
    sources s = {0};
    (void)count;
    (void)arguments;
    TANDEM_TRY(check(options));
    int rc = find_sources(&s, options);
    if (rc == TANDEM_OK) {
        bool alone = s.count == 1 && options->runs.count == 0;
        rc = alone ? tandem_run_write(s.runs[0], options->output) : write_joined(&s, options);
    }
    free_sources(&s);
    return rc;
}

const tandem_command tandem_command_search = {
    .name = "search",
    .summary = "Find the best documents for each query, with bi-encoders, BM25, or several results joined",
    .options = table,
    .options_size = sizeof(search_options),
    .run = run,
    .notes = "The search is exact: no document that is among the best is missed. Equal scores are ordered\n"
             "by document id, descending, as trec_eval orders them. Embeddings of the corpus and the BM25\n"
             "index are cached by the content of model and texts.\n\n"
             "BM25 scores as Lucene does, lengths kept in a byte included. The english analyzer is Lucene's\n"
             "EnglishAnalyzer: words in lower case, possessives cut, 33 stop words left out, Porter stems; the\n"
             "standard one leaves every word as it is. A document that shares no term with the query is not listed.\n\n"
             "Of stored embeddings the score is the inner product of the vectors as they are; tandem encode writes\n"
             "them, an .h5 with ids.\n\n"
             "Several models and runs are joined: each gives its --top best, and a document's score is the weighted\n"
             "sum of what it has in each of them: by rrf 1 / (60 + rank); by min-max its score scaled to 0 for the\n"
             "query's worst and 1 for its best; by z-score its distance from the mean in deviations. A document that\n"
             "one of them did not find has there 0, or the least z-score. The best --top by that sum are written.",
};
