/* run.h - private to eval/: what a run is made of. */
#ifndef TANDEM_EVAL_RUN_H
#define TANDEM_EVAL_RUN_H

#include "tandem/memory.h"
#include "tandem/run.h"

typedef struct {
    tandem_ranking ranking;
    tandem_result *results; /* owned; what ranking.results shows */
} tandem_run_entry;

struct tandem_run {
    char *name;
    tandem_run_entry *entries; /* by query id in strcmp order once the run is handed out */
    size_t count, capacity;
    tandem_arena *arena; /* the ids */
};

/* The rule of ranking, everywhere: score descending, ties by document id descending. */
void tandem_run_rank(tandem_result *results, size_t count);
/* Appends a query whose ids live in the run's arena and takes over `results`, which are
 * ranked; tandem_run_order must follow. On failure the caller still owns them. */
int tandem_run_append(tandem_run *run, const char *query_id, tandem_result *results, size_t count);
/* Puts appended queries in strcmp order; a query that is there twice is an error. */
int tandem_run_order(tandem_run *run);

#endif
