/* bert_text.c - BertNormalizer and BertPreTokenizer in one pass (Hugging Face
 * tokenizers: normalizers/bert.rs, pre_tokenizers/bert.rs).
 *
 * The library runs over the text once for each rule. Here every code point goes through
 * all of them at once, in their order: clean_text, spaces around ideographs, accents
 * (decompose, canonical order, drop marks), lowercase; and then into the word under
 * construction, or into a buffer where other parts follow.
 */
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_scratch.h"
#include "data/unicode.h"
#include "tandem/memory.h"

enum { ASCII_GENERIC = 0, ASCII_SEPARATOR = 0x80, ASCII_SPACE = ASCII_SEPARATOR | ' ' };

typedef struct {
    const tandem_bert_rules *rules;
    tandem_marks *marks;
    tandem_aligned *out;             /* or NULL: into words, */
    tandem_aligned *word;            /* one at a time; their tokens */
    const tandem_token_model *model; /* of this model */
    tandem_token_scratch *scratch;   /* go here */
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
    if (pass->word->length == 0) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_token_model_word(pass->model, pass->scratch, NULL, tandem_aligned_view(pass->word)));
    pass->word->length = 0;
    return TANDEM_OK;
}

static int add_char(const text_pass *pass, uint32_t c, uint32_t origin)
{
    if (pass->out) {
        return tandem_aligned_char(pass->out, c, origin);
    }
    unsigned flags = tandem_unicode_find(c)->flags;
    if (flags & (TANDEM_UNICODE_SPACE | TANDEM_UNICODE_PUNCTUATION)) {
        TANDEM_TRY(end_word(pass));
        if (flags & TANDEM_UNICODE_SPACE) {
            return TANDEM_OK;
        }
        TANDEM_TRY(tandem_aligned_char(pass->word, c, origin));
        return end_word(pass);
    }
    return tandem_aligned_char(pass->word, c, origin);
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
    tandem_marks *marks = pass->marks;
    size_t count = marks->count, origins = 0;
    bool sorted = true;
    for (size_t i = 1; i < count; i++) {
        sorted = sorted && marks->items[i - 1].combining <= marks->items[i].combining;
    }
    if (!sorted) {
        qsort(marks->items, count, sizeof *marks->items, by_class);
    }
    marks->count = 0;
    marks->origin_count = 0;
    for (size_t i = 0; i < count; i++) {
        const tandem_mark *mark = &marks->items[i];
        origins += mark->first ? 1 : 0;
        uint32_t origin = origins > 0 ? marks->origins[origins - 1] : marks->base;
        if (mark->code_point != TANDEM_MARK_DROPPED) {
            TANDEM_TRY(lower_char(pass, mark->code_point, origin));
        }
    }
    return TANDEM_OK;
}

void tandem_marks_free(tandem_marks *marks)
{
    free(marks->items);
    free(marks->origins);
}

static int add_mark(tandem_marks *marks, tandem_mark mark, uint32_t origin)
{
    void *items = marks->items, *origins = marks->origins;
    int rc = tandem_grow(&items, &marks->capacity, marks->count + 1, sizeof *marks->items);
    marks->items = items;
    TANDEM_TRY(rc);
    rc = tandem_grow(&origins, &marks->origin_capacity, marks->origin_count + 1, sizeof *marks->origins);
    marks->origins = origins;
    TANDEM_TRY(rc);
    mark.place = (uint32_t)marks->count;
    marks->items[marks->count++] = mark;
    if (mark.first) {
        marks->origins[marks->origin_count++] = origin;
    }
    return TANDEM_OK;
}

/* A code point of class 0 ends the run. */
static int begin_run(const text_pass *pass, uint32_t origin)
{
    int rc = pass->marks->count > 0 ? end_marks(pass) : TANDEM_OK;
    pass->marks->base = origin;
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
        return combining ? add_mark(pass->marks, dropped, origin) : begin_run(pass, origin);
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t combining = tandem_unicode_find(kept[i])->combining;
        if (combining) {
            tandem_mark mark = {.code_point = kept[i], .combining = combining, .first = i == 0};
            TANDEM_TRY(add_mark(pass->marks, mark, origin));
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

/* Adds ASCII letters, digits and the like to the word, which has room for them; returns how
 * many bytes it read. */
static size_t read_plain(const text_pass *pass, const char *text, size_t length, uint32_t position)
{
    tandem_aligned *word = pass->word;
    char *out = word->text + word->length;
    size_t at = 0;
    for (uint8_t c; at < length && (c = pass->rules->ascii[(unsigned char)text[at]], (int8_t)c > 0); at++) {
        out[at] = (char)c;
    }
    for (size_t i = 0; word->tracked && i < at; i++) {
        word->origins[word->length + i] = position + (uint32_t)i;
    }
    word->length += at;
    return at;
}

/* A byte that ends a word: ASCII white space or punctuation. */
static int read_separator(const text_pass *pass, uint8_t separator, uint32_t origin)
{
    TANDEM_TRY(end_word(pass));
    if (separator == ASCII_SPACE) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_aligned_char(pass->word, separator & 0x7F, origin));
    return end_word(pass);
}

static int read_text(const text_pass *pass, const char *text, size_t length, uint32_t position)
{
    for (size_t at = 0; at < length;) {
        uint8_t ascii = pass->rules->ascii[(unsigned char)text[at]];
        if (ascii == ASCII_GENERIC) {
            uint32_t c;
            at += tandem_unicode_decode(text + at, length - at, &c);
            TANDEM_TRY(read_char(pass, c, position++));
            continue;
        }
        if (pass->marks->count > 0) {
            TANDEM_TRY(end_marks(pass));
        }
        if (ascii & ASCII_SEPARATOR) {
            TANDEM_TRY(read_separator(pass, ascii, position++));
            at++;
        } else {
            TANDEM_TRY(tandem_aligned_reserve(pass->word, length - at));
            size_t read = read_plain(pass, text + at, length - at, position);
            at += read;
            position += (uint32_t)read;
        }
        pass->marks->base = position - 1;
    }
    return pass->marks->count > 0 ? end_marks(pass) : TANDEM_OK;
}

/* A pass that failed may have left some. */
static void clear_marks(tandem_marks *marks)
{
    marks->count = marks->origin_count = 0;
    marks->base = TANDEM_ORIGIN_NONE;
}

int tandem_bert_tokenize(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                         size_t length, uint32_t position)
{
    text_pass pass = {.rules = &tokenizer->rules,
                      .marks = &scratch->normalizer.marks,
                      .word = &scratch->word,
                      .model = &tokenizer->model,
                      .scratch = scratch};
    clear_marks(pass.marks);
    tandem_aligned_clear(pass.word, scratch->offsets);
    TANDEM_TRY(read_text(&pass, text, length, position));
    return end_word(&pass);
}

int tandem_bert_normalize(const tandem_bert_rules *rules, tandem_marks *marks, tandem_view view, tandem_aligned *out)
{
    text_pass pass = {.rules = rules, .marks = marks, .out = out};
    clear_marks(marks);
    for (size_t at = 0; at < view.length;) {
        uint32_t c, origin = view.origins ? view.origins[at] : 0;
        at += tandem_unicode_decode(view.text + at, view.length - at, &c);
        TANDEM_TRY(read_char(&pass, c, origin));
    }
    return marks->count > 0 ? end_marks(&pass) : TANDEM_OK;
}
