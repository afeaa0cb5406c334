/* select.h - private to mining/: the k best of many scored documents, in the order
 * that trec_eval ranks them. */
#ifndef TANDEM_MINING_SELECT_H
#define TANDEM_MINING_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/search.h"

typedef struct {
    float score;
    uint32_t document;
} tandem_candidate;

/* Score descending, then tie rank ascending (`ranks` NULL: the document's index). A
 * total order over different documents, so that what is selected never depends on the
 * order of the input. */
static inline bool tandem_candidate_before(tandem_candidate a, tandem_candidate b, const uint32_t *ranks)
{
    if (a.score != b.score) {
        return a.score > b.score;
    }
    return ranks ? ranks[a.document] < ranks[b.document] : a.document < b.document;
}

/* Moves the k best to items[0 .. k), in no order; nothing to do when count <= k. */
void tandem_candidates_select(tandem_candidate *items, size_t count, size_t k, const uint32_t *ranks);

/* Best first. */
void tandem_candidates_sort(tandem_candidate *items, size_t count, const uint32_t *ranks);

/* Rows for `queries` queries of min(k, documents) hits, counts 0. */
int tandem_hits_make(tandem_hits *out, size_t queries, size_t k, size_t documents);
/* Puts sorted candidates into row `query`. */
void tandem_hits_set(tandem_hits *hits, size_t query, const tandem_candidate *items, size_t count);

#endif
