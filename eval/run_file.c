/* run_file.c - TREC run files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/run.h"
#include "tandem/file.h"

enum { QUERY, ITERATION, DOCUMENT, RANK, SCORE, NAME, FIELDS };

/* ---- reading ------------------------------------------------------------------
 * The file is read whole and stays in memory: ids are ended by a NUL where they stand and are never
 * copied. Ends of lines stay, so that an error can count them. */
typedef struct {
    const char *id;
    size_t length;
    size_t count; /* results */
} open_query;

/* Lines of one query that come together. */
typedef struct {
    size_t query, count;
} section;

typedef struct {
    tandem_run *run;
    const char *path;
    size_t size; /* of run->text */
    tandem_strmap *by_id; /* query id -> index in queries; of one query: document id -> index in results */
    open_query *queries;
    size_t query_count, query_capacity;
    section *sections;
    size_t section_count, section_capacity;
    size_t result_count; /* of run->results, which has room for every line that there can be */
    const char *name;
    size_t name_length; /* of the line before */
} reader;

typedef struct {
    char *text;
    size_t length;
} field;

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A byte above the blank is of a field; of those below it, the few that are not white space. */
static char *end_of_field(char *at)
{
    while ((unsigned char)*at > ' ' || (*at && !is_blank(*at))) {
        at++;
    }
    return at;
}

/* Cuts a line at blanks; fields past the sixth are not looked at. Returns how many there are;
 * *next is the start of the line after, or the end of the text. */
static size_t split_fields(char *line, const char *end, field fields[FIELDS], char **next)
{
    size_t count = 0;
    char *at = line;
    while (count < FIELDS) {
        while (*at != '\n' && is_blank(*at)) {
            at++;
        }
        char *start = at;
        at = end_of_field(at);
        if (at == start) {
            break;
        }
        fields[count++] = (field){start, (size_t)(at - start)};
    }
    char *newline = memchr(at, '\n', (size_t)(end - at));
    *next = newline ? newline + 1 : at + (end - at);
    return count;
}

static size_t line_of(const reader *r, const char *place)
{
    size_t line = 1;
    const char *at = r->run->text;
    while ((at = memchr(at, '\n', (size_t)(place - at)))) {
        at++;
        line++;
    }
    return line;
}

/* A number of at most 15 digits over a power of ten that a double holds: both are exact, so their
 * quotient is rounded once, as it must be. False where the text is anything else. */
static bool parse_short_decimal(double *out, const field *text)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    bool negative = text->text[0] == '-';
    uint64_t digits = 0;
    size_t count = 0, fraction = 0;
    bool point = false;
    for (size_t i = negative; i < text->length; i++) {
        unsigned digit = (unsigned)text->text[i] - '0';
        if (digit <= 9) {
            digits = digits * 10 + digit;
            count++;
            fraction += point;
        } else if (text->text[i] == '.' && !point) {
            point = true;
        } else {
            return false;
        }
        if (count > 15) {
            return false;
        }
    }
    double value = (double)digits / powers[fraction];
    *out = negative ? -value : value;
    return count > 0;
}

static int parse_score(double *out, const reader *r, const field *text)
{
    char *end = text->text;
    if (parse_short_decimal(out, text)) {
        return TANDEM_OK;
    }
    *out = strtod(text->text, &end); /* ends at the blank after the field at the latest */
    if (end != text->text + text->length || !isfinite(*out)) {
        return tandem_error("%s:%zu: expected a finite number as the score, found '%.*s'", r->path,
                            line_of(r, text->text), (int)text->length, text->text);
    }
    return TANDEM_OK;
}

static int open_section(reader *r, const field *id)
{
    size_t query;
    if (!tandem_strmap_find(r->by_id, id->text, id->length, &query)) {
        query = r->query_count;
        void *queries = r->queries;
        int rc = tandem_grow(&queries, &r->query_capacity, query + 1, sizeof *r->queries);
        r->queries = queries;
        TANDEM_TRY(rc);
        TANDEM_TRY(tandem_strmap_add(r->by_id, id->text, id->length, query, NULL));
        r->queries[r->query_count++] = (open_query){id->text, id->length, 0};
        id->text[id->length] = '\0';
    }
    void *sections = r->sections;
    int rc = tandem_grow(&sections, &r->section_capacity, r->section_count + 1, sizeof *r->sections);
    r->sections = sections;
    TANDEM_TRY(rc);
    r->sections[r->section_count++] = (section){query, 0};
    return TANDEM_OK;
}

static bool same_query(const reader *r, const field *id)
{
    if (r->section_count == 0) {
        return false;
    }
    const open_query *query = &r->queries[r->sections[r->section_count - 1].query];
    return query->length == id->length && memcmp(query->id, id->text, id->length) == 0;
}

static int read_line(reader *r, char *line, const char *end, char **next)
{
    field fields[FIELDS];
    if (*line == '#') {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        *next = newline ? newline + 1 : line + (end - line);
        return TANDEM_OK;
    }
    size_t count = split_fields(line, end, fields, next);
    if (count == 0) {
        return TANDEM_OK;
    }
    if (count < FIELDS) {
        return tandem_error("%s:%zu: expected 'query Q0 document rank score name', found %zu field%s", r->path,
                            line_of(r, line), count, count == 1 ? "" : "s");
    }
    tandem_result *result = &r->run->results[r->result_count];
    TANDEM_TRY(parse_score(&result->score, r, &fields[SCORE]));
    if (!same_query(r, &fields[QUERY])) {
        TANDEM_TRY(open_section(r, &fields[QUERY]));
    }
    result->document_id = fields[DOCUMENT].text;
    fields[DOCUMENT].text[fields[DOCUMENT].length] = '\0';
    r->result_count++;
    section *now = &r->sections[r->section_count - 1];
    now->count++;
    r->queries[now->query].count++;
    r->name = fields[NAME].text;
    r->name_length = fields[NAME].length;
    return TANDEM_OK;
}

static int read_text(reader *r)
{
    enum { SHORTEST = 12 }; /* "q 0 d 0 0 n\n" */
    char *text = r->run->text, *end = text + r->size;
    const char *nul = memchr(text, '\0', r->size);
    if (nul) {
        return tandem_error("%s:%zu: a NUL byte", r->path, line_of(r, nul));
    }
    r->run->results = tandem_alloc(r->size / SHORTEST + 1, sizeof *r->run->results);
    if (!r->run->results) {
        return TANDEM_ERROR;
    }
    if (r->size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
    }
    while (text < end) {
        TANDEM_TRY(read_line(r, text, end, &text));
    }
    return TANDEM_OK;
}

/* Where the lines of some query are apart: moves the results of each query together, in file order. */
static int gather(reader *r)
{
    tandem_result *together = tandem_alloc(r->result_count, sizeof *together);
    size_t *next = tandem_alloc(r->query_count, sizeof *next); /* by query: where its next result goes */
    if (!together || !next) {
        free(together);
        free(next);
        return TANDEM_ERROR;
    }
    for (size_t i = 1; i < r->query_count; i++) {
        next[i] = next[i - 1] + r->queries[i - 1].count;
    }
    const tandem_result *from = r->run->results;
    for (size_t i = 0; i < r->section_count; i++) {
        const section *s = &r->sections[i];
        memcpy(together + next[s->query], from, s->count * sizeof *from);
        next[s->query] += s->count;
        from += s->count;
    }
    free(next);
    free(r->run->results);
    r->run->results = together;
    return TANDEM_OK;
}

/* `seen` is any map; it is emptied. */
static int check_documents(const reader *r, const open_query *query, const tandem_result *results, tandem_strmap *seen)
{
    TANDEM_TRY(tandem_strmap_reset(seen, query->count));
    for (size_t i = 0; i < query->count; i++) {
        const char *id = results[i].document_id;
        size_t before;
        int rc = tandem_strmap_add(seen, id, strlen(id), i, &before);
        if (rc == 0) {
            return tandem_error("%s:%zu: document '%s' of query '%s' is in line %zu already", r->path, line_of(r, id),
                                id, query->id, line_of(r, results[before].document_id));
        }
        TANDEM_TRY(rc);
    }
    return TANDEM_OK;
}

/* All queries, in parallel; of several that are wrong the first one's message is kept. */
static int rank_queries(const reader *r)
{
    size_t failed = SIZE_MAX;
#pragma omp parallel
    {
        tandem_strmap *seen = tandem_strmap_new(0);
#pragma omp for schedule(dynamic, 16)
        for (size_t i = 0; i < r->query_count; i++) {
            tandem_result *results = r->run->results + (r->run->rankings[i].results - r->run->results);
            if (!seen || check_documents(r, &r->queries[i], results, seen) < 0) {
#pragma omp critical(rank_queries)
                failed = i < failed ? i : failed;
            } else {
                tandem_run_rank(results, r->queries[i].count);
            }
        }
        tandem_strmap_free(seen);
    }
    if (failed == SIZE_MAX) {
        return TANDEM_OK;
    }
    /* Its message is of the thread that met it: once more here. */
    TANDEM_TRY(check_documents(r, &r->queries[failed], r->run->rankings[failed].results, r->by_id));
    return tandem_error("%s: out of memory", r->path);
}

static int close_queries(reader *r)
{
    if (r->section_count > r->query_count) {
        TANDEM_TRY(gather(r));
    }
    tandem_result *results = r->run->results;
    for (size_t i = 0; i < r->query_count; i++) {
        const open_query *query = &r->queries[i];
        TANDEM_TRY(tandem_run_append(r->run, query->id, results, query->count));
        results += query->count;
    }
    TANDEM_TRY(rank_queries(r));
    return tandem_run_order(r->run);
}

static int read_run(reader *r)
{
    TANDEM_TRY(tandem_file_read(&r->run->text, &r->size, r->path));
    TANDEM_TRY(read_text(r));
    TANDEM_TRY(close_queries(r));
    if (r->name) {
        char *name = tandem_strndup(r->name, r->name_length);
        if (!name) {
            return TANDEM_ERROR;
        }
        free(r->run->name);
        r->run->name = name;
    }
    return TANDEM_OK;
}

int tandem_run_read(tandem_run **out, const char *path)
{
    *out = NULL;
    reader r = {.path = path};
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_run_new(&r.run, NULL));
    r.by_id = tandem_strmap_new(0);
    TANDEM_TRY_GOTO(rc, done, r.by_id ? TANDEM_OK : TANDEM_ERROR);
    TANDEM_TRY_GOTO(rc, done, read_run(&r));
    *out = r.run;
    r.run = NULL;
done:
    free(r.queries);
    free(r.sections);
    tandem_strmap_free(r.by_id);
    tandem_run_free(r.run);
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
        int rc = write_ranking(writer, path, &run->rankings[i], run->name);
        if (rc < 0) {
            tandem_writer_abort(writer);
            return rc;
        }
    }
    return tandem_writer_commit(&writer);
}
