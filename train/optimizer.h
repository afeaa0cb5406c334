/* optimizer.h - AdamW over the flat arenas, gradient clipping, learning rate schedule. */
#ifndef TANDEM_TRAIN_OPTIMIZER_H
#define TANDEM_TRAIN_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/model.h"

/* A run of the arena that is trained, all of it with or all of it without decay. */
typedef struct {
    size_t offset, count; /* floats */
    bool decay;
} tandem_span;

/* AdamW (Loshchilov & Hutter 2019) as torch.optim.AdamW computes it. What no span
 * covers is never touched. */
typedef struct {
    double beta1, beta2, epsilon, weight_decay;
    uint64_t updates; /* so far; bias correction counts them */
    size_t floats;
    float *m, *v;     /* [floats], running means of the gradient and of its square */
    tandem_span *spans;
    size_t span_count;
} tandem_adamw;

/* betas 0.9 and 0.999, epsilon 1e-8. The spans are copied; one that leaves the arena
 * of `floats` is an error. */
int tandem_adamw_new(tandem_adamw **out, size_t floats, const tandem_span *spans, size_t count, double weight_decay);
/* For the trained parameters of a model. */
int tandem_adamw_for_model(tandem_adamw **out, const tandem_model *model, double weight_decay);
void tandem_adamw_free(tandem_adamw *adamw); /* NULL is fine */

/* One update of parameters [floats] by `scale` * gradients [floats]. Both finite: the
 * caller has looked at the norm. */
void tandem_adamw_step(tandem_adamw *adamw, float *parameters, const float *gradients, double learning_rate, double scale);

/* Euclidean norm of values [count], summed in double in an order that does not depend
 * on the number of threads. Not finite when a value is not. */
int tandem_norm(double *out, const float *values, size_t count);

/* What to multiply gradients with so that their norm is at most `max`
 * (torch.nn.utils.clip_grad_norm_); max 0: no clipping. */
double tandem_clip_scale(double norm, double max);

/* Linear warm-up from 0 over `warmup` steps, then linear decay to 0 at `total`
 * (transformers get_linear_schedule_with_warmup): the factor of step `step`, from 0. */
double tandem_schedule_factor(uint64_t step, uint64_t warmup, uint64_t total);
/* ceil(ratio * total), as transformers' TrainingArguments.get_warmup_steps. */
uint64_t tandem_warmup_steps(double ratio, uint64_t total);

#endif
