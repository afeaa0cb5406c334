/* hdf5_util.h - private to data/: the little of HDF5 that tandem uses, with files treated
 * as hostile: no external storage, virtual layout, links or plugins, and every type, shape
 * and chunk checked before memory is taken. */
#ifndef TANDEM_DATA_HDF5_UTIL_H
#define TANDEM_DATA_HDF5_UTIL_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/hash.h"

/* Every call below, and every call of libhdf5, happens between begin and end: the library
 * is not thread-safe everywhere. Begin also makes it silent, switches its plugins off and
 * registers the zstd filter; when it fails, nothing is locked. */
int tandem_hdf5_begin(void);
void tandem_hdf5_end(void);

typedef struct {
    hid_t id;         /* negative: not open */
    const char *path; /* borrowed, for messages */
} tandem_hdf5_file;

#define TANDEM_HDF5_CLOSED {.id = H5I_INVALID_HID}

int tandem_hdf5_create(tandem_hdf5_file *out, const char *path);
int tandem_hdf5_open(tandem_hdf5_file *out, const char *path); /* read-only */
int tandem_hdf5_flush_close(tandem_hdf5_file *file);           /* after writing: a full disk is an error here */
void tandem_hdf5_close(tandem_hdf5_file *file);                /* closed is fine */

/* Sets "path: message (what libhdf5 said)" and returns TANDEM_ERROR. */
int tandem_hdf5_error(const tandem_hdf5_file *file, const char *format, ...) TANDEM_PRINTF(2, 3);

/* ---- attributes of an object (a file's id means its root group) ----------------------- */
int tandem_hdf5_set_string(const tandem_hdf5_file *file, hid_t object, const char *name, const char *value);
int tandem_hdf5_set_int(const tandem_hdf5_file *file, hid_t object, const char *name, uint64_t value);
/* A hash's hexadecimal form, as a string of fixed length: what is read back is not of
 * variable length, since libhdf5 (1.10 at least) does not survive a damaged heap. */
int tandem_hdf5_set_hash(const tandem_hdf5_file *file, hid_t object, const char *name, const char *hex);
/* TANDEM_NOT_FOUND when there is no such attribute. */
int tandem_hdf5_get_hash(const tandem_hdf5_file *file, hid_t object, const char *name, char hex[TANDEM_HASH_HEX]);
int tandem_hdf5_get_int(const tandem_hdf5_file *file, hid_t object, const char *name, uint64_t *out);
/* TANDEM_NOT_FOUND unless the attribute "key" is `hex`. */
int tandem_hdf5_check_key(const tandem_hdf5_file *file, hid_t object, const char *hex);

/* ---- arrays ------------------------------------------------------------------------------ */
#define TANDEM_HDF5_MAX_DIMS 2

typedef struct {
    hid_t id; /* negative: not open */
    const char *name;
    int dims;
    hsize_t shape[TANDEM_HDF5_MAX_DIMS];
    size_t elements;    /* product of the shape */
    size_t chunk_bytes; /* of one uncompressed chunk, once read; 0: contiguous */
    H5T_class_t type;
    size_t type_bytes;
} tandem_hdf5_array;

#define TANDEM_HDF5_NO_ARRAY {.id = H5I_INVALID_HID}

bool tandem_hdf5_exists(const tandem_hdf5_file *file, const char *name);
/* Opens array `name` of the root group: a hard link, `dims` dimensions, not stored in another
 * file. */
int tandem_hdf5_array_open(tandem_hdf5_array *out, const tandem_hdf5_file *file, const char *name, int dims);
void tandem_hdf5_array_close(tandem_hdf5_array *array); /* closed is fine */
/* All elements as `memory_type`; `out` has room for array->elements of it. They must be in the
 * file in full, uncompressed or by zstd. */
int tandem_hdf5_array_read(tandem_hdf5_array *array, const tandem_hdf5_file *file, hid_t memory_type, void *out);

/* True when the elements lie in the file in one run, little-endian float32, from byte *begin on. */
bool tandem_hdf5_array_begin(uint64_t *begin, const tandem_hdf5_array *array);

/* Writes an array into the root group: `shape` [dims], of `memory_type` in memory and
 * `file_type` on disk; `zstd` for compressed chunks of 1 MiB, else contiguous. *created
 * (which may be NULL) gets the array, to be closed by H5Dclose. */
int tandem_hdf5_array_write(const tandem_hdf5_file *file, const char *name, int dims, const hsize_t *shape,
                            hid_t file_type, hid_t memory_type, const void *data, bool zstd, hid_t *created);

#endif
