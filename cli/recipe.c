/* recipe.c - a recipe: its settings, its dataset, and the hashes of what it starts from. */
#include "cli/recipe.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/machine.h"

/* ---- settings ------------------------------------------------------------------------ */

static const char *const samplings[] = {"top", "random", NULL};

#define FIELD(f) offsetof(recipe_settings, f)
#define MINING_ROWS(prefix, field, low, high, margin, count)                                                          \
    {prefix ".range.0", TANDEM_SETTING_INT, FIELD(field.range[0]), 0, 1e6, low, NULL,                                 \
     "first raw rank that negatives come from"},                                                                      \
        {prefix ".range.1", TANDEM_SETTING_INT, FIELD(field.range[1]), 1, 1e6, high, NULL, "one past the last"},      \
        {prefix ".absolute_margin", TANDEM_SETTING_DOUBLE, FIELD(field.absolute_margin), -1, 1e6, "-1", NULL,          \
         "drop candidates that score above positive - margin; negative: off"},                                             \
        {prefix ".relative_margin", TANDEM_SETTING_DOUBLE, FIELD(field.relative_margin), -1, 1e6, margin, NULL,        \
         "drop candidates that score above positive - |positive| * margin; negative: off"},                                       \
        {prefix ".negatives", TANDEM_SETTING_INT, FIELD(field.negatives), 1, 1000, count, NULL,                       \
         "negatives mined for a query"},                                                                              \
    {                                                                                                                 \
        prefix ".sampling", TANDEM_SETTING_CHOICE, FIELD(field.sampling), 0, 0, "top", samplings,                     \
            "the hardest, or a seeded random choice"                                                                  \
    }

static const tandem_setting rows[] = {
    {"dataset", TANDEM_SETTING_STRING, FIELD(dataset), 0, 0, NULL, NULL, "BEIR folder"},
    {"model", TANDEM_SETTING_STRING, FIELD(model), 0, 0, NULL, NULL, "model directory to start from"},
    {"splits.train", TANDEM_SETTING_STRING, FIELD(splits.train), 0, 0, "train", NULL, "split to train on"},
    {"splits.dev", TANDEM_SETTING_STRING, FIELD(splits.dev), 0, 0, "dev", NULL,
     "split that chooses checkpoints and the reranker's weight"},
    {"splits.test", TANDEM_SETTING_STRING, FIELD(splits.test), 0, 0, "test", NULL, "split that is only measured"},
    {"max_length", TANDEM_SETTING_INT, FIELD(max_length), 0, 1e6, "0", NULL, "limit in tokens; 0: the model's"},
    {"seed", TANDEM_SETTING_INT, FIELD(seed), 0, 9e15, "13", NULL, "of every random choice"},
    {"dtype", TANDEM_SETTING_CHOICE, FIELD(dtype), 0, 0, "fp32", tandem_dtypes,
     "precision of the matrix products in mining, retrieval and reranking; that of training is bi.dtype and cross.dtype"},
    {"retrieve", TANDEM_SETTING_INT, FIELD(retrieve), 1, 1e6, "100", NULL, "documents retrieved for a query"},
    {"depth", TANDEM_SETTING_INT, FIELD(depth), 1, 1e6, "50", NULL, "of them reranked"},
    {"metrics", TANDEM_SETTING_STRING, FIELD(metrics), 0, 0, "ndcg@10,recall@100,map", NULL, "columns of the table"},
    MINING_ROWS("mine.bi", mine_bi, "0", "50", "0.05", "4"),
    MINING_ROWS("mine.cross", mine_cross, "0", "50", "0.05", "8"),
    {"mine.cloze.groups", TANDEM_SETTING_INT, FIELD(mine_cloze.groups), 0, 1e9, "0", NULL,
     "groups of sentences and passages that the cross-encoder is trained on first; 0: none"},
    {"mine.cloze.negatives", TANDEM_SETTING_INT, FIELD(mine_cloze.negatives), 1, 1000, "7", NULL, "of each such group"},
    {"mine.cloze.words", TANDEM_SETTING_INT, FIELD(mine_cloze.words), 1, 1e6, "60", NULL, "of their passages"},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* The path that a row's default leaves open. */
static int replace(char **field, const char *value)
{
    char *copy = tandem_strdup(value);
    if (!copy) {
        return TANDEM_ERROR;
    }
    free(*field);
    *field = copy;
    return TANDEM_OK;
}

/* "bi.x=1" for the config named "bi": gives "x=1", else NULL. */
static const char *assignment_of(const char *assignment, const char *config)
{
    size_t length = strlen(config);
    return strncmp(assignment, config, length) == 0 && assignment[length] == '.' ? assignment + length + 1 : NULL;
}

/* These hold for every stage and are set once, in the recipe itself. */
static int refuse_shared(const char *config, const char *key)
{
    static const char *const shared[] = {"model", "max_length", "seed"};
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        size_t length = strlen(shared[i]);
        if (strncmp(key, shared[i], length) == 0 && (key[length] == '\0' || key[length] == '=')) {
            return tandem_error_code(TANDEM_USAGE, "%s.%s: every stage follows the recipe's own \"%s\"", config, shared[i], shared[i]);
        }
    }
    return TANDEM_OK;
}

/* The training configs of a recipe, by the name of their object. */
typedef struct {
    const char *name;
    tandem_train_config *config;
    bool cross;
} named_config;

enum { CONFIGS = 3 };

static void name_configs(named_config out[CONFIGS], recipe *r)
{
    out[0] = (named_config){"bi", &r->bi, false};
    out[1] = (named_config){"cross", &r->cross, true};
    out[2] = (named_config){"cloze", &r->cloze, true};
}

static int apply_assignment(recipe *r, const char *assignment)
{
    named_config configs[CONFIGS];
    name_configs(configs, r);
    for (size_t i = 0; i < CONFIGS; i++) {
        const char *own = assignment_of(assignment, configs[i].name);
        if (own) {
            size_t count;
            const tandem_setting *table = tandem_train_settings(configs[i].cross, &count);
            TANDEM_TRY(refuse_shared(configs[i].name, own));
            return tandem_settings_set(configs[i].config, table, count, own);
        }
    }
    return tandem_settings_set(&r->settings, rows, ROWS, assignment);
}

/* A training config's object, which may be absent. */
static int apply_config(const named_config *config, const cJSON *object, const char *path)
{
    size_t count;
    const tandem_setting *table = tandem_train_settings(config->cross, &count);
    const cJSON *member;
    cJSON_ArrayForEach(member, object) {
        TANDEM_TRY(member->string ? refuse_shared(config->name, member->string) : TANDEM_OK);
    }
    int rc = object ? tandem_settings_apply(config->config, table, count, object, path) : TANDEM_OK;
    return rc < 0 ? tandem_error_context(rc, "%s", config->name) : TANDEM_OK;
}

/* The recipe's own keys, and the training configs in it. */
static int apply_file(recipe *r, const char *path)
{
    cJSON *json = NULL, *objects[CONFIGS];
    named_config configs[CONFIGS];
    name_configs(configs, r);
    TANDEM_TRY(tandem_json_read(&json, path));
    for (size_t i = 0; i < CONFIGS; i++) {
        objects[i] = cJSON_DetachItemFromObjectCaseSensitive(json, configs[i].name);
    }
    int rc = tandem_settings_apply(&r->settings, rows, ROWS, json, path);
    for (size_t i = 0; i < CONFIGS; i++) {
        rc = rc < 0 ? rc : apply_config(&configs[i], objects[i], path);
        cJSON_Delete(objects[i]);
    }
    tandem_json_free(json);
    return rc;
}

static void settle_dtype(int64_t *dtype)
{
    *dtype = (int64_t)tandem_precision_settle((tandem_precision)*dtype);
}

/* The training configs follow the recipe where they share a setting. What "auto" is here becomes part
 * of the stages' keys. */
static int share_settings(recipe *r)
{
    named_config configs[CONFIGS];
    name_configs(configs, r);
    settle_dtype(&r->settings.dtype);
    for (size_t i = 0; i < CONFIGS; i++) {
        tandem_train_config *config = configs[i].config;
        if (config->data.sources) {
            return tandem_error_code(TANDEM_USAGE, "%s.data.sources: a recipe trains on its own dataset", configs[i].name);
        }
        config->max_length = r->settings.max_length;
        config->seed = r->settings.seed;
        settle_dtype(&config->dtype);
        TANDEM_TRY(replace(&config->data.dataset, r->settings.dataset));
        TANDEM_TRY(replace(&config->data.split, r->settings.splits.train));
        TANDEM_TRY(replace(&config->dev.split, r->settings.splits.dev));
        /* One evaluation, after the last step, would have nothing to choose from. */
        if (config->epochs > 1 || config->dev.every_steps > 0) {
            TANDEM_TRY(replace(&config->dev.dataset, r->settings.dataset));
        }
    }
    return TANDEM_OK;
}

/* ---- keys: the data and the model that a recipe starts from --------------------------------------------- */

static int hash_split(tandem_hasher *hasher, const tandem_qrels *qrels)
{
    for (size_t q = 0; q < tandem_qrels_count(qrels); q++) {
        const tandem_judged_query *query = tandem_qrels_query(qrels, q);
        tandem_hasher_string(hasher, query->query_id);
        for (size_t i = 0; i < query->count; i++) {
            tandem_hasher_string(hasher, query->judgments[i].document_id);
            tandem_hasher_int(hasher, query->judgments[i].grade);
        }
    }
    return TANDEM_OK;
}

static int data_key(recipe *r)
{
    tandem_qrels *train = NULL;
    TANDEM_TRY(tandem_dataset_qrels(&train, r->dataset, r->settings.splits.train));
    tandem_hasher *hasher = tandem_hasher_new();
    if (!hasher) {
        tandem_qrels_free(train);
        return TANDEM_ERROR;
    }
    tandem_hasher_hash(hasher, r->dataset->hash);
    hash_split(hasher, train);
    hash_split(hasher, r->dev);
    hash_split(hasher, r->test);
    tandem_hasher_int(hasher, r->settings.retrieve);
    r->data_key = tandem_hasher_done(hasher);
    tandem_qrels_free(train);
    return TANDEM_OK;
}

/* Of the base model's files, without loading it. */
static int model_key(recipe *r)
{
    static const char *const files[] = {"model.safetensors", "config.json", "tokenizer.json", "vocab.txt", "modules.json",
                                        "1_Pooling/config.json", "config_sentence_transformers.json", NULL};
    tandem_hasher *hasher = tandem_hasher_new();
    if (!hasher) {
        return TANDEM_ERROR;
    }
    int rc = TANDEM_OK;
    for (size_t i = 0; rc == TANDEM_OK && files[i]; i++) {
        char *path = tandem_path_join(r->settings.model, files[i]);
        tandem_hash hash = {0, 0};
        if (!path) {
            rc = TANDEM_ERROR;
        } else if (tandem_file_exists(path)) {
            rc = tandem_hash_file(&hash, path);
        }
        tandem_hasher_hash(hasher, hash);
        free(path);
    }
    tandem_hasher_int(hasher, r->settings.max_length);
    tandem_hasher_int(hasher, r->settings.dtype);
    tandem_hasher_int(hasher, tandem_machine_device());
    r->model_key = tandem_hasher_done(hasher);
    return rc;
}

/* ---- opening --------------------------------------------------------------------------------- */

char *recipe_path(const recipe *r, const char *name)
{
    return tandem_path_join(r->directory, name);
}

static int set_path(char **field, const recipe *r, const char *name)
{
    char *path = recipe_path(r, name);
    if (!path) {
        return TANDEM_ERROR;
    }
    free(*field);
    *field = path;
    return TANDEM_OK;
}

/* What each stage reads from the ones before it, by its name in the output. */
static int wire(recipe *r)
{
    TANDEM_TRY(replace(&r->bi.model, r->settings.model));
    TANDEM_TRY(set_path(&r->bi.data.groups, r, "mined/bi-encoder.jsonl.zst"));
    TANDEM_TRY(replace(&r->cloze.model, r->settings.model));
    TANDEM_TRY(set_path(&r->cloze.data.groups, r, "mined/cloze.jsonl.zst"));
    TANDEM_TRY(set_path(&r->cross.model, r, r->settings.mine_cloze.groups > 0 ? "models/cloze" : "models/bi-encoder"));
    TANDEM_TRY(set_path(&r->cross.data.groups, r, "mined/cross-encoder.jsonl.zst"));
    return set_path(&r->cross.dev.run, r, "runs/fine-tuned.dev.run");
}

int recipe_open(recipe *out, const char *path, const char *const *assignments, size_t count, const char *directory)
{
    named_config configs[CONFIGS];
    memset(out, 0, sizeof *out);
    out->directory = directory;
    name_configs(configs, out);
    TANDEM_TRY(tandem_settings_init(&out->settings, rows, ROWS));
    for (size_t i = 0; i < CONFIGS; i++) {
        size_t settings;
        const tandem_setting *table = tandem_train_settings(configs[i].cross, &settings);
        TANDEM_TRY(tandem_settings_init(configs[i].config, table, settings));
    }
    TANDEM_TRY(apply_file(out, path));
    for (size_t i = 0; i < count; i++) {
        TANDEM_TRY(apply_assignment(out, assignments[i]));
    }
    if (!out->settings.dataset || !out->settings.model) {
        return tandem_error_code(TANDEM_USAGE, "%s: \"dataset\" and \"model\" are needed", path);
    }
    TANDEM_TRY(share_settings(out));
    TANDEM_TRY(wire(out));
    TANDEM_TRY(tandem_dataset_open(&out->dataset, out->settings.dataset));
    TANDEM_TRY(tandem_dataset_qrels(&out->dev, out->dataset, out->settings.splits.dev));
    TANDEM_TRY(tandem_dataset_qrels(&out->test, out->dataset, out->settings.splits.test));
    TANDEM_TRY(data_key(out));
    return model_key(out);
}

void recipe_close(recipe *r)
{
    named_config configs[CONFIGS];
    name_configs(configs, r);
    tandem_settings_free(&r->settings, rows, ROWS);
    for (size_t i = 0; i < CONFIGS; i++) {
        size_t settings;
        const tandem_setting *table = tandem_train_settings(configs[i].cross, &settings);
        tandem_settings_free(configs[i].config, table, settings);
    }
    tandem_qrels_free(r->dev);
    tandem_qrels_free(r->test);
    tandem_dataset_free(r->dataset);
}
