/* examples.h - what a step trains on, made from groups: token ids and indices, no text. */
#ifndef TANDEM_TRAIN_EXAMPLES_H
#define TANDEM_TRAIN_EXAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/groups.h"
#include "tandem/memory.h"
#include "tandem/model.h"
#include "tandem/token_store.h"
#include "tandem/vectors.h"
#include "train/losses.h"

#define TANDEM_NO_ROW UINT32_MAX

/* One positive of a group with the group's negatives; numbers are rows of the two
 * token stores. As a list, it has the group's other positives too. */
typedef struct {
    uint32_t query, positive;
    uint32_t group; /* it comes from */
    float positive_score;
    const uint32_t *negatives;
    const float *negative_scores;
    size_t negative_count;
    /* Where negatives are drawn: all usable ones, of which tandem_examples_draw puts some into `negatives`. */
    const uint32_t *pool;
    const float *pool_scores;
    size_t pool_count;
    const uint32_t *others; /* the other positives of a list */
    const float *other_scores;
    size_t other_count;
} tandem_example;

typedef struct {
    tandem_example *items;
    size_t count;
    size_t skipped; /* positives of groups without the negative that the loss needs, */
    size_t first_skipped; /* and the first such group */
    tandem_token_store *queries, *documents;
    tandem_vectors teacher_queries, teacher_documents; /* by row, of the options' teacher; else empty */
    /* Of query row q, the document rows that are no negatives of it: every positive of
     * every group with its text, and the document with the very text of the query.
     * known[known_starts[q]] .. known[known_starts[q + 1]], ascending. */
    uint32_t *known;
    size_t *known_starts;
    size_t query_count, document_count;
    uint32_t *query_documents; /* [query_count]: the document row with the query's text, or TANDEM_NO_ROW */
    size_t longest_pool;       /* 0: nothing is drawn */
    tandem_arena *arena, *drawn; /* `drawn`: the negatives of the epoch */
} tandem_examples;

typedef struct {
    size_t negatives; /* of a group, at most; the first ones that are not known positives, */
    bool draw;        /* or others of them each epoch */
    /* Of tandem_loss_needs: groups without a needed negative are left out; a passage without a
     * needed score, or whose score is no label in the loss's range, is an error that says that
     * `reader` needs it. */
    unsigned needs;
    const char *reader;
    tandem_model *teacher; /* encodes all texts; or NULL */
} tandem_examples_options;

/* What the loss that the settings name reads; without a teacher, nothing drawn. */
tandem_examples_options tandem_examples_options_for(const tandem_loss_settings *settings, bool cross, size_t negatives);

/* Without a model no text is tokenized and the two stores stay NULL (for tests). An error names
 * the group (a line of its file) and the passage. */
int tandem_examples_new(tandem_examples **out, const tandem_groups *groups, const tandem_model *model,
                        const tandem_examples_options *options);
void tandem_examples_free(tandem_examples *examples); /* NULL is fine */

/* True when document row `document` is no negative of query row `query`. */
bool tandem_examples_known(const tandem_examples *examples, uint32_t query, uint32_t document);

/* Draws the negatives of an epoch, each of an example's pool as likely as any other: a function of seed
 * and epoch alone. Of examples that were made without `draw` nothing changes. */
int tandem_examples_draw(tandem_examples *examples, uint64_t seed, uint64_t epoch);

/* Of everything that the examples are made from: queries, passages, scores, in order. */
int tandem_groups_hash(tandem_hash *out, const tandem_groups *groups);

#endif
