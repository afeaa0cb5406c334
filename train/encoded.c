/* encoded.c - texts that a run reads again and again while its weights change. */
#include "train/encoded.h"

#include <stdlib.h>

#include "tandem/hash.h"
#include "tandem/log.h"
#include "tandem/memory.h"
#include "tandem/token_store.h"

typedef struct {
    tandem_hash key; /* of side, prompt and texts */
    tandem_token_store *store;
    tandem_vectors vectors; /* empty: none under the weights as they are */
} entry;

struct tandem_encoded {
    tandem_model *model;
    entry **entries; /* [count]; each has a place of its own, since vectors are lent out */
    size_t count, capacity;
};

int tandem_encoded_new(tandem_encoded **out, tandem_model *model)
{
    *out = tandem_alloc(1, sizeof **out);
    if (*out == NULL) {
        return TANDEM_ERROR;
    }
    (*out)->model = model;
    return TANDEM_OK;
}

void tandem_encoded_forget(tandem_encoded *encoded)
{
    for (size_t i = 0; i < encoded->count; i++) {
        tandem_vectors_free(&encoded->entries[i]->vectors);
    }
}

void tandem_encoded_free(tandem_encoded *encoded)
{
    if (encoded != NULL) {
        tandem_encoded_forget(encoded);
        for (size_t i = 0; i < encoded->count; i++) {
            tandem_token_store_free(encoded->entries[i]->store);
            free(encoded->entries[i]);
        }
        free(encoded->entries);
        free(encoded);
    }
}

static int key_of(tandem_hash *out, const tandem_model *model, const tandem_text *texts, size_t count, tandem_side side)
{
    const tandem_model_info *info = tandem_model_describe(model);
    tandem_hasher *hasher = tandem_hasher_new();

    if (hasher == NULL) {
        return TANDEM_ERROR;
    }
    tandem_hasher_int(hasher, (int64_t)side);
    tandem_hasher_string(hasher, side == TANDEM_QUERY ? info->query_prompt : info->document_prompt);
    for (size_t i = 0; i < count; i++) {
        tandem_hasher_field(hasher, texts[i].text, texts[i].length);
    }
    *out = tandem_hasher_done(hasher);
    return TANDEM_OK;
}

static int add_entry(entry **out, tandem_encoded *encoded, tandem_hash key, const tandem_text *texts, size_t count,
                     tandem_side side)
{
    void *entries = encoded->entries;
    tandem_token_store *store = NULL;

    TANDEM_TRY(tandem_grow(&entries, &encoded->capacity, encoded->count + 1, sizeof(entry *)));
    encoded->entries = entries;
    TANDEM_TRY(tandem_model_tokenize(&store, encoded->model, texts, count, side));
    *out = tandem_alloc(1, sizeof **out);
    if (*out == NULL) {
        tandem_token_store_free(store);
        return TANDEM_ERROR;
    }
    (*out)->key = key;
    (*out)->store = store;
    encoded->entries[encoded->count++] = *out;
    return TANDEM_OK;
}

static int find_entry(entry **out, tandem_encoded *encoded, const tandem_text *texts, size_t count, tandem_side side)
{
    tandem_hash key;

    TANDEM_TRY(key_of(&key, encoded->model, texts, count, side));
    for (size_t i = 0; i < encoded->count; i++) {
        if (tandem_hash_equal(encoded->entries[i]->key, key)) {
            *out = encoded->entries[i];
            return TANDEM_OK;
        }
    }
    return add_entry(out, encoded, key, texts, count, side);
}

static int encode(tandem_vectors *out, tandem_encoded *encoded, const entry *from, tandem_side side, const char *title)
{
    size_t count = tandem_token_store_count(from->store), dim = tandem_model_describe(encoded->model)->dim, floats;
    tandem_vectors vectors = {.count = count, .dim = dim};

    vectors.data = tandem_size_mul(&floats, count, dim) ? tandem_alloc(floats, sizeof *vectors.data) : NULL;
    if (vectors.data == NULL) {
        return tandem_error("%zu embeddings of %zu numbers do not fit memory", count, dim);
    }
    int rc = tandem_model_encode(vectors.data, encoded->model, from->store, side, title);
    if (rc < 0) {
        tandem_vectors_free(&vectors);
        return rc;
    }
    *out = vectors;
    return TANDEM_OK;
}

int tandem_encoded_vectors(const tandem_vectors **out, tandem_encoded *encoded, const tandem_text *texts, size_t count,
                           tandem_side side, const char *title)
{
    entry *found = NULL;

    TANDEM_TRY(find_entry(&found, encoded, texts, count, side));
    if (found->vectors.data == NULL) {
        TANDEM_TRY(encode(&found->vectors, encoded, found, side, title));
        tandem_log_debug("%s: %zu texts encoded", title, count);
    } else {
        tandem_log_debug("%s: %zu texts encoded already", title, count);
    }
    *out = &found->vectors;
    return TANDEM_OK;
}
