/* aligned_text.c - buffers of text with origins. */
#include "data/aligned_text.h"

#include <stdlib.h>
#include <string.h>

#include "data/unicode.h"
#include "tandem/memory.h"

void tandem_aligned_free(tandem_aligned *buffer)
{
    free(buffer->text);
    free(buffer->origins);
}

int tandem_aligned_grow(tandem_aligned *buffer, size_t more)
{
    size_t needed;
    if (!tandem_size_add(&needed, buffer->length, more)) {
        return tandem_error("a text of %zu bytes cannot grow by %zu", buffer->length, more);
    }
    void *text = buffer->text, *origins = buffer->origins;
    int rc = tandem_grow(&text, &buffer->capacity, needed, 1);
    buffer->text = text;
    TANDEM_TRY(rc);
    rc = buffer->tracked ? tandem_grow(&origins, &buffer->origin_capacity, needed, sizeof *buffer->origins) : rc;
    buffer->origins = origins;
    return rc;
}

static void set_origins(tandem_aligned *buffer, size_t count, uint32_t origin)
{
    for (size_t i = 0; buffer->tracked && i < count; i++) {
        buffer->origins[buffer->length + i] = origin;
    }
}

int tandem_aligned_char(tandem_aligned *buffer, uint32_t c, uint32_t origin)
{
    TANDEM_TRY(tandem_aligned_reserve(buffer, 4));
    size_t size = tandem_unicode_encode(c, buffer->text + buffer->length);
    set_origins(buffer, size, origin);
    buffer->length += size;
    return TANDEM_OK;
}

int tandem_aligned_bytes(tandem_aligned *buffer, const char *text, size_t length, uint32_t origin)
{
    if (length == 0) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_aligned_reserve(buffer, length));
    memcpy(buffer->text + buffer->length, text, length);
    set_origins(buffer, length, origin);
    buffer->length += length;
    return TANDEM_OK;
}

int tandem_aligned_append(tandem_aligned *buffer, tandem_view view)
{
    if (view.length == 0) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_aligned_reserve(buffer, view.length));
    memcpy(buffer->text + buffer->length, view.text, view.length);
    if (buffer->tracked) {
        memcpy(buffer->origins + buffer->length, view.origins, view.length * sizeof *view.origins);
    }
    buffer->length += view.length;
    return TANDEM_OK;
}
