/* report.c - the page of a report: head, summary, differences; other files add the rest. */
#include "eval/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 100000 };

/* ---- what is shared --------------------------------------------------------------------------------- */
const double *report_values(const report *r, size_t system, size_t metric)
{
    return r->scores[system].values + metric * r->scores[system].query_count;
}

double report_top(const report *r)
{
    double top = 1;
    for (size_t s = 0; s < r->in->system_count; s++) {
        for (size_t q = 0; q < r->scores[s].query_count; q++) {
            top = fmax(top, report_values(r, s, 0)[q]);
        }
    }
    return top;
}

static const char *text_of(const tandem_texts *texts, const char *id)
{
    size_t index;
    return tandem_strmap_find(texts->by_id, id, strlen(id), &index) ? texts->items[index].text : id;
}

const char *report_query_text(const report *r, const char *id)
{
    return r->in->dataset ? text_of(&r->in->dataset->queries, id) : id;
}

const char *report_document_text(const report *r, const char *id)
{
    return r->in->dataset ? text_of(&r->in->dataset->corpus, id) : id;
}

const char *report_colour(size_t system)
{
    static const char *const colours[] = {"s0", "s1", "s2", "s3", "s4"};
    return colours[system % (sizeof colours / sizeof *colours)];
}

/* ---- measuring ---------------------------------------------------------------------------------------- */
static int measure_system(report *r, size_t s)
{
    const tandem_report *in = r->in;
    const tandem_report_system *system = &in->systems[s];
    TANDEM_TRY(tandem_run_read(&r->runs[s], system->path));
    int rc = tandem_scores_compute(&r->scores[s], in->qrels, r->runs[s], in->metrics, in->metric_count, NULL);
    if (rc < 0) {
        return tandem_error_context(rc, "%s", system->path);
    }
    for (size_t m = 0; m < in->metric_count; m++) {
        size_t at = s * in->metric_count + m, count = r->scores[s].query_count;
        const double *values = report_values(r, s, m);
        TANDEM_TRY(tandem_bootstrap_mean(&r->intervals[at], values, count, TANDEM_BOOTSTRAP_RESAMPLES, in->seed));
        if (system->baseline != TANDEM_REPORT_NONE) {
            const double *baseline = report_values(r, system->baseline, m);
            TANDEM_TRY(tandem_compare_paired(&r->comparisons[at], baseline, values, count, ROUNDS, in->seed));
        }
    }
    return TANDEM_OK;
}

/* All comparisons of the page by one metric are a family. */
static int correct(report *r, size_t metric, double *p)
{
    size_t count = 0, metrics = r->in->metric_count;
    for (size_t s = 0; s < r->in->system_count; s++) {
        if (r->in->systems[s].baseline != TANDEM_REPORT_NONE) {
            p[count++] = r->comparisons[s * metrics + metric].p;
        }
    }
    TANDEM_TRY(tandem_holm(p, p, count));
    count = 0;
    for (size_t s = 0; s < r->in->system_count; s++) {
        if (r->in->systems[s].baseline != TANDEM_REPORT_NONE) {
            r->holm[s * metrics + metric] = p[count++];
        }
    }
    return TANDEM_OK;
}

static int measure(report *r)
{
    size_t systems = r->in->system_count, cells;
    if (systems == 0 || r->in->metric_count == 0 || !tandem_size_mul(&cells, systems, r->in->metric_count)) {
        return tandem_error("a report needs systems and metrics, found %zu and %zu", systems, r->in->metric_count);
    }
    r->runs = tandem_alloc(systems, sizeof *r->runs);
    r->scores = tandem_alloc(systems, sizeof *r->scores);
    r->intervals = tandem_alloc(cells, sizeof *r->intervals);
    r->comparisons = tandem_alloc(cells, sizeof *r->comparisons);
    r->holm = tandem_alloc(cells, sizeof *r->holm);
    double *p = tandem_alloc(systems, sizeof *p);
    int rc = r->runs && r->scores && r->intervals && r->comparisons && r->holm && p ? TANDEM_OK : TANDEM_ERROR;
    for (size_t s = 0; rc >= 0 && s < systems; s++) {
        rc = measure_system(r, s);
    }
    for (size_t m = 0; rc >= 0 && m < r->in->metric_count; m++) {
        rc = correct(r, m, p);
    }
    free(p);
    return rc;
}

static void release(report *r)
{
    for (size_t s = 0; s < r->in->system_count; s++) {
        if (r->runs) {
            tandem_run_free(r->runs[s]);
        }
        if (r->scores) {
            tandem_scores_free(&r->scores[s]);
        }
    }
    free(r->runs);
    free(r->scores);
    free(r->intervals);
    free(r->comparisons);
    free(r->holm);
    tandem_buffer_free(&r->page.text);
}

/* ---- head and summary ---------------------------------------------------------------------------------- */
static void put_head(report *r)
{
    html *page = &r->page;
    html_put(page,
             "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
             "<title>");
    html_text(page, r->in->title);
    html_put(page, "</title>\n<style>\n");
    for (size_t i = 0; report_style[i]; i++) {
        html_put(page, report_style[i]);
        html_put(page, "\n");
    }
    html_put(page, "</style>\n</head>\n<body>\n<header>\n<h1>");
    html_text(page, r->in->title);
    html_put(page, "</h1>\n");
    if (r->in->fact_count > 0) {
        html_put(page, "<details><summary>What was run</summary>\n<dl>\n");
        for (size_t i = 0; i < r->in->fact_count; i++) {
            html_put(page, "<dt>");
            html_text(page, r->in->facts[i].name);
            html_put(page, "</dt><dd>");
            html_text(page, r->in->facts[i].value);
            html_put(page, "</dd>\n");
        }
        html_put(page, "</dl>\n</details>\n");
    }
    html_put(page, "</header>\n<main>\n");
}

static void put_p(html *page, double p)
{
    if (p < 0.0001) {
        html_put(page, "&lt;0.0001");
    } else {
        html_printf(page, "%.4f", p);
    }
}

static void put_means(report *r)
{
    html *page = &r->page;
    html_put(
        page,
        "<div class=\"scroll\" role=\"region\" aria-label=\"Means\" tabindex=\"0\"><table>\n<caption>Mean and 95 % "
        "bootstrap interval</caption>\n<thead><tr><th scope=\"col\">system</th>");
    for (size_t m = 0; m < r->in->metric_count; m++) {
        html_printf(page, "<th scope=\"col\">%s</th>", r->in->metrics[m].name);
    }
    html_put(page, "</tr></thead>\n<tbody>\n");
    for (size_t s = 0; s < r->in->system_count; s++) {
        html_put(page, "<tr><th scope=\"row\">");
        html_text(page, r->in->systems[s].name);
        html_put(page, "</th>");
        for (size_t m = 0; m < r->in->metric_count; m++) {
            const tandem_interval *interval = &r->intervals[s * r->in->metric_count + m].percentile;
            html_printf(page, "<td>%.4f<small>%.4f–%.4f</small></td>", r->scores[s].means[m], interval->low,
                        interval->high);
        }
        html_put(page, "</tr>\n");
    }
    html_put(page, "</tbody></table></div>\n");
}

static void put_difference(report *r, size_t s, size_t m)
{
    html *page = &r->page;
    const tandem_report_system *system = &r->in->systems[s];
    size_t at = s * r->in->metric_count + m;
    const tandem_comparison *c = &r->comparisons[at];
    html_put(page, "<tr><th scope=\"row\">");
    html_text(page, system->name);
    html_put(page, " <span class=\"soft\">against ");
    html_text(page, r->in->systems[system->baseline].name);
    html_printf(page, "</span></th><td>%s</td><td>%+.4f<small>%+.4f to %+.4f</small></td>", r->in->metrics[m].name,
                c->difference, c->interval.percentile.low, c->interval.percentile.high);
    html_put(page, "<td>");
    put_p(page, c->p);
    html_put(page, "</td><td>");
    put_p(page, r->holm[at]);
    if (isnan(c->effect)) {
        html_put(page, "</td><td>–");
    } else {
        html_printf(page, "</td><td>%+.3f", c->effect);
    }
    html_printf(page, "</td><td>%zu / %zu / %zu</td></tr>\n", c->wins, c->ties, c->losses);
}

static void put_differences(report *r)
{
    html *page = &r->page;
    html_put(
        page,
        "<div class=\"scroll\" role=\"region\" aria-label=\"Differences\" "
        "tabindex=\"0\"><table>\n<caption>Differences, "
        "paired by query</caption>\n<thead><tr><th scope=\"col\">system</th><th scope=\"col\">metric</th>"
        "<th scope=\"col\">difference</th><th scope=\"col\">p</th><th scope=\"col\">Holm p</th><th scope=\"col\">d</th>"
        "<th scope=\"col\">won / tied / lost</th></tr></thead>\n<tbody>\n");
    for (size_t s = 0; s < r->in->system_count; s++) {
        for (size_t m = 0; r->in->systems[s].baseline != TANDEM_REPORT_NONE && m < r->in->metric_count; m++) {
            put_difference(r, s, m);
        }
    }
    html_put(
        page,
        "</tbody></table></div>\n<p class=\"soft\">Intervals: 95 % percentile bootstrap, 10,000 resamples of the "
        "queries. p: "
        "two-sided paired randomization test, exact where at most 20 queries differ, else from 100,000 sign "
        "assignments. "
        "Holm p: corrected for all comparisons here by that metric. d: Cohen's d of the paired differences.</p>\n");
}

/* One sentence a comparison, by the first metric. */
static void put_verdict(report *r, size_t s)
{
    html *page = &r->page;
    const tandem_report_system *system = &r->in->systems[s];
    const tandem_comparison *c = &r->comparisons[s * r->in->metric_count];
    double holm = r->holm[s * r->in->metric_count];
    bool clear = c->p<0.05, better = c->difference> 0;
    html_printf(page, "<li%s><b>", !clear ? "" : better ? " class=\"gain\"" : " class=\"loss\"");
    html_text(page, system->name);
    html_put(page, !clear   ? "</b> does not differ significantly from "
                   : better ? "</b> is better than "
                            : "</b> is worse than ");
    html_text(page, r->in->systems[system->baseline].name);
    html_printf(page, ": %s %+.4f, p ", r->in->metrics[0].name, c->difference);
    put_p(page, c->p);
    html_put(page, clear && holm >= 0.05 ? "; not so when corrected for all comparisons here.</li>\n" : ".</li>\n");
}

static void put_summary(report *r)
{
    html *page = &r->page;
    size_t missing = 0;
    bool compared = false;
    for (size_t s = 0; s < r->in->system_count; s++) {
        missing += r->scores[s].missing;
        compared = compared || r->in->systems[s].baseline != TANDEM_REPORT_NONE;
    }
    html_printf(page, "<section aria-labelledby=\"summary\">\n<h2 id=\"summary\">Summary</h2>\n<p>%zu judged queries.",
                r->scores[0].query_count);
    if (missing > 0) {
        html_printf(page, " Queries that runs lack, counted 0: %zu.", missing);
    }
    html_put(page, "</p>\n");
    if (compared) {
        html_put(page, "<ul>\n");
        for (size_t s = 0; s < r->in->system_count; s++) {
            if (r->in->systems[s].baseline != TANDEM_REPORT_NONE) {
                put_verdict(r, s);
            }
        }
        html_put(page, "</ul>\n");
    }
    put_means(r);
    if (compared) {
        put_differences(r);
    }
    html_put(page, "</section>\n");
}

int tandem_report_html(tandem_buffer *out, const tandem_report *in)
{
    report r = {.in = in, .page.text = TANDEM_BUFFER_INIT};
    int rc = measure(&r);
    if (rc >= 0) {
        put_head(&r);
        put_summary(&r);
        report_queries(&r);
        report_pairs(&r);
        rc = report_training(&r);
    }
    rc = rc < 0 ? rc : report_mined(&r);
    html_put(&r.page, "</main>\n</body>\n</html>\n");
    rc = rc < 0 ? rc : r.page.rc;
    rc = rc < 0 ? rc : tandem_buffer_append(out, r.page.text.data, r.page.text.length);
    release(&r);
    return rc;
}
