/* buffer.c - growable run of bytes. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tandem/memory.h"

void tandem_buffer_free(tandem_buffer *buffer)
{
    free(buffer->data);
    *buffer = (tandem_buffer)TANDEM_BUFFER_INIT;
}

void tandem_buffer_clear(tandem_buffer *buffer)
{
    buffer->length = 0;
    if (buffer->data) {
        buffer->data[0] = '\0';
    }
}

/* Room for `length` more bytes and the NUL. */
static int reserve(tandem_buffer *buffer, size_t length)
{
    size_t needed;
    if (!tandem_size_add(&needed, buffer->length, length) || !tandem_size_add(&needed, needed, 1)) {
        return tandem_error("out of memory: %zu more bytes after %zu", length, buffer->length);
    }
    void *data = buffer->data;
    TANDEM_TRY(tandem_grow(&data, &buffer->capacity, needed, 1));
    buffer->data = data;
    return TANDEM_OK;
}

int tandem_buffer_append(tandem_buffer *buffer, const void *data, size_t length)
{
    TANDEM_TRY(reserve(buffer, length));
    if (length > 0) {
        memcpy(buffer->data + buffer->length, data, length);
    }
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
    return TANDEM_OK;
}

int tandem_buffer_puts(tandem_buffer *buffer, const char *text)
{
    return tandem_buffer_append(buffer, text, strlen(text));
}

int tandem_buffer_printf(tandem_buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    int rc = length < 0 ? tandem_error("text cannot be formatted") : reserve(buffer, (size_t)length);
    if (rc == TANDEM_OK) {
        vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
        buffer->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
    return rc;
}

/* The escape of a byte inside a JSON string (RFC 8259, section 7), or NULL. */
static const char *json_escape(unsigned char byte, char room[8])
{
    switch (byte) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\b': return "\\b";
    case '\f': return "\\f";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: break;
    }
    if (byte >= 0x20) {
        return NULL;
    }
    snprintf(room, 8, "\\u%04x", byte);
    return room;
}

int tandem_buffer_json_string(tandem_buffer *buffer, const char *text, size_t length)
{
    TANDEM_TRY(tandem_buffer_append(buffer, "\"", 1));
    size_t done = 0; /* bytes of text that are in the buffer */
    for (size_t at = 0; at < length;) {
        char room[8];
        const char *escape = json_escape((unsigned char)text[at], room);
        size_t sequence = escape ? 1 : tandem_utf8_sequence(text + at, length - at);
        if (sequence == 0) { /* each byte that begins no character becomes U+FFFD */
            escape = "\xEF\xBF\xBD";
            sequence = 1;
        }
        if (escape) {
            TANDEM_TRY(tandem_buffer_append(buffer, text + done, at - done));
            TANDEM_TRY(tandem_buffer_puts(buffer, escape));
            done = at + sequence;
        }
        at += sequence;
    }
    TANDEM_TRY(tandem_buffer_append(buffer, text + done, length - done));
    return tandem_buffer_append(buffer, "\"", 1);
}

char *tandem_buffer_take(tandem_buffer *buffer)
{
    char *data = buffer->data;
    *buffer = (tandem_buffer)TANDEM_BUFFER_INIT;
    return data;
}
