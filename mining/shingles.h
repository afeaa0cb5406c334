/* shingles.h - private to mining/: how much of their wording two texts share. */
#ifndef TANDEM_MINING_SHINGLES_H
#define TANDEM_MINING_SHINGLES_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

/* The set of a text's shingles (Broder 1997), every three successive words of it, lower-cased as
 * BM25's are, as sorted 64-bit hashes. A text of fewer words is one shingle. */
typedef struct {
    uint64_t *items;
    size_t count, room;
} tandem_shingles;

/* Replaces what `out` holds. */
int tandem_shingles_read(tandem_shingles *out, const char *text, size_t length);
void tandem_shingles_free(tandem_shingles *shingles);

/* Jaccard index, shared / all: exact but for hash collisions. 0 when neither has a word. */
double tandem_shingles_overlap(const tandem_shingles *a, const tandem_shingles *b);

#endif
