/* input.c - bytes of a file or of stdin, through zstd or gzip where its magic number says so. */
#include "base/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "tandem/memory.h"

struct tandem_input {
    int descriptor;
    char *path;
    ZSTD_DCtx *zstd;  /* both NULL: the bytes are given as they are */
    z_stream *gzip;
    bool inside;      /* a zstd frame or gzip member has begun and is not complete */
    ZSTD_inBuffer in; /* what was read and not yet given */
    size_t capacity;
};

int tandem_descriptor_open(int *out, const char *path)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return tandem_error_code(errno == ENOENT || errno == ENOTDIR ? TANDEM_NOT_FOUND : TANDEM_ERROR,
                                 "%s: cannot be read: %s", path, strerror(errno));
    }
    *out = descriptor;
    return TANDEM_OK;
}

int tandem_descriptor_read(int descriptor, const char *path, void *data, size_t size, size_t *got)
{
    unsigned char *bytes = data;
    size_t done = 0;
    while (done < size) {
        ssize_t count = read(descriptor, bytes + done, size - done);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return tandem_error("%s: cannot be read: %s", path, strerror(errno));
        }
        if (count == 0) {
            break;
        }
        done += (size_t)count;
    }
    *got = done;
    return TANDEM_OK;
}

/* RFC 8878: a Zstandard frame, or a skippable one (which pzstd writes first). */
static bool is_zstd(const unsigned char *data, size_t size)
{
    if (size < 4) {
        return false;
    }
    uint32_t magic = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
                     (uint32_t)data[3] << 24;
    return magic == ZSTD_MAGICNUMBER || (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

/* RFC 1952: a gzip member with the only compression method that there is. */
static bool is_gzip(const unsigned char *data, size_t size)
{
    return size >= 3 && data[0] == 0x1F && data[1] == 0x8B && data[2] == Z_DEFLATED;
}

static int open_gzip(tandem_input *input)
{
    input->gzip = tandem_alloc(1, sizeof *input->gzip);
    if (!input->gzip) {
        return TANDEM_ERROR;
    }
    int rc = inflateInit2(input->gzip, 16 + MAX_WBITS); /* 16: gzip's header and checksum */
    return rc == Z_OK ? TANDEM_OK : tandem_error("%s: out of memory", input->path);
}

/* Reads once what is there, so that lines of a pipe come as they are written. */
static int refill(tandem_input *input)
{
    void *buffer = (void *)(uintptr_t)input->in.src; /* ours, although zstd sees it const */
    ssize_t count;
    do {
        count = read(input->descriptor, buffer, input->capacity);
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        return tandem_error("%s: cannot be read: %s", input->path, strerror(errno));
    }
    input->in.size = (size_t)count;
    input->in.pos = 0;
    return TANDEM_OK;
}

/* The first four bytes decide; a pipe may give fewer at once. */
static int read_magic(tandem_input *input)
{
    unsigned char *buffer = (void *)(uintptr_t)input->in.src;
    TANDEM_TRY(tandem_descriptor_read(input->descriptor, input->path, buffer, 4, &input->in.size));
    if (is_gzip(buffer, input->in.size)) {
        return open_gzip(input);
    }
    if (!is_zstd(buffer, input->in.size)) {
        return TANDEM_OK;
    }
    input->zstd = ZSTD_createDCtx();
    return input->zstd ? TANDEM_OK : tandem_error("%s: out of memory", input->path);
}

int tandem_input_open(tandem_input **out, const char *path)
{
    tandem_input *input = tandem_alloc(1, sizeof *input);
    if (!input) {
        return TANDEM_ERROR;
    }
    bool standard = strcmp(path, "-") == 0;
    input->descriptor = -1;
    input->capacity = ZSTD_DStreamInSize();
    input->in.src = tandem_alloc(input->capacity, 1);
    input->path = tandem_strdup(standard ? "stdin" : path);
    int rc = input->in.src && input->path ? TANDEM_OK : TANDEM_ERROR;
    if (rc == TANDEM_OK && standard) {
        input->descriptor = STDIN_FILENO;
    } else if (rc == TANDEM_OK) {
        rc = tandem_descriptor_open(&input->descriptor, path);
    }
    if (rc == TANDEM_OK) {
        rc = read_magic(input);
    }
    if (rc < 0) {
        tandem_input_close(input);
        return rc;
    }
    *out = input;
    return TANDEM_OK;
}

static int read_plain(tandem_input *input, void *data, size_t size, size_t *got)
{
    if (input->in.pos == input->in.size) {
        TANDEM_TRY(refill(input));
    }
    size_t count = input->in.size - input->in.pos;
    count = count < size ? count : size;
    memcpy(data, (const char *)input->in.src + input->in.pos, count);
    input->in.pos += count;
    *got = count;
    return TANDEM_OK;
}

static int read_zstd(tandem_input *input, void *data, size_t size, size_t *got)
{
    ZSTD_outBuffer produced = {data, size, 0};
    while (produced.pos == 0) {
        bool ended = false;
        if (input->in.pos == input->in.size) {
            TANDEM_TRY(refill(input));
            ended = input->in.size == 0;
        }
        if (ended && !input->inside) {
            break;
        }
        /* At the end of the file the decoder may still hold bytes to give. */
        size_t rest = ZSTD_decompressStream(input->zstd, &produced, &input->in);
        if (ZSTD_isError(rest)) {
            return tandem_error("%s: bad zstd data: %s", input->path, ZSTD_getErrorName(rest));
        }
        input->inside = rest != 0;
        if (ended && produced.pos == 0 && input->inside) {
            return tandem_error("%s: truncated: the last zstd frame is not complete", input->path);
        }
    }
    *got = produced.pos;
    return TANDEM_OK;
}

/* A member ended: true when another one follows at once, as bgzip and `cat` leave them. */
static int next_member(tandem_input *input, bool *more)
{
    if (input->in.pos == input->in.size) {
        TANDEM_TRY(refill(input));
    }
    *more = input->in.pos < input->in.size;
    return !*more || inflateReset(input->gzip) == Z_OK ? TANDEM_OK : tandem_error("%s: bad gzip data", input->path);
}

/* One call of inflate(); *done tells that the last member is complete. */
static int inflate_some(tandem_input *input, bool *done)
{
    z_stream *gzip = input->gzip;
    if (input->in.pos == input->in.size) {
        TANDEM_TRY(refill(input));
        if (input->in.size == 0 && input->inside) {
            return tandem_error("%s: truncated: the last gzip member is not complete", input->path);
        }
        *done = input->in.size == 0;
    }
    size_t available = input->in.size - input->in.pos;
    gzip->next_in = (Bytef *)(uintptr_t)input->in.src + input->in.pos;
    gzip->avail_in = (uInt)available; /* at most the buffer: some 128 KiB */
    input->inside = input->inside || available > 0;
    int rc = inflate(gzip, Z_NO_FLUSH);
    input->in.pos += available - gzip->avail_in;
    if (rc == Z_STREAM_END) {
        bool more;
        input->inside = false;
        TANDEM_TRY(next_member(input, &more));
        *done = !more;
        return TANDEM_OK;
    }
    return rc == Z_OK || rc == Z_BUF_ERROR
               ? TANDEM_OK
               : tandem_error("%s: bad gzip data: %s", input->path, gzip->msg ? gzip->msg : zError(rc));
}

static int read_gzip(tandem_input *input, void *data, size_t size, size_t *got)
{
    const size_t most = 1 << 30; /* zlib counts in 32 bits */
    uInt room = (uInt)(size < most ? size : most);
    input->gzip->next_out = data;
    input->gzip->avail_out = room;
    bool done = false;
    while (input->gzip->avail_out == room && !done) {
        TANDEM_TRY(inflate_some(input, &done));
    }
    *got = room - input->gzip->avail_out;
    return TANDEM_OK;
}

int tandem_input_read(tandem_input *input, void *data, size_t size, size_t *got)
{
    return input->zstd   ? read_zstd(input, data, size, got)
           : input->gzip ? read_gzip(input, data, size, got)
                         : read_plain(input, data, size, got);
}

size_t tandem_input_size_hint(const tandem_input *input)
{
    struct stat status;
    if (fstat(input->descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
        return 0;
    }
    return (size_t)status.st_size * (input->zstd || input->gzip ? 4 : 1);
}

const char *tandem_input_path(const tandem_input *input)
{
    return input->path;
}

void tandem_input_close(tandem_input *input)
{
    if (!input) {
        return;
    }
    if (input->descriptor >= 0 && input->descriptor != STDIN_FILENO) {
        close(input->descriptor);
    }
    ZSTD_freeDCtx(input->zstd);
    if (input->gzip) {
        inflateEnd(input->gzip);
    }
    free(input->gzip);
    free((void *)(uintptr_t)input->in.src);
    free(input->path);
    free(input);
}
