/* qrels_reader.h - private to data/: judgments line by line, so that dataset_check.c can
 * report a bad line and go on with the next. */
#ifndef TANDEM_DATA_QRELS_READER_H
#define TANDEM_DATA_QRELS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/qrels.h"

typedef struct {
    const char *query_id, *document_id; /* in the qrels' memory */
    int32_t grade;
    bool new_query; /* the first judgment of this query */
} tandem_qrels_line;

int tandem_qrels_new(tandem_qrels **out);

/* Takes one line, which is cut up in place. `tsv`: BEIR's three columns, else TREC's four;
 * `first`: the line may be BEIR's header. 1 when it was a judgment, 0 when it was a header,
 * a comment or blank, negative on failure, whose message begins with `source`. */
int tandem_qrels_add(tandem_qrels *qrels, char *line, size_t length, bool tsv, bool first,
                     const char *source, tandem_qrels_line *added);

/* To be called once after the last line: sorts, and makes the public functions valid. */
int tandem_qrels_finish(tandem_qrels *qrels);

#endif
