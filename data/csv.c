/* csv.c - rows of fields, read line by line. */
#include "data/csv.h"

#include <stdlib.h>
#include <string.h>

#include "data/checked_lines.h"
#include "tandem/file.h"
#include "tandem/memory.h"

/* A quotation mark that nothing closes would otherwise take in the rest of a large file. */
enum { RECORD_LIMIT = 64 << 20 };

struct tandem_csv {
    tandem_lines *lines;
    char separator;
    bool quotes;
    size_t line;         /* where the row begins */
    tandem_buffer row;   /* its fields, each with a NUL after it */
    size_t *starts;      /* [count] in `row` */
    const char **fields; /* [count] the same as pointers, once `row` has stopped growing */
    size_t count, start_capacity, field_capacity;
};

int tandem_csv_open(tandem_csv **out, const char *path, char separator, bool quotes)
{
    tandem_csv *csv = tandem_alloc(1, sizeof *csv);
    if (!csv) {
        return TANDEM_ERROR;
    }
    csv->separator = separator;
    csv->quotes = quotes;
    int rc = tandem_lines_open(&csv->lines, path);
    if (rc < 0) {
        tandem_csv_close(csv);
        return rc;
    }
    *out = csv;
    return TANDEM_OK;
}

/* Moves *at to the next line, which goes on with the field that was opened on line `opened`. */
static int next_line(tandem_csv *csv, char **at, size_t opened)
{
    size_t length;
    int rc = csv->row.length < RECORD_LIMIT ? tandem_checked_lines_next(csv->lines, at, &length) : 0;
    return rc != 0 ? rc : tandem_error("%s:%zu: the quoted field that begins here is not closed",
                                       tandem_lines_path(csv->lines), opened);
}

/* Appends what stands from *at to the closing quotation mark, and moves *at behind it. */
static int read_quoted(tandem_csv *csv, char **at)
{
    size_t opened = tandem_lines_number(csv->lines);
    for (;;) {
        char *mark = strchrnul(*at, '"');
        TANDEM_TRY(tandem_buffer_append(&csv->row, *at, (size_t)(mark - *at)));
        if (*mark == '\0') {
            TANDEM_TRY(tandem_buffer_append(&csv->row, "\n", 1));
            TANDEM_TRY(next_line(csv, at, opened));
        } else if (mark[1] == '"') {
            TANDEM_TRY(tandem_buffer_append(&csv->row, "\"", 1));
            *at = mark + 2;
        } else {
            *at = mark + 1;
            return TANDEM_OK;
        }
    }
}

static int read_field(tandem_csv *csv, char **at)
{
    void *starts = csv->starts;
    TANDEM_TRY(tandem_grow(&starts, &csv->start_capacity, csv->count + 1, sizeof *csv->starts));
    csv->starts = starts;
    csv->starts[csv->count++] = csv->row.length;
    if (csv->quotes && **at == '"') {
        ++*at;
        TANDEM_TRY(read_quoted(csv, at));
        if (**at != csv->separator && **at != '\0') {
            return tandem_error("%s:%zu: field %zu: expected its end after the closing quotation mark, found \"%.20s\"",
                                tandem_lines_path(csv->lines), tandem_lines_number(csv->lines), csv->count, *at);
        }
    } else {
        size_t length = (size_t)(strchrnul(*at, csv->separator) - *at);
        TANDEM_TRY(tandem_buffer_append(&csv->row, *at, length));
        *at += length;
    }
    return tandem_buffer_append(&csv->row, "", 1);
}

int tandem_csv_next(tandem_csv *csv, const char *const **fields, size_t *count)
{
    char *at;
    size_t length;
    int rc;
    do {
        rc = tandem_checked_lines_next(csv->lines, &at, &length);
    } while (rc == 1 && length == 0);
    if (rc <= 0) {
        return rc;
    }
    csv->line = tandem_lines_number(csv->lines);
    csv->count = 0;
    tandem_buffer_clear(&csv->row);
    TANDEM_TRY(read_field(csv, &at));
    while (*at) {
        at++;
        TANDEM_TRY(read_field(csv, &at));
    }
    void *pointers = csv->fields;
    TANDEM_TRY(tandem_grow(&pointers, &csv->field_capacity, csv->count, sizeof *csv->fields));
    csv->fields = pointers;
    for (size_t i = 0; i < csv->count; i++) {
        csv->fields[i] = csv->row.data + csv->starts[i];
    }
    *fields = csv->fields;
    *count = csv->count;
    return 1;
}

size_t tandem_csv_line(const tandem_csv *csv)
{
    return csv->line;
}

void tandem_csv_close(tandem_csv *csv)
{
    if (csv) {
        tandem_lines_close(csv->lines);
        tandem_buffer_free(&csv->row);
        free(csv->starts);
        free(csv->fields);
        free(csv);
    }
}
