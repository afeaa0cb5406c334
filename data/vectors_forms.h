/* vectors_forms.h - private to data/: the forms in which vectors lie on disk. */
#ifndef TANDEM_DATA_VECTORS_FORMS_H
#define TANDEM_DATA_VECTORS_FORMS_H

#include <stddef.h>

#include "tandem/vectors.h"

/* ---- HDF5 (vectors_hdf5.c) --------------------------------------------------------------- */
int tandem_vectors_hdf5_write(const char *path, const tandem_vectors *vectors, const tandem_text *ids,
                              const tandem_vectors_origin *origin);
int tandem_vectors_hdf5_read(tandem_vectors *out, const char *path, const tandem_hash *key);
/* Into out [count], in `arena`. TANDEM_NOT_FOUND when the file has no /ids. */
int tandem_vectors_hdf5_ids(tandem_text *out, tandem_arena *arena, const char *path, size_t count);

/* ---- a header and float32 in rows (vectors_flat.c) ------------------------------------------ */
enum { TANDEM_VECTORS_HEADER = 192 /* bytes, at most, of what is written */ };

/* The header of these vectors; its length in *length. */
typedef int tandem_vectors_header_fn(char header[TANDEM_VECTORS_HEADER], size_t *length, size_t count, size_t dim);
/* Reads the header of a file of `size` bytes: its shape, and where its data begins. The size
 * is checked against the shape. `path` is for messages. */
typedef int tandem_vectors_parse_fn(const unsigned char *data, size_t size, const char *path, size_t *count,
                                    size_t *dim, size_t *begin);

int tandem_vectors_flat_write(const char *path, const tandem_vectors *vectors, tandem_vectors_header_fn *header);
int tandem_vectors_flat_read(tandem_vectors *out, const char *path, tandem_vectors_parse_fn *parse);
/* For parsers: count * dim floats are what follows `begin`. */
int tandem_vectors_flat_check(const char *path, size_t size, size_t count, size_t dim, size_t begin);

/* NumPy's .npy (vectors_npy.c): "\x93NUMPY", version (1, 0), u16 little-endian header length (u32 in
 * versions 2 and 3), a Python dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (n, d), }
 * padded with spaces and ended by a newline so that the data begins at a multiple of 64.
 * (NumPy Enhancement Proposal 1.) */
tandem_vectors_header_fn tandem_npy_header;
tandem_vectors_parse_fn tandem_npy_parse;

/* .fbin, the form of the benchmarks of approximate search (big-ann-benchmarks): n and d as u32, little-endian. */
tandem_vectors_header_fn tandem_fbin_header;
tandem_vectors_parse_fn tandem_fbin_parse;

#endif
