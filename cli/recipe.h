/* recipe.h - what the files behind `tandem run` share: a recipe's settings, its
 * stages, and the table at its end. */
#ifndef TANDEM_CLI_RECIPE_H
#define TANDEM_CLI_RECIPE_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/hash.h"
#include "tandem/qrels.h"
#include "tandem/settings.h"
#include "tandem/train.h"

/* Mining of one round. */
typedef struct {
    int64_t range[2];
    double absolute_margin, relative_margin;
    int64_t negatives;
    int64_t sampling;
} recipe_mining;

/* One field a row of recipe_settings (recipe.c). */
typedef struct {
    char *dataset, *model;
    struct {
        char *train, *dev, *test;
    } splits;
    int64_t max_length, seed, dtype, retrieve, depth;
    char *metrics;
    recipe_mining mine_bi, mine_cross;
    struct {
        int64_t groups, negatives, words; /* as tandem_cloze_options; groups 0: no such stage */
    } mine_cloze;
} recipe_settings;

typedef struct {
    recipe_settings settings;
    tandem_train_config bi, cross;
    tandem_train_config cloze; /* of the cross-encoder that `cross` starts from, if any */
    const char *directory; /* the output */
    tandem_dataset *dataset;
    tandem_qrels *dev, *test;
    /* Hashes of what each stage is made from, in the order of the stages. */
    tandem_hash data_key, model_key;
    tandem_hash mined_bi_key, bi_key, mined_cloze_key, cloze_key, mined_cross_key, cross_key;
} recipe;

/* Reads a recipe, applies assignments ("key=value"; "bi.x", "cross.x" and "cloze.x" reach the
 * training configs) and opens its dataset. Relative paths are relative to the working directory. */
int recipe_open(recipe *out, const char *path, const char *const *assignments, size_t count, const char *directory);
void recipe_close(recipe *r);

/* Runs the stages one after the other; one whose inputs have not changed since it was
 * done is skipped. */
int recipe_run(recipe *r);

/* The path of a file of the output; the caller frees. */
char *recipe_path(const recipe *r, const char *name);

/* Scores the runs on the test split: a table to stdout, results.json into the output. */
int recipe_results(const recipe *r);

#endif
