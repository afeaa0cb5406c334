/* hybrid.c - several runs of the same queries joined into one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/run.h"
#include "tandem/memory.h"
#include "tandem/pipeline.h"

/* The documents of a query, from all runs. */
typedef struct {
    tandem_result *results; /* [count] the sums so far */
    size_t *last_run;       /* [count] that added to it, plus one */
    size_t count, capacity, marks;
    tandem_strmap *places; /* id -> index in results */
} pool;

/* How a ranking's scores become comparable: value = (score - shift) / divisor, and by reciprocal rank where
 * divisor is 0. A document that is not in it has `missing`. */
typedef struct {
    double shift, divisor, missing;
} scaling;

static double weight_of(const tandem_hybrid *how, size_t run)
{
    return how->weights ? how->weights[run] : 1.0;
}

static int check(const tandem_run *const *runs, size_t count, const tandem_hybrid *how)
{
    if (!(how->rrf_k >= 0 && isfinite(how->rrf_k))) {
        return tandem_error_code(TANDEM_USAGE, "reciprocal rank fusion with k %g; expected k >= 0", how->rrf_k);
    }
    double sum = 0.0;
    for (size_t r = 0; r < count; r++) {
        if (!(weight_of(how, r) >= 0 && isfinite(weight_of(how, r)))) {
            return tandem_error_code(TANDEM_USAGE, "the weight of run '%s' is %g; expected 0 or more",
                                     tandem_run_name(runs[r]), weight_of(how, r));
        }
        sum += weight_of(how, r);
    }
    return sum > 0 ? TANDEM_OK : tandem_error_code(TANDEM_USAGE, "no run has a weight above 0");
}

/* ---- one query --------------------------------------------------------------------------- */
static int scale_standard(scaling *out, const tandem_ranking *ranking)
{
    double mean = 0.0, squares = 0.0, count = (double)ranking->count;
    for (size_t i = 0; i < ranking->count; i++) {
        mean += ranking->results[i].score / count;
    }
    for (size_t i = 0; i < ranking->count; i++) {
        squares += (ranking->results[i].score - mean) * (ranking->results[i].score - mean);
    }
    double deviation = squares > 0 ? sqrt(squares / count) : 1.0;
    *out = (scaling){mean, deviation, (ranking->results[ranking->count - 1].score - mean) / deviation};
    return TANDEM_OK;
}

/* For a ranking that is not empty. */
static int find_scaling(scaling *out, const tandem_hybrid *how, const tandem_ranking *ranking)
{
    double best = ranking->results[0].score, worst = ranking->results[ranking->count - 1].score;
    *out = (scaling){0.0, 0.0, 0.0};
    if (how->method == TANDEM_HYBRID_RRF) {
        return TANDEM_OK;
    }
    if (!isfinite(best) || !isfinite(worst) || !isfinite(best - worst)) {
        return tandem_error("query '%s': scores from %g to %g cannot be scaled", ranking->query_id, worst, best);
    }
    if (how->method == TANDEM_HYBRID_Z_SCORE) {
        return scale_standard(out, ranking);
    }
    *out = best > worst ? (scaling){worst, best - worst, 0.0} : (scaling){worst - 1.0, 1.0, 0.0};
    return TANDEM_OK;
}

/* Makes a place for each document of the ranking. */
static int collect(pool *p, const tandem_ranking *ranking)
{
    for (size_t i = 0; i < ranking->count; i++) {
        const char *id = ranking->results[i].document_id;
        int rc = tandem_strmap_add(p->places, id, strlen(id), p->count, NULL);
        TANDEM_TRY(rc);
        if (rc == 0) {
            continue;
        }
        void *results = p->results, *last = p->last_run;
        rc = tandem_grow(&results, &p->capacity, p->count + 1, sizeof *p->results);
        p->results = results;
        TANDEM_TRY(rc);
        rc = tandem_grow(&last, &p->marks, p->count + 1, sizeof *p->last_run);
        p->last_run = last;
        TANDEM_TRY(rc);
        p->last_run[p->count] = 0;
        p->results[p->count++] = (tandem_result){id, 0.0};
    }
    return TANDEM_OK;
}

static int add(pool *p, const tandem_hybrid *how, size_t run, const tandem_ranking *ranking)
{
    scaling s;
    double weight = weight_of(how, run);
    TANDEM_TRY(find_scaling(&s, how, ranking));
    for (size_t i = 0; i < ranking->count; i++) {
        const tandem_result *result = &ranking->results[i];
        size_t at = 0;
        (void)tandem_strmap_find(p->places, result->document_id, strlen(result->document_id), &at);
        double value = s.divisor > 0 ? (result->score - s.shift) / s.divisor : 1.0 / (how->rrf_k + (double)i + 1.0);
        p->results[at].score += weight * value;
        p->last_run[at] = run + 1;
    }
    for (size_t d = 0; d < p->count; d++) {
        p->results[d].score += p->last_run[d] == run + 1 ? 0.0 : weight * s.missing;
    }
    return TANDEM_OK;
}

static int fuse_query(tandem_run *out, pool *p, const char *query_id, const tandem_run *const *runs, size_t count,
                      const tandem_hybrid *how, size_t top)
{
    p->count = 0;
    p->places = tandem_strmap_new(0);
    int rc = p->places ? TANDEM_OK : TANDEM_ERROR;
    for (size_t r = 0; r < count && rc == TANDEM_OK; r++) {
        const tandem_ranking *ranking = tandem_run_find(runs[r], query_id);
        rc = ranking ? collect(p, ranking) : TANDEM_OK;
    }
    for (size_t r = 0; r < count && rc == TANDEM_OK; r++) {
        const tandem_ranking *ranking = tandem_run_find(runs[r], query_id);
        rc = ranking && ranking->count > 0 ? add(p, how, r, ranking) : TANDEM_OK;
    }
    if (rc == TANDEM_OK) {
        tandem_run_rank(p->results, p->count);
        rc = tandem_run_add(out, query_id, p->results, p->count < top ? p->count : top);
    }
    tandem_strmap_free(p->places);
    return rc;
}

/* ---- all of them ------------------------------------------------------------------------- */
int tandem_hybrid_fuse(tandem_run **out, const char *name, const tandem_run *const *runs, size_t count,
                       const tandem_hybrid *how, size_t top)
{
    pool p = {0};
    *out = NULL;
    TANDEM_TRY(check(runs, count, how));
    TANDEM_TRY(tandem_run_new(out, name));
    int rc = TANDEM_OK;
    for (size_t r = 0; r < count && rc == TANDEM_OK; r++) {
        for (size_t i = 0; i < tandem_run_count(runs[r]) && rc == TANDEM_OK; i++) {
            const char *query_id = tandem_run_ranking(runs[r], i)->query_id;
            if (!tandem_run_find(*out, query_id)) {
                rc = fuse_query(*out, &p, query_id, runs, count, how, top);
            }
        }
    }
    free(p.results);
    free(p.last_run);
    if (rc < 0) {
        tandem_run_free(*out);
        *out = NULL;
    }
    return rc;
}
