/* memory.c - checked allocation and the arena. */
#include "tandem/memory.h"

#include <stdlib.h>
#include <string.h>

bool tandem_size_mul(size_t *out, size_t a, size_t b)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) {
        return false;
    }
    *out = product;
    return true;
}

bool tandem_size_add(size_t *out, size_t a, size_t b)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return false;
    }
    *out = sum;
    return true;
}

void *tandem_alloc(size_t count, size_t size)
{
    size_t bytes;
    void *memory = NULL;
    if (tandem_size_mul(&bytes, count, size)) {
        memory = calloc(bytes ? bytes : 1, 1);
    }
    if (!memory) {
        tandem_error("out of memory: %zu items of %zu bytes", count, size);
    }
    return memory;
}

int tandem_realloc(void **pointer, size_t count, size_t size)
{
    size_t bytes;
    void *memory = NULL;
    if (tandem_size_mul(&bytes, count, size)) {
        memory = realloc(*pointer, bytes ? bytes : 1);
    }
    if (!memory) {
        return tandem_error("out of memory: %zu items of %zu bytes", count, size);
    }
    *pointer = memory;
    return TANDEM_OK;
}

int tandem_grow(void **items, size_t *capacity, size_t needed, size_t item_size)
{
    if (needed <= *capacity) {
        return TANDEM_OK;
    }
    size_t larger = *capacity < 16 ? 16 : *capacity;
    if (!tandem_size_add(&larger, larger, larger / 2) || larger < needed) {
        larger = needed;
    }
    TANDEM_TRY(tandem_realloc(items, larger, item_size));
    *capacity = larger;
    return TANDEM_OK;
}

char *tandem_strdup(const char *text)
{
    return tandem_strndup(text, strlen(text));
}

char *tandem_strndup(const char *text, size_t length)
{
    size_t bytes;
    if (!tandem_size_add(&bytes, length, 1)) {
        tandem_error("out of memory: a text of %zu bytes", length);
        return NULL;
    }
    char *copy = tandem_alloc(bytes, 1);
    if (copy && length > 0) {
        memcpy(copy, text, length);
    }
    return copy;
}

/* ---- arena ------------------------------------------------------------------ */
enum { ALIGNMENT = 16, FIRST_BLOCK = 64 * 1024, LARGEST_BLOCK = 16 * 1024 * 1024 };

typedef struct block {
    struct block *next;
    size_t size, used;
    _Alignas(ALIGNMENT) unsigned char data[];
} block;

/* Blocks before `current` are full, those after it are left from before a reset. */
struct tandem_arena {
    block *first, *current;
    size_t held;
};

tandem_arena *tandem_arena_new(void)
{
    return tandem_alloc(1, sizeof(tandem_arena));
}

void tandem_arena_free(tandem_arena *arena)
{
    if (!arena) {
        return;
    }
    for (block *b = arena->first; b;) {
        block *next = b->next;
        free(b);
        b = next;
    }
    free(arena);
}

void tandem_arena_reset(tandem_arena *arena)
{
    for (block *b = arena->first; b; b = b->next) {
        b->used = 0;
    }
    arena->current = arena->first;
}

/* Puts a block with room for `bytes` after the current one and moves to it. */
static int add_block(tandem_arena *arena, size_t bytes)
{
    size_t size = arena->current ? arena->current->size : FIRST_BLOCK / 2;
    size = size < LARGEST_BLOCK / 2 ? size * 2 : LARGEST_BLOCK;
    size = size < bytes ? bytes : size;
    size_t whole;
    block *b = tandem_size_add(&whole, size, sizeof(block)) ? malloc(whole) : NULL;
    if (!b) {
        return tandem_error("out of memory: an arena block of %zu bytes", size);
    }
    b->size = size;
    b->used = 0;
    if (arena->current) {
        b->next = arena->current->next;
        arena->current->next = b;
    } else {
        b->next = arena->first;
        arena->first = b;
    }
    arena->current = b;
    arena->held += size;
    return TANDEM_OK;
}

void *tandem_arena_alloc(tandem_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (!tandem_size_mul(&bytes, count, size) || !tandem_size_add(&bytes, bytes, ALIGNMENT - 1)) {
        tandem_error("out of memory: %zu items of %zu bytes", count, size);
        return NULL;
    }
    bytes -= bytes % ALIGNMENT;
    while (arena->current && arena->current->size - arena->current->used < bytes && arena->current->next) {
        arena->current = arena->current->next;
    }
    if (!arena->current || arena->current->size - arena->current->used < bytes) {
        if (add_block(arena, bytes) < 0) {
            return NULL;
        }
    }
    void *memory = arena->current->data + arena->current->used;
    arena->current->used += bytes;
    return memory;
}

char *tandem_arena_strndup(tandem_arena *arena, const char *text, size_t length)
{
    size_t bytes;
    if (!tandem_size_add(&bytes, length, 1)) {
        tandem_error("out of memory: a text of %zu bytes", length);
        return NULL;
    }
    char *copy = tandem_arena_alloc(arena, bytes, 1);
    if (copy) {
        if (length > 0) {
            memcpy(copy, text, length);
        }
        copy[length] = '\0';
    }
    return copy;
}

size_t tandem_arena_bytes(const tandem_arena *arena)
{
    return arena->held;
}
