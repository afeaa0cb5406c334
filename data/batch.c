/* batch.c - packed batches: building one, and cutting many sequences into batches. */
#include "tandem/batch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/memory.h"

struct tandem_batch_builder {
    size_t count, total;
    int32_t *ids, *type_ids;     /* grown together */
    size_t ids_room, types_room; /* in items */
    int32_t *offsets;            /* [count + 1] */
    size_t offsets_room;
};

tandem_batch_builder *tandem_batch_builder_new(void)
{
    tandem_batch_builder *builder = tandem_alloc(1, sizeof *builder);
    if (builder == NULL) {
        return NULL;
    }
    if (tandem_grow((void **)&builder->offsets, &builder->offsets_room, 1, sizeof *builder->offsets) < 0) {
        free(builder);
        return NULL;
    }
    tandem_batch_builder_clear(builder);
    return builder;
}

void tandem_batch_builder_free(tandem_batch_builder *builder)
{
    if (builder != NULL) {
        free(builder->ids);
        free(builder->type_ids);
        free(builder->offsets);
        free(builder);
    }
}

void tandem_batch_builder_clear(tandem_batch_builder *builder)
{
    builder->count = 0;
    builder->total = 0;
    builder->offsets[0] = 0;
}

int tandem_batch_builder_add(tandem_batch_builder *builder, size_t length, int32_t **ids, int32_t **type_ids)
{
    /* Offsets are 32-bit: a batch beyond that would not fit any memory either. */
    if (length > (size_t)INT32_MAX - builder->total) {
        return tandem_error("batch: %zu tokens and %zu more exceed the limit of %d", builder->total, length, INT32_MAX);
    }
    size_t total = builder->total + length;
    TANDEM_TRY(tandem_grow((void **)&builder->ids, &builder->ids_room, total, sizeof *builder->ids));
    TANDEM_TRY(tandem_grow((void **)&builder->type_ids, &builder->types_room, total, sizeof *builder->type_ids));
    TANDEM_TRY(tandem_grow((void **)&builder->offsets, &builder->offsets_room, builder->count + 2, sizeof *builder->offsets));
    *ids = builder->ids + builder->total;
    *type_ids = builder->type_ids + builder->total;
    if (length > 0) {
        memset(*ids, 0, length * sizeof **ids);
        memset(*type_ids, 0, length * sizeof **type_ids);
    }
    builder->total = total;
    builder->count++;
    builder->offsets[builder->count] = (int32_t)total;
    return TANDEM_OK;
}

static bool all_zero(const int32_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i] != 0) {
            return false;
        }
    }
    return true;
}

tandem_batch tandem_batch_builder_view(const tandem_batch_builder *builder)
{
    return (tandem_batch){
        .count = builder->count,
        .total = builder->total,
        .ids = builder->ids,
        .type_ids = all_zero(builder->type_ids, builder->total) ? NULL : builder->type_ids,
        .offsets = builder->offsets,
    };
}

/* ---- plans ------------------------------------------------------------------------- */

typedef struct {
    uint32_t length, index;
} sized_sequence;

/* Longest first; equal lengths keep their order, so that a plan is unique. */
static int by_length(const void *a, const void *b)
{
    const sized_sequence *x = a, *y = b;
    if (x->length != y->length) {
        return x->length > y->length ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

/* Fills `order`, window by window. */
static int sort_windows(uint32_t *order, const uint32_t *lengths, size_t count, size_t window)
{
    sized_sequence *items = tandem_alloc(count, sizeof *items);
    if (items == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        items[i] = (sized_sequence){lengths[i], (uint32_t)i};
    }
    for (size_t start = 0; start < count; start += window) {
        size_t rest = count - start;
        qsort(items + start, rest < window ? rest : window, sizeof *items, by_length);
        if (rest <= window) {
            break;
        }
    }
    for (size_t i = 0; i < count; i++) {
        order[i] = items[i].index;
    }
    free(items);
    return TANDEM_OK;
}

int tandem_batch_plan_make(tandem_batch_plan *out, const uint32_t *lengths, size_t count, size_t token_budget, size_t window)
{
    if (count > UINT32_MAX) {
        return tandem_error("batch plan: %zu sequences exceed the limit of %u", count, UINT32_MAX);
    }
    tandem_batch_plan plan = {0};
    plan.order = tandem_alloc(count, sizeof *plan.order);
    plan.starts = tandem_alloc(count + 1, sizeof *plan.starts);
    if (plan.order == NULL || plan.starts == NULL || sort_windows(plan.order, lengths, count, window == 0 ? count : window) < 0) {
        tandem_batch_plan_free(&plan);
        return TANDEM_ERROR;
    }
    size_t tokens = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = lengths[plan.order[i]];
        bool full = tokens > token_budget || length > token_budget - tokens;
        if (i == 0 || full) {
            plan.starts[plan.batches++] = i;
            tokens = 0;
        }
        tokens += length;
    }
    plan.starts[plan.batches] = count;
    *out = plan;
    return TANDEM_OK;
}

void tandem_batch_plan_free(tandem_batch_plan *plan)
{
    free(plan->order);
    free(plan->starts);
    *plan = (tandem_batch_plan){0};
}
