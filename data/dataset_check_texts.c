/* dataset_check_texts.c - every line of corpus.jsonl and queries.jsonl. */
#include <stdlib.h>
#include <string.h>

#include "data/dataset_check.h"
#include "data/token_store_private.h"
#include "data/unicode.h"

enum {
    LONGEST_ID = 512, /* bytes: what Elasticsearch takes for an _id */
    PENDING_TEXTS = 4096,
    PENDING_BYTES = 16 << 20
};

/* ---- what a text holds ----------------------------------------------------------------- */
/* The first control character but tab and line ends, and whether U+FFFD is there. */
typedef struct {
    uint32_t control; /* 0: none */
    bool replacement;
} text_findings;

/* C1 controls are most often Windows-1252 that was read as Latin-1. */
static bool is_control(uint32_t code)
{
    return (code < 0x20 && code != '\t' && code != '\n' && code != '\r') || (code >= 0x7F && code <= 0x9F);
}

/* Writes the text in lower case, each run of white space as one space, into check->normal. No
 * lowercase has more than twice the bytes. */
static int normalize(tandem_checker *check, const tandem_text *text, text_findings *found, size_t *length)
{
    void *grown = check->normal;
    TANDEM_TRY(tandem_grow(&grown, &check->normal_capacity, 2 * text->length, 1));
    char *out = check->normal = grown;
    bool space = false;
    for (size_t at = 0; at < text->length;) {
        uint32_t code = (unsigned char)text->text[at];
        if (code >= ' ' && code < 0x7F) { /* as below, at once */
            *out = ' ';
            out += space && code != ' ';
            space = code == ' ';
            *out = (char)(code >= 'A' && code <= 'Z' ? code + 'a' - 'A' : code);
            out += !space;
            at++;
            continue;
        }
        at += tandem_unicode_decode(text->text + at, text->length - at, &code);
        const tandem_unicode_record *record = tandem_unicode_find(code);
        found->control = found->control == 0 && is_control(code) ? code : found->control;
        found->replacement = found->replacement || code == TANDEM_UNICODE_REPLACEMENT;
        if (record->flags & TANDEM_UNICODE_SPACE) {
            space = true;
            continue;
        }
        *out = ' ';
        out += space;
        out += tandem_unicode_encode((uint32_t)((int32_t)code + record->lower), out);
        space = false;
    }
    *length = (size_t)(out - check->normal);
    return TANDEM_OK;
}

static int tell_findings(tandem_checker *check, const char *id, const text_findings *found)
{
    if (found->control != 0) {
        TANDEM_TRY(tandem_checker_add(check, TANDEM_CONTROL_CHARACTER, "_id \"%s\" holds the control character U+%04X",
                                      id, found->control));
    }
    if (!found->replacement) {
        return TANDEM_OK;
    }
    return tandem_checker_add(check, TANDEM_REPLACEMENT_CHARACTER,
                              "_id \"%s\" holds U+FFFD, which stands for what a conversion could not read", id);
}

/* ---- texts -------------------------------------------------------------------------------- */
static int check_id(tandem_checker *check, const char *id)
{
    size_t length = strlen(id);
    if (strpbrk(id, " \t\r\n\v\f")) {
        TANDEM_TRY(tandem_checker_add(check, TANDEM_SPACE_IN_ID,
                                      "_id \"%s\" holds white space, which TREC run files cannot hold", id));
    }
    if (length <= LONGEST_ID) {
        return TANDEM_OK;
    }
    return tandem_checker_add(check, TANDEM_LONG_ID, "the _id has %zu bytes; search engines take %d", length,
                              LONGEST_ID);
}

/* Other texts with the hash of this one, which is the last of its file. */
static int find_twins(tandem_checker *check, tandem_checked_texts *file, const tandem_checked_text *item)
{
    const char *key = (const char *)item->hash;
    size_t first = 0;
    int rc = tandem_strmap_add(file->by_hash, key, sizeof *item->hash, file->count - 1, &first);
    if (rc == 0) {
        const tandem_checked_text *twin = &file->items[first];
        rc = tandem_checker_add(check, TANDEM_DUPLICATE_TEXT, "_id \"%s\" has the text of \"%s\" (line %zu)", item->id,
                                twin->id, twin->line);
    }
    if (rc < 0 || file == &check->corpus ||
        !tandem_strmap_find(check->corpus.by_hash, key, sizeof *item->hash, &first)) {
        return rc < 0 ? rc : TANDEM_OK;
    }
    const tandem_checked_text *document = &check->corpus.items[first];
    return tandem_checker_add(check, TANDEM_QUERY_IS_DOCUMENT, "_id \"%s\" has the text of document \"%s\" (line %zu)",
                              item->id, document->id, document->line);
}

static int check_content(tandem_checker *check, tandem_checked_texts *file, const tandem_text *text)
{
    tandem_checked_text *item = &file->items[file->count - 1];
    text_findings found = {0};
    size_t length = 0;
    if (text->length == 0) {
        return tandem_checker_add(check, TANDEM_EMPTY_TEXT, "_id \"%s\" has an empty text", item->id);
    }
    TANDEM_TRY(normalize(check, text, &found, &length));
    TANDEM_TRY(tell_findings(check, item->id, &found));
    tandem_hash *hash = tandem_arena_alloc(check->kept, 1, sizeof *hash);
    if (!hash) {
        return TANDEM_ERROR;
    }
    *hash = tandem_hash_bytes(check->normal, length);
    item->hash = hash;
    return find_twins(check, file, item);
}

/* Measures the texts that wait, which are the last of the file. */
static int measure_pending(tandem_checker *check, tandem_checked_texts *file)
{
    tandem_token_store *store = NULL;
    size_t specials = tandem_tokenizer_special_count(check->tokenizer, false);
    TANDEM_TRY(tandem_token_store_build(&store, check->tokenizer, check->pending, check->pending_count, NULL, 0));
    tandem_checked_text *items = file->items + file->count - check->pending_count;
    for (size_t i = 0; i < check->pending_count; i++) {
        items[i].length = tandem_token_store_get(store, i).count + specials;
    }
    tandem_token_store_free(store);
    check->pending_count = check->pending_bytes = 0;
    tandem_arena_reset(check->scratch);
    return TANDEM_OK;
}

/* Bytes at once, tokens when there are enough texts for all threads. */
static int measure_text(tandem_checker *check, tandem_checked_texts *file, const tandem_text *text)
{
    if (!check->tokenizer) {
        file->items[file->count - 1].length = text->length;
        tandem_arena_reset(check->scratch);
        return TANDEM_OK;
    }
    check->pending[check->pending_count++] = *text;
    check->pending_bytes += text->length;
    bool enough = check->pending_count == PENDING_TEXTS || check->pending_bytes > PENDING_BYTES;
    return enough ? measure_pending(check, file) : TANDEM_OK;
}

static int check_text_line(tandem_checker *check, tandem_checked_texts *file, const char *line, size_t length)
{
    tandem_text text;
    if (tandem_text_parse(&text, check->scratch, line, length, check->where.data) < 0) {
        return tandem_checker_add_message(check, TANDEM_INVALID_LINE);
    }
    size_t first = 0;
    const char *id = tandem_arena_strndup(check->kept, text.id, strlen(text.id));
    int rc = id ? tandem_strmap_add(file->by_id, id, strlen(id), file->count, &first) : TANDEM_ERROR;
    if (rc == 0) {
        return tandem_checker_add(check, TANDEM_DUPLICATE_ID, "duplicate _id \"%s\" (first on line %zu)", id,
                                  file->items[first].line);
    }
    TANDEM_TRY(rc);
    void *items = file->items;
    TANDEM_TRY(tandem_grow(&items, &file->capacity, file->count + 1, sizeof *file->items));
    file->items = items;
    file->items[file->count++] = (tandem_checked_text){.id = id, .line = check->line};
    TANDEM_TRY(check_id(check, id));
    TANDEM_TRY(check_content(check, file, &text));
    return measure_text(check, file, &text);
}

/* ---- files ------------------------------------------------------------------------------- */
static int check_lines(tandem_checker *check, tandem_checked_texts *file, tandem_lines *lines)
{
    size_t length;
    char *line;
    bool told = false;
    int rc;
    while ((rc = tandem_lines_next(lines, &line, &length)) == 1) {
        TANDEM_TRY(tandem_checker_place(check, file->name, tandem_lines_number(lines)));
        TANDEM_TRY(tandem_checker_line_ends(check, lines, &told));
        if (!tandem_line_is_blank(line, length)) {
            TANDEM_TRY(check_text_line(check, file, line, length));
        }
    }
    TANDEM_TRY(tandem_checker_place(check, file->name, 0));
    if (rc < 0) { /* it cannot be read on, e.g. damaged zstd */
        TANDEM_TRY(tandem_checker_add_message(check, TANDEM_UNREADABLE_FILE));
    } else if (file->count == 0) {
        TANDEM_TRY(tandem_checker_add(check, TANDEM_NO_TEXT, "no line with a text"));
    }
    return check->pending_count > 0 ? measure_pending(check, file) : TANDEM_OK;
}

int tandem_check_texts(tandem_checker *check, tandem_checked_texts *file)
{
    file->by_id = tandem_strmap_new(0);
    file->by_hash = tandem_strmap_new(0);
    if (check->tokenizer && !check->pending) {
        check->pending = tandem_alloc(PENDING_TEXTS, sizeof *check->pending);
    }
    if (!file->by_id || !file->by_hash || (check->tokenizer && !check->pending)) {
        return TANDEM_ERROR;
    }
    char *path = NULL;
    tandem_lines *lines = NULL;
    TANDEM_TRY(tandem_checker_place(check, file->name, 0));
    int rc = tandem_dataset_file(&path, check->directory, file->name);
    if (rc == TANDEM_NOT_FOUND) {
        return tandem_checker_add(check, TANDEM_NO_FILE, "no such file, nor with .zst");
    }
    if (rc == TANDEM_OK) {
        rc = tandem_lines_open(&lines, path) < 0 ? tandem_checker_add_message(check, TANDEM_UNREADABLE_FILE)
                                                 : check_lines(check, file, lines);
    }
    tandem_lines_close(lines);
    free(path);
    return rc;
}

void tandem_checked_texts_free(tandem_checked_texts *file)
{
    tandem_strmap_free(file->by_id);
    tandem_strmap_free(file->by_hash);
    free(file->items);
}

/* ---- lengths ------------------------------------------------------------------------------ */
static int compare_sizes(const void *a, const void *b)
{
    size_t first = *(const size_t *)a, second = *(const size_t *)b;
    return (first > second) - (first < second);
}

/* Nearest rank: the smallest length that at least p % of the texts do not exceed. */
int tandem_check_lengths(const tandem_checker *check, const tandem_checked_texts *file, size_t out[8],
                         size_t *truncated)
{
    static const size_t percents[8] = {0, 5, 25, 50, 75, 95, 99, 100};
    if (file->count == 0) {
        return TANDEM_OK;
    }
    size_t *lengths = tandem_alloc(file->count, sizeof *lengths);
    if (!lengths) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < file->count; i++) {
        lengths[i] = file->items[i].length;
        *truncated += check->tokenizer && check->max_length > 0 && lengths[i] > check->max_length;
    }
    qsort(lengths, file->count, sizeof *lengths, compare_sizes);
    for (size_t i = 0; i < 8; i++) {
        size_t rank = (file->count * percents[i] + 99) / 100;
        out[i] = lengths[rank > 0 ? rank - 1 : 0];
    }
    free(lengths);
    return TANDEM_OK;
}
