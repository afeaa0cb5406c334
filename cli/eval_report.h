/* eval_report.h - what `tandem eval` found, as tables, CSV or JSON. */
#ifndef TANDEM_CLI_EVAL_REPORT_H
#define TANDEM_CLI_EVAL_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/table.h"
#include "tandem/compare.h"
#include "tandem/dataset.h"
#include "tandem/memory.h"
#include "tandem/metrics.h"

typedef struct {
    const char *path, *name; /* borrowed */
    const tandem_run *run;   /* borrowed */
    tandem_scores scores;    /* of all judged queries */
} eval_run;

typedef struct {
    double mean;
    /* When compared: */
    tandem_bootstrap interval;
    tandem_comparison comparison; /* with the first run; not of the first run */
    double holm;                  /* its p, corrected for all runs that were compared by this metric */
} eval_cell;

typedef struct {
    tandem_qrels *qrels;
    tandem_texts texts; /* of queries, when they were given */
    tandem_arena *arena;
    eval_run *runs;
    size_t run_count;
    tandem_metric *metrics;
    size_t metric_count;
    size_t *selected; /* [selected_count] the queries averaged over, as indices in the scores */
    size_t selected_count;
    eval_cell *cells; /* [run_count, metric_count] */
    bool compared, per_query, summary, bca;
    tandem_score_options options;
    size_t moved; /* how many queries that gained most, and lost most, are shown of a run */
} eval_report;

void eval_report_free(eval_report *report);
int eval_report_tables(tandem_buffer *out, const eval_report *report, table_style style);
/* A line a run and metric, or with per_query a line a run and query. */
int eval_report_csv(tandem_buffer *out, const eval_report *report);
int eval_report_trec(tandem_buffer *out, const eval_report *report); /* the metrics are in trec_eval's order */
/* Runs in the order given; "difference" is from the first run. */
int eval_report_json(tandem_buffer *out, const eval_report *report);

/* ---- shared by eval_report.c and compare_report.c ------------------------------------------ */
const eval_cell *eval_report_cell(const eval_report *report, size_t run, size_t metric);
double eval_report_value(const eval_report *report, size_t run, size_t metric, size_t selected);
const char *eval_report_query(const eval_report *report, size_t selected); /* its id */
/* The values of the selected queries. */
void eval_report_gather(double *out, const eval_report *report, size_t run, size_t metric);
/* The one of both kinds that is to be shown. */
tandem_interval eval_report_interval(const eval_report *report, const tandem_bootstrap *interval);
/* `"key": ` with what comes before it; a JSON number, null where there is none. */
int eval_json_key(tandem_buffer *out, const char *before, const char *key);
int eval_json_number(tandem_buffer *out, const char *before, const char *key, double value);

/* ---- compare_report.c ----------------------------------------------------------------------- */
int compare_report_tables(tandem_buffer *out, const eval_report *report, table_style style);
int compare_report_json_interval(tandem_buffer *out, const tandem_bootstrap *interval);
int compare_report_json(tandem_buffer *out, const eval_cell *cell);
/* Queries that moved most between the first run and `run`, by the first metric. */
int compare_report_json_moves(tandem_buffer *out, const eval_report *report, size_t run);
int compare_report_csv_head(tandem_buffer *out);
int compare_report_csv(tandem_buffer *out, const eval_cell *cell, bool baseline);

#endif
