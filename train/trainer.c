/* trainer.c - the training loop. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "train/refresh.h"

/* So many steps in a row without a finite gradient are a run that has diverged. */
enum { MAX_SKIPPED_IN_ROW = 10 };

static bool finished(const tandem_trainer *t)
{
    uint64_t patience = (uint64_t)t->config->dev.patience;

    return t->state.epoch == (uint64_t)t->config->epochs || (patience > 0 && t->state.stale >= patience);
}

/* ---- before a step ---------------------------------------------------------------------- */
/* Whether the source gets negatives now: those of groups that were given are used first. */
static bool refresh_source(const tandem_trainer *t, const tandem_source *source)
{
    return tandem_source_mines(source) && (t->state.step > 0 || source->config->data.groups == NULL);
}

static bool refresh_due(const tandem_trainer *t)
{
    uint64_t epochs = (uint64_t)t->config->mining.refresh_epochs, steps = (uint64_t)t->config->mining.refresh_steps;
    uint64_t step = t->state.step;
    bool by_epoch = epochs > 0 && t->state.epoch % epochs == 0 && step == t->state.epoch_start;
    bool by_step = steps > 0 && step % steps == 0;

    return (by_epoch || by_step) && t->state.mined_at != step + 1;
}

/* Every set of negatives is kept, so that a result can be traced to what it was trained on. */
static int keep_mined(const tandem_trainer *t, size_t source)
{
    char name[64], of[32] = "";

    if (t->sources.count > 1) {
        snprintf(of, sizeof of, ".source-%zu", source);
    }
    snprintf(name, sizeof name, "step-%llu%s.jsonl.zst", (unsigned long long)t->state.step, of);
    char *path = tandem_path_join(t->mined_path, name);
    int rc = path == NULL ? TANDEM_ERROR : tandem_groups_write(t->sources.states[source].mined, path);
    free(path);
    return rc;
}

/* What mining gave a source. */
typedef struct {
    tandem_groups *groups; /* NULL: it was not mined */
    tandem_mining_statistics statistics;
    double seconds;
} mined_set;

static int mine(mined_set *out, tandem_trainer *t, const tandem_source *source)
{
    double start = tandem_seconds();

    TANDEM_TRY(tandem_prompts_use(&source->prompts, t->model));
    TANDEM_TRY(tandem_refresh_negatives(&out->groups, &out->statistics, t->encoded, source->dataset, source->split,
                                        source->base, source->config, t->state.step));
    out->seconds = tandem_seconds() - start;
    return TANDEM_OK;
}

static int take_mined(tandem_trainer *t, size_t index, mined_set *set)
{
    const tandem_mining_statistics *statistics = &set->statistics;

    tandem_groups_free(t->sources.states[index].mined);
    t->sources.states[index].mined = set->groups;
    set->groups = NULL;
    TANDEM_TRY(keep_mined(t, index));
    TANDEM_TRY(tandem_source_make_examples(&t->sources, index, t->model));
    tandem_log_info("%sstep %llu: mined %zu negatives for %zu queries in %.0f s (medians: positive %.3f, negative %.3f)",
                    t->sources.items[index].label, (unsigned long long)t->state.step, statistics->mined,
                    statistics->queries, set->seconds, statistics->positive_score[2], statistics->negative_score[2]);
    return tandem_journal_add_mining(t->journal, t->state.step, t->state.epoch, index, statistics, set->seconds);
}

/* All sources are mined before any of it is taken: a resumed run begins an interrupted mining anew. */
static int refresh(tandem_trainer *t)
{
    mined_set *sets = tandem_alloc(t->sources.count, sizeof *sets);
    int rc = sets == NULL ? TANDEM_ERROR : TANDEM_OK;

    for (size_t i = 0; rc == TANDEM_OK && i < t->sources.count; i++) {
        rc = refresh_source(t, &t->sources.items[i]) ? mine(&sets[i], t, &t->sources.items[i]) : TANDEM_OK;
    }
    for (size_t i = 0; rc == TANDEM_OK && i < t->sources.count; i++) {
        rc = sets[i].groups != NULL ? take_mined(t, i, &sets[i]) : TANDEM_OK;
    }
    for (size_t i = 0; sets != NULL && i < t->sources.count; i++) {
        tandem_groups_free(sets[i].groups);
    }
    free(sets);
    t->state.mined_at = rc < 0 ? t->state.mined_at : t->state.step + 1;
    t->planned = false;
    return rc;
}

/* What the next step trains on. */
static int prepare_step(tandem_trainer *t)
{
    if (refresh_due(t)) {
        TANDEM_TRY(refresh(t));
    }
    return t->planned ? TANDEM_OK : tandem_trainer_plan_epoch(t);
}

/* ---- a step -------------------------------------------------------------------------------- */
/* The batch of the next step. */
typedef struct {
    size_t source;
    const uint32_t *rows; /* examples of it */
    size_t count;
} step_batch;

static step_batch next_batch(const tandem_trainer *t)
{
    size_t step = (size_t)(t->state.step - t->state.epoch_start), batch = t->mix.batches[step];
    const tandem_epoch *epoch = &t->mix.epochs[t->mix.sources[step]];
    size_t first = epoch->starts[batch];

    return (step_batch){t->mix.sources[step], epoch->order + first, epoch->starts[batch + 1] - first};
}

static int forward_backward(tandem_step_figures *figures, tandem_trainer *t, const step_batch *batch)
{
    const tandem_source *source = &t->sources.items[batch->source];
    const tandem_scale *scale = &t->sources.states[batch->source].scale;
    tandem_loss_settings loss = source->config->loss;

    if (scale->learned) {
        tandem_loss_set_scale(&loss, tandem_scale_value(scale));
    }
    TANDEM_TRY(tandem_encoder_zero_gradients(tandem_model_encoder(t->model)));
    TANDEM_TRY(tandem_prompts_use(&source->prompts, t->model));
    return (t->cross ? tandem_step_cross : tandem_step_bi)(figures, t->stepper, source->examples, batch->rows,
                                                           batch->count, &loss,
                                                           (size_t)t->config->forward_tokens, true, t->dropout_seed,
                                                           t->state.step);
}

/* Counts a step that gives nothing to learn from, and names its rows; fails when too many were not finite. */
static int skip_step(tandem_trainer *t, const step_batch *batch, const tandem_step_figures *figures, double norm)
{
    unsigned long long step = (unsigned long long)t->state.step + 1;
    const char *reason = !isfinite(norm) ? "" : figures->idle ? ", no group has a negative" : ", a spike";
    tandem_buffer rows = TANDEM_BUFFER_INIT;

    t->state.skipped++;
    t->state.skipped_in_row = isfinite(norm) ? 0 : t->state.skipped_in_row + 1;
    TANDEM_TRY(tandem_source_name_rows(&rows, &t->sources, batch->source, batch->rows, batch->count));
    tandem_log_warn("step %llu is skipped: loss %g, norm of the gradient %g%s; %s", step, figures->loss, norm, reason,
                    rows.data);
    tandem_buffer_free(&rows);
    if (t->state.skipped_in_row < MAX_SKIPPED_IN_ROW) {
        return TANDEM_OK;
    }
    return tandem_error("training diverged: %d steps in a row, up to step %llu, had no finite loss and gradient; "
                        "a lower learning_rate may help", MAX_SKIPPED_IN_ROW, step);
}

/* One update by the gradients of a step of `source`, whose norm is finite; `factor` is the schedule's. */
static int update(tandem_trainer *t, size_t source, double norm, double scale_gradient, double factor)
{
    double clip = tandem_clip_scale(norm, t->config->max_grad_norm);
    tandem_scale *scale = &t->sources.states[source].scale;

    TANDEM_TRY(tandem_adamw_update(t->adamw, t->model, t->config->learning_rate * factor, clip));
    if (scale->learned) {
        tandem_scale_step(scale, scale_gradient, t->sources.configs[source].loss.scale_learning_rate * factor, clip);
    }
    t->state.updates = t->adamw->updates;
    t->state.skipped_in_row = 0;
    return TANDEM_OK;
}

/* Whether the norm is out of line with those before it, which it joins. */
static bool is_spike(tandem_trainer *t, double norm)
{
    uint64_t count = t->state.norm_count;
    size_t kept = count < TANDEM_SPIKE_WINDOW ? (size_t)count : TANDEM_SPIKE_WINDOW;
    bool spike = tandem_is_spike(norm, t->state.norms, kept, t->config->spike_guard);

    t->state.norms[t->state.norm_count++ % TANDEM_SPIKE_WINDOW] = norm;
    return spike;
}

static double schedule_factor(const tandem_trainer *t)
{
    return tandem_schedule_factor((tandem_schedule)t->config->schedule, t->state.step, t->warmup_steps, t->decay_steps,
                                  t->total_steps);
}

/* NaN where it is not learned. */
static double scale_of(const tandem_trainer *t, size_t source)
{
    const tandem_scale *scale = &t->sources.states[source].scale;

    return scale->learned ? tandem_scale_value(scale) : (double)NAN;
}

/* The step's loss joins the mean of its source; at the end of an epoch the means are written. */
static int count_loss(tandem_trainer *t, size_t source, double loss)
{
    tandem_source_state *states = t->sources.states;

    if (isfinite(loss)) {
        states[source].steps++;
        states[source].loss += loss;
    }
    if (++t->state.step - t->state.epoch_start < t->mix.steps) {
        return TANDEM_OK;
    }
    int rc = tandem_journal_add_epoch(t->journal, t->state.step, t->state.epoch, states, t->sources.count);

    for (size_t i = 0; i < t->sources.count; i++) {
        states[i].steps = 0;
        states[i].loss = 0.0;
    }
    t->state.epoch++;
    t->state.epoch_start = t->state.step;
    t->planned = false;
    return rc;
}

static int do_step(tandem_trainer *t)
{
    double start = tandem_seconds(), norm = NAN;
    double factor = schedule_factor(t);
    step_batch batch = next_batch(t);
    double scale = scale_of(t, batch.source);
    tandem_step_figures figures;

    TANDEM_TRY(forward_backward(&figures, t, &batch));
    if (isfinite(figures.loss)) {
        TANDEM_TRY(tandem_adamw_norm(&norm, t->adamw, t->model));
        norm = hypot(norm, figures.scale_gradient);
    }
    bool skipped = !isfinite(norm) || figures.idle || is_spike(t, norm);
    int rc = skipped ? skip_step(t, &batch, &figures, norm)
                     : update(t, batch.source, norm, figures.scale_gradient, factor);
    double seconds = tandem_seconds() - start;
    tandem_journal_step line = {
        .step = t->state.step + 1,
        .epoch = t->state.epoch,
        .source = batch.source,
        .loss = figures.loss,
        .learning_rate = t->config->learning_rate * factor,
        .grad_norm = norm,
        .scale = scale,
        .pairs = figures.pairs,
        .tokens = figures.tokens,
        .seconds = seconds,
        .skipped = skipped,
    };

    t->padding = 1.0 - (double)figures.tokens / (double)figures.padded;
    t->state.pairs += figures.pairs;
    t->state.tokens += figures.tokens;
    t->state.seconds += seconds;
    t->state.loss = figures.loss;
    TANDEM_TRY(tandem_journal_add_step(t->journal, &line));
    TANDEM_TRY(count_loss(t, batch.source, figures.loss));
    return rc;
}

/* ---- after a step ------------------------------------------------------------------------------ */
static bool due(uint64_t step, uint64_t every)
{
    return every > 0 && step % every == 0;
}

static bool evaluation_due(const tandem_trainer *t)
{
    uint64_t step = t->state.step, every = (uint64_t)t->config->dev.every_steps;

    if (t->dev == NULL || step == 0 || t->state.evaluated_step == step) {
        return false;
    }
    return finished(t) || (every > 0 ? due(step, every) : step == t->state.epoch_start);
}

static int evaluate(tandem_trainer *t)
{
    double start = tandem_seconds(), value = NAN;

    TANDEM_TRY(tandem_prompts_use(&t->prompts, t->model));
    TANDEM_TRY(tandem_dev_evaluate(&value, t->dev));
    t->state.evaluated_step = t->state.step;
    t->state.stale++;
    if (!(value <= t->state.best_metric)) { /* true also while there is no best yet */
        t->state.best_metric = value;
        t->state.best_step = t->state.step;
        t->state.stale = 0;
        TANDEM_TRY(tandem_adamw_fetch(t->adamw, t->model));
        memcpy(t->best, t->weights, t->floats * sizeof *t->best);
    }
    tandem_log_info("step %llu: %s %.4f on dev (best %.4f at step %llu)", (unsigned long long)t->state.step,
                    tandem_dev_metric(t->dev), value, t->state.best_metric, (unsigned long long)t->state.best_step);
    if (t->state.stale > 0 && finished(t) && t->state.epoch < (uint64_t)t->config->epochs) {
        tandem_log_info("no better %s in %llu evaluations: training ends", tandem_dev_metric(t->dev),
                        (unsigned long long)t->state.stale);
    }
    return tandem_journal_add_dev(t->journal, t->state.step, tandem_dev_metric(t->dev), value, tandem_seconds() - start);
}

static int save_checkpoint(tandem_trainer *t)
{
    TANDEM_TRY(tandem_adamw_fetch(t->adamw, t->model));
    TANDEM_TRY(tandem_journal_sync(t->journal, &t->state.metrics_bytes, &t->state.events_bytes));
    tandem_checkpoint checkpoint = tandem_trainer_checkpoint(t);

    t->saved_step = t->state.step;
    return tandem_checkpoint_write(t->folder, &checkpoint);
}

/* Everything that may come between two steps; the state says what is still to do, so
 * that an interrupted evaluation or mining is done again by the resumed run. */
static int do_what_is_due(tandem_trainer *t)
{
    if (evaluation_due(t)) {
        TANDEM_TRY(evaluate(t));
    }
    if (t->state.step > 0 && t->saved_step != t->state.step && !finished(t) &&
        due(t->state.step, (uint64_t)t->config->checkpoint.every_steps)) {
        TANDEM_TRY(save_checkpoint(t));
    }
    if (tandem_interrupted() && !finished(t)) {
        return tandem_error_code(TANDEM_INTERRUPTED, "interrupted");
    }
    return finished(t) ? TANDEM_OK : prepare_step(t);
}

static int between_steps(tandem_trainer *t)
{
    int rc = do_what_is_due(t);

    if (t->encoded != NULL) {
        tandem_encoded_forget(t->encoded);
    }
    return rc;
}

/* Floats that a forward keeps of a token: of a layer 10 vectors of the hidden size and 2 of the feed-forward size (3
 * where it is gated; measured to 2 % with all-MiniLM-L6-v2); with checkpointing of one layer at a time, and the inputs
 * of all; of frozen layers nothing beyond the one that runs. */
static double floats_of_token(const tandem_trainer *t)
{
    const tandem_encoder_spec *spec = tandem_model_spec(t->model);
    double hidden = (double)spec->hidden, feed_forward = (spec->gated ? 3.0 : 2.0) * (double)spec->intermediate;
    double layer = 10.0 * hidden + feed_forward, trained = (double)spec->layers - fmax((double)t->config->freeze, 0.0);

    return t->config->activation_checkpointing ? layer + fmax(trained, 0.0) * hidden : fmax(trained, 1.0) * layer;
}

/* Bytes at most, about: the parameters with their gradients and two moments; the layers' matrices laid out, in bf16 of
 * half the size; what backward keeps; and the process itself. */
static double expected_memory(const tandem_trainer *t)
{
    const tandem_encoder_spec *spec = tandem_model_spec(t->model);
    double process = 150e6, arenas = t->best != NULL ? 5.0 : 4.0, token = floats_of_token(t);
    double feed_forward = (spec->gated ? 3.0 : 2.0) * (double)spec->intermediate;
    double matrices = (double)spec->layers * (double)spec->hidden * (4.0 * (double)spec->hidden + feed_forward);
    double laid_out = (tandem_precision)t->config->dtype == TANDEM_BF16 ? 0.5 : 1.0;
    int64_t negatives = 0;

    for (size_t i = 0; i < t->sources.count; i++) {
        int64_t own = t->sources.configs[i].data.negatives;

        negatives = own > negatives ? own : negatives;
    }
    double texts = (double)t->config->batch_size * (2.0 + (double)negatives);
    double tokens = texts * (double)tandem_model_describe(t->model)->max_length;
    double most = (double)t->config->forward_tokens;

    return process + (double)sizeof(float) * ((double)t->floats * arenas + laid_out * matrices + fmin(tokens, most) * token);
}

static void log_plan(const tandem_trainer *t)
{
    for (size_t s = 0; s < t->sources.count; s++) {
        const tandem_examples *examples = t->sources.items[s].examples;
        size_t negatives = 0;

        for (size_t i = 0; i < examples->count; i++) {
            negatives += examples->items[i].negative_count;
        }
        tandem_log_info("%s%zu examples with %zu hard negatives", t->sources.items[s].label, examples->count, negatives);
    }
    tandem_log_info("%llu steps (%zu in this epoch, %llu of warm-up), %s on %s, %zu threads, about %.1f GB of memory at most",
                    (unsigned long long)t->total_steps, t->mix.steps, (unsigned long long)t->warmup_steps,
                    tandem_precision_name((tandem_precision)t->config->dtype),
                    tandem_device_name(tandem_machine_device()), tandem_machine_threads(),
                    1e-9 * expected_memory(t));
}

static int run_steps(tandem_trainer *t)
{
    TANDEM_TRY(between_steps(t));
    log_plan(t);
    tandem_progress *progress = tandem_progress_new("training", "steps", t->total_steps);
    int rc = TANDEM_OK;

    while (rc == TANDEM_OK && !finished(t)) {
        char note[96];
        uint64_t tokens = t->state.tokens;
        double seconds = t->state.seconds;

        rc = do_step(t);
        snprintf(note, sizeof note, "loss %.4f, rate %.2g, %.0f tokens/s, %.0f %% padding saved", t->state.loss,
                 t->config->learning_rate * schedule_factor(t),
                 (double)(t->state.tokens - tokens) / (t->state.seconds - seconds),
                 100.0 * t->padding);
        tandem_progress_update(progress, t->state.step, note);
        if (rc == TANDEM_OK) {
            rc = between_steps(t);
        }
    }
    tandem_progress_free(progress);
    return rc;
}

/* ---- public -------------------------------------------------------------------------------------- */
static int save_and_leave(tandem_trainer *t)
{
    TANDEM_TRY(save_checkpoint(t));
    if (t->total_steps == 0) {
        return tandem_error_code(TANDEM_INTERRUPTED, "interrupted before step 1; --resume continues from %s",
                                 t->folder);
    }
    return tandem_error_code(TANDEM_INTERRUPTED, "interrupted at step %llu of %llu; --resume continues from %s",
                             (unsigned long long)t->state.step, (unsigned long long)t->total_steps, t->folder);
}

static tandem_train_result result_of(const tandem_trainer *t)
{
    double seconds = t->state.seconds > 0.0 ? t->state.seconds : (double)NAN;

    return (tandem_train_result){
        .steps = (size_t)t->state.step,
        .skipped = (size_t)t->state.skipped,
        .seconds = t->state.seconds,
        .final_loss = t->state.loss,
        .pairs_per_second = (double)t->state.pairs / seconds,
        .tokens_per_second = (double)t->state.tokens / seconds,
        .scale = t->sources.count == 1 ? scale_of(t, 0) : (double)NAN,
        .best_metric = t->state.best_metric,
        .best_step = (size_t)t->state.best_step,
        .peak_memory = tandem_machine_peak_rss(),
    };
}

static int run_to_end(tandem_trainer *t)
{
    if (t->state.metrics_bytes == 0) {
        TANDEM_TRY(tandem_journal_add_start(t->journal, t->data, (uint64_t)t->config->seed,
                                            (tandem_precision)t->config->dtype));
    }
    int rc = run_steps(t);
    if (rc == TANDEM_INTERRUPTED) {
        return save_and_leave(t);
    }
    TANDEM_TRY(rc);
    return tandem_trainer_write(t);
}

static int run(tandem_train_result *out, tandem_trainer *t, bool resume)
{
    TANDEM_TRY(tandem_trainer_open(t, resume));
    TANDEM_TRY(t->complete ? TANDEM_OK : run_to_end(t));
    *out = result_of(t);
    return TANDEM_OK;
}

int tandem_train(tandem_train_result *out, const tandem_train_config *config, bool cross, const char *directory, bool resume)
{
    tandem_train_config settled = *config;
    tandem_trainer trainer = {.config = &settled, .cross = cross, .directory = directory};

    settled.dtype = (int64_t)tandem_precision_settle((tandem_precision)config->dtype);
    int rc = run(out, &trainer, resume);

    tandem_trainer_close(&trainer);
    return rc;
}
