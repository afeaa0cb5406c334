/* table.h - private to data/: rows of named columns, whatever file they come from. */
#ifndef TANDEM_DATA_TABLE_H
#define TANDEM_DATA_TABLE_H

#include <stddef.h>

#include "tandem/import.h"

typedef struct {
    const char *id, *title; /* of an object {"id"|"_id"|"docid", "title", "text"}; NULL: none */
    const char *text;
} tandem_cell;

/* What a row holds in one column: one cell in TSV and CSV; one an item of an array in JSON; one
 * an element of the name in XML; none where JSON or XML leave it out. */
typedef struct {
    const tandem_cell *items;
    size_t count;
} tandem_cells;

typedef struct {
    tandem_table_layout layout;
    char separator;     /* CSV; 0: a comma */
    const char *record; /* XML */
    const char *const *columns;
    size_t count;
} tandem_table_options;

/* Columns are looked for once, in the first row; `options` is borrowed. */
typedef struct tandem_table tandem_table;

int tandem_table_open(tandem_table **out, const char *path, const tandem_table_options *options);
/* 1 with `row` [options->count], borrowed until the next call; 0 at the end. Numbers of JSON come
 * as text that reads back as the same double, true and false as 1 and 0. */
int tandem_table_next(tandem_table *table, const tandem_cells **row);
/* Where the row last given begins, for messages: "pairs.tsv:17". NULL with the message set. */
const char *tandem_table_where(tandem_table *table);
void tandem_table_close(tandem_table *table); /* NULL is fine */

#endif
