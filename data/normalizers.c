/* normalizers.c - the normalizers of a tokenizer.json: reading them, and running them one
 * after the other. A text that a normalizer would leave as it is is not copied. */
#include "data/normalizers.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_parts.h"
#include "data/unicode.h"
#include "tandem/json.h"
#include "tandem/memory.h"

/* ---- reading ------------------------------------------------------------------------- */
typedef struct {
    tandem_normalizers *chain;
    tandem_hasher *hasher;
    const char *source;
} reader;

/* A new normalizer at the end of the chain, or NULL with the message set. */
static tandem_normalizer *add(tandem_normalizers *chain, tandem_normalizer_kind kind, tandem_hasher *hasher)
{
    void *items = chain->items;
    int rc = tandem_grow(&items, &chain->capacity, chain->count + 1, sizeof *chain->items);
    chain->items = items;
    if (rc < 0) {
        return NULL;
    }
    tandem_hasher_int(hasher, kind);
    chain->items[chain->count] = (tandem_normalizer){.kind = kind};
    return &chain->items[chain->count++];
}

int tandem_normalizers_add_bert(tandem_normalizers *chain, tandem_bert_rules rules, tandem_hasher *hasher)
{
    tandem_normalizer *normalizer = add(chain, TANDEM_NORMALIZE_BERT, hasher);
    if (!normalizer) {
        return TANDEM_ERROR;
    }
    tandem_bert_rules_finish(&rules);
    normalizer->bert = rules;
    tandem_hasher_int(hasher, rules.clean_text | rules.ideographs << 1 | rules.strip_accents << 2 |
                                  rules.lowercase << 3);
    return TANDEM_OK;
}

static int read_bert(const reader *r, const cJSON *part)
{
    tandem_bert_rules rules = {.clean_text = true, .ideographs = true, .lowercase = true};
    TANDEM_TRY(tandem_json_get_bool_or(part, "clean_text", r->source, &rules.clean_text));
    TANDEM_TRY(tandem_json_get_bool_or(part, "handle_chinese_chars", r->source, &rules.ideographs));
    TANDEM_TRY(tandem_json_get_bool_or(part, "lowercase", r->source, &rules.lowercase));
    rules.strip_accents = rules.lowercase; /* what null means */
    TANDEM_TRY(tandem_json_get_bool_or(part, "strip_accents", r->source, &rules.strip_accents));
    return tandem_normalizers_add_bert(r->chain, rules, r->hasher);
}

static int read_strip(const reader *r, tandem_normalizer *normalizer, const cJSON *part)
{
    normalizer->left = normalizer->right = true;
    TANDEM_TRY(tandem_json_get_bool_or(part, "strip_left", r->source, &normalizer->left));
    TANDEM_TRY(tandem_json_get_bool_or(part, "strip_right", r->source, &normalizer->right));
    tandem_hasher_int(r->hasher, normalizer->left | normalizer->right << 1);
    return TANDEM_OK;
}

static int read_content(const reader *r, tandem_normalizer *normalizer, const cJSON *part, const char *key)
{
    const char *content;
    TANDEM_TRY(tandem_json_get_string(part, key, r->source, &content));
    normalizer->content_length = strlen(content);
    normalizer->content = tandem_strdup(content);
    tandem_hasher_string(r->hasher, content);
    return normalizer->content ? TANDEM_OK : TANDEM_ERROR;
}

static int read_precompiled(const reader *r, tandem_normalizer *normalizer, const cJSON *part)
{
    const char *map;
    TANDEM_TRY(tandem_json_get_string(part, "precompiled_charsmap", r->source, &map));
    tandem_hasher_string(r->hasher, map);
    return tandem_precompiled_new(&normalizer->precompiled, map, strlen(map), r->source);
}

static const struct {
    const char *type;
    tandem_normalizer_kind kind;
    tandem_normal_form form;
} kinds[] = {
    {"BertNormalizer", TANDEM_NORMALIZE_BERT, 0},
    {"NFC", TANDEM_NORMALIZE_FORM, TANDEM_NFC},
    {"NFD", TANDEM_NORMALIZE_FORM, TANDEM_NFD},
    {"NFKC", TANDEM_NORMALIZE_FORM, TANDEM_NFKC},
    {"NFKD", TANDEM_NORMALIZE_FORM, TANDEM_NFKD},
    {"Lowercase", TANDEM_NORMALIZE_LOWERCASE, 0},
    {"StripAccents", TANDEM_NORMALIZE_STRIP_ACCENTS, 0},
    {"Strip", TANDEM_NORMALIZE_STRIP, 0},
    {"Replace", TANDEM_NORMALIZE_REPLACE, 0},
    {"Prepend", TANDEM_NORMALIZE_PREPEND, 0},
    {"Precompiled", TANDEM_NORMALIZE_PRECOMPILED, 0},
    {"ByteLevel", TANDEM_NORMALIZE_BYTE_LEVEL, 0},
    {"Nmt", TANDEM_NORMALIZE_NMT, 0},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static int read_one(const reader *r, const cJSON *part, size_t row)
{
    if (r->chain->count == TANDEM_PARTS_MAX) {
        return tandem_error("%s: normalizer: more than %d of them", r->source, TANDEM_PARTS_MAX);
    }
    if (kinds[row].kind == TANDEM_NORMALIZE_BERT) {
        return read_bert(r, part);
    }
    tandem_normalizer *normalizer = add(r->chain, kinds[row].kind, r->hasher);
    if (!normalizer) {
        return TANDEM_ERROR;
    }
    normalizer->form = kinds[row].form;
    tandem_hasher_int(r->hasher, normalizer->form);
    switch (normalizer->kind) {
    case TANDEM_NORMALIZE_STRIP: return read_strip(r, normalizer, part);
    case TANDEM_NORMALIZE_PREPEND: return read_content(r, normalizer, part, "prepend");
    case TANDEM_NORMALIZE_PRECOMPILED: return read_precompiled(r, normalizer, part);
    case TANDEM_NORMALIZE_REPLACE:
        TANDEM_TRY(tandem_part_pattern(part, "normalizer", r->source, r->hasher, &normalizer->pattern));
        return read_content(r, normalizer, part, "content");
    default: return TANDEM_OK;
    }
}

static int read_part(void *context, const cJSON *part, size_t depth)
{
    const reader *r = context;
    const char *names[KINDS + 2] = {NULL};
    for (size_t i = 0; i < KINDS; i++) {
        names[i] = kinds[i].type;
    }
    names[KINDS] = "Sequence";
    size_t row;
    TANDEM_TRY(tandem_part_type(part, "normalizer", names, r->source, &row));
    return row < KINDS ? read_one(r, part, row)
                       : tandem_part_each(part, "normalizer", "normalizers", r->source, depth, read_part, context);
}

int tandem_normalizers_read(tandem_normalizers *chain, const cJSON *part, tandem_hasher *hasher, const char *source)
{
    reader r = {chain, hasher, source};
    return part && !cJSON_IsNull(part) ? read_part(&r, part, 0) : TANDEM_OK;
}

void tandem_normalizers_clear(tandem_normalizers *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        tandem_pattern_free(chain->items[i].pattern);
        tandem_precompiled_free(chain->items[i].precompiled);
        free(chain->items[i].content);
    }
    free(chain->items);
}

void tandem_normalizer_scratch_clear(tandem_normalizer_scratch *scratch)
{
    tandem_aligned_free(&scratch->buffers[0]);
    tandem_aligned_free(&scratch->buffers[1]);
    free(scratch->chars);
    tandem_changes_free(&scratch->changes);
    tandem_marks_free(&scratch->marks);
}

/* ---- character by character ------------------------------------------------------------ */
/* What becomes of one; how many (at most 2) are written to `out`. */
static size_t map_char(const tandem_normalizer *normalizer, uint32_t c, uint32_t out[2])
{
    const tandem_unicode_record *record = tandem_unicode_find(c);
    out[0] = c;
    switch (normalizer->kind) {
    case TANDEM_NORMALIZE_LOWERCASE:
        out[0] = c + (uint32_t)record->lower;
        out[1] = 0x307;
        return record->flags & TANDEM_UNICODE_DOT ? 2 : 1;
    case TANDEM_NORMALIZE_STRIP_ACCENTS: return record->flags & TANDEM_UNICODE_MARK ? 0 : 1;
    default: break;
    }
    /* Nmt (normalizers/unicode.rs) */
    bool dropped = (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
    bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                 c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
    out[0] = space ? ' ' : c;
    return dropped ? 0 : 1;
}

static int map_chars(const tandem_normalizer *normalizer, tandem_view view, tandem_aligned *out)
{
    for (size_t at = 0; at < view.length;) {
        uint32_t c, mapped[2], origin = view.origins ? view.origins[at] : 0;
        at += tandem_unicode_decode(view.text + at, view.length - at, &c);
        size_t count = map_char(normalizer, c, mapped);
        for (size_t i = 0; i < count; i++) {
            TANDEM_TRY(tandem_aligned_char(out, mapped[i], origin));
        }
    }
    return TANDEM_OK;
}

static bool is_space(uint32_t c)
{
    return (tandem_unicode_find(c)->flags & TANDEM_UNICODE_SPACE) != 0;
}

static tandem_view strip(const tandem_normalizer *normalizer, tandem_view view)
{
    size_t begin = 0, end = view.length, size;
    uint32_t c;
    while (normalizer->left && begin < end && (size = tandem_unicode_decode(view.text + begin, end - begin, &c)) &&
           is_space(c)) {
        begin += size;
    }
    while (normalizer->right && end > begin && (size = tandem_unicode_decode_before(view.text, end, &c)) &&
           is_space(c)) {
        end -= size;
    }
    return tandem_view_part(view, begin, end);
}

/* ---- in context: normal forms and Precompiled --------------------------------------------- */
/* Whether c stays as it is beside others of which this is true. */
static bool is_inert(const tandem_normalizer *normalizer, uint32_t c)
{
    return normalizer->kind == TANDEM_NORMALIZE_FORM ? tandem_normal_form_is_inert(normalizer->form, c)
                                                     : c < 0x80 && tandem_precompiled_inert(normalizer->precompiled)[c];
}

/* The first character from `at` on that is not inert. */
static size_t skip_inert(const tandem_normalizer *normalizer, tandem_view view, size_t at)
{
    const bool *inert = normalizer->precompiled ? tandem_precompiled_inert(normalizer->precompiled) : NULL;
    while (at < view.length) {
        unsigned char byte = (unsigned char)view.text[at];
        if (byte < 0x80 && (!inert || inert[byte])) {
            at++;
            continue;
        }
        uint32_t c;
        size_t size = tandem_unicode_decode(view.text + at, view.length - at, &c);
        if (!is_inert(normalizer, c)) {
            break;
        }
        at += size;
    }
    return at;
}

/* The end of the run that begins at `at`: one inert character after all that are not. */
static size_t run_end(const tandem_normalizer *normalizer, tandem_view view, size_t at)
{
    for (bool before = false; at < view.length;) {
        uint32_t c;
        size_t size = tandem_unicode_decode(view.text + at, view.length - at, &c);
        bool inert = is_inert(normalizer, c);
        if (inert && before) {
            break;
        }
        before = inert;
        at += size;
    }
    return at;
}

static int compute_changes(const tandem_normalizer *normalizer, tandem_normalizer_scratch *scratch, tandem_view view)
{
    void *chars = scratch->chars;
    int rc = tandem_grow(&chars, &scratch->char_capacity, view.length, sizeof *scratch->chars);
    scratch->chars = chars;
    TANDEM_TRY(rc);
    size_t count = 0;
    for (size_t at = 0; at < view.length; count++) {
        at += tandem_unicode_decode(view.text + at, view.length - at, &scratch->chars[count]);
    }
    return normalizer->kind == TANDEM_NORMALIZE_FORM
               ? tandem_normal_form_apply(normalizer->form, scratch->chars, count, &scratch->changes)
               : tandem_precompiled_apply(normalizer->precompiled, scratch->chars, count, &scratch->changes);
}

static size_t char_size(tandem_view view, size_t at)
{
    uint32_t c;
    return at < view.length ? tandem_unicode_decode(view.text + at, view.length - at, &c) : 0;
}

/* Writes the changed characters, with origins as NormalizedString::transform gives them: it
 * walks over what is replaced by the counts alone. */
static int put_changes(const tandem_changes *changes, tandem_view view, tandem_aligned *out)
{
    size_t at = 0;
    for (size_t i = 0; i < changes->count; i++) {
        tandem_changed_char changed = changes->items[i];
        uint32_t origin = 0;
        if (view.origins && changed.change > 0) {
            origin = at > 0 ? view.origins[at - 1] : TANDEM_ORIGIN_NONE;
        } else if (view.origins) {
            origin = view.origins[at < view.length ? at : view.length - 1];
            for (int32_t used = changed.change; used <= 0; used++) {
                at += char_size(view, at);
            }
        }
        TANDEM_TRY(tandem_aligned_char(out, changed.c, origin));
    }
    return TANDEM_OK;
}

static int change_run(const tandem_normalizer *normalizer, tandem_normalizer_scratch *scratch, tandem_view view,
                      tandem_aligned *out)
{
    TANDEM_TRY(compute_changes(normalizer, scratch, view));
    return put_changes(&scratch->changes, view, out);
}

/* Only runs that may change are worked on, with an inert character on either side. Where
 * origins are wanted the whole text is one run: the library's counts may carry from one to
 * the next. 0 when nothing is to be changed, 1 when the result is in `out`. */
static int change_chars(const tandem_normalizer *normalizer, tandem_normalizer_scratch *scratch, tandem_view view,
                        tandem_aligned *out)
{
    size_t done = 0, at = skip_inert(normalizer, view, 0);
    if (at < view.length && view.origins) {
        TANDEM_TRY(change_run(normalizer, scratch, view, out));
        return 1;
    }
    while (at < view.length) {
        uint32_t c;
        size_t begin = at > done ? at - tandem_unicode_decode_before(view.text, at, &c) : at;
        size_t end = run_end(normalizer, view, at);
        TANDEM_TRY(tandem_aligned_append(out, tandem_view_part(view, done, begin)));
        TANDEM_TRY(change_run(normalizer, scratch, tandem_view_part(view, begin, end), out));
        done = end;
        at = skip_inert(normalizer, view, end);
    }
    TANDEM_TRY(done > 0 ? tandem_aligned_append(out, tandem_view_part(view, done, view.length)) : TANDEM_OK);
    return done > 0 ? 1 : 0;
}

/* ---- other text -------------------------------------------------------------------------------- */
/* What replaces a match has the origin of its last character, or of the one before an empty
 * match. 0 when there is none, 1 when the result is in `out`. */
static int replace(const tandem_normalizer *normalizer, tandem_view view, tandem_aligned *out)
{
    tandem_match match = {0};
    size_t done = 0;
    bool any = false;
    int rc;
    while ((rc = tandem_pattern_next(normalizer->pattern, view.text, view.length, &match)) > 0) {
        any = true;
        TANDEM_TRY(tandem_aligned_append(out, tandem_view_part(view, done, match.begin)));
        uint32_t origin = view.origins && match.end > 0 ? view.origins[match.end - 1] : TANDEM_ORIGIN_NONE;
        TANDEM_TRY(tandem_aligned_bytes(out, normalizer->content, normalizer->content_length, origin));
        done = match.end;
    }
    TANDEM_TRY(rc);
    TANDEM_TRY(any ? tandem_aligned_append(out, tandem_view_part(view, done, view.length)) : TANDEM_OK);
    return any ? 1 : 0;
}

static int prepend(const tandem_normalizer *normalizer, tandem_view view, tandem_aligned *out)
{
    uint32_t origin = view.origins ? view.origins[0] : 0;
    TANDEM_TRY(tandem_aligned_bytes(out, normalizer->content, normalizer->content_length, origin));
    return tandem_aligned_append(out, view);
}

/* GPT-2's alphabet: printable bytes of Latin-1 stand for themselves, the others for U+0100
 * and what follows, in their order. */
uint32_t tandem_byte_level_char(unsigned char byte)
{
    if (byte <= 0x20) {
        return 0x100u + byte;
    }
    if (byte >= 0x7F && byte <= 0xA0) {
        return 0x100u + 0x21 + (byte - 0x7Fu);
    }
    return byte == 0xAD ? 0x100u + 0x21 + 0x22 : byte;
}

int tandem_byte_level_append(tandem_aligned *out, tandem_view view)
{
    for (size_t i = 0; i < view.length; i++) {
        TANDEM_TRY(tandem_aligned_char(out, tandem_byte_level_char((unsigned char)view.text[i]),
                                       view.origins ? view.origins[i] : 0));
    }
    return TANDEM_OK;
}

/* ---- the chain ----------------------------------------------------------------------------------- */
/* 1 when the result is in `out`, 0 when it is *view, perhaps narrowed. */
static int apply(const tandem_normalizer *normalizer, tandem_normalizer_scratch *scratch, tandem_view *view,
                 tandem_aligned *out)
{
    int rc = TANDEM_OK;
    switch (normalizer->kind) {
    case TANDEM_NORMALIZE_BERT: rc = tandem_bert_normalize(&normalizer->bert, &scratch->marks, *view, out); break;
    case TANDEM_NORMALIZE_LOWERCASE:
    case TANDEM_NORMALIZE_STRIP_ACCENTS:
    case TANDEM_NORMALIZE_NMT: rc = map_chars(normalizer, *view, out); break;
    case TANDEM_NORMALIZE_PREPEND: rc = prepend(normalizer, *view, out); break;
    case TANDEM_NORMALIZE_BYTE_LEVEL: rc = tandem_byte_level_append(out, *view); break;
    case TANDEM_NORMALIZE_FORM:
    case TANDEM_NORMALIZE_PRECOMPILED: return change_chars(normalizer, scratch, *view, out);
    case TANDEM_NORMALIZE_REPLACE: return replace(normalizer, *view, out);
    case TANDEM_NORMALIZE_STRIP: *view = strip(normalizer, *view); return 0;
    }
    return rc < 0 ? rc : 1;
}

int tandem_normalizers_apply(const tandem_normalizers *chain, tandem_normalizer_scratch *scratch, tandem_view *view)
{
    size_t free_buffer = 0;
    for (size_t i = 0; i < chain->count && view->length > 0; i++) {
        tandem_aligned *out = &scratch->buffers[free_buffer];
        tandem_aligned_clear(out, view->origins != NULL);
        int rc = apply(&chain->items[i], scratch, view, out);
        TANDEM_TRY(rc);
        if (rc == 1) {
            *view = tandem_aligned_view(out);
            free_buffer = 1 - free_buffer;
        }
    }
    return TANDEM_OK;
}
