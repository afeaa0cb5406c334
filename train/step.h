/* step.h - forward, loss and backward of one training step; the update is the caller's. */
#ifndef TANDEM_TRAIN_STEP_H
#define TANDEM_TRAIN_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/model.h"
#include "train/examples.h"
#include "train/losses.h"

typedef struct {
    double loss;
    double scale_gradient; /* by the logarithm of the scale; 0 where it is not learned */
    size_t tokens;
    size_t padded; /* tokens if all texts of a forward were as long as the longest */
    size_t parts; /* forwards with a backward of their own */
    bool idle;    /* no positive has anything to be compared with: there is nothing to learn */
    size_t pairs; /* (query, positive) pairs of a bi-encoder, (query, passage) pairs of a cross-encoder */
} tandem_step_figures;

/* Works on one model; keeps its buffers from step to step. */
typedef struct tandem_stepper tandem_stepper;

int tandem_stepper_new(tandem_stepper **out, tandem_model *model); /* the model is borrowed */
void tandem_stepper_free(tandem_stepper *stepper);                 /* NULL is fine */

/* Adds the gradient of the step's loss to the model's gradients, for the examples
 * batch[0 .. count). `step` numbers the dropout masks: one number a step of a run.
 * When the loss is not finite, figures->loss says so, and the gradients are void.
 * A step of more than `forward_tokens` tokens goes through the model in parts of at most
 * so many, one text at least, so that memory does not grow with the batch (GradCache): loss
 * and gradients are those of one forward, to rounding, for every loss and with dropout. */
int tandem_step_bi(tandem_step_figures *figures, tandem_stepper *stepper, const tandem_examples *examples,
                   const uint32_t *batch, size_t count, const tandem_loss_settings *settings, size_t forward_tokens,
                   bool train, uint64_t seed, uint64_t step);

/* Here a part is whole groups, one at least, whose losses add up. */
int tandem_step_cross(tandem_step_figures *figures, tandem_stepper *stepper, const tandem_examples *examples,
                      const uint32_t *batch, size_t count, const tandem_loss_settings *settings, size_t forward_tokens,
                      bool train, uint64_t seed, uint64_t step);

#endif
