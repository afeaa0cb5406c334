/* output.c - the model directory that a run leaves. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/log.h"
#include "train/trainer.h"

/* The staged directory gets the model first, since saving one replaces the directory. */
static int fill(const tandem_trainer *t, const char *staged)
{
    char *settings = tandem_path_join(staged, "config.used.json"), *metrics = tandem_path_join(staged, "metrics.jsonl");
    int rc = settings == NULL || metrics == NULL ? TANDEM_ERROR : tandem_model_save(t->model, staged);

    if (rc == TANDEM_OK) {
        rc = tandem_file_write(settings, t->settings.data, t->settings.length);
    }
    if (rc == TANDEM_OK) {
        rc = tandem_file_copy(t->journal_path, metrics);
    }
    free(settings);
    free(metrics);
    return rc;
}

int tandem_trainer_write(tandem_trainer *t)
{
    char *staged = NULL;
    int rc;

    if (t->best != NULL && isfinite(t->state.best_metric)) {
        memcpy(t->weights, t->best, t->floats * sizeof *t->weights);
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
