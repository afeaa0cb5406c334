/* report.h - private to eval/: what the sections of a report are made from. */
#ifndef TANDEM_EVAL_REPORT_H
#define TANDEM_EVAL_REPORT_H

#include "eval/html.h"
#include "tandem/compare.h"
#include "tandem/report.h"
#include "tandem/run.h"

typedef struct {
    const tandem_report *in;
    html page;
    tandem_run **runs;              /* [systems] */
    tandem_scores *scores;          /* [systems], of all judged queries */
    tandem_bootstrap *intervals;    /* [systems, metrics] */
    tandem_comparison *comparisons; /* [systems, metrics], where there is a baseline */
    double *holm;                   /* [systems, metrics] p of these, corrected by metric */
} report;

extern const char *const report_style[]; /* the style sheet, ended by NULL (report_style.c) */

/* The values by query of a system, by a metric. */
const double *report_values(const report *r, size_t system, size_t metric);
/* The highest value by the first metric, at least 1: the end of its axes. */
double report_top(const report *r);
/* A query's text, or its id where there are no texts; a document's likewise. */
const char *report_query_text(const report *r, const char *id);
const char *report_document_text(const report *r, const char *id);
/* A class of the style sheet for a system's colour. */
const char *report_colour(size_t system);

/* Each writes its sections; nothing when there is nothing to show. */
void report_queries(report *r); /* report_queries.c: by length and by number of positives */
void report_pairs(report *r);   /* report_pairs.c: a system against its baseline, query by query */
int report_training(report *r); /* report_training.c: curves */
int report_mined(report *r);    /* report_mined.c: margins */

#endif
