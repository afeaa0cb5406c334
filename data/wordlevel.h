/* wordlevel.h - private to data/: the WordLevel model: a word is a token or unknown. */
#ifndef TANDEM_DATA_WORDLEVEL_H
#define TANDEM_DATA_WORDLEVEL_H

#include "data/token_model.h"

typedef struct tandem_wordlevel tandem_wordlevel;

/* Reads the object "model" of a tokenizer.json. */
int tandem_wordlevel_new(tandem_wordlevel **out, const struct cJSON *model, const char *source);
void tandem_wordlevel_free(tandem_wordlevel *wordlevel); /* NULL is fine */

uint32_t tandem_wordlevel_find(const tandem_wordlevel *wordlevel, const char *token, size_t length);
size_t tandem_wordlevel_count(const tandem_wordlevel *wordlevel);
uint32_t tandem_wordlevel_largest_id(const tandem_wordlevel *wordlevel); /* 0 for an empty vocabulary */
void tandem_wordlevel_hash(const tandem_wordlevel *wordlevel, tandem_hasher *hasher);

/* Appends the token of the word. Fails where the word is unknown and so is unk_token. */
int tandem_wordlevel_word(const tandem_wordlevel *wordlevel, const char *word, size_t length,
                          tandem_model_tokens *out);

#endif
