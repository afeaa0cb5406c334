/* strmap.c - text keys to indices: open addressing, linear probing. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tandem/memory.h"

typedef struct {
    const char *key;
    size_t length, value;
    uint64_t hash; /* 0: the slot is empty */
} slot;

struct tandem_strmap {
    slot *slots;
    size_t mask; /* number of slots, a power of two, less one */
    size_t count;
};

static uint64_t key_hash(const char *key, size_t length)
{
    uint64_t hash = XXH3_64bits(key, length);
    return hash ? hash : 1;
}

/* The slot that holds the key, or the empty one where it belongs. */
static slot *locate(const tandem_strmap *map, const char *key, size_t length, uint64_t hash)
{
    for (size_t i = (size_t)hash & map->mask;; i = (i + 1) & map->mask) {
        slot *s = &map->slots[i];
        if (s->hash == 0 ||
            (s->hash == hash && s->length == length && (length == 0 || memcmp(s->key, key, length) == 0))) {
            return s;
        }
    }
}

/* A power of two of which at most 2/3 are taken. */
static size_t slots_for(size_t keys)
{
    size_t size = 16;
    while (size / 3 * 2 < keys && size <= SIZE_MAX / 4) {
        size *= 2;
    }
    return size;
}

tandem_strmap *tandem_strmap_new(size_t expected)
{
    size_t size = slots_for(expected);
    tandem_strmap *map = tandem_alloc(1, sizeof *map);
    if (!map) {
        return NULL;
    }
    map->slots = tandem_alloc(size, sizeof(slot));
    if (!map->slots) {
        free(map);
        return NULL;
    }
    map->mask = size - 1;
    return map;
}

void tandem_strmap_free(tandem_strmap *map)
{
    if (map) {
        free(map->slots);
        free(map);
    }
}

int tandem_strmap_reset(tandem_strmap *map, size_t expected)
{
    enum { SLACK = 8 }; /* clearing may cost this much more than filling */
    size_t size = slots_for(expected), present = map->mask + 1;
    if (size <= present && present / SLACK <= size) {
        memset(map->slots, 0, present * sizeof(slot));
    } else {
        slot *slots = tandem_alloc(size, sizeof(slot));
        if (!slots) {
            return TANDEM_ERROR;
        }
        free(map->slots);
        map->slots = slots;
        map->mask = size - 1;
    }
    map->count = 0;
    return TANDEM_OK;
}

static int enlarge(tandem_strmap *map)
{
    slot *old = map->slots;
    size_t size = map->mask + 1;
    slot *slots = tandem_alloc(size, 2 * sizeof(slot));
    if (!slots) {
        return TANDEM_ERROR;
    }
    map->slots = slots;
    map->mask = 2 * size - 1;
    for (size_t i = 0; i < size; i++) {
        if (old[i].hash != 0) {
            *locate(map, old[i].key, old[i].length, old[i].hash) = old[i];
        }
    }
    free(old);
    return TANDEM_OK;
}

int tandem_strmap_add(tandem_strmap *map, const char *key, size_t length, size_t value,
                      size_t *existing)
{
    uint64_t hash = key_hash(key, length);
    slot *s = locate(map, key, length, hash);
    if (s->hash != 0) {
        if (existing) {
            *existing = s->value;
        }
        return 0;
    }
    if (map->count + 1 > (map->mask + 1) / 3 * 2) {
        TANDEM_TRY(enlarge(map));
        s = locate(map, key, length, hash);
    }
    *s = (slot){.key = key, .length = length, .value = value, .hash = hash};
    map->count++;
    return 1;
}

bool tandem_strmap_find(const tandem_strmap *map, const char *key, size_t length, size_t *value)
{
    const slot *s = locate(map, key, length, key_hash(key, length));
    if (s->hash == 0) {
        return false;
    }
    if (value) {
        *value = s->value;
    }
    return true;
}

size_t tandem_strmap_count(const tandem_strmap *map)
{
    return map->count;
}
