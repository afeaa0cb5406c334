/* output.c - the model directory that a run leaves, and what a finished one says of its run. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/log.h"
#include "train/trainer.h"

/* The state after the last step. */
static const char state_file[] = "train_state.json";

/* The sets of negatives, if any were mined. */
static int copy_mined(const tandem_trainer *t, const char *staged)
{
    char *target = tandem_path_join(staged, TANDEM_MINED);
    DIR *directory = target == NULL ? NULL : opendir(t->mined_path);
    const struct dirent *entry;
    int rc = target == NULL ? TANDEM_ERROR : directory == NULL ? TANDEM_OK : tandem_dir_make(target);

    while (rc == TANDEM_OK && directory != NULL && (entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, "step-", 5) == 0) {
            char *from = tandem_path_join(t->mined_path, entry->d_name), *to = tandem_path_join(target, entry->d_name);

            rc = from == NULL || to == NULL ? TANDEM_ERROR : tandem_file_copy(from, to);
            free(from);
            free(to);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
    free(target);
    return rc;
}

/* The staged directory gets the model first, since saving one replaces the directory. */
static int fill(const tandem_trainer *t, const char *staged)
{
    char *settings = tandem_path_join(staged, "config.used.json"), *metrics = tandem_path_join(staged, "metrics.jsonl");
    char *events = tandem_path_join(staged, TANDEM_EVENTS), *state = tandem_path_join(staged, state_file);
    tandem_checkpoint end = tandem_trainer_checkpoint(t);
    int rc = settings == NULL || metrics == NULL || events == NULL || state == NULL ? TANDEM_ERROR : TANDEM_OK;

    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_model_save(t->model, staged));
    TANDEM_TRY_GOTO(rc, done, tandem_file_write(settings, t->settings.data, t->settings.length));
    TANDEM_TRY_GOTO(rc, done, tandem_file_copy(t->journal_path, metrics));
    TANDEM_TRY_GOTO(rc, done, tandem_file_copy(t->events_path, events));
    TANDEM_TRY_GOTO(rc, done, tandem_train_state_write(state, &end));
    TANDEM_TRY_GOTO(rc, done, copy_mined(t, staged));
done:
    free(settings);
    free(metrics);
    free(events);
    free(state);
    return rc;
}

int tandem_trainer_write(tandem_trainer *t)
{
    char *staged = NULL;
    int rc;

    TANDEM_TRY(tandem_adamw_fetch(t->adamw, t->model));
    if (t->best != NULL && isfinite(t->state.best_metric)) {
        memcpy(t->weights, t->best, t->floats * sizeof *t->weights);
        tandem_model_parameters_changed(t->model);
    }
    TANDEM_TRY(tandem_journal_sync(t->journal, &t->state.metrics_bytes, &t->state.events_bytes));
    TANDEM_TRY(tandem_stage_dir(&staged, t->directory));
    rc = fill(t, staged);
    if (rc == TANDEM_OK) {
        rc = tandem_stage_commit(staged, t->directory);
    } else {
        tandem_stage_abort(staged);
    }
    free(staged);
    TANDEM_TRY(rc);
    return tandem_dir_remove(t->folder);
}

bool tandem_trainer_is_written(const char *directory)
{
    char *path = tandem_path_join(directory, state_file);
    bool written = path != NULL && tandem_file_exists(path);

    free(path);
    return written;
}

int tandem_trainer_recall(tandem_trainer *t)
{
    char *path = tandem_path_join(t->directory, state_file);
    tandem_checkpoint end = tandem_trainer_checkpoint(t);
    int rc = path == NULL ? TANDEM_ERROR : tandem_train_state_read(&end, path);

    free(path);
    TANDEM_TRY(rc);
    t->state = end.state;
    tandem_log_info("%s is complete: there is nothing left to do", t->directory);
    return tandem_dir_remove(t->folder);
}
