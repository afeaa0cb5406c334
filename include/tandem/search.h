/* search.h - exact top-k over embeddings. */
#ifndef TANDEM_SEARCH_H
#define TANDEM_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Top documents of each query: row q holds counts[q] <= k hits, best first; k is the
 * number asked for, or the number of documents if that is smaller. */
typedef struct {
    size_t queries, k;
    uint32_t *documents; /* [queries * k] indices */
    float *scores;       /* [queries * k] */
    uint32_t *counts;    /* [queries] */
} tandem_hits;

void tandem_hits_free(tandem_hits *hits); /* zeroes the struct */

/* Rank of every text's id in descending strcmp order: of two documents with one
 * score, the one with the lower rank comes first (trec_eval's rule). The caller frees
 * the array [count]. */
int tandem_tie_ranks(uint32_t **out, const tandem_text *texts, size_t count);

/* Exact maximum inner product search: the k best of `documents` [nd, dim] for each of
 * `queries` [nq, dim], both row-major. Never queries x documents in memory. Equal
 * scores are ordered by `tie_ranks` (NULL: lower index first). k > nd gives nd hits.
 * A score is the inner product summed in double in a fixed order and rounded to float
 * once: it depends on the two vectors alone, not on threads or the other rows, and
 * identical documents always tie. A vector that holds NaN or infinity is an error
 * naming its row; vectors of zeros are searched and found (their scores are 0) with a
 * warning that names the first; k = 0 is TANDEM_USAGE. */
int tandem_search_exact(tandem_hits *out, const float *queries, size_t nq, const float *documents,
                        size_t nd, size_t dim, size_t k, const uint32_t *tie_ranks);

/* The same for documents that are searched again and again. What limits a search for a few
 * queries (up to 8) is the reading of all documents, so an index may hold a copy of them in two
 * bytes a number or in one with a scale a document, and read that. The hits are those of
 * tandem_search_exact to the last bit: whatever comes within the copy's greatest error (times the
 * query's length) of the k best is scored by the documents themselves, which are borrowed and must
 * outlive the index. Documents of very different lengths make that error, and the work, large. */
typedef enum {
    TANDEM_STORE_FLOAT32, /* no copy */
    TANDEM_STORE_BFLOAT16,
    TANDEM_STORE_INT8,
} tandem_storage;

typedef struct tandem_index tandem_index;

int tandem_index_new(tandem_index **out, const float *documents, size_t count, size_t dim, tandem_storage storage);
void tandem_index_free(tandem_index *index); /* NULL is fine */
int tandem_index_search(tandem_hits *out, const tandem_index *index, const float *queries, size_t nq, size_t k, const uint32_t *tie_ranks);

#ifdef __cplusplus
}
#endif
#endif
