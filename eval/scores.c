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

/* Fills row by row with stride `queries`, the number of queries that are scored. */
static int score_queries(tandem_scores *out, const tandem_qrels *qrels, const tandem_run *run,
                         const tandem_metric *metrics, const tandem_score_options *options, judge *j)
{
    size_t next = 0;
    for (size_t i = 0; i < tandem_qrels_count(qrels); i++) {
        const tandem_judged_query *judged = tandem_qrels_query(qrels, i);
        const tandem_ranking *ranking = tandem_run_find(run, judged->query_id);
        if (!ranking && options->common) {
            continue;
        }
        judged_ranking r;
        TANDEM_TRY(judge_query(j, &r, judged, ranking, options));
        out->query_ids[next] = judged->query_id;
        for (size_t m = 0; m < out->metric_count; m++) {
            out->values[m * out->query_count + next] = metric_value(&metrics[m], &r);
        }
        next++;
    }
    return TANDEM_OK;
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
    judge j = {0};
    out->query_count = options->common ? common : judged;
    out->unjudged = unjudged;
    out->missing = judged - common;
    int rc = reserve(out, out->query_count, metric_count);
    if (rc >= 0) {
        rc = score_queries(out, qrels, run, metrics, options, &j);
    }
    out->self_excluded = j.self_excluded;
    judge_free(&j);
    if (rc < 0) {
        tandem_scores_free(out);
        return rc;
    }
    for (size_t m = 0; m < metric_count; m++) {
        out->means[m] = tandem_metric_summarize(&metrics[m], out->values + m * out->query_count, out->query_count);
    }
    return TANDEM_OK;
}
