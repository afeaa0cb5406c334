/* trainer.h - what a run consists of; shared by trainer.c (the loop), setup.c and
 * output.c. */
#ifndef TANDEM_TRAIN_TRAINER_H
#define TANDEM_TRAIN_TRAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/model.h"
#include "tandem/train.h"
#include "train/checkpoint.h"
#include "train/dev.h"
#include "train/encoded.h"
#include "train/journal.h"
#include "train/optimizer.h"
#include "train/sampler.h"
#include "train/source.h"
#include "train/step.h"

/* TensorBoard reads files with "tfevents" in their names. */
#define TANDEM_EVENTS "events.out.tfevents.tandem"
#define TANDEM_MINED "mined"

typedef struct {
    const tandem_train_config *config;
    bool cross;
    const char *directory; /* what is written at the end */
    char *folder;          /* directory.checkpoint */
    char *journal_path;    /* metrics.jsonl in it */
    char *events_path;     /* TANDEM_EVENTS in it */
    char *mined_path;      /* folder of the negatives of every mining, mined/step-N.jsonl.zst */
    tandem_buffer settings; /* the dump */

    tandem_sources sources;
    tandem_model *model;
    tandem_prompts prompts; /* the model's own, in which dev is evaluated */
    tandem_stepper *stepper;
    tandem_adamw *adamw;
    tandem_encoded *encoded; /* NULL for a cross-encoder */
    tandem_dev *dev; /* NULL: nothing is evaluated */
    tandem_journal *journal;

    float *weights; /* the model's arena, [floats]; as it is at the last tandem_adamw_fetch */
    float *best;    /* [floats] with dev, else NULL */
    size_t floats;
    const tandem_parameter **parameters;
    tandem_mix mix;             /* the steps of epoch state.epoch, once it is planned */
    bool planned;
    bool complete; /* the model directory was there, and the state is that of its last step */
    uint64_t dropout_seed;

    uint64_t total_steps, warmup_steps, decay_steps; /* as far as the epoch's batches tell; exact in the last one */
    double padding;      /* share of a padded batch's tokens that the last step did without */
    uint64_t saved_step; /* of the newest checkpoint of this process; UINT64_MAX: none */
    tandem_hash data;
    tandem_train_state state;
} tandem_trainer;

/* setup.c: checks the settings, opens everything, and restores a checkpoint, or the state of
 * a run that is complete. `trainer` is zeroed but for config, cross and directory. */
int tandem_trainer_open(tandem_trainer *trainer, bool resume);
void tandem_trainer_close(tandem_trainer *trainer);
/* Plans the steps of the epoch that the state names, and what follows from their number. An error when there
 * is nothing to train on. */
int tandem_trainer_plan_epoch(tandem_trainer *trainer);
/* A view of the trainer for checkpoint.h; state is copied. */
tandem_checkpoint tandem_trainer_checkpoint(const tandem_trainer *trainer);

/* output.c: writes the model directory and removes the checkpoints. */
int tandem_trainer_write(tandem_trainer *trainer);
/* Whether tandem_trainer_write has written `directory`. */
bool tandem_trainer_is_written(const char *directory);
/* Takes the state from a directory that is written, and removes the checkpoints, as a run killed after its last
 * rename may have left them. TANDEM_USAGE where the directory is of another run. */
int tandem_trainer_recall(tandem_trainer *trainer);

#endif
