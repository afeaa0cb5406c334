/* table.c - TSV, CSV, JSON and XML as rows of the columns that are asked for. */
#include "data/table.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/checked_lines.h"
#include "data/csv.h"
#include "data/markup.h"
#include "data/text_reader.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/memory.h"

/* The cells of one column while a row is read. */
typedef struct {
    tandem_cell *items;
    size_t count, capacity;
} cell_list;

struct tandem_table {
    const tandem_table_options *options;
    tandem_table_layout layout; /* never AUTO */
    char *path;           /* as messages name it */
    tandem_arena *arena;  /* texts of the row */
    cell_list *lists;     /* [count] */
    tandem_cells *row;    /* [count] */
    size_t number;        /* of the row's line, or of the item in an array */
    tandem_buffer where;

    tandem_csv *csv;      /* TSV, CSV */
    size_t *positions;    /* [count] of the columns, from 0 */
    size_t fields;        /* each row has exactly so many; 0: there was no row of names */
    tandem_lines *lines;  /* JSONL */
    cJSON *array;         /* JSON */
    const cJSON *item;    /* the next one */
    tandem_markup *markup;
    tandem_buffer text;   /* of the element that is being read */
};

const char *tandem_table_where(tandem_table *table)
{
    tandem_buffer_clear(&table->where);
    const char *between = table->layout == TANDEM_LAYOUT_JSON ? ": item " : ":";
    int rc = tandem_buffer_printf(&table->where, "%s%s%zu", table->path, between, table->number);
    return rc < 0 ? NULL : table->where.data;
}

static int add_cell(tandem_table *table, size_t column, tandem_cell cell)
{
    cell_list *list = &table->lists[column];
    void *items = list->items;
    TANDEM_TRY(tandem_grow(&items, &list->capacity, list->count + 1, sizeof *list->items));
    list->items = items;
    list->items[list->count++] = cell;
    return TANDEM_OK;
}

/* ---- TSV and CSV -------------------------------------------------------------------------- */
/* A column's number from 1, or 0 when its name is none. */
static size_t column_number(const char *name)
{
    char *end;
    errno = 0;
    unsigned long number = strspn(name, "0123456789") == strlen(name) ? strtoul(name, &end, 10) : 0;
    return errno == 0 && number < INT32_MAX ? number : 0;
}

static bool all_numbers(const tandem_table_options *options)
{
    for (size_t i = 0; i < options->count; i++) {
        if (column_number(options->columns[i]) == 0) {
            return false;
        }
    }
    return true;
}

static int missing_column(tandem_table *table, const char *name, const char *const *fields, size_t count)
{
    tandem_buffer names = TANDEM_BUFFER_INIT;
    for (size_t i = 0; i < count; i++) {
        TANDEM_TRY(tandem_buffer_printf(&names, "%s\"%s\"", i > 0 ? ", " : "", fields[i]));
    }
    int rc = tandem_error("%s:%zu: no column \"%s\"; the first row has %.500s", table->path,
                          tandem_csv_line(table->csv), name, names.data);
    tandem_buffer_free(&names);
    return rc;
}

/* Finds the columns by their names in the first row, unless all are numbers. */
static int find_columns(tandem_table *table)
{
    const tandem_table_options *options = table->options;
    if (all_numbers(options)) {
        for (size_t i = 0; i < options->count; i++) {
            table->positions[i] = column_number(options->columns[i]) - 1;
        }
        return TANDEM_OK;
    }
    const char *const *fields;
    size_t count = 0;
    int rc = tandem_csv_next(table->csv, &fields, &count);
    if (rc <= 0) {
        return rc < 0 ? rc : tandem_error("%s: empty: expected a first row with the names of the columns", table->path);
    }
    table->fields = count;
    for (size_t i = 0; i < options->count; i++) {
        size_t at = 0;
        while (at < count && strcmp(fields[at], options->columns[i]) != 0) {
            at++;
        }
        if (at == count) {
            return missing_column(table, options->columns[i], fields, count);
        }
        table->positions[i] = at;
    }
    return TANDEM_OK;
}

static int read_fields(tandem_table *table)
{
    const char *const *fields;
    size_t count = 0;
    int rc = tandem_csv_next(table->csv, &fields, &count);
    if (rc <= 0) {
        return rc;
    }
    table->number = tandem_csv_line(table->csv);
    if (table->fields > 0 && count != table->fields) {
        return tandem_error("%s:%zu: expected %zu fields, as in the first row, found %zu", table->path, table->number,
                            table->fields, count);
    }
    for (size_t i = 0; i < table->options->count; i++) {
        if (table->positions[i] >= count) {
            return tandem_error("%s:%zu: expected at least %zu fields, found %zu", table->path, table->number,
                                table->positions[i] + 1, count);
        }
        TANDEM_TRY(add_cell(table, i, (tandem_cell){.text = fields[table->positions[i]]}));
    }
    return 1;
}

/* ---- JSON ----------------------------------------------------------------------------------- */
/* A string, number or boolean as text in the arena; NULL for anything else. */
static int scalar_text(tandem_table *table, const cJSON *value, const char **out)
{
    char number[40];
    const char *text = cJSON_IsString(value)  ? value->valuestring
                       : cJSON_IsTrue(value)  ? "1"
                       : cJSON_IsFalse(value) ? "0"
                                              : NULL;
    if (cJSON_IsNumber(value)) {
        snprintf(number, sizeof number, "%.17g", value->valuedouble);
        text = number;
    }
    *out = text ? tandem_arena_strndup(table->arena, text, strlen(text)) : NULL;
    return text && !*out ? TANDEM_ERROR : TANDEM_OK;
}

static int wrong_value(tandem_table *table, size_t column)
{
    const char *where = tandem_table_where(table);
    return !where ? TANDEM_ERROR
                  : tandem_error("%s: \"%s\": expected a text, an object with \"text\", or an array of them", where,
                                 table->options->columns[column]);
}

static int add_value(tandem_table *table, size_t column, const cJSON *value)
{
    static const char *const id_keys[] = {"id", "_id", "docid"};
    tandem_cell cell = {NULL, NULL, NULL};
    if (cJSON_IsObject(value)) {
        for (size_t i = 0; i < 3 && !cell.id; i++) {
            TANDEM_TRY(scalar_text(table, tandem_json_member(value, id_keys[i]), &cell.id));
        }
        TANDEM_TRY(scalar_text(table, tandem_json_member(value, "title"), &cell.title));
        value = tandem_json_member(value, "text");
    }
    TANDEM_TRY(scalar_text(table, value, &cell.text));
    return cell.text ? add_cell(table, column, cell) : wrong_value(table, column);
}

static int read_object(tandem_table *table, const cJSON *object)
{
    for (size_t i = 0; i < table->options->count; i++) {
        const cJSON *value = tandem_json_member(object, table->options->columns[i]);
        if (!value || cJSON_IsNull(value)) {
            continue;
        }
        if (!cJSON_IsArray(value)) {
            TANDEM_TRY(add_value(table, i, value));
            continue;
        }
        const cJSON *item;
        cJSON_ArrayForEach(item, value) {
            TANDEM_TRY(add_value(table, i, item));
        }
    }
    return 1;
}

static int read_json_line(tandem_table *table)
{
    char *line;
    size_t length;
    int rc;
    do {
        rc = tandem_checked_lines_next(table->lines, &line, &length);
    } while (rc == 1 && tandem_line_is_blank(line, length));
    if (rc <= 0) {
        return rc;
    }
    table->number = tandem_lines_number(table->lines);
    const char *where = tandem_table_where(table);
    cJSON *object = NULL;
    TANDEM_TRY(where ? tandem_line_parse(&object, line, length, where) : TANDEM_ERROR);
    rc = read_object(table, object);
    tandem_json_free(object);
    return rc;
}

static int read_json_item(tandem_table *table)
{
    const cJSON *item = table->item;
    if (!item) {
        return 0;
    }
    table->item = item->next;
    table->number++;
    if (!cJSON_IsObject(item)) {
        const char *where = tandem_table_where(table);
        return where ? tandem_error("%s: expected a JSON object", where) : TANDEM_ERROR;
    }
    return read_object(table, item);
}

static int open_array(tandem_table *table, const char *path)
{
    TANDEM_TRY(tandem_json_read(&table->array, path));
    table->item = table->array->child;
    return cJSON_IsArray(table->array) ? TANDEM_OK : tandem_error("%s: expected a JSON array of objects", table->path);
}

/* ---- XML ------------------------------------------------------------------------------------- */
static int add_text(tandem_table *table, size_t column, const char *text, size_t length)
{
    text = tandem_text_strip(text, &length);
    tandem_cell cell = {.text = tandem_arena_strndup(table->arena, text, length)};
    return cell.text ? add_cell(table, column, cell) : TANDEM_ERROR;
}

/* True when `column` is "name" or "name@attribute", and then *attribute is that or NULL. */
static bool names_element(const char *column, const char *name, const char **attribute)
{
    size_t length = strcspn(column, "@");
    *attribute = column[length] ? column + length + 1 : NULL;
    return strlen(name) == length && strncasecmp(column, name, length) == 0;
}

/* The start of an element: *inside becomes its column when its text is asked for. */
static int open_element(tandem_table *table, const tandem_markup_token *token, size_t *inside)
{
    for (size_t i = 0; i < table->options->count; i++) {
        const char *attribute;
        if (!names_element(table->options->columns[i], token->text, &attribute)) {
            continue;
        }
        size_t length;
        const char *value = attribute ? tandem_markup_attribute(token->attributes, attribute, &length) : NULL;
        if (value) {
            TANDEM_TRY(add_text(table, i, value, length));
        } else if (!attribute && *inside == table->options->count) {
            *inside = i;
            tandem_buffer_clear(&table->text);
        }
    }
    return TANDEM_OK;
}

/* Gives the text of an element to every column of its name. */
static int close_element(tandem_table *table, const char *name)
{
    for (size_t i = 0; i < table->options->count; i++) {
        const char *attribute;
        if (names_element(table->options->columns[i], name, &attribute) && !attribute) {
            TANDEM_TRY(add_text(table, i, table->text.data ? table->text.data : "", table->text.length));
        }
    }
    return TANDEM_OK;
}

/* What stands between the start of a record and its end. */
static int read_record(tandem_table *table)
{
    const size_t outside = table->options->count;
    size_t inside = outside;
    for (;;) {
        tandem_markup_token token;
        TANDEM_TRY(tandem_markup_next(table->markup, &token));
        if (tandem_markup_is(&token, TANDEM_MARKUP_CLOSE, table->options->record)) {
            return 1;
        }
        if (token.kind == TANDEM_MARKUP_END || tandem_markup_is(&token, TANDEM_MARKUP_OPEN, table->options->record)) {
            return tandem_error("%s:%zu: the <%s> that begins here is not closed", table->path, table->number,
                                table->options->record);
        }
        if (token.kind == TANDEM_MARKUP_OPEN) {
            TANDEM_TRY(open_element(table, &token, &inside));
        } else if (token.kind == TANDEM_MARKUP_TEXT && inside != outside) {
            TANDEM_TRY(tandem_buffer_append(&table->text, token.text, token.length));
        } else if (inside != outside &&
                   tandem_markup_is(&token, TANDEM_MARKUP_CLOSE, table->options->columns[inside])) {
            TANDEM_TRY(close_element(table, token.text));
            inside = outside;
        }
    }
}

static int read_element(tandem_table *table)
{
    tandem_markup_token token;
    do {
        TANDEM_TRY(tandem_markup_next(table->markup, &token));
        if (token.kind == TANDEM_MARKUP_END) {
            return 0;
        }
    } while (!tandem_markup_is(&token, TANDEM_MARKUP_OPEN, table->options->record));
    table->number = token.line;
    size_t inside = 0; /* a record's own text is no column */
    TANDEM_TRY(open_element(table, &token, &inside));
    return read_record(table);
}

/* ---- any of them -------------------------------------------------------------------------------- */
/* By what the name ends in, before ".gz" or ".zst". */
static int layout_of(const char *path, tandem_table_layout *out)
{
    static const struct {
        const char *suffix;
        tandem_table_layout layout;
    } known[] = {{".tsv", TANDEM_LAYOUT_TSV}, {".csv", TANDEM_LAYOUT_CSV}, {".jsonl", TANDEM_LAYOUT_JSONL},
                 {".json", TANDEM_LAYOUT_JSON}, {".xml", TANDEM_LAYOUT_XML}};
    size_t length = strlen(path);
    length -= length > 3 && strcmp(path + length - 3, ".gz") == 0    ? 3
              : length > 4 && strcmp(path + length - 4, ".zst") == 0 ? 4
                                                                     : 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t size = strlen(known[i].suffix);
        if (length > size && strncmp(path + length - size, known[i].suffix, size) == 0) {
            *out = known[i].layout;
            return TANDEM_OK;
        }
    }
    return tandem_error_code(
        TANDEM_USAGE, "%s: the name does not end in .tsv, .csv, .jsonl, .json or .xml: --layout says what it is", path);
}

static int open_reader(tandem_table *table, const char *path)
{
    const tandem_table_options *options = table->options;
    switch (table->layout) {
    case TANDEM_LAYOUT_TSV:
    case TANDEM_LAYOUT_CSV: {
        bool csv = table->layout == TANDEM_LAYOUT_CSV;
        char separator = !csv ? '\t' : options->separator ? options->separator : ',';
        TANDEM_TRY(tandem_csv_open(&table->csv, path, separator, csv));
        return find_columns(table);
    }
    case TANDEM_LAYOUT_JSONL: return tandem_lines_open(&table->lines, path);
    case TANDEM_LAYOUT_JSON: return open_array(table, path);
    default:
        return options->record
                   ? tandem_markup_open(&table->markup, path)
                   : tandem_error_code(TANDEM_USAGE, "%s: XML needs --record, the element that is a row", table->path);
    }
}

int tandem_table_open(tandem_table **out, const char *path, const tandem_table_options *options)
{
    tandem_table *table = tandem_alloc(1, sizeof *table);
    if (!table) {
        return TANDEM_ERROR;
    }
    table->options = options;
    table->layout = options->layout;
    table->path = tandem_strdup(strcmp(path, "-") == 0 ? "stdin" : path);
    table->arena = tandem_arena_new();
    table->lists = tandem_alloc(options->count, sizeof *table->lists);
    table->row = tandem_alloc(options->count, sizeof *table->row);
    table->positions = tandem_alloc(options->count, sizeof *table->positions);
    int rc = table->path && table->arena && table->lists && table->row && table->positions ? TANDEM_OK : TANDEM_ERROR;
    if (rc == TANDEM_OK && table->layout == TANDEM_LAYOUT_AUTO) {
        rc = layout_of(path, &table->layout);
    }
    if (rc == TANDEM_OK) {
        rc = open_reader(table, path);
    }
    if (rc < 0) {
        tandem_table_close(table);
        return rc;
    }
    *out = table;
    return TANDEM_OK;
}

static int read_row(tandem_table *table)
{
    return table->csv     ? read_fields(table)
           : table->lines ? read_json_line(table)
           : table->array ? read_json_item(table)
                          : read_element(table);
}

int tandem_table_next(tandem_table *table, const tandem_cells **row)
{
    tandem_arena_reset(table->arena);
    for (size_t i = 0; i < table->options->count; i++) {
        table->lists[i].count = 0;
    }
    int rc = read_row(table);
    if (rc <= 0) {
        return rc;
    }
    for (size_t i = 0; i < table->options->count; i++) {
        table->row[i] = (tandem_cells){table->lists[i].items, table->lists[i].count};
    }
    *row = table->row;
    return 1;
}

void tandem_table_close(tandem_table *table)
{
    if (!table) {
        return;
    }
    tandem_csv_close(table->csv);
    tandem_lines_close(table->lines);
    tandem_json_free(table->array);
    tandem_markup_close(table->markup);
    for (size_t i = 0; table->lists && i < table->options->count; i++) {
        free(table->lists[i].items);
    }
    free(table->lists);
    free(table->row);
    free(table->positions);
    tandem_buffer_free(&table->where);
    tandem_buffer_free(&table->text);
    tandem_arena_free(table->arena);
    free(table->path);
    free(table);
}
