/* import.c - from a reader of one format to a complete dataset. */
#include "tandem/import.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "data/import_private.h"
#include "data/text_reader.h"

/* One row a format, in the order of tandem_import_format. */
static const struct {
    const char *name;
    int (*read)(import_sink *sink);
    bool sources; /* else documents, queries and qrels; TRIPLES of ids go with MS MARCO alone */
    bool table;
} formats[] = {
    {"beir", tandem_import_beir, true, false},       {"trec", tandem_import_trec, false, false},
    {"smart", tandem_import_smart, false, false},    {"msmarco", tandem_import_msmarco, false, false},
    {"squad", tandem_import_squad, true, false},     {"pairs", tandem_import_table, true, true},
    {"triples", tandem_import_table, true, true},    {"labelled", tandem_import_table, true, true},
};

/* ---- options ------------------------------------------------------------------------------------ */
static int check_paths(const tandem_import_options *options)
{
    const char *name = formats[options->format].name;
    size_t apart = options->documents.count + options->queries.count + options->qrels.count + options->triples.count;
    if (formats[options->format].sources) {
        if (options->sources.count == 0 || apart > 0) {
            return tandem_error_code(
                TANDEM_USAGE, "%s: expected the files to read, and no --documents, --queries, --qrels or --triples",
                name);
        }
        return TANDEM_OK;
    }
    if (options->documents.count == 0 || options->queries.count == 0 || options->sources.count > 0) {
        return tandem_error_code(TANDEM_USAGE, "%s: expected --documents and --queries, and no other files", name);
    }
    if (options->triples.count > 0 && options->format != TANDEM_IMPORT_MSMARCO) {
        return tandem_error_code(TANDEM_USAGE, "%s: --triples of ids belong to msmarco", name);
    }
    return TANDEM_OK;
}

static bool is_share(double value)
{
    return value >= 0 && value <= UINT32_MAX && (value < 1 || value == (double)(uint32_t)value);
}

static int check_options(const tandem_import_options *options)
{
    TANDEM_TRY(check_paths(options));
    const char *name = formats[options->format].name;
    bool columns = options->columns || options->layout != TANDEM_LAYOUT_AUTO || options->separator || options->record;
    if (columns && !formats[options->format].table) {
        return tandem_error_code(
            TANDEM_USAGE, "%s: --columns, --layout, --separator and --record belong to pairs, triples and labelled",
            name);
    }
    if (options->topic_fields && options->format != TANDEM_IMPORT_TREC) {
        return tandem_error_code(TANDEM_USAGE, "%s: --topic-fields belong to trec", name);
    }
    if (!is_share(options->dev) || !is_share(options->test)) {
        return tandem_error_code(TANDEM_USAGE, "--dev and --test: expected a fraction below 1 or a whole number");
    }
    if (options->dev < 1 && options->test < 1 && options->dev + options->test > 1) {
        return tandem_error_code(TANDEM_USAGE, "--dev and --test: %g and %g are more than the whole", options->dev,
                                 options->test);
    }
    return TANDEM_OK;
}

static int is_empty(const char *directory, bool *empty)
{
    DIR *folder = opendir(directory);
    if (!folder) {
        return tandem_error("%s: cannot list: %s", directory, strerror(errno));
    }
    *empty = true;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        *empty = *empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    }
    closedir(folder);
    return TANDEM_OK;
}

/* Replacing a folder removes what it held: that must have been nothing, or a dataset. */
static int check_target(const char *directory)
{
    if (!tandem_dir_exists(directory)) {
        return tandem_file_exists(directory) ? tandem_error("%s: is there already and is no directory", directory)
                                             : TANDEM_OK;
    }
    bool empty = false;
    char *corpus = NULL;
    TANDEM_TRY(is_empty(directory, &empty));
    int rc = empty ? TANDEM_OK : tandem_dataset_file(&corpus, directory, "corpus.jsonl");
    free(corpus);
    return rc == TANDEM_NOT_FOUND
               ? tandem_error("%s: is there already and is no dataset: it will not be replaced", directory)
               : rc;
}

/* ---- the import ---------------------------------------------------------------------------------------- */
static int fill(import_sink *sink)
{
    TANDEM_TRY(tandem_sink_open(sink));
    TANDEM_TRY(formats[sink->options->format].read(sink));
    TANDEM_TRY(tandem_sink_commit(sink));
    TANDEM_TRY(tandem_import_unite_links(sink));
    TANDEM_TRY(tandem_import_hold_out(sink));
    TANDEM_TRY(tandem_import_count_twins(sink));
    return tandem_import_write(sink);
}

int tandem_import(tandem_import_report *out, const char *directory, const tandem_import_options *options)
{
    *out = (tandem_import_report){0};
    TANDEM_TRY(check_options(options));
    TANDEM_TRY(check_target(directory));
    char *staged = NULL;
    TANDEM_TRY(tandem_stage_dir(&staged, directory));
    import_sink sink = {.options = options, .directory = staged, .report = out};
    int rc = fill(&sink);
    tandem_sink_close(&sink);
    if (rc == TANDEM_OK) {
        rc = tandem_stage_commit(staged, directory);
    }
    if (rc < 0) {
        tandem_stage_abort(staged);
        tandem_import_report_free(out);
    }
    free(staged);
    return rc;
}

void tandem_import_report_free(tandem_import_report *report)
{
    for (size_t i = 0; i < report->split_count; i++) {
        free(report->splits[i].name);
    }
    free(report->splits);
    *report = (tandem_import_report){0};
}
