/* token_model.h - private to data/: what the models that cut words into tokens have in
 * common: their result, their vocabulary, and a cache of words in front of them.
 */
#ifndef TANDEM_DATA_TOKEN_MODEL_H
#define TANDEM_DATA_TOKEN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/hash.h"
#include "tandem/memory.h"

struct cJSON;

#define TANDEM_NO_TOKEN UINT32_MAX

/* ---- result ------------------------------------------------------------------------- */
/* A token of a word: its id and the bytes of the word that it covers. Spans are what the
 * library's models give: those of bytes that stand for one unknown text are all that text. */
typedef struct {
    uint32_t id, begin, end;
} tandem_model_token;

typedef struct {
    tandem_model_token *items;
    size_t count, capacity;
} tandem_model_tokens;

/* Makes room for `more` tokens. */
static inline int tandem_model_tokens_reserve(tandem_model_tokens *tokens, size_t more)
{
    if (tokens->capacity - tokens->count >= more) {
        return TANDEM_OK;
    }
    void *items = tokens->items;
    int rc = tandem_grow(&items, &tokens->capacity, tokens->count + more, sizeof *tokens->items);
    tokens->items = items;
    return rc;
}

/* ---- vocabulary: the object {"token": id} of BPE and WordLevel --------------------------- */
typedef struct {
    tandem_arena *arena;
    tandem_strmap *ids;
    uint32_t largest;
} tandem_token_ids;

/* Reads `object` and feeds its entries, in the order of their ids, to `hasher`. Refuses what
 * is no id and an id that comes twice. To be cleared after failure, too. */
int tandem_token_ids_read(tandem_token_ids *ids, const struct cJSON *object, tandem_hasher *hasher,
                          const char *source);
void tandem_token_ids_clear(tandem_token_ids *ids);
uint32_t tandem_token_ids_find(const tandem_token_ids *ids, const char *token, size_t length); /* or TANDEM_NO_TOKEN */
size_t tandem_token_ids_count(const tandem_token_ids *ids);

/* ---- cache of words --------------------------------------------------------------------------- */
enum {
    TANDEM_WORD_CACHE_BYTES = 32,  /* of the longest word that is kept */
    TANDEM_WORD_CACHE_TOKENS = 6   /* that a kept word may have */
};

/* A word and its tokens, in one line of the machine's cache. */
typedef struct {
    uint64_t key[TANDEM_WORD_CACHE_BYTES / 8]; /* the word's bytes, see token_model.c */
    uint32_t ids[TANDEM_WORD_CACHE_TOKENS];
    uint8_t ends[TANDEM_WORD_CACHE_TOKENS];
    uint8_t length, count; /* count 0: an empty row */
} tandem_word_row;

typedef struct {
    tandem_word_row *rows;
} tandem_word_cache;

int tandem_word_cache_init(tandem_word_cache *cache);
void tandem_word_cache_clear(tandem_word_cache *cache);
/* Appends the tokens of the word, for which `out` has room, and returns true where the word
 * is known. */
bool tandem_word_cache_get(const tandem_word_cache *cache, const char *word, size_t length,
                           tandem_model_tokens *out);
/* Keeps what follows out->items[from], the tokens of the word. */
void tandem_word_cache_put(tandem_word_cache *cache, const char *word, size_t length,
                           const tandem_model_tokens *out, size_t from);

#endif
