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
    double rate;          /* times the learning rate */
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

#define TANDEM_ADAMW_INIT {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8}

/* Begins with TANDEM_ADAMW_INIT. The spans are copied; one that leaves the arena
 * of `floats` is an error. */
int tandem_adamw_new(tandem_adamw **out, size_t floats, const tandem_span *spans, size_t count, double weight_decay);
/* For the parameters of a model, less the frozen ones: with frozen 0 its embeddings, with n those and
 * the first n layers; -1: none. With `layer_decay` d (ELECTRA, Clark et al. 2020) layer l of L, from 1, learns at
 * d^(L - l) of the rate, the embeddings at d^L. `gradients` of frozen parameters are to be left out of the norm:
 * tandem_adamw_clear_frozen zeroes them. */
int tandem_adamw_for_model(tandem_adamw **out, const tandem_model *model, double weight_decay, int64_t frozen,
                           double layer_decay);
void tandem_adamw_clear_frozen(const tandem_adamw *adamw, float *gradients);
void tandem_adamw_free(tandem_adamw *adamw); /* NULL is fine */

/* One update of parameters [floats] by `scale` * gradients [floats]. Both finite: the
 * caller has looked at the norm. */
void tandem_adamw_step(tandem_adamw *adamw, float *parameters, const float *gradients, double learning_rate, double scale);

/* The same for a model whose gradients a step has made, wherever they are: their norm, once those of frozen parameters
 * are cleared, and an update. */
int tandem_adamw_norm(double *out, const tandem_adamw *adamw, const tandem_model *model);
int tandem_adamw_update(tandem_adamw *adamw, tandem_model *model, double learning_rate, double scale);
/* Brings m, v and the model's arena up to date with its updates; and its device with m and v. */
int tandem_adamw_fetch(const tandem_adamw *adamw, const tandem_model *model);
int tandem_adamw_send(const tandem_adamw *adamw, const tandem_model *model);

/* Euclidean norm of values [count], summed in double in an order that does not depend
 * on the number of threads. Not finite when a value is not. */
int tandem_norm(double *out, const float *values, size_t count);

/* What to multiply gradients with so that their norm is at most `max`
 * (torch.nn.utils.clip_grad_norm_); max 0: no clipping. */
double tandem_clip_scale(double norm, double max);

/* Choices of schedule.name. After a linear warm-up from 0 over `warmup` steps: LINEAR and COSINE fall to 0 at `total`
 * (transformers get_linear_ and get_cosine_schedule_with_warmup), CONSTANT stays, WSD (warm-up, stable, decay; Hu et
 * al. 2024, MiniCPM) stays and then falls linearly to 0 over the last `decay` steps. */
typedef enum {
    TANDEM_SCHEDULE_LINEAR, TANDEM_SCHEDULE_COSINE, TANDEM_SCHEDULE_CONSTANT, TANDEM_SCHEDULE_WSD
} tandem_schedule;

/* The factor of the learning rate at step `step`, from 0. */
double tandem_schedule_factor(tandem_schedule schedule, uint64_t step, uint64_t warmup, uint64_t decay, uint64_t total);
/* ceil(ratio * total), as transformers' TrainingArguments.get_warmup_steps. */
uint64_t tandem_warmup_steps(double ratio, uint64_t total);

/* Whether a norm is above `factor` times the median of the last norms, [count], in any order; `factor` 0 and fewer than
 * TANDEM_SPIKE_LEAST norms: no. Norms of skipped steps are to be among the next ones, so that a lasting change is
 * followed. */
enum { TANDEM_SPIKE_WINDOW = 64, TANDEM_SPIKE_LEAST = 16 };
bool tandem_is_spike(double norm, const double *norms, size_t count, double factor);

#endif
