/* split_pattern.c - patterns, and matchers of our own for those that tokenizers use. */
#include "data/split_pattern.h"

#include <stdlib.h>
#include <string.h>

#include "data/split_regex.h"
#include "data/unicode.h"
#include "tandem/memory.h"

/* ---- kinds of characters ----------------------------------------------------------------- */
typedef enum { OTHER, LETTER, NUMBER, SPACE } char_kind;

/* What kind_at finds in the tables for the others. */
static const uint8_t ascii_kinds[128] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
};

/* The kind of the character at text[at], and its bytes. */
static char_kind kind_at(const char *text, size_t length, size_t at, size_t *size)
{
    unsigned char byte = (unsigned char)text[at];
    *size = 1;
    if (byte < 0x80) {
        return (char_kind)ascii_kinds[byte];
    }
    uint32_t c;
    *size = tandem_unicode_decode(text + at, length - at, &c);
    const tandem_unicode_record *record = tandem_unicode_find(c);
    if (TANDEM_CATEGORIES_L >> record->category & 1) {
        return LETTER;
    }
    return TANDEM_CATEGORIES_N >> record->category & 1 ? NUMBER : record->flags & TANDEM_UNICODE_SPACE ? SPACE : OTHER;
}

/* The end of the run of up to `most` characters of a kind that begins at text[at]. */
static size_t run_end(const char *text, size_t length, size_t at, char_kind kind, size_t most)
{
    size_t size;
    for (; most > 0 && at < length && kind_at(text, length, at, &size) == kind; most--) {
        at += size;
    }
    return at;
}

static bool is_newline(char c)
{
    return c == '\r' || c == '\n';
}

/* 's 't 'm 'd 're 've 'll: its end, or `at` where there is none. */
static size_t contraction_end(const char *text, size_t length, size_t at, bool any_case)
{
    char fold = any_case ? 0x20 : 0;
    if (text[at] != '\'' || length - at < 2) {
        return at;
    }
    char first = (char)(text[at + 1] | fold), second = length - at > 2 ? (char)(text[at + 2] | fold) : '\0';
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
        return at + 2;
    }
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) {
        return at + 3;
    }
    bool long_s = any_case && length - at > 2 && memcmp(text + at + 1, "\xC5\xBF", 2) == 0; /* U+017F folds to s */
    return long_s ? at + 3 : at;
}

/* \s+(?!\S)|\s+ : all white space but the last before other text, though at least one. */
static size_t space_end(const char *text, size_t length, size_t at)
{
    size_t last = at, end = at, size;
    while (end < length && kind_at(text, length, end, &size) == SPACE) {
        last = end;
        end += size;
    }
    return end < length && last > at ? last : end;
}

size_t tandem_split_gpt2(const char *text, size_t length, size_t at)
{
    size_t end = contraction_end(text, length, at, false), size;
    if (end > at) {
        return end;
    }
    size_t start = text[at] == ' ' && length - at > 1 ? at + 1 : at;
    char_kind kind = kind_at(text, length, start, &size);
    return kind == SPACE ? space_end(text, length, at) : run_end(text, length, start + size, kind, SIZE_MAX);
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ : up to the last newline of the white space, where there is one. */
static size_t line_end(const char *text, size_t length, size_t at)
{
    size_t end = at, newline = at, size;
    for (; end < length && kind_at(text, length, end, &size) == SPACE; end += size) {
        newline = is_newline(text[end]) ? end + 1 : newline;
    }
    return newline > at ? newline : space_end(text, length, at);
}

static size_t split_lines(const char *text, size_t length, size_t at, size_t numbers)
{
    size_t end = contraction_end(text, length, at, true), size, next_size;
    if (end > at) {
        return end;
    }
    char_kind kind = kind_at(text, length, at, &size);
    if (kind == LETTER || kind == NUMBER) {
        return run_end(text, length, at, kind, kind == LETTER ? SIZE_MAX : numbers);
    }
    size_t next = at + size;
    char_kind next_kind = next < length ? kind_at(text, length, next, &next_size) : SPACE;
    if (next_kind == LETTER && !is_newline(text[at])) {
        return run_end(text, length, next, LETTER, SIZE_MAX);
    }
    if (kind == SPACE && !(text[at] == ' ' && next_kind == OTHER)) {
        return line_end(text, length, at);
    }
    end = run_end(text, length, next, OTHER, SIZE_MAX);
    while (end < length && is_newline(text[end])) {
        end++;
    }
    return end;
}

size_t tandem_split_cl100k(const char *text, size_t length, size_t at)
{
    return split_lines(text, length, at, 3);
}

size_t tandem_split_qwen2(const char *text, size_t length, size_t at)
{
    return split_lines(text, length, at, 1);
}

size_t tandem_split_whitespace(const char *text, size_t length, size_t *at)
{
    size_t end = *at;
    unsigned kind = TANDEM_UNICODE_SPACE;
    while (end < length) {
        uint32_t c;
        size_t size = tandem_unicode_decode(text + end, length - end, &c);
        unsigned found = tandem_unicode_find(c)->flags & (TANDEM_UNICODE_SPACE | TANDEM_UNICODE_WORD);
        if (found != kind) {
            if (kind != TANDEM_UNICODE_SPACE) {
                break;
            }
            kind = found;
            *at = end;
        }
        end += size;
    }
    *at = kind == TANDEM_UNICODE_SPACE ? end : *at;
    return end;
}

/* ---- patterns ----------------------------------------------------------------------------- */
typedef size_t (*splitter)(const char *text, size_t length, size_t at);

/* Expressions that match everywhere, by their text. */
static const struct {
    const char *text;
    splitter split;
} known[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", tandem_split_gpt2},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     tandem_split_cl100k},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     tandem_split_qwen2},
};

struct tandem_pattern {
    char *literal; /* or NULL */
    size_t literal_length;
    splitter split;      /* or NULL */
    tandem_regex *regex; /* or NULL; without all three: a run of characters of a set */
    tandem_char_set set;
    size_t least, most;
};

static int read_number(const char *text, size_t length, size_t *at, size_t *number)
{
    size_t begin = *at;
    for (*number = 0; *at < length && text[*at] >= '0' && text[*at] <= '9' && *at - begin < 6; ++*at) {
        *number = *number * 10 + (size_t)(text[*at] - '0');
    }
    return *at > begin;
}

/* Nothing, +, {n}, {n,} or {n,m}, up to the end of the text. */
static bool read_repeat(tandem_pattern *pattern, const char *text, size_t length)
{
    pattern->least = pattern->most = 1;
    if (length == 0) {
        return true;
    }
    if (length == 1 && text[0] == '+') {
        pattern->most = SIZE_MAX;
        return true;
    }
    size_t at = 1;
    if (text[0] != '{' || !read_number(text, length, &at, &pattern->least)) {
        return false;
    }
    pattern->most = pattern->least;
    if (at < length && text[at] == ',') {
        at++;
        pattern->most = at < length && text[at] == '}' ? SIZE_MAX : 0;
        if (pattern->most == 0 && !read_number(text, length, &at, &pattern->most)) {
            return false;
        }
    }
    return at + 1 == length && text[at] == '}' && pattern->least > 0 && pattern->most >= pattern->least;
}

/* One character or set of them, repeated or not: \s+, \d{1,3}, " {2,}". */
static bool read_run(tandem_pattern *pattern, const char *text, size_t length)
{
    size_t at = tandem_char_set_read(&pattern->set, text, length, false);
    if (at == 0 && length > 0 && !strchr("\\^$.|?*+()[]{}", text[0])) {
        at = tandem_unicode_decode(text, length, &pattern->set.literal);
    }
    return at > 0 && read_repeat(pattern, text + at, length - at);
}

static bool is_literal(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (strchr("\\^$.|?*+()[]{}", text[i])) { /* and NUL, which the character set cannot hold */
            return false;
        }
    }
    return true;
}

static int read_pattern(tandem_pattern *pattern, const char *text, size_t length, bool regex, const char *source)
{
    if (!regex || is_literal(text, length)) {
        pattern->literal = tandem_strndup(text, length);
        pattern->literal_length = length;
        return pattern->literal ? TANDEM_OK : TANDEM_ERROR;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i].text) == length && memcmp(known[i].text, text, length) == 0) {
            pattern->split = known[i].split;
            return TANDEM_OK;
        }
    }
    return read_run(pattern, text, length) ? TANDEM_OK : tandem_regex_new(&pattern->regex, text, length, source);
}

int tandem_pattern_new(tandem_pattern **out, const char *text, size_t length, bool regex, const char *source)
{
    *out = NULL;
    tandem_pattern *pattern = tandem_alloc(1, sizeof *pattern);
    if (!pattern) {
        return TANDEM_ERROR;
    }
    int rc = read_pattern(pattern, text, length, regex, source);
    if (rc < 0) {
        tandem_pattern_free(pattern);
        return rc;
    }
    *out = pattern;
    return TANDEM_OK;
}

void tandem_pattern_free(tandem_pattern *pattern)
{
    if (pattern) {
        free(pattern->literal);
        tandem_regex_free(pattern->regex);
        free(pattern);
    }
}

static int search_literal(const tandem_pattern *pattern, const char *text, size_t length, size_t *begin, size_t *end)
{
    const char *found = memmem(text + *begin, length - *begin, pattern->literal, pattern->literal_length);
    if (!found) {
        return 0;
    }
    *begin = (size_t)(found - text);
    *end = *begin + pattern->literal_length;
    return 1;
}

static int search_run(const tandem_pattern *pattern, const char *text, size_t length, size_t *begin, size_t *end)
{
    size_t at = *begin, count = 0;
    while (at < length && count < pattern->most) {
        uint32_t c;
        size_t size = tandem_unicode_decode(text + at, length - at, &c);
        bool member = tandem_char_set_has(&pattern->set, c);
        if (!member && count >= pattern->least) {
            break;
        }
        at += size;
        count = member ? count + 1 : 0;
        *begin = member ? *begin : at;
    }
    *end = at;
    return count >= pattern->least;
}

/* From text[*begin] on. */
static int search(const tandem_pattern *pattern, const char *text, size_t length, size_t *begin, size_t *end)
{
    if (pattern->literal) {
        return search_literal(pattern, text, length, begin, end);
    }
    if (pattern->regex) {
        return tandem_regex_search(pattern->regex, text, length, *begin, begin, end);
    }
    if (!pattern->split) {
        return search_run(pattern, text, length, begin, end);
    }
    *end = *begin < length ? pattern->split(text, length, *begin) : length;
    return *begin < length;
}

int tandem_pattern_next(const tandem_pattern *pattern, const char *text, size_t length, tandem_match *match)
{
    for (size_t from = match->end; length > 0 && from <= length;) {
        size_t begin = from, end;
        int rc = search(pattern, text, length, &begin, &end);
        if (rc <= 0) {
            return rc;
        }
        if (begin < end || !match->found || end != match->end) {
            *match = (tandem_match){begin, end, true};
            return 1;
        }
        uint32_t c;
        from += from < length ? tandem_unicode_decode(text + from, length - from, &c) : 1;
    }
    return 0;
}
