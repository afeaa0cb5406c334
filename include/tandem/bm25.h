/* bm25.h - BM25 as Lucene scores it, over an inverted index that lies in a file. */
#ifndef TANDEM_BM25_H
#define TANDEM_BM25_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/error.h"
#include "tandem/search.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a text becomes terms: words as Lucene's StandardTokenizer finds them, but for rare scripts, in lower case.
 * mining/analyzer.h has the details. */
typedef enum {
    TANDEM_ANALYZER_ENGLISH, /* EnglishAnalyzer: no possessive 's, its 33 stop words out, Porter's stems (1980) */
    TANDEM_ANALYZER_STANDARD /* StandardAnalyzer: every word as it is, for any language */
} tandem_analyzer;

typedef struct {
    double k1; /* >= 0; 0.9 and 0.4 are Anserini's defaults for passages */
    double b;  /* 0 to 1 */
    tandem_analyzer analyzer;
} tandem_bm25_options;

#define TANDEM_BM25_OPTIONS_INIT {0.9, 0.4, TANDEM_ANALYZER_ENGLISH}

typedef struct tandem_bm25 tandem_bm25;

/* The index of `documents`. With `cache` it is kept in the cache (cache.h) as a file that is mapped
 * into memory, keyed by texts and analyzer; k1 and b are no part of it. Building takes, besides the texts,
 * the dictionary (every different word once) and 16 bytes a different word of a document, of
 * which not more than 160 MB are held: with `cache` the rest waits in a temporary file beside the index.
 * Errors: k1 or b out of range (TANDEM_USAGE), a text of more than 2^31 - 1 words, TANDEM_INTERRUPTED. */
int tandem_bm25_new(tandem_bm25 **out, const tandem_text *documents, size_t count, tandem_bm25_options options,
                    bool cache);
void tandem_bm25_free(tandem_bm25 *index); /* NULL is fine */

/* An index as a file (docs/formats.md). Opening maps it and checks every byte of it: a file that is cut,
 * damaged or inconsistent is an error, TANDEM_NOT_FOUND where there is none; options.analyzer must be that
 * of the file. */
int tandem_bm25_write(const char *path, const tandem_text *documents, size_t count, tandem_analyzer analyzer);
int tandem_bm25_open(tandem_bm25 **out, const char *path, tandem_bm25_options options);

/* Top k for each query; a document that shares no term with it is no hit. Exact: documents are passed over
 * only where a bound shows that they cannot be among the k best. Equal scores are ordered by `tie_ranks`
 * (NULL: lower index first).
 *
 * A score is the sum over the query's different terms of w - w / (1 + tf / (k1 * (1 - b + b * length / mean))),
 * w = n * ln(1 + (N - df + .5) / (df + .5)) for a term that the query has n times, in float as in
 * BM25Similarity of Lucene 10; the sum is exact and rounded to float once, so that it depends on no order. N
 * and the mean count the documents with a term. Lengths are those of Lucene's norms: exact to 39 terms, then
 * rounded down to four significant bits (SmallFloat.intToByte4); the mean is that of the exact ones. */
int tandem_bm25_search(tandem_hits *out, const tandem_bm25 *index, const tandem_text *queries, size_t count, size_t k,
                       const uint32_t *tie_ranks);
/* The score of one document for a query: what the search would give it. */
int tandem_bm25_score(float *out, const tandem_bm25 *index, const tandem_text *query, uint32_t document);

/* ---- showing a hit ------------------------------------------------------------------- */
/* The part of a text, cut at words, of at most `width` bytes (one word at least) that has most of the query's
 * different terms; of equal ones the first. Where no term is in the text, its beginning. */
int tandem_snippet(size_t *start, size_t *length, const tandem_text *text, const tandem_text *query, size_t width,
                   tandem_analyzer analyzer);

#ifdef __cplusplus
}
#endif
#endif
