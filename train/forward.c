/* forward.c - packed forwards over sequences in any order. */
#include "train/forward.h"

#include <stdlib.h>

#include "tandem/memory.h"

void tandem_forward_free(tandem_forward *forward)
{
    tandem_batch_builder_free(forward->builder);
    free(forward->starts);
    free(forward->tokens_from);
    free(forward->order);
    free(forward->positions);
    free(forward->sides);
    free(forward->keys);
    *forward = (tandem_forward){0};
}

static int reserve(tandem_forward *forward, size_t count)
{
    tandem_batch_builder *builder = forward->builder;

    if (builder != NULL && count <= forward->capacity) {
        return TANDEM_OK;
    }
    tandem_forward_free(forward);
    forward->builder = tandem_batch_builder_new();
    forward->starts = tandem_alloc(count + 1, sizeof *forward->starts);
    forward->tokens_from = tandem_alloc(count + 1, sizeof *forward->tokens_from);
    forward->order = tandem_alloc(count, sizeof *forward->order);
    forward->positions = tandem_alloc(count, sizeof *forward->positions);
    forward->sides = tandem_alloc(count, sizeof *forward->sides);
    forward->keys = tandem_alloc(count, sizeof *forward->keys);
    if (forward->builder == NULL || forward->starts == NULL || forward->tokens_from == NULL ||
        forward->order == NULL || forward->positions == NULL || forward->sides == NULL || forward->keys == NULL) {
        return TANDEM_ERROR;
    }
    forward->capacity = count;
    return TANDEM_OK;
}

size_t tandem_forward_tokens(const tandem_model *model, const tandem_sequence *sequence)
{
    size_t limit = tandem_model_describe(model)->max_length;
    size_t length = sequence->first.count + (sequence->pair ? sequence->second.count : 0) +
                    tandem_tokenizer_special_count(tandem_model_tokenizer(model), sequence->pair);

    return length < limit ? length : limit;
}

static int ascending(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

/* Longest first, of equals in the given order: the key is the complement of the length
 * above the index. */
static void sort_by_length(tandem_forward *forward, const tandem_model *model)
{
    for (size_t i = 0; i < forward->count; i++) {
        size_t length = tandem_forward_tokens(model, &forward->sequences[i]);

        forward->keys[i] = (uint64_t)(UINT32_MAX - (uint32_t)(length < UINT32_MAX ? length : UINT32_MAX)) << 32 | i;
    }
    qsort(forward->keys, forward->count, sizeof *forward->keys, ascending);
    for (size_t i = 0; i < forward->count; i++) {
        int64_t index = (int64_t)(forward->keys[i] & UINT32_MAX);

        forward->order[i] = index;
        forward->positions[index] = (int64_t)i;
        forward->sides[i] = forward->sequences[index].side;
    }
}

int tandem_forward_plan(tandem_forward *forward, const tandem_model *model, const tandem_sequence *sequences,
                        size_t count, size_t token_budget)
{
    size_t tokens = 0, begin = 0;

    TANDEM_TRY(reserve(forward, count));
    forward->sequences = sequences;
    forward->count = count;
    forward->parts = 0;
    sort_by_length(forward, model);
    for (size_t i = 0; i < count; i++) {
        size_t length = tandem_forward_tokens(model, &sequences[forward->order[i]]);

        if (i == 0 || tokens - begin + length > token_budget) {
            forward->starts[forward->parts] = i;
            forward->tokens_from[forward->parts++] = begin = tokens;
        }
        tokens += length;
        forward->padded = i == 0 ? count * length : forward->padded;
    }
    forward->starts[forward->parts] = count;
    forward->tokens_from[forward->parts] = forward->tokens = tokens;
    return TANDEM_OK;
}

int tandem_forward_part(tandem_tensor **out, tandem_forward *forward, tandem_model *model, size_t part,
                        tandem_dropout dropout)
{
    size_t first = forward->starts[part];

    dropout.first_sequence = first;
    dropout.first_row = forward->tokens_from[part];
    tandem_batch_builder_clear(forward->builder);
    for (size_t i = first; i < forward->starts[part + 1]; i++) {
        const tandem_sequence *sequence = &forward->sequences[forward->order[i]];

        TANDEM_TRY(tandem_model_append(model, forward->builder, sequence->first,
                                       sequence->pair ? &sequence->second : NULL));
    }
    tandem_batch batch = tandem_batch_builder_view(forward->builder);

    if (tandem_model_describe(model)->kind == TANDEM_CROSS_ENCODER) {
        return tandem_model_logits(out, model, &batch, dropout);
    }
    return tandem_model_embed_sides(out, model, &batch, forward->sides + first, dropout);
}
