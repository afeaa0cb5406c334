/* token_store_private.h - private to data/: what the parts of the token store share.
 *
 *   token_store.c         makes a store, from the cache where it can; access
 *   token_store_build.c   tokenizes on all threads
 *   token_store_cache.c   the cache's folder: ids that another list of texts left there, old entries
 *   token_store_file.c    HDF5
 */
#ifndef TANDEM_DATA_TOKEN_STORE_PRIVATE_H
#define TANDEM_DATA_TOKEN_STORE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/token_store.h"

struct tandem_token_store {
    size_t count;      /* texts */
    size_t limit;      /* ids kept of a text; 0: all */
    size_t vocab;      /* every id is below it */
    size_t tokenized;  /* texts whose ids were made, not read */
    char tokenizer[TANDEM_HASH_HEX];
    tandem_hash *hashes; /* [count] of the texts, without the prompt */
    uint64_t *offsets;   /* [count + 1] */
    uint32_t *totals;    /* [count] tokens of the whole text, kept or not */
    uint32_t *ids;       /* [offsets[count]] */
};

/* A store of these texts by their hashes, as yet without ids. */
int tandem_token_store_begin(tandem_token_store **out, const tandem_tokenizer *tokenizer, const tandem_text *texts,
                             size_t count, size_t limit);
/* Makes its ids, but for the texts whose ids are known: `known` is NULL or [count], with ids NULL
 * where they are not. */
int tandem_token_store_fill(tandem_token_store *store, const tandem_tokenizer *tokenizer, const tandem_text *texts,
                            const char *prompt, const tandem_bare *known);

/* True when what was read is of the tokenizer and limit of `wanted`, and of the texts with these
 * hashes: the name of a cache's file is no proof. */
bool tandem_token_store_serves(const tandem_token_store *read, const tandem_token_store *wanted,
                               const tandem_hash *hashes, size_t count);

/* Ids kept of a text of `total` tokens. */
static inline size_t tandem_token_store_kept(const tandem_token_store *store, size_t total)
{
    return store->limit > 0 && store->limit < total ? store->limit : total;
}

/* ---- file ---------------------------------------------------------------------------------- */
/* Reads a file; of any key where `key` is NULL. */
int tandem_token_store_load(tandem_token_store **out, const char *path, const tandem_hash *key);
/* Reads the hashes of its texts alone. */
int tandem_token_store_load_hashes(tandem_hash **out, size_t *count, const char *path);

/* ---- cache --------------------------------------------------------------------------------- */
/* Ids that other entries of a folder have for texts of a store. */
typedef struct {
    tandem_bare *known;           /* [count] ids NULL: none; they lie in the sources */
    tandem_token_store **sources; /* [source_count] */
    size_t source_count, source_capacity;
} tandem_known_ids;

/* `path` is the store's own entry, whose folder is searched. What cannot be read is removed with a
 * warning. */
int tandem_known_ids_find(tandem_known_ids *out, const tandem_token_store *store, const char *path);
void tandem_known_ids_free(tandem_known_ids *known);

/* The entry was used now: it is the last that is removed. */
void tandem_token_cache_touch(const char *path);
/* Removes from the entry's folder all but the TANDEM_TOKEN_CACHE_ENTRIES used last, and what
 * writers that were killed left behind. */
void tandem_token_cache_prune(const char *path);

#define TANDEM_TOKEN_CACHE_ENTRIES 16

#endif
