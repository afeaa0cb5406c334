/* rerank.c - the second stage: the cross-encoder's scores of the first stage's best. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/memory.h"
#include "tandem/pipeline.h"

/* The texts that are needed, each once, and which pairs of them to score: the pairs of a
 * query come together, in the order of its ranking. */
typedef struct {
    tandem_text *queries;   /* [count of the run]; query i is ranking i's */
    tandem_text *documents;
    tandem_pair *pairs;
    size_t document_count, pair_count;
} work;

struct tandem_reranking {
    const tandem_run *run;
    size_t depth, pair_count;
    tandem_pair *pairs;
    tandem_token_store *queries, *documents;
};

static size_t top(const tandem_ranking *ranking, size_t depth)
{
    return ranking->count < depth ? ranking->count : depth;
}

static int find_text(size_t *index, const tandem_texts *texts, const char *id, const char *what,
                     const tandem_dataset *dataset)
{
    if (!tandem_strmap_find(texts->by_id, id, strlen(id), index)) {
        return tandem_error("%s has no %s '%s', which the run names", dataset->path, what, id);
    }
    return TANDEM_OK;
}

/* Adds the pairs of ranking `query`. `places` says where in w->documents a document of the
 * corpus is, plus one. */
static int plan_query(work *w, const tandem_dataset *dataset, const tandem_ranking *ranking, size_t query, size_t depth,
                      uint32_t *places)
{
    size_t index;
    TANDEM_TRY(find_text(&index, &dataset->queries, ranking->query_id, "query", dataset));
    w->queries[query] = dataset->queries.items[index];
    for (size_t i = 0; i < top(ranking, depth); i++) {
        TANDEM_TRY(find_text(&index, &dataset->corpus, ranking->results[i].document_id, "document", dataset));
        if (places[index] == 0) {
            w->documents[w->document_count++] = dataset->corpus.items[index];
            places[index] = (uint32_t)w->document_count;
        }
        w->pairs[w->pair_count++] = (tandem_pair){(uint32_t)query, places[index] - 1};
    }
    return TANDEM_OK;
}

static int plan(work *w, const tandem_dataset *dataset, const tandem_run *run, size_t depth)
{
    size_t pairs = 0, corpus = dataset->corpus.count;
    for (size_t i = 0; i < tandem_run_count(run); i++) {
        pairs += top(tandem_run_ranking(run, i), depth);
    }
    w->queries = tandem_alloc(tandem_run_count(run), sizeof *w->queries);
    w->documents = tandem_alloc(pairs < corpus ? pairs : corpus, sizeof *w->documents);
    w->pairs = tandem_alloc(pairs, sizeof *w->pairs);
    uint32_t *places = tandem_alloc(corpus, sizeof *places);
    int rc = w->queries && w->documents && w->pairs && places ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; rc >= 0 && i < tandem_run_count(run); i++) {
        rc = plan_query(w, dataset, tandem_run_ranking(run, i), i, depth, places);
    }
    free(places);
    return rc;
}

/* A run of the first of each pair's `labels` logits. */
static int collect(tandem_run *out, const tandem_run *run, const float *logits, size_t labels, size_t depth)
{
    tandem_result *results = NULL;
    size_t capacity = 0;
    int rc = TANDEM_OK;
    for (size_t i = 0; rc >= 0 && i < tandem_run_count(run); i++) {
        const tandem_ranking *ranking = tandem_run_ranking(run, i);
        size_t count = top(ranking, depth);
        void *grown = results;
        rc = tandem_grow(&grown, &capacity, count, sizeof *results);
        results = grown;
        for (size_t d = 0; rc >= 0 && d < count; d++, logits += labels) {
            results[d] = (tandem_result){ranking->results[d].document_id, (double)*logits};
        }
        if (rc >= 0) {
            rc = tandem_run_add(out, ranking->query_id, results, count);
        }
    }
    free(results);
    return rc;
}

static int prepare(tandem_reranking *reranking, const tandem_model *cross, const tandem_dataset *dataset)
{
    work w = {0};
    int rc;
    TANDEM_TRY_GOTO(rc, done, plan(&w, dataset, reranking->run, reranking->depth));
    reranking->pairs = w.pairs;
    reranking->pair_count = w.pair_count;
    w.pairs = NULL;
    TANDEM_TRY_GOTO(rc, done, tandem_model_tokenize(&reranking->queries, cross, w.queries,
                                                    tandem_run_count(reranking->run), TANDEM_QUERY));
    rc = tandem_model_tokenize(&reranking->documents, cross, w.documents, w.document_count, TANDEM_DOCUMENT);
done:
    free(w.queries);
    free(w.documents);
    free(w.pairs);
    return rc;
}

int tandem_reranking_new(tandem_reranking **out, const tandem_model *cross, const tandem_dataset *dataset,
                         const tandem_run *run, size_t depth)
{
    *out = NULL;
    const tandem_model_info *info = tandem_model_describe(cross);
    if (info->kind != TANDEM_CROSS_ENCODER) {
        return tandem_error("%s is no cross-encoder: only those rerank", info->directory);
    }
    if (depth == 0 || tandem_run_count(run) == 0) {
        return tandem_error("nothing to rerank: %zu queries, depth %zu", tandem_run_count(run), depth);
    }
    tandem_reranking *reranking = tandem_alloc(1, sizeof *reranking);
    if (!reranking) {
        return TANDEM_ERROR;
    }
    *reranking = (tandem_reranking){.run = run, .depth = depth};
    int rc = prepare(reranking, cross, dataset);
    if (rc < 0) {
        tandem_reranking_free(reranking);
        return rc;
    }
    *out = reranking;
    return TANDEM_OK;
}

void tandem_reranking_free(tandem_reranking *reranking)
{
    if (reranking) {
        tandem_token_store_free(reranking->queries);
        tandem_token_store_free(reranking->documents);
        free(reranking->pairs);
        free(reranking);
    }
}

int tandem_reranking_score(tandem_run **out, const tandem_reranking *reranking, tandem_model *cross)
{
    *out = NULL;
    const tandem_model_info *info = tandem_model_describe(cross);
    float *logits = tandem_alloc(reranking->pair_count, (size_t)info->labels * sizeof *logits);
    int rc = logits ? TANDEM_OK : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_model_score(logits, cross, reranking->queries, reranking->documents,
                                                 reranking->pairs, reranking->pair_count, "reranking"));
    TANDEM_TRY_GOTO(rc, done, tandem_run_new(out, tandem_path_base(info->directory)));
    rc = collect(*out, reranking->run, logits, (size_t)info->labels, reranking->depth);
    if (rc < 0) {
        tandem_run_free(*out);
        *out = NULL;
    }
done:
    free(logits);
    return rc;
}

int tandem_rerank(tandem_run **out, tandem_model *cross, const tandem_dataset *dataset, const tandem_run *run,
                  size_t depth)
{
    tandem_reranking *reranking = NULL;
    *out = NULL;
    TANDEM_TRY(tandem_reranking_new(&reranking, cross, dataset, run, depth));
    int rc = tandem_reranking_score(out, reranking, cross);
    tandem_reranking_free(reranking);
    return rc;
}
