/* statistics.c - counters, quantiles and reports of a mining. */
#include "mining/statistics.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/memory.h"

enum { QUANTILES = TANDEM_MINING_QUANTILES, BINS = TANDEM_MINING_BINS, BAR = 50 };
static const double quantile_at[QUANTILES] = {0.05, 0.25, 0.5, 0.75, 0.95};

/* A counter's name in JSON, and for a rule's what it removed. */
static const struct {
    const char *name;
    size_t offset;
    const char *removed;
} counters[] = {
#define COUNTER(member, removed) {#member, offsetof(tandem_mining_statistics, member), removed}
    COUNTER(queries, NULL),
    COUNTER(pairs, NULL),
    COUNTER(candidates, NULL),
    COUNTER(removed_positive, "known positives"),
    COUNTER(removed_identical, "a text seen before"),
    COUNTER(removed_near_duplicate, "near-duplicates of a positive"),
    COUNTER(removed_similar, "vectors near a positive's"),
    COUNTER(removed_margin, "within the margin"),
    COUNTER(removed_max_score, "above the highest score"),
    COUNTER(removed_min_score, "below the lowest score"),
    COUNTER(mined, NULL),
    COUNTER(filled, NULL),
    COUNTER(queries_short, NULL),
    COUNTER(queries_empty, NULL),
    COUNTER(queries_dropped, NULL),
#undef COUNTER
};
enum { COUNTERS = sizeof counters / sizeof *counters };

static size_t *counter_of(tandem_mining_statistics *s, size_t index)
{
    return (size_t *)(void *)((char *)s + counters[index].offset);
}

static size_t count_of(const tandem_mining_statistics *s, size_t index)
{
    return *(const size_t *)(const void *)((const char *)s + counters[index].offset);
}

/* ---- tallies ----------------------------------------------------------------------- */
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

void tandem_mining_tally_free(tandem_mining_tally *tally)
{
    free(tally->positive.items);
    free(tally->negative.items);
    free(tally->margin.items);
    *tally = (tandem_mining_tally){0};
}

static int put_scores(tandem_writer *writer, const char *name, const tandem_score_list *list)
{
    TANDEM_TRY(tandem_writer_printf(writer, ",\n\"%s\": [", name));
    for (size_t i = 0; i < list->count; i++) {
        TANDEM_TRY(tandem_writer_printf(writer, "%s%.17g", i > 0 ? "," : "", list->items[i]));
    }
    return tandem_writer_printf(writer, "]");
}

static int put_tally(tandem_writer *writer, const tandem_mining_tally *tally)
{
    for (size_t i = 0; i < COUNTERS; i++) {
        TANDEM_TRY(tandem_writer_printf(writer, "%s\"%s\": %zu", i > 0 ? ", " : "{", counters[i].name,
                                        count_of(&tally->counts, i)));
    }
    TANDEM_TRY(put_scores(writer, "positive", &tally->positive));
    TANDEM_TRY(put_scores(writer, "negative", &tally->negative));
    TANDEM_TRY(put_scores(writer, "margin", &tally->margin));
    return tandem_writer_printf(writer, "}\n");
}

int tandem_mining_tally_write(const tandem_mining_tally *tally, const char *path)
{
    tandem_writer *writer = NULL;
    TANDEM_TRY(tandem_writer_open(&writer, path));
    int rc;
    TANDEM_TRY_GOTO(rc, done, put_tally(writer, tally));
    rc = tandem_writer_commit(&writer);
done:
    tandem_writer_abort(writer);
    return rc;
}

static int take_scores(tandem_score_list *list, const cJSON *json, const char *name, const char *path)
{
    const cJSON *array = tandem_json_member(json, name), *item;
    if (!cJSON_IsArray(array)) {
        return tandem_error("%s: expected \"%s\" to be an array", path, name);
    }
    cJSON_ArrayForEach(item, array) {
        if (!cJSON_IsNumber(item)) {
            return tandem_error("%s: expected \"%s\" to hold numbers", path, name);
        }
        TANDEM_TRY(tandem_score_list_add(list, item->valuedouble));
    }
    return TANDEM_OK;
}

static int take_tally(tandem_mining_tally *tally, const cJSON *json, const char *path)
{
    for (size_t i = 0; i < COUNTERS; i++) {
        int64_t value;
        TANDEM_TRY(tandem_json_get_int(json, counters[i].name, path, 0, INT64_MAX, &value));
        *counter_of(&tally->counts, i) += (size_t)value;
    }
    TANDEM_TRY(take_scores(&tally->positive, json, "positive", path));
    TANDEM_TRY(take_scores(&tally->negative, json, "negative", path));
    return take_scores(&tally->margin, json, "margin", path);
}

int tandem_mining_tally_read(tandem_mining_tally *tally, const char *path)
{
    cJSON *json = NULL;
    TANDEM_TRY(tandem_json_read(&json, path));
    int rc = take_tally(tally, json, path);
    tandem_json_free(json);
    return rc;
}

/* ---- quantiles and histogram ---------------------------------------------------------- */
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

/* Of sorted scores. */
static void histogram(tandem_mining_statistics *out, const tandem_score_list *sorted)
{
    out->histogram_low = sorted->count > 0 ? sorted->items[0] : (double)NAN;
    out->histogram_high = sorted->count > 0 ? sorted->items[sorted->count - 1] : (double)NAN;
    double width = out->histogram_high - out->histogram_low;
    for (size_t i = 0; i < sorted->count; i++) {
        double at = width > 0 ? (sorted->items[i] - out->histogram_low) / width * BINS : 0;
        size_t bin = (size_t)at;
        out->histogram[bin < BINS ? bin : BINS - 1]++; /* the greatest belongs to the last */
    }
}

void tandem_mining_tally_finish(tandem_mining_statistics *out, tandem_mining_tally *tally)
{
    *out = tally->counts;
    quantiles(out->positive_score, &tally->positive);
    quantiles(out->negative_score, &tally->negative);
    quantiles(out->margin, &tally->margin);
    histogram(out, &tally->margin);
}

/* ---- reports --------------------------------------------------------------------------- */
static int report_quantiles(tandem_buffer *out, const char *name, const double values[QUANTILES])
{
    return tandem_buffer_printf(out, "\n  %-18s %9.4f %9.4f %9.4f %9.4f %9.4f", name, values[0], values[1], values[2],
                                values[3], values[4]);
}

/* The share that each rule took, of those that took some. */
static int report_rules(tandem_buffer *out, const tandem_mining_statistics *s)
{
    TANDEM_TRY(tandem_buffer_printf(out, "\n  removed of %zu candidates:", s->candidates));
    const char *separator = "";
    for (size_t i = 0; i < COUNTERS; i++) {
        size_t count = count_of(s, i);
        if (counters[i].removed && count > 0) {
            TANDEM_TRY(tandem_buffer_printf(out, "%s %zu (%.1f %%) %s", separator, count,
                                            100 * (double)count / (double)s->candidates, counters[i].removed));
            separator = ",";
        }
    }
    return *separator ? TANDEM_OK : tandem_buffer_puts(out, " none");
}

/* A bar for each bin of margins. */
static int report_histogram(tandem_buffer *out, const tandem_mining_statistics *s)
{
    static const char bar[] = "##################################################";
    _Static_assert(sizeof bar == BAR + 1, "the longest bar");
    size_t most = 0;
    for (size_t i = 0; i < BINS; i++) {
        most = s->histogram[i] > most ? s->histogram[i] : most;
    }
    double width = (s->histogram_high - s->histogram_low) / BINS;
    if (most == 0 || !(width > 0)) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_buffer_puts(out, "\n  margins from"));
    for (size_t i = 0; i < BINS; i++) {
        size_t length = (s->histogram[i] * BAR + most - 1) / most;
        TANDEM_TRY(tandem_buffer_printf(out, "\n  %18.4f %9zu %.*s", s->histogram_low + (double)i * width,
                                        s->histogram[i], (int)length, bar));
    }
    return TANDEM_OK;
}

int tandem_mining_report(tandem_buffer *out, const tandem_mining_statistics *s)
{
    double queries = s->queries > 0 ? (double)s->queries : 1;
    TANDEM_TRY(tandem_buffer_printf(out, "mined %zu negatives for %zu queries with %zu positives (%.2f a query)",
                                    s->mined, s->queries, s->pairs, (double)s->mined / queries));
    TANDEM_TRY(tandem_buffer_printf(out, "; for %zu queries fewer were left than wanted, for %zu of them none",
                                    s->queries_short, s->queries_empty));
    if (s->filled > 0) {
        TANDEM_TRY(tandem_buffer_printf(out, "; %zu negatives are random", s->filled));
    }
    if (s->queries_dropped > 0) {
        TANDEM_TRY(tandem_buffer_printf(out, "; %zu queries were dropped", s->queries_dropped));
    }
    TANDEM_TRY(report_rules(out, s));
    TANDEM_TRY(tandem_buffer_printf(out, "\n  %-18s %9s %9s %9s %9s %9s", "quantiles", "5 %", "25 %", "50 %", "75 %",
                                    "95 %"));
    TANDEM_TRY(report_quantiles(out, "positive score", s->positive_score));
    TANDEM_TRY(report_quantiles(out, "negative score", s->negative_score));
    TANDEM_TRY(report_quantiles(out, "margin", s->margin));
    return report_histogram(out, s);
}

static bool add_array(cJSON *report, const char *name, const double *values, int count)
{
    cJSON *array = cJSON_CreateDoubleArray(values, count); /* NaN is printed as null */
    return array && cJSON_AddItemToObject(report, name, array);
}

static bool add_histogram(cJSON *report, const tandem_mining_statistics *s)
{
    double counts[BINS];
    for (size_t i = 0; i < BINS; i++) {
        counts[i] = (double)s->histogram[i];
    }
    cJSON *object = cJSON_AddObjectToObject(report, "margin_histogram");
    return object && cJSON_AddNumberToObject(object, "low", s->histogram_low) &&
           cJSON_AddNumberToObject(object, "high", s->histogram_high) && add_array(object, "counts", counts, BINS);
}

int tandem_mining_report_json(struct cJSON **out, const tandem_mining_statistics *s)
{
    cJSON *report = cJSON_CreateObject();
    bool complete = report != NULL;
    for (size_t i = 0; complete && i < COUNTERS; i++) {
        complete = cJSON_AddNumberToObject(report, counters[i].name, (double)count_of(s, i)) != NULL;
    }
    complete = complete && add_array(report, "positive_score", s->positive_score, QUANTILES) &&
               add_array(report, "negative_score", s->negative_score, QUANTILES) &&
               add_array(report, "margin", s->margin, QUANTILES) && add_histogram(report, s);
    if (!complete) {
        tandem_json_free(report);
        return tandem_error("out of memory");
    }
    *out = report;
    return TANDEM_OK;
}
