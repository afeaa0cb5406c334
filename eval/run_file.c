/* run_file.c - TREC run files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/run.h"
#include "tandem/file.h"

enum { QUERY, ITERATION, DOCUMENT, RANK, SCORE, NAME, FIELDS };

/* ---- reading -------------------------------------------------------------------
 * Threads take blocks of whole lines in turn and parse them at once; of each block a piece stays, its results and
 * their ids, in the run's arena. The pieces are joined in the order of the file, so that it tells nothing where it was
 * cut and which thread had which block. */

/* Lines of one query that follow one another, with nothing between them. */
typedef struct {
    const char *query_id;
    size_t query; /* once joined: index in queries */
    size_t line;  /* of its first result: from 1 in the piece, once joined in the file */
    size_t count;
} section;

typedef struct piece {
    struct piece *next;
    size_t index;
    tandem_result *results; /* file order */
    section *sections;
    size_t section_count;
    size_t lines;
    const char *name; /* of the last result; NULL: there is none */
} piece;

typedef struct {
    char *text;
    size_t length;
} field;

/* What one thread works on, used again for each of its blocks. */
typedef struct {
    tandem_buffer text;
    size_t kept; /* the ids move to the front of the text, over what is parsed already */
    tandem_result *results;
    size_t result_count, result_capacity;
    section *sections;
    size_t section_count, section_capacity;
    size_t lines; /* so far */
    field name; /* of the last result; text NULL: there is none */
} block;

typedef struct {
    const char *id;
    tandem_result *results;
    size_t count, sections, gathered;
} open_query;

typedef struct {
    tandem_run *run;
    const char *path;
    tandem_lines *lines;
    piece *first, **end;
    size_t piece_count;
    bool ended;
    size_t bad_piece, bad_line; /* the first that is wrong; line 0: the file as a whole, SIZE_MAX: none */
    char message[4096];         /* what is wrong there */
    tandem_strmap *by_id;       /* query id -> index in queries */
    open_query *queries;
    size_t query_count, query_capacity;
    const char *name;
} reader;

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

static char *next_line(char *at, const char *end)
{
    char *newline = memchr(at, '\n', (size_t)(end - at));
    return newline ? newline + 1 : at + (end - at);
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
    *next = next_line(at, end);
    return count;
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

static int parse_score(double *out, const field *text)
{
    char *end = text->text;
    if (parse_short_decimal(out, text)) {
        return TANDEM_OK;
    }
    *out = strtod(text->text, &end); /* ends at the blank after the field at the latest */
    if (end != text->text + text->length || !isfinite(*out)) {
        return tandem_error("expected a finite number as the score, found '%.*s'", (int)text->length, text->text);
    }
    return TANDEM_OK;
}

/* ---- a block ---- */
static const char *keep_id(block *b, const field *id)
{
    char *kept = b->text.data + b->kept;
    memmove(kept, id->text, id->length);
    kept[id->length] = '\0';
    b->kept += id->length + 1;
    return kept;
}

static bool continues(const section *s, const block *b, const field *id)
{
    return s->line + s->count == b->lines && strncmp(s->query_id, id->text, id->length) == 0 &&
           s->query_id[id->length] == '\0';
}

static int add_line(block *b, const field fields[FIELDS])
{
    tandem_result *result = &b->results[b->result_count];
    TANDEM_TRY(parse_score(&result->score, &fields[SCORE]));
    if (b->section_count == 0 || !continues(&b->sections[b->section_count - 1], b, &fields[QUERY])) {
        void *sections = b->sections;
        int rc = tandem_grow(&sections, &b->section_capacity, b->section_count + 1, sizeof *b->sections);
        b->sections = sections;
        TANDEM_TRY(rc);
        b->sections[b->section_count++] = (section){.query_id = keep_id(b, &fields[QUERY]), .line = b->lines};
    }
    b->sections[b->section_count - 1].count++;
    result->document_id = keep_id(b, &fields[DOCUMENT]);
    b->result_count++;
    b->name = fields[NAME];
    return TANDEM_OK;
}

static int read_line(block *b, char *line, const char *end, char **next)
{
    field fields[FIELDS];
    b->lines++;
    if (*line == '#') {
        *next = next_line(line, end);
        return TANDEM_OK;
    }
    size_t count = split_fields(line, end, fields, next);
    if (count == 0) {
        return TANDEM_OK;
    }
    if (count < FIELDS) {
        return tandem_error("expected 'query Q0 document rank score name', found %zu field%s", count,
                            count == 1 ? "" : "s");
    }
    return add_line(b, fields);
}

/* On failure `lines` ends with the line that is wrong. */
static int parse_block(block *b)
{
    enum { SHORTEST = 12 }; /* "q 0 d 0 0 n\n" */
    char *at = b->text.data, *end = at + b->text.length;
    void *results = b->results;
    int rc = tandem_grow(&results, &b->result_capacity, b->text.length / SHORTEST + 1, sizeof *b->results);
    b->results = results;
    TANDEM_TRY(rc);
    const char *nul = memchr(at, '\0', b->text.length);
    const char *line = nul ? memrchr(at, '\n', (size_t)(nul - at)) : NULL; /* that ends before it */
    const char *sound = !nul ? end : line ? line + 1 : at;
    while (at < sound) {
        TANDEM_TRY(read_line(b, at, end, &at));
    }
    if (nul) {
        b->lines++;
        return tandem_error("a NUL byte");
    }
    return TANDEM_OK;
}

/* ---- pieces ---- */
/* Of all that fails the first in the file is kept: every block before it is taken, and its thread parses it. */
static void fail(reader *r, size_t index, size_t line)
{
#pragma omp critical(run_file)
    {
        r->ended = true;
        if (index < r->bad_piece) {
            r->bad_piece = index;
            r->bad_line = line;
            snprintf(r->message, sizeof r->message, "%s", tandem_error_message());
        }
    }
}

/* The next block, and the piece that it becomes: 1, or 0 at the end. One thread at a time. */
static int take_block(reader *r, block *b, piece **p)
{
    int rc = r->ended ? 0 : tandem_lines_block(r->lines, &b->text);
    if (rc <= 0) {
        r->ended = true;
        return rc;
    }
    *p = tandem_arena_alloc(r->run->arena, 1, sizeof **p);
    if (!*p) {
        return TANDEM_ERROR;
    }
    **p = (piece){.index = r->piece_count++};
    *r->end = *p;
    r->end = &(*p)->next;
    return 1;
}

static void *allocate(reader *r, size_t bytes)
{
    void *memory;
#pragma omp critical(run_file)
    memory = tandem_arena_alloc(r->run->arena, bytes, 1);
    return memory;
}

/* Results, then ids: as in the block, at another place. */
static int store_block(reader *r, piece *p, const block *b)
{
    size_t bytes = b->result_count * sizeof *b->results; /* b->results holds as many */
    p->results = tandem_size_add(&bytes, bytes, b->kept) ? allocate(r, bytes) : NULL;
    if (!p->results) {
        return tandem_error("%s: out of memory", r->path);
    }
    char *ids = (char *)(p->results + b->result_count);
    const char *from = b->text.data;
    memcpy(ids, from, b->kept);
    for (size_t i = 0; i < b->result_count; i++) {
        p->results[i] = (tandem_result){ids + (b->results[i].document_id - from), b->results[i].score};
    }
    for (size_t i = 0; i < p->section_count; i++) {
        p->sections[i].query_id = ids + (p->sections[i].query_id - from);
    }
    p->name = p->name ? ids + (p->name - from) : NULL;
    return TANDEM_OK;
}

static void read_piece(reader *r, piece *p, block *b)
{
    b->kept = b->result_count = b->section_count = b->section_capacity = b->lines = 0;
    b->sections = NULL; /* the piece before has them */
    b->name.text = NULL;
    int rc = parse_block(b);
    p->sections = b->sections;
    p->section_count = b->section_count;
    p->lines = b->lines;
    if (rc < 0) {
        fail(r, p->index, b->lines);
        return;
    }
    p->name = b->name.text ? keep_id(b, &b->name) : NULL;
    if (store_block(r, p, b) < 0) {
        fail(r, p->index, 0);
    }
}

/* One thread's share, of at most so many blocks. */
static void read_pieces(reader *r, size_t most)
{
    block b = {.text = TANDEM_BUFFER_INIT};
    int rc = 1;
    for (size_t i = 0; i < most && rc > 0; i++) {
        piece *p = NULL;
#pragma omp critical(run_file)
        rc = take_block(r, &b, &p);
        if (rc > 0) {
            read_piece(r, p, &b);
        } else if (rc < 0) {
            fail(r, SIZE_MAX - 1, 0); /* comes after every piece */
        }
    }
    tandem_buffer_free(&b.text);
    free(b.results);
}

static int read_file(reader *r)
{
    read_pieces(r, 2); /* most files have one, and then nothing: not worth waking a thread */
    if (!r->ended) {
#pragma omp parallel
        read_pieces(r, SIZE_MAX);
    }
    if (r->bad_piece == SIZE_MAX) {
        return TANDEM_OK;
    }
    size_t line = r->bad_line;
    for (const piece *p = r->first; p && p->index < r->bad_piece; p = p->next) {
        line += p->lines;
    }
    return r->bad_line ? tandem_error("%s:%zu: %s", r->path, line, r->message) : tandem_error("%s", r->message);
}

/* ---- joining ---- */
static int join_section(reader *r, section *s, tandem_result *results)
{
    s->query = r->query_count;
    int rc = tandem_strmap_add(r->by_id, s->query_id, strlen(s->query_id), s->query, &s->query);
    TANDEM_TRY(rc);
    if (rc == 1) {
        void *queries = r->queries;
        rc = tandem_grow(&queries, &r->query_capacity, r->query_count + 1, sizeof *r->queries);
        r->queries = queries;
        TANDEM_TRY(rc);
        r->queries[r->query_count++] = (open_query){.id = s->query_id, .results = results};
    }
    r->queries[s->query].count += s->count;
    r->queries[s->query].sections++;
    return TANDEM_OK;
}

/* Results of a query that are apart are put together, in file order. */
static int gather(reader *r)
{
    for (open_query *q = r->queries; q < r->queries + r->query_count; q++) {
        if (q->sections > 1 && !(q->results = tandem_arena_alloc(r->run->arena, q->count, sizeof *q->results))) {
            return TANDEM_ERROR;
        }
    }
    for (const piece *p = r->first; p; p = p->next) {
        const tandem_result *results = p->results;
        for (const section *s = p->sections; s < p->sections + p->section_count; s++) {
            open_query *q = &r->queries[s->query];
            if (q->sections > 1) {
                memcpy(q->results + q->gathered, results, s->count * sizeof *results);
                q->gathered += s->count;
            }
            results += s->count;
        }
    }
    return TANDEM_OK;
}

static int join_pieces(reader *r)
{
    size_t lines = 0;
    for (piece *p = r->first; p; p = p->next) {
        tandem_result *results = p->results;
        for (section *s = p->sections; s < p->sections + p->section_count; s++) {
            s->line += lines;
            TANDEM_TRY(join_section(r, s, results));
            results += s->count;
        }
        lines += p->lines;
        r->name = p->name ? p->name : r->name;
    }
    return gather(r);
}

/* Of a query's result, by its place in the file's order. */
static size_t line_of(const reader *r, size_t query, size_t index)
{
    for (const piece *p = r->first; p; p = p->next) {
        for (const section *s = p->sections; s < p->sections + p->section_count; s++) {
            if (s->query == query && index < s->count) {
                return s->line + index;
            }
            index -= s->query == query ? s->count : 0;
        }
    }
    return 0;
}

/* `seen` is any map; it is emptied. */
static int check_documents(const reader *r, size_t index, tandem_strmap *seen)
{
    const open_query *query = &r->queries[index];
    TANDEM_TRY(tandem_strmap_reset(seen, query->count));
    for (size_t i = 0; i < query->count; i++) {
        const char *id = query->results[i].document_id;
        size_t before;
        int rc = tandem_strmap_add(seen, id, strlen(id), i, &before);
        if (rc == 0) {
            return tandem_error("%s:%zu: document '%s' of query '%s' is in line %zu already", r->path,
                                line_of(r, index, i), id, query->id, line_of(r, index, before));
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
            if (!seen || check_documents(r, i, seen) < 0) {
#pragma omp critical(rank_queries)
                failed = i < failed ? i : failed;
            } else {
                tandem_run_rank(r->queries[i].results, r->queries[i].count);
            }
        }
        tandem_strmap_free(seen);
    }
    if (failed == SIZE_MAX) {
        return TANDEM_OK;
    }
    TANDEM_TRY(check_documents(r, failed, r->by_id)); /* its message is of the thread that met it: once more here */
    return tandem_error("%s: out of memory", r->path);
}

static int make_run(reader *r)
{
    TANDEM_TRY(read_file(r));
    TANDEM_TRY(join_pieces(r));
    TANDEM_TRY(rank_queries(r));
    for (const open_query *q = r->queries; q < r->queries + r->query_count; q++) {
        TANDEM_TRY(tandem_run_append(r->run, q->id, q->results, q->count));
    }
    return tandem_run_order(r->run);
}

static int take_name(reader *r)
{
    char *name = r->name ? tandem_strdup(r->name) : r->run->name;
    if (!name) {
        return TANDEM_ERROR;
    }
    if (r->name) {
        free(r->run->name);
    }
    r->run->name = name;
    return TANDEM_OK;
}

int tandem_run_read(tandem_run **out, const char *path)
{
    *out = NULL;
    reader r = {.path = path, .end = &r.first, .bad_piece = SIZE_MAX};
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_run_new(&r.run, NULL));
    r.by_id = tandem_strmap_new(0);
    TANDEM_TRY_GOTO(rc, done, r.by_id ? tandem_lines_open(&r.lines, path) : TANDEM_ERROR);
    TANDEM_TRY_GOTO(rc, done, make_run(&r));
    TANDEM_TRY_GOTO(rc, done, take_name(&r));
    *out = r.run;
    r.run = NULL;
done:
    for (piece *p = r.first; p; p = p->next) {
        free(p->sections);
    }
    free(r.queries);
    tandem_lines_close(r.lines);
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
