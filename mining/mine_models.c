/* mine_models.c - sources made from models: embeddings in shards, or BM25's index. */
#include "mining/mine_models.h"

#include <stdlib.h>

#include "tandem/memory.h"

static void free_shards(tandem_vectors *shards, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tandem_vectors_free(&shards[i]);
    }
    free(shards);
}

/* What the cache holds of them is mapped into memory; a kill loses one shard's work. */
static int encode_shards(tandem_vectors **out, size_t *shards, tandem_model *model, const tandem_text *texts,
                         size_t count, tandem_side side, const char *title)
{
    size_t needed = (count + TANDEM_VECTOR_SHARD - 1) / TANDEM_VECTOR_SHARD;
    *out = tandem_alloc(needed, sizeof **out);
    if (!*out) {
        return TANDEM_ERROR;
    }
    *shards = needed;
    for (size_t i = 0; i < needed; i++) {
        size_t start = i * TANDEM_VECTOR_SHARD, rest = count - start;
        size_t part = rest < TANDEM_VECTOR_SHARD ? rest : TANDEM_VECTOR_SHARD;
        TANDEM_TRY(tandem_model_encode_texts(&(*out)[i], model, texts + start, part, side, true, title));
    }
    return TANDEM_OK;
}

static int make_dense(tandem_mining_store *out, tandem_model *model, const tandem_dataset *dataset,
                      const tandem_split *split)
{
    tandem_text *texts = tandem_alloc(split->count, sizeof *texts);
    if (!texts) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < split->count; i++) {
        texts[i] = dataset->queries.items[split->queries[i].query];
    }
    int rc = encode_shards(&out->documents, &out->document_shards, model, dataset->corpus.items, dataset->corpus.count,
                           TANDEM_DOCUMENT, "encoding the corpus");
    rc = rc < 0 ? rc : encode_shards(&out->queries, &out->query_shards, model, texts, split->count, TANDEM_QUERY,
                                     "encoding queries");
    free(texts);
    return rc;
}

int tandem_mining_sources_make(tandem_mining_sources *out, const tandem_mining_models *models,
                               const tandem_dataset *dataset, const tandem_split *split)
{
    out->items = tandem_alloc(models->count, sizeof *out->items);
    out->stores = tandem_alloc(models->count, sizeof *out->stores);
    if (!out->items || !out->stores) {
        return TANDEM_ERROR;
    }
    out->count = models->count;
    for (size_t i = 0; i < models->count; i++) {
        tandem_mining_store *store = &out->stores[i];
        if (models->retrievers[i]) {
            TANDEM_TRY(make_dense(store, models->retrievers[i], dataset, split));
        } else {
            TANDEM_TRY(tandem_bm25_new(&store->bm25, dataset->corpus.items, dataset->corpus.count,
                                       (tandem_bm25_options)TANDEM_BM25_OPTIONS_INIT, true));
        }
        out->items[i] = (tandem_mining_source){.documents = {store->documents, store->document_shards},
                                               .queries = {store->queries, store->query_shards},
                                               .bm25 = store->bm25};
    }
    return TANDEM_OK;
}

void tandem_mining_sources_free(tandem_mining_sources *sources)
{
    for (size_t i = 0; i < sources->count; i++) {
        free_shards(sources->stores[i].documents, sources->stores[i].document_shards);
        free_shards(sources->stores[i].queries, sources->stores[i].query_shards);
        tandem_bm25_free(sources->stores[i].bm25);
    }
    free(sources->items);
    free(sources->stores);
    *sources = (tandem_mining_sources){0};
}
