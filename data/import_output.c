/* import_output.c - judgments and training groups, with ids and texts read back from the files
 * that the sink has written. */
#include <inttypes.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/import_private.h"
#include "data/text_reader.h"
#include "tandem/json.h"

/* corpus.jsonl or queries.jsonl as written. */
typedef struct {
    const import_side *side;
    tandem_map map;
    char *path;
} text_file;

typedef struct {
    import_sink *sink;
    text_file documents, queries;
    tandem_writer *writer;
    tandem_arena *arena; /* texts of one group */
    tandem_buffer line;
} output;

static int open_texts(text_file *file, const import_sink *sink, const import_side *side)
{
    file->side = side;
    file->path = tandem_path_join(sink->directory, side->file);
    return file->path ? tandem_map_open(&file->map, file->path) : TANDEM_ERROR;
}

static void close_texts(text_file *file)
{
    tandem_map_close(&file->map);
    free(file->path);
}

/* The line of a text, without its end. */
static const char *line_of(const text_file *file, uint32_t index, size_t *length)
{
    const char *line = (const char *)file->map.data + tandem_import_entry(file->side, index)->offset;
    const char *end = memchr(line, '\n', file->map.size - (size_t)tandem_import_entry(file->side, index)->offset);
    *length = (size_t)(end - line);
    return line;
}

/* ---- files ----------------------------------------------------------------------------------------- */
static int open_file(output *out, const char *name)
{
    char *path = tandem_path_join(out->sink->directory, name);
    int rc = path ? tandem_writer_open(&out->writer, path) : TANDEM_ERROR;
    free(path);
    return rc;
}

static int open_split(output *out, const char *name)
{
    tandem_buffer file = TANDEM_BUFFER_INIT;
    int rc = tandem_buffer_printf(&file, "qrels/%s.tsv%s", name, out->sink->options->compress ? ".zst" : "");
    if (rc == TANDEM_OK) {
        rc = open_file(out, file.data);
    }
    tandem_buffer_free(&file);
    return rc < 0 ? rc : tandem_writer_printf(out->writer, "query-id\tcorpus-id\tscore\n");
}

/* Ids were read back from the plain file until now. */
static int compress_texts(output *out, const text_file *file)
{
    tandem_buffer name = TANDEM_BUFFER_INIT;
    int rc = tandem_buffer_printf(&name, "%s.zst", file->side->file);
    if (rc == TANDEM_OK) {
        rc = open_file(out, name.data);
    }
    tandem_buffer_free(&name);
    TANDEM_TRY(rc);
    TANDEM_TRY(tandem_writer_write(out->writer, file->map.data, file->map.size));
    TANDEM_TRY(tandem_writer_commit(&out->writer));
    return unlink(file->path) == 0 ? TANDEM_OK : tandem_error("%s: cannot be removed", file->path);
}

/* ---- judgments ------------------------------------------------------------------------------------ */
/* Appends the id alone: a whole line would be read for nothing. */
static int put_id(tandem_buffer *out, const text_file *file, uint32_t index)
{
    size_t length;
    const char *id = line_of(file, index, &length) + strlen("{\"_id\": "), *end = id + 1;
    while (*end != '"') {
        end += *end == '\\' ? 2 : 1;
    }
    cJSON *json = NULL;
    TANDEM_TRY(tandem_json_parse(&json, id, (size_t)(end + 1 - id), file->path));
    int rc = tandem_buffer_puts(out, json->valuestring);
    tandem_json_free(json);
    return rc;
}

static int write_judgment(output *out, const import_link *link)
{
    tandem_buffer_clear(&out->line);
    TANDEM_TRY(put_id(&out->line, &out->queries, link->query));
    TANDEM_TRY(tandem_buffer_append(&out->line, "\t", 1));
    TANDEM_TRY(put_id(&out->line, &out->documents, link->document));
    TANDEM_TRY(tandem_buffer_printf(&out->line, "\t%" PRId32 "\n", link->grade));
    return tandem_writer_write(out->writer, out->line.data, out->line.length);
}

/* The judgments of a split; one without any gets no file. */
static int write_split(output *out, uint8_t split)
{
    const import_sink *sink = out->sink;
    struct tandem_import_split *counts = &sink->report->splits[sink->report->split_count];
    uint32_t last = TANDEM_IMPORT_NONE;
    for (size_t i = 0; i < sink->link_count; i++) {
        const import_link *link = &sink->links[i];
        if (link->split != split || link->negative) {
            continue;
        }
        if (!out->writer) {
            TANDEM_TRY(open_split(out, sink->splits[split]));
        }
        counts->queries += link->query != last;
        counts->judgments++;
        last = link->query;
        TANDEM_TRY(write_judgment(out, link));
    }
    if (!out->writer) {
        return TANDEM_OK;
    }
    sink->report->split_count++;
    counts->name = tandem_strdup(sink->splits[split]);
    TANDEM_TRY(counts->name ? TANDEM_OK : TANDEM_ERROR);
    return tandem_writer_commit(&out->writer);
}

static int compare_splits(const void *a, const void *b)
{
    const struct tandem_import_split *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int write_splits(output *out)
{
    tandem_import_report *report = out->sink->report;
    report->splits = tandem_alloc(out->sink->split_count, sizeof *report->splits);
    if (!report->splits) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < out->sink->split_count; i++) {
        TANDEM_TRY(write_split(out, (uint8_t)i));
    }
    if (report->split_count > 0) {
        qsort(report->splits, report->split_count, sizeof *report->splits, compare_splits);
    }
    return TANDEM_OK;
}

/* ---- training groups -------------------------------------------------------------------------------- */
static int put_string(tandem_buffer *out, const char *before, const char *text, size_t length)
{
    TANDEM_TRY(tandem_buffer_puts(out, before));
    return tandem_buffer_json_string(out, text, length);
}

/* The text as a dataset's reader gives it. */
static int read_text(output *out, const text_file *file, uint32_t index, tandem_text *text)
{
    size_t length;
    const char *line = line_of(file, index, &length);
    return tandem_text_parse(text, out->arena, line, length, file->path);
}

/* `links` [count] are all those of a query; appends those that are positives or are negatives. */
static int put_passages(output *out, const import_link *links, size_t count, uint8_t split, bool negative, size_t *put)
{
    *put = 0;
    TANDEM_TRY(tandem_buffer_puts(&out->line, negative ? "], \"negatives\": [" : ", \"positives\": ["));
    for (size_t i = 0; i < count; i++) {
        if (links[i].split != split || links[i].negative != negative || (!negative && links[i].grade < 1)) {
            continue;
        }
        tandem_text text;
        TANDEM_TRY(read_text(out, &out->documents, links[i].document, &text));
        TANDEM_TRY(put_string(&out->line, (*put)++ > 0 ? ", {\"id\": " : "{\"id\": ", text.id, strlen(text.id)));
        TANDEM_TRY(put_string(&out->line, ", \"text\": ", text.text, text.length));
        TANDEM_TRY(tandem_buffer_puts(&out->line, "}"));
    }
    return TANDEM_OK;
}

static int write_group(output *out, const import_link *links, size_t count, uint8_t split)
{
    size_t positives, negatives;
    tandem_text query;
    tandem_arena_reset(out->arena);
    tandem_buffer_clear(&out->line);
    TANDEM_TRY(read_text(out, &out->queries, links->query, &query));
    TANDEM_TRY(put_string(&out->line, "{\"query_id\": ", query.id, strlen(query.id)));
    TANDEM_TRY(put_string(&out->line, ", \"query\": ", query.text, query.length));
    TANDEM_TRY(put_passages(out, links, count, split, false, &positives));
    TANDEM_TRY(put_passages(out, links, count, split, true, &negatives));
    TANDEM_TRY(tandem_buffer_puts(&out->line, "]}\n"));
    if (positives == 0) { /* a negative alone trains nothing */
        return TANDEM_OK;
    }
    out->sink->report->groups++;
    out->sink->report->negatives += negatives;
    return tandem_writer_write(out->writer, out->line.data, out->line.length);
}

/* True when the split has a negative: else its judgments say all. */
static bool has_negatives(const import_sink *sink, uint8_t split)
{
    for (size_t i = 0; i < sink->link_count; i++) {
        if (sink->links[i].negative && sink->links[i].split == split) {
            return true;
        }
    }
    return false;
}

static int write_groups(output *out)
{
    const import_sink *sink = out->sink;
    uint8_t train = 0;
    TANDEM_TRY(tandem_sink_split(out->sink, "train", &train));
    if (!has_negatives(sink, train)) {
        return TANDEM_OK;
    }
    TANDEM_TRY(open_file(out, "groups.jsonl.zst"));
    for (size_t begin = 0, end; begin < sink->link_count; begin = end) {
        for (end = begin; end < sink->link_count && sink->links[end].query == sink->links[begin].query;) {
            end++;
        }
        TANDEM_TRY(write_group(out, sink->links + begin, end - begin, train));
    }
    return tandem_writer_commit(&out->writer);
}

/* ---- the whole ------------------------------------------------------------------------------------------ */
static int write_all(output *out)
{
    TANDEM_TRY(open_texts(&out->documents, out->sink, &out->sink->documents));
    TANDEM_TRY(open_texts(&out->queries, out->sink, &out->sink->queries));
    out->arena = tandem_arena_new();
    TANDEM_TRY(out->arena ? TANDEM_OK : TANDEM_ERROR);
    TANDEM_TRY(write_splits(out));
    TANDEM_TRY(write_groups(out));
    if (out->sink->options->compress) {
        TANDEM_TRY(compress_texts(out, &out->documents));
        TANDEM_TRY(compress_texts(out, &out->queries));
    }
    return TANDEM_OK;
}

int tandem_import_write(import_sink *sink)
{
    output out = {.sink = sink, .line = TANDEM_BUFFER_INIT};
    int rc = write_all(&out);
    tandem_writer_abort(out.writer);
    close_texts(&out.documents);
    close_texts(&out.queries);
    tandem_arena_free(out.arena);
    tandem_buffer_free(&out.line);
    return rc;
}
