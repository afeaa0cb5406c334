/* file.c - paths, directories, whole files and memory maps. */
#include "tandem/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/input.h"
#include "tandem/memory.h"

bool tandem_file_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISDIR(status.st_mode);
}

bool tandem_dir_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

char *tandem_path_join(const char *directory, const char *name)
{
    tandem_buffer path = TANDEM_BUFFER_INIT;
    size_t length = strlen(directory);
    const char *slash = length > 0 && directory[length - 1] == '/' ? "" : "/";
    if (tandem_buffer_printf(&path, "%s%s%s", directory, slash, name) < 0) {
        tandem_buffer_free(&path);
        return NULL;
    }
    return tandem_buffer_take(&path);
}

const char *tandem_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool ends_with(const char *text, size_t length, const char *suffix)
{
    size_t size = strlen(suffix);
    return length >= size && memcmp(text + length - size, suffix, size) == 0;
}

bool tandem_path_has_suffix(const char *path, const char *suffix)
{
    size_t length = strlen(path);
    return ends_with(path, length, suffix) ||
           (ends_with(path, length, ".zst") && ends_with(path, length - strlen(".zst"), suffix));
}

static int make_one(const char *path)
{
    if (mkdir(path, 0777) != 0 && !(errno == EEXIST && tandem_dir_exists(path))) {
        return tandem_error("%s: the directory cannot be made: %s", path, strerror(errno));
    }
    return TANDEM_OK;
}

int tandem_dir_make(const char *path)
{
    char *part = tandem_strdup(path);
    if (!part) {
        return TANDEM_ERROR;
    }
    int rc = TANDEM_OK;
    for (char *at = part + 1; rc == TANDEM_OK && *part && *at; at++) {
        if (*at == '/' && at[-1] != '/') {
            *at = '\0';
            rc = tandem_dir_exists(part) ? TANDEM_OK : make_one(part);
            *at = '/';
        }
    }
    free(part);
    return rc < 0 ? rc : make_one(path);
}

/* A positive value tells a failure here, whose message is set, from one of nftw's. */
static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    if (remove(path) != 0 && errno != ENOENT) {
        tandem_error("%s: cannot be removed: %s", path, strerror(errno));
        return 1;
    }
    return 0;
}

int tandem_dir_remove(const char *path)
{
    int rc = nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (rc < 0 && errno != ENOENT) {
        return tandem_error("%s: cannot be removed: %s", path, strerror(errno));
    }
    return rc > 0 ? TANDEM_ERROR : TANDEM_OK;
}

/* ---- whole files ------------------------------------------------------------- */
static int read_all(tandem_buffer *out, tandem_input *input)
{
    size_t hint = tandem_input_size_hint(input);
    void *room = NULL;
    /* One byte for the NUL and one so that the end is seen without growing. */
    if (hint < SIZE_MAX - 2) {
        TANDEM_TRY(tandem_grow(&room, &out->capacity, hint + 2, 1));
        out->data = room;
    }
    for (size_t got = 1; got > 0;) {
        if (out->capacity - out->length < 2) {
            void *data = out->data;
            TANDEM_TRY(tandem_grow(&data, &out->capacity, out->capacity + 1, 1));
            out->data = data;
        }
        TANDEM_TRY(tandem_input_read(input, out->data + out->length, out->capacity - out->length - 1, &got));
        out->length += got;
    }
    out->data[out->length] = '\0';
    return TANDEM_OK;
}

int tandem_file_read(char **data, size_t *size, const char *path)
{
    tandem_input *input;
    TANDEM_TRY(tandem_input_open(&input, path));
    tandem_buffer bytes = TANDEM_BUFFER_INIT;
    int rc = read_all(&bytes, input);
    tandem_input_close(input);
    if (rc < 0) {
        tandem_buffer_free(&bytes);
        return rc;
    }
    *size = bytes.length;
    *data = tandem_buffer_take(&bytes);
    return TANDEM_OK;
}

/* ---- memory map ---------------------------------------------------------------- */
static int map_descriptor(tandem_map *out, int descriptor, const char *path)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0) {
        return tandem_error("%s: cannot be read: %s", path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return tandem_error("%s: not a regular file", path);
    }
    *out = (tandem_map){NULL, (size_t)status.st_size};
    if (out->size == 0) {
        return TANDEM_OK;
    }
    void *data = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) {
        *out = (tandem_map){NULL, 0};
        return tandem_error("%s: cannot be mapped: %s", path, strerror(errno));
    }
    out->data = data;
    return TANDEM_OK;
}

int tandem_map_open(tandem_map *out, const char *path)
{
    int descriptor;
    TANDEM_TRY(tandem_descriptor_open(&descriptor, path));
    int rc = map_descriptor(out, descriptor, path);
    close(descriptor);
    return rc;
}

void tandem_map_release(const void *data, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)data, end = (first + bytes) / page * page;
    first = (first + page - 1) / page * page;
    if (first < end) {
        madvise((void *)first, end - first, MADV_DONTNEED); /* advice: nothing is lost where it fails */
    }
}

void tandem_map_close(tandem_map *map)
{
    if (map && map->data) {
        munmap((void *)(uintptr_t)map->data, map->size);
    }
    if (map) {
        *map = (tandem_map){NULL, 0};
    }
}
