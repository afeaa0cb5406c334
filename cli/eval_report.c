/* eval_report.c - the tables and the JSON of `tandem eval`. */
#include "cli/eval_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void eval_report_free(eval_report *report)
{
    for (size_t r = 0; report->runs && r < report->run_count; r++) {
        tandem_scores_free(&report->runs[r].scores);
    }
    free(report->runs);
    free(report->metrics);
    free(report->selected);
    free(report->cells);
    tandem_qrels_free(report->qrels);
}

static const eval_cell *cell_at(const eval_report *report, size_t run, size_t metric)
{
    return &report->cells[run * report->metric_count + metric];
}

static double value_at(const eval_report *report, size_t run, size_t metric, size_t selected)
{
    const tandem_scores *scores = &report->runs[run].scores;
    return scores->values[metric * scores->query_count + report->selected[selected]];
}

/* ---- tables ------------------------------------------------------------------------- */
/* Characters, not bytes: a path may hold any. */
static size_t display_width(const char *text, size_t length)
{
    size_t width = 0;
    for (size_t i = 0; i < length; i++) {
        width += ((unsigned char)text[i] & 0xC0) != 0x80;
    }
    return width;
}

static int put_cell(tandem_buffer *out, const char *cell, size_t length, size_t width, bool left)
{
    int padding = (int)(width - display_width(cell, length));
    if (!left) {
        TANDEM_TRY(tandem_buffer_printf(out, "  %*s", padding, ""));
    }
    TANDEM_TRY(tandem_buffer_append(out, cell, length));
    return left ? tandem_buffer_printf(out, "%*s", padding, "") : TANDEM_OK;
}

/* Lays out rows of `columns` cells, each cell ended by '\n': the first column flush left,
 * the others flush right. */
static int put_table(tandem_buffer *out, const char *cells, size_t columns)
{
    size_t *widths = tandem_alloc(columns, sizeof *widths);
    int rc = widths ? TANDEM_OK : TANDEM_ERROR;
    const char *end;
    size_t i = 0;
    for (const char *cell = cells; rc >= 0 && (end = strchr(cell, '\n')); cell = end + 1, i++) {
        size_t width = display_width(cell, (size_t)(end - cell));
        widths[i % columns] = width > widths[i % columns] ? width : widths[i % columns];
    }
    i = 0;
    for (const char *cell = cells; rc >= 0 && (end = strchr(cell, '\n')); cell = end + 1, i++) {
        rc = put_cell(out, cell, (size_t)(end - cell), widths[i % columns], i % columns == 0);
        if (rc >= 0 && i % columns == columns - 1) {
            rc = tandem_buffer_puts(out, "\n");
        }
    }
    free(widths);
    return rc;
}

/* A text of the user's as a cell: nothing in it may end the cell. */
static int text_cell(tandem_buffer *cells, const char *text)
{
    for (; *text; text++) {
        TANDEM_TRY(tandem_buffer_append(cells, *text == '\n' ? " " : text, 1));
    }
    return tandem_buffer_puts(cells, "\n");
}

static int metric_names(tandem_buffer *cells, const eval_report *report)
{
    for (size_t m = 0; m < report->metric_count; m++) {
        TANDEM_TRY(tandem_buffer_printf(cells, "%s\n", report->metrics[m].name));
    }
    return TANDEM_OK;
}

static int query_cells(tandem_buffer *cells, const eval_report *report)
{
    TANDEM_TRY(tandem_buffer_puts(cells, "run\nquery\n"));
    TANDEM_TRY(metric_names(cells, report));
    for (size_t r = 0; r < report->run_count; r++) {
        for (size_t q = 0; q < report->selected_count; q++) {
            TANDEM_TRY(text_cell(cells, report->runs[r].path));
            TANDEM_TRY(text_cell(cells, report->runs[r].scores.query_ids[report->selected[q]]));
            for (size_t m = 0; m < report->metric_count; m++) {
                TANDEM_TRY(tandem_buffer_printf(cells, "%.4f\n", value_at(report, r, m, q)));
            }
        }
    }
    return TANDEM_OK;
}

static int summary_cells(tandem_buffer *cells, const eval_report *report)
{
    TANDEM_TRY(tandem_buffer_puts(cells, "run\nqueries\n"));
    TANDEM_TRY(metric_names(cells, report));
    for (size_t r = 0; r < report->run_count; r++) {
        TANDEM_TRY(text_cell(cells, report->runs[r].path));
        TANDEM_TRY(tandem_buffer_printf(cells, "%zu\n", report->selected_count));
        for (size_t m = 0; m < report->metric_count; m++) {
            const eval_cell *cell = cell_at(report, r, m);
            TANDEM_TRY(report->compared
                           ? tandem_buffer_printf(cells, "%.4f [%.4f, %.4f]\n", cell->mean, cell->low, cell->high)
                           : tandem_buffer_printf(cells, "%.4f\n", cell->mean));
        }
    }
    return TANDEM_OK;
}

enum { COMPARISON_COLUMNS = 9 };

static int comparison_cells(tandem_buffer *cells, const eval_report *report)
{
    TANDEM_TRY(tandem_buffer_puts(cells, "run\nmetric\ndifference\n95 % interval\np\ntest\nwins\nties\nlosses\n"));
    for (size_t r = 1; r < report->run_count; r++) {
        for (size_t m = 0; m < report->metric_count; m++) {
            const tandem_comparison *c = &cell_at(report, r, m)->comparison;
            TANDEM_TRY(text_cell(cells, report->runs[r].path));
            TANDEM_TRY(tandem_buffer_printf(cells, "%s\n%+.4f\n[%+.4f, %+.4f]\n", report->metrics[m].name,
                                            c->difference, c->low, c->high));
            TANDEM_TRY(c->p < 0.0001 ? tandem_buffer_puts(cells, "<0.0001\n")
                                     : tandem_buffer_printf(cells, "%.4f\n", c->p));
            TANDEM_TRY(tandem_buffer_printf(cells, "%s\n%zu\n%zu\n%zu\n", c->exact ? "exact" : "sampled", c->wins,
                                            c->ties, c->losses));
        }
    }
    return TANDEM_OK;
}

int eval_report_text(tandem_buffer *out, const eval_report *report)
{
    tandem_buffer cells = TANDEM_BUFFER_INIT;
    int rc = TANDEM_OK;
    if (report->per_query) {
        TANDEM_TRY_GOTO(rc, done, query_cells(&cells, report));
        TANDEM_TRY_GOTO(rc, done, put_table(out, cells.data, report->metric_count + 2));
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_puts(out, "\n"));
        tandem_buffer_clear(&cells);
    }
    TANDEM_TRY_GOTO(rc, done, summary_cells(&cells, report));
    TANDEM_TRY_GOTO(rc, done, put_table(out, cells.data, report->metric_count + 2));
    if (report->compared) {
        tandem_buffer_clear(&cells);
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(out, "\nagainst %s:\n", report->runs[0].path));
        TANDEM_TRY_GOTO(rc, done, comparison_cells(&cells, report));
        TANDEM_TRY_GOTO(rc, done, put_table(out, cells.data, COMPARISON_COLUMNS));
    }
done:
    tandem_buffer_free(&cells);
    return rc;
}

/* ---- JSON ------------------------------------------------------------------------------ */
static int json_string(tandem_buffer *out, const char *text)
{
    return tandem_buffer_json_string(out, text, strlen(text));
}

/* `"key": ` with what comes before it. */
static int json_key(tandem_buffer *out, const char *before, const char *key)
{
    TANDEM_TRY(tandem_buffer_puts(out, before));
    TANDEM_TRY(json_string(out, key));
    return tandem_buffer_puts(out, ": ");
}

static int json_comparison(tandem_buffer *out, const tandem_comparison *c)
{
    return tandem_buffer_printf(out,
                                ", \"difference\": {\"mean\": %.17g, \"low\": %.17g, \"high\": %.17g, \"p\": %.17g, "
                                "\"exact\": %s, \"wins\": %zu, \"ties\": %zu, \"losses\": %zu}",
                                c->difference, c->low, c->high, c->p, c->exact ? "true" : "false", c->wins, c->ties,
                                c->losses);
}

static int json_metrics(tandem_buffer *out, const eval_report *report, size_t run)
{
    for (size_t m = 0; m < report->metric_count; m++) {
        const eval_cell *cell = cell_at(report, run, m);
        TANDEM_TRY(json_key(out, m ? ",\n       " : "\n       ", report->metrics[m].name));
        TANDEM_TRY(tandem_buffer_printf(out, "{\"mean\": %.17g", cell->mean));
        if (report->compared) {
            TANDEM_TRY(tandem_buffer_printf(out, ", \"low\": %.17g, \"high\": %.17g", cell->low, cell->high));
        }
        if (report->compared && run > 0) {
            TANDEM_TRY(json_comparison(out, &cell->comparison));
        }
        TANDEM_TRY(tandem_buffer_puts(out, "}"));
    }
    return TANDEM_OK;
}

static int json_queries(tandem_buffer *out, const eval_report *report, size_t run)
{
    TANDEM_TRY(tandem_buffer_puts(out, ",\n     \"per_query\": {"));
    for (size_t q = 0; q < report->selected_count; q++) {
        const char *id = report->runs[run].scores.query_ids[report->selected[q]];
        TANDEM_TRY(json_key(out, q ? ",\n       " : "\n       ", id));
        for (size_t m = 0; m < report->metric_count; m++) {
            TANDEM_TRY(json_key(out, m ? ", " : "{", report->metrics[m].name));
            TANDEM_TRY(tandem_buffer_printf(out, "%.17g", value_at(report, run, m, q)));
        }
        TANDEM_TRY(tandem_buffer_puts(out, "}"));
    }
    return tandem_buffer_puts(out, "}");
}

static int json_run(tandem_buffer *out, const eval_report *report, size_t index)
{
    const eval_run *run = &report->runs[index];
    TANDEM_TRY(json_key(out, index ? ",\n    {" : "\n    {", "path"));
    TANDEM_TRY(json_string(out, run->path));
    TANDEM_TRY(json_key(out, ", ", "name"));
    TANDEM_TRY(json_string(out, run->name));
    TANDEM_TRY(tandem_buffer_printf(out, ", \"missing\": %zu, \"unjudged\": %zu,\n     \"metrics\": {",
                                    run->scores.missing, run->scores.unjudged));
    TANDEM_TRY(json_metrics(out, report, index));
    TANDEM_TRY(tandem_buffer_puts(out, "}"));
    if (report->per_query) {
        TANDEM_TRY(json_queries(out, report, index));
    }
    return tandem_buffer_puts(out, "}");
}

/* Runs in the order given; "difference" is from the first run. */
int eval_report_json(tandem_buffer *out, const eval_report *report)
{
    TANDEM_TRY(tandem_buffer_printf(out, "{\n  \"queries\": %zu,\n  \"runs\": [", report->selected_count));
    for (size_t r = 0; r < report->run_count; r++) {
        TANDEM_TRY(json_run(out, report, r));
    }
    return tandem_buffer_puts(out, "\n  ]\n}\n");
}
