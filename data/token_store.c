/* token_store.c - token ids of many texts: from the cache, or made. */
#include "tandem/token_store.h"

#include <stdlib.h>
#include <string.h>

#include "data/token_store_private.h"
#include "tandem/cache.h"
#include "tandem/log.h"
#include "tandem/memory.h"

enum { CACHE_FROM = 64 /* texts */ };

/* ---- where it is kept -------------------------------------------------------------------- */
/* Of what decides a text's ids beside the text. */
static int family_hash(tandem_hash *out, const tandem_tokenizer *tokenizer, const char *prompt, size_t limit)
{
    tandem_hasher *hasher = tandem_hasher_new();
    if (!hasher) {
        return TANDEM_ERROR;
    }
    tandem_hasher_string(hasher, "tokens 2"); /* to be raised when the file form changes */
    tandem_hasher_hash(hasher, tandem_tokenizer_hash(tokenizer));
    tandem_hasher_string(hasher, prompt ? prompt : "");
    tandem_hasher_int(hasher, (int64_t)limit);
    *out = tandem_hasher_done(hasher);
    return TANDEM_OK;
}

/* The entry's path, NULL when there is no cache, and its key. Entries of a family share a
 * folder, in which they find one another. */
static int find_entry(char **path, tandem_hash *key, tandem_hash family, const tandem_token_store *store)
{
    char folder[sizeof "tokens/" + TANDEM_HASH_HEX] = "tokens/";
    tandem_hash_hex(family, folder + strlen(folder));
    tandem_hasher *hasher = tandem_hasher_new();
    if (!hasher) {
        return TANDEM_ERROR;
    }
    tandem_hasher_hash(hasher, family);
    tandem_hasher_field(hasher, store->hashes, store->count * sizeof *store->hashes);
    *key = tandem_hasher_done(hasher);
    return tandem_cache_path(path, folder, *key, ".h5");
}

bool tandem_token_store_serves(const tandem_token_store *read, const tandem_token_store *wanted,
                               const tandem_hash *hashes, size_t count)
{
    return read->limit == wanted->limit && read->vocab <= wanted->vocab &&
           strcmp(read->tokenizer, wanted->tokenizer) == 0 && read->count == count &&
           memcmp(read->hashes, hashes, count * sizeof *hashes) == 0;
}

/* ---- making ------------------------------------------------------------------------------ */
/* The cache's entry for the texts of `wanted`, when it is there and sound. */
static bool read_entry(tandem_token_store **out, const char *path, tandem_hash key, const tandem_token_store *wanted)
{
    int rc = tandem_token_store_read(out, path, key);
    if (rc == TANDEM_OK && !tandem_token_store_serves(*out, wanted, wanted->hashes, wanted->count)) {
        tandem_token_store_free(*out);
        *out = NULL;
        rc = tandem_error("%s: not of these texts and this tokenizer", path);
    }
    if (rc < 0 && rc != TANDEM_NOT_FOUND) {
        tandem_log_warn("the cache entry is damaged and made anew: %s", tandem_error_message());
    }
    return rc == TANDEM_OK;
}

/* Makes the ids, from those of other entries where they have them, and leaves an entry. */
static int make_entry(tandem_token_store *store, const char *path, tandem_hash key, const tandem_tokenizer *tokenizer,
                      const tandem_text *texts, const char *prompt)
{
    tandem_known_ids others;
    TANDEM_TRY(tandem_known_ids_find(&others, store, path));
    int rc = tandem_token_store_fill(store, tokenizer, texts, prompt, others.known);
    tandem_known_ids_free(&others);
    TANDEM_TRY(rc);
    if (tandem_token_store_write(store, path, key) < 0) {
        tandem_log_warn("token ids are not cached: %s", tandem_error_message());
    }
    tandem_token_cache_prune(path);
    return TANDEM_OK;
}

static int make_cached(tandem_token_store **out, tandem_token_store *store, const tandem_tokenizer *tokenizer,
                       const tandem_text *texts, const char *prompt)
{
    tandem_hash family, key;
    char *path = NULL;
    TANDEM_TRY(family_hash(&family, tokenizer, prompt, store->limit));
    TANDEM_TRY(find_entry(&path, &key, family, store));
    int rc = TANDEM_OK;
    if (!path) {
        rc = tandem_token_store_fill(store, tokenizer, texts, prompt, NULL);
    } else if (read_entry(out, path, key, store)) {
        tandem_token_cache_touch(path);
    } else {
        rc = make_entry(store, path, key, tokenizer, texts, prompt);
    }
    free(path);
    return rc;
}

int tandem_token_store_make(tandem_token_store **out, const tandem_tokenizer *tokenizer,
                            const tandem_text *texts, size_t count, const char *prompt, size_t limit)
{
    if (count < CACHE_FROM) {
        return tandem_token_store_build(out, tokenizer, texts, count, prompt, limit);
    }
    *out = NULL;
    tandem_token_store *store = NULL;
    TANDEM_TRY(tandem_token_store_begin(&store, tokenizer, texts, count, limit));
    int rc = make_cached(out, store, tokenizer, texts, prompt);
    if (rc == TANDEM_OK && !*out) {
        *out = store;
        return TANDEM_OK;
    }
    tandem_token_store_free(store); /* it was read, or failed */
    return rc;
}

/* ---- access --------------------------------------------------------------------------- */
void tandem_token_store_free(tandem_token_store *store)
{
    if (store) {
        free(store->hashes);
        free(store->offsets);
        free(store->totals);
        free(store->ids);
        free(store);
    }
}

size_t tandem_token_store_count(const tandem_token_store *store)
{
    return store->count;
}

uint64_t tandem_token_store_total(const tandem_token_store *store)
{
    return store->offsets[store->count];
}

size_t tandem_token_store_limit(const tandem_token_store *store)
{
    return store->limit;
}

size_t tandem_token_store_tokenized(const tandem_token_store *store)
{
    return store->tokenized;
}

tandem_bare tandem_token_store_get(const tandem_token_store *store, size_t index)
{
    return (tandem_bare){store->ids + store->offsets[index], store->totals[index]};
}
