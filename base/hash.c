/* hash.c - XXH3, 128 bits. */
#include "tandem/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/input.h"
#include "tandem/memory.h"

struct tandem_hasher {
    XXH3_state_t *state;
};

static tandem_hash from_xxh(XXH128_hash_t hash)
{
    return (tandem_hash){.high = hash.high64, .low = hash.low64};
}

tandem_hash tandem_hash_bytes(const void *data, size_t length)
{
    return from_xxh(XXH3_128bits(data, length));
}

bool tandem_hash_equal(tandem_hash a, tandem_hash b)
{
    return a.high == b.high && a.low == b.low;
}

void tandem_hash_hex(tandem_hash hash, char out[TANDEM_HASH_HEX])
{
    snprintf(out, TANDEM_HASH_HEX, "%016llx%016llx", (unsigned long long)hash.high,
             (unsigned long long)hash.low);
}

/* ---- streaming -------------------------------------------------------------------- */
tandem_hasher *tandem_hasher_new(void)
{
    tandem_hasher *hasher = tandem_alloc(1, sizeof *hasher);
    if (!hasher) {
        return NULL;
    }
    hasher->state = XXH3_createState();
    if (!hasher->state) {
        free(hasher);
        tandem_error("out of memory: a hash state");
        return NULL;
    }
    XXH3_128bits_reset(hasher->state);
    return hasher;
}

/* Little-endian on every machine. */
static void put_uint64(tandem_hasher *hasher, uint64_t value)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(value >> (8 * i));
    }
    XXH3_128bits_update(hasher->state, bytes, sizeof bytes);
}

void tandem_hasher_field(tandem_hasher *hasher, const void *data, size_t length)
{
    put_uint64(hasher, length);
    if (length > 0) {
        XXH3_128bits_update(hasher->state, data, length);
    }
}

void tandem_hasher_bytes(tandem_hasher *hasher, const void *data, size_t length)
{
    if (length > 0) {
        XXH3_128bits_update(hasher->state, data, length);
    }
}

void tandem_hasher_string(tandem_hasher *hasher, const char *text)
{
    if (text) {
        tandem_hasher_field(hasher, text, strlen(text));
    } else {
        put_uint64(hasher, UINT64_MAX); /* no string has this length */
    }
}

void tandem_hasher_int(tandem_hasher *hasher, int64_t value)
{
    put_uint64(hasher, 8);
    put_uint64(hasher, (uint64_t)value);
}

void tandem_hasher_hash(tandem_hasher *hasher, tandem_hash value)
{
    put_uint64(hasher, 16);
    put_uint64(hasher, value.high);
    put_uint64(hasher, value.low);
}

tandem_hash tandem_hasher_done(tandem_hasher *hasher)
{
    tandem_hash hash = from_xxh(XXH3_128bits_digest(hasher->state));
    XXH3_freeState(hasher->state);
    free(hasher);
    return hash;
}

/* ---- files ------------------------------------------------------------------------- */
static int hash_descriptor(tandem_hash *out, int descriptor, const char *path)
{
    enum { BLOCK = 1024 * 1024 };
    void *block = tandem_alloc(BLOCK, 1);
    XXH3_state_t *state = XXH3_createState();
    int rc = block && state ? TANDEM_OK : tandem_error("%s: out of memory", path);
    if (state) {
        XXH3_128bits_reset(state);
    }
    for (size_t got = BLOCK; rc == TANDEM_OK && got == BLOCK;) {
        rc = tandem_descriptor_read(descriptor, path, block, BLOCK, &got);
        if (rc == TANDEM_OK) {
            XXH3_128bits_update(state, block, got);
        }
    }
    if (rc == TANDEM_OK) {
        *out = from_xxh(XXH3_128bits_digest(state));
    }
    XXH3_freeState(state);
    free(block);
    return rc;
}

int tandem_hash_file(tandem_hash *out, const char *path)
{
    int descriptor;
    TANDEM_TRY(tandem_descriptor_open(&descriptor, path));
    int rc = hash_descriptor(out, descriptor, path);
    close(descriptor);
    return rc;
}
