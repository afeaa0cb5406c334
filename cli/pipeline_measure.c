/* pipeline_measure.c - the queries of a split, answered one at a time: quality after each stage, and times. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/pipeline.h"
#include "tandem/log.h"
#include "tandem/machine.h"

/* ---- all queries through all stages ----------------------------------------------------------- */
typedef struct {
    tandem_run **runs; /* [stages] of all queries */
    double *seconds;   /* [stages, queries] */
    double *totals;    /* [queries] */
    size_t stages, queries;
} answers;

static void free_answers(answers *a)
{
    for (size_t i = 0; a->runs && i < a->stages; i++) {
        tandem_run_free(a->runs[i]);
    }
    free(a->runs);
    free(a->seconds);
    free(a->totals);
}

static int make_answers(answers *out, const pipeline *p, size_t queries)
{
    *out = (answers){.stages = pipeline_stages(p), .queries = queries};
    out->runs = tandem_alloc(out->stages, sizeof *out->runs);
    out->seconds = tandem_alloc(out->stages * queries, sizeof *out->seconds);
    out->totals = tandem_alloc(queries, sizeof *out->totals);
    if (!out->runs || !out->seconds || !out->totals) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < out->stages; i++) {
        TANDEM_TRY(tandem_run_new(&out->runs[i], pipeline_stage_name(p, i)));
    }
    return TANDEM_OK;
}

static int keep_answer(answers *a, const pipeline_answer *answer, size_t query)
{
    for (size_t i = 0; i < a->stages; i++) {
        const tandem_ranking *ranking = tandem_run_ranking(answer->runs[i], 0);
        TANDEM_TRY(tandem_run_add(a->runs[i], ranking->query_id, ranking->results, ranking->count));
        a->seconds[i * a->queries + query] = answer->seconds[i];
        a->totals[query] += answer->seconds[i];
    }
    return TANDEM_OK;
}

/* The first query is asked twice: what happens only once is not timed. */
static int ask_all(answers *out, const pipeline *p, const tandem_text *queries, size_t count)
{
    pipeline_answer answer = {0};
    tandem_progress *progress = tandem_progress_new("answering", "queries", count);
    int rc = pipeline_answer_new(&answer, p);
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, make_answers(out, p, count));
    TANDEM_TRY_GOTO(rc, done, pipeline_ask(&answer, p, &queries[0]));
    for (size_t q = 0; q < count && rc == TANDEM_OK; q++) {
        rc = pipeline_ask(&answer, p, &queries[q]);
        if (rc == TANDEM_OK) {
            rc = keep_answer(out, &answer, q);
        }
        if (tandem_interrupted()) {
            rc = tandem_error_code(TANDEM_INTERRUPTED, "interrupted after %zu queries", q + 1);
        }
        tandem_progress_update(progress, q + 1, NULL);
    }
done:
    tandem_progress_free(progress);
    pipeline_answer_free(&answer);
    return rc;
}

int pipeline_score_all(tandem_run **out, const tandem_reranker *reranker, const tandem_run *first,
                       const tandem_text *queries, size_t count, size_t depth)
{
    tandem_progress *progress = tandem_progress_new("reranking", "queries", count);
    int rc = tandem_run_new(out, tandem_reranker_name(reranker));
    for (size_t q = 0; q < count && rc == TANDEM_OK; q++) {
        tandem_run *scored;
        rc = tandem_reranker_score(&scored, reranker, &queries[q], tandem_run_find(first, queries[q].id), depth);
        if (rc == TANDEM_OK) {
            const tandem_ranking *ranking = tandem_run_ranking(scored, 0);
            rc = tandem_run_add(*out, ranking->query_id, ranking->results, ranking->count);
            tandem_run_free(scored);
        }
        if (tandem_interrupted()) {
            rc = tandem_error_code(TANDEM_INTERRUPTED, "interrupted after %zu queries", q + 1);
        }
        tandem_progress_update(progress, q + 1, NULL);
    }
    tandem_progress_free(progress);
    if (rc < 0) {
        tandem_run_free(*out);
        *out = NULL;
    }
    return rc;
}

/* The first stage's run of all queries. */
static int retrieve_all(tandem_run **out, const pipeline *p, const tandem_text *queries, size_t count)
{
    pipeline_answer answer = {0};
    size_t last = tandem_retriever_stages(p->retriever) - 1;
    int rc = pipeline_answer_new(&answer, p);
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_run_new(out, tandem_retriever_stage(p->retriever, last)));
    for (size_t q = 0; q < count && rc == TANDEM_OK; q++) {
        rc = tandem_retriever_search(answer.runs, answer.seconds, p->retriever, &queries[q]);
        if (rc == TANDEM_OK) {
            const tandem_ranking *ranking = tandem_run_ranking(answer.runs[last], 0);
            rc = tandem_run_add(*out, ranking->query_id, ranking->results, ranking->count);
        }
        for (size_t i = 0; i <= last; i++) {
            tandem_run_free(answer.runs[i]);
            answer.runs[i] = NULL;
        }
    }
    if (rc < 0) {
        tandem_run_free(*out);
        *out = NULL;
    }
done:
    pipeline_answer_free(&answer);
    return rc;
}

int pipeline_dev_runs(tandem_run **first, tandem_run **scored, const pipeline *p, const tandem_reranker *reranker,
                      tandem_qrels **qrels, size_t depth)
{
    tandem_text *queries = NULL;
    size_t count;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_qrels(qrels, p->dataset, p->settings.rerank.dev_split));
    TANDEM_TRY_GOTO(rc, done, tandem_judged_queries(&queries, &count, p->dataset, *qrels));
    TANDEM_TRY_GOTO(rc, done, retrieve_all(first, p, queries, count));
    rc = pipeline_score_all(scored, reranker, *first, queries, count, depth);
done:
    free(queries);
    return rc;
}

/* ---- what the first stage leaves possible -------------------------------------------------------- */
/* A run of the `depth` best of each query with their grades for scores. */
static int rank_perfectly(tandem_run **out, const tandem_run *run, const tandem_qrels *qrels, size_t depth)
{
    tandem_result *results = tandem_alloc(depth, sizeof *results);
    int rc = results ? tandem_run_new(out, "perfect") : TANDEM_ERROR;
    for (size_t q = 0; q < tandem_run_count(run) && rc == TANDEM_OK; q++) {
        const tandem_ranking *ranking = tandem_run_ranking(run, q);
        const tandem_judged_query *judged = tandem_qrels_find(qrels, ranking->query_id);
        size_t count = ranking->count < depth ? ranking->count : depth;
        for (size_t i = 0; i < count; i++) {
            results[i] = (tandem_result){ranking->results[i].document_id, 0.0};
            for (size_t j = 0; j < judged->count; j++) {
                if (strcmp(judged->judgments[j].document_id, results[i].document_id) == 0) {
                    results[i].score = (double)judged->judgments[j].grade;
                }
            }
        }
        rc = tandem_run_add(*out, ranking->query_id, results, count);
    }
    free(results);
    return rc;
}

int pipeline_metric(double *out, const tandem_metric *metric, const tandem_qrels *qrels, const tandem_run *run)
{
    tandem_scores scores;
    TANDEM_TRY(tandem_scores_compute(&scores, qrels, run, metric, 1, NULL));
    *out = scores.means[0];
    tandem_scores_free(&scores);
    return TANDEM_OK;
}

static int recall_at(double *out, size_t depth, const tandem_qrels *qrels, const tandem_run *run)
{
    char name[40];
    tandem_metric metric;
    snprintf(name, sizeof name, "recall@%zu", depth);
    TANDEM_TRY(tandem_metric_parse(&metric, name));
    return pipeline_metric(out, &metric, qrels, run);
}

static int find_ceiling(pipeline_report *out, const pipeline *p, const tandem_qrels *qrels, const tandem_run *first)
{
    size_t top = (size_t)p->settings.retrieve.top, depth = p->reranker ? (size_t)p->settings.rerank.depth : top;
    tandem_run *perfect = NULL;
    TANDEM_TRY(recall_at(&out->retrieved_recall, top, qrels, first));
    TANDEM_TRY(recall_at(&out->reranked_recall, depth, qrels, first));
    int rc = rank_perfectly(&perfect, first, qrels, depth);
    if (rc == TANDEM_OK) {
        rc = pipeline_metric(&out->ceiling, &p->metrics[0], qrels, perfect);
    }
    tandem_run_free(perfect);
    return rc;
}

/* ---- the report --------------------------------------------------------------------------------------- */
static int cut_run(tandem_run **out, const tandem_run *run, size_t cut)
{
    TANDEM_TRY(tandem_run_new(out, tandem_run_name(run)));
    int rc = TANDEM_OK;
    for (size_t q = 0; q < tandem_run_count(run) && rc == TANDEM_OK; q++) {
        const tandem_ranking *ranking = tandem_run_ranking(run, q);
        rc = tandem_run_add(*out, ranking->query_id, ranking->results, ranking->count < cut ? ranking->count : cut);
    }
    return rc;
}

/* `seconds` NULL: the stage takes no time. */
static int add_stage(pipeline_report *out, const char *name, size_t documents, const tandem_run *run,
                     const double *seconds, const pipeline *p, const tandem_qrels *qrels)
{
    pipeline_stage *stage = &out->stages[out->stage_count++];
    tandem_scores scores;
    *stage = (pipeline_stage){.name = name, .documents = documents};
    TANDEM_TRY(tandem_scores_compute(&scores, qrels, run, p->metrics, p->metric_count, NULL));
    memcpy(stage->means, scores.means, p->metric_count * sizeof *stage->means);
    tandem_scores_free(&scores);
    return seconds ? tandem_latency_of(&stage->latency, seconds, out->query_count) : TANDEM_OK;
}

static int fill_report(pipeline_report *out, tandem_run **final, const pipeline *p, const tandem_qrels *qrels,
                       const answers *a)
{
    size_t retrieving = tandem_retriever_stages(p->retriever);
    out->query_count = a->queries;
    out->stages = tandem_alloc(a->stages + 1, sizeof *out->stages);
    if (!out->stages) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < a->stages; i++) {
        size_t documents = (size_t)(i < retrieving ? p->settings.retrieve.top : p->settings.rerank.depth);
        TANDEM_TRY(add_stage(out, pipeline_stage_name(p, i), documents, a->runs[i], a->seconds + i * a->queries, p, qrels));
    }
    TANDEM_TRY(cut_run(final, a->runs[a->stages - 1], (size_t)p->settings.cut));
    TANDEM_TRY(add_stage(out, "cut", (size_t)p->settings.cut, *final, NULL, p, qrels));
    TANDEM_TRY(tandem_latency_of(&out->total, a->totals, a->queries));
    return find_ceiling(out, p, qrels, a->runs[retrieving - 1]);
}

/* What the first stage took for each query. */
static double *retrieving_seconds(const pipeline *p, const answers *a)
{
    double *seconds = tandem_alloc(a->queries, sizeof *seconds);
    for (size_t i = 0; seconds && i < tandem_retriever_stages(p->retriever); i++) {
        for (size_t q = 0; q < a->queries; q++) {
            seconds[q] += a->seconds[i * a->queries + q];
        }
    }
    return seconds;
}

int pipeline_measure(pipeline_report *out, tandem_run **final, const pipeline *p, bool sweep)
{
    tandem_qrels *qrels = NULL;
    tandem_text *queries = NULL;
    double *seconds = NULL;
    answers a = {0};
    size_t count;
    int rc;
    *out = (pipeline_report){0};
    *final = NULL;
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_qrels(&qrels, p->dataset, p->settings.split));
    TANDEM_TRY_GOTO(rc, done, tandem_judged_queries(&queries, &count, p->dataset, qrels));
    TANDEM_TRY_GOTO(rc, done, ask_all(&a, p, queries, count));
    TANDEM_TRY_GOTO(rc, done, fill_report(out, final, p, qrels, &a));
    if (sweep) {
        seconds = retrieving_seconds(p, &a);
        rc = seconds ? pipeline_sweep(out, p, qrels, queries, count, a.runs[tandem_retriever_stages(p->retriever) - 1],
                                      seconds)
                     : TANDEM_ERROR;
    }
done:
    free(seconds);
    free_answers(&a);
    free(queries);
    tandem_qrels_free(qrels);
    return rc;
}

void pipeline_report_free(pipeline_report *report)
{
    for (size_t i = 0; i < report->point_count; i++) {
        free(report->points[i].reranker);
    }
    free(report->points);
    free(report->stages);
    *report = (pipeline_report){0};
}
