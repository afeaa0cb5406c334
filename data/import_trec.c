/* import_trec.c - TREC's documents and topics, in SGML or XML. */
#include <string.h>
#include <strings.h>

#include "data/import_private.h"
#include "data/markup.h"
#include "data/text_reader.h"

/* Elements of a document, by what they hold. News collections differ: these are those of the
 * TREC disks (AP, FBIS, FR, FT, LA Times, SJMN, WSJ, ZIFF) and of the form that others imitate. */
static const char *const id_elements[] = {"docno", NULL};
static const char *const title_elements[] = {"title", "headline", "head", "hl", "ttl", "ti", NULL};
static const char *const text_elements[] = {"text", "leadpara", "lp", "abstract", "body", NULL};

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names && strcasecmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

/* A record of a file: <doc> or <top>. */
typedef struct {
    import_sink *sink;
    const char *path;
    tandem_markup *markup;
    tandem_buffer id, title, text, rest;
    tandem_buffer where; /* the record begins */
} trec_file;

/* Moves past the start of the next record; 0 at the end of the file. Its attributes are in *token. */
static int next_record(trec_file *file, const char *const *names, tandem_markup_token *token)
{
    do {
        TANDEM_TRY(tandem_markup_next(file->markup, token));
        if (token->kind == TANDEM_MARKUP_END) {
            return 0;
        }
    } while (token->kind != TANDEM_MARKUP_OPEN || !is_one_of(token->text, names));
    TANDEM_TRY(tandem_import_place(&file->where, file->path, token->line));
    tandem_buffer_clear(&file->id);
    tandem_buffer_clear(&file->title);
    tandem_buffer_clear(&file->text);
    tandem_buffer_clear(&file->rest);
    return 1;
}

/* The next token of the record; 0 at its end. */
static int next_inside(trec_file *file, const char *const *names, tandem_markup_token *token)
{
    TANDEM_TRY(tandem_markup_next(file->markup, token));
    bool mine =
        (token->kind == TANDEM_MARKUP_OPEN || token->kind == TANDEM_MARKUP_CLOSE) && is_one_of(token->text, names);
    if (token->kind == TANDEM_MARKUP_END || (mine && token->kind == TANDEM_MARKUP_OPEN)) {
        return tandem_error("%s: the <%s> that begins here is not closed", file->where.data, names[0]);
    }
    return mine ? 0 : 1;
}

/* ---- documents ------------------------------------------------------------------------------- */
static int add_document(trec_file *file, bool has_text)
{
    const char *id = tandem_import_stripped(&file->id);
    if (*id == '\0') {
        return tandem_error("%s: a document without <docno>", file->where.data);
    }
    import_text text = {.id = id,
                        .title = tandem_import_stripped(&file->title),
                        .text = tandem_import_stripped(has_text ? &file->text : &file->rest)};
    uint32_t index;
    return tandem_sink_document(file->sink, &text, file->where.data, &index);
}

/* Where the text of an element goes; NULL: where the text before it goes. */
static tandem_buffer *element_buffer(trec_file *file, const char *name)
{
    return is_one_of(name, text_elements) ? &file->text : is_one_of(name, id_elements) ? &file->id :
           is_one_of(name, title_elements) ? &file->title : NULL;
}

/* Tags inside of a text part words; a document with none of the text elements is all text. */
static int read_document(trec_file *file)
{
    static const char *const names[] = {"doc", NULL};
    tandem_markup_token token;
    tandem_buffer *into = &file->rest;
    bool has_text = false;
    int rc = next_record(file, names, &token);
    if (rc <= 0) {
        return rc;
    }
    while ((rc = next_inside(file, names, &token)) == 1) {
        if (token.kind == TANDEM_MARKUP_TEXT) {
            TANDEM_TRY(tandem_buffer_append(into, token.text, token.length));
            continue;
        }
        tandem_buffer *element = element_buffer(file, token.text);
        if (element && into != &file->text && token.kind == TANDEM_MARKUP_OPEN) {
            into = element;
            has_text = has_text || into == &file->text;
        } else if (element == into && token.kind == TANDEM_MARKUP_CLOSE) {
            into = &file->rest;
        }
        TANDEM_TRY(into->length > 0 ? tandem_buffer_append(into, " ", 1) : TANDEM_OK);
    }
    TANDEM_TRY(rc);
    TANDEM_TRY(add_document(file, has_text));
    return 1;
}

/* ---- topics ------------------------------------------------------------------------------------- */
/* Without the label that old topics repeat inside: "<num> Number: 301". */
static const char *without_label(const char *text)
{
    static const char *const labels[] = {"Number:", "Topic:", "Title:", "Description:", "Narrative:", "Question:"};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        size_t length = strlen(labels[i]);
        if (strncasecmp(text, labels[i], length) == 0) {
            return text + length + strspn(text + length, " \t\n");
        }
    }
    return text;
}

/* "051" of the topics is "51" in their judgments. */
static const char *topic_id(tandem_buffer *buffer)
{
    const char *id = without_label(tandem_import_stripped(buffer));
    if (id[strspn(id, "0123456789")] == '\0') {
        size_t zeros = strspn(id, "0");
        id += id[zeros] ? zeros : 0;
    }
    return id;
}

/* Takes the next of the comma-separated `fields` into `name`; false when it has no place there. */
static bool next_field(const char **fields, char *name, size_t size)
{
    size_t length = strcspn(*fields, ",");
    if (length == 0 || length >= size) {
        return false;
    }
    memcpy(name, *fields, length);
    name[length] = '\0';
    *fields += length + ((*fields)[length] ? 1 : 0);
    return true;
}

enum { FIELD_NAME = 64, FIELD_LIMIT = 8 };

/* The elements that make a query, and what this topic has in them. */
typedef struct {
    char names[FIELD_LIMIT][FIELD_NAME];
    tandem_buffer texts[FIELD_LIMIT];
    size_t count;
} topic_fields;

static int parse_fields(topic_fields *fields, const char *list)
{
    while (*list) {
        if (fields->count == FIELD_LIMIT || !next_field(&list, fields->names[fields->count++], FIELD_NAME)) {
            return tandem_error_code(TANDEM_USAGE,
                                     "expected up to %d elements of a topic between commas, as in \"title,desc\"",
                                     FIELD_LIMIT);
        }
    }
    return fields->count > 0 ? TANDEM_OK : tandem_error_code(TANDEM_USAGE, "no element of a topic is named");
}

static int add_topic(trec_file *file, topic_fields *fields)
{
    tandem_buffer_clear(&file->text);
    for (size_t i = 0; i < fields->count; i++) {
        const char *text = without_label(tandem_import_stripped(&fields->texts[i]));
        if (*text == '\0') {
            return tandem_error("%s: the topic has no <%s>", file->where.data, fields->names[i]);
        }
        TANDEM_TRY(tandem_buffer_printf(&file->text, "%s%s", i > 0 ? " " : "", text));
    }
    import_text text = {.id = topic_id(&file->id), .text = file->text.data};
    if (*text.id == '\0') {
        return tandem_error("%s: a topic without <num>", file->where.data);
    }
    uint32_t index;
    return tandem_sink_query(file->sink, 0, &text, file->where.data, &index);
}

static int topic_number(trec_file *file, const tandem_markup_token *token)
{
    size_t length;
    const char *value = tandem_markup_attribute(token->attributes, "number", &length);
    return value ? tandem_buffer_append(&file->id, value, length) : TANDEM_OK;
}

/* Elements of old topics are not closed: one ends where the next begins. */
static int read_topic(trec_file *file, topic_fields *fields)
{
    static const char *const names[] = {"top", "topic", NULL};
    tandem_markup_token token;
    int rc = next_record(file, names, &token);
    if (rc <= 0) {
        return rc;
    }
    TANDEM_TRY(topic_number(file, &token));
    for (size_t i = 0; i < fields->count; i++) {
        tandem_buffer_clear(&fields->texts[i]);
    }
    tandem_buffer *into = NULL;
    while ((rc = next_inside(file, names, &token)) == 1) {
        if (token.kind == TANDEM_MARKUP_TEXT) {
            TANDEM_TRY(into ? tandem_buffer_append(into, token.text, token.length) : TANDEM_OK);
            continue;
        }
        into = token.kind == TANDEM_MARKUP_OPEN && strcasecmp(token.text, "num") == 0 ? &file->id : NULL;
        for (size_t i = 0; i < fields->count; i++) {
            into = token.kind == TANDEM_MARKUP_OPEN && strcasecmp(token.text, fields->names[i]) == 0 ? &fields->texts[i]
                                                                                                     : into;
        }
    }
    TANDEM_TRY(rc);
    TANDEM_TRY(add_topic(file, fields));
    return 1;
}

/* ---- files ---------------------------------------------------------------------------------------- */
/* `context` is the topic_fields, NULL for documents. */
static int read_file(import_sink *sink, void *context, const char *path, const char *split)
{
    (void)split;
    trec_file file = {.sink = sink, .path = path};
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_markup_open(&file.markup, path));
    do {
        TANDEM_TRY_GOTO(rc, done, context ? read_topic(&file, context) : read_document(&file));
    } while (rc == 1);
done:
    tandem_markup_close(file.markup);
    tandem_buffer_free(&file.id);
    tandem_buffer_free(&file.title);
    tandem_buffer_free(&file.text);
    tandem_buffer_free(&file.rest);
    tandem_buffer_free(&file.where);
    return rc;
}

static int read_all(import_sink *sink, topic_fields *fields)
{
    const char *names = sink->options->topic_fields;
    TANDEM_TRY(parse_fields(fields, names ? names : "title"));
    TANDEM_TRY(tandem_import_each(sink, &sink->options->documents, read_file, NULL));
    TANDEM_TRY(tandem_import_each(sink, &sink->options->queries, read_file, fields));
    return tandem_import_each(sink, &sink->options->qrels, tandem_import_qrels, NULL);
}

int tandem_import_trec(import_sink *sink)
{
    topic_fields fields = {.count = 0};
    int rc = read_all(sink, &fields);
    for (size_t i = 0; i < FIELD_LIMIT; i++) {
        tandem_buffer_free(&fields.texts[i]);
    }
    return rc;
}
