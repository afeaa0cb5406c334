/* output.c - the model directory that a run leaves. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/log.h"
#include "train/trainer.h"

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
    char *events = tandem_path_join(staged, TANDEM_EVENTS);
    int rc = settings == NULL || metrics == NULL || events == NULL ? TANDEM_ERROR : tandem_model_save(t->model, staged);

    if (rc == TANDEM_OK) {
        rc = tandem_file_write(settings, t->settings.data, t->settings.length);
    }
    if (rc == TANDEM_OK) {
        rc = tandem_file_copy(t->journal_path, metrics);
    }
    if (rc == TANDEM_OK) {
        rc = tandem_file_copy(t->events_path, events);
    }
    if (rc == TANDEM_OK) {
        rc = copy_mined(t, staged);
    }
    free(settings);
    free(metrics);
    free(events);
    return rc;
}

int tandem_trainer_write(tandem_trainer *t)
{
    char *staged = NULL;
    int rc;

    if (t->best != NULL && isfinite(t->state.best_metric)) {
        memcpy(t->weights, t->best, t->floats * sizeof *t->weights);
        tandem_model_parameters_changed(t->model);
    }
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
