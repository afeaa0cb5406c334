/* retrieve.c - the first stage: dense search or BM25 for the judged queries of a split. */
#include <stdlib.h>
#include <string.h>

#include "tandem/bm25.h"
#include "tandem/file.h"
#include "tandem/memory.h"
#include "tandem/pipeline.h"
#include "tandem/search.h"
#include "tandem/vectors.h"

int tandem_judged_queries(tandem_text **out, size_t *count, const tandem_dataset *dataset, const tandem_qrels *qrels)
{
    *count = 0;
    *out = tandem_alloc(tandem_qrels_count(qrels), sizeof **out);
    if (!*out) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < tandem_qrels_count(qrels); i++) {
        const char *id = tandem_qrels_query(qrels, i)->query_id;
        size_t index;
        if (tandem_strmap_find(dataset->queries.by_id, id, strlen(id), &index)) {
            (*out)[(*count)++] = dataset->queries.items[index];
        }
    }
    if (*count == 0) {
        free(*out);
        *out = NULL;
        return tandem_error("%s: queries.jsonl has none of the %zu judged queries", dataset->path,
                            tandem_qrels_count(qrels));
    }
    return TANDEM_OK;
}

int tandem_retrieve_vectors(tandem_run **out, const char *name, const tandem_dataset *dataset,
                            const tandem_text *queries, const tandem_vectors *wanted, const tandem_vectors *documents,
                            size_t k)
{
    *out = NULL;
    uint32_t *tie_ranks = NULL;
    tandem_hits hits = {0};
    TANDEM_TRY(tandem_tie_ranks(&tie_ranks, dataset->corpus.items, dataset->corpus.count));
    int rc = tandem_search_exact(&hits, wanted->data, wanted->count, documents->data, documents->count, documents->dim,
                                 k, tie_ranks);
    if (rc >= 0) {
        rc = tandem_run_from_hits(out, name, &hits, queries, NULL, dataset->corpus.items);
    }
    tandem_hits_free(&hits);
    free(tie_ranks);
    return rc;
}

int tandem_retrieve_dense(tandem_run **out, tandem_model *model, const tandem_dataset *dataset,
                          const tandem_qrels *qrels, size_t k, bool cache)
{
    *out = NULL;
    tandem_text *queries = NULL;
    tandem_vectors documents = {0}, wanted = {0};
    const char *name = tandem_path_base(tandem_model_describe(model)->directory);
    size_t count;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_judged_queries(&queries, &count, dataset, qrels));
    TANDEM_TRY_GOTO(rc, done, tandem_model_encode_texts(&wanted, model, queries, count, TANDEM_QUERY, false,
                                                        "encoding queries"));
    TANDEM_TRY_GOTO(rc, done, tandem_model_encode_texts(&documents, model, dataset->corpus.items, dataset->corpus.count,
                                                        TANDEM_DOCUMENT, cache, "encoding documents"));
    rc = tandem_retrieve_vectors(out, name, dataset, queries, &wanted, &documents, k);
done:
    tandem_vectors_free(&documents);
    tandem_vectors_free(&wanted);
    free(queries);
    return rc;
}

int tandem_retrieve_bm25(tandem_run **out, const tandem_dataset *dataset, const tandem_qrels *qrels, size_t k,
                         tandem_bm25_options options, bool cache)
{
    *out = NULL;
    tandem_text *queries = NULL;
    uint32_t *tie_ranks = NULL;
    tandem_bm25 *index = NULL;
    tandem_hits hits = {0};
    size_t count;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_judged_queries(&queries, &count, dataset, qrels));
    TANDEM_TRY_GOTO(rc, done, tandem_tie_ranks(&tie_ranks, dataset->corpus.items, dataset->corpus.count));
    TANDEM_TRY_GOTO(rc, done, tandem_bm25_new(&index, dataset->corpus.items, dataset->corpus.count,
                                              options, cache));
    TANDEM_TRY_GOTO(rc, done, tandem_bm25_search(&hits, index, queries, count, k, tie_ranks));
    rc = tandem_run_from_hits(out, "bm25", &hits, queries, NULL, dataset->corpus.items);
done:
    tandem_hits_free(&hits);
    tandem_bm25_free(index);
    free(tie_ranks);
    free(queries);
    return rc;
}
