/* losses.h - the table of losses: what the config calls them, and how the trainer
 * runs them. */
#ifndef TANDEM_TRAIN_LOSSES_H
#define TANDEM_TRAIN_LOSSES_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/loss.h"

/* Candidate pairs of whole groups, each with its positive first. */
typedef struct {
    size_t groups;
    const size_t *starts;  /* [groups + 1] */
    const float *labels;   /* [starts[groups]], 1 for a positive, 0 for a negative */
    const float *offsets;  /* the same, or NULL: added to the logits */
    double pos_weight;
} tandem_candidates;

/* A row of the cross-encoder losses. A loss is a mean over terms, so that a step may be
 * cut into parts: the mean of the whole is the sum of part means times their share of
 * the terms. */
typedef struct {
    const char *name;
    bool needs_negatives; /* a group without one has no term: it is left out */
    size_t (*terms)(const tandem_candidates *candidates);
    int (*compute)(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *candidates);
} tandem_cross_loss;

/* `index` is the choice of the setting loss.name. */
const tandem_cross_loss *tandem_cross_loss_at(size_t index);

/* NULL-terminated names, the choices of loss.name. */
extern const char *const tandem_bi_loss_names[];
extern const char *const tandem_cross_loss_names[];

#endif
