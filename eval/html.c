/* html.c - a page that is written piece by piece. */
#include "eval/html.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void append(html *page, const char *data, size_t length)
{
    if (page->rc >= 0) {
        page->rc = tandem_buffer_append(&page->text, data, length);
    }
}

void html_put(html *page, const char *markup)
{
    append(page, markup, strlen(markup));
}

void html_printf(html *page, const char *format, ...)
{
    char piece[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof piece) {
        page->rc = page->rc < 0 ? page->rc : tandem_error("a piece of markup is too long: %s", format);
        return;
    }
    append(page, piece, (size_t)length);
}

/* ---- text --------------------------------------------------------------------------------------- */
static const char *entity(char byte)
{
    switch (byte) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

/* Bytes of the character at `text`, 0 where there is none that a page may hold. */
static size_t character(const char *text, size_t left)
{
    unsigned char first = (unsigned char)*text;
    size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    bool control =
        (first < ' ' && !strchr("\t\n\r", first)) || first == 0x7F || (first == 0xC2 && (unsigned char)text[1] < 0xA0);
    return control || length > left || tandem_utf8_invalid(text, length) != length ? 0 : length;
}

void html_excerpt(html *page, const char *text, size_t limit)
{
    size_t left = strlen(text);
    for (size_t count = 0; left > 0; count++) {
        if (count == limit) {
            html_put(page, "…");
            return;
        }
        size_t length = character(text, left);
        const char *escaped = entity(*text);
        if (length == 0 || escaped) {
            html_put(page, escaped ? escaped : "\xEF\xBF\xBD");
            length = 1;
        } else {
            append(page, text, length);
        }
        text += length;
        left -= length;
    }
}

void html_text(html *page, const char *text)
{
    html_excerpt(page, text, SIZE_MAX);
}
