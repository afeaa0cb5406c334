/* pipeline.c - a pipeline that answers one query at a time: what a service does, and what can be timed. */
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/memory.h"
#include "tandem/pipeline.h"
#include "tandem/search.h"
#include "tandem/vectors.h"

/* ---- retrieving ---------------------------------------------------------------------------- */
/* BM25, or a bi-encoder with its documents' embeddings. */
typedef struct {
    const char *name; /* borrowed from the options */
    tandem_bm25 *bm25;
    tandem_model *model;
    tandem_vectors documents;
} source;

struct tandem_retriever {
    const tandem_dataset *dataset;
    size_t top;
    tandem_hybrid hybrid;
    uint32_t *tie_ranks;
    source *sources;
    size_t source_count;
    char *joined_name;
};

static int open_source(source *out, const tandem_dataset *dataset, const char *name,
                       const tandem_retriever_options *options)
{
    const tandem_texts *corpus = &dataset->corpus;
    out->name = tandem_path_base(name);
    if (strcmp(name, "bm25") == 0) {
        return tandem_bm25_new(&out->bm25, corpus->items, corpus->count, options->bm25, true);
    }
    const tandem_model_options load = {.kind = TANDEM_BI_ENCODER, .max_length = options->max_length,
                                       .precision = options->precision};
    TANDEM_TRY(tandem_model_load(&out->model, name, &load));
    return tandem_model_encode_texts(&out->documents, out->model, corpus->items, corpus->count, TANDEM_DOCUMENT, true,
                                     "encoding documents");
}

static int open_sources(tandem_retriever *r, const tandem_retriever_options *options)
{
    tandem_buffer name = TANDEM_BUFFER_INIT;
    TANDEM_TRY(tandem_tie_ranks(&r->tie_ranks, r->dataset->corpus.items, r->dataset->corpus.count));
    r->sources = tandem_alloc(options->model_count, sizeof *r->sources);
    int rc = r->sources ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; i < options->model_count && rc == TANDEM_OK; i++) {
        r->source_count++;
        rc = open_source(&r->sources[i], r->dataset, options->models[i], options);
        if (rc == TANDEM_OK) {
            rc = tandem_buffer_printf(&name, "%s%s", i > 0 ? "+" : "", r->sources[i].name);
        }
    }
    if (rc < 0) {
        tandem_buffer_free(&name);
        return rc;
    }
    r->joined_name = tandem_buffer_take(&name);
    return TANDEM_OK;
}

int tandem_retriever_open(tandem_retriever **out, const tandem_dataset *dataset,
                          const tandem_retriever_options *options)
{
    *out = NULL;
    if (options->model_count == 0) {
        return tandem_error_code(TANDEM_USAGE, "nothing to retrieve with: expected bm25 or a bi-encoder");
    }
    tandem_retriever *r = tandem_alloc(1, sizeof *r);
    if (!r) {
        return TANDEM_ERROR;
    }
    r->dataset = dataset;
    r->top = options->top;
    r->hybrid = options->hybrid;
    int rc = open_sources(r, options);
    if (rc < 0) {
        tandem_retriever_free(r);
        return rc;
    }
    *out = r;
    return TANDEM_OK;
}

void tandem_retriever_free(tandem_retriever *r)
{
    if (!r) {
        return;
    }
    for (size_t i = 0; r->sources && i < r->source_count; i++) {
        tandem_bm25_free(r->sources[i].bm25);
        tandem_model_free(r->sources[i].model);
        tandem_vectors_free(&r->sources[i].documents);
    }
    free(r->sources);
    free(r->tie_ranks);
    free(r->joined_name);
    free(r);
}

size_t tandem_retriever_stages(const tandem_retriever *r)
{
    return r->source_count + (r->source_count > 1);
}

const char *tandem_retriever_stage(const tandem_retriever *r, size_t index)
{
    return index < r->source_count ? r->sources[index].name : r->joined_name;
}

static int search_source(tandem_hits *hits, const tandem_retriever *r, const source *s, const tandem_text *query)
{
    if (s->bm25) {
        return tandem_bm25_search(hits, s->bm25, query, 1, r->top, r->tie_ranks);
    }
    tandem_vectors vector = {0};
    TANDEM_TRY(tandem_model_encode_texts(&vector, s->model, query, 1, TANDEM_QUERY, false, NULL));
    int rc = tandem_search_exact(hits, vector.data, 1, s->documents.data, s->documents.count, s->documents.dim, r->top,
                                 r->tie_ranks);
    tandem_vectors_free(&vector);
    return rc;
}

static int run_source(tandem_run **out, const tandem_retriever *r, const source *s, const tandem_text *query)
{
    tandem_hits hits = {0};
    TANDEM_TRY(search_source(&hits, r, s, query));
    int rc = tandem_run_from_hits(out, s->name, &hits, query, NULL, r->dataset->corpus.items);
    tandem_hits_free(&hits);
    return rc;
}

int tandem_retriever_search(tandem_run **stages, double *seconds, const tandem_retriever *r, const tandem_text *query)
{
    size_t count = tandem_retriever_stages(r);
    int rc = TANDEM_OK;
    memset(stages, 0, count * sizeof(tandem_run *));
    for (size_t i = 0; i < count && rc == TANDEM_OK; i++) {
        double start = tandem_seconds();
        rc = i < r->source_count
                 ? run_source(&stages[i], r, &r->sources[i], query)
                 : tandem_hybrid_fuse(&stages[i], r->joined_name, (const tandem_run *const *)stages, r->source_count,
                                      &r->hybrid, r->top);
        seconds[i] = tandem_seconds() - start;
    }
    if (rc < 0) {
        for (size_t i = 0; i < count; i++) {
            tandem_run_free(stages[i]);
            stages[i] = NULL;
        }
    }
    return rc;
}

/* ---- reranking -------------------------------------------------------------------------------- */
struct tandem_reranker {
    const tandem_dataset *dataset;
    tandem_model *model;
    tandem_token_store *documents;
};

int tandem_reranker_open(tandem_reranker **out, const char *directory, const tandem_dataset *dataset,
                         size_t max_length, tandem_precision precision)
{
    *out = NULL;
    tandem_reranker *r = tandem_alloc(1, sizeof *r);
    if (!r) {
        return TANDEM_ERROR;
    }
    r->dataset = dataset;
    const tandem_model_options load = {.kind = TANDEM_CROSS_ENCODER, .max_length = max_length, .precision = precision};
    int rc = tandem_model_load(&r->model, directory, &load);
    if (rc == TANDEM_OK) {
        rc = tandem_model_tokenize(&r->documents, r->model, dataset->corpus.items, dataset->corpus.count,
                                   TANDEM_DOCUMENT);
    }
    if (rc < 0) {
        tandem_reranker_free(r);
        return rc;
    }
    *out = r;
    return TANDEM_OK;
}

void tandem_reranker_free(tandem_reranker *r)
{
    if (r) {
        tandem_model_free(r->model);
        tandem_token_store_free(r->documents);
        free(r);
    }
}

const char *tandem_reranker_name(const tandem_reranker *r)
{
    return tandem_path_base(tandem_model_describe(r->model)->directory);
}

static int find_pairs(tandem_pair *pairs, const tandem_reranker *r, const tandem_ranking *candidates, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *id = candidates->results[i].document_id;
        size_t index = 0;
        if (!tandem_strmap_find(r->dataset->corpus.by_id, id, strlen(id), &index)) {
            return tandem_error("%s has no document '%s'", r->dataset->path, id);
        }
        pairs[i] = (tandem_pair){0, (uint32_t)index};
    }
    return TANDEM_OK;
}

static int score_pairs(float *logits, const tandem_reranker *r, const tandem_text *query, const tandem_pair *pairs,
                       size_t count)
{
    tandem_token_store *store = NULL;
    TANDEM_TRY(tandem_model_tokenize(&store, r->model, query, 1, TANDEM_QUERY));
    int rc = tandem_model_score(logits, r->model, store, r->documents, pairs, count, NULL);
    tandem_token_store_free(store);
    return rc;
}

int tandem_reranker_score(tandem_run **out, const tandem_reranker *r, const tandem_text *query,
                          const tandem_ranking *candidates, size_t depth)
{
    size_t count = candidates->count < depth ? candidates->count : depth;
    size_t labels = (size_t)tandem_model_describe(r->model)->labels;
    tandem_pair *pairs = tandem_alloc(count, sizeof *pairs);
    float *logits = tandem_alloc(count, labels * sizeof *logits);
    tandem_result *results = tandem_alloc(count, sizeof *results);
    int rc = pairs && logits && results ? TANDEM_OK : TANDEM_ERROR;
    *out = NULL;
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, find_pairs(pairs, r, candidates, count));
    TANDEM_TRY_GOTO(rc, done, count > 0 ? score_pairs(logits, r, query, pairs, count) : TANDEM_OK);
    for (size_t i = 0; i < count; i++) {
        results[i] = (tandem_result){candidates->results[i].document_id, (double)logits[i * labels]};
    }
    TANDEM_TRY_GOTO(rc, done, tandem_run_new(out, tandem_reranker_name(r)));
    rc = tandem_run_add(*out, query->id, results, count);
    if (rc < 0) {
        tandem_run_free(*out);
        *out = NULL;
    }
done:
    free(pairs);
    free(logits);
    free(results);
    return rc;
}

/* ---- what was measured ---------------------------------------------------------------------------- */
static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double nearest_rank(const double *sorted, size_t count, size_t percent)
{
    size_t rank = (count * percent + 99) / 100;
    return sorted[rank > 0 ? rank - 1 : 0];
}

int tandem_latency_of(tandem_latency *out, const double *seconds, size_t count)
{
    *out = (tandem_latency){0};
    if (count == 0) {
        return TANDEM_OK;
    }
    double *sorted = tandem_alloc(count, sizeof *sorted);
    if (!sorted) {
        return TANDEM_ERROR;
    }
    memcpy(sorted, seconds, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_doubles);
    for (size_t i = 0; i < count; i++) {
        out->mean += sorted[i] / (double)count;
    }
    out->p50 = nearest_rank(sorted, count, 50);
    out->p90 = nearest_rank(sorted, count, 90);
    out->p99 = nearest_rank(sorted, count, 99);
    free(sorted);
    return TANDEM_OK;
}

void tandem_pareto_front(bool *front, const double *quality, const double *cost, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        front[i] = true;
        for (size_t j = 0; j < count && front[i]; j++) {
            bool no_worse = quality[j] >= quality[i] && cost[j] <= cost[i];
            bool better = quality[j] > quality[i] || cost[j] < cost[i];
            front[i] = !(no_worse && (better || j < i));
        }
    }
}
