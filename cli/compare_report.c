/* compare_report.c - what `tandem eval --compare` adds: differences, and the queries that moved most. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval_report.h"

enum { TEXT_LIMIT = 100 }; /* characters of a query's text in a table */

/* ---- differences as a table ------------------------------------------------------------------- */
static int put_p(tandem_buffer *cells, double p)
{
    return isnan(p)     ? tandem_buffer_puts(cells, "-\n")
           : p < 0.0001 ? tandem_buffer_puts(cells, "<0.0001\n")
                        : tandem_buffer_printf(cells, "%.4f\n", p);
}

static int difference_cells(tandem_buffer *cells, const eval_report *report, size_t run, size_t metric)
{
    const eval_cell *cell = eval_report_cell(report, run, metric);
    const tandem_comparison *c = &cell->comparison;
    tandem_interval interval = eval_report_interval(report, &c->interval);
    TANDEM_TRY(table_cell(cells, report->runs[run].path, 0));
    TANDEM_TRY(tandem_buffer_printf(cells, "%s\n%+.4f\n[%+.4f, %+.4f]\n", report->metrics[metric].name, c->difference,
                                    interval.low, interval.high));
    TANDEM_TRY(put_p(cells, c->p));
    TANDEM_TRY(put_p(cells, cell->holm));
    TANDEM_TRY(tandem_buffer_puts(cells, c->exact ? "exact\n" : "sampled\n"));
    TANDEM_TRY(put_p(cells, c->t_p));
    TANDEM_TRY(isnan(c->effect) ? tandem_buffer_puts(cells, "-\n") : tandem_buffer_printf(cells, "%+.3f\n", c->effect));
    return tandem_buffer_printf(cells, "%zu\n%zu\n%zu\n", c->wins, c->ties, c->losses);
}

static int differences(tandem_buffer *cells, const eval_report *report)
{
    TANDEM_TRY(tandem_buffer_puts(cells, "run\nmetric\ndifference\n95 % interval\np\nHolm p\ntest\nt-test p\nd\nwins\n"
                                         "ties\nlosses\n"));
    for (size_t r = 1; r < report->run_count; r++) {
        for (size_t m = 0; m < report->metric_count; m++) {
            TANDEM_TRY(difference_cells(cells, report, r, m));
        }
    }
    return TANDEM_OK;
}

/* ---- queries that moved ------------------------------------------------------------------------- */
static const char *text_of(const eval_report *report, const char *query_id)
{
    size_t index;
    bool found = report->texts.by_id && tandem_strmap_find(report->texts.by_id, query_id, strlen(query_id), &index);
    return found ? report->texts.items[index].text : NULL;
}

typedef int put_move(tandem_buffer *out, const eval_report *report, size_t run, const tandem_move *move, size_t index);

static int move_cells(tandem_buffer *cells, const eval_report *report, size_t run, const tandem_move *move,
                      size_t index)
{
    const char *id = eval_report_query(report, move->query), *text = text_of(report, id);
    (void)index;
    TANDEM_TRY(table_cell(cells, report->runs[run].path, 0));
    TANDEM_TRY(table_cell(cells, id, 0));
    TANDEM_TRY(tandem_buffer_printf(cells, "%.4f\n%.4f\n%+.4f\n", eval_report_value(report, 0, 0, move->query),
                                    eval_report_value(report, run, 0, move->query), move->difference));
    return report->texts.items ? table_cell(cells, text ? text : "", TEXT_LIMIT) : TANDEM_OK;
}

static int move_json(tandem_buffer *out, const eval_report *report, size_t run, const tandem_move *move, size_t index)
{
    const char *id = eval_report_query(report, move->query), *text = text_of(report, id);
    TANDEM_TRY(eval_json_key(out, index ? ",\n       {" : "\n       {", "query"));
    TANDEM_TRY(tandem_buffer_json_string(out, id, strlen(id)));
    if (text) {
        TANDEM_TRY(eval_json_key(out, ", ", "text"));
        TANDEM_TRY(tandem_buffer_json_string(out, text, strlen(text)));
    }
    TANDEM_TRY(eval_json_number(out, ", ", "before", eval_report_value(report, 0, 0, move->query)));
    TANDEM_TRY(eval_json_number(out, ", ", "after", eval_report_value(report, run, 0, move->query)));
    return tandem_buffer_puts(out, "}");
}

/* The queries that gained most, then those that lost most (the most first), by the first metric. */
static int put_moves(tandem_buffer *out, const eval_report *report, size_t run, put_move *put)
{
    size_t count = report->selected_count, shown = 0;
    tandem_move *moves = tandem_alloc(count, sizeof *moves);
    double *before = tandem_alloc(count, sizeof *before), *after = tandem_alloc(count, sizeof *after);
    int rc = moves && before && after ? TANDEM_OK : TANDEM_ERROR;
    if (rc >= 0) {
        eval_report_gather(before, report, 0, 0);
        eval_report_gather(after, report, run, 0);
        tandem_moves(moves, before, after, count);
        size_t limit = report->moved < count ? report->moved : count;
        for (size_t i = 0; rc >= 0 && i < limit && moves[i].difference > 0; i++) {
            rc = put(out, report, run, &moves[i], shown++);
        }
        for (size_t i = 0; rc >= 0 && i < limit && moves[count - 1 - i].difference < 0; i++) {
            rc = put(out, report, run, &moves[count - 1 - i], shown++);
        }
    }
    free(after);
    free(before);
    free(moves);
    return rc;
}

static int moved_table(tandem_buffer *out, tandem_buffer *cells, const eval_report *report, table_style style)
{
    bool texts = report->texts.items != NULL;
    TANDEM_TRY(tandem_buffer_printf(cells, "run\nquery\nbefore\nafter\ndifference\n%s", texts ? "text\n" : ""));
    size_t head = cells->length;
    for (size_t r = 1; r < report->run_count; r++) {
        TANDEM_TRY(put_moves(cells, report, r, move_cells));
    }
    if (cells->length == head) {
        return TANDEM_OK;
    }
    char heading[96];
    snprintf(heading, sizeof heading, "queries that moved most by %s:", report->metrics[0].name);
    TANDEM_TRY(table_heading(out, heading, style));
    return table_put(out, cells->data, texts ? "llrrrl" : "llrrr", style);
}

int compare_report_tables(tandem_buffer *out, const eval_report *report, table_style style)
{
    tandem_buffer cells = TANDEM_BUFFER_INIT;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(&cells, "against %s:", report->runs[0].path));
    TANDEM_TRY_GOTO(rc, done, table_heading(out, cells.data, style));
    tandem_buffer_clear(&cells);
    TANDEM_TRY_GOTO(rc, done, differences(&cells, report));
    TANDEM_TRY_GOTO(rc, done, table_put(out, cells.data, "llrrrrlrrrrr", style));
    tandem_buffer_clear(&cells);
    rc = moved_table(out, &cells, report, style);
done:
    tandem_buffer_free(&cells);
    return rc;
}

/* ---- JSON ------------------------------------------------------------------------------------------ */
int compare_report_json_interval(tandem_buffer *out, const tandem_bootstrap *interval)
{
    TANDEM_TRY(eval_json_number(out, ", ", "low", interval->percentile.low));
    TANDEM_TRY(eval_json_number(out, ", ", "high", interval->percentile.high));
    TANDEM_TRY(eval_json_number(out, ", ", "bca_low", interval->bca.low));
    return eval_json_number(out, ", ", "bca_high", interval->bca.high);
}

int compare_report_json(tandem_buffer *out, const eval_cell *cell)
{
    const tandem_comparison *c = &cell->comparison;
    TANDEM_TRY(eval_json_key(out, ",\n        ", "difference"));
    TANDEM_TRY(eval_json_number(out, "{", "mean", c->difference));
    TANDEM_TRY(compare_report_json_interval(out, &c->interval));
    TANDEM_TRY(eval_json_number(out, ", ", "p", c->p));
    TANDEM_TRY(eval_json_number(out, ", ", "holm", cell->holm));
    TANDEM_TRY(eval_json_number(out, ", ", "t", c->t));
    TANDEM_TRY(eval_json_number(out, ", ", "t_p", c->t_p));
    TANDEM_TRY(eval_json_number(out, ", ", "effect", c->effect));
    return tandem_buffer_printf(out, ", \"exact\": %s, \"wins\": %zu, \"ties\": %zu, \"losses\": %zu}",
                                c->exact ? "true" : "false", c->wins, c->ties, c->losses);
}

int compare_report_json_moves(tandem_buffer *out, const eval_report *report, size_t run)
{
    TANDEM_TRY(tandem_buffer_puts(out, ",\n     \"moved\": ["));
    TANDEM_TRY(put_moves(out, report, run, move_json));
    return tandem_buffer_puts(out, "]");
}

/* ---- CSV --------------------------------------------------------------------------------------------- */
int compare_report_csv_head(tandem_buffer *out)
{
    return tandem_buffer_puts(out, ",low,high,bca_low,bca_high,difference,difference_low,difference_high,"
                                   "difference_bca_low,difference_bca_high,p,holm,exact,t,t_p,effect,wins,ties,losses");
}

static int csv_number(tandem_buffer *out, double value)
{
    return isfinite(value) ? tandem_buffer_printf(out, ",%.17g", value) : tandem_buffer_puts(out, ",");
}

static int csv_interval(tandem_buffer *out, const tandem_bootstrap *interval)
{
    return tandem_buffer_printf(out, ",%.17g,%.17g,%.17g,%.17g", interval->percentile.low, interval->percentile.high,
                                interval->bca.low, interval->bca.high);
}

int compare_report_csv(tandem_buffer *out, const eval_cell *cell, bool baseline)
{
    const tandem_comparison *c = &cell->comparison;
    TANDEM_TRY(csv_interval(out, &cell->interval));
    if (baseline) {
        return tandem_buffer_puts(out, ",,,,,,,,,,,,,,");
    }
    TANDEM_TRY(csv_number(out, c->difference));
    TANDEM_TRY(csv_interval(out, &c->interval));
    TANDEM_TRY(csv_number(out, c->p));
    TANDEM_TRY(csv_number(out, cell->holm));
    TANDEM_TRY(tandem_buffer_puts(out, c->exact ? ",true" : ",false"));
    TANDEM_TRY(csv_number(out, c->t));
    TANDEM_TRY(csv_number(out, c->t_p));
    TANDEM_TRY(csv_number(out, c->effect));
    return tandem_buffer_printf(out, ",%zu,%zu,%zu", c->wins, c->ties, c->losses);
}
