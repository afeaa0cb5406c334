/* memory.h - allocation with checked sizes, arenas, and growable byte buffers. */
#ifndef TANDEM_MEMORY_H
#define TANDEM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* a * b or a + b into *out; false on overflow (and *out is untouched). */
bool tandem_size_mul(size_t *out, size_t a, size_t b);
bool tandem_size_add(size_t *out, size_t a, size_t b);

/* count * size zeroed bytes. NULL, with the message set, when the product
 * overflows or memory is out; never NULL for a zero size. Free with free(). */
void *tandem_alloc(size_t count, size_t size);

/* Grows *pointer (which may hold NULL) to count * size bytes; new bytes are not
 * cleared. On failure *pointer is as it was. */
int tandem_realloc(void **pointer, size_t count, size_t size);

/* Grows an array geometrically so that it can hold `needed` items: *items and
 * *capacity (in items) are updated together. */
int tandem_grow(void **items, size_t *capacity, size_t needed, size_t item_size);

/* Copies of text; the caller frees. NULL with the message set on failure. */
char *tandem_strdup(const char *text);
char *tandem_strndup(const char *text, size_t length);

/* ---- arena: many small allocations, freed or reset together -------------- */
typedef struct tandem_arena tandem_arena;

tandem_arena *tandem_arena_new(void); /* NULL with the message set */
void tandem_arena_free(tandem_arena *arena); /* NULL is fine */
void tandem_arena_reset(tandem_arena *arena); /* keeps the memory for reuse */
/* 16-byte aligned, not cleared. NULL with the message set. */
void *tandem_arena_alloc(tandem_arena *arena, size_t count, size_t size);
/* NUL-terminated copy of `length` bytes. */
char *tandem_arena_strndup(tandem_arena *arena, const char *text, size_t length);
/* Memory that the arena holds, used or not. */
size_t tandem_arena_bytes(const tandem_arena *arena);

/* ---- buffer: a growable run of bytes, always NUL-terminated after its end -- */
typedef struct {
    char *data; /* NULL while empty */
    size_t length;
    size_t capacity;
} tandem_buffer;

#define TANDEM_BUFFER_INIT {NULL, 0, 0}

void tandem_buffer_free(tandem_buffer *buffer);  /* leaves it empty and usable */
void tandem_buffer_clear(tandem_buffer *buffer); /* length 0, keeps the memory */
int tandem_buffer_append(tandem_buffer *buffer, const void *data, size_t length);
int tandem_buffer_puts(tandem_buffer *buffer, const char *text);
int tandem_buffer_printf(tandem_buffer *buffer, const char *format, ...) TANDEM_PRINTF(2, 3);
/* Appends `text` as a JSON string, quotes included; a byte that is no
 * valid UTF-8 becomes U+FFFD. */
int tandem_buffer_json_string(tandem_buffer *buffer, const char *text, size_t length);
/* Gives the bytes to the caller (who frees) and leaves the buffer empty. */
char *tandem_buffer_take(tandem_buffer *buffer);

/* ---- UTF-8 --------------------------------------------------------------- */
/* Byte offset of the first invalid sequence, or `length` when all is valid
 * (RFC 3629: no surrogates, no overlong forms, up to U+10FFFF). */
size_t tandem_utf8_invalid(const char *text, size_t length);

/* ---- string map: text keys to indices ------------------------------------- */
typedef struct tandem_strmap tandem_strmap;

tandem_strmap *tandem_strmap_new(size_t expected); /* NULL with the message set */
void tandem_strmap_free(tandem_strmap *map);
/* Empties the map and makes room for `expected` keys: for reuse in a loop over small sets, each of
 * which it costs time in proportion to that set. On failure the map is as it was. */
int tandem_strmap_reset(tandem_strmap *map, size_t expected);
/* Adds key -> value. The key's bytes are borrowed and must outlive the map.
 * 1 when added; 0 when the key was there (*existing, if not NULL, is its value);
 * negative on failure. */
int tandem_strmap_add(tandem_strmap *map, const char *key, size_t length, size_t value,
                      size_t *existing);
/* True when found, with the value in *value (which may be NULL). */
bool tandem_strmap_find(const tandem_strmap *map, const char *key, size_t length, size_t *value);
size_t tandem_strmap_count(const tandem_strmap *map);

#ifdef __cplusplus
}
#endif
#endif
