/* setup.c - opens everything that a run needs. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/random.h"
#include "train/forward.h"
#include "train/trainer.h"

/* ---- settings that do not go together ------------------------------------------------ */
static int check_negatives(const tandem_train_config *config, bool cross)
{
    unsigned needs = tandem_loss_needs(&config->loss, cross);
    const char *name = tandem_loss_name(&config->loss, cross);

    if (config->data.negatives == 0 && (needs & TANDEM_NEEDS_NEGATIVES) != 0 && (needs & TANDEM_TAKES_LISTS) == 0) {
        return tandem_error_code(TANDEM_USAGE, "the loss %s needs data.negatives of at least 1", name);
    }
    if (tandem_trainer_mines(config) && (needs & (TANDEM_NEEDS_SCORES | TANDEM_READS_LABELS)) != 0) {
        return tandem_error_code(TANDEM_USAGE, "mining: the loss %s learns the groups' scores, and those of "
                                 "mined negatives are the retriever's", name);
    }
    return TANDEM_OK;
}

/* Within an epoch the examples stay the same ones in the same batches: only their negatives may change. */
static int check_mining(const tandem_train_config *config, bool cross)
{
    bool first = config->data.negative_sampling == 0;

    if (config->mining.refresh_steps > 0 && config->data.sampler == TANDEM_SAMPLER_NO_DUPLICATES) {
        return tandem_error_code(TANDEM_USAGE,
                                 "mining.refresh_steps: the batches of no_duplicates are made for an epoch's "
                                 "negatives; use mining.refresh_epochs");
    }
    if (config->mining.refresh_steps > 0 && (tandem_loss_needs(&config->loss, cross) & TANDEM_NEEDS_NEGATIVES) != 0) {
        return tandem_error_code(TANDEM_USAGE,
                                 "mining.refresh_steps: the loss %s leaves out groups without negatives, which "
                                 "may be others in the middle of an epoch; use mining.refresh_epochs",
                                 tandem_loss_name(&config->loss, cross));
    }
    if (config->mining.bm25_negatives > 0 && !tandem_trainer_mines(config)) {
        return tandem_error_code(TANDEM_USAGE,
                                 "mining.bm25_negatives needs mining.refresh_epochs or mining.refresh_steps");
    }
    if (config->mining.bm25_negatives > 0 && first && config->data.negatives <= config->mining.negatives) {
        return tandem_error_code(TANDEM_USAGE,
                                 "mining.bm25_negatives: they come after the model's %lld, and data.negatives "
                                 "uses the first %lld; raise it, or draw with data.negative_sampling",
                                 (long long)config->mining.negatives, (long long)config->data.negatives);
    }
    return TANDEM_OK;
}

static int check_settings(const tandem_train_config *config, bool cross)
{
    if (config->model == NULL) {
        return tandem_error_code(TANDEM_USAGE, "the setting \"model\" is missing: the model directory to start from");
    }
    if (config->data.dataset == NULL && config->data.groups == NULL) {
        return tandem_error_code(TANDEM_USAGE, "neither \"data.dataset\" nor \"data.groups\" is set: nothing to train on");
    }
    if (config->learning_rate <= 0.0) {
        return tandem_error_code(TANDEM_USAGE, "learning_rate is 0: no weight would change");
    }
    if (config->dev.patience > 0 && config->dev.dataset == NULL) {
        return tandem_error_code(TANDEM_USAGE,
                                 "dev.patience needs dev.dataset: without evaluations nothing ends a run early");
    }
    if (tandem_trainer_mines(config) && config->data.dataset == NULL) {
        return tandem_error_code(TANDEM_USAGE, "mining needs data.dataset: negatives come from its corpus");
    }
    if (tandem_trainer_mines(config) && config->mining.range[0] >= config->mining.range[1]) {
        return tandem_error_code(TANDEM_USAGE, "mining.range: expected [low, high] with low < high, found [%lld, %lld]",
                                 (long long)config->mining.range[0], (long long)config->mining.range[1]);
    }
    if (cross && config->dev.dataset != NULL && config->dev.run == NULL) {
        return tandem_error_code(TANDEM_USAGE, "dev.dataset needs dev.run: the TREC run file whose candidates are reranked");
    }
    TANDEM_TRY(tandem_loss_check_settings(&config->loss, cross));
    TANDEM_TRY(check_mining(config, cross));
    return check_negatives(config, cross);
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

/* ---- data and model --------------------------------------------------------------------- */
static int load_groups(tandem_trainer *t)
{
    const tandem_train_config *config = t->config;

    if (config->data.groups == NULL || tandem_trainer_mines(config)) {
        TANDEM_TRY(tandem_dataset_open(&t->dataset, config->data.dataset));
        TANDEM_TRY(tandem_split_load(&t->split, t->dataset, config->data.split));
    }
    if (config->data.groups != NULL) {
        return tandem_groups_read(&t->base, config->data.groups);
    }
    return tandem_groups_from_split(&t->base, t->dataset, t->split);
}

/* A reranker has one logit; a classifier has one a class, and no order for dev to look at. */
static int check_labels(const tandem_trainer *t)
{
    long long labels = (long long)tandem_model_describe(t->model)->labels;
    bool classes = (tandem_loss_needs(&t->config->loss, true) & TANDEM_NEEDS_CLASSES) != 0;

    if (!classes && labels != 1) {
        return tandem_error("%s: a reranker has 1 label, this model has %lld", t->config->model, labels);
    }
    if (classes && labels < 2) {
        return tandem_error("%s: the loss cross_entropy needs a model with 2 labels or more, this one has %lld",
                            t->config->model, labels);
    }
    if (classes && t->config->dev.dataset != NULL) {
        return tandem_error_code(TANDEM_USAGE, "dev.dataset: the loss cross_entropy trains a classifier, which ranks nothing");
    }
    return TANDEM_OK;
}

/* Also checks what depends on the width of the vectors. */
static int load_teacher(tandem_trainer *t)
{
    const tandem_loss_settings *loss = &t->config->loss;
    tandem_matryoshka matryoshka;
    size_t dim = tandem_model_describe(t->model)->width, teacher = 0;

    TANDEM_TRY(tandem_matryoshka_parse(&matryoshka, loss, (int64_t)dim));
    if (loss->teacher == NULL) {
        return TANDEM_OK;
    }
    tandem_model_options options = {.kind = TANDEM_BI_ENCODER, .precision = (tandem_precision)t->config->dtype};

    TANDEM_TRY(tandem_model_load(&t->teacher, loss->teacher, &options));
    teacher = tandem_model_describe(t->teacher)->dim;
    if (tandem_bi_loss_at((size_t)loss->name)->compute == tandem_loss_embed_distill && teacher != dim) {
        return tandem_error("%s: the teacher's vectors have %zu values, the student's %zu; embed_distill needs equal ones",
                            loss->teacher, teacher, dim);
    }
    return TANDEM_OK;
}

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
    TANDEM_TRY(t->cross ? check_labels(t) : load_teacher(t));
    t->weights = tandem_model_parameters(t->model, &t->floats);
    t->gradients = tandem_model_gradients(t->model);
    if (t->gradients == NULL) {
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
/* The tokens of a text, or of a cross-encoder's pair with a query, may be no more than go through the model at once. */
static int check_tokens(const tandem_trainer *t, const tandem_example *example, const tandem_sequence *sequence)
{
    const tandem_groups *groups = t->mined != NULL ? t->mined : t->base;
    size_t tokens = tandem_forward_tokens(t->model, sequence);

    if (tokens <= (size_t)t->config->forward_tokens) {
        return TANDEM_OK;
    }
    return tandem_error_code(TANDEM_USAGE,
                             "group %zu (query %s): a %s has %zu tokens, and forward_tokens is %lld; raise it, or lower "
                             "max_length", (size_t)example->group + 1, groups->items[example->group].query_id,
                             sequence->pair ? "pair" : "text", tokens, (long long)t->config->forward_tokens);
}

static int check_documents(const tandem_trainer *t, const tandem_examples *examples, const tandem_example *example,
                           const uint32_t *documents, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tandem_bare document = tandem_token_store_get(examples->documents, documents[i]);
        tandem_sequence text = {.first = document, .side = TANDEM_DOCUMENT};
        tandem_sequence pair = {.first = tandem_token_store_get(examples->queries, example->query), .second = document,
                                .pair = true};

        TANDEM_TRY(check_tokens(t, example, t->cross ? &pair : &text));
    }
    return TANDEM_OK;
}

static int check_budget(const tandem_trainer *t, const tandem_examples *examples)
{
    for (size_t i = 0; i < examples->count; i++) {
        const tandem_example *example = &examples->items[i];
        tandem_sequence query = {.first = tandem_token_store_get(examples->queries, example->query)};

        TANDEM_TRY(t->cross ? TANDEM_OK : check_tokens(t, example, &query));
        TANDEM_TRY(check_documents(t, examples, example, &example->positive, 1));
        TANDEM_TRY(check_documents(t, examples, example, example->pool, example->pool_count));
        TANDEM_TRY(check_documents(t, examples, example, example->others, example->other_count));
    }
    return TANDEM_OK;
}

int tandem_trainer_make_examples(tandem_trainer *t)
{
    tandem_examples_options options = tandem_examples_options_for(&t->config->loss, t->cross,
                                                                  (size_t)t->config->data.negatives);
    tandem_examples *examples = NULL;

    options.draw = t->config->data.negative_sampling == 1;
    options.teacher = t->teacher;
    TANDEM_TRY(tandem_examples_new(&examples, t->mined != NULL ? t->mined : t->base, t->model, &options));
    int rc = check_budget(t, examples);
    if (rc < 0) {
        tandem_examples_free(examples);
        return rc;
    }
    tandem_examples_free(t->examples);
    t->examples = examples;
    if (examples->skipped > 0) {
        tandem_log_warn("%zu positives are left out: their groups have no negative", examples->skipped);
    }
    return TANDEM_OK;
}

/* ---- steps --------------------------------------------------------------------------------- */
int tandem_trainer_plan_epoch(tandem_trainer *t)
{
    const tandem_train_config *config = t->config;
    uint64_t seed = (uint64_t)config->seed, epoch = t->state.epoch;

    if (t->examples->count == 0) {
        return tandem_error("no group has what the loss needs: %zu positives were left out for lack of negatives",
                            t->examples->skipped);
    }
    TANDEM_TRY(tandem_examples_draw(t->examples, seed, epoch));
    tandem_epoch_free(&t->epoch);
    TANDEM_TRY(tandem_epoch_plan(&t->epoch, t->examples, (tandem_sampler)config->data.sampler,
                                 (size_t)config->batch_size, seed, epoch));
    t->total_steps = t->state.epoch_start + t->epoch.batches * ((uint64_t)config->epochs - epoch);
    t->warmup_steps = tandem_warmup_steps(config->warmup_ratio, t->total_steps);
    uint64_t full = (t->epoch.count + (uint64_t)config->batch_size - 1) / (uint64_t)config->batch_size;

    if (t->epoch.batches > full + full / 10) {
        tandem_log_warn("data.sampler: epoch %llu has %zu batches, where %llu would be full: a text is in so many "
                        "groups that batches without it twice are smaller", (unsigned long long)epoch + 1, t->epoch.batches,
                        (unsigned long long)full);
    }
    t->decay_steps = tandem_warmup_steps(config->decay_ratio, t->total_steps);
    t->planned = true;
    return TANDEM_OK;
}

static int hash_data(tandem_trainer *t)
{
    tandem_hash groups = {0, 0};
    tandem_hasher *hasher = NULL;

    TANDEM_TRY(tandem_groups_hash(&groups, t->base));
    hasher = tandem_hasher_new();
    if (hasher == NULL) {
        return TANDEM_ERROR;
    }
    tandem_hasher_hash(hasher, groups);
    tandem_hasher_hash(hasher, tandem_tokenizer_hash(tandem_model_tokenizer(t->model)));
    if (t->dataset != NULL) {
        tandem_hasher_hash(hasher, t->dataset->hash);
    }
    if (t->teacher != NULL) {
        tandem_hasher_hash(hasher, tandem_model_key(t->teacher, TANDEM_QUERY));
        tandem_hasher_hash(hasher, tandem_model_key(t->teacher, TANDEM_DOCUMENT));
    }
    t->data = tandem_hasher_done(hasher);
    return TANDEM_OK;
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
    return tandem_dev_new(&t->dev, t->config, t->cross);
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
        .mined = t->mined,
        .settings = t->settings.data,
        .data = t->data,
        .state = t->state,
    };
}

static int restore(tandem_trainer *t, const char *path)
{
    tandem_checkpoint checkpoint = tandem_trainer_checkpoint(t);

    TANDEM_TRY(tandem_checkpoint_restore(&checkpoint, &t->mined, path));
    tandem_model_parameters_changed(t->model);
    t->state = checkpoint.state;
    t->planned = false;
    t->adamw->updates = t->state.updates;
    tandem_log_info("resuming from %s: step %llu", path, (unsigned long long)t->state.step);
    return t->mined != NULL ? tandem_trainer_make_examples(t) : TANDEM_OK;
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
    TANDEM_TRY(check_target(t->directory));
    if (t->config->threads > 0) {
        tandem_machine_set_threads((size_t)t->config->threads);
    }
    TANDEM_TRY(make_paths(t));
    tandem_log_info("settings %s", t->settings.data);
    TANDEM_TRY(load_groups(t));
    TANDEM_TRY(load_model(t));
    TANDEM_TRY(open_dev(t));
    TANDEM_TRY(tandem_trainer_make_examples(t));
    if (!tandem_trainer_mines(t->config)) {
        TANDEM_TRY(tandem_trainer_plan_epoch(t)); /* what cannot be trained on is refused before anything is written */
    }
    TANDEM_TRY(hash_data(t));
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
    tandem_stepper_free(t->stepper);
    tandem_adamw_free(t->adamw);
    tandem_examples_free(t->examples);
    tandem_model_free(t->model);
    tandem_model_free(t->teacher);
    tandem_groups_free(t->base);
    tandem_groups_free(t->mined);
    tandem_split_free(t->split);
    tandem_dataset_free(t->dataset);
    tandem_buffer_free(&t->settings);
    free(t->parameters);
    free(t->best);
    tandem_epoch_free(&t->epoch);
    free(t->journal_path);
    free(t->events_path);
    free(t->mined_path);
    free(t->folder);
}
