/* judge.c - from a ranking to its grades. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/metrics.h"

static int descending(const void *left, const void *right)
{
    const int32_t *a = left, *b = right;
    return (*a < *b) - (*a > *b);
}

/* What is there before need not be kept. */
static int reserve(judge *j, size_t judged, size_t retrieved)
{
    if (!j->by_id && !(j->by_id = tandem_strmap_new(judged))) {
        return TANDEM_ERROR;
    }
    if (judged > j->judged_capacity) {
        free(j->ideal);
        free(j->gains);
        j->judged_capacity = 0;
        j->ideal = tandem_alloc(judged, sizeof *j->ideal);
        j->gains = tandem_alloc(judged, sizeof *j->gains);
        if (!j->ideal || !j->gains) {
            return TANDEM_ERROR;
        }
        j->judged_capacity = judged;
    }
    if (retrieved > j->retrieved_capacity) {
        free(j->grades);
        free(j->relevant_at);
        j->retrieved_capacity = 0;
        j->grades = tandem_alloc(retrieved, sizeof *j->grades);
        j->relevant_at = tandem_alloc(retrieved, sizeof *j->relevant_at);
        if (!j->grades || !j->relevant_at) {
            return TANDEM_ERROR;
        }
        j->retrieved_capacity = retrieved;
    }
    return TANDEM_OK;
}

static int read_judgments(judge *j, judged_ranking *out, const tandem_judged_query *judged, int32_t level)
{
    TANDEM_TRY(tandem_strmap_reset(j->by_id, judged->count));
    for (size_t i = 0; i < judged->count; i++) {
        const char *id = judged->judgments[i].document_id;
        int32_t grade = judged->judgments[i].grade;
        TANDEM_TRY(tandem_strmap_add(j->by_id, id, strlen(id), i, NULL));
        if (grade >= 0) {
            j->ideal[out->judged++] = grade;
            out->positive += grade > 0;
            out->relevant += grade >= level;
        }
    }
    if (out->judged > 1) {
        qsort(j->ideal, out->judged, sizeof *j->ideal, descending);
    }
    return TANDEM_OK;
}

static int32_t grade_of(const judge *j, const tandem_judged_query *judged, const char *id)
{
    size_t at;
    if (!tandem_strmap_find(j->by_id, id, strlen(id), &at)) {
        return NOT_JUDGED;
    }
    int32_t grade = judged->judgments[at].grade;
    return grade < 0 ? JUDGED_NEGATIVE : grade;
}

/* trec_eval cuts to the depth first and drops what is not judged after. */
static void read_results(judge *j, judged_ranking *out, const tandem_judged_query *judged,
                         const tandem_ranking *ranking, const tandem_score_options *options)
{
    size_t depth = options->depth ? options->depth : SIZE_MAX;
    for (size_t i = 0, seen = 0; i < ranking->count; i++) {
        const char *id = ranking->results[i].document_id;
        if (options->exclude_self && strcmp(id, ranking->query_id) == 0) {
            j->self_excluded++;
            continue;
        }
        if (seen++ >= depth) {
            continue; /* the query itself may still come */
        }
        int32_t grade = grade_of(j, judged, id);
        if (grade < 0 && options->judged_only) {
            continue;
        }
        if (grade >= options->level) {
            j->relevant_at[out->relevant_retrieved++] = out->retrieved;
        }
        out->unjudged_retrieved += grade < 0;
        j->grades[out->retrieved++] = grade;
    }
}

int judge_query(judge *j, judged_ranking *out, const tandem_judged_query *judged, const tandem_ranking *ranking,
                const tandem_score_options *options)
{
    TANDEM_TRY(reserve(j, judged->count, ranking ? ranking->count : 0));
    *out = (judged_ranking){.grades = j->grades, .relevant_at = j->relevant_at, .ideal = j->ideal, .gains = j->gains};
    TANDEM_TRY(read_judgments(j, out, judged, options->level));
    if (ranking) {
        read_results(j, out, judged, ranking, options);
    }
    return TANDEM_OK;
}

void judge_free(judge *j)
{
    tandem_strmap_free(j->by_id);
    free(j->ideal);
    free(j->gains);
    free(j->grades);
    free(j->relevant_at);
    *j = (judge){0};
}

/* ---- one query on its own -------------------------------------------------------------- */
double tandem_metric_query(const tandem_metric *metric, const tandem_judged_query *judged,
                           const tandem_ranking *ranking, const tandem_score_options *options)
{
    static const tandem_score_options defaults = TANDEM_SCORE_OPTIONS_INIT;
    judge j = {0};
    judged_ranking r;
    int rc = judge_query(&j, &r, judged, ranking, options ? options : &defaults);
    double value = rc < 0 ? (double)NAN : metric_value(metric, &r);
    judge_free(&j);
    return value;
}

static char relevance_character(int32_t grade)
{
    switch (grade) {
    case NOT_JUDGED: return '-';
    case JUDGED_NEGATIVE: return '.';
    default: return grade > 9 ? '>' : (char)('0' + grade);
    }
}

int tandem_relevance_string(tandem_buffer *out, const tandem_judged_query *judged, const tandem_ranking *ranking,
                            const tandem_score_options *options, size_t length)
{
    static const tandem_score_options defaults = TANDEM_SCORE_OPTIONS_INIT;
    judge j = {0};
    judged_ranking r;
    int rc = judge_query(&j, &r, judged, ranking, options ? options : &defaults);
    for (size_t i = 0; rc >= 0 && i < length && i < r.retrieved; i++) {
        char c = relevance_character(r.grades[i]);
        rc = tandem_buffer_append(out, &c, 1);
    }
    judge_free(&j);
    return rc;
}
