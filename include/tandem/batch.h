/* batch.h - packed batches: sequences one after the other, no padding. */
#ifndef TANDEM_BATCH_H
#define TANDEM_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `count` sequences of together `total` tokens; sequence i holds positions
 * offsets[i] .. offsets[i + 1]. type_ids may be NULL: all 0. */
typedef struct {
    size_t count;
    size_t total;
    const int32_t *ids;      /* [total] */
    const int32_t *type_ids; /* [total] or NULL */
    const int32_t *offsets;  /* [count + 1] */
} tandem_batch;

/* A batch under construction; its memory is reused from batch to batch. */
typedef struct tandem_batch_builder tandem_batch_builder;

tandem_batch_builder *tandem_batch_builder_new(void); /* NULL with the message set */
void tandem_batch_builder_free(tandem_batch_builder *builder); /* NULL is fine */
void tandem_batch_builder_clear(tandem_batch_builder *builder);
/* Room for one more sequence of `length` tokens: the caller fills *ids and
 * *type_ids (zeroed) at once. Pointers are valid until the next call. */
int tandem_batch_builder_add(tandem_batch_builder *builder, size_t length, int32_t **ids, int32_t **type_ids);
/* View of what was added, valid until the next clear or add. type_ids is NULL when
 * all are 0. */
tandem_batch tandem_batch_builder_view(const tandem_batch_builder *builder);

/* A plan cuts `count` sequences of the given lengths into batches of at most
 * `token_budget` tokens (at least one sequence each): sequences are sorted by length,
 * longest first, within windows of `window` sequences (0: all in one window). */
typedef struct {
    uint32_t *order;   /* [count] indices of sequences, in batch order */
    size_t *starts;    /* [batches + 1] positions in order */
    size_t batches;
} tandem_batch_plan;

int tandem_batch_plan_make(tandem_batch_plan *out, const uint32_t *lengths, size_t count, size_t token_budget, size_t window);
void tandem_batch_plan_free(tandem_batch_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
