/* token_store_file.c - token ids in HDF5. */
#include <stdlib.h>

#include "data/hdf5_util.h"
#include "data/token_store_private.h"
#include "tandem/file.h"
#include "tandem/memory.h"

/* ---- writing ------------------------------------------------------------------------- */
static int write_attributes(const tandem_hdf5_file *file, const tandem_token_store *store, tandem_hash key)
{
    char hex[TANDEM_HASH_HEX];
    tandem_hash_hex(key, hex);
    TANDEM_TRY(tandem_hdf5_set_hash(file, file->id, "key", hex));
    TANDEM_TRY(tandem_hdf5_set_hash(file, file->id, "tokenizer", store->tokenizer));
    TANDEM_TRY(tandem_hdf5_set_int(file, file->id, "vocab", store->vocab));
    TANDEM_TRY(tandem_hdf5_set_int(file, file->id, "limit", store->limit));
    TANDEM_TRY(tandem_hdf5_set_int(file, file->id, "count", store->count));
    return tandem_hdf5_set_int(file, file->id, "complete", 1);
}

static int write_file(const tandem_token_store *store, const char *path, tandem_hash key)
{
    tandem_hdf5_file file;
    hsize_t total = store->offsets[store->count];
    hsize_t count = store->count;
    hsize_t offsets = count + 1;
    const hsize_t hashes[2] = {count, 2};
    hid_t id_type = store->vocab <= 65536 ? H5T_STD_U16LE : H5T_STD_U32LE;
    TANDEM_TRY(tandem_hdf5_create(&file, path));
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_hdf5_array_write(&file, "ids", 1, &total, id_type, H5T_NATIVE_UINT32,
                                                      store->ids, true, NULL));
    TANDEM_TRY_GOTO(rc, done, tandem_hdf5_array_write(&file, "offsets", 1, &offsets, H5T_STD_U64LE, H5T_NATIVE_UINT64,
                                                      store->offsets, true, NULL));
    TANDEM_TRY_GOTO(rc, done, tandem_hdf5_array_write(&file, "totals", 1, &count, H5T_STD_U32LE, H5T_NATIVE_UINT32,
                                                      store->totals, true, NULL));
    TANDEM_TRY_GOTO(rc, done, tandem_hdf5_array_write(&file, "hashes", 2, hashes, H5T_STD_U64LE, H5T_NATIVE_UINT64,
                                                      store->hashes, true, NULL));
    TANDEM_TRY_GOTO(rc, done, write_attributes(&file, store, key));
    rc = tandem_hdf5_flush_close(&file);
done:
    tandem_hdf5_close(&file);
    return rc;
}

int tandem_token_store_write(const tandem_token_store *store, const char *path, tandem_hash key)
{
    char *staged = NULL;
    TANDEM_TRY(tandem_stage_file(&staged, path));
    int rc = tandem_hdf5_begin();
    if (rc == TANDEM_OK) {
        rc = write_file(store, staged, key);
        tandem_hdf5_end();
    }
    if (rc == TANDEM_OK) {
        rc = tandem_stage_commit(staged, path);
    }
    if (rc < 0) {
        tandem_stage_abort(staged);
    }
    free(staged);
    return rc;
}

/* ---- reading -------------------------------------------------------------------------- */
/* A new array of unsigned integers of `size` bytes, with what is on disk; its rows in *rows. Of two
 * dimensions, the second is 2. */
static int read_unsigned(const tandem_hdf5_file *file, const char *name, int dims, hid_t memory_type, size_t size,
                         void **out, size_t *rows)
{
    tandem_hdf5_array array = TANDEM_HDF5_NO_ARRAY;
    TANDEM_TRY(tandem_hdf5_array_open(&array, file, name, dims));
    int rc = TANDEM_OK;
    if (array.type != H5T_INTEGER || array.type_bytes > size) {
        rc = tandem_error("%s: /%s: expected integers of at most %zu bits", file->path, name, size * 8);
    } else if (dims == 2 && array.shape[1] != 2) {
        rc = tandem_error("%s: /%s: expected 2 columns, found %llu", file->path, name,
                          (unsigned long long)array.shape[1]);
    } else {
        *rows = (size_t)array.shape[0];
        *out = tandem_alloc(array.elements, size);
        rc = *out ? tandem_hdf5_array_read(&array, file, memory_type, *out) : TANDEM_ERROR;
    }
    tandem_hdf5_array_close(&array);
    return rc;
}

static int read_hashes(const tandem_hdf5_file *file, void **out, size_t *count)
{
    return read_unsigned(file, "hashes", 2, H5T_NATIVE_UINT64, sizeof(uint64_t), out, count);
}

static int read_attributes(const tandem_hdf5_file *file, tandem_token_store *store, const tandem_hash *key)
{
    char hex[TANDEM_HASH_HEX];
    uint64_t vocab = 0, limit = 0, count = 0, complete = 0;
    if (key) {
        tandem_hash_hex(*key, hex);
        TANDEM_TRY(tandem_hdf5_check_key(file, file->id, hex));
    }
    TANDEM_TRY(tandem_hdf5_get_int(file, file->id, "complete", &complete));
    TANDEM_TRY(tandem_hdf5_get_int(file, file->id, "vocab", &vocab));
    TANDEM_TRY(tandem_hdf5_get_int(file, file->id, "limit", &limit));
    TANDEM_TRY(tandem_hdf5_get_int(file, file->id, "count", &count));
    if (complete != 1) {
        return tandem_error("%s: not complete", file->path);
    }
    TANDEM_TRY(tandem_hdf5_get_hash(file, file->id, "tokenizer", store->tokenizer));
    store->vocab = vocab;
    store->limit = limit;
    store->count = count;
    return TANDEM_OK;
}

/* Each text's ids run from one offset to the next: all its tokens, or `limit` of them. */
static int check_offsets(const tandem_token_store *store, const char *path, size_t offsets, size_t totals, size_t ids)
{
    if (offsets == 0 || offsets - 1 != store->count || totals != store->count) {
        return tandem_error("%s: expected %zu totals and one more offset, found %zu and %zu", path, store->count,
                            totals, offsets);
    }
    for (size_t i = 0; i < store->count; i++) {
        uint64_t total = store->totals[i];
        uint64_t expected = tandem_token_store_kept(store, total);
        if (store->offsets[i] > store->offsets[i + 1] || store->offsets[i + 1] - store->offsets[i] != expected) {
            return tandem_error("%s: /offsets: text %zu: expected %llu ids, found %llu to %llu", path, i,
                                (unsigned long long)expected, (unsigned long long)store->offsets[i],
                                (unsigned long long)store->offsets[i + 1]);
        }
    }
    if (store->offsets[0] != 0 || store->offsets[store->count] != ids) {
        return tandem_error("%s: /offsets: expected to run from 0 to %zu, found %llu to %llu", path, ids,
                            (unsigned long long)store->offsets[0], (unsigned long long)store->offsets[store->count]);
    }
    return TANDEM_OK;
}

static int check_ids(const tandem_token_store *store, const char *path, size_t ids)
{
    for (size_t i = 0; i < ids; i++) {
        if (store->ids[i] >= store->vocab) {
            return tandem_error("%s: /ids: entry %zu: expected an id below %zu, found %u", path, i, store->vocab,
                                store->ids[i]);
        }
    }
    return TANDEM_OK;
}

static int read_file(tandem_token_store *store, const char *path, const tandem_hash *key)
{
    tandem_hdf5_file file = TANDEM_HDF5_CLOSED;
    void *offsets = NULL, *totals = NULL, *hashes = NULL, *ids = NULL;
    size_t offset_count = 0, total_count = 0, hash_count = 0, id_count = 0;
    TANDEM_TRY(tandem_hdf5_open(&file, path));
    int rc;
    TANDEM_TRY_GOTO(rc, done, read_attributes(&file, store, key));
    TANDEM_TRY_GOTO(
        rc, done,
        read_unsigned(&file, "offsets", 1, H5T_NATIVE_UINT64, sizeof *store->offsets, &offsets, &offset_count));
    TANDEM_TRY_GOTO(rc, done,
                    read_unsigned(&file, "totals", 1, H5T_NATIVE_UINT32, sizeof *store->totals, &totals, &total_count));
    TANDEM_TRY_GOTO(rc, done, read_hashes(&file, &hashes, &hash_count));
    TANDEM_TRY_GOTO(rc, done, read_unsigned(&file, "ids", 1, H5T_NATIVE_UINT32, sizeof *store->ids, &ids, &id_count));
done:
    store->offsets = offsets;
    store->totals = totals;
    store->hashes = hashes;
    store->ids = ids;
    tandem_hdf5_close(&file);
    TANDEM_TRY(rc);
    TANDEM_TRY(check_offsets(store, path, offset_count, total_count, id_count));
    if (hash_count != store->count) {
        return tandem_error("%s: expected %zu hashes, found %zu", path, store->count, hash_count);
    }
    return check_ids(store, path, id_count);
}

int tandem_token_store_load(tandem_token_store **out, const char *path, const tandem_hash *key)
{
    *out = NULL;
    tandem_token_store *store = tandem_alloc(1, sizeof *store);
    if (!store) {
        return TANDEM_ERROR;
    }
    int rc = tandem_hdf5_begin();
    if (rc == TANDEM_OK) {
        rc = read_file(store, path, key);
        tandem_hdf5_end();
    }
    if (rc < 0) {
        tandem_token_store_free(store);
        return rc;
    }
    *out = store;
    return TANDEM_OK;
}

int tandem_token_store_read(tandem_token_store **out, const char *path, tandem_hash key)
{
    return tandem_token_store_load(out, path, &key);
}

int tandem_token_store_load_hashes(tandem_hash **out, size_t *count, const char *path)
{
    tandem_hdf5_file file = TANDEM_HDF5_CLOSED;
    void *hashes = NULL;
    TANDEM_TRY(tandem_hdf5_begin());
    int rc = tandem_hdf5_open(&file, path);
    if (rc == TANDEM_OK) {
        rc = read_hashes(&file, &hashes, count);
        tandem_hdf5_close(&file);
    }
    tandem_hdf5_end();
    if (rc < 0) {
        free(hashes);
        hashes = NULL;
    }
    *out = hashes;
    return rc;
}
