/* import_collection.c - collections whose texts have ids and whose judgments stand apart:
 * BEIR folders, MS MARCO, SMART. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "data/checked_lines.h"
#include "data/csv.h"
#include "data/import_private.h"
#include "data/text_reader.h"
#include "tandem/json.h"

/* Which side of the sink a file's texts belong to; queries with ids are of no split. */
static int add_text(import_sink *sink, bool query, const import_text *text, const char *where)
{
    uint32_t index;
    return query ? tandem_sink_query(sink, 0, text, where, &index) : tandem_sink_document(sink, text, where, &index);
}

/* ---- BEIR ------------------------------------------------------------------------------------ */
static int add_json_line(import_sink *sink, bool query, tandem_arena *arena, const char *line, size_t length,
                         const char *where)
{
    cJSON *json = NULL;
    import_text text = {NULL, NULL, NULL};
    tandem_arena_reset(arena);
    TANDEM_TRY(tandem_line_parse(&json, line, length, where));
    int rc = tandem_line_id(&text.id, json, "_id", arena, where);
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_json_get_string(json, "text", where, &text.text));
    TANDEM_TRY_GOTO(rc, done, tandem_json_get_string_or(json, "title", where, &text.title));
    TANDEM_TRY_GOTO(rc, done, add_text(sink, query, &text, where));
done:
    tandem_json_free(json);
    return rc;
}

static int read_json_lines(import_sink *sink, bool query, const char *path)
{
    tandem_arena *arena = tandem_arena_new();
    tandem_buffer where = TANDEM_BUFFER_INIT;
    tandem_lines *lines = NULL;
    char *line;
    size_t length;
    int rc = arena ? tandem_lines_open(&lines, path) : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    while ((rc = tandem_checked_lines_next(lines, &line, &length)) == 1) {
        if (!tandem_line_is_blank(line, length)) {
            TANDEM_TRY_GOTO(rc, done, tandem_import_place(&where, path, tandem_lines_number(lines)));
            TANDEM_TRY_GOTO(rc, done, add_json_line(sink, query, arena, line, length, where.data));
        }
    }
done:
    tandem_lines_close(lines);
    tandem_buffer_free(&where);
    tandem_arena_free(arena);
    return rc;
}

/* directory/name, also with .zst or, as BEIR's archives on the web have it, with .gz. */
static int read_texts(import_sink *sink, bool query, const char *directory, const char *name)
{
    tandem_buffer packed = TANDEM_BUFFER_INIT;
    TANDEM_TRY(tandem_buffer_printf(&packed, "%s/%s.gz", directory, name));
    char *path = NULL;
    int rc = tandem_dataset_file(&path, directory, name);
    if (rc == TANDEM_NOT_FOUND && tandem_file_exists(packed.data)) {
        rc = (path = tandem_buffer_take(&packed)) ? TANDEM_OK : TANDEM_ERROR;
    }
    if (rc == TANDEM_OK) {
        rc = read_json_lines(sink, query, path);
    }
    tandem_buffer_free(&packed);
    free(path);
    return rc;
}

static int read_split(import_sink *sink, const char *directory, const char *split)
{
    tandem_buffer name = TANDEM_BUFFER_INIT;
    char *path = NULL;
    int rc = tandem_buffer_printf(&name, "qrels/%s.tsv", split);
    if (rc == TANDEM_OK) {
        rc = tandem_dataset_file(&path, directory, name.data);
    }
    if (rc == TANDEM_OK) {
        rc = tandem_import_qrels(sink, NULL, path, split);
    }
    tandem_buffer_free(&name);
    free(path);
    return rc;
}

static int read_folder(import_sink *sink, void *context, const char *directory, const char *split)
{
    (void)context;
    (void)split; /* the files' names are those of the splits */
    TANDEM_TRY(read_texts(sink, false, directory, "corpus.jsonl"));
    TANDEM_TRY(read_texts(sink, true, directory, "queries.jsonl"));
    tandem_split_names names;
    TANDEM_TRY(tandem_split_names_list(&names, directory));
    int rc = TANDEM_OK;
    for (size_t i = 0; i < names.count && rc == TANDEM_OK; i++) {
        rc = read_split(sink, directory, names.names[i]);
    }
    tandem_split_names_free(&names);
    return rc;
}

int tandem_import_beir(import_sink *sink)
{
    return tandem_import_each(sink, &sink->options->sources, read_folder, NULL);
}

/* ---- MS MARCO ---------------------------------------------------------------------------------- */
/* id, passage; or id, URL, title, body as in the document collection. */
static int add_fields(import_sink *sink, bool query, const char *const *fields, size_t count, const char *where)
{
    if (count != 2 && (query || count != 4)) {
        return tandem_error("%s: expected 2 fields between tabs (id, text)%s, found %zu", where,
                            query ? "" : " or 4 (id, URL, title, body)", count);
    }
    import_text text = {.id = fields[0], .title = count == 4 ? fields[2] : NULL, .text = fields[count - 1]};
    return add_text(sink, query, &text, where);
}

static int find_text(const import_side *side, const char *what, const char *id, const char *where, uint32_t *index)
{
    *index = tandem_sink_find(side, id);
    return *index == TANDEM_IMPORT_NONE ? tandem_error("%s: there is no %s \"%s\"", where, what, id) : TANDEM_OK;
}

static int add_triple(import_sink *sink, uint8_t split, const char *const *fields, size_t count, const char *where)
{
    uint32_t query = 0, positive = 0, negative = 0;
    if (count != 3) {
        return tandem_error("%s: expected 3 ids between tabs (query, positive, negative), found %zu", where, count);
    }
    TANDEM_TRY(find_text(&sink->queries, "query", fields[0], where, &query));
    TANDEM_TRY(find_text(&sink->documents, "document", fields[1], where, &positive));
    TANDEM_TRY(find_text(&sink->documents, "document", fields[2], where, &negative));
    TANDEM_TRY(tandem_sink_judge(sink, split, query, positive, 1));
    return tandem_sink_negative(sink, split, query, negative);
}

typedef enum { PASSAGES, QUERIES, TRIPLES } rows_of;

/* `context` says which rows_of. */
static int read_rows(import_sink *sink, void *context, const char *path, const char *split)
{
    const rows_of kind = *(rows_of *)context;
    tandem_buffer where = TANDEM_BUFFER_INIT;
    tandem_csv *rows = NULL;
    const char *const *fields;
    size_t count;
    uint8_t number = 0;
    int rc = kind == TRIPLES ? tandem_sink_split(sink, split, &number) : TANDEM_OK;
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_csv_open(&rows, path, '\t', false));
    while ((rc = tandem_csv_next(rows, &fields, &count)) == 1) {
        TANDEM_TRY_GOTO(rc, done, tandem_import_place(&where, path, tandem_csv_line(rows)));
        TANDEM_TRY_GOTO(rc, done, kind == TRIPLES ? add_triple(sink, number, fields, count, where.data)
                                                  : add_fields(sink, kind == QUERIES, fields, count, where.data));
    }
done:
    tandem_csv_close(rows);
    tandem_buffer_free(&where);
    return rc;
}

int tandem_import_msmarco(import_sink *sink)
{
    rows_of passages = PASSAGES, queries = QUERIES, triples = TRIPLES;
    TANDEM_TRY(tandem_import_each(sink, &sink->options->documents, read_rows, &passages));
    TANDEM_TRY(tandem_import_each(sink, &sink->options->queries, read_rows, &queries));
    TANDEM_TRY(tandem_import_each(sink, &sink->options->qrels, tandem_import_qrels, NULL));
    return tandem_import_each(sink, &sink->options->triples, read_rows, &triples);
}

/* ---- SMART ------------------------------------------------------------------------------------- */
/* A text between two ".I" lines. Of its sections .T is the title and .W the text; others (authors,
 * sources, citations) are no text to search. */
typedef struct {
    tandem_buffer id, title, text, where;
    tandem_buffer *section; /* which of them the lines go to; NULL: none */
    bool begun;
} smart_record;

static int end_record(import_sink *sink, bool query, smart_record *record)
{
    if (!record->begun) {
        return TANDEM_OK;
    }
    import_text text = {.id = tandem_import_stripped(&record->id), .title = tandem_import_stripped(&record->title),
                        .text = tandem_import_stripped(&record->text)};
    return add_text(sink, query, &text, record->where.data);
}

/* ".I 17" begins a record; ".T" and the like a section. */
static int add_line(import_sink *sink, bool query, smart_record *record, const char *path, size_t number,
                    const char *line)
{
    if (strncmp(line, ".I", 2) == 0 && (line[2] == ' ' || line[2] == '\t')) {
        TANDEM_TRY(end_record(sink, query, record));
        TANDEM_TRY(tandem_import_place(&record->where, path, number));
        tandem_buffer_clear(&record->id);
        tandem_buffer_clear(&record->title);
        tandem_buffer_clear(&record->text);
        const char *id = line + 2 + strspn(line + 2, " \t");
        record->begun = true;
        record->section = NULL;
        return tandem_buffer_append(&record->id, id, strcspn(id, " \t"));
    }
    if (!record->begun) {
        return line[strspn(line, " \t")]
                   ? tandem_error("%s:%zu: expected \".I ID\", found \"%.40s\"", path, number, line)
                   : TANDEM_OK;
    }
    if (line[0] == '.' && line[1] >= 'A' && line[1] <= 'Z' && line[2 + strspn(line + 2, " \t")] == '\0') {
        record->section = line[1] == 'T' ? &record->title : line[1] == 'W' ? &record->text : NULL;
        return TANDEM_OK;
    }
    if (!record->section) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_buffer_puts(record->section, record->section->length > 0 ? "\n" : ""));
    return tandem_buffer_puts(record->section, line);
}

/* `context` is a bool: whether the texts are queries. */
static int read_smart(import_sink *sink, void *context, const char *path, const char *split)
{
    (void)split;
    const bool query = *(bool *)context;
    smart_record record = {.begun = false};
    tandem_lines *lines = NULL;
    char *line;
    size_t length;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_lines_open(&lines, path));
    while ((rc = tandem_checked_lines_next(lines, &line, &length)) == 1) {
        TANDEM_TRY_GOTO(rc, done, add_line(sink, query, &record, path, tandem_lines_number(lines), line));
    }
    if (rc == 0) {
        rc = end_record(sink, query, &record);
    }
done:
    tandem_lines_close(lines);
    tandem_buffer_free(&record.id);
    tandem_buffer_free(&record.title);
    tandem_buffer_free(&record.text);
    tandem_buffer_free(&record.where);
    return rc;
}

int tandem_import_smart(import_sink *sink)
{
    bool no = false, yes = true;
    TANDEM_TRY(tandem_import_each(sink, &sink->options->documents, read_smart, &no));
    TANDEM_TRY(tandem_import_each(sink, &sink->options->queries, read_smart, &yes));
    return tandem_import_each(sink, &sink->options->qrels, tandem_import_qrels, NULL);
}
