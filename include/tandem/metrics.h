/* metrics.h - retrieval metrics: all of trec_eval's, and those that search adds to them.
 * docs/evaluation.md has the table with definitions and sources. */
#ifndef TANDEM_METRICS_H
#define TANDEM_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/memory.h"
#include "tandem/qrels.h"
#include "tandem/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How values of queries become one of the run. */
typedef enum {
    TANDEM_METRIC_MEAN,
    TANDEM_METRIC_GEOMETRIC, /* exp of the mean of log(max(value, 0.00001)) */
    TANDEM_METRIC_SUM,       /* a count */
    TANDEM_METRIC_QUERIES,   /* the number of queries */
    TANDEM_METRIC_RELEVANCE, /* not a number: the grades of the top results as a text, of each query */
    TANDEM_METRIC_RUN_NAME   /* not a number: the run's name, of the whole */
} tandem_metric_summary;

enum { TANDEM_METRIC_PARAMETERS = 16 };

/* A metric with its parameters. Plain data, to be copied freely. */
typedef struct {
    int kind; /* row of the table; trec_eval prints in this order */
    tandem_metric_summary summary;
    size_t cutoff; /* 0: none */
    double numbers[TANDEM_METRIC_PARAMETERS]; /* what they are depends on the kind */
    size_t number_count;
    struct {
        int32_t grade;
        double gain;
    } gains[TANDEM_METRIC_PARAMETERS]; /* of other grades the gain is the grade; of unjudged ones 0 */
    size_t gain_count;
    char name[64];      /* "ndcg@10" */
    char trec_name[64]; /* "ndcg_cut_10" */
} tandem_metric;

/* One metric that is a number: "ndcg@10", "mrr", "iprec@0.20", and with trec_eval's names and parameters
 * "ndcg_cut_10", "ndcg_cut.10", "ndcg.1=3,2=9". Letters may be of either case. TANDEM_USAGE, with the nearest
 * known name, when `text` names no metric or names several. */
int tandem_metric_parse(tandem_metric *out, const char *text);

typedef enum {
    TANDEM_METRICS_MEANS,   /* TANDEM_METRIC_MEAN alone: what paired tests are for */
    TANDEM_METRICS_NUMBERS,
    TANDEM_METRICS_ALL
} tandem_metric_range;

/* Several, separated by commas: "map,P.5,10,ndcg@10". What looks like a parameter belongs to the metric before it.
 * A metric that wants cutoffs and has none gets trec_eval's; "official", "set" and "all_trec" are trec_eval's lists,
 * in which parameters given elsewhere take the place of the usual ones. The same metric twice is TANDEM_USAGE.
 * What `allowed` does not allow is left out of those lists, and TANDEM_USAGE elsewhere. The caller frees *out,
 * [*count] in the order given; on failure it is NULL. */
int tandem_metrics_parse(tandem_metric **out, size_t *count, const char *list, tandem_metric_range allowed);

/* Puts metrics in the order in which trec_eval prints them. */
void tandem_metrics_sort(tandem_metric *metrics, size_t count);

/* Row `index` of the table of metrics, for help: how it is spelled ("ndcg@K"), or NULL past the end; its
 * name in trec_eval (NULL: none), and its definition in one line. */
const char *tandem_metric_describe(size_t index, const char **trec_name, const char **definition);

typedef struct {
    bool common;         /* over the queries in both run and qrels; false: over all of the qrels (trec_eval -c) */
    int32_t level;       /* relevant are grades from this on; at least 1 (trec_eval -l) */
    size_t depth;        /* only so many results of a query count; 0: all (trec_eval -M) */
    bool judged_only;    /* results without a judgment, or with a negative one, are left out (trec_eval -J) */
    bool exclude_self;   /* results whose id is the query's are left out, before `depth` counts (BEIR) */
} tandem_score_options;

#define TANDEM_SCORE_OPTIONS_INIT {.level = 1}

/* One query. `ranking` NULL: nothing was retrieved. `options` NULL: the defaults. NaN, with the message set,
 * when memory is out. */
double tandem_metric_query(const tandem_metric *metric, const tandem_judged_query *judged,
                           const tandem_ranking *ranking, const tandem_score_options *options);

/* trec_eval's relstring, appended: of the first `length` results one character each: the grade to 9, '>' above,
 * '.' where it is negative, '-' where there is none. */
int tandem_relevance_string(tandem_buffer *out, const tandem_judged_query *judged, const tandem_ranking *ranking,
                            const tandem_score_options *options, size_t length);

/* All queries of a run. */
typedef struct {
    size_t query_count, metric_count;
    const char **query_ids;  /* [query_count], strcmp order, borrowed from the qrels */
    double *values;          /* [metric_count, query_count]; 0 of metrics that are not numbers */
    double *means;           /* [metric_count], or what the metric's summary is */
    size_t missing;          /* judged queries that the run lacks; by every metric as if nothing was retrieved */
    size_t unjudged;         /* run queries that the qrels lack: not scored */
    size_t self_excluded;    /* results left out because of `exclude_self` */
} tandem_scores;

/* `options` NULL: the defaults. Not one query in both is an error: the files do not belong together. On failure
 * *out is zeroed. */
int tandem_scores_compute(tandem_scores *out, const tandem_qrels *qrels, const tandem_run *run,
                          const tandem_metric *metrics, size_t metric_count, const tandem_score_options *options);
void tandem_scores_free(tandem_scores *scores);

/* What `count` values of queries come to, by the metric's summary. */
double tandem_metric_summarize(const tandem_metric *metric, const double *values, size_t count);

#ifdef __cplusplus
}
#endif
#endif
