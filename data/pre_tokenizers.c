/* pre_tokenizers.c - the pre-tokenizers of a tokenizer.json: reading them, and cutting text
 * into words. */
#include "data/pre_tokenizers.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_parts.h"
#include "data/unicode.h"
#include "tandem/json.h"
#include "tandem/memory.h"

/* ---- reading ------------------------------------------------------------------------- */
typedef struct {
    tandem_pre_tokenizers *chain;
    tandem_hasher *hasher;
    const char *source;
} reader;

/* A member that is one of the names, which NULL ends; *index stays where it is missing. */
static int read_choice(const reader *r, const cJSON *part, const char *key, const char *const *names, size_t *index)
{
    const char *value = names[*index];
    TANDEM_TRY(tandem_json_get_string_or(part, key, r->source, &value));
    for (*index = 0; names[*index]; ++*index) {
        if (strcmp(value, names[*index]) == 0) {
            return TANDEM_OK;
        }
    }
    return tandem_error("%s: pre_tokenizer.%s \"%s\" is not supported", r->source, key, value);
}

static int read_behavior(const reader *r, const cJSON *part, tandem_cut *cut)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous",
                                        NULL};
    size_t index = TANDEM_CUT_ISOLATED;
    TANDEM_TRY(read_choice(r, part, "behavior", names, &index));
    cut->behavior = (tandem_cut_behavior)index;
    return TANDEM_OK;
}

/* A member that is a string of one character. */
static int read_char(const reader *r, const cJSON *part, const char *key, uint32_t *c)
{
    const char *text;
    TANDEM_TRY(tandem_json_get_string(part, key, r->source, &text));
    size_t length = strlen(text);
    if (length == 0 || tandem_unicode_decode(text, length, c) != length) {
        return tandem_error("%s: pre_tokenizer.%s: expected one character, found \"%s\"", r->source, key, text);
    }
    return TANDEM_OK;
}

static int read_byte_level(const reader *r, const cJSON *part, tandem_cut *cut)
{
    bool prefix = true;
    cut->split = true;
    TANDEM_TRY(tandem_json_get_bool_or(part, "add_prefix_space", r->source, &prefix));
    TANDEM_TRY(tandem_json_get_bool_or(part, "use_regex", r->source, &cut->split));
    cut->prepend = prefix ? TANDEM_PREPEND_ALWAYS : TANDEM_PREPEND_NEVER;
    return TANDEM_OK;
}

static int read_metaspace(const reader *r, const cJSON *part, tandem_cut *cut)
{
    static const char *const schemes[] = {"always", "first", "never", NULL};
    size_t scheme = TANDEM_PREPEND_ALWAYS;
    bool prefix = true; /* what prepend_scheme was before it had that name */
    uint32_t c = 0;
    cut->split = true;
    TANDEM_TRY(read_char(r, part, "replacement", &c));
    TANDEM_TRY(read_choice(r, part, "prepend_scheme", schemes, &scheme));
    TANDEM_TRY(tandem_json_get_bool_or(part, "add_prefix_space", r->source, &prefix));
    TANDEM_TRY(tandem_json_get_bool_or(part, "split", r->source, &cut->split));
    if (!prefix && scheme != TANDEM_PREPEND_NEVER) {
        return tandem_error("%s: pre_tokenizer.add_prefix_space is false, but prepend_scheme is \"%s\"", r->source,
                            schemes[scheme]);
    }
    cut->prepend = (tandem_prepend_scheme)scheme;
    cut->replacement_length = tandem_unicode_encode(c, cut->replacement);
    return TANDEM_OK;
}

static int read_digits(const reader *r, const cJSON *part, tandem_cut *cut)
{
    bool individual = false;
    TANDEM_TRY(tandem_json_get_bool_or(part, "individual_digits", r->source, &individual));
    cut->behavior = individual ? TANDEM_CUT_ISOLATED : TANDEM_CUT_CONTIGUOUS;
    return TANDEM_OK;
}

static int read_split(const reader *r, const cJSON *part, tandem_cut *cut)
{
    TANDEM_TRY(read_behavior(r, part, cut));
    TANDEM_TRY(tandem_json_get_bool_or(part, "invert", r->source, &cut->invert));
    return tandem_part_pattern(part, "pre_tokenizer", r->source, r->hasher, &cut->pattern);
}

static int read_delimiter(const reader *r, const cJSON *part, tandem_cut *cut)
{
    cut->behavior = TANDEM_CUT_REMOVED;
    return read_char(r, part, "delimiter", &cut->delimiter);
}

static int read_fixed_length(const reader *r, const cJSON *part, tandem_cut *cut)
{
    int64_t length = 5;
    TANDEM_TRY(tandem_json_get_int_or(part, "length", r->source, 1, INT32_MAX, &length));
    cut->length = (size_t)length;
    return TANDEM_OK;
}

static const struct {
    const char *type;
    tandem_cut_kind kind;
    int (*read)(const reader *r, const cJSON *part, tandem_cut *cut); /* or NULL: it has no settings */
} kinds[] = {
    {"BertPreTokenizer", TANDEM_CUT_BERT, NULL},
    {"Whitespace", TANDEM_CUT_WHITESPACE, NULL},
    {"WhitespaceSplit", TANDEM_CUT_WHITESPACE_SPLIT, NULL},
    {"ByteLevel", TANDEM_CUT_BYTE_LEVEL, read_byte_level},
    {"Metaspace", TANDEM_CUT_METASPACE, read_metaspace},
    {"Punctuation", TANDEM_CUT_PUNCTUATION, read_behavior},
    {"Digits", TANDEM_CUT_DIGITS, read_digits},
    {"Split", TANDEM_CUT_SPLIT, read_split},
    {"CharDelimiterSplit", TANDEM_CUT_DELIMITER, read_delimiter},
    {"FixedLength", TANDEM_CUT_FIXED_LENGTH, read_fixed_length},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void hash_cut(const tandem_cut *cut, tandem_hasher *hasher)
{
    tandem_hasher_int(hasher, cut->kind);
    tandem_hasher_int(hasher, cut->behavior);
    tandem_hasher_int(hasher, cut->invert | cut->split << 1);
    tandem_hasher_int(hasher, cut->prepend);
    tandem_hasher_field(hasher, cut->replacement, cut->replacement_length);
    tandem_hasher_int(hasher, cut->delimiter);
    tandem_hasher_int(hasher, (int64_t)cut->length);
}

static int read_one(const reader *r, const cJSON *part, size_t row)
{
    tandem_pre_tokenizers *chain = r->chain;
    if (chain->count == TANDEM_PARTS_MAX) {
        return tandem_error("%s: pre_tokenizer: more than %d of them", r->source, TANDEM_PARTS_MAX);
    }
    void *items = chain->items;
    int rc = tandem_grow(&items, &chain->capacity, chain->count + 1, sizeof *chain->items);
    chain->items = items;
    TANDEM_TRY(rc);
    tandem_cut *cut = &chain->items[chain->count++];
    *cut = (tandem_cut){.kind = kinds[row].kind};
    TANDEM_TRY(kinds[row].read ? kinds[row].read(r, part, cut) : TANDEM_OK);
    hash_cut(cut, r->hasher);
    return TANDEM_OK;
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
    TANDEM_TRY(tandem_part_type(part, "pre_tokenizer", names, r->source, &row));
    return row < KINDS ? read_one(r, part, row)
                       : tandem_part_each(part, "pre_tokenizer", "pretokenizers", r->source, depth, read_part, context);
}

int tandem_pre_tokenizers_read(tandem_pre_tokenizers *chain, const cJSON *part, tandem_hasher *hasher,
                               const char *source)
{
    reader r = {chain, hasher, source};
    return part && !cJSON_IsNull(part) ? read_part(&r, part, 0) : TANDEM_OK;
}

int tandem_pre_tokenizers_add_bert(tandem_pre_tokenizers *chain, tandem_hasher *hasher)
{
    const reader r = {chain, hasher, ""};
    return read_one(&r, NULL, TANDEM_CUT_BERT); /* the first row */
}

void tandem_pre_tokenizers_clear(tandem_pre_tokenizers *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        tandem_pattern_free(chain->items[i].pattern);
    }
    free(chain->items);
}

bool tandem_pre_tokenizers_ask_origin(const tandem_pre_tokenizers *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        if (chain->items[i].kind == TANDEM_CUT_METASPACE && chain->items[i].prepend == TANDEM_PREPEND_FIRST) {
            return true;
        }
    }
    return false;
}

/* ---- the chain --------------------------------------------------------------------------- */
typedef struct {
    const tandem_pre_tokenizers *chain;
    tandem_aligned *buffers;
    uint32_t start;
    tandem_word_fn word;
    void *context;
} walk;

static int run(const walk *w, size_t part, tandem_view view);

/* Gives bytes [begin, end) to the part after `part`. */
static int give(const walk *w, size_t part, tandem_view view, size_t begin, size_t end)
{
    return begin < end ? run(w, part + 1, tandem_view_part(view, begin, end)) : TANDEM_OK;
}

static inline size_t decode(tandem_view view, size_t at, uint32_t *c)
{
    unsigned char byte = (unsigned char)view.text[at];
    if (byte < 0x80) {
        *c = byte;
        return 1;
    }
    return tandem_unicode_decode(view.text + at, view.length - at, c);
}

static inline unsigned flags_of(uint32_t c)
{
    return tandem_unicode_find(c)->flags;
}

/* ---- separators, and what becomes of them ------------------------------------------------- */
/* The separators of a text and what lies between them arrive in their order; a piece waits
 * here for those that it is merged with. */
typedef struct {
    const walk *walk;
    size_t part;
    tandem_view view;
    tandem_cut_behavior behavior;
    size_t begin, end;
    bool waiting, separator; /* separator: what waits ends with one */
} merger;

/* As in the library's NormalizedString::split, where one merged with the next is found by
 * going backwards: it must not follow what it was merged with itself. */
static bool is_merged(const merger *m, bool separator)
{
    switch (m->behavior) {
    case TANDEM_CUT_CONTIGUOUS: return separator == m->separator;
    case TANDEM_CUT_MERGED_WITH_PREVIOUS: return separator && !m->separator;
    case TANDEM_CUT_MERGED_WITH_NEXT: return m->separator && !separator;
    default: return false;
    }
}

static int add_piece(merger *m, size_t begin, size_t end, bool separator)
{
    if (m->waiting && is_merged(m, separator)) {
        m->end = end;
        m->separator = separator;
        return TANDEM_OK;
    }
    TANDEM_TRY(m->waiting ? give(m->walk, m->part, m->view, m->begin, m->end) : TANDEM_OK);
    m->begin = begin;
    m->end = end;
    m->separator = separator;
    m->waiting = !separator || m->behavior != TANDEM_CUT_REMOVED;
    return TANDEM_OK;
}

static bool is_separator(const tandem_cut *cut, uint32_t c)
{
    switch (cut->kind) {
    case TANDEM_CUT_PUNCTUATION: return (flags_of(c) & TANDEM_UNICODE_PUNCTUATION) != 0;
    case TANDEM_CUT_DIGITS: return (flags_of(c) & TANDEM_UNICODE_NUMERIC) != 0;
    case TANDEM_CUT_DELIMITER: return c == cut->delimiter;
    default: return (flags_of(c) & TANDEM_UNICODE_SPACE) != 0;
    }
}

/* The next separator after *match, as tandem_pattern_next gives it. */
static int next_separator(const tandem_cut *cut, tandem_view view, tandem_match *match)
{
    if (cut->pattern) {
        return tandem_pattern_next(cut->pattern, view.text, view.length, match);
    }
    for (size_t at = match->end; at < view.length; at = match->end) {
        uint32_t c;
        *match = (tandem_match){.begin = at, .end = at + decode(view, at, &c), .found = true};
        if (is_separator(cut, c)) {
            return 1;
        }
    }
    return 0;
}

static int cut_at_separators(const walk *w, size_t part, tandem_view view)
{
    const tandem_cut *cut = &w->chain->items[part];
    merger m = {.walk = w, .part = part, .view = view, .behavior = cut->behavior};
    tandem_match match = {0};
    size_t done = 0;
    int rc;
    while ((rc = next_separator(cut, view, &match)) > 0) {
        TANDEM_TRY(match.begin > done ? add_piece(&m, done, match.begin, cut->invert) : TANDEM_OK);
        TANDEM_TRY(add_piece(&m, match.begin, match.end, !cut->invert));
        done = match.end;
    }
    TANDEM_TRY(rc);
    TANDEM_TRY(done < view.length ? add_piece(&m, done, view.length, cut->invert) : TANDEM_OK);
    return m.waiting ? give(w, part, view, m.begin, m.end) : TANDEM_OK;
}

/* ---- the others ------------------------------------------------------------------------------- */
static int cut_bert(const walk *w, size_t part, tandem_view view)
{
    size_t begin = 0;
    for (size_t at = 0; at < view.length;) {
        uint32_t c;
        size_t end = at + decode(view, at, &c);
        unsigned flags = flags_of(c) & (TANDEM_UNICODE_SPACE | TANDEM_UNICODE_PUNCTUATION);
        if (flags) {
            TANDEM_TRY(give(w, part, view, begin, at));
            TANDEM_TRY(flags & TANDEM_UNICODE_SPACE ? TANDEM_OK : give(w, part, view, at, end));
            begin = end;
        }
        at = end;
    }
    return give(w, part, view, begin, view.length);
}

static int cut_whitespace(const walk *w, size_t part, tandem_view view)
{
    for (size_t at = 0;;) {
        size_t end = tandem_split_whitespace(view.text, view.length, &at);
        if (at >= view.length) {
            return TANDEM_OK;
        }
        TANDEM_TRY(give(w, part, view, at, end));
        at = end;
    }
}

static int cut_fixed_length(const walk *w, size_t part, tandem_view view)
{
    size_t begin = 0, chars = 0;
    for (size_t at = 0; at < view.length;) {
        uint32_t c;
        at += decode(view, at, &c);
        if (++chars == w->chain->items[part].length) {
            TANDEM_TRY(give(w, part, view, begin, at));
            begin = at;
            chars = 0;
        }
    }
    return give(w, part, view, begin, view.length);
}

/* A piece of ByteLevel's: as it is, or written in visible characters behind the first `kept`
 * bytes of the buffer, where room was made. */
static int give_bytes(const walk *w, size_t part, tandem_view view, size_t begin, size_t end, size_t kept)
{
    tandem_aligned *buffer = &w->buffers[part];
    if (w->chain->items[part].raw) {
        return give(w, part, view, begin, end);
    }
    buffer->length = kept;
    TANDEM_TRY(tandem_byte_level_append(buffer, tandem_view_part(view, begin, end)));
    return give(w, part, tandem_aligned_view(buffer), kept, buffer->length);
}

static int cut_byte_level(const walk *w, size_t part, tandem_view view)
{
    const tandem_cut *cut = &w->chain->items[part];
    tandem_aligned *buffer = &w->buffers[part];
    bool prefix = cut->prepend == TANDEM_PREPEND_ALWAYS && view.text[0] != ' ';
    size_t kept = prefix ? view.length + 1 : 0, room = kept;
    tandem_aligned_clear(buffer, view.origins != NULL);
    if (!cut->raw) { /* a byte becomes at most two; a character is given room for four */
        TANDEM_TRY(tandem_size_mul(&room, view.length + 1, 3) && tandem_size_add(&room, room, 4)
                       ? TANDEM_OK
                       : tandem_error("a text of %zu bytes is too long", view.length));
    }
    TANDEM_TRY(tandem_aligned_reserve(buffer, room));
    if (prefix) {
        TANDEM_TRY(tandem_aligned_bytes(buffer, " ", 1, view.origins ? view.origins[0] : 0));
        TANDEM_TRY(tandem_aligned_append(buffer, view));
        view = tandem_aligned_view(buffer);
    }
    for (size_t at = 0, end; at < view.length; at = end) {
        end = cut->split ? tandem_split_gpt2(view.text, view.length, at) : view.length;
        TANDEM_TRY(give_bytes(w, part, view, at, end, kept));
    }
    return TANDEM_OK;
}

static bool begins_with(const tandem_cut *cut, tandem_view view, size_t at)
{
    return view.length - at >= cut->replacement_length &&
           memcmp(view.text + at, cut->replacement, cut->replacement_length) == 0;
}

static bool is_prepended(const walk *w, const tandem_cut *cut, tandem_view view)
{
    if (cut->prepend == TANDEM_PREPEND_NEVER || view.text[0] == ' ' || begins_with(cut, view, 0)) {
        return false;
    }
    uint32_t origin = view.origins ? view.origins[0] : UINT32_MAX - 1;
    return cut->prepend == TANDEM_PREPEND_ALWAYS || (origin == TANDEM_ORIGIN_NONE ? w->start : origin) == 0;
}

/* Writes spaces as the replacement, and gives away a piece before each. */
static int cut_metaspace(const walk *w, size_t part, tandem_view view)
{
    const tandem_cut *cut = &w->chain->items[part];
    tandem_aligned *buffer = &w->buffers[part];
    size_t size = cut->replacement_length, room, begin = 0;
    tandem_aligned_clear(buffer, view.origins != NULL);
    if (!tandem_size_add(&room, view.length, 1) || !tandem_size_mul(&room, room, size)) {
        return tandem_error("a text of %zu bytes is too long", view.length);
    }
    TANDEM_TRY(tandem_aligned_reserve(buffer, room)); /* once: pieces point into it */
    if (is_prepended(w, cut, view)) {
        TANDEM_TRY(tandem_aligned_bytes(buffer, cut->replacement, size, view.origins ? view.origins[0] : 0));
    }
    for (size_t at = 0, next; at < view.length; at = next) {
        bool space = view.text[at] == ' ';
        if (space || begins_with(cut, view, at)) {
            TANDEM_TRY(cut->split ? give(w, part, tandem_aligned_view(buffer), begin, buffer->length) : TANDEM_OK);
            begin = cut->split ? buffer->length : 0;
            next = at + (space ? 1 : size);
            TANDEM_TRY(tandem_aligned_bytes(buffer, cut->replacement, size, view.origins ? view.origins[at] : 0));
            continue;
        }
        for (next = at + 1; next < view.length && view.text[next] != ' ' && view.text[next] != cut->replacement[0];) {
            next++;
        }
        TANDEM_TRY(tandem_aligned_append(buffer, tandem_view_part(view, at, next)));
    }
    return give(w, part, tandem_aligned_view(buffer), begin, buffer->length);
}

static int run(const walk *w, size_t part, tandem_view view)
{
    if (part == w->chain->count) {
        return w->word(w->context, view);
    }
    switch (w->chain->items[part].kind) {
    case TANDEM_CUT_BERT: return cut_bert(w, part, view);
    case TANDEM_CUT_WHITESPACE: return cut_whitespace(w, part, view);
    case TANDEM_CUT_BYTE_LEVEL: return cut_byte_level(w, part, view);
    case TANDEM_CUT_METASPACE: return cut_metaspace(w, part, view);
    case TANDEM_CUT_FIXED_LENGTH: return cut_fixed_length(w, part, view);
    case TANDEM_CUT_WHITESPACE_SPLIT:
    case TANDEM_CUT_PUNCTUATION:
    case TANDEM_CUT_DIGITS:
    case TANDEM_CUT_SPLIT:
    case TANDEM_CUT_DELIMITER: break;
    }
    return cut_at_separators(w, part, view);
}

int tandem_pre_tokenize(const tandem_pre_tokenizers *chain, tandem_aligned *buffers, uint32_t start, tandem_view view,
                        tandem_word_fn word, void *context)
{
    const walk w = {chain, buffers, start, word, context};
    return view.length > 0 ? run(&w, 0, view) : TANDEM_OK;
}
