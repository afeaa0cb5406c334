/* token_store.h - the bare token ids of many texts: flat ids and offsets, made once
 * and cached in HDF5. Training, encoding and reranking read ids, never text. */
#ifndef TANDEM_TOKEN_STORE_H
#define TANDEM_TOKEN_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/error.h"
#include "tandem/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tandem_token_store tandem_token_store;

/* Tokenizes prompt + text of each of `count` texts on all threads and keeps the first
 * `limit` ids of each (0: all). `prompt` NULL is "". The result
 * is kept in the cache (cache.h) under the hash of texts, prompt, tokenizer and limit,
 * and read from there the next time. Where only some of the texts are new, because a
 * corpus grew or was edited, the ids of the others come from the entries of earlier lists
 * of the same tokenizer, prompt and limit. A damaged entry is made anew, with a
 * warning. Processes may do this at the same time. With fewer than 64 texts the cache is
 * not used. */
int tandem_token_store_make(tandem_token_store **out, const tandem_tokenizer *tokenizer,
                            const tandem_text *texts, size_t count, const char *prompt, size_t limit);
/* The same without the cache. */
int tandem_token_store_build(tandem_token_store **out, const tandem_tokenizer *tokenizer, const tandem_text *texts,
                             size_t count, const char *prompt, size_t limit);
void tandem_token_store_free(tandem_token_store *store); /* NULL is fine */

size_t tandem_token_store_count(const tandem_token_store *store);
uint64_t tandem_token_store_total(const tandem_token_store *store); /* ids kept, of all texts */
size_t tandem_token_store_limit(const tandem_token_store *store);
/* Texts that were tokenized to make it; the ids of the others were read from the cache. */
size_t tandem_token_store_tokenized(const tandem_token_store *store);
/* Ids of text `index`, borrowed from the store, for tandem_tokenizer_assemble with a
 * max_length up to the limit. Its count is that of the whole text's tokens, which
 * decides how a pair is cut; with a limit only the first `limit` ids are there. */
tandem_bare tandem_token_store_get(const tandem_token_store *store, size_t index);

/* The file form, also for users (docs/formats.md): /ids uint16 or uint32 [total],
 * /offsets uint64 [count + 1], /totals uint32 [count], /hashes uint64 [count, 2],
 * zstd-compressed chunks, attributes key, tokenizer, vocab, limit, count, complete. A file
 * of another key is TANDEM_NOT_FOUND. Reading checks every size and refuses external
 * storage. */
int tandem_token_store_write(const tandem_token_store *store, const char *path, tandem_hash key);
int tandem_token_store_read(tandem_token_store **out, const char *path, tandem_hash key);

#ifdef __cplusplus
}
#endif
#endif
