/* fusion.c - joining the scores of the two stages. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/run.h"
#include "tandem/memory.h"
#include "tandem/pipeline.h"

/* ---- the two runs side by side -------------------------------------------------------- */
/* One query: reranked[i] is the second stage's score of first->results[i], NaN where it
 * did not see the document. */
typedef struct {
    const tandem_ranking *first;
    double *reranked;
    size_t candidates; /* documents that both stages scored */
} joined_query;

typedef struct {
    joined_query *queries;
    size_t count;
    size_t longest; /* ranking */
    tandem_arena *arena;
} joined_run;

static void joined_free(joined_run *joined)
{
    free(joined->queries);
    tandem_arena_free(joined->arena);
}

static int join_result(joined_query *q, const tandem_strmap *positions, const tandem_result *result)
{
    size_t at;
    if (!tandem_strmap_find(positions, result->document_id, strlen(result->document_id), &at)) {
        return tandem_error("query '%s': document '%s' is in the reranked run, not in the first stage's",
                            q->first->query_id, result->document_id);
    }
    q->reranked[at] = result->score;
    return TANDEM_OK;
}

static int join_query(joined_query *q, tandem_arena *arena, const tandem_ranking *first, const tandem_ranking *reranked)
{
    q->first = first;
    q->candidates = reranked ? reranked->count : 0;
    q->reranked = tandem_arena_alloc(arena, first->count, sizeof *q->reranked);
    tandem_strmap *positions = tandem_strmap_new(first->count);
    int rc = q->reranked && positions ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; rc >= 0 && i < first->count; i++) {
        const char *id = first->results[i].document_id;
        q->reranked[i] = (double)NAN;
        rc = tandem_strmap_add(positions, id, strlen(id), i, NULL);
    }
    for (size_t i = 0; rc >= 0 && i < q->candidates; i++) {
        rc = join_result(q, positions, &reranked->results[i]);
    }
    tandem_strmap_free(positions);
    return rc < 0 ? rc : TANDEM_OK;
}

/* On failure, too, the caller calls joined_free. */
static int join_runs(joined_run *out, const tandem_run *first, const tandem_run *reranked)
{
    *out = (joined_run){0};
    for (size_t i = 0; i < tandem_run_count(reranked); i++) {
        const char *id = tandem_run_ranking(reranked, i)->query_id;
        if (!tandem_run_find(first, id)) {
            return tandem_error("query '%s' is in the reranked run, not in the first stage's", id);
        }
    }
    out->queries = tandem_alloc(tandem_run_count(first), sizeof *out->queries);
    out->arena = tandem_arena_new();
    if (!out->queries || !out->arena) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < tandem_run_count(first); i++) {
        const tandem_ranking *ranking = tandem_run_ranking(first, i);
        TANDEM_TRY(join_query(&out->queries[out->count++], out->arena, ranking,
                              tandem_run_find(reranked, ranking->query_id)));
        out->longest = ranking->count > out->longest ? ranking->count : out->longest;
    }
    return TANDEM_OK;
}

/* ---- applying -------------------------------------------------------------------------- */
static double blend(const tandem_fusion *fusion, double first, double reranked)
{
    /* At the ends the other stage must not matter, not even where it is infinite. */
    if (fusion->weight <= 0.0) {
        return (first - fusion->first_mean) / fusion->first_deviation;
    }
    double second = (reranked - fusion->rerank_mean) / fusion->rerank_deviation;
    if (fusion->weight >= 1.0) {
        return second;
    }
    return (1.0 - fusion->weight) * ((first - fusion->first_mean) / fusion->first_deviation) + fusion->weight * second;
}

static int fuse_query(tandem_run *out, const tandem_fusion *fusion, const joined_query *q, tandem_result *results)
{
    double lowest = 0.0;
    bool any = false;
    for (size_t i = 0; i < q->first->count; i++) {
        results[i] = q->first->results[i];
        if (!isnan(q->reranked[i])) {
            results[i].score = blend(fusion, q->first->results[i].score, q->reranked[i]);
            if (!isfinite(results[i].score)) {
                return tandem_error("query '%s', document '%s': the fused score is not finite", q->first->query_id,
                                    results[i].document_id);
            }
            lowest = any ? fmin(lowest, results[i].score) : results[i].score;
            any = true;
        }
    }
    /* The rest follows in its order, one apart: no tie, and nothing rises above. */
    for (size_t i = 0; i < q->first->count; i++) {
        if (isnan(q->reranked[i])) {
            lowest -= 1.0;
            results[i].score = lowest;
        }
    }
    return tandem_run_add(out, q->first->query_id, results, q->first->count);
}

static int fuse(tandem_run **out, const char *name, const tandem_fusion *fusion, const joined_run *joined)
{
    TANDEM_TRY(tandem_run_new(out, name));
    tandem_result *results = tandem_alloc(joined->longest, sizeof *results);
    int rc = results ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; rc >= 0 && i < joined->count; i++) {
        rc = fuse_query(*out, fusion, &joined->queries[i], results);
    }
    free(results);
    if (rc < 0) {
        tandem_run_free(*out);
        *out = NULL;
    }
    return rc;
}

int tandem_fusion_apply(tandem_run **out, const char *name, const tandem_fusion *fusion, const tandem_run *first,
                        const tandem_run *reranked)
{
    *out = NULL;
    joined_run joined;
    int rc = join_runs(&joined, first, reranked);
    if (rc >= 0) {
        rc = fuse(out, name, fusion, &joined);
    }
    joined_free(&joined);
    return rc;
}

/* ---- fitting ------------------------------------------------------------------------------ */
/* Of a population; where all values are one, the deviation is 1. */
static int mean_and_deviation(double *mean, double *deviation, const double *values, size_t count, const char *what)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += values[i];
    }
    *mean = sum / (double)count;
    for (size_t i = 0; i < count; i++) {
        squares += (values[i] - *mean) * (values[i] - *mean);
    }
    *deviation = squares > 0.0 ? sqrt(squares / (double)count) : 1.0;
    return isfinite(*mean) && isfinite(*deviation) ? TANDEM_OK
                                                   : tandem_error("the %s scores are not all finite", what);
}

static int standardize(tandem_fusion *fusion, const joined_run *joined)
{
    size_t count = 0, next = 0;
    for (size_t i = 0; i < joined->count; i++) {
        count += joined->queries[i].candidates;
    }
    if (count == 0) {
        return tandem_error("no document was reranked: there is nothing to fit a weight on");
    }
    double *first = tandem_alloc(count, sizeof *first), *reranked = tandem_alloc(count, sizeof *reranked);
    int rc = first && reranked ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; rc >= 0 && i < joined->count; i++) {
        const joined_query *q = &joined->queries[i];
        for (size_t d = 0; d < q->first->count; d++) {
            if (!isnan(q->reranked[d])) {
                first[next] = q->first->results[d].score;
                reranked[next++] = q->reranked[d];
            }
        }
    }
    if (rc >= 0) {
        rc = mean_and_deviation(&fusion->first_mean, &fusion->first_deviation, first, count, "first stage's");
    }
    if (rc >= 0) {
        rc = mean_and_deviation(&fusion->rerank_mean, &fusion->rerank_deviation, reranked, count, "reranker's");
    }
    free(first);
    free(reranked);
    return rc;
}

static int try_weight(double *value, const tandem_fusion *fusion, const joined_run *joined, const tandem_qrels *qrels,
                      const tandem_metric *metric)
{
    tandem_run *run;
    tandem_scores scores;
    TANDEM_TRY(fuse(&run, "fused", fusion, joined));
    int rc = tandem_scores_compute(&scores, qrels, run, metric, 1, NULL);
    if (rc >= 0) {
        *value = scores.means[0];
        tandem_scores_free(&scores);
    }
    tandem_run_free(run);
    return rc;
}

int tandem_fusion_fit(tandem_fusion *out, double *curve, const tandem_run *first, const tandem_run *reranked,
                      const tandem_qrels *qrels, const tandem_metric *metric)
{
    tandem_fusion fusion = {0};
    joined_run joined;
    double best_value = 0.0, best_weight = 0.0;
    int rc;
    TANDEM_TRY_GOTO(rc, done, join_runs(&joined, first, reranked));
    TANDEM_TRY_GOTO(rc, done, standardize(&fusion, &joined));
    for (size_t i = 0; i < TANDEM_FUSION_WEIGHTS; i++) {
        double value;
        fusion.weight = (double)i / (TANDEM_FUSION_WEIGHTS - 1);
        TANDEM_TRY_GOTO(rc, done, try_weight(&value, &fusion, &joined, qrels, metric));
        if (curve) {
            curve[i] = value;
        }
        /* Means of one set of values summed in one order: an equal ranking gives an equal double. */
        if (i == 0 || value > best_value) {
            best_value = value;
            best_weight = fusion.weight;
        }
    }
    fusion.weight = best_weight;
    *out = fusion;
done:
    joined_free(&joined);
    return rc;
}
