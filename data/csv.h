/* csv.h - private to data/: rows of fields, as RFC 4180 has them or between tabs. */
#ifndef TANDEM_DATA_CSV_H
#define TANDEM_DATA_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/error.h"

typedef struct tandem_csv tandem_csv;

/* With `quotes`, a field that begins with a quotation mark ends at the next one that is not
 * doubled, and may hold separators and line ends (read as "\n"); in any other field a
 * quotation mark is a character like others, as Python's csv reads it. */
int tandem_csv_open(tandem_csv **out, const char *path, char separator, bool quotes);
/* The next row; empty lines are passed over. 1 with fields, which are borrowed until the next
 * call; 0 at the end; negative on failure. */
int tandem_csv_next(tandem_csv *csv, const char *const **fields, size_t *count);
size_t tandem_csv_line(const tandem_csv *csv); /* on which the row last given begins */
void tandem_csv_close(tandem_csv *csv);        /* NULL is fine */

#endif
