/* scores.c - metrics over all queries of a run. */
#include <stdlib.h>

#include "eval/metrics.h"
#include "tandem/memory.h"

void tandem_scores_free(tandem_scores *scores)
{
    free(scores->query_ids);
    free(scores->values);
    free(scores->means);
    *scores = (tandem_scores){0};
}

static size_t count_unjudged(const tandem_qrels *qrels, const tandem_run *run)
{
    size_t unjudged = 0;
    for (size_t i = 0; i < tandem_run_count(run); i++) {
        unjudged += !tandem_qrels_find(qrels, tandem_run_ranking(run, i)->query_id);
    }
    return unjudged;
}

static int reserve(tandem_scores *out, size_t queries, size_t metrics)
{
    size_t cells;
    if (!tandem_size_mul(&cells, queries, metrics)) {
        return tandem_error("out of memory: %zu values of %zu queries", metrics, queries);
    }
    out->metric_count = metrics;
    out->query_ids = tandem_alloc(queries, sizeof *out->query_ids);
    out->values = tandem_alloc(cells, sizeof *out->values);
    out->means = tandem_alloc(metrics, sizeof *out->means);
    return out->query_ids && out->values && out->means ? TANDEM_OK : TANDEM_ERROR;
}

typedef struct {
    const tandem_judged_query *judged;
    const tandem_ranking *ranking; /* NULL: the run lacks it */
} scored_query;

/* The queries that are scored, in strcmp order; the caller frees them. */
static scored_query *select_queries(tandem_scores *out, const tandem_qrels *qrels, const tandem_run *run, bool common)
{
    scored_query *queries = tandem_alloc(out->query_count, sizeof *queries);
    size_t next = 0;
    for (size_t i = 0; queries && i < tandem_qrels_count(qrels); i++) {
        const tandem_judged_query *judged = tandem_qrels_query(qrels, i);
        const tandem_ranking *ranking = tandem_run_find(run, judged->query_id);
        if (ranking || !common) {
            out->query_ids[next] = judged->query_id;
            queries[next++] = (scored_query){judged, ranking};
        }
    }
    return queries;
}

static int score_query(tandem_scores *out, size_t index, const scored_query *query, const tandem_metric *metrics,
                       const tandem_score_options *options, judge *j)
{
    judged_ranking r;
    TANDEM_TRY(judge_query(j, &r, query->judged, query->ranking, options));
    for (size_t m = 0; m < out->metric_count; m++) {
        out->values[m * out->query_count + index] = metric_value(&metrics[m], &r);
    }
    return TANDEM_OK;
}

static int score_queries(tandem_scores *out, const scored_query *queries, const tandem_metric *metrics,
                         const tandem_score_options *options)
{
    bool failed = false;
    size_t self_excluded = 0;
#pragma omp parallel reduction(|| : failed) reduction(+ : self_excluded)
    {
        judge j = {0};
#pragma omp for schedule(dynamic, 16)
        for (size_t i = 0; i < out->query_count; i++) {
            failed = score_query(out, i, &queries[i], metrics, options, &j) < 0 || failed;
        }
        self_excluded += j.self_excluded;
        judge_free(&j);
    }
    out->self_excluded = self_excluded;
    return failed ? tandem_error("out of memory: grades of %zu queries", out->query_count) : TANDEM_OK;
}

int tandem_scores_compute(tandem_scores *out, const tandem_qrels *qrels, const tandem_run *run,
                          const tandem_metric *metrics, size_t metric_count, const tandem_score_options *options)
{
    static const tandem_score_options defaults = TANDEM_SCORE_OPTIONS_INIT;
    *out = (tandem_scores){0};
    options = options ? options : &defaults;
    size_t judged = tandem_qrels_count(qrels);
    size_t unjudged = count_unjudged(qrels, run);
    size_t common = tandem_run_count(run) - unjudged;
    if (common == 0) {
        return tandem_error("none of the run's queries (%zu) is among those of the qrels (%zu)",
                            tandem_run_count(run), judged);
    }
    out->query_count = options->common ? common : judged;
    out->unjudged = unjudged;
    out->missing = judged - common;
    int rc = reserve(out, out->query_count, metric_count);
    scored_query *queries = rc < 0 ? NULL : select_queries(out, qrels, run, options->common);
    rc = queries ? score_queries(out, queries, metrics, options) : TANDEM_ERROR;
    free(queries);
    if (rc < 0) {
        tandem_scores_free(out);
        return rc;
    }
    for (size_t m = 0; m < metric_count; m++) {
        out->means[m] = tandem_metric_summarize(&metrics[m], out->values + m * out->query_count, out->query_count);
    }
    return TANDEM_OK;
}
