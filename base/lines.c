/* lines.c - a text file line by line, in one growing buffer. */
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

/* Gives bytes start .. start + length; `skip` bytes end the line. */
static int give(tandem_lines *lines, size_t length, size_t skip, char **line, size_t *out_length)
{
    char *text = lines->data + lines->start;
    lines->start += length + skip;
    if (skip > 0 && length > 0 && text[length - 1] == '\r') {
        lines->had_returns = true;
        length--;
    }
    if (lines->number++ == 0 && length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        lines->had_mark = true;
        text += 3;
        length -= 3;
    }
    text[length] = '\0';
    *line = text;
    *out_length = length;
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
