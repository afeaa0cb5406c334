/* report_pairs.c - a system against its baseline: every query, every relevant document, and examples. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/report.h"

enum { EXAMPLES = 3, RELEVANT = 3, SNIPPET = 240, TOOLTIP = 80, GRID = 101 };

/* From 1; 0: not retrieved. */
static size_t rank_of(const tandem_run *run, const char *query_id, const char *document_id)
{
    const tandem_ranking *ranking = tandem_run_find(run, query_id);
    for (size_t i = 0; ranking && i < ranking->count; i++) {
        if (strcmp(ranking->results[i].document_id, document_id) == 0) {
            return i + 1;
        }
    }
    return 0;
}

/* ---- scatter ------------------------------------------------------------------------------------------- */
/* Queries at one hundredth of each axis are one mark, so that a page does not grow with the queries. */
typedef struct {
    size_t count, query; /* the first of them */
} spot;

static void put_spot(report *r, chart *c, const spot *s, double before, double after, size_t colour)
{
    chart_point(c, before, after, fmin(3 + sqrt((double)s->count - 1), 14), report_colour(colour));
    html_printf(&r->page, "%zu %s, e.g. ", s->count, s->count == 1 ? "query" : "queries");
    html_excerpt(&r->page, report_query_text(r, r->scores[0].query_ids[s->query]), TOOLTIP);
    chart_mark_end(c);
}

static void put_scatter(report *r, size_t system)
{
    size_t baseline = r->in->systems[system].baseline;
    const double *before = report_values(r, baseline, 0), *after = report_values(r, system, 0);
    double step = report_top(r) / (GRID - 1), margin = 4 * step;
    const double ends[] = {0, report_top(r)};
    spot *spots = tandem_alloc(GRID * GRID, sizeof *spots);
    if (!spots) {
        r->page.rc = TANDEM_ERROR;
        return;
    }
    for (size_t q = 0; q < r->scores[0].query_count; q++) {
        spot *s = &spots[(size_t)lround(after[q] / step) * GRID + (size_t)lround(before[q] / step)];
        s->query = s->count++ == 0 ? q : s->query;
    }
    chart_axis x = {-margin, ends[1] + margin, r->in->systems[baseline].name, NULL}, y = x;
    y.label = r->in->systems[system].name;
    chart c = chart_begin(&r->page, "Every query: above the diagonal it gained; larger marks are more queries",
                          "Scatter plot of the metric before and after, one mark for queries of equal values", x, y);
    chart_line(&c, ends, ends, 2, "diagonal");
    for (size_t i = 0; i < GRID * GRID; i++) {
        if (spots[i].count > 0) {
            put_spot(r, &c, &spots[i], (double)(i % GRID) * step, (double)(i / GRID) * step, system);
        }
    }
    chart_end(&c);
    html_put(&r->page, "</figure>\n");
    free(spots);
}

/* ---- where relevant documents moved ------------------------------------------------------------------------ */
enum { BANDS = 6 };
static const size_t band_end[BANDS] = {1, 3, 10, 30, 100, SIZE_MAX};
static const char *const band_name[BANDS] = {"1", "2–3", "4–10", "11–30", "31–100", "none"};

static size_t band_of(size_t rank)
{
    size_t band = 0;
    while (rank == 0 || rank > band_end[band]) {
        if (++band == BANDS - 1) {
            break;
        }
    }
    return band;
}

typedef struct {
    size_t moved[BANDS][BANDS], total, up, down;
} shifts;

static shifts count_shifts(const report *r, size_t system)
{
    shifts out = {0};
    for (size_t q = 0; q < tandem_qrels_count(r->in->qrels); q++) {
        const tandem_judged_query *judged = tandem_qrels_query(r->in->qrels, q);
        for (size_t i = 0; i < judged->count; i++) {
            const char *document = judged->judgments[i].document_id;
            if (judged->judgments[i].grade < 1) {
                continue;
            }
            size_t before = rank_of(r->runs[r->in->systems[system].baseline], judged->query_id, document);
            size_t after = rank_of(r->runs[system], judged->query_id, document);
            out.moved[band_of(before)][band_of(after)]++;
            out.total++;
            /* rank 0 - 1 is the lowest of all */
            out.up += after - 1 < before - 1;
            out.down += after - 1 > before - 1;
        }
    }
    return out;
}

static void put_shifts(report *r, size_t system)
{
    html *page = &r->page;
    shifts s = count_shifts(r, system);
    html_printf(page, "<div><p class=\"soft\">Of %zu relevant documents, %zu moved up and %zu down.</p>\n", s.total,
                s.up, s.down);
    html_put(page, "<div class=\"scroll\" role=\"region\" aria-label=\"Ranks of relevant documents\" "
                   "tabindex=\"0\"><table class=\"heat\">\n"
                   "<caption>Ranks of relevant documents: rows before, columns after</caption>\n"
                   "<thead><tr><th scope=\"col\">rank</th>");
    for (size_t i = 0; i < BANDS; i++) {
        html_printf(page, "<th scope=\"col\">%s</th>", band_name[i]);
    }
    html_put(page, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < BANDS; i++) {
        html_printf(page, "<tr><th scope=\"row\">%s</th>", band_name[i]);
        for (size_t j = 0; j < BANDS; j++) {
            /* by the square root, so that few among many are seen; at most 0.5, under which ink stays readable */
            double shade = s.total ? 0.5 * sqrt((double)s.moved[i][j] / (double)s.total) : 0;
            html_printf(page, "<td%s style=\"--a:%.2f\">%zu</td>", i == j ? " class=\"same\"" : "", shade,
                        s.moved[i][j]);
        }
        html_put(page, "</tr>\n");
    }
    html_put(page, "</tbody></table></div></div>\n");
}

/* ---- examples ------------------------------------------------------------------------------------------------ */
static void put_rank(html *page, size_t rank)
{
    if (rank > 0) {
        html_printf(page, "%zu", rank);
    } else {
        html_put(page, "none");
    }
}

static bool is_relevant(const tandem_judged_query *judged, const char *document)
{
    for (size_t i = 0; i < judged->count; i++) {
        if (judged->judgments[i].grade >= 1 && strcmp(judged->judgments[i].document_id, document) == 0) {
            return true;
        }
    }
    return false;
}

/* What stood first, where that was not relevant. */
static void put_first(report *r, const tandem_judged_query *judged, size_t system, const char *when)
{
    const tandem_ranking *ranking = tandem_run_find(r->runs[system], judged->query_id);
    if (!ranking || ranking->count == 0 || is_relevant(judged, ranking->results[0].document_id)) {
        return;
    }
    html_printf(&r->page, "<li><span class=\"soft\">first %s, not judged relevant:</span> ", when);
    html_excerpt(&r->page, report_document_text(r, ranking->results[0].document_id), SNIPPET);
    html_put(&r->page, "</li>\n");
}

static void put_example(report *r, size_t system, const tandem_move *move)
{
    html *page = &r->page;
    size_t baseline = r->in->systems[system].baseline, shown = 0;
    const char *query = r->scores[0].query_ids[move->query];
    const tandem_judged_query *judged = tandem_qrels_find(r->in->qrels, query);
    html_printf(page, "<article class=\"%s\"><h4>", move->difference > 0 ? "gain" : "loss");
    html_excerpt(page, report_query_text(r, query), SNIPPET);
    html_printf(page, "</h4>\n<p>%s %.4f → %.4f <b>(%+.4f)</b></p>\n<ul>\n", r->in->metrics[0].name,
                report_values(r, baseline, 0)[move->query], report_values(r, system, 0)[move->query], move->difference);
    for (size_t i = 0; i < judged->count && shown < RELEVANT; i++) {
        const char *document = judged->judgments[i].document_id;
        if (judged->judgments[i].grade >= 1) {
            shown++;
            html_put(page, "<li><span class=\"soft\">relevant, rank ");
            put_rank(page, rank_of(r->runs[baseline], query, document));
            html_put(page, " → ");
            put_rank(page, rank_of(r->runs[system], query, document));
            html_put(page, ":</span> ");
            html_excerpt(page, report_document_text(r, document), SNIPPET);
            html_put(page, "</li>\n");
        }
    }
    put_first(r, judged, baseline, "before");
    put_first(r, judged, system, "after");
    html_put(page, "</ul></article>\n");
}

static void put_examples(report *r, size_t system)
{
    size_t count = r->scores[0].query_count;
    tandem_move *moves = tandem_alloc(count, sizeof *moves);
    if (!moves) {
        r->page.rc = TANDEM_ERROR;
        return;
    }
    tandem_moves(moves, report_values(r, r->in->systems[system].baseline, 0), report_values(r, system, 0), count);
    html_put(&r->page, "<details><summary>Queries won and lost most</summary>\n");
    for (size_t i = 0; i < EXAMPLES && i < count && moves[i].difference > 0; i++) {
        put_example(r, system, &moves[i]);
    }
    for (size_t i = 0; i < EXAMPLES && i < count && moves[count - 1 - i].difference < 0; i++) {
        put_example(r, system, &moves[count - 1 - i]);
    }
    html_put(&r->page, "</details>\n");
    free(moves);
}

void report_pairs(report *r)
{
    html *page = &r->page;
    for (size_t s = 0; s < r->in->system_count; s++) {
        const tandem_report_system *system = &r->in->systems[s];
        if (system->baseline == TANDEM_REPORT_NONE) {
            continue;
        }
        const tandem_comparison *c = &r->comparisons[s * r->in->metric_count];
        html_printf(page, "<section aria-labelledby=\"pair-%zu\">\n<h2 id=\"pair-%zu\">", s, s);
        html_text(page, system->name);
        html_put(page, " against ");
        html_text(page, r->in->systems[system->baseline].name);
        html_printf(page, "</h2>\n<p>%s: %zu queries won, %zu tied, %zu lost.</p>\n<div class=\"charts\">\n",
                    r->in->metrics[0].name, c->wins, c->ties, c->losses);
        put_scatter(r, s);
        put_shifts(r, s);
        html_put(page, "</div>\n");
        if (c->wins + c->losses > 0) {
            put_examples(r, s);
        }
        html_put(page, "</section>\n");
    }
}
