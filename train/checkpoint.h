/* checkpoint.h - everything that a run needs to continue, in a directory that is
 * complete or not there.
 *
 * FOLDER/step-N/
 *   weights.safetensors   parameters under their names, float32
 *   adam_m.safetensors    running mean of the gradient, the same names
 *   adam_v.safetensors    running mean of its square
 *   best.safetensors      the best weights so far, once an evaluation was done
 *   groups-K.jsonl        the groups of source K with the negatives mined last, once mined
 *   state.json            counters, settings, hash of the data, versions, threads
 *   manifest.json         size and XXH3-128 of every other file; written last
 *
 * The directory is filled under another name and renamed. The newest two are kept. */
#ifndef TANDEM_TRAIN_CHECKPOINT_H
#define TANDEM_TRAIN_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/groups.h"
#include "tandem/hash.h"
#include "tandem/model.h"
#include "train/optimizer.h"
#include "train/scale.h"

/* Where the run is. Order, dropout masks, schedule and mining follow from the seed and
 * these numbers: there is no generator state to save. */
typedef struct {
    uint64_t step;           /* steps done */
    uint64_t updates;        /* of the optimizer: steps less the skipped ones */
    uint64_t skipped;        /* steps without an update */
    uint64_t skipped_in_row; /* the last ones of them */
    uint64_t evaluated_step; /* at which the last evaluation was finished; 0: none */
    uint64_t epoch;          /* from 0 */
    uint64_t epoch_start;    /* steps done before it */
    uint64_t mined_at;       /* 1 + the steps done when the negatives were mined last; 0: never */
    uint64_t best_step;
    uint64_t stale;          /* evaluations since the best one */
    uint64_t norm_count;     /* norms of gradients so far, */
    double norms[TANDEM_SPIKE_WINDOW]; /* and the last of them: number i at i modulo the window */
    double best_metric;      /* NaN: no evaluation yet */
    uint64_t metrics_bytes, events_bytes; /* of metrics.jsonl and the event file */
    uint64_t pairs, tokens;     /* trained on so far */
    double seconds;          /* spent in steps so far */
    double loss;             /* of the last step */
} tandem_train_state;

/* The same of one source of the training data. */
typedef struct {
    tandem_groups *mined; /* its groups with the negatives mined last; NULL: none */
    uint64_t steps;       /* with a finite loss in this epoch so far, */
    double loss;          /* and the sum of their losses */
    tandem_scale scale;   /* of its loss */
} tandem_source_state;

/* What a checkpoint is written from and restored to; all borrowed. */
typedef struct {
    const tandem_parameter *const *parameters; /* [parameter_count] */
    size_t parameter_count;
    float *weights, *m, *v;      /* arenas */
    float *best;                 /* an arena, or NULL when nothing is evaluated; saved once best_metric is a number */
    tandem_source_state *sources; /* [source_count] */
    size_t source_count;
    const char *settings;        /* the dump, a JSON object */
    tandem_hash data;            /* of training data and tokenizer */
    tandem_train_state state;
} tandem_checkpoint;

/* Writes FOLDER/step-N and removes all but the newest two. */
int tandem_checkpoint_write(const char *folder, const tandem_checkpoint *checkpoint);

/* Finds the newest checkpoint whose files are as its manifest says; damaged ones are
 * passed over with a warning. TANDEM_NOT_FOUND when there is none at all, TANDEM_ERROR
 * when all are damaged. The caller frees *path. */
int tandem_checkpoint_find(char **path, const char *folder);

/* Restores arenas and state from a directory that tandem_checkpoint_find gave.
 * TANDEM_USAGE when settings or data differ: the message lists the keys. (The
 * settings below "checkpoint" and the number of threads may differ; another number of
 * threads is warned about.) Mined groups are the caller's to free; there must be none before. */
int tandem_checkpoint_restore(tandem_checkpoint *checkpoint, const char *path);

/* state.json alone: what the run is, and where. Reading restores state and sources, and
 * refuses another run's as tandem_checkpoint_restore does. */
int tandem_train_state_write(const char *path, const tandem_checkpoint *checkpoint);
int tandem_train_state_read(tandem_checkpoint *checkpoint, const char *path);

#endif
