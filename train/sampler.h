/* sampler.h - which examples a step trains on: the batches of an epoch, and whose comes when. */
#ifndef TANDEM_TRAIN_SAMPLER_H
#define TANDEM_TRAIN_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "train/examples.h"

/* Choices of data.sampler. RANDOM: a shuffle, cut every batch_size; texts that come twice are
 * known to the losses. NO_DUPLICATES: the same shuffle, but no text is in a batch twice,
 * be it query, positive or negative; every example still comes once. */
typedef enum { TANDEM_SAMPLER_RANDOM, TANDEM_SAMPLER_NO_DUPLICATES } tandem_sampler;

/* order[starts[b] .. starts[b + 1]) is batch b. */
typedef struct {
    uint32_t *order; /* [count]: each example once */
    size_t *starts;  /* [batches + 1] */
    size_t count, batches;
} tandem_epoch;

/* The batches of an epoch: a function of the examples, seed and epoch alone. Without duplicates an
 * example goes into the first batch with room after the last that has a text of it, in almost linear
 * time; so many more batches, smaller ones, as the most frequent text needs. */
int tandem_epoch_plan(tandem_epoch *out, const tandem_examples *examples, tandem_sampler sampler, size_t batch_size,
                      uint64_t seed, uint64_t epoch);
void tandem_epoch_free(tandem_epoch *epoch); /* zeroes it */

/* An example whose text no other text is in more examples than, and in how many. For batches that
 * cannot be filled without duplicates. */
int tandem_epoch_most_frequent(size_t *example, size_t *count, const tandem_examples *examples);

/* ---- several sources ------------------------------------------------------------------------ */
/* Choices of data.mixing. Every step is a batch of one source.
 * PROPORTIONAL: every batch of every source once, in random order.
 * ROUND_ROBIN: a batch of each source in turn, as many rounds as the source with the fewest batches has; the
 * rows that are left out are others in each epoch. (These two as sentence-transformers has them.)
 * WEIGHTED: as many steps as PROPORTIONAL, the source of each drawn by the weights; a source that has no more
 * batches begins another pass over its rows, shuffled anew. */
typedef enum { TANDEM_MIXING_PROPORTIONAL, TANDEM_MIXING_ROUND_ROBIN, TANDEM_MIXING_WEIGHTED } tandem_mixing;

typedef struct {
    const tandem_examples *examples;
    tandem_sampler sampler;
    double weight;
    uint64_t seed;
} tandem_mix_source;

/* Step i of an epoch is batch batches[i] of epochs[sources[i]]. */
typedef struct {
    tandem_epoch *epochs; /* [source_count] */
    uint32_t *sources;    /* [steps] */
    uint32_t *batches;    /* [steps] */
    size_t source_count, steps;
} tandem_mix;

/* The steps of an epoch: a function of the sources, seed and epoch alone; of one source, its batches in
 * their order. No source may be without examples. */
int tandem_mix_plan(tandem_mix *out, const tandem_mix_source *sources, size_t count, tandem_mixing mixing,
                    size_t batch_size, uint64_t seed, uint64_t epoch);
void tandem_mix_free(tandem_mix *mix); /* zeroes it */

#endif
