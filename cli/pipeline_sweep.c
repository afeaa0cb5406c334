/* pipeline_sweep.c - rerankers at several depths: what each is worth, what each costs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/pipeline.h"
#include "tandem/log.h"
#include "tandem/machine.h"

/* What all points share. */
typedef struct {
    const pipeline *p;
    const tandem_qrels *qrels;
    const tandem_text *queries;
    size_t count;
    const tandem_run *first; /* of the queries */
    const double *seconds;   /* [count] that it took */
    size_t *depths;
    size_t depth_count, deepest;
} sweep;

/* One reranker's scores to the deepest depth. */
typedef struct {
    tandem_reranker *reranker;
    tandem_run *scored;
    tandem_run *dev_first, *dev_scored; /* with rerank.dev_split */
    tandem_qrels *dev_qrels;
} candidate;

static int add_point(pipeline_report *report, pipeline_point point)
{
    void *points = report->points;
    TANDEM_TRY(tandem_grow(&points, &report->point_room, report->point_count + 1, sizeof point));
    report->points = points;
    report->points[report->point_count++] = point;
    return TANDEM_OK;
}

static int parse_depths(sweep *s)
{
    pipeline_list list;
    int64_t top = s->p->settings.retrieve.top;
    TANDEM_TRY(pipeline_split_list(&list, "sweep.depths", s->p->settings.sweep.depths));
    s->depths = tandem_alloc(list.count, sizeof *s->depths);
    int rc = s->depths ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; i < list.count && rc == TANDEM_OK; i++) {
        char *end;
        errno = 0;
        long long depth = strtoll(list.items[i], &end, 10);
        if (*end || errno || depth < 1 || depth > top) {
            rc = tandem_error_code(TANDEM_USAGE,
                                   "sweep.depths: expected numbers from 1 to retrieve.top %lld, found \"%s\"",
                                   (long long)top, list.items[i]);
        }
        s->depths[s->depth_count++] = (size_t)depth;
        s->deepest = (size_t)depth > s->deepest ? (size_t)depth : s->deepest;
    }
    pipeline_free_list(&list);
    return rc;
}

/* ---- quality ---------------------------------------------------------------------------------- */
/* Of a run of scores, those of the first `depth` candidates. */
static int cut_scored_query(tandem_run *out, const tandem_ranking *first, const tandem_ranking *scored, size_t depth)
{
    size_t count = first->count < depth ? first->count : depth, kept = 0;
    tandem_strmap *wanted = tandem_strmap_new(count);
    tandem_result *results = tandem_alloc(count, sizeof *results);
    int rc = wanted && results ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; i < count && rc >= 0; i++) {
        const char *id = first->results[i].document_id;
        rc = tandem_strmap_add(wanted, id, strlen(id), i, NULL);
    }
    for (size_t i = 0; i < scored->count && rc >= 0; i++) {
        const char *id = scored->results[i].document_id;
        if (tandem_strmap_find(wanted, id, strlen(id), NULL)) {
            results[kept++] = scored->results[i];
        }
    }
    if (rc >= 0) {
        rc = tandem_run_add(out, first->query_id, results, kept);
    }
    tandem_strmap_free(wanted);
    free(results);
    return rc;
}

static int cut_scored(tandem_run **out, const tandem_run *first, const tandem_run *scored, size_t depth)
{
    TANDEM_TRY(tandem_run_new(out, tandem_run_name(scored)));
    int rc = TANDEM_OK;
    for (size_t q = 0; q < tandem_run_count(scored) && rc == TANDEM_OK; q++) {
        const tandem_ranking *ranking = tandem_run_ranking(scored, q);
        rc = cut_scored_query(*out, tandem_run_find(first, ranking->query_id), ranking, depth);
    }
    if (rc < 0) {
        tandem_run_free(*out);
        *out = NULL;
    }
    return rc;
}

static int fit(tandem_fusion *out, const sweep *s, const candidate *c, size_t depth)
{
    *out = (tandem_fusion)TANDEM_FUSION_INIT;
    if (!c->dev_first) {
        return TANDEM_OK;
    }
    tandem_run *scored;
    TANDEM_TRY(cut_scored(&scored, c->dev_first, c->dev_scored, depth));
    int rc = tandem_fusion_fit(out, NULL, c->dev_first, scored, c->dev_qrels, &s->p->metrics[0]);
    tandem_run_free(scored);
    return rc;
}

static int measure_quality(pipeline_point *point, const sweep *s, const candidate *c)
{
    tandem_fusion fusion;
    tandem_run *scored = NULL, *ranked = NULL;
    TANDEM_TRY(fit(&fusion, s, c, point->depth));
    point->weight = fusion.weight;
    int rc = cut_scored(&scored, s->first, c->scored, point->depth);
    if (rc == TANDEM_OK) {
        rc = tandem_fusion_apply(&ranked, "sweep", &fusion, s->first, scored);
    }
    if (rc == TANDEM_OK) {
        rc = pipeline_metric(&point->quality, &s->p->metrics[0], s->qrels, ranked);
    }
    tandem_run_free(scored);
    tandem_run_free(ranked);
    return rc;
}

/* ---- cost ----------------------------------------------------------------------------------------- */
/* On sweep.queries queries, evenly spread. */
static int measure_latency(pipeline_point *point, const sweep *s, const tandem_reranker *reranker)
{
    size_t wanted = (size_t)s->p->settings.sweep.queries, sample = wanted < s->count ? wanted : s->count;
    double *seconds = tandem_alloc(sample, sizeof *seconds);
    int rc = seconds ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; i < sample && rc == TANDEM_OK; i++) {
        size_t q = i * s->count / sample;
        seconds[i] = s->seconds[q];
        if (reranker) {
            tandem_run *scored;
            double start = tandem_seconds();
            rc = tandem_reranker_score(&scored, reranker, &s->queries[q], tandem_run_find(s->first, s->queries[q].id),
                                       point->depth);
            seconds[i] += tandem_seconds() - start;
            tandem_run_free(scored);
        }
        if (tandem_interrupted()) {
            rc = tandem_error_code(TANDEM_INTERRUPTED, "interrupted in the sweep");
        }
    }
    if (rc == TANDEM_OK) {
        rc = tandem_latency_of(&point->latency, seconds, sample);
    }
    free(seconds);
    return rc;
}

/* ---- the points ------------------------------------------------------------------------------------- */
static int open_candidate(candidate *out, const sweep *s, const char *directory)
{
    const pipeline_settings *settings = &s->p->settings;
    TANDEM_TRY(pipeline_open_reranker(&out->reranker, s->p, directory));
    TANDEM_TRY(pipeline_score_all(&out->scored, out->reranker, s->first, s->queries, s->count, s->deepest));
    return settings->rerank.dev_split ? pipeline_dev_runs(&out->dev_first, &out->dev_scored, s->p, out->reranker,
                                                          &out->dev_qrels, s->deepest)
                                      : TANDEM_OK;
}

static void close_candidate(candidate *c)
{
    tandem_reranker_free(c->reranker);
    tandem_run_free(c->scored);
    tandem_run_free(c->dev_first);
    tandem_run_free(c->dev_scored);
    tandem_qrels_free(c->dev_qrels);
}

static int sweep_reranker(pipeline_report *report, const sweep *s, const char *directory)
{
    candidate c = {0};
    int rc = open_candidate(&c, s, directory);
    for (size_t i = 0; i < s->depth_count && rc == TANDEM_OK; i++) {
        pipeline_point point = {.depth = s->depths[i]};
        TANDEM_TRY_GOTO(rc, done, measure_quality(&point, s, &c));
        TANDEM_TRY_GOTO(rc, done, measure_latency(&point, s, c.reranker));
        point.reranker = tandem_strdup(tandem_reranker_name(c.reranker));
        rc = point.reranker ? add_point(report, point) : TANDEM_ERROR;
        if (rc < 0) {
            free(point.reranker);
        }
    }
done:
    close_candidate(&c);
    return rc;
}

static int sweep_all(pipeline_report *report, const sweep *s, const char *models)
{
    pipeline_list list = {0};
    pipeline_point alone = {.depth = 0};
    TANDEM_TRY(pipeline_metric(&alone.quality, &s->p->metrics[0], s->qrels, s->first));
    TANDEM_TRY(measure_latency(&alone, s, NULL));
    TANDEM_TRY(add_point(report, alone));
    TANDEM_TRY(pipeline_split_list(&list, "sweep.models", models));
    int rc = TANDEM_OK;
    for (size_t i = 0; i < list.count && rc == TANDEM_OK; i++) {
        rc = sweep_reranker(report, s, list.items[i]);
    }
    pipeline_free_list(&list);
    return rc;
}

/* The median of the whole query is its cost. */
static int mark_front(pipeline_report *report)
{
    size_t count = report->point_count;
    double *numbers = tandem_alloc(2 * count, sizeof *numbers);
    bool *front = tandem_alloc(count, sizeof *front);
    if (numbers && front) {
        for (size_t i = 0; i < count; i++) {
            numbers[i] = report->points[i].quality;
            numbers[count + i] = report->points[i].latency.p50;
        }
        tandem_pareto_front(front, numbers, numbers + count, count);
        for (size_t i = 0; i < count; i++) {
            report->points[i].front = front[i];
        }
    }
    int rc = numbers && front ? TANDEM_OK : TANDEM_ERROR;
    free(numbers);
    free(front);
    return rc;
}

int pipeline_sweep(pipeline_report *report, const pipeline *p, const tandem_qrels *qrels, const tandem_text *queries,
                   size_t count, const tandem_run *first, const double *seconds)
{
    sweep s = {.p = p, .qrels = qrels, .queries = queries, .count = count, .first = first, .seconds = seconds};
    const char *models = p->settings.sweep.models ? p->settings.sweep.models : p->settings.rerank.model;
    int rc = models ? parse_depths(&s)
                    : tandem_error_code(TANDEM_USAGE, "--sweep: neither sweep.models nor rerank.model names a reranker");
    if (rc == TANDEM_OK) {
        rc = sweep_all(report, &s, models);
    }
    if (rc == TANDEM_OK) {
        rc = mark_front(report);
    }
    free(s.depths);
    return rc;
}
