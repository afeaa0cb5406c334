/* pipeline.h - retrieve, rerank, fuse. */
#ifndef TANDEM_PIPELINE_H
#define TANDEM_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/bm25.h"
#include "tandem/dataset.h"
#include "tandem/error.h"
#include "tandem/metrics.h"
#include "tandem/model.h"
#include "tandem/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* First stage: top k of the corpus for every query judged in `qrels` that the dataset has; none is an
 * error. With `cache`, document embeddings and the BM25 index are cached. The run is named after the model's
 * directory, or "bm25". */
int tandem_retrieve_dense(tandem_run **out, tandem_model *model, const tandem_dataset *dataset, const tandem_qrels *qrels, size_t k, bool cache);
/* The same by vectors of the corpus and of `queries`, which tandem_judged_queries gives; the run is called `name`. */
int tandem_retrieve_vectors(tandem_run **out, const char *name, const tandem_dataset *dataset, const tandem_text *queries, const tandem_vectors *wanted, const tandem_vectors *documents, size_t k);
/* The judged queries that the dataset has, in the order of the qrels; none is an error. The caller frees *out, whose
 * texts are the dataset's. */
int tandem_judged_queries(tandem_text **out, size_t *count, const tandem_dataset *dataset, const tandem_qrels *qrels);
int tandem_retrieve_bm25(tandem_run **out, const tandem_dataset *dataset, const tandem_qrels *qrels, size_t k,
                         tandem_bm25_options options, bool cache);

/* Several first stages joined. Of each run, a document has
 *  - by reciprocal rank (Cormack, Clarke and Buettcher 2009): 1 / (rrf_k + rank), and 0 where it is missing;
 *  - by min-max: (score - worst) / (best - worst) of the query, 0 where it is missing, 1 where all scores are one;
 *  - by z-score: (score - mean) / deviation of the query, and the least of these where it is missing;
 * and its score is the weighted sum over the runs. */
typedef enum { TANDEM_HYBRID_RRF, TANDEM_HYBRID_MIN_MAX, TANDEM_HYBRID_Z_SCORE } tandem_hybrid_method;

typedef struct {
    tandem_hybrid_method method;
    double rrf_k;          /* >= 0 */
    const double *weights; /* [runs] none below 0, not all 0; NULL: 1 each */
} tandem_hybrid;

#define TANDEM_HYBRID_INIT {TANDEM_HYBRID_RRF, 60.0, NULL}

/* The `top` best of every query that one of the runs has; a run that lacks a query adds nothing to it. Errors: an
 * infinite score that is to be scaled; k or a weight out of range (TANDEM_USAGE). */
int tandem_hybrid_fuse(tandem_run **out, const char *name, const tandem_run *const *runs, size_t count,
                       const tandem_hybrid *how, size_t top);

/* Second stage: the cross-encoder's logit (first label) for the top `depth` of every
 * ranking. The result holds those documents only. A query or document that the dataset lacks is an
 * error, and so is a bi-encoder or an empty run. */
int tandem_rerank(tandem_run **out, tandem_model *cross, const tandem_dataset *dataset, const tandem_run *run, size_t depth);

/* The same in two steps, for a run that is reranked again and again while the weights change: the pairs are found, and
 * their texts tokenized, once. `run` is borrowed. */
typedef struct tandem_reranking tandem_reranking;
int tandem_reranking_new(tandem_reranking **out, const tandem_model *cross, const tandem_dataset *dataset, const tandem_run *run, size_t depth);
void tandem_reranking_free(tandem_reranking *reranking); /* NULL is fine */
int tandem_reranking_score(tandem_run **out, const tandem_reranking *reranking, tandem_model *cross);

/* How the stages' scores are joined: both are standardized with the mean and deviation
 * over all candidates of the run the fusion was fitted on, so that one weight
 * holds for every query, and a fixed multiple of the first stage's score added to a logit
 * (training offsets) is one of the weights. */
typedef struct {
    double weight; /* of the reranker: 0 is the first stage alone, 1 the reranker alone */
    double first_mean, first_deviation;
    double rerank_mean, rerank_deviation;
} tandem_fusion;

/* The reranker alone, its scores as they are. */
#define TANDEM_FUSION_INIT {1.0, 0.0, 1.0, 0.0, 1.0}

/* How many weights are tried: 0, 0.05 ... 1. */
enum { TANDEM_FUSION_WEIGHTS = 21 };

/* Chooses the weight among 0, 0.05 ... 1 that maximizes `metric` on judged (dev)
 * queries; of equals the smallest, so that a reranker must earn its weight. `curve`
 * (may be NULL) gets the TANDEM_FUSION_WEIGHTS values. Means over every judged query, one that
 * the runs lack counting 0. Errors: a document of `reranked` that `first` has not, a score of a
 * candidate that is not finite, nothing reranked. */
int tandem_fusion_fit(tandem_fusion *out, double *curve, const tandem_run *first, const tandem_run *reranked, const tandem_qrels *qrels, const tandem_metric *metric);
/* Ranks by (1 - weight) * standardized first + weight * standardized reranked score. Documents that the
 * reranker did not see follow below, in first-stage order. Errors as for fitting. */
int tandem_fusion_apply(tandem_run **out, const char *name, const tandem_fusion *fusion, const tandem_run *first, const tandem_run *reranked);

/* ---- one query at a time -------------------------------------------------------------- */
typedef struct {
    const char *const *models; /* [model_count] directories of bi-encoders, or "bm25" */
    size_t model_count;        /* > 0 */
    tandem_hybrid hybrid;      /* how several are joined */
    tandem_bm25_options bm25;
    size_t top;        /* documents of a query, of each model and of all together */
    size_t max_length; /* in tokens; 0: what the model says */
    tandem_precision precision; /* of the bi-encoders */
} tandem_retriever_options;

/* The first stage, loaded: BM25's index, bi-encoders with the embeddings of all documents. */
typedef struct tandem_retriever tandem_retriever;
/* The second: a cross-encoder with the token ids of all documents. */
typedef struct tandem_reranker tandem_reranker;

/* Index, embeddings and ids come from the cache where they can. `dataset` and what `options` points to must
 * outlive the result. */
int tandem_retriever_open(tandem_retriever **out, const tandem_dataset *dataset,
                          const tandem_retriever_options *options);
void tandem_retriever_free(tandem_retriever *retriever); /* NULL is fine */
/* Stages: each model and, of more than one, what they are joined to; so the last one is the result. */
size_t tandem_retriever_stages(const tandem_retriever *retriever);
const char *tandem_retriever_stage(const tandem_retriever *retriever, size_t index); /* its name; borrowed */
/* The run of each stage, of the one query, and the seconds that it took, both [stages]. The caller frees the runs. */
int tandem_retriever_search(tandem_run **stages, double *seconds, const tandem_retriever *retriever,
                            const tandem_text *query);

int tandem_reranker_open(tandem_reranker **out, const char *directory, const tandem_dataset *dataset,
                         size_t max_length, tandem_precision precision);
void tandem_reranker_free(tandem_reranker *reranker); /* NULL is fine */
const char *tandem_reranker_name(const tandem_reranker *reranker);
/* A run of the logits of the first `depth` candidates, what tandem_rerank gives for the query. */
int tandem_reranker_score(tandem_run **out, const tandem_reranker *reranker, const tandem_text *query,
                          const tandem_ranking *candidates, size_t depth);

/* Of times in any order: the mean and, by nearest rank, percentiles. No times: all 0. */
typedef struct {
    double mean, p50, p90, p99; /* seconds */
} tandem_latency;

int tandem_latency_of(tandem_latency *out, const double *seconds, size_t count);
/* Marks those that no other one beats: none is at least as good and at most as costly, and better in one. Of equal
 * ones the first. */
void tandem_pareto_front(bool *front, const double *quality, const double *cost, size_t count);

#ifdef __cplusplus
}
#endif
#endif
