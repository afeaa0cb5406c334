/* miner.h - private to mining/: the state of a mining, and its steps.
 *
 * A block of queries goes through: retrieve and fuse (candidates.c), rules on texts (rules.c), the
 * judge's scores (judge.c), thresholds, choice and groups (negatives.c). */
#ifndef TANDEM_MINING_MINER_H
#define TANDEM_MINING_MINER_H

#include <stddef.h>
#include <stdint.h>

#include "mining/shingles.h"
#include "mining/statistics.h"
#include "tandem/negatives.h"
#include "tandem/token_store.h"

/* A document of a query, of the split's. */
typedef struct {
    uint32_t query, document;
    float score; /* of the judge; NaN: not known yet */
} tandem_judged;

/* Those of a block's queries: query i's are items[starts[i] .. starts[i + 1]). */
typedef struct {
    tandem_judged *items;
    size_t count, room;
    size_t *starts; /* [block + 1] */
} tandem_judged_list;

/* What a document's ranks in the sources come to. */
typedef struct {
    uint32_t document, source;
    uint32_t rank; /* the best */
    float score;   /* of the first source; NaN: it has not found it */
    double fused;  /* reciprocal rank fusion */
} tandem_ranked;

typedef struct {
    const tandem_mining *job;
    size_t block;        /* queries at a time */
    uint32_t *tie_ranks; /* [corpus] */

    /* Of the present block */
    tandem_hits *hits; /* [sources] */
    tandem_judged_list positives, candidates, chosen;

    /* Of the present query, number q of the split: marks that are q + 1 */
    uint32_t *positive;        /* [corpus] a positive, of it or of a query with its text */
    uint32_t *excluded;        /* [corpus] per first_alike: the text is no negative, or one already */
    tandem_ranked *ranked;     /* [sources * hits] */
    uint32_t *order;           /* [sources * hits] */
    uint32_t *positive_list;   /* documents marked positive */
    tandem_shingles *shingles; /* their wording, when it is asked for */
    size_t positive_count, positive_room, shingles_room;
    tandem_shingles candidate; /* scratch */

    tandem_strmap *by_text; /* text of a document -> first document with that text */
    uint32_t *first_alike;  /* [corpus] that document, for each */
    uint32_t *same_query;   /* [split] the next query with the same text, round in a ring */
    tandem_token_store *cross_queries, *cross_documents;
} tandem_miner;

/* Checks the options and prepares; the miner is to be closed in either case. `job` is borrowed. */
int tandem_miner_open(tandem_miner *m, const tandem_mining *job);
void tandem_miner_close(tandem_miner *m);
/* Mines for the queries first .. first + count <= first + m->block of the split. */
int tandem_miner_block(tandem_miner *m, tandem_groups *groups, tandem_mining_tally *tally, size_t first, size_t count);

/* TANDEM_USAGE when the options contradict each other; `sources` may be NULL. */
int tandem_mining_check(const tandem_mining_options *options, const tandem_split *split, const char *path);
/* The error that no group is left. */
int tandem_mining_none(const tandem_mining_options *options, const char *path);
/* Queries that are mined at a time. */
size_t tandem_mining_block(const tandem_mining *job);
/* Hits that a source can have. */
size_t tandem_mining_hits(const tandem_mining *job);

static inline const tandem_text *tandem_miner_query(const tandem_miner *m, size_t q)
{
    return &m->job->dataset->queries.items[m->job->split->queries[q].query];
}

/* Appends to the list's last query. */
int tandem_judged_add(tandem_judged_list *list, tandem_judged item);

/* ---- candidates.c -------------------------------------------------------------------- */
/* Row `index` of a matrix. */
const float *tandem_shards_row(const tandem_shards *shards, size_t index);
/* Searches all sources for a block's queries: m->hits. */
int tandem_miner_retrieve(tandem_miner *m, size_t first, size_t count);
/* Fuses the hits of query `row` of the block into m->ranked, hardest first; their number. */
size_t tandem_miner_fuse(tandem_miner *m, size_t row);

/* ---- rules.c ----------------------------------------------------------------------------- */
/* Finds documents, and queries, with the same text. */
int tandem_rules_prepare(tandem_miner *m);
/* Makes `q` the present query: marks its positives, their texts and its own. */
int tandem_rules_begin(tandem_miner *m, size_t q);
/* The counter of the rule by which the document is no negative of the present query; NULL in *out:
 * none, and its text is marked. */
int tandem_rules_apply(size_t **out, tandem_miner *m, tandem_mining_statistics *counts, size_t q, uint32_t document);

/* ---- judge.c --------------------------------------------------------------------------------- */
/* Sets the scores that are NaN. */
int tandem_judge(tandem_miner *m, tandem_judged_list *list);

#endif
