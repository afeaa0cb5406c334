/* sentences.c - a text cut into sentences. */
#include "mining/sentences.h"

#include <stdbool.h>
#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_end(char c)
{
    return c == '.' || c == '!' || c == '?';
}

/* Bytes of a closing quote or bracket at `text`: ASCII, or one of the quotes U+2019 and U+201D. */
static size_t closing(const char *text, size_t left)
{
    if (left >= 1 && memchr("'\")]", *text, 4) != NULL) {
        return 1;
    }
    return left >= 3 && (memcmp(text, "\xE2\x80\x99", 3) == 0 || memcmp(text, "\xE2\x80\x9D", 3) == 0) ? 3 : 0;
}

/* Where the sentence ends whose closing punctuation begins at `at`; `at` itself where it goes on. */
static size_t end_of(const char *text, size_t length, size_t at)
{
    size_t end = at, quote;
    while (end < length && is_end(text[end])) {
        end++;
    }
    while ((quote = closing(text + end, length - end)) > 0) {
        end += quote;
    }
    return end == length || is_space(text[end]) ? end : at;
}

bool tandem_sentence_next(tandem_sentence *out, const char *text, size_t length, size_t *at)
{
    size_t start = *at, end;
    bool in_word = false;
    while (start < length && is_space(text[start])) {
        start++;
    }
    *out = (tandem_sentence){.start = (uint32_t)start};
    for (end = start; end < length; end++) {
        size_t stop = is_end(text[end]) ? end_of(text, length, end) : end;
        out->words += !is_space(text[end]) && !in_word;
        in_word = !is_space(text[end]);
        if (stop > end) {
            end = stop;
            break;
        }
    }
    *at = end;
    while (end > start && is_space(text[end - 1])) {
        end--;
    }
    out->length = (uint32_t)(end - start);
    return end > start;
}
