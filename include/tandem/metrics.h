/* metrics.h - retrieval metrics, exactly trec_eval's, in doubles. */
#ifndef TANDEM_METRICS_H
#define TANDEM_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/qrels.h"
#include "tandem/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "ndcg@10", "ndcg", "recall@100", "map", "map@100", "precision@10" ("p@10"), "mrr@10", "mrr" ("recip_rank"),
 * "rprec", "success@5" ("hit@5"); trec_eval's names (ndcg_cut_10, recall_100, P_10, map_cut_100, Rprec,
 * success_5) mean the same. Letters may be of either case. Gains are linear (grade); relevant are
 * grades of at least 1, and a negative grade counts as none; map divides by all relevant documents of
 * the qrels, precision by its cutoff however few were retrieved. A query without a relevant
 * document has 0 by every metric. */
typedef struct {
    int kind;      /* index in the metric table */
    size_t cutoff; /* 0: none */
    char name[32]; /* canonical, e.g. "ndcg@10" */
} tandem_metric;

/* TANDEM_USAGE, with the nearest known name, when `text` names no metric. */
int tandem_metric_parse(tandem_metric *out, const char *text);

/* Row `index` of the table of metrics, for help: how it is spelled ("ndcg[@K]"), or NULL past the end,
 * and its definition in one line. */
const char *tandem_metric_describe(size_t index, const char **definition);

/* One query. `ranking` NULL: nothing was retrieved. NaN, with the message set, when memory is out. */
double tandem_metric_query(const tandem_metric *metric, const tandem_judged_query *judged, const tandem_ranking *ranking);

/* All queries of a run. */
typedef struct {
    size_t query_count, metric_count;
    const char **query_ids;  /* [query_count], strcmp order, borrowed from the qrels */
    double *values;          /* [metric_count, query_count] */
    double *means;           /* [metric_count] */
    size_t missing;          /* judged queries that the run lacks */
    size_t unjudged;         /* run queries that the qrels lack: not scored */
} tandem_scores;

/* `complete` true averages over every judged query, a missing one counting 0 (trec_eval
 * -c); false over those in both. Not one query in both is an error: the files do not belong
 * together. On failure *out is zeroed. */
int tandem_scores_compute(tandem_scores *out, const tandem_qrels *qrels, const tandem_run *run,
                          const tandem_metric *metrics, size_t metric_count, bool complete);
void tandem_scores_free(tandem_scores *scores);

#ifdef __cplusplus
}
#endif
#endif
