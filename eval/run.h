/* run.h - private to eval/: what a run is made of. */
#ifndef TANDEM_EVAL_RUN_H
#define TANDEM_EVAL_RUN_H

#include "tandem/memory.h"
#include "tandem/run.h"

struct tandem_run {
    char *name;
    tandem_ranking *rankings; /* by query id in strcmp order once the run is handed out */
    size_t count, capacity;
    tandem_arena *arena; /* ids and results */
};

/* The rule of ranking, everywhere: score descending, ties by document id descending. */
void tandem_run_rank(tandem_result *results, size_t count);
/* Appends a query whose id and results, which are ranked, live as long as the run;
 * tandem_run_order must follow. */
int tandem_run_append(tandem_run *run, const char *query_id, const tandem_result *results, size_t count);
/* Puts appended queries in strcmp order; a query that is there twice is an error. */
int tandem_run_order(tandem_run *run);

#endif
