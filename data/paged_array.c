/* paged_array.c - memory that is an unlinked file. */
#include "data/paged_array.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tandem/file.h"

enum { FIRST_BYTES = 1 << 16 };

/* Some file systems have no files without a name: there it loses its name at once. */
static int open_unnamed(const char *folder)
{
    int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) {
        return file;
    }
    char *path = tandem_path_join(folder, ".paged-XXXXXX");
    file = path ? mkostemp(path, O_CLOEXEC) : -1;
    if (file >= 0) {
        unlink(path);
    }
    free(path);
    return file;
}

int tandem_paged_array_reserve(tandem_paged_array *array, size_t bytes)
{
    if (bytes <= array->bytes) {
        return TANDEM_OK;
    }
    size_t larger = array->bytes > 0 ? array->bytes : FIRST_BYTES;
    while (larger < bytes) {
        if (larger > PTRDIFF_MAX / 2) {
            return tandem_error("an array of %zu bytes is too large", bytes);
        }
        larger *= 2;
    }
    bool first = array->bytes == 0;
    int file = first ? open_unnamed(array->folder) : array->file;
    if (file < 0) {
        return tandem_error("%s: cannot make a temporary file: %s", array->folder, strerror(errno));
    }
    /* Space is taken at once: writing to a hole of a full file system would kill the process. */
    int failed = posix_fallocate(file, (off_t)array->bytes, (off_t)(larger - array->bytes));
    void *data = MAP_FAILED;
    if (!failed) {
        data = first ? mmap(NULL, larger, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
                     : mremap(array->data, array->bytes, larger, MREMAP_MAYMOVE);
        failed = data == MAP_FAILED ? errno : 0;
    }
    if (failed) {
        if (first) {
            close(file);
        }
        return tandem_error("%s: no room for %zu bytes of temporary data: %s", array->folder, larger, strerror(failed));
    }
    array->data = data;
    array->bytes = larger;
    array->file = file;
    return TANDEM_OK;
}

void tandem_paged_array_free(tandem_paged_array *array)
{
    if (array->bytes > 0) {
        munmap(array->data, array->bytes);
        close(array->file);
    }
    *array = (tandem_paged_array){.folder = array->folder};
}
