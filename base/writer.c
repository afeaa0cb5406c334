/* writer.c - a file written aside and renamed when complete, compressed if its name
 * says so. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/input.h"
#include "base/stage.h"
#include "tandem/file.h"
#include "tandem/memory.h"

enum { BUFFER_SIZE = 256 * 1024, ZSTD_LEVEL = 3 };

struct tandem_writer {
    int descriptor;
    char *target;    /* what messages call the file */
    char *temporary; /* NULL: the target is written directly (stdout, a device) */
    ZSTD_CCtx *zstd; /* NULL: not compressed */
    char *buffer;    /* bytes that wait for write(2) */
    size_t used;
    uint64_t offset;
    int failed; /* errno of the first write that failed */
};

static int write_failure(const tandem_writer *writer)
{
    return tandem_error("%s: cannot be written: %s", writer->target, strerror(writer->failed));
}

/* Passes the buffer on to the operating system. */
static int drain(tandem_writer *writer)
{
    size_t done = 0;
    while (done < writer->used && !writer->failed) {
        ssize_t count = write(writer->descriptor, writer->buffer + done, writer->used - done);
        if (count >= 0) {
            done += (size_t)count;
        } else if (errno != EINTR) {
            writer->failed = errno;
        }
    }
    writer->used = 0;
    return writer->failed ? write_failure(writer) : TANDEM_OK;
}

static int write_plain(tandem_writer *writer, const char *data, size_t length)
{
    while (length > 0) {
        size_t room = BUFFER_SIZE - writer->used;
        size_t count = length < room ? length : room;
        memcpy(writer->buffer + writer->used, data, count);
        writer->used += count;
        data += count;
        length -= count;
        if (writer->used == BUFFER_SIZE) {
            TANDEM_TRY(drain(writer));
        }
    }
    return TANDEM_OK;
}

static int write_zstd(tandem_writer *writer, const void *data, size_t length, ZSTD_EndDirective end)
{
    ZSTD_inBuffer in = {data, length, 0};
    for (size_t rest = 1; in.pos < in.size || (end == ZSTD_e_end && rest > 0);) {
        ZSTD_outBuffer out = {writer->buffer, BUFFER_SIZE, writer->used};
        rest = ZSTD_compressStream2(writer->zstd, &out, &in, end);
        if (ZSTD_isError(rest)) {
            writer->failed = EIO;
            return tandem_error("%s: cannot be compressed: %s", writer->target, ZSTD_getErrorName(rest));
        }
        writer->used = out.pos;
        if (writer->used == BUFFER_SIZE) {
            TANDEM_TRY(drain(writer));
        }
    }
    return TANDEM_OK;
}

int tandem_writer_write(tandem_writer *writer, const void *data, size_t length)
{
    if (writer->failed) {
        return write_failure(writer);
    }
    writer->offset += length;
    return writer->zstd ? write_zstd(writer, data, length, ZSTD_e_continue) : write_plain(writer, data, length);
}

int tandem_writer_printf(tandem_writer *writer, const char *format, ...)
{
    char line[1024];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(line, sizeof line, format, arguments);
    int rc = TANDEM_OK;
    if (length < 0) {
        rc = tandem_error("%s: text cannot be formatted", writer->target);
    } else if ((size_t)length < sizeof line) {
        rc = tandem_writer_write(writer, line, (size_t)length);
    } else {
        char *text = tandem_alloc((size_t)length + 1, 1);
        if (text) {
            vsnprintf(text, (size_t)length + 1, format, again);
        }
        rc = text ? tandem_writer_write(writer, text, (size_t)length) : TANDEM_ERROR;
        free(text);
    }
    va_end(again);
    va_end(arguments);
    return rc;
}

uint64_t tandem_writer_offset(const tandem_writer *writer)
{
    return writer->offset;
}

/* A device or a pipe cannot be replaced by rename: it is written as it stands. */
static bool is_special(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

static int open_target(tandem_writer *writer, const char *path)
{
    if (strcmp(path, "-") == 0) {
        fflush(stdout); /* what was printed before comes first */
        writer->descriptor = STDOUT_FILENO;
        writer->target = tandem_strdup("stdout");
        return writer->target ? TANDEM_OK : TANDEM_ERROR;
    }
    bool special = is_special(path);
    writer->target = special ? tandem_strdup(path) : tandem_stage_target(path);
    if (!writer->target) {
        return TANDEM_ERROR;
    }
    if (!special) {
        if (tandem_dir_exists(path)) {
            return tandem_error("%s: cannot be written: it is a directory", path);
        }
        TANDEM_TRY(tandem_stage_parents(writer->target));
        writer->temporary = tandem_stage_name(writer->target);
        if (!writer->temporary) {
            return TANDEM_ERROR;
        }
    }
    int flags = O_WRONLY | O_CLOEXEC | (special ? 0 : O_CREAT | O_EXCL);
    writer->descriptor = open(special ? path : writer->temporary, flags, 0666);
    if (writer->descriptor < 0) {
        int rc = tandem_error("%s: cannot be written: %s", path, strerror(errno));
        free(writer->temporary); /* nothing to remove */
        writer->temporary = NULL;
        return rc;
    }
    return TANDEM_OK;
}

static int open_zstd(tandem_writer *writer)
{
    writer->zstd = ZSTD_createCCtx();
    if (!writer->zstd) {
        return tandem_error("%s: out of memory", writer->target);
    }
    ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_checksumFlag, 1);
    return TANDEM_OK;
}

static int open_writer(tandem_writer **out, const char *path, bool compressed)
{
    tandem_writer *writer = tandem_alloc(1, sizeof *writer);
    if (!writer) {
        return TANDEM_ERROR;
    }
    writer->descriptor = -1;
    writer->buffer = tandem_alloc(BUFFER_SIZE, 1);
    int rc = writer->buffer ? open_target(writer, path) : TANDEM_ERROR;
    if (rc == TANDEM_OK && compressed) {
        rc = open_zstd(writer);
    }
    if (rc < 0) {
        tandem_writer_abort(writer);
        return rc;
    }
    *out = writer;
    return TANDEM_OK;
}

int tandem_writer_open(tandem_writer **out, const char *path)
{
    return open_writer(out, path, tandem_path_has_suffix(path, ".zst"));
}

static int close_descriptor(tandem_writer *writer)
{
    int descriptor = writer->descriptor;
    writer->descriptor = -1;
    if (descriptor >= 0 && descriptor != STDOUT_FILENO && close(descriptor) != 0) {
        return tandem_error("%s: cannot be written: %s", writer->target, strerror(errno));
    }
    return TANDEM_OK;
}

static int finish(tandem_writer *writer)
{
    if (writer->failed) {
        return write_failure(writer);
    }
    if (writer->zstd) {
        TANDEM_TRY(write_zstd(writer, NULL, 0, ZSTD_e_end));
    }
    TANDEM_TRY(drain(writer));
    if (!writer->temporary) {
        return close_descriptor(writer);
    }
    if (fsync(writer->descriptor) != 0) {
        return tandem_error("%s: cannot be synced: %s", writer->target, strerror(errno));
    }
    TANDEM_TRY(close_descriptor(writer));
    if (rename(writer->temporary, writer->target) != 0) {
        return tandem_error("%s: cannot be renamed to %s: %s", writer->temporary, writer->target,
                            strerror(errno));
    }
    free(writer->temporary); /* it is gone: nothing to remove */
    writer->temporary = NULL;
    return tandem_stage_sync_parent(writer->target);
}

int tandem_writer_commit(tandem_writer **writer)
{
    int rc = finish(*writer);
    tandem_writer_abort(*writer);
    *writer = NULL;
    return rc;
}

void tandem_writer_abort(tandem_writer *writer)
{
    if (!writer) {
        return;
    }
    if (writer->descriptor >= 0 && writer->descriptor != STDOUT_FILENO) {
        close(writer->descriptor);
    }
    if (writer->temporary) {
        unlink(writer->temporary);
    }
    ZSTD_freeCCtx(writer->zstd);
    free(writer->buffer);
    free(writer->temporary);
    free(writer->target);
    free(writer);
}

int tandem_file_write(const char *path, const void *data, size_t length)
{
    tandem_writer *writer;
    TANDEM_TRY(tandem_writer_open(&writer, path));
    int rc = tandem_writer_write(writer, data, length);
    if (rc < 0) {
        tandem_writer_abort(writer);
        return rc;
    }
    return tandem_writer_commit(&writer);
}

static int copy_bytes(tandem_writer *writer, int descriptor, const char *from, char *block, size_t size)
{
    for (size_t got = size; got == size;) {
        TANDEM_TRY(tandem_descriptor_read(descriptor, from, block, size, &got));
        TANDEM_TRY(tandem_writer_write(writer, block, got));
    }
    return TANDEM_OK;
}

int tandem_file_copy(const char *from, const char *to)
{
    int descriptor;
    TANDEM_TRY(tandem_descriptor_open(&descriptor, from));
    tandem_writer *writer = NULL;
    int rc = open_writer(&writer, to, false); /* bytes as they are, whatever the name */
    char *block = rc == TANDEM_OK ? tandem_alloc(BUFFER_SIZE, 1) : NULL;
    if (block) {
        rc = copy_bytes(writer, descriptor, from, block, BUFFER_SIZE);
    } else if (rc == TANDEM_OK) {
        rc = TANDEM_ERROR;
    }
    free(block);
    close(descriptor);
    if (rc < 0) {
        tandem_writer_abort(writer);
        return rc;
    }
    return tandem_writer_commit(&writer);
}
