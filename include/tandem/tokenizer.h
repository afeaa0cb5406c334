/* tokenizer.h - text to token ids, exactly as Hugging Face tokenizers 0.23.3 does: WordPiece,
 * BPE, Unigram and WordLevel models, and what a tokenizer.json puts before and after them.
 *
 * A tokenizer is read from tokenizer.json (or a directory that holds one, or BERT's
 * vocab.txt), is immutable, and may be shared by threads; what changes lives in a
 * scratch, one a thread.
 *
 * Work is split in two so that text is tokenized once and used many times:
 *   tandem_tokenizer_bare      text -> token ids without special tokens
 *   tandem_tokenizer_assemble  one or two bare sequences -> truncated, with
 *                              special tokens and type ids, as the model reads them
 * tandem_tokenizer_encode does both at once, and gives the overflowing windows too.
 */
#ifndef TANDEM_TOKENIZER_H
#define TANDEM_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/hash.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tandem_tokenizer tandem_tokenizer;
typedef struct tandem_token_scratch tandem_token_scratch;

/* Reads `path`, a tokenizer.json or a directory with one. A part of an unknown or
 * unsupported type is refused by name. A directory without tokenizer.json but with
 * vocab.txt is BERT's: uncased, unless its tokenizer_config.json says otherwise
 * (do_lower_case, strip_accents, tokenize_chinese_chars). A directory's tokenizer_config.json
 * may also say on which side to truncate (truncation_side). TANDEM_NOT_FOUND when there is
 * neither file. */
int tandem_tokenizer_load(tandem_tokenizer **out, const char *path);
/* The same from the text of a tokenizer.json; `source` names it in messages, and is
 * what tandem_tokenizer_path gives. */
int tandem_tokenizer_parse(tandem_tokenizer **out, const char *text, size_t length, const char *source);
void tandem_tokenizer_free(tandem_tokenizer *tokenizer); /* NULL is fine */

/* Of everything that decides ids: two tokenizers with one hash give the same ids. */
tandem_hash tandem_tokenizer_hash(const tandem_tokenizer *tokenizer);
size_t tandem_tokenizer_vocab_size(const tandem_tokenizer *tokenizer); /* largest id + 1 */
uint32_t tandem_tokenizer_pad_id(const tandem_tokenizer *tokenizer);
/* Special tokens that assembling adds: pair false: 2 for BERT, true: 3. */
size_t tandem_tokenizer_special_count(const tandem_tokenizer *tokenizer, bool pair);
/* max_length of tokenizer.json's own truncation, 0 if it has none. */
size_t tandem_tokenizer_truncation(const tandem_tokenizer *tokenizer);

/* Which side of a pair is cut: the longer one, or always the same. */
typedef enum { TANDEM_LONGEST_FIRST, TANDEM_ONLY_FIRST, TANDEM_ONLY_SECOND } tandem_truncation_strategy;

typedef struct {
    size_t max_length; /* with special tokens; 0: no truncation */
    size_t stride;     /* tokens that two neighbouring windows share */
    tandem_truncation_strategy strategy;
    bool left; /* the end of a text is kept, not its start */
} tandem_truncation;

/* All of tokenizer.json's own truncation. */
tandem_truncation tandem_tokenizer_truncation_settings(const tandem_tokenizer *tokenizer);
/* The path it was read from (the tokenizer.json), borrowed. */
const char *tandem_tokenizer_path(const tandem_tokenizer *tokenizer);

tandem_token_scratch *tandem_token_scratch_new(void); /* NULL with the message set */
void tandem_token_scratch_free(tandem_token_scratch *scratch);

/* A view of a scratch's result, valid until the scratch is used again. */
typedef struct {
    const uint32_t *ids;
    const uint32_t *starts; /* offset of each token in the text, in code points, or NULL; those
                             * of the whole text's encoding, trimmed where the tokenizer does */
    const uint32_t *ends;   /* one past its last code point, or NULL */
    size_t count;           /* tokens given: those of the text, but at most the limit */
    size_t total;           /* tokens of the whole text */
} tandem_tokens;

/* Token ids of `length` bytes of text (fewer than 2^32 - 1), no special tokens added.
 * `limit` > 0 gives only the first `limit` of them; 0: all. Invalid UTF-8 is read as
 * Rust's lossy conversion reads it (U+FFFD). A tokenizer that truncates on the left gives
 * the last token first: what truncation keeps comes first in either case. Fails where a
 * model meets an unknown character and has no token for it.
 *
 * One call with limit L serves every max_length up to L, for single texts and for both
 * sides of pairs. How a pair is cut depends on which side is longer before any cut: where
 * both may exceed L, keep `total` with the ids, as the count of a tandem_bare. (Versions 0.23.1 and 0.23.2 of Hugging
 * Face tokenizers stopped reading a side near max_length and so cut some pairs of two long
 * texts one token apart from all others; 0.23.3 and 0.22 are what is matched here.) */
int tandem_tokenizer_bare(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch,
                          const char *text, size_t length, size_t limit, bool offsets,
                          tandem_tokens *out);

/* One bare sequence for tandem_tokenizer_assemble, which reads no more of `ids` than the
 * plan keeps: of a sequence of `count` tokens, the first max_length ids suffice. */
typedef struct {
    const uint32_t *ids;
    size_t count;
} tandem_bare;

/* How many ids of each side remain and how many the whole has. Truncation is longest_first (HF
 * utils/truncation.rs), which is what sentence-transformers asks of every tokenizer, on the side
 * that tokenizer.json says. `second` NULL: a single text. `max_length` 0: no truncation;
 * otherwise at least the number of special tokens. */
typedef struct {
    size_t first, second; /* ids kept of each side */
    size_t total;         /* with special tokens */
} tandem_assembly;

int tandem_tokenizer_plan(const tandem_tokenizer *tokenizer, size_t first, const size_t *second,
                          size_t max_length, tandem_assembly *out);

/* Writes plan.total ids, and as many type ids unless `type_ids` is NULL. With
 * `origin` not NULL, also writes for each position the index of the bare token it
 * came from, as index * 2 + (0 first, 1 second), or -1 for a special token. */
int tandem_tokenizer_assemble(const tandem_tokenizer *tokenizer, tandem_bare first,
                              const tandem_bare *second, size_t max_length, uint32_t *ids,
                              uint8_t *type_ids, int64_t *origin);

/* A text, or a pair of them. */
typedef struct {
    const char *text;
    size_t length;
    const char *pair; /* NULL: a single text */
    size_t pair_length;
} tandem_input;

/* What the model reads, [count] each; offsets of special tokens are 0. */
typedef struct {
    const uint32_t *ids;
    const uint8_t *type_ids;
    const uint32_t *starts, *ends; /* in the text that the token is of, in code points */
    size_t count;
} tandem_encoding;

/* Takes window number `window`, which is valid until it returns; negative stops. */
typedef int (*tandem_encoding_fn)(void *context, size_t window, const tandem_encoding *encoding);

/* Gives what Hugging Face's encode(text, pair) does: window 0 is what truncation keeps; with
 * `overflowing`, those after it are what it cuts off, in the library's order. Fails, as the
 * library does, where the strategy cannot shorten the input enough, and where the stride is not
 * less than what is kept of a side. */
int tandem_tokenizer_encode(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch,
                            const tandem_input *input, const tandem_truncation *truncation, bool overflowing,
                            tandem_encoding_fn give, void *context);

#ifdef __cplusplus
}
#endif
#endif
