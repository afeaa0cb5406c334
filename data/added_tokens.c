/* added_tokens.c - finding added tokens in text, leftmost and longest first, as Hugging
 * Face tokenizers does (tokenizer/added_vocabulary.rs). */
#include <string.h>

#include "data/tokenizer_parts.h"
#include "data/unicode.h"

/* ---- building ---------------------------------------------------------------------- */
static int add_pattern(tandem_added_finder *finder, const tandem_added_token *tokens, size_t index,
                       const char *source)
{
    const tandem_added_token *token = &tokens[index];
    if (token->pattern_length == 0) {
        return tandem_error("%s: added_tokens: nothing is left of \"%s\" once it is normalized", source,
                            token->content);
    }
    uint32_t other = tandem_token_trie_find(&finder->patterns, token->pattern, token->pattern_length);
    if (other != TANDEM_NO_TOKEN) {
        return tandem_error("%s: added_tokens: \"%s\" and \"%s\" cannot be told apart", source, tokens[other].content,
                            token->content);
    }
    unsigned char byte = (unsigned char)token->pattern[0];
    finder->only = finder->count == 0 || finder->only == byte ? byte : -1;
    finder->begins[byte] = true;
    finder->count++;
    return tandem_token_trie_put(&finder->patterns, token->pattern, token->pattern_length, (uint32_t)index);
}

int tandem_added_finder_make(tandem_added_finder *finder, const tandem_added_token *tokens, size_t count,
                             bool normalized, const char *source)
{
    finder->tokens = tokens;
    TANDEM_TRY(tandem_token_trie_init(&finder->patterns));
    for (size_t i = 0; i < count; i++) {
        TANDEM_TRY(tokens[i].normalized == normalized ? add_pattern(finder, tokens, i, source) : TANDEM_OK);
    }
    return TANDEM_OK;
}

void tandem_added_finder_clear(tandem_added_finder *finder)
{
    tandem_token_trie_clear(&finder->patterns);
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

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
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
    while (at < length && !finder->begins[(unsigned char)text[at]]) {
        at++;
    }
    return at;
}

static const tandem_added_token *longest_at(const tandem_added_finder *finder, const char *text, size_t length)
{
    const tandem_added_token *longest = NULL;
    uint32_t node = TANDEM_TRIE_ROOT;
    for (size_t i = 0; i < length; i++) {
        node = tandem_token_trie_step(&finder->patterns, node, (unsigned char)text[i]);
        if (node == TANDEM_TRIE_ROOT) {
            break;
        }
        uint32_t index = finder->patterns.ids[node];
        longest = index != TANDEM_NO_TOKEN ? &finder->tokens[index] : longest;
    }
    return longest;
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
        out->start = token->lstrip ? larger(space_begin(text, at, covered), covered) : at;
        out->end = larger(token->rstrip ? space_end(text, length, *cursor) : *cursor, out->start);
        return true;
    }
    return false;
}
