/* source.h - where the training data comes from: one source or several, each with its own loss and prompts. */
#ifndef TANDEM_TRAIN_SOURCE_H
#define TANDEM_TRAIN_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/dataset.h"
#include "tandem/groups.h"
#include "tandem/hash.h"
#include "tandem/model.h"
#include "tandem/train.h"
#include "train/checkpoint.h"
#include "train/examples.h"
#include "train/sampler.h"

typedef struct {
    char *query, *document;
} tandem_prompts;

typedef struct {
    const tandem_train_config *config; /* the run's, with what data.sources says of this source */
    bool cross;
    size_t index;
    char label[40]; /* "data.sources.1: ", before what the log says of it; "" where there is no other */
    uint64_t seed;  /* of order and drawn negatives; the first source's is the run's */
    tandem_dataset *dataset; /* NULL when only groups are read */
    tandem_split *split;
    tandem_groups *base;   /* as given */
    tandem_model *teacher; /* that loss.teacher names, or NULL */
    tandem_prompts prompts;
    tandem_examples *examples;
} tandem_source;

typedef struct {
    tandem_source *items;
    tandem_source_state *states; /* [count] */
    tandem_train_config *configs; /* [count] */
    size_t count;
    bool cross;
} tandem_sources;

/* Whether the run mines negatives while training; and whether it does for this source, which needs a
 * dataset to mine from. */
static inline bool tandem_config_mines(const tandem_train_config *config)
{
    return config->mining.refresh_epochs > 0 || config->mining.refresh_steps > 0;
}
static inline bool tandem_source_mines(const tandem_source *source)
{
    return tandem_config_mines(source->config) && source->config->data.dataset != NULL;
}

/* In the following an error names the source, where there are several. */
/* Checks the settings of each; reads no data. `out` is zeroed. */
int tandem_sources_open(tandem_sources *out, const tandem_train_config *config, bool cross);
/* Reads groups or judged pairs. */
int tandem_sources_load(tandem_sources *sources);
/* What depends on the model: its labels, the width of vectors, teachers; and which prompts are in use. */
int tandem_sources_meet(tandem_sources *sources, const tandem_model *model);
void tandem_sources_free(tandem_sources *sources); /* zeroes it */

/* Makes the examples of a source anew, from its mined groups or else from base, in the prompts of the
 * source. A text that does not go through the model at once is an error that names its group. */
int tandem_source_make_examples(tandem_sources *sources, size_t index, tandem_model *model);
/* Appends which groups some examples of a source come from, the first few by number and query. */
int tandem_source_name_rows(tandem_buffer *out, const tandem_sources *sources, size_t index, const uint32_t *rows,
                            size_t count);
/* The steps of an epoch, with the negatives of it drawn. A source without examples is an error. */
int tandem_sources_plan(tandem_mix *out, const tandem_sources *sources, const tandem_train_config *config, uint64_t epoch);
/* Of all that the sources' examples come from. */
int tandem_sources_hash(tandem_hasher *hasher, const tandem_sources *sources);

/* Copies the prompts in use. */
int tandem_prompts_of(tandem_prompts *out, const tandem_model *model);
/* Puts them before all texts from now on; costs nothing where they are in use already. */
int tandem_prompts_use(const tandem_prompts *prompts, tandem_model *model);
void tandem_prompts_free(tandem_prompts *prompts);

#endif
