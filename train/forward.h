/* forward.h - one packed forward over sequences in any order. */
#ifndef TANDEM_TRAIN_FORWARD_H
#define TANDEM_TRAIN_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/batch.h"
#include "tandem/model.h"

/* A text, or a pair of texts. */
typedef struct {
    tandem_bare first, second;
    bool pair;
} tandem_sequence;

/* Reused from forward to forward; start from {0}. */
typedef struct {
    tandem_batch_builder *builder;
    uint64_t *keys;     /* [capacity], sorting keys */
    int64_t *positions; /* [capacity], where sequence i is in the batch */
    size_t key_capacity, position_capacity;
} tandem_forward;

void tandem_forward_free(tandem_forward *forward);

/* Embeddings (bi-encoder, [count, dim]) or logits (cross-encoder, [count, labels]) of
 * sequences, row i for sequence i. Inside, sequences are sorted by length, which
 * changes no result: attention works on runs of like length. *tokens grows by what
 * was read. */
int tandem_forward_run(tandem_tensor **out, size_t *tokens, tandem_forward *forward, tandem_model *model,
                       const tandem_sequence *sequences, size_t count, tandem_dropout dropout);

#endif
