/* scale.h - the learned scale of a bi-encoder's loss: its logarithm is one more parameter (CLIP, Radford et al. 2021,
 * section 2.5), trained by AdamW without decay. */
#ifndef TANDEM_TRAIN_SCALE_H
#define TANDEM_TRAIN_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "tandem/loss.h"

typedef struct {
    bool learned;
    float log_value, m, v; /* of the scale; AdamW's running means of its gradient and of the square */
    uint64_t updates;
} tandem_scale;

/* Learned where the settings give it a learning rate. */
tandem_scale tandem_scale_of(const tandem_loss_settings *settings);
double tandem_scale_value(const tandem_scale *scale);
/* One update by `clip` * the gradient of the logarithm; the value stays at most TANDEM_SCALE_MOST. */
void tandem_scale_step(tandem_scale *scale, double gradient, double learning_rate, double clip);

#endif
