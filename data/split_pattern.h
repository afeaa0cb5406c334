/* split_pattern.h - private to data/: the patterns of tokenizer.json ("Split", "Replace",
 * "ByteLevel"), literal or regular expressions.
 *
 * The library runs them through Oniguruma (Ruby's syntax, UTF-8). Those that tokenizers are known
 * to use have matchers of our own, which read a text once; the others are translated for PCRE2.
 */
#ifndef TANDEM_DATA_SPLIT_PATTERN_H
#define TANDEM_DATA_SPLIT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

typedef struct tandem_pattern tandem_pattern;

/* `text` as it stands, or a regular expression (valid UTF-8 of `length` bytes, copied). An
 * expression that is wrong, or whose meaning in PCRE2 would differ, is refused by name. `source` names
 * the file in messages. */
int tandem_pattern_new(tandem_pattern **out, const char *text, size_t length, bool regex, const char *source);
void tandem_pattern_free(tandem_pattern *pattern); /* NULL is fine */

/* A match, in bytes; zeroed before the first search in a text. */
typedef struct {
    size_t begin, end;
    bool found;
} tandem_match;

/* Moves *match to the next one after it, in valid UTF-8: 1; 0 where there is none (*match is then
 * undefined); negative where a search takes too many steps. Matches may be empty, as those of
 * `(?=A)` are, but not directly after another; an empty text has none. Thread-safe.
 *
 *     tandem_match match = {0};
 *     while ((rc = tandem_pattern_next(pattern, text, length, &match)) > 0) { ... }
 */
int tandem_pattern_next(const tandem_pattern *pattern, const char *text, size_t length, tandem_match *match);

/* ---- matchers that may be called directly ------------------------------------------------- */
/* Each gives the end of the piece that begins at text[at]; at < length. The pieces of these
 * follow each other without gaps. */

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+   (GPT-2, ByteLevel) */
size_t tandem_split_gpt2(const char *text, size_t length, size_t at);

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 * (cl100k, Llama 3) */
size_t tandem_split_cl100k(const char *text, size_t length, size_t at);

/* The same with \p{N} in place of \p{N}{1,3} (Qwen 2). */
size_t tandem_split_qwen2(const char *text, size_t length, size_t at);

/* \w+|[^\w\s]+ as Rust's regex crate sees the classes (the pre-tokenizer Whitespace): moves *at to
 * the start of the next piece and gives its end; *at == length when none is left. */
size_t tandem_split_whitespace(const char *text, size_t length, size_t *at);

#endif
