/* vectors_npy.h - private to data/: NumPy's .npy, float32 matrices in C order.
 *
 * The bytes: "\x93NUMPY", version (1, 0), u16 little-endian header length (u32 in versions 2
 * and 3), a Python dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (n, d), }
 * padded with spaces and ended by a newline so that the data begins at a multiple of 64, then
 * n * d floats. (NumPy Enhancement Proposal 1.) */
#ifndef TANDEM_DATA_VECTORS_NPY_H
#define TANDEM_DATA_VECTORS_NPY_H

#include <stddef.h>

#include "tandem/vectors.h"

int tandem_npy_write(const char *path, const tandem_vectors *vectors);
int tandem_npy_read(tandem_vectors *out, const char *path);

/* Reads the header of a file of `size` bytes: its shape, and where its data begins. The size
 * is checked against the shape. `path` is for messages. */
int tandem_npy_parse(const unsigned char *data, size_t size, const char *path, size_t *count, size_t *dim, size_t *begin);

#endif
