/* vectors.c - embeddings on disk: the choice of form by name, and the ids of rows. */
#include "tandem/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/vectors_forms.h"
#include "tandem/file.h"
#include "tandem/memory.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors lie in files as in memory: little-endian");

void tandem_vectors_free(tandem_vectors *vectors)
{
    if (vectors->map.data) {
        tandem_map_close(&vectors->map);
    } else {
        free(vectors->data);
    }
    *vectors = (tandem_vectors){0};
}

/* ---- forms ---------------------------------------------------------------------------- */
/* A form is HDF5, or a header and floats. */
typedef struct {
    const char *suffix;
    tandem_vectors_header_fn *header;
    tandem_vectors_parse_fn *parse;
} form;

static const form forms[] = {
    {".h5", NULL, NULL},
    {".npy", tandem_npy_header, tandem_npy_parse},
    {".fbin", tandem_fbin_header, tandem_fbin_parse},
};

static int find_form(const form **out, const char *path)
{
    size_t length = strlen(path);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t suffix = strlen(forms[i].suffix);
        if (length > suffix && strcmp(path + length - suffix, forms[i].suffix) == 0) {
            *out = &forms[i];
            return TANDEM_OK;
        }
    }
    return tandem_error_code(TANDEM_USAGE, "%s: expected a name that ends in .h5, .npy or .fbin", path);
}

int tandem_vectors_check_name(const char *path)
{
    const form *found;
    return find_form(&found, path);
}

bool tandem_vectors_keep_origin(const char *path)
{
    const form *found;
    return find_form(&found, path) == TANDEM_OK && found->header == NULL;
}

int tandem_vectors_write(const char *path, const tandem_vectors *vectors, const tandem_text *ids,
                         const tandem_vectors_origin *origin)
{
    const form *as;
    TANDEM_TRY(find_form(&as, path));
    return as->header ? tandem_vectors_flat_write(path, vectors, as->header)
                      : tandem_vectors_hdf5_write(path, vectors, ids, origin);
}

int tandem_vectors_read(tandem_vectors *out, const char *path, const tandem_hash *key)
{
    const form *as;
    *out = (tandem_vectors){0};
    TANDEM_TRY(find_form(&as, path));
    int rc = as->parse ? tandem_vectors_flat_read(out, path, as->parse) : tandem_vectors_hdf5_read(out, path, key);
    if (rc < 0) {
        tandem_vectors_free(out);
    }
    return rc;
}

/* ---- ids -------------------------------------------------------------------------------- */
/* Row numbers, where nothing else is known. */
static int number_rows(tandem_text *ids, tandem_arena *arena, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char digits[24];
        int length = snprintf(digits, sizeof digits, "%zu", i);
        ids[i] = (tandem_text){.id = tandem_arena_strndup(arena, digits, (size_t)length), .text = ""};
        if (!ids[i].id) {
            return TANDEM_ERROR;
        }
    }
    return TANDEM_OK;
}

/* One a line, in the order of the rows. */
static int read_list(tandem_text *ids, tandem_arena *arena, const char *path, size_t count)
{
    tandem_lines *lines;
    char *line;
    size_t length, found = 0;
    TANDEM_TRY(tandem_lines_open(&lines, path));
    int rc;
    while ((rc = tandem_lines_next(lines, &line, &length)) == 1) {
        if (found < count) {
            ids[found] = (tandem_text){.id = tandem_arena_strndup(arena, line, length), .text = ""};
            if (!ids[found].id) {
                rc = TANDEM_ERROR;
                break;
            }
        }
        found++;
    }
    tandem_lines_close(lines);
    TANDEM_TRY(rc);
    return found == count ? TANDEM_OK : tandem_error("%s: expected %zu ids, one a row, found %zu", path, count, found);
}

/* Ids name one row each. */
static int check_ids(const tandem_text *ids, size_t count, const char *path)
{
    tandem_strmap *rows = tandem_strmap_new(count);
    int rc = rows ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; i < count && rc == TANDEM_OK; i++) {
        size_t length = strlen(ids[i].id), first = 0;
        if (length == 0 || tandem_utf8_invalid(ids[i].id, length) < length) {
            rc = tandem_error("%s: the id of row %zu is %s", path, i, length == 0 ? "empty" : "no UTF-8");
            break;
        }
        int added = tandem_strmap_add(rows, ids[i].id, length, i, &first);
        rc = added == 0 ? tandem_error("%s: rows %zu and %zu have one id, \"%s\"", path, first, i, ids[i].id)
                        : added < 0 ? added : TANDEM_OK;
    }
    tandem_strmap_free(rows);
    return rc;
}

int tandem_vectors_ids(tandem_text **out, tandem_arena *arena, const char *path, const char *list, size_t count)
{
    const form *as;
    *out = NULL;
    TANDEM_TRY(find_form(&as, path));
    tandem_text *ids = tandem_alloc(count, sizeof *ids);
    if (!ids) {
        return TANDEM_ERROR;
    }
    int rc = list         ? read_list(ids, arena, list, count)
             : !as->parse ? tandem_vectors_hdf5_ids(ids, arena, path, count)
                          : TANDEM_NOT_FOUND;
    rc = rc == TANDEM_NOT_FOUND && !list ? number_rows(ids, arena, count)
         : rc == TANDEM_OK               ? check_ids(ids, count, list ? list : path)
                                         : rc;
    if (rc < 0) {
        free(ids);
        return rc;
    }
    *out = ids;
    return TANDEM_OK;
}
