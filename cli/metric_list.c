/* metric_list.c - metrics as the command line names them. */
#include "cli/metric_list.h"

#include <stdlib.h>
#include <string.h>

#include "tandem/memory.h"

static int add_metric(tandem_metric **metrics, size_t *count, const char *name)
{
    tandem_metric metric;
    TANDEM_TRY(tandem_metric_parse(&metric, name));
    for (size_t i = 0; i < *count; i++) {
        if (strcmp((*metrics)[i].name, metric.name) == 0) {
            return tandem_error_code(TANDEM_USAGE, "metric '%s' is asked for twice", metric.name);
        }
    }
    void *grown = *metrics;
    TANDEM_TRY(tandem_realloc(&grown, *count + 1, sizeof metric));
    *metrics = grown;
    (*metrics)[(*count)++] = metric;
    return TANDEM_OK;
}

int metric_list_parse(tandem_metric **out, size_t *count, const char *list)
{
    *out = NULL;
    *count = 0;
    while (true) {
        const char *comma = strchr(list, ',');
        char *name = tandem_strndup(list, comma ? (size_t)(comma - list) : strlen(list));
        int rc = name ? add_metric(out, count, name) : TANDEM_ERROR;
        free(name);
        if (rc < 0 || !comma) {
            return rc;
        }
        list = comma + 1;
    }
}
