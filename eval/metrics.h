/* metrics.h - private to eval/: what a metric sees of a query. */
#ifndef TANDEM_EVAL_METRICS_H
#define TANDEM_EVAL_METRICS_H

#include "tandem/metrics.h"

/* A ranking reduced to grades. */
typedef struct {
    const int32_t *grades; /* [retrieved] in rank order; 0 where a document was not judged */
    size_t retrieved;
    const int32_t *ideal; /* [relevant] grades of the relevant documents, descending */
    size_t relevant;
} judged_ranking;

/* Scratch that is reused from query to query; zeroed at first. */
typedef struct {
    const tandem_judgment **judgments; /* of one query, by document id */
    int32_t *ideal;
    int32_t *grades;
    size_t judgment_capacity, grade_capacity;
} judge;

/* Looks up the grades of a ranking (NULL: nothing was retrieved). The result lives in
 * `j` until its next use. */
int judge_query(judge *j, judged_ranking *out, const tandem_judged_query *judged, const tandem_ranking *ranking);
void judge_free(judge *j);

double metric_value(const tandem_metric *metric, const judged_ranking *r);

#endif
