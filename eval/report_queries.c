/* report_queries.c - for which queries a system is good: by length, by number of relevant documents. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/report.h"

enum { BINS = 5, NAME = 32 };

/* Queries in bins by a number each has. */
typedef struct {
    size_t *numbers;        /* [queries] */
    size_t upper[BINS];     /* the highest number of each bin */
    size_t count;           /* of bins */
    size_t queries[BINS];   /* in each */
    char names[BINS][NAME]; /* "3–5" */
} bins;

static size_t bin_of(const bins *b, size_t number)
{
    size_t bin = 0;
    while (bin + 1 < b->count && number > b->upper[bin]) {
        bin++;
    }
    return bin;
}

/* Leaves bins without a query out, and names the others by the numbers that are in them. */
static void settle(bins *b, size_t queries)
{
    size_t low[BINS], high[BINS], kept = 0;
    memset(b->queries, 0, sizeof b->queries);
    for (size_t q = 0; q < queries; q++) {
        size_t bin = bin_of(b, b->numbers[q]), number = b->numbers[q];
        low[bin] = b->queries[bin] == 0 || number < low[bin] ? number : low[bin];
        high[bin] = b->queries[bin] == 0 || number > high[bin] ? number : high[bin];
        b->queries[bin]++;
    }
    for (size_t bin = 0; bin < b->count; bin++) {
        if (b->queries[bin] == 0) {
            continue;
        }
        snprintf(b->names[kept], NAME, low[bin] == high[bin] ? "%zu" : "%zu–%zu", low[bin], high[bin]);
        b->queries[kept] = b->queries[bin];
        b->upper[kept++] = high[bin];
    }
    b->count = kept;
}

static double mean_of(const report *r, const bins *b, size_t bin, size_t system)
{
    const double *values = report_values(r, system, 0);
    double sum = 0.0;
    for (size_t q = 0; q < r->scores[0].query_count; q++) {
        sum += bin_of(b, b->numbers[q]) == bin ? values[q] : 0.0;
    }
    return sum / (double)b->queries[bin];
}

/* ---- drawing ------------------------------------------------------------------------------------------ */
static void put_legend(report *r)
{
    html_put(&r->page, "<ul class=\"legend\">");
    for (size_t s = 0; s < r->in->system_count; s++) {
        html_printf(
            &r->page,
            "<li><svg viewBox=\"0 0 8 8\" aria-hidden=\"true\"><rect class=\"%s\" width=\"8\" height=\"8\"/></svg>",
            report_colour(s));
        html_text(&r->page, r->in->systems[s].name);
        html_put(&r->page, "</li>");
    }
    html_put(&r->page, "</ul>\n");
}

static void put_table(report *r, const bins *b, const char *head, const double *means)
{
    html *page = &r->page;
    html_put(page,
             "<details><summary>As a table</summary><div class=\"scroll\" role=\"region\" aria-label=\"Means by ");
    html_printf(page, "%s\" tabindex=\"0\"><table>\n<thead><tr><th scope=\"col\">%s</th><th scope=\"col\">queries</th>",
                head, head);
    for (size_t s = 0; s < r->in->system_count; s++) {
        html_put(page, "<th scope=\"col\">");
        html_text(page, r->in->systems[s].name);
        html_put(page, "</th>");
    }
    html_put(page, "</tr></thead>\n<tbody>\n");
    for (size_t bin = 0; bin < b->count; bin++) {
        html_printf(page, "<tr><th scope=\"row\">%s</th><td>%zu</td>", b->names[bin], b->queries[bin]);
        for (size_t s = 0; s < r->in->system_count; s++) {
            html_printf(page, "<td>%.4f</td>", means[bin * r->in->system_count + s]);
        }
        html_put(page, "</tr>\n");
    }
    html_put(page, "</tbody></table></div></details>\n");
}

static void put_chart(report *r, const bins *b, const char *caption, const char *label, const double *means)
{
    size_t systems = r->in->system_count;
    double width = 0.8 / (double)systems;
    const char *names[BINS];
    for (size_t bin = 0; bin < b->count; bin++) {
        names[bin] = b->names[bin];
    }
    chart_axis x = {0, (double)b->count, label, names}, y = {0, report_top(r), r->in->metrics[0].name, NULL};
    chart c = chart_begin(&r->page, caption, caption, x, y);
    for (size_t bin = 0; bin < b->count; bin++) {
        for (size_t s = 0; s < systems; s++) {
            double left = (double)bin + 0.1 + width * (double)s, mean = means[bin * systems + s];
            chart_bar(&c, left, left + width, mean, report_colour(s));
            html_text(&r->page, r->in->systems[s].name);
            html_printf(&r->page, ": %.4f of %zu queries", mean, b->queries[bin]);
            chart_mark_end(&c);
        }
    }
    chart_end(&c);
    put_legend(r);
    put_table(r, b, label, means);
    html_put(&r->page, "</figure>\n");
}

static void put_bins(report *r, bins *b, const char *caption, const char *label)
{
    size_t systems = r->in->system_count;
    settle(b, r->scores[0].query_count);
    double *means = tandem_alloc(b->count * systems, sizeof *means);
    if (!means) {
        r->page.rc = TANDEM_ERROR;
        return;
    }
    for (size_t bin = 0; bin < b->count; bin++) {
        for (size_t s = 0; s < systems; s++) {
            means[bin * systems + s] = mean_of(r, b, bin, s);
        }
    }
    put_chart(r, b, caption, label, means);
    free(means);
}

/* ---- by what ------------------------------------------------------------------------------------------- */
static int ascending(const void *left, const void *right)
{
    const size_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++) {
        count += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return count;
}

/* Quarters of the queries, by the length of their texts. */
static void by_length(report *r, bins *b)
{
    enum { QUARTERS = 4 };
    size_t queries = r->scores[0].query_count;
    size_t *sorted = tandem_alloc(queries, sizeof *sorted);
    if (!sorted) {
        r->page.rc = TANDEM_ERROR;
        return;
    }
    for (size_t q = 0; q < queries; q++) {
        sorted[q] = b->numbers[q] = characters(report_query_text(r, r->scores[0].query_ids[q]));
    }
    qsort(sorted, queries, sizeof *sorted, ascending);
    b->count = QUARTERS;
    for (size_t i = 0; i < QUARTERS; i++) {
        b->upper[i] = sorted[(i + 1) * queries / QUARTERS - ((i + 1) * queries >= QUARTERS)];
    }
    free(sorted);
    put_bins(r, b, "By the length of the query, in quarters", "characters");
}

static void by_relevant(report *r, bins *b)
{
    static const size_t upper[BINS] = {1, 2, 5, 10, SIZE_MAX};
    for (size_t q = 0; q < r->scores[0].query_count; q++) {
        const tandem_judged_query *judged = tandem_qrels_find(r->in->qrels, r->scores[0].query_ids[q]);
        b->numbers[q] = 0;
        for (size_t i = 0; i < judged->count; i++) {
            b->numbers[q] += judged->judgments[i].grade >= 1;
        }
    }
    b->count = BINS;
    memcpy(b->upper, upper, sizeof upper);
    put_bins(r, b, "By the number of relevant documents", "relevant documents");
}

void report_queries(report *r)
{
    bins b = {.numbers = tandem_alloc(r->scores[0].query_count, sizeof *b.numbers)};
    if (!b.numbers) {
        r->page.rc = TANDEM_ERROR;
        return;
    }
    html_printf(
        &r->page,
        "<section aria-labelledby=\"queries\">\n<h2 id=\"queries\">%s by kind of query</h2>\n<div class=\"charts\">\n",
        r->in->metrics[0].name);
    if (r->in->dataset) {
        by_length(r, &b);
    }
    by_relevant(r, &b);
    html_put(&r->page, "</div>\n</section>\n");
    free(b.numbers);
}
