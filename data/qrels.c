/* qrels.c - relevance judgments: BEIR's tsv and TREC's four columns. */
#include "tandem/qrels.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/qrels_reader.h"
#include "tandem/file.h"
#include "tandem/memory.h"

/* A judgment as read; `query` is the number of its query in order of appearance. */
typedef struct {
    size_t query;
    tandem_judgment judgment;
} entry;

struct tandem_qrels {
    tandem_arena *arena;
    tandem_strmap *query_numbers; /* query id -> number */
    tandem_strmap *pairs;         /* (query number, document id) -> entry */
    entry *entries;
    size_t entry_count, entry_capacity;
    tandem_judged_query *queries; /* by number; sorted by id once finished */
    size_t query_count, query_capacity;
};

int tandem_qrels_new(tandem_qrels **out)
{
    *out = NULL;
    tandem_qrels *qrels = tandem_alloc(1, sizeof *qrels);
    if (!qrels) {
        return TANDEM_ERROR;
    }
    qrels->arena = tandem_arena_new();
    qrels->query_numbers = tandem_strmap_new(0);
    qrels->pairs = tandem_strmap_new(0);
    if (!qrels->arena || !qrels->query_numbers || !qrels->pairs) {
        tandem_qrels_free(qrels);
        return TANDEM_ERROR;
    }
    *out = qrels;
    return TANDEM_OK;
}

void tandem_qrels_free(tandem_qrels *qrels)
{
    if (!qrels) {
        return;
    }
    tandem_strmap_free(qrels->query_numbers);
    tandem_strmap_free(qrels->pairs);
    free(qrels->entries);
    free(qrels->queries);
    tandem_arena_free(qrels->arena);
    free(qrels);
}

/* ---- one line ----------------------------------------------------------------------- */
#define MAX_FIELDS 4

/* Cuts `line` at tabs, or at runs of blanks. Returns the number of fields, which may be
 * larger than MAX_FIELDS: only so many are kept. */
static size_t split_fields(char *line, bool tsv, char *fields[MAX_FIELDS])
{
    const char *separators = tsv ? "\t" : " \t\r\v\f";
    size_t count = 0;
    for (char *at = line; at;) {
        if (!tsv) {
            at += strspn(at, separators);
            if (*at == '\0') {
                break;
            }
        }
        if (count < MAX_FIELDS) {
            fields[count] = at;
        }
        count++;
        at = strpbrk(at, separators);
        if (at) {
            *at++ = '\0';
        }
    }
    return count;
}

static int parse_grade(const char *text, const char *source, int32_t *out)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    bool starts = (*text >= '0' && *text <= '9') || *text == '-' || *text == '+';
    if (!starts || end == text || *end != '\0') {
        return tandem_error("%s: expected an integer grade, found \"%s\"", source, text);
    }
    if (errno == ERANGE || value < INT32_MIN || value > INT32_MAX) {
        return tandem_error("%s: grade %s is out of range", source, text);
    }
    *out = (int32_t)value;
    return TANDEM_OK;
}

static int query_number(tandem_qrels *qrels, const char *id, size_t *number)
{
    size_t length = strlen(id);
    if (tandem_strmap_find(qrels->query_numbers, id, length, number)) {
        return TANDEM_OK;
    }
    void *queries = qrels->queries;
    TANDEM_TRY(tandem_grow(&queries, &qrels->query_capacity, qrels->query_count + 1, sizeof *qrels->queries));
    qrels->queries = queries;
    const char *copy = tandem_arena_strndup(qrels->arena, id, length);
    if (!copy) {
        return TANDEM_ERROR;
    }
    *number = qrels->query_count;
    TANDEM_TRY(tandem_strmap_add(qrels->query_numbers, copy, length, *number, NULL));
    qrels->queries[qrels->query_count++] = (tandem_judged_query){.query_id = copy};
    return TANDEM_OK;
}

/* Adds a judgment unless the pair has one. The map's key is the query's number followed by
 * the document id, which is at the same time the id's place in memory. */
static int add_judgment(tandem_qrels *qrels, const char *query_id, const char *document_id,
                        int32_t grade, const char *source, tandem_qrels_line *added)
{
    size_t number = 0;
    size_t queries_before = qrels->query_count;
    TANDEM_TRY(query_number(qrels, query_id, &number));
    size_t length = strlen(document_id);
    char *key = tandem_arena_alloc(qrels->arena, sizeof number + length + 1, 1);
    if (!key) {
        return TANDEM_ERROR;
    }
    memcpy(key, &number, sizeof number);
    memcpy(key + sizeof number, document_id, length + 1);
    void *entries = qrels->entries;
    TANDEM_TRY(tandem_grow(&entries, &qrels->entry_capacity, qrels->entry_count + 1, sizeof *qrels->entries));
    qrels->entries = entries;
    int rc = tandem_strmap_add(qrels->pairs, key, sizeof number + length, qrels->entry_count, NULL);
    if (rc <= 0) {
        return rc < 0 ? rc : tandem_error("%s: query \"%s\" and document \"%s\" are judged a second time",
                                          source, query_id, document_id);
    }
    qrels->entries[qrels->entry_count++] = (entry){number, {key + sizeof number, grade}};
    qrels->queries[number].count++;
    *added = (tandem_qrels_line){qrels->queries[number].query_id, key + sizeof number, grade,
                                 qrels->query_count > queries_before};
    return 1;
}

int tandem_qrels_add(tandem_qrels *qrels, char *line, size_t length, bool tsv, bool first,
                     const char *source, tandem_qrels_line *added)
{
    size_t invalid = tandem_utf8_invalid(line, length);
    if (invalid < length) {
        return tandem_error("%s: at byte %zu: invalid UTF-8", source, invalid + 1);
    }
    size_t nul = strlen(line);
    if (nul < length) {
        return tandem_error("%s: at byte %zu: a NUL byte", source, nul + 1);
    }
    bool header = tsv && first && strcmp(line, "query-id\tcorpus-id\tscore") == 0;
    bool comment = !tsv && line[0] == '#';
    if (header || comment || strspn(line, " \t\r\v\f") == length) {
        return 0;
    }
    char *fields[MAX_FIELDS] = {NULL};
    size_t count = split_fields(line, tsv, fields);
    if (tsv && count != 3) {
        return tandem_error("%s: expected 3 fields between tabs (query-id, corpus-id, score), found %zu%s", source,
                            count, count == 4 ? "; TREC's 4 columns are read from a name that does not end in .tsv" : "");
    }
    if (!tsv && count != 4) {
        return tandem_error("%s: expected 4 fields (query, iteration, document, grade), found %zu%s", source, count,
                            count == 3 ? "; BEIR's 3 columns are read from a name that ends in .tsv" : "");
    }
    const char *document = tsv ? fields[1] : fields[2];
    if (*fields[0] == '\0' || *document == '\0') {
        return tandem_error("%s: the %s id is empty", source, *document ? "query" : "document");
    }
    int32_t grade = 0;
    TANDEM_TRY(parse_grade(tsv ? fields[2] : fields[3], source, &grade));
    return add_judgment(qrels, fields[0], document, grade, source, added);
}

/* ---- the whole ----------------------------------------------------------------------- */
static int compare_queries(const void *a, const void *b)
{
    const tandem_judged_query *first = a, *second = b;
    return strcmp(first->query_id, second->query_id);
}

int tandem_qrels_finish(tandem_qrels *qrels)
{
    tandem_judgment *all = tandem_arena_alloc(qrels->arena, qrels->entry_count, sizeof *all);
    tandem_judgment **next = tandem_alloc(qrels->query_count, sizeof *next); /* by query: where its next one goes */
    if (!all || !next) {
        free(next);
        return TANDEM_ERROR;
    }
    size_t begin = 0;
    for (size_t i = 0; i < qrels->query_count; i++) {
        qrels->queries[i].judgments = next[i] = all + begin;
        begin += qrels->queries[i].count;
    }
    for (size_t i = 0; i < qrels->entry_count; i++) {
        *next[qrels->entries[i].query]++ = qrels->entries[i].judgment;
    }
    free(next);
    if (qrels->query_count > 0) {
        qsort(qrels->queries, qrels->query_count, sizeof *qrels->queries, compare_queries);
    }
    /* Only reading needed these. */
    tandem_strmap_free(qrels->pairs);
    tandem_strmap_free(qrels->query_numbers);
    free(qrels->entries);
    qrels->pairs = qrels->query_numbers = NULL;
    qrels->entries = NULL;
    return TANDEM_OK;
}

static int read_lines(tandem_qrels *qrels, tandem_lines *lines, const char *path)
{
    bool tsv = tandem_path_has_suffix(path, ".tsv");
    tandem_buffer source = TANDEM_BUFFER_INIT;
    char *line;
    size_t length;
    int rc;
    while ((rc = tandem_lines_next(lines, &line, &length)) == 1) {
        size_t number = tandem_lines_number(lines);
        tandem_qrels_line added;
        tandem_buffer_clear(&source);
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(&source, "%s:%zu", path, number));
        TANDEM_TRY_GOTO(rc, done, tandem_qrels_add(qrels, line, length, tsv, number == 1, source.data, &added));
    }
done:
    tandem_buffer_free(&source);
    return rc;
}

int tandem_qrels_read(tandem_qrels **out, const char *path)
{
    *out = NULL;
    tandem_qrels *qrels = NULL;
    tandem_lines *lines = NULL;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_lines_open(&lines, path));
    TANDEM_TRY_GOTO(rc, done, tandem_qrels_new(&qrels));
    TANDEM_TRY_GOTO(rc, done, read_lines(qrels, lines, path));
    TANDEM_TRY_GOTO(rc, done, tandem_qrels_finish(qrels));
    *out = qrels;
    qrels = NULL;
done:
    tandem_qrels_free(qrels);
    tandem_lines_close(lines);
    return rc;
}

size_t tandem_qrels_count(const tandem_qrels *qrels)
{
    return qrels->query_count;
}

const tandem_judged_query *tandem_qrels_query(const tandem_qrels *qrels, size_t index)
{
    return &qrels->queries[index];
}

const tandem_judged_query *tandem_qrels_find(const tandem_qrels *qrels, const char *query_id)
{
    tandem_judged_query key = {.query_id = query_id};
    return qrels->query_count == 0 ? NULL
                                   : bsearch(&key, qrels->queries, qrels->query_count, sizeof key, compare_queries);
}
