/* groups.h - training groups: a query, its positives, its negatives.
 * JSONL: {"query_id","query","positives":[{"id","text","score"?}],"negatives":[...]} */
#ifndef TANDEM_GROUPS_H
#define TANDEM_GROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *id;
    uint32_t text; /* index in groups->texts */
    float score;   /* of the retriever or a teacher; NaN when there is none */
} tandem_passage;

typedef struct {
    const char *query_id;
    uint32_t query; /* index in groups->texts */
    const tandem_passage *positives;
    size_t positive_count;
    const tandem_passage *negatives; /* hardest first, as mined */
    size_t negative_count;
} tandem_group;

/* Texts are unique by content: two passages with the same bytes share an index, so
 * that duplicates are seen by comparing indices. */
typedef struct {
    tandem_text *texts;
    size_t text_count;
    tandem_group *items;
    size_t count;
    struct tandem_groups_private *own;
} tandem_groups;

/* ---- building ---------------------------------------------------------------------- */
int tandem_groups_new(tandem_groups **out);
void tandem_groups_free(tandem_groups *groups); /* NULL is fine */
/* Starts a group; passages are added to the group started last. Strings are copied. */
int tandem_groups_begin(tandem_groups *groups, const char *query_id, const char *query, size_t length);
int tandem_groups_add(tandem_groups *groups, bool positive, const char *id, const char *text, size_t length, float score);
/* To be called once after the last add; makes `items` valid. */
int tandem_groups_finish(tandem_groups *groups);

/* ---- files -------------------------------------------------------------------------- */
/* Reads JSONL (.zst too); an error names file and line. A group without positives is an error. */
int tandem_groups_read(tandem_groups **out, const char *path);
int tandem_groups_write(const tandem_groups *groups, const char *path);
/* The judged pairs of a split as groups without negatives. */
int tandem_groups_from_split(tandem_groups **out, const tandem_dataset *dataset, const tandem_split *split);

#ifdef __cplusplus
}
#endif
#endif
