/* table.h - tables of text, laid out for terminals, Markdown or LaTeX. */
#ifndef TANDEM_CLI_TABLE_H
#define TANDEM_CLI_TABLE_H

#include "tandem/memory.h"

typedef enum { TABLE_TEXT, TABLE_MARKDOWN, TABLE_LATEX } table_style;

/* Lays out rows of cells, each cell ended by '\n', the first row being the head. `align` has a letter a
 * column, 'l' or 'r'. What Markdown or LaTeX would read as markup is escaped. */
int table_put(tandem_buffer *out, const char *cells, const char *align, table_style style);

/* Adds a text of the user's as a cell: white space in it becomes blanks, control characters U+FFFD, and after
 * `limit` characters (0: none) it is cut. */
int table_cell(tandem_buffer *cells, const char *text, size_t limit);

/* A line above a table, an empty one before it. `text` ends where its line ends. */
int table_heading(tandem_buffer *out, const char *text, table_style style);

#endif
