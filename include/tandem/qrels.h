/* qrels.h - relevance judgments: BEIR's tsv and TREC's qrels. */
#ifndef TANDEM_QRELS_H
#define TANDEM_QRELS_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *document_id;
    int32_t grade; /* relevant when >= 1; TREC allows -127..127 */
} tandem_judgment;

typedef struct {
    const char *query_id;
    const tandem_judgment *judgments; /* in file order */
    size_t count;
} tandem_judged_query;

typedef struct tandem_qrels tandem_qrels;

/* Reads qrels, .zst or not. A file whose name (before ".zst") ends in ".tsv" is BEIR's
 * `query-id<TAB>corpus-id<TAB>score`, with or without that header; any other has TREC's four columns
 * `query iteration document grade`, split on blanks; lines that start with '#' are
 * comments there. A wrong number of fields, a grade that is no integer, or a second
 * judgment of the same pair is an error naming the line. */
int tandem_qrels_read(tandem_qrels **out, const char *path);
void tandem_qrels_free(tandem_qrels *qrels); /* NULL is fine */
/* Queries sorted by id in strcmp order. */
size_t tandem_qrels_count(const tandem_qrels *qrels);
const tandem_judged_query *tandem_qrels_query(const tandem_qrels *qrels, size_t index);
/* NULL when the query has no judgment. */
const tandem_judged_query *tandem_qrels_find(const tandem_qrels *qrels, const char *query_id);

#ifdef __cplusplus
}
#endif
#endif
