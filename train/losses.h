/* losses.h - the tables of losses: what the config calls them, what they need, and how the
 * trainer runs them. */
#ifndef TANDEM_TRAIN_LOSSES_H
#define TANDEM_TRAIN_LOSSES_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/loss.h"

/* What must be there for a loss to make sense; checked before the first step. */
typedef enum {
    TANDEM_NEEDS_NEGATIVES = 1, /* a group without one has no term: it is left out */
    TANDEM_NEEDS_SCORES = 2,    /* a teacher's score for every passage */
    TANDEM_NEEDS_TEACHER = 4,   /* vectors of the model that loss.teacher names */
    TANDEM_READS_LABELS = 8,    /* any, unless one of the next two is set */
    TANDEM_LABELS_IN_UNIT = 16, /* labels from 0 to 1 */
    TANDEM_LABELS_0_OR_1 = 32,
    TANDEM_NEEDS_CLASSES = 64,  /* labels are classes: the model has two labels at least */
    TANDEM_TAKES_LISTS = 128,   /* all positives of a group are candidates of one list */
    TANDEM_GOES_BY_ROWS = 256,  /* computable row by row: the parts add up to the loss */
    TANDEM_READS_CLASSES = 512, /* of the texts of a step */
    TANDEM_TAKES_SCALE = 1024   /* which may be learned */
} tandem_loss_need;

typedef struct {
    const char *name;
    unsigned needs;
    tandem_bi_loss_function *compute;
} tandem_bi_loss;

/* A cross-encoder's loss is a mean over terms, so that a step may be cut into parts: the
 * mean of the whole is the sum of part means times their share of the terms. */
typedef struct {
    const char *name;
    unsigned needs;
    size_t (*terms)(const tandem_candidates *candidates);
    tandem_cross_loss_function *compute;
} tandem_cross_loss;

/* `index` is the choice of the setting loss.name. */
const tandem_bi_loss *tandem_bi_loss_at(size_t index);
const tandem_cross_loss *tandem_cross_loss_at(size_t index);
/* What the loss that the settings name needs of the groups; labels count where they are scores. */
unsigned tandem_loss_needs(const tandem_loss_settings *settings, bool cross);
const char *tandem_loss_name(const tandem_loss_settings *settings, bool cross);

/* NULL-terminated names, the choices of loss.name. */
extern const char *const tandem_bi_loss_names[];
extern const char *const tandem_cross_loss_names[];

/* What a bi-encoder's similarities are multiplied with: loss.scale, or one over gist's temperature. */
double tandem_loss_scale(const tandem_loss_settings *settings);
void tandem_loss_set_scale(tandem_loss_settings *settings, double scale);
/* A learned scale is kept to at most this (CLIP, Radford et al. 2021, section 2.5). */
#define TANDEM_SCALE_MOST 100.0

/* TANDEM_USAGE for settings that do not go together. */
int tandem_loss_check_settings(const tandem_loss_settings *settings, bool cross);

/* Matryoshka representation learning (Kusupati et al. 2022): the loss of vectors cut to each
 * size and normalized, weighted and added. */
enum { TANDEM_MATRYOSHKA_MOST = 32 };
typedef struct {
    size_t count; /* 0: off */
    int64_t dims[TANDEM_MATRYOSHKA_MOST];
    double weights[TANDEM_MATRYOSHKA_MOST];
} tandem_matryoshka;

/* Reads settings->matryoshka; TANDEM_USAGE for a size below 1 or above `dim`, or for other than
 * one weight a size (none: 1 each). */
int tandem_matryoshka_parse(tandem_matryoshka *out, const tandem_loss_settings *settings, int64_t dim);

/* The loss that candidates->settings names, with Matryoshka, and its gradients, [n, dim] and
 * [m, dim], by way of leaves: the embeddings' own graph is not touched, so that it may be
 * walked once or be made again later (GradCache, Gao et al. 2021). A loss that goes by rows
 * is computed in runs of them, so that no n x m matrix is held. A learnable scale's gradient
 * is added to candidates->scale. To be called inside a scope; candidates->first, last and the
 * scratch are the function's. */
int tandem_bi_loss_run(double *value, tandem_tensor **query_gradients, tandem_tensor **document_gradients,
                       const tandem_tensor *queries, const tandem_tensor *documents,
                       const tandem_bi_candidates *candidates);

#endif
