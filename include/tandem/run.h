/* run.h - ranked results, and TREC run files. */
#ifndef TANDEM_RUN_H
#define TANDEM_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/error.h"
#include "tandem/search.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *document_id;
    double score;
} tandem_result;

typedef struct {
    const char *query_id;
    const tandem_result *results; /* score descending, ties by document id descending (strcmp) */
    size_t count;
} tandem_ranking;

typedef struct tandem_run tandem_run;

/* ---- building --------------------------------------------------------------------- */
/* `name` is the run id, the file's sixth column; blanks in it become '-'. Strings are copied. */
int tandem_run_new(tandem_run **out, const char *name);
void tandem_run_free(tandem_run *run); /* NULL is fine */
/* Adds a query's results, in any order and perhaps none; a query or document given twice is an
 * error, and so is a score that is not finite. Rankings that were borrowed before are invalid after. */
int tandem_run_add(tandem_run *run, const char *query_id, const tandem_result *results, size_t count);
/* Hits of a search: query q of the hits is queries[order[q]] (order NULL: identity). */
int tandem_run_from_hits(tandem_run **out, const char *name, const tandem_hits *hits,
                         const tandem_text *queries, const uint32_t *order, const tandem_text *documents);

/* ---- reading it --------------------------------------------------------------------- */
const char *tandem_run_name(const tandem_run *run);
size_t tandem_run_count(const tandem_run *run);
const tandem_ranking *tandem_run_ranking(const tandem_run *run, size_t index); /* query ids in strcmp order */
const tandem_ranking *tandem_run_find(const tandem_run *run, const char *query_id); /* or NULL */

/* ---- files ----------------------------------------------------------------------------- */
/* `query Q0 document rank score name`, .zst or not, "-" for stdin; rank and the second column are not
 * read, order comes from the score (doubles, as trec_eval 10). Lines of a query need not come
 * together. Errors name the line: fewer than six fields, a score that is no finite number, a document
 * twice in a query. As in trec_eval 10, more than six fields are allowed, the run's
 * name is that of the last line, and empty lines and lines that begin with '#' are skipped. */
int tandem_run_read(tandem_run **out, const char *path);
/* Ranks count from 1; scores are written so that reading gives the same doubles. An id that the
 * columns cannot hold (empty, with a blank) is an error. A query without results leaves no line. */
int tandem_run_write(const tandem_run *run, const char *path);

#ifdef __cplusplus
}
#endif
#endif
