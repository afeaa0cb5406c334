/* vectors_hdf5.c - embeddings and their ids in HDF5. */
#include <stdlib.h>
#include <string.h>

#include "data/hdf5_util.h"
#include "data/vectors_forms.h"
#include "tandem/file.h"
#include "tandem/memory.h"

/* ---- writing ------------------------------------------------------------------------- */
/* Strings of fixed length, as long as the longest id, zeros after the shorter ones: they can be read back without
 * libhdf5's heap (hdf5_util.h, on attributes). */
static int write_ids(const tandem_hdf5_file *file, const tandem_text *ids, size_t count)
{
    size_t longest = 1;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(ids[i].id);
        longest = length > longest ? length : longest;
    }
    char *strings = tandem_alloc(count, longest);
    if (!strings) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(strings + i * longest, ids[i].id, strlen(ids[i].id));
    }
    hsize_t shape = count;
    hid_t type = H5Tcopy(H5T_C_S1);
    int rc = H5Tset_size(type, longest) < 0 || H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 ||
                     H5Tset_cset(type, H5T_CSET_UTF8) < 0
                 ? tandem_hdf5_error(file, "no type for strings")
                 : tandem_hdf5_array_write(file, "ids", 1, &shape, type, type, strings, false, NULL);
    H5Tclose(type);
    free(strings);
    return rc;
}

static int write_attributes(const tandem_hdf5_file *file, hid_t array, const tandem_vectors_origin *origin, size_t count)
{
    if (origin) {
        char hex[TANDEM_HASH_HEX];
        tandem_hash_hex(origin->key, hex);
        TANDEM_TRY(tandem_hdf5_set_hash(file, array, "key", hex));
        TANDEM_TRY(tandem_hdf5_set_string(file, array, "weights", origin->weights));
        TANDEM_TRY(tandem_hdf5_set_string(file, array, "tokenizer", origin->tokenizer));
        TANDEM_TRY(tandem_hdf5_set_string(file, array, "prompt", origin->prompt));
        TANDEM_TRY(tandem_hdf5_set_string(file, array, "pooling", origin->pooling));
        TANDEM_TRY(tandem_hdf5_set_int(file, array, "max_length", origin->max_length));
        TANDEM_TRY(tandem_hdf5_set_int(file, array, "normalized", origin->normalized));
    }
    TANDEM_TRY(tandem_hdf5_set_int(file, array, "count", count));
    return tandem_hdf5_set_int(file, array, "complete", 1);
}

/* /embeddings is contiguous: its size is known, float32 hardly compresses (8 % by zstd),
 * and so the rows can be mapped into memory. */
static int write_hdf5(const char *path, const tandem_vectors *vectors, const tandem_text *ids,
                      const tandem_vectors_origin *origin)
{
    tandem_hdf5_file file;
    hid_t array = H5I_INVALID_HID;
    hsize_t shape[2] = {vectors->count, vectors->dim};
    TANDEM_TRY(tandem_hdf5_create(&file, path));
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_hdf5_array_write(&file, "embeddings", 2, shape, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT,
                                                      vectors->data, false, &array));
    if (ids) {
        TANDEM_TRY_GOTO(rc, done, write_ids(&file, ids, vectors->count));
    }
    TANDEM_TRY_GOTO(rc, done, write_attributes(&file, array, origin, vectors->count));
    H5Dclose(array);
    array = H5I_INVALID_HID;
    rc = tandem_hdf5_flush_close(&file);
done:
    if (array >= 0) {
        H5Dclose(array);
    }
    tandem_hdf5_close(&file);
    return rc;
}

int tandem_vectors_hdf5_write(const char *path, const tandem_vectors *vectors, const tandem_text *ids,
                              const tandem_vectors_origin *origin)
{
    char *staged = NULL;
    TANDEM_TRY(tandem_stage_file(&staged, path));
    int rc = tandem_hdf5_begin();
    if (rc == TANDEM_OK) {
        rc = write_hdf5(staged, vectors, ids, origin);
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
/* A file of tandem's says that it is complete; one of other tools need not, unless it is
 * asked for by key. */
static int check_attributes(const tandem_hdf5_file *file, hid_t array, const tandem_hash *key, size_t count)
{
    uint64_t complete = 0, recorded = count;
    if (key) {
        char hex[TANDEM_HASH_HEX];
        tandem_hash_hex(*key, hex);
        TANDEM_TRY(tandem_hdf5_check_key(file, array, hex));
    }
    int rc = tandem_hdf5_get_int(file, array, "complete", &complete);
    if (rc == TANDEM_NOT_FOUND && !key) {
        return TANDEM_OK;
    }
    TANDEM_TRY(rc);
    TANDEM_TRY(tandem_hdf5_get_int(file, array, "count", &recorded));
    if (complete != 1) {
        return tandem_error("%s: not complete", file->path);
    }
    if (recorded != count) {
        return tandem_error("%s: expected %llu rows (attribute \"count\"), found %zu", file->path,
                            (unsigned long long)recorded, count);
    }
    return TANDEM_OK;
}

static int check_ids(const tandem_hdf5_file *file, size_t count)
{
    if (!tandem_hdf5_exists(file, "ids")) {
        return TANDEM_OK;
    }
    tandem_hdf5_array ids;
    TANDEM_TRY(tandem_hdf5_array_open(&ids, file, "ids", 1));
    size_t found = ids.elements;
    H5T_class_t type = ids.type;
    tandem_hdf5_array_close(&ids);
    if (type != H5T_STRING || found != count) {
        return tandem_error("%s: /ids: expected %zu strings, one a row, found %zu of HDF5 class %d", file->path, count,
                            found, (int)type);
    }
    return TANDEM_OK;
}

/* Maps the rows where they lie in the file as in memory; else leaves out->data NULL. */
static int map_rows(tandem_vectors *out, const tandem_hdf5_file *file, const tandem_hdf5_array *array)
{
    uint64_t begin;
    size_t bytes = array->elements * sizeof(float); /* less than the machine's memory: array_open */
    if (bytes == 0 || !tandem_hdf5_array_begin(&begin, array) || begin % sizeof(float) != 0) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_map_open(&out->map, file->path));
    if (begin > out->map.size || bytes > out->map.size - begin) {
        tandem_map_close(&out->map);
        return tandem_error("%s: expected %zu bytes of /embeddings at byte %llu, found the end of the file",
                            file->path, bytes, (unsigned long long)begin);
    }
    out->data = (float *)(uintptr_t)(out->map.data + begin);
    return TANDEM_OK;
}

static int read_embeddings(tandem_vectors *out, const tandem_hdf5_file *file, const tandem_hash *key)
{
    tandem_hdf5_array array;
    TANDEM_TRY(tandem_hdf5_array_open(&array, file, "embeddings", 2));
    int rc = TANDEM_OK;
    if (array.type != H5T_FLOAT || array.type_bytes != sizeof(float)) {
        rc = tandem_error("%s: /embeddings: expected float32", file->path);
        goto done;
    }
    out->count = (size_t)array.shape[0];
    out->dim = (size_t)array.shape[1];
    TANDEM_TRY_GOTO(rc, done, check_attributes(file, array.id, key, out->count));
    TANDEM_TRY_GOTO(rc, done, check_ids(file, out->count));
    if (key) {
        TANDEM_TRY_GOTO(rc, done, map_rows(out, file, &array));
    }
    if (!out->data) {
        out->data = tandem_alloc(array.elements, sizeof *out->data);
        rc = out->data ? tandem_hdf5_array_read(&array, file, H5T_NATIVE_FLOAT, out->data) : TANDEM_ERROR;
    }
done:
    tandem_hdf5_array_close(&array);
    return rc;
}

int tandem_vectors_hdf5_read(tandem_vectors *out, const char *path, const tandem_hash *key)
{
    tandem_hdf5_file file = TANDEM_HDF5_CLOSED;
    TANDEM_TRY(tandem_hdf5_begin());
    int rc = tandem_hdf5_open(&file, path);
    if (rc == TANDEM_OK) {
        rc = read_embeddings(out, &file, key);
    }
    tandem_hdf5_close(&file);
    tandem_hdf5_end();
    return rc;
}

/* The array's type with zeros after the shorter strings; negative for strings of variable length. */
static hid_t padded_type(const tandem_hdf5_array *array)
{
    hid_t stored = H5Dget_type(array->id), type = H5Tcopy(stored);
    H5Tclose(stored);
    if (H5Tis_variable_str(type) == 0 && H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0) {
        return type;
    }
    H5Tclose(type);
    return H5I_INVALID_HID;
}

/* The strings of /ids, each of *length bytes; the caller frees. */
static int read_strings(char **out, size_t *length, const tandem_hdf5_file *file, size_t count)
{
    tandem_hdf5_array array;
    TANDEM_TRY(tandem_hdf5_array_open(&array, file, "ids", 1));
    hid_t type = array.type == H5T_STRING && array.elements == count ? padded_type(&array) : H5I_INVALID_HID;
    int rc = TANDEM_ERROR;
    if (type < 0) {
        rc = tandem_error("%s: /ids: expected %zu strings of fixed length; ids can also be given as a list", file->path,
                          count);
    } else {
        *length = array.type_bytes;
        *out = tandem_alloc(count, *length);
        if (*out) {
            rc = tandem_hdf5_array_read(&array, file, type, *out);
        }
        H5Tclose(type);
    }
    tandem_hdf5_array_close(&array);
    return rc;
}

int tandem_vectors_hdf5_ids(tandem_text *out, tandem_arena *arena, const char *path, size_t count)
{
    tandem_hdf5_file file = TANDEM_HDF5_CLOSED;
    char *strings = NULL;
    size_t length = 0;
    TANDEM_TRY(tandem_hdf5_begin());
    int rc = tandem_hdf5_open(&file, path);
    if (rc == TANDEM_OK) {
        rc = tandem_hdf5_exists(&file, "ids") ? read_strings(&strings, &length, &file, count)
                                              : tandem_error_code(TANDEM_NOT_FOUND, "%s: no array /ids", path);
    }
    tandem_hdf5_close(&file);
    tandem_hdf5_end();
    for (size_t i = 0; i < count && rc == TANDEM_OK; i++) {
        const char *string = strings + i * length;
        out[i] = (tandem_text){.id = tandem_arena_strndup(arena, string, strnlen(string, length)), .text = ""};
        rc = out[i].id ? TANDEM_OK : TANDEM_ERROR;
    }
    free(strings);
    return rc;
}
