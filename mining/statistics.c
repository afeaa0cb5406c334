/* statistics.c - quantiles and reports of a mining. */
#include "mining/statistics.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

#include "tandem/json.h"
#include "tandem/memory.h"

enum { QUANTILES = 5 };
static const double quantile_at[QUANTILES] = {0.05, 0.25, 0.5, 0.75, 0.95};

int tandem_score_list_add(tandem_score_list *list, double score)
{
    void *items = list->items;
    int rc = tandem_grow(&items, &list->room, list->count + 1, sizeof *list->items);
    list->items = items;
    if (rc == 0) {
        list->items[list->count++] = score;
    }
    return rc;
}

void tandem_mining_scores_free(tandem_mining_scores *scores)
{
    free(scores->positive.items);
    free(scores->negative.items);
    free(scores->margin.items);
    *scores = (tandem_mining_scores){0};
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void quantiles(double out[QUANTILES], tandem_score_list *list)
{
    if (list->count > 0) {
        qsort(list->items, list->count, sizeof *list->items, compare_doubles);
    }
    for (size_t i = 0; i < QUANTILES; i++) {
        if (list->count == 0) {
            out[i] = NAN;
            continue;
        }
        double at = quantile_at[i] * (double)(list->count - 1);
        size_t below = (size_t)at;
        size_t above = below + 1 < list->count ? below + 1 : below;
        out[i] = list->items[below] + (at - (double)below) * (list->items[above] - list->items[below]);
    }
}

void tandem_mining_quantiles(tandem_mining_statistics *statistics, tandem_mining_scores *scores)
{
    quantiles(statistics->positive_score, &scores->positive);
    quantiles(statistics->negative_score, &scores->negative);
    quantiles(statistics->margin, &scores->margin);
}

static int report_quantiles(tandem_buffer *out, const char *name, const double values[QUANTILES])
{
    return tandem_buffer_printf(out, "\n  %-18s %9.4f %9.4f %9.4f %9.4f %9.4f", name, values[0], values[1], values[2],
                                values[3], values[4]);
}

int tandem_mining_report(tandem_buffer *out, const tandem_mining_statistics *s)
{
    double queries = s->queries > 0 ? (double)s->queries : 1;
    TANDEM_TRY(tandem_buffer_printf(out,
                                    "mined %zu negatives for %zu queries with %zu positives (%.2f a query); "
                                    "%zu queries got fewer than wanted, %zu of them none\n"
                                    "  of %zu candidates, %zu were known positives, %zu had a text seen before, "
                                    "%zu scored within the margin\n"
                                    "  %-18s %9s %9s %9s %9s %9s",
                                    s->mined, s->queries, s->pairs, (double)s->mined / queries, s->queries_short,
                                    s->queries_empty, s->candidates, s->removed_positive, s->removed_identical,
                                    s->removed_margin, "quantiles", "5 %", "25 %", "50 %", "75 %", "95 %"));
    TANDEM_TRY(report_quantiles(out, "positive score", s->positive_score));
    TANDEM_TRY(report_quantiles(out, "negative score", s->negative_score));
    return report_quantiles(out, "margin", s->margin);
}

int tandem_mining_report_json(struct cJSON **out, const tandem_mining_statistics *s)
{
    const struct {
        const char *name;
        size_t value;
    } counts[] = {
        {"queries", s->queries},
        {"pairs", s->pairs},
        {"candidates", s->candidates},
        {"removed_positive", s->removed_positive},
        {"removed_identical", s->removed_identical},
        {"removed_margin", s->removed_margin},
        {"mined", s->mined},
        {"queries_short", s->queries_short},
        {"queries_empty", s->queries_empty},
    };
    const struct {
        const char *name;
        const double *values;
    } spreads[] = {
        {"positive_score", s->positive_score}, {"negative_score", s->negative_score}, {"margin", s->margin},
    };
    cJSON *report = cJSON_CreateObject();
    bool complete = report != NULL;
    for (size_t i = 0; complete && i < sizeof counts / sizeof *counts; i++) {
        complete = cJSON_AddNumberToObject(report, counts[i].name, (double)counts[i].value) != NULL;
    }
    for (size_t i = 0; complete && i < sizeof spreads / sizeof *spreads; i++) {
        cJSON *values = cJSON_CreateDoubleArray(spreads[i].values, QUANTILES); /* NaN is printed as null */
        complete = values && cJSON_AddItemToObject(report, spreads[i].name, values);
    }
    if (!complete) {
        tandem_json_free(report);
        return tandem_error("out of memory");
    }
    *out = report;
    return TANDEM_OK;
}
