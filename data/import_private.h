/* import_private.h - private to data/: what the files behind tandem_import() share.
 *
 * A format's reader hands texts and judgments to the sink, which writes the texts at once and
 * keeps hashes and links; import.c then deals out the splits and writes the rest.
 *
 * Adding a format, three things to do: a value of tandem_import_format, a reader
 * tandem_import_NAME() declared below, and its row in import.c's table. */
#ifndef TANDEM_DATA_IMPORT_PRIVATE_H
#define TANDEM_DATA_IMPORT_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/paged_array.h"
#include "tandem/file.h"
#include "tandem/hash.h"
#include "tandem/import.h"
#include "tandem/log.h"
#include "tandem/memory.h"

#define TANDEM_IMPORT_NONE UINT32_MAX

/* ---- the sink (import_sink.c) ----------------------------------------------------------- */
typedef struct {
    tandem_hash key;  /* of the id; where ids are numbered, of the text (and of a query's split) */
    uint64_t content; /* of the text with single blanks; 0: it was empty and is not written */
    uint64_t offset;  /* of its line in the file, from which the id is read back */
} import_entry;

/* corpus.jsonl or queries.jsonl on its way. */
typedef struct {
    const char *file, *prefix; /* "corpus.jsonl", "d" */
    tandem_writer *writer;
    tandem_paged_array entries; /* import_entry [count] in the order of their appearance */
    tandem_paged_array slots;   /* uint32_t [slot_mask + 1], open addressing by key: index + 1, 0 when empty */
    size_t count, slot_mask;
    size_t written, joined;
    enum { IDS_UNKNOWN, IDS_GIVEN, IDS_NUMBERED } ids;
} import_side;

static inline const import_entry *tandem_import_entry(const import_side *side, size_t index)
{
    return (const import_entry *)side->entries.data + index;
}

/* A judgment; with `negative`, a training negative that is no judgment. */
typedef struct {
    uint32_t query, document, order; /* `order`: of their appearance */
    int32_t grade;
    uint8_t split;
    bool negative;
} import_link;

enum { IMPORT_SPLITS = 64 };

typedef struct {
    const tandem_import_options *options;
    const char *directory; /* the staged folder */
    import_side documents, queries;
    import_link *links;
    size_t link_count, link_capacity;
    char *splits[IMPORT_SPLITS];
    size_t split_count;
    tandem_import_report *report;
    tandem_progress *progress;
    size_t texts; /* seen, for the progress */
    tandem_buffer text, line; /* scratch */
} import_sink;

/* `where` is the place that messages begin with, "collection.tsv:17". */
typedef struct {
    const char *id;    /* NULL: to be numbered */
    const char *title; /* NULL: none */
    const char *text;
} import_text;

/* Opens the two files in sink->directory; the fields before `documents` and `report` are set. */
int tandem_sink_open(import_sink *sink);
void tandem_sink_close(import_sink *sink);
/* Ends and syncs the two files; "no document" and "no query" are errors. */
int tandem_sink_commit(import_sink *sink);

/* Writes a text unless it is there already; *index is TANDEM_IMPORT_NONE where it is empty. An id
 * that comes again with another text is an error. */
int tandem_sink_document(import_sink *sink, const import_text *text, const char *where, uint32_t *index);
int tandem_sink_query(import_sink *sink, uint8_t split, const import_text *text, const char *where, uint32_t *index);
/* The text with this id, or TANDEM_IMPORT_NONE. */
uint32_t tandem_sink_find(const import_side *side, const char *id);
int tandem_sink_split(import_sink *sink, const char *name, uint8_t *split);
/* A link to an empty text (NONE, or found by its id) is counted as lost. */
int tandem_sink_judge(import_sink *sink, uint8_t split, uint32_t query, uint32_t document, int32_t grade);
int tandem_sink_negative(import_sink *sink, uint8_t split, uint32_t query, uint32_t document);

/* ---- after the last text ------------------------------------------------------------------ */
/* import_split.c: leaves one link for a pair, in the order of queries and then of appearance. */
int tandem_import_unite_links(import_sink *sink);
/* import_split.c: moves queries from "train" to "test" and "dev". */
int tandem_import_hold_out(import_sink *sink);
/* import_split.c: fills twins and shared_queries of the report. */
int tandem_import_count_twins(import_sink *sink);
/* import_output.c: qrels/ and groups.jsonl.zst; then compresses what is to be compressed. */
int tandem_import_write(import_sink *sink);

/* ---- readers ----------------------------------------------------------------------------------- */
int tandem_import_beir(import_sink *sink);
int tandem_import_trec(import_sink *sink);
int tandem_import_smart(import_sink *sink);
int tandem_import_msmarco(import_sink *sink);
int tandem_import_squad(import_sink *sink);
int tandem_import_table(import_sink *sink);

/* import_source.c: calls `read` with every file of `paths` and its split, which is what stands
 * before "=", else "test" for TREC and SMART, else "train". A folder stands for the files below it
 * in the order of their names, but for BEIR. `context` is the reader's own. */
typedef int (*import_read)(import_sink *sink, void *context, const char *path, const char *split);
int tandem_import_each(import_sink *sink, const tandem_import_paths *paths, import_read read, void *context);
/* An import_read of judgments in TREC's four columns, or BEIR's three where the first line has
 * two tabs; no context. */
int tandem_import_qrels(import_sink *sink, void *context, const char *path, const char *split);
/* "path:line" in a buffer that held another place. */
int tandem_import_place(tandem_buffer *where, const char *path, size_t line);
/* The buffer's text without white space at its ends, cut where it lies; "" when it is empty. */
const char *tandem_import_stripped(tandem_buffer *buffer);

#endif
