/* vectors.h - embeddings on disk: HDF5 (/embeddings [n, d] float32, /ids), .npy and .fbin. */
#ifndef TANDEM_VECTORS_H
#define TANDEM_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/error.h"
#include "tandem/file.h"
#include "tandem/hash.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What made the vectors; written as attributes of /embeddings. */
typedef struct {
    tandem_hash key; /* of weights, tokenizer, prompt, pooling, normalization, limit and texts */
    const char *weights, *tokenizer; /* hexadecimal hashes */
    const char *prompt, *pooling;
    size_t max_length;
    bool normalized;
} tandem_vectors_origin;

/* Row-major [count, dim], rows in input order. */
typedef struct {
    size_t count, dim;
    float *data;
    tandem_map map; /* the file that data lies in; closed: memory of its own */
} tandem_vectors;

void tandem_vectors_free(tandem_vectors *vectors); /* frees or unmaps data, zeroes the struct */

/* TANDEM_USAGE unless `path` ends in .h5, .npy or .fbin, as it must for what follows. */
int tandem_vectors_check_name(const char *path);
/* True when a file of this name says what made its vectors: .h5. The others ignore an origin. */
bool tandem_vectors_keep_origin(const char *path);
/* ids may be NULL; .npy and .fbin have none. Rows are written as they are given. */
int tandem_vectors_write(const char *path, const tandem_vectors *vectors, const tandem_text *ids, const tandem_vectors_origin *origin);
/* Reads any of the forms. With `key` not NULL, an HDF5 file of another key is TANDEM_NOT_FOUND. Sizes are
 * checked before memory is taken; external storage is refused. An HDF5 file of that key, an entry of
 * the cache, which nobody changes, is mapped where its rows lie in one run: data is then read-only. */
int tandem_vectors_read(tandem_vectors *out, const char *path, const tandem_hash *key);
/* The ids of the `count` rows of a file, as texts that are empty: those of `list`, a text file with one a line (.zst
 * too); if that is NULL, the file's own, or row numbers from 0 where it has none. An id that is empty, no UTF-8
 * or another row's is an error. The caller frees the array; the ids are in `arena`. */
int tandem_vectors_ids(tandem_text **out, tandem_arena *arena, const char *path, const char *list, size_t count);

#ifdef __cplusplus
}
#endif
#endif
