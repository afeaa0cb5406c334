/* negatives.h - hard negatives from the current retriever. */
#ifndef TANDEM_NEGATIVES_H
#define TANDEM_NEGATIVES_H

#include <stdbool.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/error.h"
#include "tandem/groups.h"
#include "tandem/memory.h"
#include "tandem/model.h"
#include "tandem/search.h"

struct cJSON;

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { TANDEM_SAMPLE_TOP, TANDEM_SAMPLE_RANDOM } tandem_sampling;

typedef struct {
    size_t range_low, range_high; /* raw ranks [low, high) that candidates come from */
    double absolute_margin;       /* drop candidates that score above positive - margin; NaN: off */
    double relative_margin;       /* drop candidates that score above positive - |positive| * margin; NaN: off
                                     (NV-Retriever's TopK-PercPos at 95 % is 0.05) */
    size_t negatives;             /* wanted per query */
    tandem_sampling sampling;
    uint64_t seed;                /* random: a stream per query id, so that neither order nor threads matter */
} tandem_mining_options;

#define TANDEM_MINING_OPTIONS_INIT {0, 50, NAN, 0.05, 4, TANDEM_SAMPLE_TOP, 13}

/* Candidates come from here: vectors (rows as in the dataset; queries in the order of
 * split->queries, documents in corpus order), or BM25 when `bm25` is not NULL. */
typedef struct {
    const float *queries, *documents;
    size_t dim;
    const tandem_bm25 *bm25;
} tandem_mining_source;

/* What each rule did, over all queries. */
typedef struct {
    size_t queries, pairs;
    size_t candidates;          /* in the rank range */
    size_t removed_positive;    /* known positives of the query, or of another with its text */
    size_t removed_identical;   /* same text as a positive, the query or a better-ranked candidate */
    size_t removed_margin;
    size_t mined;               /* negatives given out */
    size_t queries_short;       /* got fewer than wanted */
    size_t queries_empty;       /* got none: their groups have no negatives */
    /* Quantiles 5, 25, 50, 75, 95 % */
    double positive_score[5], negative_score[5], margin[5]; /* margin: lowest positive - negative */
} tandem_mining_statistics;

/* Mines for every query of `split`: ranks are raw ranks of the search over the whole
 * corpus (known positives count); the margin compares with the query's lowest-scored
 * positive. Gives one group a query, in split order, with scores of positives and
 * negatives by the source; a query for which nothing is left has no negatives.
 * TANDEM_USAGE when the options contradict each other; a split without queries is an error. */
int tandem_mine_negatives(tandem_groups **out, tandem_mining_statistics *statistics,
                          const tandem_dataset *dataset, const tandem_split *split,
                          const tandem_mining_source *source, const tandem_mining_options *options);

/* The whole of dense mining: encodes the corpus (from the cache when `cache` is set) and the
 * queries of `split` with `model` as it is now, and mines from them. */
int tandem_mine_with_model(tandem_groups **out, tandem_mining_statistics *statistics,
                           tandem_model *model, const tandem_dataset *dataset,
                           const tandem_split *split, const tandem_mining_options *options, bool cache);

/* A paragraph for people, or the same as a JSON object. */
int tandem_mining_report(tandem_buffer *out, const tandem_mining_statistics *statistics);
int tandem_mining_report_json(struct cJSON **out, const tandem_mining_statistics *statistics);

#ifdef __cplusplus
}
#endif
#endif
