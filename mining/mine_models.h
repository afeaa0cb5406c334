/* mine_models.h - private to mining/: sources made from models. */
#ifndef TANDEM_MINING_MINE_MODELS_H
#define TANDEM_MINING_MINE_MODELS_H

#include "tandem/negatives.h"

/* What a source's vectors or index lie in. */
typedef struct {
    tandem_vectors *documents, *queries; /* shards */
    size_t document_shards, query_shards;
    tandem_bm25 *bm25;
} tandem_mining_store;

typedef struct {
    tandem_mining_source *items; /* [count] */
    tandem_mining_store *stores; /* [count] */
    size_t count;
} tandem_mining_sources;

/* Encodes corpus and queries with each bi-encoder, from the cache where it has them, and indexes the
 * corpus for BM25; to be freed in either case. */
int tandem_mining_sources_make(tandem_mining_sources *out, const tandem_mining_models *models,
                               const tandem_dataset *dataset, const tandem_split *split);
void tandem_mining_sources_free(tandem_mining_sources *sources);

#endif
