/* forward.c - one packed forward over sequences in any order. */
#include "train/forward.h"

#include <stdlib.h>

#include "tandem/memory.h"

void tandem_forward_free(tandem_forward *forward)
{
    tandem_batch_builder_free(forward->builder);
    free(forward->keys);
    free(forward->positions);
    *forward = (tandem_forward){0};
}

static int reserve(tandem_forward *forward, size_t count)
{
    void *keys = forward->keys, *positions = forward->positions;
    int rc = tandem_grow(&keys, &forward->key_capacity, count, sizeof *forward->keys);

    forward->keys = keys;
    if (rc == TANDEM_OK) {
        rc = tandem_grow(&positions, &forward->position_capacity, count, sizeof *forward->positions);
        forward->positions = positions;
    }
    TANDEM_TRY(rc);
    if (forward->builder == NULL) {
        forward->builder = tandem_batch_builder_new();
    }
    return forward->builder == NULL ? TANDEM_ERROR : TANDEM_OK;
}

static int ascending(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

/* Longest first, of equals in the given order: the key is the complement of the length
 * above the index. */
static void sort_by_length(uint64_t *keys, const tandem_sequence *sequences, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = sequences[i].first.count + (sequences[i].pair ? sequences[i].second.count : 0);

        keys[i] = (uint64_t)(UINT32_MAX - (uint32_t)(length < UINT32_MAX ? length : UINT32_MAX)) << 32 | i;
    }
    qsort(keys, count, sizeof *keys, ascending);
}

int tandem_forward_run(tandem_tensor **out, size_t *tokens, tandem_forward *forward, tandem_model *model,
                       const tandem_sequence *sequences, size_t count, tandem_dropout dropout)
{
    tandem_tensor *sorted = NULL;

    TANDEM_TRY(reserve(forward, count));
    sort_by_length(forward->keys, sequences, count);
    tandem_batch_builder_clear(forward->builder);
    for (size_t i = 0; i < count; i++) {
        size_t index = (size_t)(forward->keys[i] & UINT32_MAX);
        const tandem_sequence *sequence = &sequences[index];

        forward->positions[index] = (int64_t)i;
        TANDEM_TRY(tandem_model_append(model, forward->builder, sequence->first, sequence->pair ? &sequence->second : NULL));
    }
    tandem_batch batch = tandem_batch_builder_view(forward->builder);

    *tokens += batch.total;
    if (tandem_model_describe(model)->kind == TANDEM_BI_ENCODER) {
        TANDEM_TRY(tandem_model_embed(&sorted, model, &batch, dropout));
    } else {
        TANDEM_TRY(tandem_model_logits(&sorted, model, &batch, dropout));
    }
    return tandem_op_index_select(out, sorted, 0, forward->positions, count);
}
