/* report.h - one self-contained HTML page on what a training changed: metrics, queries, curves, mined negatives. */
#ifndef TANDEM_REPORT_H
#define TANDEM_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/error.h"
#include "tandem/memory.h"
#include "tandem/metrics.h"
#include "tandem/qrels.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TANDEM_REPORT_NONE SIZE_MAX

typedef struct {
    const char *name, *path; /* a run file */
    size_t baseline;         /* index of the system, before this one, that it is compared with; or TANDEM_REPORT_NONE */
} tandem_report_system;

/* A file, or a fact and its value. */
typedef struct {
    const char *name, *value;
} tandem_report_item;

/* All borrowed. Counts may be 0 but for systems and metrics. */
typedef struct {
    const char *title;
    const tandem_report_item *facts; /* what the reader should know of the run */
    size_t fact_count;
    const tandem_qrels *qrels;
    const tandem_dataset *dataset; /* NULL: ids are shown for texts, and lengths are unknown */
    const tandem_report_system *systems;
    size_t system_count;
    const tandem_metric *metrics; /* the first is the one of charts and examples */
    size_t metric_count;
    const tandem_report_item *logs; /* a metrics.jsonl each */
    size_t log_count;
    const tandem_report_item *mined; /* training groups with scores each */
    size_t mined_count;
    uint64_t seed; /* of bootstrap and randomization */
} tandem_report;

/* The page: no scripts, nothing from the network, light and dark, every text escaped. The same input gives the same
 * bytes. Fails where a file cannot be read, naming it. */
int tandem_report_html(tandem_buffer *out, const tandem_report *report);

#ifdef __cplusplus
}
#endif
#endif
