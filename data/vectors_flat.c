/* vectors_flat.c - files that are a header and float32 in rows, and the simplest of them, .fbin. */
#include <string.h>

#include "data/vectors_forms.h"
#include "tandem/file.h"
#include "tandem/memory.h"

int tandem_vectors_flat_write(const char *path, const tandem_vectors *vectors, tandem_vectors_header_fn *header)
{
    char head[TANDEM_VECTORS_HEADER];
    size_t bytes, length = 0;
    if (!tandem_size_mul(&bytes, vectors->count, vectors->dim) ||
        !tandem_size_mul(&bytes, bytes, sizeof *vectors->data) ||
        header(head, &length, vectors->count, vectors->dim) < 0) {
        return tandem_error("%s: %zu rows of %zu floats are too many", path, vectors->count, vectors->dim);
    }
    tandem_writer *writer = NULL;
    TANDEM_TRY(tandem_writer_open(&writer, path));
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_writer_write(writer, head, length));
    if (bytes > 0) {
        TANDEM_TRY_GOTO(rc, done, tandem_writer_write(writer, vectors->data, bytes));
    }
    rc = tandem_writer_commit(&writer);
done:
    tandem_writer_abort(writer);
    return rc;
}

int tandem_vectors_flat_check(const char *path, size_t size, size_t count, size_t dim, size_t begin)
{
    size_t bytes;
    if (!tandem_size_mul(&bytes, count, dim) || !tandem_size_mul(&bytes, bytes, sizeof(float))) {
        return tandem_error("%s: a shape of (%zu, %zu) overflows", path, count, dim);
    }
    if (bytes != size - begin) {
        return tandem_error("%s: expected %zu bytes of data for a shape of (%zu, %zu), found %zu", path, bytes, count,
                            dim, size - begin);
    }
    return TANDEM_OK;
}

int tandem_vectors_flat_read(tandem_vectors *out, const char *path, tandem_vectors_parse_fn *parse)
{
    if (!tandem_file_exists(path)) {
        return tandem_error_code(TANDEM_NOT_FOUND, "%s: no such file", path);
    }
    tandem_map map;
    size_t begin = 0;
    TANDEM_TRY(tandem_map_open(&map, path));
    int rc = parse(map.data, map.size, path, &out->count, &out->dim, &begin);
    if (rc == TANDEM_OK) {
        out->data = tandem_alloc(out->count * out->dim, sizeof *out->data);
        rc = out->data ? TANDEM_OK : TANDEM_ERROR;
    }
    if (rc == TANDEM_OK && out->count * out->dim > 0) {
        memcpy(out->data, map.data + begin, map.size - begin);
    }
    tandem_map_close(&map);
    return rc;
}

/* ---- .fbin -------------------------------------------------------------------------------- */
enum { FBIN_HEADER = 2 * sizeof(uint32_t) };

/* Some readers take the numbers as signed. */
int tandem_fbin_header(char header[TANDEM_VECTORS_HEADER], size_t *length, size_t count, size_t dim)
{
    const uint32_t shape[2] = {(uint32_t)count, (uint32_t)dim};
    if (count > INT32_MAX || dim > INT32_MAX) {
        return TANDEM_ERROR;
    }
    memcpy(header, shape, sizeof shape);
    *length = sizeof shape;
    return TANDEM_OK;
}

int tandem_fbin_parse(const unsigned char *data, size_t size, const char *path, size_t *count, size_t *dim,
                      size_t *begin)
{
    uint32_t shape[2];
    if (size < FBIN_HEADER) {
        return tandem_error("%s: expected a header of %d bytes, found %zu", path, (int)FBIN_HEADER, size);
    }
    memcpy(shape, data, sizeof shape);
    *count = shape[0];
    *dim = shape[1];
    *begin = FBIN_HEADER;
    return tandem_vectors_flat_check(path, size, *count, *dim, *begin);
}
