/* wordpiece.h - private to data/: the WordPiece model: a word is cut into the longest tokens
 * that begin it, from left to right (Hugging Face tokenizers, models/wordpiece).
 */
#ifndef TANDEM_DATA_WORDPIECE_H
#define TANDEM_DATA_WORDPIECE_H

#include "data/token_model.h"

typedef struct tandem_wordpiece tandem_wordpiece;

typedef struct {
    const char *text; /* borrowed */
    size_t length;
    uint32_t id;
} tandem_vocab_entry;

typedef struct {
    const char *unk, *prefix; /* "[UNK]", "##" */
    size_t max_chars;         /* a longer word is unknown */
} tandem_wordpiece_settings;

/* Sorts the entries by id, and refuses an id that comes twice and an unk that is no entry. */
int tandem_wordpiece_from(tandem_wordpiece **out, tandem_vocab_entry *entries, size_t count,
                          const tandem_wordpiece_settings *settings, const char *source);
/* Reads the object "model" of a tokenizer.json. */
int tandem_wordpiece_new(tandem_wordpiece **out, const struct cJSON *model, const char *source);
void tandem_wordpiece_free(tandem_wordpiece *model); /* NULL is fine */

/* A token's id, or TANDEM_NO_TOKEN. */
uint32_t tandem_wordpiece_find(const tandem_wordpiece *model, const char *token, size_t length);
size_t tandem_wordpiece_count(const tandem_wordpiece *model);
uint32_t tandem_wordpiece_largest_id(const tandem_wordpiece *model);
void tandem_wordpiece_hash(const tandem_wordpiece *model, tandem_hasher *hasher);

/* Appends the tokens of a word, valid UTF-8. A word of which a part is no token is one unknown
 * token. The cache is of this model alone. */
int tandem_wordpiece_word(const tandem_wordpiece *model, tandem_word_cache *cache, const char *word, size_t length,
                          tandem_model_tokens *out);

#endif
