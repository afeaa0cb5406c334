/* sampler.h - which examples a step trains on: the batches of an epoch. */
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

#endif
