/* negatives.h - hard negatives: what retrievers rank high and nobody judged relevant. */
#ifndef TANDEM_NEGATIVES_H
#define TANDEM_NEGATIVES_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/error.h"
#include "tandem/groups.h"
#include "tandem/memory.h"
#include "tandem/model.h"
#include "tandem/bm25.h"

struct cJSON;

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { TANDEM_SAMPLE_TOP, TANDEM_SAMPLE_RANDOM } tandem_sampling;

/* The rank of a document among several retrievers. One of them alone: its rank there. */
typedef enum {
    TANDEM_RANK_BEST, /* the best that it has in any of them */
    TANDEM_RANK_FUSED /* after reciprocal rank fusion of them all */
} tandem_mining_rank;

/* What becomes of a query with fewer negatives than wanted. */
typedef enum {
    TANDEM_SHORTAGE_FEWER, /* it keeps those that it has */
    TANDEM_SHORTAGE_FILL,  /* random documents that no retriever found make up the number */
    TANDEM_SHORTAGE_DROP   /* it gets no group */
} tandem_shortage;

/* Thresholds hold against the judge's scores (tandem_mining); NaN: off. p is the lowest score
 * of the query's positives. */
typedef struct {
    size_t range_low, range_high; /* raw ranks [low, high) that candidates come from */
    tandem_mining_rank rank;
    double absolute_margin;  /* drop what scores above p - margin */
    double relative_margin;  /* drop what scores above p - |p| * margin (NV-Retriever's TopK-PercPos at 95 % is 0.05) */
    double max_score;        /* drop what scores above it (NV-Retriever's TopK-Abs) */
    double min_score;        /* drop what scores below it */
    double near_duplicate;   /* drop what shares at least this part of its word shingles with a positive (Jaccard
                                index of the sets of three successive words; Broder 1997) */
    double similar_positive; /* drop what has at least this cosine with a positive, by the first dense source */
    size_t negatives;        /* wanted per query */
    tandem_sampling sampling;
    tandem_shortage shortage;
    uint64_t seed; /* of random choices: a stream per query id, so that neither order nor threads matter */
    size_t block;  /* queries mined at a time; 0: 64 with a cross-encoder, else up to 4,096 */
} tandem_mining_options;

#define TANDEM_MINING_OPTIONS_INIT                                                                                   \
    {0, 50, TANDEM_RANK_BEST, NAN, 0.05, NAN, NAN, NAN, NAN, 4, TANDEM_SAMPLE_TOP, TANDEM_SHORTAGE_FEWER, 13, 0}

/* A matrix in runs of rows: every shard but the last has as many as the first. */
typedef struct {
    const tandem_vectors *items;
    size_t count;
} tandem_shards;

/* Candidates come from here: vectors (queries in the order of split->queries, documents in
 * corpus order), or BM25 when `bm25` is not NULL. */
typedef struct {
    tandem_shards queries, documents;
    const tandem_bm25 *bm25;
} tandem_mining_source;

/* The judge, whose scores the thresholds look at and the groups hold, is the cross-encoder (its
 * first logit) or else the first source. */
typedef struct {
    const tandem_dataset *dataset;
    const tandem_split *split;
    const tandem_mining_source *sources;
    size_t source_count;
    tandem_model *cross; /* NULL: none */
    tandem_mining_options options;
} tandem_mining;

enum { TANDEM_MINING_QUANTILES = 5, TANDEM_MINING_BINS = 20 };

/* What each rule did, over all queries. */
typedef struct {
    size_t queries, pairs;
    size_t candidates;             /* in the range of ranks */
    size_t removed_positive;       /* known positives of the query, or of another with its text */
    size_t removed_identical;      /* same text as a positive, the query or a better-ranked candidate */
    size_t removed_near_duplicate; /* shingles of a positive */
    size_t removed_similar;        /* vector near a positive's */
    size_t removed_margin, removed_max_score, removed_min_score;
    size_t mined;           /* negatives given out, random ones included */
    size_t filled;          /* random ones among them */
    size_t queries_short;   /* fewer were left than wanted */
    size_t queries_empty;   /* none was left */
    size_t queries_dropped; /* got no group */
    /* Quantiles 5, 25, 50, 75, 95 % */
    double positive_score[TANDEM_MINING_QUANTILES], negative_score[TANDEM_MINING_QUANTILES];
    double margin[TANDEM_MINING_QUANTILES]; /* lowest positive - negative */
    /* Margins in bins of equal width from the least to the greatest. */
    double histogram_low, histogram_high;
    size_t histogram[TANDEM_MINING_BINS];
} tandem_mining_statistics;

/* Mines for every query of the split. Ranks are raw: known positives count. Gives one group a
 * query, in split order, with the judge's scores, negatives hardest first: in the order of ranks
 * (of several retrievers: by reciprocal rank fusion, sum of 1 / (60 + rank), Cormack 2009), or by
 * a cross-encoder's scores. The result depends on neither `block` nor threads, but for the last
 * bits of a cross-encoder's scores. TANDEM_USAGE when the options contradict each other; a split
 * without queries is an error, and so is a score that is not finite or that no group is left. */
int tandem_mine_negatives(tandem_groups **out, tandem_mining_statistics *statistics, const tandem_mining *mining);

/* Who retrieves and judges. */
typedef struct {
    tandem_model *const *retrievers; /* [count] bi-encoders; NULL: BM25 */
    size_t count;
    tandem_model *cross; /* NULL: none */
} tandem_mining_models;

/* The whole of mining into a file of groups: encodes corpus and queries (from the cache where it
 * has them, mapped into memory), mines block after block and keeps each, as it is done, in the
 * directory PATH.partial. After a kill the same call goes on there, and the file is byte for byte
 * what an undisturbed call writes; blocks of another mining (other settings, weights, texts or
 * judgments) are dropped. The directory is gone when the file is complete. On stdout ("-"), a device
 * or a pipe the groups are written at the end, and nothing is kept.
 *
 * Memory beyond the dataset, the models and what is mapped, vectors and BM25's index: 16 bytes and a
 * hash entry a document, hits and candidates of one block, 8 bytes a positive and 16 a negative for the
 * statistics, and with a cross-encoder the token ids of corpus and queries. */
int tandem_mine_file(const char *path, tandem_mining_statistics *statistics, const tandem_mining_models *models,
                     const tandem_dataset *dataset, const tandem_split *split, const tandem_mining_options *options);

/* A paragraph for people, or the same as a JSON object. */
int tandem_mining_report(tandem_buffer *out, const tandem_mining_statistics *statistics);
int tandem_mining_report_json(struct cJSON **out, const tandem_mining_statistics *statistics);

#ifdef __cplusplus
}
#endif
#endif
