/* metric_list.h - metrics as the command line names them. */
#ifndef TANDEM_CLI_METRIC_LIST_H
#define TANDEM_CLI_METRIC_LIST_H

#include "tandem/metrics.h"

/* "ndcg@10,map" into a new array, which the caller frees (on failure too); TANDEM_USAGE when a name is unknown or
 * one metric is named twice. */
int metric_list_parse(tandem_metric **out, size_t *count, const char *list);

#endif
