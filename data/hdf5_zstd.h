/* hdf5_zstd.h - private to data/: HDF5's registered zstd filter, over libzstd. */
#ifndef TANDEM_DATA_HDF5_ZSTD_H
#define TANDEM_DATA_HDF5_ZSTD_H

#include <stddef.h>

/* The number that The HDF Group registered; Python reads it through hdf5plugin. Client data
 * [0] is the level. */
#define TANDEM_HDF5_ZSTD 32015

int tandem_hdf5_zstd_register(void); /* negative on failure; again is fine */

/* Bytes that every chunk read from now on must have, neither more (a bomb) nor less (libhdf5
 * would read past the buffer); 0: what its frame says. Guarded, as all of HDF5 here, by
 * tandem_hdf5_begin. */
void tandem_hdf5_zstd_expect(size_t chunk_bytes);

#endif
