/* in_batch.h - what the texts of one step are to each other. A row is an example; documents
 * 0 .. n - 1 are the rows' positives. */
#ifndef TANDEM_TRAIN_IN_BATCH_H
#define TANDEM_TRAIN_IN_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/memory.h"
#include "tandem/random.h"
#include "train/examples.h"

/* The texts of a step by their rows in the token stores. */
typedef struct {
    size_t n, m;
    uint32_t *queries, *documents; /* [n], [m] */
    uint32_t *owner;               /* [m]: the row that document j comes with */
    float *scores;                 /* [m], that its group has of it; NaN: none */
} tandem_batch_texts;

/* known[starts[i]] .. known[starts[i + 1]]: the documents, besides i, that are no negatives of
 * row i: its query's positives and its own text. In the arena. */
int tandem_batch_known(size_t **starts, uint32_t **known, const tandem_examples *examples,
                       const tandem_batch_texts *texts,
                       tandem_arena *arena);

/* Classes of the texts, [n + m], queries first: a query shares one with everything that is
 * known to be no negative of it, and so does one text with itself. In the arena. */
int tandem_batch_classes(int64_t **classes, const size_t *starts, const uint32_t *known,
                         const tandem_batch_texts *texts,
                         tandem_arena *arena);

/* Draws documents of other rows that may be negatives of row i: out[0 .. returned), at most
 * `count`, each position once. `room` holds m. */
size_t tandem_batch_draw(uint32_t *out, size_t count, size_t i, const tandem_examples *examples,
                         const tandem_batch_texts *texts, uint32_t *room, tandem_random *random);

#endif
