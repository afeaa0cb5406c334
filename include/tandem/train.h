/* train.h - fine-tuning: one config, one call. */
#ifndef TANDEM_TRAIN_H
#define TANDEM_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/loss.h"
#include "tandem/memory.h"
#include "tandem/settings.h"

struct cJSON;

#ifdef __cplusplus
extern "C" {
#endif

/* One field a row of the settings table (train/config.c), which documents each. */
typedef struct {
    char *model;
    struct {
        char *dataset, *split, *groups;
        int64_t negatives; /* of each group used per step */
        int64_t negative_sampling; /* choice: first | random */
        int64_t sampler;           /* choice: random | no_duplicates */
        char *query_prompt, *document_prompt; /* bi-encoder: text before each text; NULL: the model's own */
        double weight;   /* of a source among others */
        char *sources;   /* the array data.sources as JSON, or NULL: what `data` and `loss` say is the only source */
        int64_t mixing;  /* choice: proportional | round_robin | weighted */
    } data;
    int64_t max_length;
    tandem_loss_settings loss;
    int64_t batch_size; /* groups a step */
    int64_t forward_tokens; /* of one pass through the model, at most; a step is cut into such */
    int64_t epochs;
    double learning_rate, warmup_ratio, decay_ratio, weight_decay, max_grad_norm;
    int64_t schedule;    /* choice: linear | cosine | constant | wsd */
    double spike_guard;  /* times the median norm of the gradient; 0: off */
    int64_t freeze;      /* -1: nothing; else the embeddings and so many layers */
    double layer_decay;
    int64_t seed;
    bool activation_checkpointing; /* keep a layer's input alone, and run the layer again in backward */
    int64_t dtype;   /* choice: fp32 | bf16 | auto, as tandem_precision */
    int64_t threads; /* 0: physical cores */
    struct {
        char *dataset, *split, *metric;
        char *run; /* cross-encoder: the TREC run file whose top 50 are reranked */
        int64_t every_steps; /* 0: at the end of each epoch */
        int64_t patience;    /* evaluations without a new best that end the run; 0: off */
    } dev;
    struct {
        int64_t refresh_epochs; /* re-mine with the weights as they are every so many epochs; 0: never */
        int64_t refresh_steps;  /* the same every so many steps */
        int64_t bm25_negatives; /* besides those of the model */
        int64_t range[2];
        double absolute_margin, relative_margin; /* negative: off */
        int64_t negatives;
        int64_t sampling; /* choice: top | random */
    } mining;
    struct {
        int64_t every_steps; /* 0: only on a signal */
    } checkpoint;
} tandem_train_config;

/* The tables of the two commands. They share most rows; `loss` differs, `mining` is the
 * bi-encoder's alone, dev.run is the cross-encoder's. */
const tandem_setting *tandem_train_settings(bool cross, size_t *count);

/* What an element of data.sources may say; the fields are the config's own `data` and `loss`. */
const tandem_setting *tandem_train_source_settings(bool cross, size_t *count);
/* The sources of a run, one at least: each is the config with what its element of data.sources says in place
 * of `data` and `loss`. TANDEM_USAGE, with the element named, for what the table does not have. The caller
 * frees them. */
int tandem_train_sources(tandem_train_config **out, size_t *count, const tandem_train_config *config, bool cross);
void tandem_train_sources_free(tandem_train_config *sources, size_t count, bool cross); /* NULL is fine */

typedef struct {
    size_t steps;
    size_t skipped; /* steps without an update: a loss or gradient was not finite, or a spike */
    double seconds, final_loss, pairs_per_second, tokens_per_second;
    double scale;        /* of the loss after the last step, where one is learned and of one source; else NaN */
    double best_metric;  /* NaN without dev */
    size_t best_step;
    size_t peak_memory; /* bytes, of the process */
} tandem_train_result;

/* Fine-tunes a bi-encoder, or a cross-encoder when `cross`, and writes `directory`: the
 * model (the best weights by the dev metric when there is one, else the last), with
 * metrics.jsonl, the same for TensorBoard, config.used.json, train_state.json and what was
 * mined on the way, complete or not at all. A `directory` that holds something is refused;
 * with `resume`, one that this run has written is left as it is, and its result given.
 * While training, checkpoints and metrics.jsonl live in `directory`.checkpoint/, which is removed at the end; without `resume` it must not
 * hold checkpoints. On SIGINT or SIGTERM the step is finished, a checkpoint written,
 * and TANDEM_INTERRUPTED returned; with `resume` a later call continues bit for bit
 * (same machine, same threads). A checkpoint of another config or other data is
 * refused with the keys that differ; `dtype` is compared, and written, as what auto
 * became on this machine. `resume` without a checkpoint starts from the
 * beginning, and says so. TANDEM_USAGE for settings that do not go together. */
int tandem_train(tandem_train_result *out, const tandem_train_config *config, bool cross, const char *directory, bool resume);

#ifdef __cplusplus
}
#endif
#endif
