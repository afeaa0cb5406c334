/* bert_text.c - BertNormalizer and BertPreTokenizer in one pass (Hugging Face
 * tokenizers: normalizers/bert.rs, pre_tokenizers/bert.rs).
 *
 * The library runs over the text once for each rule. Here every code point goes through
 * all of them at once, in their order: clean_text, spaces around ideographs, accents
 * (decompose, canonical order, drop marks), lowercase; and then into the word under
 * construction, or into a buffer where added tokens are looked for in normalized text.
 */
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_scratch.h"
#include "data/unicode.h"
#include "tandem/memory.h"

enum { ASCII_GENERIC = 0, ASCII_SEPARATOR = 0x80, ASCII_SPACE = ASCII_SEPARATOR | ' ' };

typedef struct {
    const tandem_bert_rules *rules;
    const tandem_wordpiece *model;
    tandem_token_scratch *scratch;
    bool buffered; /* into scratch->normal instead of words */
} text_pass;

void tandem_bert_rules_finish(tandem_bert_rules *rules)
{
    memset(rules->ascii, ASCII_GENERIC, sizeof rules->ascii);
    for (uint32_t c = 0; c < 0x80; c++) {
        const tandem_unicode_record *record = tandem_unicode_find(c);
        uint32_t lower = rules->lowercase ? c + (uint32_t)record->lower : c;
        if (record->flags & TANDEM_UNICODE_CONTROL) {
            continue; /* rare, and dropped or not */
        }
        if (record->flags & TANDEM_UNICODE_SPACE) {
            lower = ASCII_SPACE;
        } else if (record->flags & TANDEM_UNICODE_PUNCTUATION) {
            lower |= ASCII_SEPARATOR;
        }
        rules->ascii[c] = (uint8_t)lower;
    }
}

/* ---- last: normalized code points into words, or into the buffer -------------------- */
static int end_word(const text_pass *pass)
{
    return tandem_wordpiece_end_word(pass->model, pass->scratch);
}

static void add_to_word(tandem_token_scratch *scratch, uint32_t c, uint32_t origin)
{
    tandem_word *word = &scratch->word;
    if (word->chars <= scratch->max_chars) {
        word->length += tandem_unicode_encode(c, (char *)word->bytes + word->length);
        if (scratch->offsets) {
            word->origins[word->chars] = origin;
        }
    }
    word->chars++;
    word->last = origin;
}

static int add_to_normal(tandem_token_scratch *scratch, uint32_t c, uint32_t origin)
{
    void *text = scratch->normal, *origins = scratch->normal_origins;
    size_t needed = scratch->normal_length + 4;
    int rc = tandem_grow(&text, &scratch->normal_capacity, needed, 1);
    scratch->normal = text;
    TANDEM_TRY(rc);
    rc = tandem_grow(&origins, &scratch->normal_origin_capacity, needed, sizeof *scratch->normal_origins);
    scratch->normal_origins = origins;
    TANDEM_TRY(rc);
    size_t size = tandem_unicode_encode(c, scratch->normal + scratch->normal_length);
    for (size_t i = 0; i < size; i++) {
        scratch->normal_origins[scratch->normal_length++] = origin;
    }
    return TANDEM_OK;
}

static int add_char(const text_pass *pass, uint32_t c, uint32_t origin)
{
    if (pass->buffered) {
        return add_to_normal(pass->scratch, c, origin);
    }
    unsigned flags = tandem_unicode_find(c)->flags;
    if (flags & (TANDEM_UNICODE_SPACE | TANDEM_UNICODE_PUNCTUATION)) {
        TANDEM_TRY(end_word(pass));
        if (flags & TANDEM_UNICODE_SPACE) {
            return TANDEM_OK;
        }
        add_to_word(pass->scratch, c, origin);
        return end_word(pass);
    }
    add_to_word(pass->scratch, c, origin);
    return TANDEM_OK;
}

/* ---- lowercase ------------------------------------------------------------------------ */
static int lower_char(const text_pass *pass, uint32_t c, uint32_t origin)
{
    if (!pass->rules->lowercase) {
        return add_char(pass, c, origin);
    }
    const tandem_unicode_record *record = tandem_unicode_find(c);
    TANDEM_TRY(add_char(pass, c + (uint32_t)record->lower, origin));
    return record->flags & TANDEM_UNICODE_DOT ? add_char(pass, 0x307, origin) : TANDEM_OK;
}

/* ---- accents ---------------------------------------------------------------------------- */
/* NFD puts the marks of a run (code points whose class is not 0) in the order of their
 * classes. The library then counts: the n-th code point that stands in place of one of
 * the text gets the n-th origin, whatever its own was; one that follows another in a
 * decomposition gets that of the code point before it. Dropped marks count too. */
static int by_class(const void *left, const void *right)
{
    const tandem_mark *a = left, *b = right;
    if (a->combining != b->combining) {
        return a->combining < b->combining ? -1 : 1;
    }
    return a->place < b->place ? -1 : a->place > b->place;
}

static int end_marks(const text_pass *pass)
{
    tandem_token_scratch *scratch = pass->scratch;
    size_t count = scratch->mark_count, origins = 0;
    bool sorted = true;
    for (size_t i = 1; i < count; i++) {
        sorted = sorted && scratch->marks[i - 1].combining <= scratch->marks[i].combining;
    }
    if (!sorted) {
        qsort(scratch->marks, count, sizeof *scratch->marks, by_class);
    }
    scratch->mark_count = 0;
    scratch->mark_origin_count = 0;
    for (size_t i = 0; i < count; i++) {
        const tandem_mark *mark = &scratch->marks[i];
        origins += mark->first ? 1 : 0;
        uint32_t origin = origins > 0 ? scratch->mark_origins[origins - 1] : scratch->mark_base;
        if (mark->code_point != TANDEM_MARK_DROPPED) {
            TANDEM_TRY(lower_char(pass, mark->code_point, origin));
        }
    }
    return TANDEM_OK;
}

static int add_mark(tandem_token_scratch *scratch, tandem_mark mark, uint32_t origin)
{
    void *marks = scratch->marks, *origins = scratch->mark_origins;
    int rc = tandem_grow(&marks, &scratch->mark_capacity, scratch->mark_count + 1, sizeof *scratch->marks);
    scratch->marks = marks;
    TANDEM_TRY(rc);
    rc = tandem_grow(&origins, &scratch->mark_origin_capacity, scratch->mark_origin_count + 1,
                     sizeof *scratch->mark_origins);
    scratch->mark_origins = origins;
    TANDEM_TRY(rc);
    mark.place = (uint32_t)scratch->mark_count;
    scratch->marks[scratch->mark_count++] = mark;
    if (mark.first) {
        scratch->mark_origins[scratch->mark_origin_count++] = origin;
    }
    return TANDEM_OK;
}

/* A code point of class 0 ends the run. */
static int begin_run(const text_pass *pass, uint32_t origin)
{
    int rc = pass->scratch->mark_count > 0 ? end_marks(pass) : TANDEM_OK;
    pass->scratch->mark_base = origin;
    return rc;
}

static int decompose_char(const text_pass *pass, uint32_t c, uint32_t origin)
{
    if (!pass->rules->strip_accents) {
        return lower_char(pass, c, origin);
    }
    uint32_t kept[TANDEM_UNICODE_KEPT_MAX];
    size_t count = tandem_unicode_decompose(c, kept);
    if (count == 0) {
        uint8_t combining = tandem_unicode_find(c)->combining;
        tandem_mark dropped = {.code_point = TANDEM_MARK_DROPPED, .combining = combining, .first = true};
        return combining ? add_mark(pass->scratch, dropped, origin) : begin_run(pass, origin);
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t combining = tandem_unicode_find(kept[i])->combining;
        if (combining) {
            tandem_mark mark = {.code_point = kept[i], .combining = combining, .first = i == 0};
            TANDEM_TRY(add_mark(pass->scratch, mark, origin));
        } else {
            TANDEM_TRY(begin_run(pass, origin));
            TANDEM_TRY(lower_char(pass, kept[i], origin));
        }
    }
    return TANDEM_OK;
}

/* ---- first: code points of the text -------------------------------------------------------- */
static int read_char(const text_pass *pass, uint32_t c, uint32_t origin)
{
    unsigned flags = tandem_unicode_find(c)->flags;
    if (pass->rules->clean_text) {
        if (flags & TANDEM_UNICODE_CONTROL) {
            return TANDEM_OK;
        }
        c = flags & TANDEM_UNICODE_SPACE ? ' ' : c;
    }
    if (!pass->rules->ideographs || !(flags & TANDEM_UNICODE_IDEOGRAPH)) {
        return decompose_char(pass, c, origin);
    }
    TANDEM_TRY(decompose_char(pass, ' ', origin));
    TANDEM_TRY(decompose_char(pass, c, origin));
    return decompose_char(pass, ' ', origin);
}

/* Adds ASCII letters, digits and the like to the word; returns how many bytes it read. */
static size_t read_plain(const text_pass *pass, const char *text, size_t length, uint32_t position)
{
    const unsigned char *bytes = (const unsigned char *)text;
    tandem_token_scratch *scratch = pass->scratch;
    tandem_word *word = &scratch->word;
    size_t room = word->chars <= scratch->max_chars ? scratch->max_chars + 1 - word->chars : 0;
    size_t stop = length < room ? length : room, at = 0;
    unsigned char *out = word->bytes + word->length;
    for (uint8_t c; at < stop && (c = pass->rules->ascii[bytes[at]], (int8_t)c > 0); at++) {
        out[at] = c;
    }
    word->length += at;
    if (scratch->offsets) {
        for (size_t i = 0; i < at; i++) {
            word->origins[word->chars + i] = position + (uint32_t)i;
        }
    }
    while (at >= room && at < length && (int8_t)pass->rules->ascii[bytes[at]] > 0) {
        at++;
    }
    if (at > 0) {
        word->chars += at;
        word->last = position + (uint32_t)at - 1;
    }
    return at;
}

/* A byte that ends a word: ASCII white space or punctuation. */
static int read_separator(const text_pass *pass, uint8_t separator, uint32_t origin)
{
    TANDEM_TRY(end_word(pass));
    if (separator == ASCII_SPACE) {
        return TANDEM_OK;
    }
    add_to_word(pass->scratch, separator & 0x7F, origin);
    return end_word(pass);
}

static int read_text(const text_pass *pass, const char *text, size_t length, uint32_t position)
{
    tandem_token_scratch *scratch = pass->scratch;
    for (size_t at = 0; at < length;) {
        uint8_t ascii = pass->rules->ascii[(unsigned char)text[at]];
        if (ascii == ASCII_GENERIC || pass->buffered) {
            uint32_t c;
            at += tandem_unicode_decode(text + at, length - at, &c);
            TANDEM_TRY(read_char(pass, c, position++));
            continue;
        }
        if (scratch->mark_count > 0) {
            TANDEM_TRY(end_marks(pass));
        }
        if (ascii & ASCII_SEPARATOR) {
            TANDEM_TRY(read_separator(pass, ascii, position++));
            at++;
        } else {
            size_t read = read_plain(pass, text + at, length - at, position);
            at += read;
            position += (uint32_t)read;
        }
    }
    return scratch->mark_count > 0 ? end_marks(pass) : TANDEM_OK;
}

int tandem_bert_tokenize(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                         size_t length, uint32_t position)
{
    text_pass pass = {.rules = &tokenizer->rules, .model = &tokenizer->model, .scratch = scratch};
    TANDEM_TRY(read_text(&pass, text, length, position));
    return end_word(&pass);
}

int tandem_bert_normalize(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                          size_t length, uint32_t position)
{
    text_pass pass = {.rules = &tokenizer->rules, .scratch = scratch, .buffered = true};
    scratch->normal_length = 0;
    return read_text(&pass, text, length, position);
}

int tandem_bert_tokenize_normal(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, size_t begin,
                                size_t end)
{
    text_pass pass = {.rules = &tokenizer->rules, .model = &tokenizer->model, .scratch = scratch};
    for (size_t at = begin; at < end;) {
        uint32_t c;
        size_t size = tandem_unicode_decode(scratch->normal + at, end - at, &c);
        TANDEM_TRY(add_char(&pass, c, scratch->normal_origins[at]));
        at += size;
    }
    return end_word(&pass);
}
