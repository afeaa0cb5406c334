/* added_tokens.c - finding added tokens in text, leftmost and longest first, as Hugging
 * Face tokenizers does (tokenizer/added_vocabulary.rs). */
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_parts.h"
#include "data/unicode.h"
#include "tandem/memory.h"

/* ---- building ---------------------------------------------------------------------- */
static unsigned char first_byte(const tandem_added_token *token)
{
    return (unsigned char)token->pattern[0];
}

/* By first byte, the longest first, then by bytes: equal patterns become neighbours. */
static int by_pattern(const void *left, const void *right)
{
    const tandem_added_token *a = *(const tandem_added_token *const *)left;
    const tandem_added_token *b = *(const tandem_added_token *const *)right;
    if (first_byte(a) != first_byte(b)) {
        return first_byte(a) < first_byte(b) ? -1 : 1;
    }
    if (a->pattern_length != b->pattern_length) {
        return a->pattern_length > b->pattern_length ? -1 : 1;
    }
    return memcmp(a->pattern, b->pattern, a->pattern_length);
}

static int check_patterns(const tandem_added_finder *finder, const char *source)
{
    for (size_t i = 1; i < finder->count; i++) {
        const tandem_added_token *a = finder->tokens[i - 1], *b = finder->tokens[i];
        if (a->pattern_length == b->pattern_length && memcmp(a->pattern, b->pattern, a->pattern_length) == 0) {
            return tandem_error("%s: added_tokens: \"%s\" and \"%s\" cannot be told apart", source, a->content,
                                b->content);
        }
    }
    return TANDEM_OK;
}

int tandem_added_finder_make(tandem_added_finder *finder, const tandem_added_token *tokens, size_t count,
                             bool normalized, const char *source)
{
    finder->tokens = tandem_alloc(count, sizeof *finder->tokens);
    if (!finder->tokens) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        if (tokens[i].normalized != normalized) {
            continue;
        }
        if (tokens[i].pattern_length == 0) {
            return tandem_error("%s: added_tokens: nothing is left of \"%s\" once it is normalized", source,
                                tokens[i].content);
        }
        finder->tokens[finder->count++] = &tokens[i];
    }
    if (finder->count > 0) {
        qsort(finder->tokens, finder->count, sizeof(*finder->tokens), by_pattern);
    }
    for (size_t i = 0; i < finder->count; i++) {
        finder->first[first_byte(finder->tokens[i]) + 1]++;
    }
    finder->only = -1;
    for (int byte = 0; byte < 256; byte++) {
        if (finder->count > 0 && finder->first[byte + 1] == finder->count) {
            finder->only = byte;
        }
        finder->first[byte + 1] += finder->first[byte];
    }
    return check_patterns(finder, source);
}

void tandem_added_finder_clear(tandem_added_finder *finder)
{
    free(finder->tokens);
}

/* ---- looking ------------------------------------------------------------------------- */
static bool has_flag(uint32_t code_point, unsigned flag)
{
    return (tandem_unicode_find(code_point)->flags & flag) != 0;
}

static bool stands_alone(const char *text, size_t length, size_t start, size_t end)
{
    uint32_t c;
    if (start > 0) {
        tandem_unicode_decode_before(text, start, &c);
        if (has_flag(c, TANDEM_UNICODE_WORD)) {
            return false;
        }
    }
    if (end < length) {
        tandem_unicode_decode(text + end, length - end, &c);
        return !has_flag(c, TANDEM_UNICODE_WORD);
    }
    return true;
}

/* Where the white space before text[at] begins, but not before `covered`. */
static size_t space_begin(const char *text, size_t at, size_t covered)
{
    while (at > covered) {
        uint32_t c;
        size_t size = tandem_unicode_decode_before(text, at, &c);
        if (!has_flag(c, TANDEM_UNICODE_SPACE)) {
            break;
        }
        at -= size;
    }
    return at;
}

static size_t space_end(const char *text, size_t length, size_t at)
{
    while (at < length) {
        uint32_t c;
        size_t size = tandem_unicode_decode(text + at, length - at, &c);
        if (!has_flag(c, TANDEM_UNICODE_SPACE)) {
            break;
        }
        at += size;
    }
    return at;
}

/* The first place at or after `at` where a pattern's first byte stands. */
static size_t next_candidate(const tandem_added_finder *finder, const char *text, size_t length, size_t at)
{
    if (finder->only >= 0) {
        const char *found = at < length ? memchr(text + at, finder->only, length - at) : NULL;
        return found ? (size_t)(found - text) : length;
    }
    while (at < length) {
        unsigned char byte = (unsigned char)text[at];
        if (finder->first[byte] < finder->first[byte + 1]) {
            break;
        }
        at++;
    }
    return at;
}

static const tandem_added_token *longest_at(const tandem_added_finder *finder, const char *text, size_t length)
{
    unsigned char byte = (unsigned char)text[0];
    for (size_t i = finder->first[byte]; i < finder->first[byte + 1]; i++) {
        const tandem_added_token *token = finder->tokens[i];
        if (token->pattern_length <= length && memcmp(token->pattern, text, token->pattern_length) == 0) {
            return token;
        }
    }
    return NULL;
}

bool tandem_added_next(const tandem_added_finder *finder, const char *text, size_t length, size_t *cursor,
                       size_t covered, tandem_added_match *out)
{
    if (finder->count == 0) {
        return false;
    }
    size_t at;
    while ((at = next_candidate(finder, text, length, *cursor)) < length) {
        const tandem_added_token *token = longest_at(finder, text + at, length - at);
        *cursor = at + (token ? token->pattern_length : 1);
        if (!token || (token->single_word && !stands_alone(text, length, at, *cursor))) {
            continue;
        }
        out->token = token;
        out->start = token->lstrip ? space_begin(text, at, covered) : at;
        out->end = token->rstrip ? space_end(text, length, *cursor) : *cursor;
        return true;
    }
    return false;
}
