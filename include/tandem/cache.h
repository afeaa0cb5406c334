/* cache.h - where derived data (token ids, embeddings) is kept, by content hash. */
#ifndef TANDEM_CACHE_H
#define TANDEM_CACHE_H

#include <stdbool.h>

#include "tandem/error.h"
#include "tandem/hash.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Path of the entry of `kind` ("tokens", "embeddings") under `key`, ending in
 * `suffix` (".h5"); the caller frees it. Its folder exists. The cache lies in
 * $TANDEM_CACHE, else $XDG_CACHE_HOME/tandem, else ~/.cache/tandem;
 * TANDEM_CACHE=off, or no usable folder, gives *out = NULL and no failure: callers
 * then work without a cache. */
int tandem_cache_path(char **out, const char *kind, tandem_hash key, const char *suffix);

/* False when the environment says that there is to be none: no key need be made then. */
bool tandem_cache_is_on(void);

#ifdef __cplusplus
}
#endif
#endif
