/* lines.c - a text file line by line, in one growing buffer, or by blocks of lines. */
#include <stdlib.h>
#include <string.h>

#include "base/input.h"
#include "tandem/file.h"
#include "tandem/memory.h"

struct tandem_lines {
    tandem_input *input;
    char *data;
    size_t capacity;
    size_t start, end; /* what was read and not yet given */
    size_t number;
    bool ended, had_mark, had_returns;
};

enum { FIRST_CAPACITY = 128 * 1024 };

int tandem_lines_open(tandem_lines **out, const char *path)
{
    tandem_lines *lines = tandem_alloc(1, sizeof *lines);
    if (!lines) {
        return TANDEM_ERROR;
    }
    lines->capacity = FIRST_CAPACITY;
    lines->data = tandem_alloc(lines->capacity, 1);
    int rc = lines->data ? tandem_input_open(&lines->input, path) : TANDEM_ERROR;
    if (rc < 0) {
        tandem_lines_close(lines);
        return rc;
    }
    *out = lines;
    return TANDEM_OK;
}

/* Reads more behind what is there; one byte stays free for a NUL. */
static int read_more(tandem_lines *lines)
{
    if (lines->start > 0) {
        memmove(lines->data, lines->data + lines->start, lines->end - lines->start);
        lines->end -= lines->start;
        lines->start = 0;
    }
    if (lines->capacity - lines->end < 2) {
        void *data = lines->data;
        TANDEM_TRY(tandem_grow(&data, &lines->capacity, lines->capacity + 1, 1));
        lines->data = data;
    }
    size_t got;
    TANDEM_TRY(tandem_input_read(lines->input, lines->data + lines->end, lines->capacity - lines->end - 1, &got));
    lines->end += got;
    lines->ended = got == 0;
    return TANDEM_OK;
}

/* Bytes of a byte order mark to leave out: the file may begin with one. */
static size_t skip_mark(tandem_lines *lines, const char *text, size_t length)
{
    bool marked = lines->number == 0 && length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0;
    lines->had_mark = lines->had_mark || marked;
    return marked ? 3 : 0;
}

/* Gives bytes start .. start + length; `skip` bytes end the line. */
static int give(tandem_lines *lines, size_t length, size_t skip, char **line, size_t *out_length)
{
    char *text = lines->data + lines->start;
    lines->start += length + skip;
    if (skip > 0 && length > 0 && text[length - 1] == '\r') {
        lines->had_returns = true;
        length--;
    }
    size_t mark = skip_mark(lines, text, length);
    lines->number++;
    text[length] = '\0';
    *line = text + mark;
    *out_length = length - mark;
    return 1;
}

int tandem_lines_next(tandem_lines *lines, char **line, size_t *length)
{
    size_t searched = 0;
    for (;;) {
        size_t size = lines->end - lines->start;
        const char *begin = lines->data + lines->start;
        const char *newline = memchr(begin + searched, '\n', size - searched);
        if (newline) {
            return give(lines, (size_t)(newline - begin), 1, line, length);
        }
        if (lines->ended) {
            return size > 0 ? give(lines, size, 0, line, length) : 0;
        }
        searched = size;
        int rc = read_more(lines);
        if (rc < 0) {
            return tandem_error_context(rc, "after line %zu", lines->number);
        }
    }
}

/* Bytes of the whole lines that are there once the buffer is full; it grows until it holds one. At the end of
 * the file all that is left. */
static int fill(tandem_lines *lines, size_t *whole)
{
    const char *newline = NULL;
    while (!newline && !lines->ended) {
        TANDEM_TRY(read_more(lines));
        if (lines->capacity - lines->end < 2) {
            newline = memrchr(lines->data, '\n', lines->end);
        }
    }
    *whole = newline ? (size_t)(newline - lines->data) + 1 : lines->end;
    return TANDEM_OK;
}

/* The block gets this buffer for its own, where what follows the block goes. */
int tandem_lines_block(tandem_lines *lines, tandem_buffer *block)
{
    size_t whole;
    TANDEM_TRY(fill(lines, &whole));
    void *room = block->data;
    int rc = tandem_grow(&room, &block->capacity, lines->capacity, 1);
    block->data = room;
    TANDEM_TRY(rc);
    size_t mark = skip_mark(lines, lines->data, whole);
    tandem_buffer next = *block;
    *block = (tandem_buffer){lines->data, whole - mark, lines->capacity};
    lines->number++;
    lines->end -= whole;
    memcpy(next.data, lines->data + whole, lines->end);
    lines->data = next.data;
    lines->capacity = next.capacity;
    memmove(block->data, block->data + mark, mark ? block->length : 0);
    block->data[block->length] = '\0';
    return block->length > 0;
}

size_t tandem_lines_number(const tandem_lines *lines)
{
    return lines->number;
}

bool tandem_lines_had_mark(const tandem_lines *lines)
{
    return lines->had_mark;
}

bool tandem_lines_had_returns(const tandem_lines *lines)
{
    return lines->had_returns;
}

const char *tandem_lines_path(const tandem_lines *lines)
{
    return tandem_input_path(lines->input);
}

void tandem_lines_close(tandem_lines *lines)
{
    if (lines) {
        tandem_input_close(lines->input);
        free(lines->data);
        free(lines);
    }
}
