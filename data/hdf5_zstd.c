/* hdf5_zstd.c - the zstd filter of HDF5. */
#include "data/hdf5_zstd.h"

#include <hdf5.h>
#include <stdbool.h>
#include <zstd.h>

static size_t expected_bytes;

void tandem_hdf5_zstd_expect(size_t chunk_bytes)
{
    expected_bytes = chunk_bytes;
}

/* H5Z_func_t: replaces *buffer, of which `used` bytes are filled; 0 is a failure. */
static size_t zstd_filter(unsigned flags, size_t value_count, const unsigned values[], size_t used,
                          size_t *capacity, void **buffer)
{
    bool reading = (flags & H5Z_FLAG_REVERSE) != 0;
    size_t room = reading ? expected_bytes : ZSTD_compressBound(used);
    void *result = H5allocate_memory(room, false);
    if (!result) {
        return 0;
    }
    int level = value_count > 0 ? (int)values[0] : ZSTD_CLEVEL_DEFAULT;
    size_t length = reading ? ZSTD_decompress(result, room, *buffer, used)
                            : ZSTD_compress(result, room, *buffer, used, level);
    if (ZSTD_isError(length) || (reading && length != expected_bytes)) {
        H5free_memory(result);
        return 0;
    }
    H5free_memory(*buffer);
    *buffer = result;
    *capacity = room;
    return length;
}

int tandem_hdf5_zstd_register(void)
{
    static const H5Z_class2_t filter = {
        .version = H5Z_CLASS_T_VERS,
        .id = TANDEM_HDF5_ZSTD,
        .encoder_present = 1,
        .decoder_present = 1,
        .name = "zstd",
        .filter = zstd_filter,
    };
    return H5Zregister(&filter) < 0 ? -1 : 0;
}
