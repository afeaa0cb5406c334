/* metrics.c - the table of metrics.
 *
 * Adding a metric, two things to do: write its function over a `judged_ranking`, and
 * add its row to the table. Names, help and `tandem eval -m` follow from the table;
 * tests/unit/test_metrics.c wants a query computed by hand. */
#include "tandem/metrics.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/metrics.h"
#include "tandem/memory.h"
#include "tandem/settings.h"

/* ---- the metrics (trec_eval 10, m_*.c) --------------------------------------------- */
static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t relevant_in_top(const judged_ranking *r, size_t k)
{
    size_t found = 0;
    for (size_t i = 0; i < smaller(k, r->retrieved); i++) {
        found += r->grades[i] > 0;
    }
    return found;
}

static double discounted_gain(const int32_t *grades, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        if (grades[i] > 0) {
            sum += grades[i] / log2((double)i + 2.0);
        }
    }
    return sum;
}

static double ndcg(const judged_ranking *r, size_t k)
{
    return discounted_gain(r->grades, smaller(k, r->retrieved)) / discounted_gain(r->ideal, smaller(k, r->relevant));
}

static double average_precision(const judged_ranking *r, size_t k)
{
    double sum = 0.0;
    size_t found = 0;
    for (size_t i = 0; i < smaller(k, r->retrieved); i++) {
        if (r->grades[i] > 0) {
            found++;
            sum += (double)found / (double)(i + 1);
        }
    }
    return sum / (double)r->relevant;
}

static double reciprocal_rank(const judged_ranking *r, size_t k)
{
    for (size_t i = 0; i < smaller(k, r->retrieved); i++) {
        if (r->grades[i] > 0) {
            return 1.0 / (double)(i + 1);
        }
    }
    return 0.0;
}

static double recall(const judged_ranking *r, size_t k)
{
    return (double)relevant_in_top(r, k) / (double)r->relevant;
}

static double precision(const judged_ranking *r, size_t k)
{
    return (double)relevant_in_top(r, k) / (double)k;
}

static double r_precision(const judged_ranking *r, size_t k)
{
    (void)k;
    return recall(r, r->relevant);
}

static double success(const judged_ranking *r, size_t k)
{
    return relevant_in_top(r, k) > 0 ? 1.0 : 0.0;
}

typedef enum { CUTOFF_NONE, CUTOFF_OPTIONAL, CUTOFF_NEEDED } cutoff_rule;

static const struct {
    const char *name, *spelling;
    const char *aliases[2]; /* lower case */
    cutoff_rule cutoff;
    double (*value)(const judged_ranking *r, size_t k); /* r->relevant > 0; k SIZE_MAX: no cutoff */
    const char *definition;
} table[] = {
    {"ndcg", "ndcg[@K]", {"ndcg_cut"}, CUTOFF_OPTIONAL, ndcg,
     "discounted cumulative gain, grade / log2(rank + 1), over that of the ideal ranking"},
    {"recall", "recall@K", {NULL}, CUTOFF_NEEDED, recall, "share of the relevant documents that are in the top K"},
    {"map", "map[@K]", {"map_cut"}, CUTOFF_OPTIONAL, average_precision,
     "mean of the precision at each relevant document, over all relevant documents"},
    {"mrr", "mrr[@K]", {"recip_rank"}, CUTOFF_OPTIONAL, reciprocal_rank, "1 / rank of the first relevant document"},
    {"precision", "precision@K", {"p"}, CUTOFF_NEEDED, precision, "share of the top K that is relevant"},
    {"rprec", "rprec", {NULL}, CUTOFF_NONE, r_precision, "precision at the number of relevant documents"},
    {"success", "success@K", {"hit"}, CUTOFF_NEEDED, success, "1 when a relevant document is in the top K"},
};

enum { METRICS = sizeof table / sizeof *table, NAME_LIMIT = 24 };

const char *tandem_metric_describe(size_t index, const char **definition)
{
    if (index >= METRICS) {
        return NULL;
    }
    *definition = table[index].definition;
    return table[index].spelling;
}

/* ---- names ----------------------------------------------------------------------------- */
/* The row of a name without its cutoff, or METRICS. */
static size_t find_row(const char *name)
{
    for (size_t i = 0; i < METRICS; i++) {
        bool found = strcmp(name, table[i].name) == 0;
        for (size_t a = 0; a < sizeof table[i].aliases / sizeof *table[i].aliases; a++) {
            found = found || (table[i].aliases[a] && strcmp(name, table[i].aliases[a]) == 0);
        }
        if (found) {
            return i;
        }
    }
    return METRICS;
}

static int unknown_metric(const char *text, const char *name)
{
    const char *names[METRICS];
    tandem_buffer known = TANDEM_BUFFER_INIT;
    for (size_t i = 0; i < METRICS; i++) {
        names[i] = table[i].name;
        TANDEM_TRY(tandem_buffer_printf(&known, "%s%s", i ? ", " : "", table[i].spelling));
    }
    const char *nearest = tandem_nearest(name, names, METRICS);
    int rc = nearest ? tandem_error_code(TANDEM_USAGE, "unknown metric '%s'; did you mean '%s'? (known: %s)", text,
                                         nearest, known.data)
                     : tandem_error_code(TANDEM_USAGE, "unknown metric '%s' (known: %s)", text, known.data);
    tandem_buffer_free(&known);
    return rc;
}

/* Cuts "name@10" and trec_eval's "name_10" in two: lower-cased `name`, and the cutoff's
 * text or NULL. */
static const char *split_cutoff(const char *text, char name[NAME_LIMIT])
{
    const char *cut = strchr(text, '@');
    if (!cut) {
        cut = strrchr(text, '_');
        cut = cut && isdigit((unsigned char)cut[1]) ? cut : NULL;
    }
    size_t length = cut ? (size_t)(cut - text) : strlen(text);
    length = smaller(length, NAME_LIMIT - 1);
    for (size_t i = 0; i < length; i++) {
        name[i] = (char)tolower((unsigned char)text[i]);
    }
    name[length] = '\0';
    return cut ? cut + 1 : NULL;
}

/* A decimal number from 1 to 10^9; 0 when `digits` is none. */
static size_t parse_cutoff(const char *digits)
{
    size_t value = 0;
    for (; isdigit((unsigned char)*digits) && value <= 1000000000; digits++) {
        value = value * 10 + (size_t)(*digits - '0');
    }
    return *digits || value > 1000000000 ? 0 : value;
}

int tandem_metric_parse(tandem_metric *out, const char *text)
{
    char name[NAME_LIMIT];
    const char *digits = split_cutoff(text, name);
    size_t row = find_row(name);
    if (row == METRICS) {
        return unknown_metric(text, name);
    }
    size_t cutoff = digits ? parse_cutoff(digits) : 0;
    if (digits && table[row].cutoff == CUTOFF_NONE) {
        return tandem_error_code(TANDEM_USAGE, "metric '%s': %s takes no cutoff", text, table[row].name);
    }
    if (digits && cutoff == 0) {
        return tandem_error_code(TANDEM_USAGE, "metric '%s': expected a cutoff from 1 to 1000000000, found '%s'", text,
                                 digits);
    }
    if (!digits && table[row].cutoff == CUTOFF_NEEDED) {
        return tandem_error_code(TANDEM_USAGE, "metric '%s' needs a cutoff, as in '%s@10'", text, table[row].name);
    }
    *out = (tandem_metric){.kind = (int)row, .cutoff = cutoff};
    if (cutoff) {
        snprintf(out->name, sizeof out->name, "%s@%zu", table[row].name, cutoff);
    } else {
        snprintf(out->name, sizeof out->name, "%s", table[row].name);
    }
    return TANDEM_OK;
}

/* ---- one query ------------------------------------------------------------------------------ */
static int by_document(const void *left, const void *right)
{
    const tandem_judgment *const *a = left, *const *b = right;
    return strcmp((*a)->document_id, (*b)->document_id);
}

static int descending(const void *left, const void *right)
{
    const int32_t *a = left, *b = right;
    return (*a < *b) - (*a > *b);
}

static int32_t grade_of(const judge *j, size_t count, const char *document_id)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(j->judgments[middle]->document_id, document_id);
        if (order == 0) {
            return j->judgments[middle]->grade;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return 0;
}

/* What is there before need not be kept. */
static int judge_reserve(judge *j, size_t judgments, size_t retrieved)
{
    if (judgments > j->judgment_capacity) {
        free(j->judgments);
        free(j->ideal);
        j->judgments = tandem_alloc(judgments, sizeof(tandem_judgment *));
        j->ideal = tandem_alloc(judgments, sizeof *j->ideal);
        j->judgment_capacity = judgments;
    }
    if (retrieved > j->grade_capacity) {
        free(j->grades);
        j->grades = tandem_alloc(retrieved, sizeof *j->grades);
        j->grade_capacity = retrieved;
    }
    bool failed = (judgments > 0 && (!j->judgments || !j->ideal)) || (retrieved > 0 && !j->grades);
    return failed ? TANDEM_ERROR : TANDEM_OK;
}

int judge_query(judge *j, judged_ranking *out, const tandem_judged_query *judged, const tandem_ranking *ranking)
{
    size_t retrieved = ranking ? ranking->count : 0;
    size_t relevant = 0;
    TANDEM_TRY(judge_reserve(j, judged->count, retrieved));
    for (size_t i = 0; i < judged->count; i++) {
        j->judgments[i] = &judged->judgments[i];
        if (judged->judgments[i].grade > 0) {
            j->ideal[relevant++] = judged->judgments[i].grade;
        }
    }
    if (judged->count > 1) {
        qsort(j->judgments, judged->count, sizeof(tandem_judgment *), by_document);
    }
    if (relevant > 1) {
        qsort(j->ideal, relevant, sizeof *j->ideal, descending);
    }
    for (size_t i = 0; i < retrieved; i++) {
        j->grades[i] = grade_of(j, judged->count, ranking->results[i].document_id);
    }
    *out = (judged_ranking){j->grades, retrieved, j->ideal, relevant};
    return TANDEM_OK;
}

void judge_free(judge *j)
{
    free(j->judgments);
    free(j->ideal);
    free(j->grades);
    *j = (judge){0};
}

double metric_value(const tandem_metric *metric, const judged_ranking *r)
{
    size_t k = metric->cutoff ? metric->cutoff : SIZE_MAX;
    return r->relevant > 0 ? table[metric->kind].value(r, k) : 0.0;
}

double tandem_metric_query(const tandem_metric *metric, const tandem_judged_query *judged, const tandem_ranking *ranking)
{
    judge j = {0};
    judged_ranking r;
    double value = judge_query(&j, &r, judged, ranking) < 0 ? (double)NAN : metric_value(metric, &r);
    judge_free(&j);
    return value;
}
