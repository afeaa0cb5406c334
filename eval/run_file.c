/* run_file.c - TREC run files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/run.h"
#include "tandem/file.h"

enum { FIELDS = 6 };

/* ---- reading ------------------------------------------------------------------ */
typedef struct {
    tandem_result result;
    size_t line;
} line_result;

/* A query under construction: its results in file order. */
typedef struct {
    const char *id;
    line_result *items;
    size_t count, capacity;
} open_query;

typedef struct {
    tandem_run *run;
    tandem_lines *lines;
    tandem_strmap *by_id; /* query id -> index in queries */
    open_query *queries;
    size_t count, capacity;
    size_t last;        /* the query of the line before: lines of one query come together */
    tandem_buffer name; /* of the line before */
} reader;

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Cuts `line` at blanks; fields past the sixth are not looked at. Returns how many
 * there are. */
static size_t split_fields(char *line, char *fields[FIELDS])
{
    size_t count = 0;
    while (count < FIELDS) {
        while (is_blank(*line)) {
            line++;
        }
        if (!*line) {
            break;
        }
        fields[count++] = line;
        while (*line && !is_blank(*line)) {
            line++;
        }
        if (*line) {
            *line++ = '\0';
        }
    }
    return count;
}

static int parse_score(double *out, const char *text, const tandem_lines *lines)
{
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end != '\0' || isnan(*out)) {
        return tandem_error("%s:%zu: expected a number as the score, found '%s'", tandem_lines_path(lines),
                            tandem_lines_number(lines), text);
    }
    return TANDEM_OK;
}

static int find_or_open_query(reader *r, const char *id)
{
    if (r->count > 0 && strcmp(r->queries[r->last].id, id) == 0) {
        return TANDEM_OK;
    }
    size_t length = strlen(id);
    if (tandem_strmap_find(r->by_id, id, length, &r->last)) {
        return TANDEM_OK;
    }
    const char *copy = tandem_arena_strndup(r->run->arena, id, length);
    if (!copy) {
        return TANDEM_ERROR;
    }
    void *queries = r->queries;
    int rc = tandem_grow(&queries, &r->capacity, r->count + 1, sizeof *r->queries);
    r->queries = queries;
    TANDEM_TRY(rc);
    TANDEM_TRY(tandem_strmap_add(r->by_id, copy, length, r->count, NULL));
    r->queries[r->count] = (open_query){copy, NULL, 0, 0};
    r->last = r->count++;
    return TANDEM_OK;
}

static int add_result(reader *r, const char *document, double score)
{
    open_query *query = &r->queries[r->last];
    const char *id = tandem_arena_strndup(r->run->arena, document, strlen(document));
    if (!id) {
        return TANDEM_ERROR;
    }
    void *items = query->items;
    int rc = tandem_grow(&items, &query->capacity, query->count + 1, sizeof *query->items);
    query->items = items;
    TANDEM_TRY(rc);
    query->items[query->count++] = (line_result){{id, score}, tandem_lines_number(r->lines)};
    return TANDEM_OK;
}

static int remember_name(reader *r, const char *name)
{
    if (r->name.data && strcmp(r->name.data, name) == 0) {
        return TANDEM_OK;
    }
    tandem_buffer_clear(&r->name);
    return tandem_buffer_puts(&r->name, name);
}

static int read_line(reader *r, char *line, size_t length)
{
    const char *path = tandem_lines_path(r->lines);
    size_t number = tandem_lines_number(r->lines);
    if (line[0] == '#') {
        return TANDEM_OK;
    }
    if (strlen(line) != length) {
        return tandem_error("%s:%zu: a NUL byte", path, number);
    }
    char *fields[FIELDS];
    size_t count = split_fields(line, fields);
    if (count == 0) {
        return TANDEM_OK;
    }
    if (count < FIELDS) {
        return tandem_error("%s:%zu: expected 'query Q0 document rank score name', found %zu field%s", path, number,
                            count, count == 1 ? "" : "s");
    }
    double score;
    TANDEM_TRY(parse_score(&score, fields[4], r->lines));
    TANDEM_TRY(find_or_open_query(r, fields[0]));
    TANDEM_TRY(add_result(r, fields[2], score));
    return remember_name(r, fields[5]);
}

static int check_documents(const reader *r, const open_query *query)
{
    tandem_strmap *seen = tandem_strmap_new(query->count);
    int rc = seen ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; rc >= 0 && i < query->count; i++) {
        const char *id = query->items[i].result.document_id;
        size_t before;
        rc = tandem_strmap_add(seen, id, strlen(id), i, &before);
        if (rc == 0) {
            rc = tandem_error("%s:%zu: document '%s' of query '%s' is in line %zu already", tandem_lines_path(r->lines),
                              query->items[i].line, id, query->id, query->items[before].line);
        }
    }
    tandem_strmap_free(seen);
    return rc < 0 ? rc : TANDEM_OK;
}

/* Ranks a query's results and moves them into the run. */
static int close_query(reader *r, open_query *query)
{
    TANDEM_TRY(check_documents(r, query));
    tandem_result *results = tandem_alloc(query->count, sizeof *results);
    if (!results) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < query->count; i++) {
        results[i] = query->items[i].result;
    }
    tandem_run_rank(results, query->count);
    int rc = tandem_run_append(r->run, query->id, results, query->count);
    if (rc < 0) {
        free(results);
        return rc;
    }
    free(query->items);
    query->items = NULL;
    return TANDEM_OK;
}

static int read_run(reader *r)
{
    char *line;
    size_t length;
    int rc;
    while ((rc = tandem_lines_next(r->lines, &line, &length)) > 0) {
        TANDEM_TRY(read_line(r, line, length));
    }
    TANDEM_TRY(rc);
    for (size_t i = 0; i < r->count; i++) {
        TANDEM_TRY(close_query(r, &r->queries[i]));
    }
    if (r->name.data) {
        free(r->run->name);
        r->run->name = tandem_buffer_take(&r->name);
    }
    return tandem_run_order(r->run);
}

int tandem_run_read(tandem_run **out, const char *path)
{
    *out = NULL;
    reader r = {0};
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_lines_open(&r.lines, path));
    TANDEM_TRY_GOTO(rc, done, tandem_run_new(&r.run, NULL));
    r.by_id = tandem_strmap_new(0);
    TANDEM_TRY_GOTO(rc, done, r.by_id ? TANDEM_OK : TANDEM_ERROR);
    TANDEM_TRY_GOTO(rc, done, read_run(&r));
    *out = r.run;
    r.run = NULL;
done:
    for (size_t i = 0; i < r.count; i++) {
        free(r.queries[i].items);
    }
    free(r.queries);
    tandem_buffer_free(&r.name);
    tandem_strmap_free(r.by_id);
    tandem_run_free(r.run);
    tandem_lines_close(r.lines);
    return rc;
}

/* ---- writing -------------------------------------------------------------------- */
/* A file of columns cannot hold every id that memory can. */
static int check_id(const char *path, const char *what, const char *id, bool first)
{
    bool fits = *id != '\0' && !(first && *id == '#');
    for (const char *c = id; *c && fits; c++) {
        fits = !is_blank(*c);
    }
    return fits ? TANDEM_OK
                : tandem_error("%s: a run file cannot hold the %s id '%s': empty, with a blank%s", path, what, id,
                               first ? ", or begins with '#'" : "");
}

/* The first of these precisions that reads back as the same double; 17 digits always do. */
static void format_score(char *out, size_t size, double score)
{
    static const int digits[] = {6, 9, 15, 16, 17};
    for (size_t i = 0; i < sizeof digits / sizeof *digits; i++) {
        snprintf(out, size, "%.*g", digits[i], score);
        if (strtod(out, NULL) == score) {
            return;
        }
    }
}

static int write_ranking(tandem_writer *writer, const char *path, const tandem_ranking *ranking, const char *name)
{
    TANDEM_TRY(check_id(path, "query", ranking->query_id, true));
    for (size_t i = 0; i < ranking->count; i++) {
        const tandem_result *result = &ranking->results[i];
        char score[32];
        TANDEM_TRY(check_id(path, "document", result->document_id, false));
        format_score(score, sizeof score, result->score);
        TANDEM_TRY(tandem_writer_printf(writer, "%s Q0 %s %zu %s %s\n", ranking->query_id, result->document_id, i + 1,
                                        score, name));
    }
    return TANDEM_OK;
}

int tandem_run_write(const tandem_run *run, const char *path)
{
    tandem_writer *writer;
    TANDEM_TRY(tandem_writer_open(&writer, path));
    for (size_t i = 0; i < run->count; i++) {
        int rc = write_ranking(writer, path, &run->entries[i].ranking, run->name);
        if (rc < 0) {
            tandem_writer_abort(writer);
            return rc;
        }
    }
    return tandem_writer_commit(&writer);
}
