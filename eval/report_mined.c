/* report_mined.c - how hard the mined negatives are: their distance from the positive. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "eval/report.h"
#include "tandem/groups.h"

enum { BARS = 24 };

typedef struct {
    double *values; /* lowest score of a positive less that of the negative, ascending */
    size_t count;
    size_t queries, empty; /* groups, and those without a negative */
} margins;

static int ascending(const void *left, const void *right)
{
    const double *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static double lowest_positive(const tandem_group *group)
{
    double lowest = (double)INFINITY;
    for (size_t i = 0; i < group->positive_count; i++) {
        lowest = fmin(lowest, (double)group->positives[i].score); /* passes over NaN */
    }
    return lowest;
}

static int collect(margins *out, const tandem_groups *groups)
{
    size_t negatives = 0;
    for (size_t g = 0; g < groups->count; g++) {
        negatives += groups->items[g].negative_count;
        out->empty += groups->items[g].negative_count == 0;
    }
    out->queries = groups->count;
    out->values = tandem_alloc(negatives, sizeof *out->values);
    if (!out->values) {
        return TANDEM_ERROR;
    }
    for (size_t g = 0; g < groups->count; g++) {
        const tandem_group *group = &groups->items[g];
        double lowest = lowest_positive(group);
        for (size_t i = 0; i < group->negative_count; i++) {
            double margin = lowest - (double)group->negatives[i].score;
            if (isfinite(margin)) {
                out->values[out->count++] = margin;
            }
        }
    }
    qsort(out->values, out->count, sizeof *out->values, ascending);
    return TANDEM_OK;
}

/* ---- drawing ------------------------------------------------------------------------------------------- */
static void put_histogram(report *r, const char *name, const margins *m)
{
    size_t bars[BARS] = {0}, highest = 0;
    double low = m->values[0], width = (m->values[m->count - 1] - low) / BARS;
    for (size_t i = 0; i < m->count; i++) {
        size_t bar = width > 0 ? (size_t)((m->values[i] - low) / width) : 0;
        bars[bar < BARS ? bar : BARS - 1]++;
    }
    for (size_t i = 0; i < BARS; i++) {
        highest = bars[i] > highest ? bars[i] : highest;
    }
    width = width > 0 ? width : 1;
    chart_axis x = {low, low + BARS * width, "margin", NULL}, y = {0, (double)highest, "negatives", NULL};
    chart c =
        chart_begin(&r->page, name, "Histogram of the margins between the positive and its mined negatives", x, y);
    for (size_t i = 0; i < BARS; i++) {
        if (bars[i] > 0) {
            chart_bar(&c, low + (double)i * width, low + (double)(i + 1) * width, (double)bars[i], "s2");
            html_printf(&r->page, "%.3g to %.3g: %zu", low + (double)i * width, low + (double)(i + 1) * width, bars[i]);
            chart_mark_end(&c);
        }
    }
    chart_end(&c);
}

static void put_margins(report *r, const char *name, const margins *m)
{
    size_t above = 0;
    while (above < m->count && m->values[above] < 0) {
        above++;
    }
    put_histogram(r, name, m);
    html_printf(&r->page,
                "<p class=\"soft\">%zu negatives of %zu queries (%zu without any). Margin: median %.4g, 5 %% below "
                "%.4g, 95 %% below "
                "%.4g; %zu negatives score above their positive.</p></figure>\n",
                m->count, m->queries, m->empty, m->values[m->count / 2], m->values[m->count / 20],
                m->values[m->count - 1 - m->count / 20], above);
}

int report_mined(report *r)
{
    int rc = TANDEM_OK;
    if (r->in->mined_count == 0) {
        return rc;
    }
    html_put(&r->page,
             "<section aria-labelledby=\"mined\">\n<h2 id=\"mined\">Mined negatives</h2>\n<p>The margin of a negative "
             "is the lowest "
             "score of the query's positives less its own, by the model that mined: small is hard, below 0 perhaps "
             "a relevant document that was not judged.</p>\n<div class=\"charts\">\n");
    for (size_t i = 0; rc >= 0 && i < r->in->mined_count; i++) {
        margins m = {0};
        tandem_groups *groups = NULL;
        rc = tandem_groups_read(&groups, r->in->mined[i].value);
        rc = rc < 0 ? rc : collect(&m, groups);
        if (rc >= 0 && m.count > 0) {
            put_margins(r, r->in->mined[i].name, &m);
        }
        free(m.values);
        tandem_groups_free(groups);
    }
    html_put(&r->page, "</div>\n</section>\n");
    return rc;
}
