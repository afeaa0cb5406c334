/* aligned_text.h - private to data/: text on its way from the user to the words of a model,
 * and where each byte of it comes from.
 *
 * Positions are counted in code points of the user's text, from 0. Whatever a part writes
 * stems from exactly one of them, its origin; a token covers the text from the origin of its
 * first byte to that of its last.
 */
#ifndef TANDEM_DATA_ALIGNED_TEXT_H
#define TANDEM_DATA_ALIGNED_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

/* The origin of what was inserted before the first character: it covers nothing of the text. */
#define TANDEM_ORIGIN_NONE UINT32_MAX

/* Borrowed text, valid UTF-8. `origins`, one a byte, is NULL where nobody asks. */
typedef struct {
    const char *text;
    const uint32_t *origins;
    size_t length;
} tandem_view;

static inline tandem_view tandem_view_part(tandem_view view, size_t begin, size_t end)
{
    return (tandem_view){view.text + begin, view.origins ? view.origins + begin : NULL, end - begin};
}

/* A buffer for such text. Zeroed at first; whoever writes sets `tracked` and reserves first. */
typedef struct {
    char *text;
    uint32_t *origins; /* [length] where tracked */
    size_t length;
    bool tracked;
    size_t capacity, origin_capacity;
} tandem_aligned;

void tandem_aligned_free(tandem_aligned *buffer);
/* Empties it; then it takes text with or without origins. */
static inline void tandem_aligned_clear(tandem_aligned *buffer, bool tracked)
{
    buffer->length = 0;
    buffer->tracked = tracked;
}
int tandem_aligned_grow(tandem_aligned *buffer, size_t more);
/* Makes room for `more` bytes. */
static inline int tandem_aligned_reserve(tandem_aligned *buffer, size_t more)
{
    bool room = buffer->capacity - buffer->length >= more &&
                (!buffer->tracked || (buffer->origin_capacity >= buffer->length &&
                                      buffer->origin_capacity - buffer->length >= more));
    return room ? TANDEM_OK : tandem_aligned_grow(buffer, more);
}
int tandem_aligned_char(tandem_aligned *buffer, uint32_t c, uint32_t origin);
/* `length` bytes that all have one origin. */
int tandem_aligned_bytes(tandem_aligned *buffer, const char *text, size_t length, uint32_t origin);
int tandem_aligned_append(tandem_aligned *buffer, tandem_view view);
static inline tandem_view tandem_aligned_view(const tandem_aligned *buffer)
{
    return (tandem_view){buffer->text, buffer->tracked ? buffer->origins : NULL, buffer->length};
}

#endif
