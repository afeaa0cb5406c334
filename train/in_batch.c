/* in_batch.c - what the texts of one step are to each other. */
#include "train/in_batch.h"

#include <stdlib.h>
#include <string.h>

static int ascending(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

/* The documents' rows above their positions, in order: where a text is in the step. */
static uint64_t *places_of(const tandem_batch_texts *texts, tandem_arena *arena)
{
    uint64_t *places = tandem_arena_alloc(arena, texts->m, sizeof *places);

    for (size_t j = 0; places != NULL && j < texts->m; j++) {
        places[j] = (uint64_t)texts->documents[j] << 32 | j;
    }
    if (places != NULL) {
        qsort(places, texts->m, sizeof *places, ascending);
    }
    return places;
}

/* The first of the places of a text, or of a greater one. */
static size_t first_place(const uint64_t *places, size_t count, uint32_t document)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (places[middle] >> 32 < document) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Row i's known documents, counted, and written unless `out` is NULL. */
static size_t known_of(uint32_t *out, size_t i, const tandem_examples *examples, const tandem_batch_texts *texts,
                       const uint64_t *places)
{
    uint32_t query = texts->queries[i];
    size_t count = 0;

    for (size_t k = examples->known_starts[query]; k < examples->known_starts[query + 1]; k++) {
        uint32_t document = examples->known[k];

        if (k > examples->known_starts[query] && document == examples->known[k - 1]) {
            continue; /* several groups say so */
        }
        for (size_t p = first_place(places, texts->m, document); p < texts->m && places[p] >> 32 == document; p++) {
            uint32_t position = (uint32_t)places[p];

            if (position != i) {
                if (out != NULL) {
                    out[count] = position;
                }
                count++;
            }
        }
    }
    return count;
}

int tandem_batch_known(size_t **starts, uint32_t **known, const tandem_examples *examples,
                       const tandem_batch_texts *texts,
                       tandem_arena *arena)
{
    const uint64_t *places = places_of(texts, arena);

    *starts = tandem_arena_alloc(arena, texts->n + 1, sizeof **starts);
    if (places == NULL || *starts == NULL) {
        return TANDEM_ERROR;
    }
    (*starts)[0] = 0;
    for (size_t i = 0; i < texts->n; i++) {
        (*starts)[i + 1] = (*starts)[i] + known_of(NULL, i, examples, texts, places);
    }
    *known = tandem_arena_alloc(arena, (*starts)[texts->n], sizeof **known);
    if (*known == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < texts->n; i++) {
        (void)known_of(*known + (*starts)[i], i, examples, texts, places);
    }
    return TANDEM_OK;
}

/* ---- classes --------------------------------------------------------------------------------- */
/* The root of a text's tree; the way there is halved. */
static size_t root_of(int64_t *parent, size_t text)
{
    while (parent[text] != (int64_t)text) {
        parent[text] = parent[(size_t)parent[text]];
        text = (size_t)parent[text];
    }
    return text;
}

/* The lesser root stays, so that classes do not depend on the order of joining. */
static void join(int64_t *parent, size_t a, size_t b)
{
    size_t x = root_of(parent, a), y = root_of(parent, b);

    if (x < y) {
        parent[y] = (int64_t)x;
    } else {
        parent[x] = (int64_t)y;
    }
}

int tandem_batch_classes(int64_t **classes, const size_t *starts, const uint32_t *known,
                         const tandem_batch_texts *texts,
                         tandem_arena *arena)
{
    size_t n = texts->n, count = n + texts->m;
    const uint64_t *places = places_of(texts, arena);
    int64_t *parent = tandem_arena_alloc(arena, count, sizeof *parent);

    if (places == NULL || parent == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        parent[i] = (int64_t)i;
    }
    for (size_t i = 0; i < n; i++) {
        join(parent, i, n + i);
        for (size_t k = starts[i]; k < starts[i + 1]; k++) {
            join(parent, i, n + known[k]);
        }
    }
    for (size_t p = 1; p < texts->m; p++) {
        if (places[p] >> 32 == places[p - 1] >> 32) {
            join(parent, n + (uint32_t)places[p], n + (uint32_t)places[p - 1]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        parent[i] = (int64_t)root_of(parent, i);
    }
    *classes = parent;
    return TANDEM_OK;
}

/* ---- negatives of other rows -------------------------------------------------------------------- */
size_t tandem_batch_draw(uint32_t *out, size_t count, size_t i, const tandem_examples *examples,
                         const tandem_batch_texts *texts, uint32_t *room, tandem_random *random)
{
    size_t usable = 0, drawn = 0;

    for (size_t j = 0; j < texts->m; j++) {
        if (texts->owner[j] != i && !tandem_examples_known(examples, texts->queries[i], texts->documents[j])) {
            room[usable++] = (uint32_t)j;
        }
    }
    for (; drawn < count && drawn < usable; drawn++) {
        size_t pick = drawn + (size_t)tandem_random_below(random, usable - drawn);

        out[drawn] = room[pick];
        room[pick] = room[drawn];
    }
    return drawn;
}
