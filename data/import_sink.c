/* import_sink.c - texts written as they come, and what is kept of them. */
#include <stdlib.h>
#include <string.h>

#include "data/import_private.h"
#include "data/text_reader.h"
#include "tandem/machine.h"

/* ---- opening and closing ------------------------------------------------------------------ */
static int open_side(import_sink *sink, import_side *side)
{
    enum { FIRST_SLOTS = 1024 };
    side->entries.folder = side->slots.folder = sink->directory;
    TANDEM_TRY(tandem_paged_array_reserve(&side->slots, FIRST_SLOTS * sizeof(uint32_t)));
    side->slot_mask = FIRST_SLOTS - 1;
    char *path = tandem_path_join(sink->directory, side->file);
    int rc = path ? tandem_writer_open(&side->writer, path) : TANDEM_ERROR;
    free(path);
    return rc;
}

int tandem_sink_open(import_sink *sink)
{
    sink->documents = (import_side){.file = "corpus.jsonl", .prefix = "d"};
    sink->queries = (import_side){.file = "queries.jsonl", .prefix = "q"};
    sink->progress = tandem_progress_new("import", "texts", 0);
    TANDEM_TRY(open_side(sink, &sink->documents));
    return open_side(sink, &sink->queries);
}

static void close_side(import_side *side)
{
    tandem_writer_abort(side->writer);
    tandem_paged_array_free(&side->entries);
    tandem_paged_array_free(&side->slots);
}

void tandem_sink_close(import_sink *sink)
{
    close_side(&sink->documents);
    close_side(&sink->queries);
    free(sink->links);
    for (size_t i = 0; i < sink->split_count; i++) {
        free(sink->splits[i]);
    }
    tandem_buffer_free(&sink->text);
    tandem_buffer_free(&sink->line);
    tandem_progress_free(sink->progress);
}

int tandem_sink_commit(import_sink *sink)
{
    tandem_import_report *report = sink->report;
    report->documents = sink->documents.written;
    report->queries = sink->queries.written;
    report->joined_documents = sink->documents.joined;
    report->joined_queries = sink->queries.joined;
    if (report->documents == 0 || report->queries == 0) {
        return tandem_error("no %s with a text was found", report->documents == 0 ? "document" : "query");
    }
    TANDEM_TRY(tandem_writer_commit(&sink->documents.writer));
    return tandem_writer_commit(&sink->queries.writer);
}

/* ---- entries by key ------------------------------------------------------------------------- */
/* The slot that holds the key, or the empty one where it belongs. */
static uint32_t *locate(const import_side *side, tandem_hash key)
{
    uint32_t *slots = side->slots.data;
    for (size_t i = (size_t)key.low & side->slot_mask;; i = (i + 1) & side->slot_mask) {
        uint32_t *slot = &slots[i];
        if (*slot == 0 || tandem_hash_equal(tandem_import_entry(side, *slot - 1)->key, key)) {
            return slot;
        }
    }
}

static int enlarge_slots(import_side *side)
{
    size_t size = 2 * (side->slot_mask + 1);
    tandem_paged_array slots = {.folder = side->slots.folder};
    TANDEM_TRY(tandem_paged_array_reserve(&slots, size * sizeof(uint32_t)));
    tandem_paged_array_free(&side->slots);
    side->slots = slots;
    side->slot_mask = size - 1;
    for (size_t i = 0; i < side->count; i++) {
        *locate(side, tandem_import_entry(side, i)->key) = (uint32_t)i + 1;
    }
    return TANDEM_OK;
}

static int add_entry(import_side *side, import_entry entry)
{
    if (side->count >= TANDEM_IMPORT_NONE - 1) {
        return tandem_error("%s: more than %u texts", side->file, TANDEM_IMPORT_NONE - 1);
    }
    TANDEM_TRY(tandem_paged_array_reserve(&side->entries, (side->count + 1) * sizeof entry));
    entry.offset = tandem_writer_offset(side->writer);
    if (side->count + 1 > (side->slot_mask + 1) / 4 * 3) {
        TANDEM_TRY(enlarge_slots(side));
    }
    uint32_t *slot = locate(side, entry.key);
    ((import_entry *)side->entries.data)[side->count++] = entry;
    *slot = (uint32_t)side->count;
    return TANDEM_OK;
}

uint32_t tandem_sink_find(const import_side *side, const char *id)
{
    uint32_t slot = *locate(side, tandem_hash_bytes(id, strlen(id)));
    return slot == 0 || side->ids != IDS_GIVEN ? TANDEM_IMPORT_NONE : slot - 1;
}

/* ---- texts ------------------------------------------------------------------------------------ */
/* Hash of the text with every run of ASCII white space as one blank; never 0. */
static uint64_t content_hash(tandem_buffer *text, const char *from, size_t length)
{
    size_t end = 0;
    for (size_t i = 0; i < length; i++) {
        bool blank = from[i] == ' ' || (from[i] >= '\t' && from[i] <= '\r');
        if (!blank) {
            text->data[end++] = from[i];
        } else if (end > 0 && text->data[end - 1] != ' ') {
            text->data[end++] = ' ';
        }
    }
    uint64_t hash = tandem_hash_bytes(text->data, end).low;
    return hash ? hash : 1;
}

static int check_id(import_side *side, const char *id, const char *where)
{
    int kind = id ? IDS_GIVEN : IDS_NUMBERED;
    if (side->ids != IDS_UNKNOWN && (int)side->ids != kind) {
        return tandem_error("%s: %s id, where those before have %s", where, id ? "an" : "no", id ? "none" : "one");
    }
    side->ids = kind;
    if (id && (*id == '\0' || strpbrk(id, "\t\r\n"))) {
        return tandem_error("%s: %s", where,
                            *id ? "an id that holds a tab or a line end, which qrels cannot hold" : "the id is empty");
    }
    return TANDEM_OK;
}

static int write_text(import_sink *sink, import_side *side, const import_text *text)
{
    tandem_buffer *line = &sink->line;
    tandem_buffer_clear(line);
    TANDEM_TRY(tandem_buffer_puts(line, "{\"_id\": "));
    if (text->id) {
        TANDEM_TRY(tandem_buffer_json_string(line, text->id, strlen(text->id)));
    } else {
        TANDEM_TRY(tandem_buffer_printf(line, "\"%s%zu\"", side->prefix, side->written + 1));
    }
    if (side == &sink->documents || text->title) { /* BEIR's documents always have the key */
        const char *title = text->title ? text->title : "";
        TANDEM_TRY(tandem_buffer_puts(line, ", \"title\": "));
        TANDEM_TRY(tandem_buffer_json_string(line, title, strlen(title)));
    }
    TANDEM_TRY(tandem_buffer_puts(line, ", \"text\": "));
    TANDEM_TRY(tandem_buffer_json_string(line, text->text, strlen(text->text)));
    TANDEM_TRY(tandem_buffer_puts(line, "}\n"));
    side->written++;
    return tandem_writer_write(side->writer, line->data, line->length);
}

static int tick(import_sink *sink)
{
    enum { EVERY = 1024 };
    if (++sink->texts % EVERY == 0) {
        tandem_progress_update(sink->progress, sink->texts, NULL);
        if (tandem_interrupted()) {
            return tandem_error_code(TANDEM_INTERRUPTED, "interrupted: nothing was written");
        }
    }
    return TANDEM_OK;
}

/* `split` tells apart queries that are numbered; NULL for documents. */
static int add_text(import_sink *sink, import_side *side, const uint8_t *split, const import_text *text,
                    const char *where, uint32_t *index)
{
    *index = TANDEM_IMPORT_NONE;
    TANDEM_TRY(tick(sink));
    TANDEM_TRY(check_id(side, text->id, where));
    /* The text as a dataset's reader will see it, then what tells the key. */
    tandem_buffer_clear(&sink->text);
    TANDEM_TRY(tandem_buffer_printf(&sink->text, "%s %s", text->title ? text->title : "", text->text));
    size_t length = sink->text.length;
    const char *stripped = tandem_text_strip(sink->text.data, &length);
    import_entry entry = {.key = text->id ? tandem_hash_bytes(text->id, strlen(text->id))
                                          : tandem_hash_bytes(stripped, length)};
    if (!text->id && split) {
        entry.key.high ^= (uint64_t)*split << 56;
    }
    bool empty = length == 0;
    if (!empty) {
        entry.content = content_hash(&sink->text, stripped, length);
    } else {
        sink->report->empty++;
        if (!text->id) {
            return TANDEM_OK;
        }
    }
    uint32_t found = *locate(side, entry.key);
    if (found == 0) {
        *index = (uint32_t)side->count;
        TANDEM_TRY(add_entry(side, entry));
        return empty ? TANDEM_OK : write_text(sink, side, text);
    }
    *index = found - 1;
    side->joined++;
    return tandem_import_entry(side, *index)->content == entry.content
               ? TANDEM_OK
               : tandem_error("%s: the id \"%s\" came before with another text", where, text->id);
}

int tandem_sink_document(import_sink *sink, const import_text *text, const char *where, uint32_t *index)
{
    return add_text(sink, &sink->documents, NULL, text, where, index);
}

int tandem_sink_query(import_sink *sink, uint8_t split, const import_text *text, const char *where, uint32_t *index)
{
    return add_text(sink, &sink->queries, &split, text, where, index);
}

/* ---- splits and links ----------------------------------------------------------------------------- */
int tandem_sink_split(import_sink *sink, const char *name, uint8_t *split)
{
    for (size_t i = 0; i < sink->split_count; i++) {
        if (strcmp(sink->splits[i], name) == 0) {
            *split = (uint8_t)i;
            return TANDEM_OK;
        }
    }
    if (sink->split_count == IMPORT_SPLITS) {
        return tandem_error("more than %d splits", IMPORT_SPLITS);
    }
    char *copy = tandem_strdup(name);
    if (!copy) {
        return TANDEM_ERROR;
    }
    *split = (uint8_t)sink->split_count;
    sink->splits[sink->split_count++] = copy;
    return TANDEM_OK;
}

static bool is_text(const import_side *side, uint32_t index)
{
    return index != TANDEM_IMPORT_NONE && tandem_import_entry(side, index)->content != 0;
}

static int add_link(import_sink *sink, import_link link)
{
    if (!is_text(&sink->queries, link.query) || !is_text(&sink->documents, link.document)) {
        sink->report->lost++;
        return TANDEM_OK;
    }
    if (sink->link_count >= UINT32_MAX) {
        return tandem_error("more than %u judgments", UINT32_MAX);
    }
    void *links = sink->links;
    TANDEM_TRY(tandem_grow(&links, &sink->link_capacity, sink->link_count + 1, sizeof *sink->links));
    sink->links = links;
    link.order = (uint32_t)sink->link_count;
    sink->links[sink->link_count++] = link;
    return TANDEM_OK;
}

int tandem_sink_judge(import_sink *sink, uint8_t split, uint32_t query, uint32_t document, int32_t grade)
{
    return add_link(sink, (import_link){.query = query, .document = document, .grade = grade, .split = split});
}

int tandem_sink_negative(import_sink *sink, uint8_t split, uint32_t query, uint32_t document)
{
    return add_link(sink, (import_link){.query = query, .document = document, .split = split, .negative = true});
}
