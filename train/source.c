/* source.c - where the training data comes from. */
#include "train/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/log.h"
#include "tandem/random.h"
#include "train/forward.h"

/* Which source a failure is about, where there are several. */
static int about(const tandem_source *source, int rc)
{
    return rc < 0 && source->label[0] != '\0' ? tandem_error_context(rc, "data.sources.%zu", source->index) : rc;
}

/* ---- settings that do not go together ------------------------------------------------ */
static int check_negatives(const tandem_source *source)
{
    const tandem_train_config *config = source->config;
    unsigned needs = tandem_loss_needs(&config->loss, source->cross);
    const char *name = tandem_loss_name(&config->loss, source->cross);

    if (config->data.negatives == 0 && (needs & TANDEM_NEEDS_NEGATIVES) != 0 && (needs & TANDEM_TAKES_LISTS) == 0) {
        return tandem_error_code(TANDEM_USAGE, "the loss %s needs data.negatives of at least 1", name);
    }
    if (tandem_source_mines(source) && (needs & (TANDEM_NEEDS_SCORES | TANDEM_READS_LABELS)) != 0) {
        return tandem_error_code(TANDEM_USAGE, "mining: the loss %s learns the groups' scores, and those of "
                                 "mined negatives are the retriever's", name);
    }
    return TANDEM_OK;
}

/* Within an epoch the examples stay the same ones in the same batches: only their negatives may change. */
static int check_mining(const tandem_source *source)
{
    const tandem_train_config *config = source->config;
    bool first = config->data.negative_sampling == 0;

    if (config->mining.refresh_steps > 0 && config->data.sampler == TANDEM_SAMPLER_NO_DUPLICATES) {
        return tandem_error_code(TANDEM_USAGE,
                                 "mining.refresh_steps: the batches of no_duplicates are made for an epoch's "
                                 "negatives; use mining.refresh_epochs");
    }
    if (config->mining.refresh_steps > 0 &&
        (tandem_loss_needs(&config->loss, source->cross) & TANDEM_NEEDS_NEGATIVES) != 0) {
        return tandem_error_code(TANDEM_USAGE,
                                 "mining.refresh_steps: the loss %s leaves out groups without negatives, which "
                                 "may be others in the middle of an epoch; use mining.refresh_epochs",
                                 tandem_loss_name(&config->loss, source->cross));
    }
    if (config->mining.bm25_negatives > 0 && first && config->data.negatives <= config->mining.negatives) {
        return tandem_error_code(TANDEM_USAGE,
                                 "mining.bm25_negatives: they come after the model's %lld, and data.negatives "
                                 "uses the first %lld; raise it, or draw with data.negative_sampling",
                                 (long long)config->mining.negatives, (long long)config->data.negatives);
    }
    return TANDEM_OK;
}

static int check_source(const tandem_source *source, const tandem_train_config *run)
{
    const tandem_train_config *config = source->config;

    if (config->data.dataset == NULL && config->data.groups == NULL) {
        return tandem_error_code(TANDEM_USAGE, "neither \"dataset\" nor \"groups\" is set: nothing to train on");
    }
    if (config->data.weight != 1.0 && config->data.mixing != TANDEM_MIXING_WEIGHTED) {
        return tandem_error_code(TANDEM_USAGE, "weight is read by data.mixing weighted alone");
    }
    if (config->loss.offset_scale != run->loss.offset_scale) {
        return tandem_error_code(TANDEM_USAGE, "loss.offset_scale: the model's scores are ranked with one for all "
                                 "sources; set it outside of them");
    }
    TANDEM_TRY(tandem_loss_check_settings(&config->loss, source->cross));
    TANDEM_TRY(tandem_source_mines(source) ? check_mining(source) : TANDEM_OK);
    return check_negatives(source);
}

/* ---- opening --------------------------------------------------------------------------- */
static uint64_t seed_of(const tandem_train_config *config, size_t index)
{
    tandem_random random = tandem_random_stream((uint64_t)config->seed, "sources", index);

    return index == 0 ? (uint64_t)config->seed : tandem_random_next(&random);
}

static int open_sources(tandem_sources *out, const tandem_train_config *config)
{
    bool listed = config->data.sources != NULL, mines = false;

    if (listed && (config->data.dataset != NULL || config->data.groups != NULL)) {
        return tandem_error_code(TANDEM_USAGE, "data.sources: each source names its own dataset or groups; "
                                 "data.dataset and data.groups are of a run without sources");
    }
    TANDEM_TRY(tandem_train_sources(&out->configs, &out->count, config, out->cross));
    out->items = tandem_alloc(out->count, sizeof *out->items);
    out->states = tandem_alloc(out->count, sizeof *out->states);
    if (out->items == NULL || out->states == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < out->count; i++) {
        tandem_source *source = &out->items[i];

        out->states[i].scale = tandem_scale_of(&out->configs[i].loss);
        *source = (tandem_source){.config = &out->configs[i], .cross = out->cross, .index = i, .seed = seed_of(config, i)};
        if (listed) {
            snprintf(source->label, sizeof source->label, "data.sources.%zu: ", i);
        }
        TANDEM_TRY(about(source, check_source(source, config)));
        mines = mines || tandem_source_mines(source);
    }
    if (tandem_config_mines(config) && !mines) {
        return tandem_error_code(TANDEM_USAGE, "mining needs data.dataset: negatives come from its corpus");
    }
    return TANDEM_OK;
}

int tandem_sources_open(tandem_sources *out, const tandem_train_config *config, bool cross)
{
    out->cross = cross;
    return open_sources(out, config);
}

static int load(tandem_source *source)
{
    const tandem_train_config *config = source->config;

    if (config->data.groups == NULL || tandem_source_mines(source)) {
        TANDEM_TRY(tandem_dataset_open(&source->dataset, config->data.dataset));
        TANDEM_TRY(tandem_split_load(&source->split, source->dataset, config->data.split));
    }
    if (config->data.groups != NULL) {
        return tandem_groups_read(&source->base, config->data.groups);
    }
    return tandem_groups_from_split(&source->base, source->dataset, source->split);
}

int tandem_sources_load(tandem_sources *sources)
{
    for (size_t i = 0; i < sources->count; i++) {
        TANDEM_TRY(about(&sources->items[i], load(&sources->items[i])));
    }
    return TANDEM_OK;
}

void tandem_sources_free(tandem_sources *sources)
{
    for (size_t i = 0; sources->items != NULL && i < sources->count; i++) {
        tandem_source *source = &sources->items[i];

        tandem_examples_free(source->examples);
        tandem_prompts_free(&source->prompts);
        tandem_model_free(source->teacher);
        tandem_groups_free(source->base);
        tandem_split_free(source->split);
        tandem_dataset_free(source->dataset);
    }
    for (size_t i = 0; sources->states != NULL && i < sources->count; i++) {
        tandem_groups_free(sources->states[i].mined);
    }
    tandem_train_sources_free(sources->configs, sources->count, sources->cross);
    free(sources->items);
    free(sources->states);
    *sources = (tandem_sources){0};
}

/* ---- with the model --------------------------------------------------------------------- */
int tandem_prompts_of(tandem_prompts *out, const tandem_model *model)
{
    const tandem_model_info *info = tandem_model_describe(model);

    out->query = tandem_strdup(info->query_prompt);
    out->document = tandem_strdup(info->document_prompt);
    return out->query == NULL || out->document == NULL ? TANDEM_ERROR : TANDEM_OK;
}

int tandem_prompts_use(const tandem_prompts *prompts, tandem_model *model)
{
    const tandem_model_info *info = tandem_model_describe(model);

    if (strcmp(prompts->query, info->query_prompt) != 0) {
        TANDEM_TRY(tandem_model_set_prompt(model, TANDEM_QUERY, prompts->query));
    }
    return strcmp(prompts->document, info->document_prompt) == 0
               ? TANDEM_OK
               : tandem_model_set_prompt(model, TANDEM_DOCUMENT, prompts->document);
}

void tandem_prompts_free(tandem_prompts *prompts)
{
    free(prompts->query);
    free(prompts->document);
    *prompts = (tandem_prompts){NULL, NULL};
}

static int set_prompt(char **out, const char *own, const char *named)
{
    *out = tandem_strdup(named != NULL ? named : own);
    return *out == NULL ? TANDEM_ERROR : TANDEM_OK;
}

/* A reranker has one logit; a classifier has one a class, and no order for dev to look at. */
static int check_labels(const tandem_source *source, const tandem_model *model)
{
    long long labels = (long long)tandem_model_describe(model)->labels;
    bool classes = (tandem_loss_needs(&source->config->loss, true) & TANDEM_NEEDS_CLASSES) != 0;

    if (!classes && labels != 1) {
        return tandem_error("%s: a reranker has 1 label, this model has %lld", source->config->model, labels);
    }
    if (classes && labels < 2) {
        return tandem_error("%s: the loss cross_entropy needs a model with 2 labels or more, this one has %lld",
                            source->config->model, labels);
    }
    if (classes && source->config->dev.dataset != NULL) {
        return tandem_error_code(TANDEM_USAGE, "dev.dataset: the loss cross_entropy trains a classifier, which ranks nothing");
    }
    return TANDEM_OK;
}

/* Also checks what depends on the width of the vectors. */
static int load_teacher(tandem_source *source, const tandem_model *model)
{
    const tandem_loss_settings *loss = &source->config->loss;
    tandem_matryoshka matryoshka;
    tandem_model_options options = {.kind = TANDEM_BI_ENCODER, .precision = (tandem_precision)source->config->dtype};
    size_t dim = tandem_model_describe(model)->width, teacher = 0;

    TANDEM_TRY(tandem_matryoshka_parse(&matryoshka, loss, (int64_t)dim));
    if (loss->teacher == NULL) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_model_load(&source->teacher, loss->teacher, &options));
    teacher = tandem_model_describe(source->teacher)->dim;
    if (tandem_bi_loss_at((size_t)loss->name)->compute == tandem_loss_embed_distill && teacher != dim) {
        return tandem_error("%s: the teacher's vectors have %zu values, the student's %zu; embed_distill needs equal ones",
                            loss->teacher, teacher, dim);
    }
    return TANDEM_OK;
}

static int meet(tandem_source *source, const tandem_model *model)
{
    const tandem_model_info *info = tandem_model_describe(model);

    TANDEM_TRY(set_prompt(&source->prompts.query, info->query_prompt, source->config->data.query_prompt));
    TANDEM_TRY(set_prompt(&source->prompts.document, info->document_prompt, source->config->data.document_prompt));
    return source->cross ? check_labels(source, model) : load_teacher(source, model);
}

int tandem_sources_meet(tandem_sources *sources, const tandem_model *model)
{
    for (size_t i = 0; i < sources->count; i++) {
        TANDEM_TRY(about(&sources->items[i], meet(&sources->items[i], model)));
    }
    return TANDEM_OK;
}

/* ---- examples ------------------------------------------------------------------------------ */
/* A source with the model and the groups that its examples are made from. */
typedef struct {
    const tandem_source *source;
    const tandem_groups *groups;
    const tandem_model *model;
    const tandem_examples *examples;
} budget;

/* The tokens of a text, or of a cross-encoder's pair with a query, may be no more than go through the model at once. */
static int check_tokens(const budget *b, const tandem_example *example, const tandem_sequence *sequence)
{
    size_t tokens = tandem_forward_tokens(b->model, sequence);
    long long most = (long long)b->source->config->forward_tokens;

    if (tokens <= (size_t)most) {
        return TANDEM_OK;
    }
    return tandem_error_code(TANDEM_USAGE,
                             "group %zu (query %s): a %s has %zu tokens, and forward_tokens is %lld; raise it, or lower "
                             "max_length", (size_t)example->group + 1, b->groups->items[example->group].query_id,
                             sequence->pair ? "pair" : "text", tokens, most);
}

static int check_documents(const budget *b, const tandem_example *example, const uint32_t *documents, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tandem_bare document = tandem_token_store_get(b->examples->documents, documents[i]);
        tandem_sequence text = {.first = document, .side = TANDEM_DOCUMENT};
        tandem_sequence pair = {.first = tandem_token_store_get(b->examples->queries, example->query), .second = document,
                                .pair = true};

        TANDEM_TRY(check_tokens(b, example, b->source->cross ? &pair : &text));
    }
    return TANDEM_OK;
}

static int check_budget(const budget *b)
{
    for (size_t i = 0; i < b->examples->count; i++) {
        const tandem_example *example = &b->examples->items[i];
        tandem_sequence query = {.first = tandem_token_store_get(b->examples->queries, example->query)};

        TANDEM_TRY(b->source->cross ? TANDEM_OK : check_tokens(b, example, &query));
        TANDEM_TRY(check_documents(b, example, &example->positive, 1));
        TANDEM_TRY(check_documents(b, example, example->pool, example->pool_count));
        TANDEM_TRY(check_documents(b, example, example->others, example->other_count));
    }
    return TANDEM_OK;
}

static int make_examples(tandem_examples **out, const tandem_source *source, const tandem_groups *groups, tandem_model *model)
{
    const tandem_train_config *config = source->config;
    tandem_examples_options options = tandem_examples_options_for(&config->loss, source->cross, (size_t)config->data.negatives);

    options.draw = config->data.negative_sampling == 1;
    options.teacher = source->teacher;
    TANDEM_TRY(tandem_prompts_use(&source->prompts, model));
    TANDEM_TRY(tandem_examples_new(out, groups, model, &options));
    int rc = check_budget(&(budget){source, groups, model, *out});
    if (rc < 0) {
        tandem_examples_free(*out);
    }
    return rc;
}

/* What the examples of a source are made from. */
static const tandem_groups *groups_of(const tandem_sources *sources, size_t index)
{
    const tandem_groups *mined = sources->states[index].mined;

    return mined != NULL ? mined : sources->items[index].base;
}

int tandem_source_make_examples(tandem_sources *sources, size_t index, tandem_model *model)
{
    tandem_source *source = &sources->items[index];
    const tandem_groups *groups = groups_of(sources, index);
    tandem_examples *examples = NULL;

    TANDEM_TRY(about(source, make_examples(&examples, source, groups, model)));
    tandem_examples_free(source->examples);
    source->examples = examples;
    if (examples->skipped > 0) {
        tandem_log_warn("%s%zu positives are left out: their groups have no negative; the first is group %zu (query %s)",
                        source->label, examples->skipped, examples->first_skipped + 1,
                        groups->items[examples->first_skipped].query_id);
    }
    return TANDEM_OK;
}

int tandem_source_name_rows(tandem_buffer *out, const tandem_sources *sources, size_t index, const uint32_t *rows, size_t count)
{
    enum { NAMED = 4 };
    const tandem_source *source = &sources->items[index];
    int rc = tandem_buffer_puts(out, source->label);

    for (size_t i = 0; rc == TANDEM_OK && i < count && i < NAMED; i++) {
        size_t group = source->examples->items[rows[i]].group;

        rc = tandem_buffer_printf(out, "%sgroup %zu (query %s)", i > 0 ? ", " : "", group + 1,
                                  groups_of(sources, index)->items[group].query_id);
    }
    return rc < 0 || count <= NAMED ? rc : tandem_buffer_printf(out, " and %zu more", count - NAMED);
}

/* ---- epochs ---------------------------------------------------------------------------------- */
static int warn_of_small_batches(const tandem_sources *sources, size_t index, const tandem_epoch *batches,
                                 size_t batch_size, uint64_t epoch)
{
    const tandem_source *source = &sources->items[index];
    size_t rows = source->examples->count, passes = batches->count / rows, example = 0, times = 0;
    size_t full = passes * ((rows + batch_size - 1) / batch_size);

    if (batches->batches <= full + full / 10) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_epoch_most_frequent(&example, &times, source->examples));
    const uint32_t group = source->examples->items[example].group;

    tandem_log_warn("%sdata.sampler: epoch %llu has %zu batches, where %zu would be full: a text of group %zu (query %s) "
                    "is in %zu rows, and batches without it twice are smaller", source->label,
                    (unsigned long long)epoch + 1, batches->batches, full, (size_t)group + 1,
                    groups_of(sources, index)->items[group].query_id, times);
    return TANDEM_OK;
}

/* Whether mnrl would compare each positive with nothing. */
static bool is_lonely(const tandem_source *source, size_t batch_size)
{
    const tandem_examples *examples = source->examples;
    bool mnrl = strcmp(tandem_loss_name(&source->config->loss, source->cross), "mnrl") == 0, lonely = mnrl;

    for (size_t i = 0; lonely && i < examples->count; i++) {
        lonely = examples->items[i].negative_count == 0;
    }
    return lonely && (batch_size == 1 || examples->count == 1);
}

static int draw(const tandem_source *source, uint64_t epoch)
{
    if (source->examples->count == 0) {
        return tandem_error("no group has what the loss needs: %zu positives were left out for lack of negatives, the "
                            "first of group %zu", source->examples->skipped, source->examples->first_skipped + 1);
    }
    if (is_lonely(source, (size_t)source->config->batch_size)) {
        return tandem_error("the loss mnrl has nothing to compare a positive with: no group has a negative, and a batch "
                            "has one row");
    }
    return tandem_examples_draw(source->examples, source->seed, epoch);
}

int tandem_sources_plan(tandem_mix *out, const tandem_sources *sources, const tandem_train_config *config, uint64_t epoch)
{
    tandem_mix_source *mixed = tandem_alloc(sources->count, sizeof *mixed);
    size_t batch_size = (size_t)config->batch_size;
    int rc = mixed == NULL ? TANDEM_ERROR : TANDEM_OK;

    for (size_t i = 0; rc == TANDEM_OK && i < sources->count; i++) {
        const tandem_source *source = &sources->items[i];

        mixed[i] = (tandem_mix_source){source->examples, (tandem_sampler)source->config->data.sampler,
                                       source->config->data.weight, source->seed};
        rc = about(source, draw(source, epoch));
    }
    rc = rc < 0 ? rc : tandem_mix_plan(out, mixed, sources->count, (tandem_mixing)config->data.mixing, batch_size,
                                       (uint64_t)config->seed, epoch);
    for (size_t i = 0; rc == TANDEM_OK && i < sources->count; i++) {
        rc = warn_of_small_batches(sources, i, &out->epochs[i], batch_size, epoch);
    }
    free(mixed);
    return rc;
}

int tandem_sources_hash(tandem_hasher *hasher, const tandem_sources *sources)
{
    for (size_t i = 0; i < sources->count; i++) {
        const tandem_source *source = &sources->items[i];
        tandem_hash groups = {0, 0};

        TANDEM_TRY(tandem_groups_hash(&groups, source->base));
        tandem_hasher_hash(hasher, groups);
        if (source->dataset != NULL) {
            tandem_hasher_hash(hasher, source->dataset->hash);
        }
        if (source->teacher != NULL) {
            tandem_hasher_hash(hasher, tandem_model_key(source->teacher, TANDEM_QUERY));
            tandem_hasher_hash(hasher, tandem_model_key(source->teacher, TANDEM_DOCUMENT));
        }
    }
    return TANDEM_OK;
}
