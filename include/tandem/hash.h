/* hash.h - 128-bit content hashes (XXH3), the keys of every cache. */
#ifndef TANDEM_HASH_H
#define TANDEM_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint64_t high, low;
} tandem_hash;

#define TANDEM_HASH_HEX 33 /* characters of the hexadecimal form, NUL included */

tandem_hash tandem_hash_bytes(const void *data, size_t length);
bool tandem_hash_equal(tandem_hash a, tandem_hash b);
void tandem_hash_hex(tandem_hash hash, char out[TANDEM_HASH_HEX]);

/* Streaming form. Fields are hashed with their length first, so that
 * ("ab", "c") and ("a", "bc") differ. */
typedef struct tandem_hasher tandem_hasher;
tandem_hasher *tandem_hasher_new(void); /* NULL with the message set */
void tandem_hasher_field(tandem_hasher *hasher, const void *data, size_t length);
void tandem_hasher_string(tandem_hasher *hasher, const char *text); /* NULL is a value of its own */
void tandem_hasher_int(tandem_hasher *hasher, int64_t value);
void tandem_hasher_hash(tandem_hasher *hasher, tandem_hash value);
/* Bytes alone, without their length: of nothing but these, the hash is tandem_hash_bytes of all. */
void tandem_hasher_bytes(tandem_hasher *hasher, const void *data, size_t length);
tandem_hash tandem_hasher_done(tandem_hasher *hasher); /* frees it */

/* Of a file's bytes. */
int tandem_hash_file(tandem_hash *out, const char *path);

#ifdef __cplusplus
}
#endif
#endif
