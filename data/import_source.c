/* import_source.c - the files that an import reads, and judgments. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "data/import_private.h"
#include "data/qrels_reader.h"
#include "data/text_reader.h"

/* ---- paths --------------------------------------------------------------------------------- */
typedef struct {
    import_sink *sink;
    import_read read;
    void *context;
    const char *split;
} reading;

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* alphasort would follow the locale */
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int read_below(const reading *job, const char *path)
{
    if (job->sink->options->format == TANDEM_IMPORT_BEIR || !tandem_dir_exists(path)) {
        return job->read(job->sink, job->context, path, job->split);
    }
    struct dirent **entries;
    int count = scandir(path, &entries, is_visible, by_name);
    if (count < 0) {
        return tandem_error("%s: cannot list: %s", path, strerror(errno));
    }
    int rc = TANDEM_OK;
    for (int i = 0; i < count; i++) {
        char *below = rc == TANDEM_OK ? tandem_path_join(path, entries[i]->d_name) : NULL;
        if (rc == TANDEM_OK) {
            rc = below ? read_below(job, below) : TANDEM_ERROR;
        }
        free(below);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

/* Length of "SPLIT" in "SPLIT=PATH"; 0: none. */
static size_t split_length(const char *path)
{
    size_t length = 0;
    while (isalnum((unsigned char)path[length]) || (length > 0 && path[length] && strchr("_.-", path[length]))) {
        length++;
    }
    return path[length] == '=' ? length : 0;
}

int tandem_import_each(import_sink *sink, const tandem_import_paths *paths, import_read read, void *context)
{
    tandem_import_format format = sink->options->format;
    const char *usual = format == TANDEM_IMPORT_TREC || format == TANDEM_IMPORT_SMART ? "test" : "train";
    for (size_t i = 0; i < paths->count; i++) {
        const char *path = paths->items[i];
        size_t length = split_length(path);
        char *split = length > 0 ? tandem_strndup(path, length) : tandem_strdup(usual);
        if (!split) {
            return TANDEM_ERROR;
        }
        reading job = {sink, read, context, split};
        int rc = read_below(&job, path + (length > 0 ? length + 1 : 0));
        free(split);
        TANDEM_TRY(rc == TANDEM_NOT_FOUND ? TANDEM_ERROR : rc);
    }
    return TANDEM_OK;
}

/* ---- what readers share --------------------------------------------------------------------- */
int tandem_import_place(tandem_buffer *where, const char *path, size_t line)
{
    tandem_buffer_clear(where);
    return tandem_buffer_printf(where, "%s:%zu", path, line);
}

const char *tandem_import_stripped(tandem_buffer *buffer)
{
    if (buffer->length == 0) {
        return "";
    }
    size_t length = buffer->length;
    size_t begin = (size_t)(tandem_text_strip(buffer->data, &length) - buffer->data);
    buffer->data[begin + length] = '\0';
    return buffer->data + begin;
}

/* ---- judgments ------------------------------------------------------------------------------- */
static int add_judgment(import_sink *sink, const tandem_qrels_line *judged, uint8_t split, const char *where)
{
    uint32_t query = tandem_sink_find(&sink->queries, judged->query_id);
    uint32_t document = tandem_sink_find(&sink->documents, judged->document_id);
    if (query == TANDEM_IMPORT_NONE || document == TANDEM_IMPORT_NONE) {
        bool no_query = query == TANDEM_IMPORT_NONE;
        return tandem_error("%s: there is no %s \"%s\"", where, no_query ? "query" : "document",
                            no_query ? judged->query_id : judged->document_id);
    }
    return tandem_sink_judge(sink, split, query, document, judged->grade);
}

static bool has_two_tabs(const char *line)
{
    const char *first = strchr(line, '\t'), *second = first ? strchr(first + 1, '\t') : NULL;
    return second && !strchr(second + 1, '\t');
}

static int read_judgments(import_sink *sink, tandem_lines *lines, tandem_qrels *qrels, uint8_t split)
{
    char *line;
    size_t length;
    int rc;
    bool tsv = false;
    tandem_buffer where = TANDEM_BUFFER_INIT;
    while ((rc = tandem_lines_next(lines, &line, &length)) == 1) {
        size_t number = tandem_lines_number(lines);
        tandem_qrels_line judged;
        tsv = number == 1 ? has_two_tabs(line) : tsv;
        TANDEM_TRY_GOTO(rc, done, tandem_import_place(&where, tandem_lines_path(lines), number));
        TANDEM_TRY_GOTO(rc, done, tandem_qrels_add(qrels, line, length, tsv, number == 1, where.data, &judged));
        if (rc == 1) {
            TANDEM_TRY_GOTO(rc, done, add_judgment(sink, &judged, split, where.data));
        }
    }
done:
    tandem_buffer_free(&where);
    return rc;
}

int tandem_import_qrels(import_sink *sink, void *context, const char *path, const char *split)
{
    (void)context;
    tandem_lines *lines = NULL;
    tandem_qrels *qrels = NULL; /* finds pairs that are judged twice */
    uint8_t number = 0;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_sink_split(sink, split, &number));
    TANDEM_TRY_GOTO(rc, done, tandem_lines_open(&lines, path));
    TANDEM_TRY_GOTO(rc, done, tandem_qrels_new(&qrels));
    TANDEM_TRY_GOTO(rc, done, read_judgments(sink, lines, qrels, number));
done:
    tandem_qrels_free(qrels);
    tandem_lines_close(lines);
    return rc;
}
