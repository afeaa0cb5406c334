/* token_model.c - the vocabulary of a model, and the cache of words in front of it. */
#include "data/token_model.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- vocabulary ------------------------------------------------------------------------- */
typedef struct {
    const char *token; /* borrowed from the JSON */
    uint32_t id;
} entry;

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const entry *)a)->id, y = ((const entry *)b)->id;
    return (x > y) - (x < y);
}

/* Fills `entries` in the order of the ids, which is the one of most files. */
static int collect(entry *entries, const cJSON *object, const char *source)
{
    size_t count = 0;
    bool sorted = true;
    for (const cJSON *item = object->child; item; item = item->next, count++) {
        double id = item->valuedouble;
        if (!cJSON_IsNumber(item) || !(id >= 0 && id < INT32_MAX) || id != floor(id)) {
            return tandem_error("%s: model.vocab: the id of \"%s\" is no integer from 0 to %d", source, item->string,
                                INT32_MAX - 1);
        }
        entries[count] = (entry){.token = item->string, .id = (uint32_t)id};
        sorted = sorted && (count == 0 || entries[count - 1].id < entries[count].id);
    }
    if (!sorted) {
        qsort(entries, count, sizeof *entries, by_id);
    }
    return TANDEM_OK;
}

static int add_entries(tandem_token_ids *ids, const entry *entries, size_t count, tandem_hasher *hasher,
                       const char *source)
{
    for (size_t i = 0; i < count; i++) {
        const entry *e = &entries[i];
        if (i > 0 && e[-1].id == e->id) {
            return tandem_error("%s: model.vocab: \"%s\" and \"%s\" have the same id %u", source, e[-1].token,
                                e->token, e->id);
        }
        size_t length = strlen(e->token);
        const char *token = tandem_arena_strndup(ids->arena, e->token, length);
        if (!token) {
            return TANDEM_ERROR;
        }
        TANDEM_TRY(tandem_strmap_add(ids->ids, token, length, e->id, NULL));
        tandem_hasher_field(hasher, token, length);
        tandem_hasher_int(hasher, e->id);
        ids->largest = e->id;
    }
    return TANDEM_OK;
}

int tandem_token_ids_read(tandem_token_ids *ids, const cJSON *object, tandem_hasher *hasher, const char *source)
{
    if (!cJSON_IsObject(object)) {
        return tandem_error("%s: model.vocab: expected an object of tokens and ids", source);
    }
    size_t count = (size_t)cJSON_GetArraySize(object);
    entry *entries = tandem_alloc(count, sizeof *entries);
    ids->arena = tandem_arena_new();
    ids->ids = tandem_strmap_new(count);
    int rc = entries && ids->arena && ids->ids ? collect(entries, object, source) : TANDEM_ERROR;
    if (rc == TANDEM_OK) {
        rc = add_entries(ids, entries, count, hasher, source);
    }
    free(entries);
    return rc;
}

void tandem_token_ids_clear(tandem_token_ids *ids)
{
    tandem_strmap_free(ids->ids);
    tandem_arena_free(ids->arena);
}

uint32_t tandem_token_ids_find(const tandem_token_ids *ids, const char *token, size_t length)
{
    size_t id;
    return tandem_strmap_find(ids->ids, token, length, &id) ? (uint32_t)id : TANDEM_NO_TOKEN;
}

size_t tandem_token_ids_count(const tandem_token_ids *ids)
{
    return tandem_strmap_count(ids->ids);
}

/* ---- cache of words ------------------------------------------------------------------------ */
enum { ROWS = 32768 }; /* a power of two */

int tandem_word_cache_init(tandem_word_cache *cache)
{
    cache->rows = tandem_alloc(ROWS, sizeof *cache->rows);
    return cache->rows ? TANDEM_OK : TANDEM_ERROR;
}

void tandem_word_cache_clear(tandem_word_cache *cache)
{
    free(cache->rows);
}

static uint64_t load8(const char *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static uint64_t load4(const char *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* All bytes of a word of 1 to 32, some of them twice, so that none beyond it is read. Words
 * of one length differ if and only if these do. */
static void word_key(uint64_t key[4], const char *word, size_t length)
{
    key[1] = key[2] = key[3] = 0;
    if (length >= 16) {
        key[0] = load8(word);
        key[1] = load8(word + 8);
        key[2] = load8(word + length - 16);
        key[3] = load8(word + length - 8);
    } else if (length >= 8) {
        key[0] = load8(word);
        key[1] = load8(word + length - 8);
    } else if (length >= 4) {
        key[0] = load4(word) | load4(word + length - 4) << 32;
    } else {
        key[0] = (uint64_t)(unsigned char)word[0] | (uint64_t)(unsigned char)word[length / 2] << 8 |
                 (uint64_t)(unsigned char)word[length - 1] << 16;
    }
}

static size_t row_of(const uint64_t key[4], size_t length)
{
    uint64_t mixed = (key[0] ^ length) * UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ mixed >> 32 ^ key[1]) * UINT64_C(0xD6E8FEB86659FD93);
    mixed = (mixed ^ mixed >> 32 ^ key[2] ^ key[3] << 1) * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(mixed >> 40) & (ROWS - 2);
}

static bool holds(const tandem_word_row *row, const uint64_t key[4], size_t length)
{
    return row->count != 0 && row->length == length && row->key[0] == key[0] && row->key[1] == key[1] &&
           row->key[2] == key[2] && row->key[3] == key[3];
}

/* A word has two places. A new one is put in the second, and moves to the first when it comes
 * again, so that words that come once do not drive out those that come often. */
static const tandem_word_row *find(tandem_word_row *rows, const uint64_t key[4], size_t length)
{
    if (holds(&rows[0], key, length)) {
        return &rows[0];
    }
    if (!holds(&rows[1], key, length)) {
        return NULL;
    }
    tandem_word_row first = rows[0];
    rows[0] = rows[1];
    rows[1] = first;
    return &rows[0];
}

bool tandem_word_cache_get(const tandem_word_cache *cache, const char *word, size_t length, tandem_model_tokens *out)
{
    if (length == 0 || length > TANDEM_WORD_CACHE_BYTES) {
        return false;
    }
    uint64_t key[4];
    word_key(key, word, length);
    const tandem_word_row *row = find(&cache->rows[row_of(key, length)], key, length);
    if (!row) {
        return false;
    }
    tandem_model_token *token = out->items + out->count;
    uint32_t begin = 0;
    for (size_t i = 0; i < row->count; i++) {
        token[i] = (tandem_model_token){.id = row->ids[i], .begin = begin, .end = row->ends[i]};
        begin = row->ends[i];
    }
    out->count += row->count;
    return true;
}

void tandem_word_cache_put(tandem_word_cache *cache, const char *word, size_t length, const tandem_model_tokens *out,
                           size_t from)
{
    size_t count = out->count - from;
    if (length == 0 || length > TANDEM_WORD_CACHE_BYTES || count == 0 || count > TANDEM_WORD_CACHE_TOKENS) {
        return;
    }
    tandem_word_row row = {.length = (uint8_t)length, .count = (uint8_t)count};
    uint32_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        const tandem_model_token *token = &out->items[from + i];
        if (token->begin != begin) {
            return; /* a row has no room for spans that overlap */
        }
        begin = token->end;
        row.ids[i] = token->id;
        row.ends[i] = (uint8_t)token->end;
    }
    word_key(row.key, word, length);
    cache->rows[row_of(row.key, length) + 1] = row;
}
