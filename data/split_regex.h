/* split_regex.h - private to data/split_*.c: regular expressions of Oniguruma (Ruby's syntax,
 * UTF-8) put into PCRE2's words.
 *
 * A construct that the two read differently is either translated or refused by name:
 *   \s \d \w \p{..}  become explicit ranges of the library's Unicode version (data/unicode.h), so
 *                    that they do not depend on PCRE2's; only scripts, \p{Han}, are PCRE2's own
 *   (?m:..)          is (?s:..); ^ and $ always match at lines
 *   refused          references, options in the middle, \h \G \K \R \X \y \c \o \N \O, POSIX brackets, nested
 *                    and intersected classes, a{2}? and a{1,2}+, which Ruby reads in its own way
 * One difference stays: without regard to case, Oniguruma lets two letters match one that
 * folds to them ((?i:ss) and U+00DF), PCRE2 does not.
 */
#ifndef TANDEM_DATA_SPLIT_REGEX_H
#define TANDEM_DATA_SPLIT_REGEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

/* ---- sets of code points ------------------------------------------------------------------ */
typedef struct {
    uint32_t categories;  /* TANDEM_CATEGORY_BITs */
    uint16_t flags;       /* TANDEM_UNICODE_ bits */
    bool latin_numbers;   /* and U+00B2, B3, B9, BC to BE, which Oniguruma takes for \w outside of brackets */
    bool negated;
    uint32_t literal;     /* and this one; 0: none */
} tandem_char_set;

bool tandem_char_set_has(const tandem_char_set *set, uint32_t c);

/* Reads \s \S \d \D \w \W \p{..} \P{..}: the bytes of it, or 0 where `text` does not begin
 * with one that is known. */
size_t tandem_char_set_read(tandem_char_set *set, const char *text, size_t length, bool in_brackets);

/* ---- expressions -------------------------------------------------------------------------- */
typedef struct tandem_regex tandem_regex;

int tandem_regex_new(tandem_regex **out, const char *text, size_t length, const char *source);
void tandem_regex_free(tandem_regex *regex); /* NULL is fine */

/* The first match at or after text[from], in valid UTF-8: 1, 0 where there is none; fails where
 * a search takes more steps than any sound expression needs. Thread-safe. */
int tandem_regex_search(const tandem_regex *regex, const char *text, size_t length, size_t from, size_t *begin,
                        size_t *end);

#endif
