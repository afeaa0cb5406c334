/* eval_report.h - what `tandem eval` found, as tables or as JSON. */
#ifndef TANDEM_CLI_EVAL_REPORT_H
#define TANDEM_CLI_EVAL_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/compare.h"
#include "tandem/memory.h"
#include "tandem/metrics.h"

typedef struct {
    const char *path, *name; /* borrowed */
    tandem_scores scores;    /* of all judged queries */
} eval_run;

typedef struct {
    double mean;
    double low, high;             /* when compared */
    tandem_comparison comparison; /* with the first run; when compared, and not of the first run */
} eval_cell;

typedef struct {
    tandem_qrels *qrels;
    eval_run *runs;
    size_t run_count;
    tandem_metric *metrics;
    size_t metric_count;
    size_t *selected; /* [selected_count] the queries averaged over, as indices in the scores */
    size_t selected_count;
    eval_cell *cells; /* [run_count, metric_count] */
    bool compared, per_query;
} eval_report;

void eval_report_free(eval_report *report);
int eval_report_text(tandem_buffer *out, const eval_report *report);
int eval_report_json(tandem_buffer *out, const eval_report *report);

#endif
