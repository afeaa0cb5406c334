/* eval_report.c - the tables, the CSV and the JSON of `tandem eval`. */
#include "cli/eval_report.h"

#include <math.h>
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
    tandem_texts_free(&report->texts);
    tandem_arena_free(report->arena);
    tandem_qrels_free(report->qrels);
}

const eval_cell *eval_report_cell(const eval_report *report, size_t run, size_t metric)
{
    return &report->cells[run * report->metric_count + metric];
}

double eval_report_value(const eval_report *report, size_t run, size_t metric, size_t selected)
{
    const tandem_scores *scores = &report->runs[run].scores;
    return scores->values[metric * scores->query_count + report->selected[selected]];
}

const char *eval_report_query(const eval_report *report, size_t selected)
{
    return report->runs[0].scores.query_ids[report->selected[selected]];
}

void eval_report_gather(double *out, const eval_report *report, size_t run, size_t metric)
{
    for (size_t i = 0; i < report->selected_count; i++) {
        out[i] = eval_report_value(report, run, metric, i);
    }
}

tandem_interval eval_report_interval(const eval_report *report, const tandem_bootstrap *interval)
{
    return report->bca ? interval->bca : interval->percentile;
}

/* ---- tables ------------------------------------------------------------------------- */
static int metric_names(tandem_buffer *cells, const eval_report *report)
{
    for (size_t m = 0; m < report->metric_count; m++) {
        TANDEM_TRY(tandem_buffer_printf(cells, "%s\n", report->metrics[m].name));
    }
    return TANDEM_OK;
}

static int value_cell(tandem_buffer *cells, const tandem_metric *metric, double value)
{
    bool count = metric->summary == TANDEM_METRIC_SUM || metric->summary == TANDEM_METRIC_QUERIES;
    return tandem_buffer_printf(cells, count ? "%.0f\n" : "%.4f\n", value);
}

static int query_cells(tandem_buffer *cells, const eval_report *report)
{
    TANDEM_TRY(tandem_buffer_puts(cells, "run\nquery\n"));
    TANDEM_TRY(metric_names(cells, report));
    for (size_t r = 0; r < report->run_count; r++) {
        for (size_t q = 0; q < report->selected_count; q++) {
            TANDEM_TRY(table_cell(cells, report->runs[r].path, 0));
            TANDEM_TRY(table_cell(cells, eval_report_query(report, q), 0));
            for (size_t m = 0; m < report->metric_count; m++) {
                TANDEM_TRY(value_cell(cells, &report->metrics[m], eval_report_value(report, r, m, q)));
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
        TANDEM_TRY(table_cell(cells, report->runs[r].path, 0));
        TANDEM_TRY(tandem_buffer_printf(cells, "%zu\n", report->selected_count));
        for (size_t m = 0; m < report->metric_count; m++) {
            const eval_cell *cell = eval_report_cell(report, r, m);
            tandem_interval interval = eval_report_interval(report, &cell->interval);
            TANDEM_TRY(report->compared ? tandem_buffer_printf(cells, "%.4f [%.4f, %.4f]\n", cell->mean, interval.low,
                                                               interval.high)
                                        : value_cell(cells, &report->metrics[m], cell->mean));
        }
    }
    return TANDEM_OK;
}

static int put_tables(tandem_buffer *out, tandem_buffer *cells, const eval_report *report, const char *align,
                      table_style style)
{
    if (report->per_query) {
        TANDEM_TRY(query_cells(cells, report));
        TANDEM_TRY(table_put(out, cells->data, align, style));
        TANDEM_TRY(tandem_buffer_puts(out, "\n"));
        tandem_buffer_clear(cells);
    }
    TANDEM_TRY(summary_cells(cells, report));
    TANDEM_TRY(table_put(out, cells->data, align, style));
    return report->compared ? compare_report_tables(out, report, style) : TANDEM_OK;
}

int eval_report_tables(tandem_buffer *out, const eval_report *report, table_style style)
{
    tandem_buffer cells = TANDEM_BUFFER_INIT, align = TANDEM_BUFFER_INIT;
    int rc = tandem_buffer_puts(&align, "lr");
    for (size_t m = 0; rc >= 0 && m < report->metric_count; m++) {
        rc = tandem_buffer_puts(&align, "r");
    }
    rc = rc < 0 ? rc : put_tables(out, &cells, report, align.data, style);
    tandem_buffer_free(&align);
    tandem_buffer_free(&cells);
    return rc;
}

/* ---- CSV (RFC 4180) ------------------------------------------------------------------- */
static int csv_text(tandem_buffer *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        return tandem_buffer_puts(out, text);
    }
    TANDEM_TRY(tandem_buffer_puts(out, "\""));
    for (; *text; text++) {
        TANDEM_TRY(tandem_buffer_append(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1));
    }
    return tandem_buffer_puts(out, "\"");
}

static int csv_queries(tandem_buffer *out, const eval_report *report)
{
    TANDEM_TRY(tandem_buffer_puts(out, "run,query"));
    for (size_t m = 0; m < report->metric_count; m++) {
        TANDEM_TRY(tandem_buffer_printf(out, ",%s", report->metrics[m].name));
    }
    for (size_t r = 0; r < report->run_count; r++) {
        for (size_t q = 0; q < report->selected_count; q++) {
            TANDEM_TRY(tandem_buffer_puts(out, "\n"));
            TANDEM_TRY(csv_text(out, report->runs[r].path));
            TANDEM_TRY(tandem_buffer_puts(out, ","));
            TANDEM_TRY(csv_text(out, eval_report_query(report, q)));
            for (size_t m = 0; m < report->metric_count; m++) {
                TANDEM_TRY(tandem_buffer_printf(out, ",%.17g", eval_report_value(report, r, m, q)));
            }
        }
    }
    return tandem_buffer_puts(out, "\n");
}

int eval_report_csv(tandem_buffer *out, const eval_report *report)
{
    if (report->per_query) {
        return csv_queries(out, report);
    }
    TANDEM_TRY(tandem_buffer_puts(out, "run,metric,queries,mean"));
    TANDEM_TRY(report->compared ? compare_report_csv_head(out) : TANDEM_OK);
    for (size_t r = 0; r < report->run_count; r++) {
        for (size_t m = 0; m < report->metric_count; m++) {
            const eval_cell *cell = eval_report_cell(report, r, m);
            TANDEM_TRY(tandem_buffer_puts(out, "\n"));
            TANDEM_TRY(csv_text(out, report->runs[r].path));
            TANDEM_TRY(tandem_buffer_printf(out, ",%s,%zu,%.17g", report->metrics[m].name, report->selected_count,
                                            cell->mean));
            TANDEM_TRY(report->compared ? compare_report_csv(out, cell, r == 0) : TANDEM_OK);
        }
    }
    return tandem_buffer_puts(out, "\n");
}

/* ---- JSON ------------------------------------------------------------------------------ */
static int json_string(tandem_buffer *out, const char *text)
{
    return tandem_buffer_json_string(out, text, strlen(text));
}

int eval_json_key(tandem_buffer *out, const char *before, const char *key)
{
    TANDEM_TRY(tandem_buffer_puts(out, before));
    TANDEM_TRY(json_string(out, key));
    return tandem_buffer_puts(out, ": ");
}

int eval_json_number(tandem_buffer *out, const char *before, const char *key, double value)
{
    TANDEM_TRY(eval_json_key(out, before, key));
    return isfinite(value) ? tandem_buffer_printf(out, "%.17g", value) : tandem_buffer_puts(out, "null");
}

static int json_metrics(tandem_buffer *out, const eval_report *report, size_t run)
{
    for (size_t m = 0; m < report->metric_count; m++) {
        const eval_cell *cell = eval_report_cell(report, run, m);
        TANDEM_TRY(eval_json_key(out, m ? ",\n       " : "\n       ", report->metrics[m].name));
        TANDEM_TRY(eval_json_number(out, "{", "mean", cell->mean));
        TANDEM_TRY(report->compared ? compare_report_json_interval(out, &cell->interval) : TANDEM_OK);
        TANDEM_TRY(report->compared && run > 0 ? compare_report_json(out, cell) : TANDEM_OK);
        TANDEM_TRY(tandem_buffer_puts(out, "}"));
    }
    return TANDEM_OK;
}

static int json_queries(tandem_buffer *out, const eval_report *report, size_t run)
{
    TANDEM_TRY(tandem_buffer_puts(out, ",\n     \"per_query\": {"));
    for (size_t q = 0; q < report->selected_count; q++) {
        const char *id = eval_report_query(report, q);
        TANDEM_TRY(eval_json_key(out, q ? ",\n       " : "\n       ", id));
        for (size_t m = 0; m < report->metric_count; m++) {
            TANDEM_TRY(eval_json_number(out, m ? ", " : "{", report->metrics[m].name,
                                        eval_report_value(report, run, m, q)));
        }
        TANDEM_TRY(tandem_buffer_puts(out, "}"));
    }
    return tandem_buffer_puts(out, "}");
}

static int json_run(tandem_buffer *out, const eval_report *report, size_t index)
{
    const eval_run *run = &report->runs[index];
    TANDEM_TRY(eval_json_key(out, index ? ",\n    {" : "\n    {", "path"));
    TANDEM_TRY(json_string(out, run->path));
    TANDEM_TRY(eval_json_key(out, ", ", "name"));
    TANDEM_TRY(json_string(out, run->name));
    TANDEM_TRY(tandem_buffer_printf(out, ", \"missing\": %zu, \"unjudged\": %zu, \"self_excluded\": %zu,\n",
                                    run->scores.missing, run->scores.unjudged, run->scores.self_excluded));
    TANDEM_TRY(tandem_buffer_puts(out, "     \"metrics\": {"));
    TANDEM_TRY(json_metrics(out, report, index));
    TANDEM_TRY(tandem_buffer_puts(out, "}"));
    TANDEM_TRY(report->per_query ? json_queries(out, report, index) : TANDEM_OK);
    TANDEM_TRY(report->compared && index > 0 ? compare_report_json_moves(out, report, index) : TANDEM_OK);
    return tandem_buffer_puts(out, "}");
}

int eval_report_json(tandem_buffer *out, const eval_report *report)
{
    TANDEM_TRY(tandem_buffer_printf(out, "{\n  \"queries\": %zu,\n  \"runs\": [", report->selected_count));
    for (size_t r = 0; r < report->run_count; r++) {
        TANDEM_TRY(json_run(out, report, r));
    }
    return tandem_buffer_puts(out, "\n  ]\n}\n");
}
