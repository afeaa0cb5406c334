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

/* Bytes that a frame decompresses to: what is expected, else what the frame says; 0: unknown. */
static size_t decompressed_size(const void *frame, size_t length)
{
    const unsigned long long largest = 64 << 20;
    unsigned long long said = expected_bytes > 0 ? expected_bytes : ZSTD_getFrameContentSize(frame, length);
    return expected_bytes > 0 || said <= largest ? (size_t)said : 0;
}

/* One frame with a checksum: a damaged file must not give other ids. */
static size_t compress(void *out, size_t room, const void *data, size_t length, int level)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (!context) {
        return 0;
    }
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t written = ZSTD_compress2(context, out, room, data, length);
    ZSTD_freeCCtx(context);
    return written;
}

/* H5Z_func_t: replaces *buffer, of which `used` bytes are filled; 0 is a failure. */
static size_t zstd_filter(unsigned flags, size_t value_count, const unsigned values[], size_t used,
                          size_t *capacity, void **buffer)
{
    bool reading = (flags & H5Z_FLAG_REVERSE) != 0;
    size_t room = reading ? decompressed_size(*buffer, used) : ZSTD_compressBound(used);
    void *result = room > 0 ? H5allocate_memory(room, false) : NULL;
    if (!result) {
        return 0;
    }
    int level = value_count > 0 ? (int)values[0] : ZSTD_CLEVEL_DEFAULT;
    size_t length = reading ? ZSTD_decompress(result, room, *buffer, used)
                            : compress(result, room, *buffer, used, level);
    if (ZSTD_isError(length) || length == 0 || (reading && length != room)) {
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
