/* forward.h - packed forwards over sequences in any order. */
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
    tandem_side side; /* of a text: whose prompt it begins with */
} tandem_sequence;

/* Sequences sorted by length and cut into parts, each one forward. Reused from step to
 * step; start from {0}. */
typedef struct {
    const tandem_sequence *sequences; /* borrowed */
    size_t count, parts, tokens;
    size_t padded;       /* tokens if all were as long as the longest */
    size_t *starts;      /* [parts + 1], in the sorted order */
    size_t *tokens_from; /* [parts + 1]: tokens before each part */
    int64_t *order;      /* [count], the sorted sequences */
    int64_t *positions;  /* [count], where sequence i is among them */
    tandem_side *sides;  /* [count], of the sorted sequences */
    uint64_t *keys;      /* [count], of the sorting */
    size_t capacity;
    tandem_batch_builder *builder;
} tandem_forward;

void tandem_forward_free(tandem_forward *forward);

/* Sorts the sequences, longest first, which makes runs of like length for attention, and
 * cuts them into parts of at most `token_budget` tokens, one sequence at least. Neither
 * changes a result but by rounding: dropout masks are those of one forward over all. */
int tandem_forward_plan(tandem_forward *forward, const tandem_model *model, const tandem_sequence *sequences,
                        size_t count, size_t token_budget);
/* Embeddings (bi-encoder, [rows, width]) or logits (cross-encoder, [rows, labels]) of a
 * part, in the sorted order. */
int tandem_forward_part(tandem_tensor **out, tandem_forward *forward, tandem_model *model, size_t part,
                        tandem_dropout dropout);

/* Tokens of a sequence as the model reads it. */
size_t tandem_forward_tokens(const tandem_model *model, const tandem_sequence *sequence);

#endif
