/* scale.c - the learned scale of a bi-encoder's loss. */
#include "train/scale.h"

#include <math.h>

#include "train/losses.h"
#include "train/optimizer.h"

tandem_scale tandem_scale_of(const tandem_loss_settings *settings)
{
    bool learned = settings->scale_learning_rate > 0.0;

    return (tandem_scale){.learned = learned, .log_value = learned ? (float)log(tandem_loss_scale(settings)) : 0.0F};
}

double tandem_scale_value(const tandem_scale *scale)
{
    return exp((double)scale->log_value);
}

void tandem_scale_step(tandem_scale *scale, double gradient, double learning_rate, double clip)
{
    float value = (float)gradient;
    tandem_span span = {.count = 1, .rate = 1.0};
    tandem_adamw adamw = TANDEM_ADAMW_INIT;

    adamw.updates = scale->updates;
    adamw.m = &scale->m;
    adamw.v = &scale->v;
    adamw.spans = &span;
    adamw.floats = adamw.span_count = 1;
    tandem_adamw_step(&adamw, &scale->log_value, &value, learning_rate, clip);
    scale->updates = adamw.updates;
    scale->log_value = fminf(scale->log_value, (float)log(TANDEM_SCALE_MOST));
}
