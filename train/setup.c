/* setup.c - opens everything that a run needs. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/random.h"
#include "train/trainer.h"

/* ---- settings that do not go together ------------------------------------------------ */
static int check_settings(const tandem_train_config *config, bool cross)
{
    if (config->model == NULL) {
        return tandem_error_code(TANDEM_USAGE, "the setting \"model\" is missing: the model directory to start from");
    }
    if (config->learning_rate <= 0.0) {
        return tandem_error_code(TANDEM_USAGE, "learning_rate is 0: no weight would change");
    }
    if (config->dev.patience > 0 && config->dev.dataset == NULL) {
        return tandem_error_code(TANDEM_USAGE,
                                 "dev.patience needs dev.dataset: without evaluations nothing ends a run early");
    }
    if (config->mining.bm25_negatives > 0 && !tandem_config_mines(config)) {
        return tandem_error_code(TANDEM_USAGE,
                                 "mining.bm25_negatives needs mining.refresh_epochs or mining.refresh_steps");
    }
    if (tandem_config_mines(config) && config->mining.range[0] >= config->mining.range[1]) {
        return tandem_error_code(TANDEM_USAGE, "mining.range: expected [low, high] with low < high, found [%lld, %lld]",
                                 (long long)config->mining.range[0], (long long)config->mining.range[1]);
    }
    if (cross && config->dev.dataset != NULL && config->dev.run == NULL) {
        return tandem_error_code(TANDEM_USAGE, "dev.dataset needs dev.run: the TREC run file whose candidates are reranked");
    }
    return TANDEM_OK;
}

/* A directory that holds something is never written over. */
static int check_target(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    bool empty = true;

    if (directory == NULL) {
        return tandem_file_exists(path) ? tandem_error("%s is there already and is no directory", path) : TANDEM_OK;
    }
    while ((entry = readdir(directory)) != NULL) {
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    }
    closedir(directory);
    return empty ? TANDEM_OK : tandem_error("%s holds something already; remove it or name another directory", path);
}

static int make_paths(tandem_trainer *t)
{
    tandem_buffer path = TANDEM_BUFFER_INIT;
    size_t rows = 0, length = strlen(t->directory);
    const tandem_setting *table = tandem_train_settings(t->cross, &rows);

    while (length > 1 && t->directory[length - 1] == '/') {
        length--;
    }
    TANDEM_TRY(tandem_buffer_append(&path, t->directory, length));
    TANDEM_TRY(tandem_buffer_puts(&path, ".checkpoint"));
    t->folder = tandem_buffer_take(&path);
    t->journal_path = tandem_path_join(t->folder, "metrics.jsonl");
    t->events_path = tandem_path_join(t->folder, TANDEM_EVENTS);
    t->mined_path = tandem_path_join(t->folder, TANDEM_MINED);
    if (t->journal_path == NULL || t->events_path == NULL || t->mined_path == NULL) {
        return TANDEM_ERROR;
    }
    return tandem_settings_dump(&t->settings, t->config, table, rows);
}

/* ---- model -------------------------------------------------------------------------------- */
static int load_model(tandem_trainer *t)
{
    tandem_model_options options = {
        .kind = t->cross ? TANDEM_CROSS_ENCODER : TANDEM_BI_ENCODER,
        .new_head = t->cross,
        .seed = (uint64_t)t->config->seed,
        .max_length = (size_t)t->config->max_length,
        .precision = (tandem_precision)t->config->dtype,
    };

    TANDEM_TRY(tandem_model_load(&t->model, t->config->model, &options));
    TANDEM_TRY(tandem_prompts_of(&t->prompts, t->model));
    TANDEM_TRY(tandem_sources_meet(&t->sources, t->model));
    TANDEM_TRY(t->cross ? TANDEM_OK : tandem_encoded_new(&t->encoded, t->model));
    t->weights = tandem_model_parameters(t->model, &t->floats);
    if (tandem_model_gradients(t->model) == NULL) {
        return TANDEM_ERROR;
    }
    tandem_model_freeze(t->model, t->config->freeze);
    tandem_model_set_checkpointing(t->model, t->config->activation_checkpointing);
    t->parameters = tandem_alloc(tandem_model_parameter_count(t->model), sizeof *t->parameters);
    if (t->parameters == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < tandem_model_parameter_count(t->model); i++) {
        t->parameters[i] = tandem_model_parameter(t->model, i);
    }
    TANDEM_TRY(tandem_adamw_for_model(&t->adamw, t->model, t->config->weight_decay, t->config->freeze,
                                      t->config->layer_decay));
    return tandem_stepper_new(&t->stepper, t->model);
}

/* ---- examples ------------------------------------------------------------------------------ */
static int make_examples(tandem_trainer *t)
{
    for (size_t i = 0; i < t->sources.count; i++) {
        TANDEM_TRY(tandem_source_make_examples(&t->sources, i, t->model));
    }
    return TANDEM_OK;
}

/* ---- steps --------------------------------------------------------------------------------- */
int tandem_trainer_plan_epoch(tandem_trainer *t)
{
    const tandem_train_config *config = t->config;
    uint64_t epoch = t->state.epoch;

    tandem_mix_free(&t->mix);
    TANDEM_TRY(tandem_sources_plan(&t->mix, &t->sources, config, epoch));
    t->total_steps = t->state.epoch_start + t->mix.steps * ((uint64_t)config->epochs - epoch);
    t->warmup_steps = tandem_warmup_steps(config->warmup_ratio, t->total_steps);
    t->decay_steps = tandem_warmup_steps(config->decay_ratio, t->total_steps);
    t->planned = true;
    return TANDEM_OK;
}

static int hash_data(tandem_trainer *t)
{
    tandem_hasher *hasher = tandem_hasher_new();

    if (hasher == NULL) {
        return TANDEM_ERROR;
    }
    tandem_hasher_hash(hasher, tandem_tokenizer_hash(tandem_model_tokenizer(t->model)));
    int rc = tandem_sources_hash(hasher, &t->sources);
    t->data = tandem_hasher_done(hasher);
    return rc;
}

static int open_dev(tandem_trainer *t)
{
    if (t->config->dev.dataset == NULL) {
        return TANDEM_OK;
    }
    t->best = tandem_alloc(t->floats, sizeof *t->best);
    if (t->best == NULL) {
        return TANDEM_ERROR;
    }
    return tandem_dev_new(&t->dev, t->config, t->model, t->encoded);
}

/* ---- checkpoints --------------------------------------------------------------------------- */
tandem_checkpoint tandem_trainer_checkpoint(const tandem_trainer *t)
{
    return (tandem_checkpoint){
        .parameters = t->parameters,
        .parameter_count = tandem_model_parameter_count(t->model),
        .weights = t->weights,
        .m = t->adamw->m,
        .v = t->adamw->v,
        .best = t->best,
        .sources = t->sources.states,
        .source_count = t->sources.count,
        .settings = t->settings.data,
        .data = t->data,
        .state = t->state,
    };
}

static int restore(tandem_trainer *t, const char *path)
{
    tandem_checkpoint checkpoint = tandem_trainer_checkpoint(t);

    TANDEM_TRY(tandem_checkpoint_restore(&checkpoint, path));
    tandem_model_parameters_changed(t->model);
    TANDEM_TRY(tandem_adamw_send(t->adamw, t->model));
    t->state = checkpoint.state;
    t->planned = false;
    t->adamw->updates = t->state.updates;
    tandem_log_info("resuming from %s: step %llu", path, (unsigned long long)t->state.step);
    for (size_t i = 0; i < t->sources.count; i++) {
        if (t->sources.states[i].mined != NULL) {
            TANDEM_TRY(tandem_source_make_examples(&t->sources, i, t->model));
        }
    }
    return TANDEM_OK;
}

static int begin_or_resume(tandem_trainer *t, bool resume)
{
    char *path = NULL;
    int rc = tandem_checkpoint_find(&path, t->folder);

    t->state.best_metric = NAN;
    if (rc == TANDEM_OK && !resume) {
        rc = tandem_error_code(TANDEM_USAGE, "%s holds checkpoints of an earlier run: --resume continues it; remove it to start anew",
                               t->folder);
    } else if (rc == TANDEM_OK) {
        rc = restore(t, path);
    } else if (rc == TANDEM_NOT_FOUND) {
        if (resume) {
            tandem_log_info("no checkpoint in %s: starting from the beginning", t->folder);
        }
        rc = tandem_dir_make(t->folder);
    }
    free(path);
    return rc;
}

int tandem_trainer_open(tandem_trainer *t, bool resume)
{
    TANDEM_TRY(check_settings(t->config, t->cross));
    TANDEM_TRY(tandem_sources_open(&t->sources, t->config, t->cross));
    t->complete = resume && tandem_trainer_is_written(t->directory);
    TANDEM_TRY(t->complete ? TANDEM_OK : check_target(t->directory));
    if (t->config->threads > 0) {
        tandem_machine_set_threads((size_t)t->config->threads);
    }
    TANDEM_TRY(make_paths(t));
    tandem_log_info("settings %s", t->settings.data);
    TANDEM_TRY(tandem_sources_load(&t->sources));
    TANDEM_TRY(load_model(t));
    TANDEM_TRY(hash_data(t));
    if (t->complete) {
        return tandem_trainer_recall(t);
    }
    TANDEM_TRY(open_dev(t));
    TANDEM_TRY(make_examples(t));
    if (!tandem_config_mines(t->config)) {
        TANDEM_TRY(tandem_trainer_plan_epoch(t)); /* what cannot be trained on is refused before anything is written */
    }
    tandem_random stream = tandem_random_stream((uint64_t)t->config->seed, "dropout", 0);

    t->dropout_seed = tandem_random_next(&stream);
    TANDEM_TRY(begin_or_resume(t, resume));
    t->saved_step = UINT64_MAX;
    return tandem_journal_open(&t->journal, t->journal_path, t->state.metrics_bytes, t->events_path,
                               t->state.events_bytes);
}

void tandem_trainer_close(tandem_trainer *t)
{
    tandem_journal_close(t->journal);
    tandem_dev_free(t->dev);
    tandem_encoded_free(t->encoded);
    tandem_stepper_free(t->stepper);
    tandem_adamw_free(t->adamw);
    tandem_sources_free(&t->sources);
    tandem_prompts_free(&t->prompts);
    tandem_model_free(t->model);
    tandem_buffer_free(&t->settings);
    free(t->parameters);
    free(t->best);
    tandem_mix_free(&t->mix);
    free(t->journal_path);
    free(t->events_path);
    free(t->mined_path);
    free(t->folder);
}
