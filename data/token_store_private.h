/* token_store_private.h - private to data/: what token_store.c (making) and
 * token_store_file.c (HDF5) share. */
#ifndef TANDEM_DATA_TOKEN_STORE_PRIVATE_H
#define TANDEM_DATA_TOKEN_STORE_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/token_store.h"

struct tandem_token_store {
    size_t count;      /* texts */
    size_t limit;      /* ids kept of a text; 0: all */
    size_t vocab;      /* every id is below it */
    char tokenizer[TANDEM_HASH_HEX];
    uint64_t *offsets; /* [count + 1] */
    uint32_t *totals;  /* [count] tokens of the whole text, kept or not */
    uint32_t *ids;     /* [offsets[count]] */
};

/* Tokenizes without the cache. */
int tandem_token_store_build(tandem_token_store **out, const tandem_tokenizer *tokenizer,
                             const tandem_text *texts, size_t count, const char *prompt, size_t limit);

#endif
