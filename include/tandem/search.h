/* search.h - exact top-k over embeddings, and BM25: the two first stages. */
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
 * naming its row; k = 0 is TANDEM_USAGE. */
int tandem_search_exact(tandem_hits *out, const float *queries, size_t nq, const float *documents,
                        size_t nd, size_t dim, size_t k, const uint32_t *tie_ranks);

/* ---- BM25 ---------------------------------------------------------------------------- */
/* As Lucene scores it: idf = ln(1 + (N - df + .5) / (df + .5)), tf part tf / (tf + k1 *
 * (1 - b + b * length / mean length)), summed over the query's words, repeated ones
 * repeatedly; exact lengths (Lucene rounds them to a byte); N and the mean count the
 * documents with at least one term. Text analysis: lower case, words of letters
 * and digits, English possessive and the 33 stop words of Lucene's EnglishAnalyzer
 * removed, Porter's stemmer (1980); mining/analyzer.h has the details. */
typedef struct {
    double k1; /* 0.9, Anserini's default for passages */
    double b;  /* 0.4 */
} tandem_bm25_options;

#define TANDEM_BM25_OPTIONS_INIT {0.9, 0.4}

typedef struct tandem_bm25 tandem_bm25;

int tandem_bm25_new(tandem_bm25 **out, const tandem_text *documents, size_t count, tandem_bm25_options options);
void tandem_bm25_free(tandem_bm25 *index); /* NULL is fine */
/* Top k for each query; documents that share no term with it are not hits. */
int tandem_bm25_search(tandem_hits *out, const tandem_bm25 *index, const tandem_text *queries, size_t count, size_t k, const uint32_t *tie_ranks);
/* The score of one document for a query. */
int tandem_bm25_score(float *out, const tandem_bm25 *index, const tandem_text *query, uint32_t document);

#ifdef __cplusplus
}
#endif
#endif
