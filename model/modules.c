/* modules.c - what sentence-transformers writes beside a checkpoint: the list of
 * modules, pooling, prompts, the length limit. Both the layout of versions before 5.4
 * and the one since are read. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "tandem/file.h"
#include "tandem/json.h"

/* Reads `folder`/`name` if it is there: *out is NULL when it is not. */
static int read_optional(cJSON **out, char **path, const char *folder, const char *name)
{
    *out = NULL;
    *path = tandem_path_join(folder, name);
    if (*path == NULL) {
        return TANDEM_ERROR;
    }
    return tandem_file_exists(*path) ? tandem_json_read(out, *path) : 0;
}

/* ---- 1_Pooling/config.json -------------------------------------------------------- */
const tandem_pooling_name tandem_pooling_names[TANDEM_POOLING_MODES] = {
    [TANDEM_POOL_CLS] = {"pooling_mode_cls_token", "cls"},
    [TANDEM_POOL_MAX] = {"pooling_mode_max_tokens", "max"},
    [TANDEM_POOL_MEAN] = {"pooling_mode_mean_tokens", "mean"},
    [TANDEM_POOL_MEAN_SQRT_LEN] = {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
    [TANDEM_POOL_WEIGHTED_MEAN] = {"pooling_mode_weightedmean_tokens", "weightedmean"},
    [TANDEM_POOL_LAST] = {"pooling_mode_lasttoken", "lasttoken"},
};

static int read_pooling_name(const cJSON *mode, const char *path, tandem_pooling *out)
{
    if (cJSON_IsArray(mode)) {
        if (mode->child == NULL || mode->child->next != NULL) {
            return tandem_error("%s: pooling_mode joins several modes, which is not supported: name one", path);
        }
        mode = mode->child;
    }
    if (!cJSON_IsString(mode)) {
        return tandem_error("%s: pooling_mode must be a string", path);
    }
    for (size_t i = 0; i < TANDEM_POOLING_MODES; i++) {
        if (strcmp(mode->valuestring, tandem_pooling_names[i].name) == 0) {
            *out = (tandem_pooling)i;
            return 0;
        }
    }
    return tandem_error("%s: pooling_mode \"%s\" is not supported", path, mode->valuestring);
}

static int read_pooling_flags(const cJSON *config, const char *path, tandem_pooling *out)
{
    const char *first = NULL;
    for (size_t i = 0; i < TANDEM_POOLING_MODES; i++) {
        bool on = false;
        TANDEM_TRY(tandem_json_get_bool_or(config, tandem_pooling_names[i].flag, path, &on));
        if (on && first != NULL) {
            return tandem_error("%s: %s and %s are both true: joined poolings are not supported", path, first, tandem_pooling_names[i].flag);
        }
        if (on) {
            first = tandem_pooling_names[i].flag;
            *out = (tandem_pooling)i;
        }
    }
    if (first == NULL) {
        *out = TANDEM_POOL_MEAN; /* as sentence-transformers reads it */
    }
    return 0;
}

static int parse_pooling(tandem_model *model, const cJSON *config, const char *path, bool *include_prompt)
{
    const cJSON *mode = tandem_json_member(config, "pooling_mode");
    if (mode != NULL) {
        TANDEM_TRY(read_pooling_name(mode, path, &model->info.pooling));
    } else {
        TANDEM_TRY(read_pooling_flags(config, path, &model->info.pooling));
    }
    int64_t dim = 0;
    TANDEM_TRY(tandem_json_get_int_or(config, "word_embedding_dimension", path, 1, INT32_MAX, &dim));
    TANDEM_TRY(tandem_json_get_int_or(config, "embedding_dimension", path, 1, INT32_MAX, &dim));
    model->info.dim = (size_t)dim; /* tandem_model_load compares it with hidden_size */
    return tandem_json_get_bool_or(config, "include_prompt", path, include_prompt);
}

static int read_pooling(tandem_model *model, const char *folder, bool *include_prompt)
{
    char *path = NULL;
    cJSON *config = NULL;
    int rc = read_optional(&config, &path, folder, "config.json");
    if (rc == 0 && config == NULL) {
        rc = tandem_error("%s: no such file, but modules.json names its folder", path);
    }
    if (rc == 0) {
        rc = parse_pooling(model, config, path, include_prompt);
    }
    tandem_json_free(config);
    free(path);
    return rc;
}

/* ---- modules.json -------------------------------------------------------------------- */
static const char *const module_order[] = {"Transformer", "Pooling", "Normalize"};
#define MODULES (sizeof module_order / sizeof *module_order)

/* Gives the class of a module and its folder, in the model's arena. */
static int read_module(tandem_model *model, const cJSON *module, const char *directory, const char *source, const char **name, const char **folder)
{
    const char *type, *path;
    TANDEM_TRY(tandem_json_get_string(module, "type", source, &type));
    TANDEM_TRY(tandem_json_get_string(module, "path", source, &path));
    const char *dot = strrchr(type, '.');
    *name = dot != NULL && strncmp(type, "sentence_transformers.", 22) == 0 ? dot + 1 : type;
    if (path[0] == '/' || strstr(path, "..") != NULL) {
        return tandem_error("%s: path \"%s\" leaves the directory", source, path);
    }
    char *joined = path[0] == '\0' ? tandem_strdup(directory) : tandem_path_join(directory, path);
    if (joined == NULL) {
        return TANDEM_ERROR;
    }
    *folder = tandem_arena_strndup(model->arena, joined, strlen(joined));
    free(joined);
    return *folder == NULL ? TANDEM_ERROR : 0;
}

/* A bi-encoder is a Transformer, a Pooling and perhaps a Normalize module. A
 * cross-encoder is a Transformer; whatever follows belongs to the bi-encoder that it is
 * made from. */
static int walk_modules(tandem_model *model, const cJSON *modules, const char *directory, const char *source, bool *include_prompt)
{
    if (!cJSON_IsArray(modules) || modules->child == NULL) {
        return tandem_error("%s: expected an array of modules", source);
    }
    size_t index = 0;
    for (const cJSON *module = modules->child; module != NULL; module = module->next, index++) {
        const char *name = NULL, *folder = NULL;
        TANDEM_TRY(read_module(model, module, directory, source, &name, &folder));
        if (index >= MODULES || strcmp(name, module_order[index]) != 0) {
            return tandem_error("%s: module %zu, \"%s\", is not supported (known: Transformer, Pooling, Normalize, in this order)", source, index, name);
        }
        if (index == 0) {
            model->root = folder;
            if (model->info.kind == TANDEM_CROSS_ENCODER) {
                return 0;
            }
        } else if (index == 1) {
            TANDEM_TRY(read_pooling(model, folder, include_prompt));
        } else {
            model->info.normalize = true;
        }
    }
    return index >= 2 ? 0 : tandem_error("%s: no Pooling module: not a bi-encoder's directory", source);
}

/* ---- config_sentence_transformers.json -------------------------------------------------- */
/* The first prompt of `names` that is a string. */
static const char *find_prompt(const cJSON *prompts, const char *const *names)
{
    for (; *names != NULL; names++) {
        const cJSON *prompt = tandem_json_member(prompts, *names);
        if (cJSON_IsString(prompt)) {
            return prompt->valuestring;
        }
    }
    return "";
}

static int parse_settings(tandem_model *model, const cJSON *settings, const char *path)
{
    static const char *const query_names[] = {"query", NULL};
    static const char *const document_names[] = {"document", "passage", "corpus", NULL};
    if (settings == NULL || model->info.kind == TANDEM_CROSS_ENCODER) {
        return 0;
    }
    const cJSON *prompts = tandem_json_member(settings, "prompts");
    model->info.query_prompt = find_prompt(prompts, query_names);
    model->info.document_prompt = find_prompt(prompts, document_names);
    const char *similarity = "cosine";
    TANDEM_TRY(tandem_json_get_string_or(settings, "similarity_fn_name", path, &similarity));
    model->info.cosine = strcmp(similarity, "cosine") == 0;
    if (!model->info.cosine && strcmp(similarity, "dot") != 0) {
        return tandem_error("%s: similarity_fn_name \"%s\" is not supported (known: cosine, dot)", path, similarity);
    }
    if (cJSON_IsNumber(tandem_json_member(settings, "truncate_dim"))) {
        return tandem_error("%s: truncate_dim is not supported", path);
    }
    return 0;
}

static int read_settings(tandem_model *model, const char *directory)
{
    char *path = NULL;
    int rc = read_optional(&model->sentence_transformers, &path, directory, "config_sentence_transformers.json");
    if (rc == 0) {
        rc = parse_settings(model, model->sentence_transformers, path);
    }
    free(path);
    return rc;
}

int tandem_model_read_modules(tandem_model *model, const char *directory)
{
    bool include_prompt = true;
    model->info.pooling = TANDEM_POOL_MEAN;
    model->info.query_prompt = model->info.document_prompt = "";
    model->info.cosine = true;
    model->root = model->info.directory;
    char *path = NULL;
    cJSON *modules = NULL;
    int rc = read_optional(&modules, &path, directory, "modules.json");
    if (rc == 0 && modules != NULL) {
        rc = walk_modules(model, modules, directory, path, &include_prompt);
    }
    if (rc == 0) {
        rc = read_settings(model, directory);
    }
    if (rc == 0 && !include_prompt && (model->info.query_prompt[0] != '\0' || model->info.document_prompt[0] != '\0')) {
        rc = tandem_error("%s: a Pooling module with include_prompt false beside prompts is not supported", directory);
    }
    tandem_json_free(modules);
    free(path);
    return rc;
}

/* ---- the length limit ----------------------------------------------------------------------- */
static int parse_transformer(const tandem_model *model, const cJSON *config, const char *path, double *length)
{
    bool lower = false, tokenizer_lowers = false;
    const char *task = "feature-extraction";
    TANDEM_TRY(tandem_json_get_double_or(config, "max_seq_length", path, length));
    TANDEM_TRY(tandem_json_get_string_or(config, "transformer_task", path, &task));
    TANDEM_TRY(tandem_json_get_bool_or(config, "do_lower_case", path, &lower));
    if (model->tokenizer_config != NULL) {
        TANDEM_TRY(tandem_json_get_bool_or(model->tokenizer_config, "do_lower_case", "tokenizer_config.json", &tokenizer_lowers));
    }
    if (strcmp(task, "feature-extraction") != 0) {
        return tandem_error("%s: transformer_task \"%s\" is not that of a bi-encoder", path, task);
    }
    if (lower && !tokenizer_lowers) {
        return tandem_error("%s: do_lower_case before a tokenizer that keeps case is not supported", path);
    }
    return 0;
}

/* The file's name goes by the family in old directories. */
static int read_transformer(const tandem_model *model, double *length)
{
    static const char *const names[] = {"sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json",
                                        "sentence_camembert_config.json", "sentence_albert_config.json", "sentence_xlm-roberta_config.json",
                                        "sentence_xlnet_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = NULL;
        cJSON *config = NULL;
        int rc = read_optional(&config, &path, model->root, names[i]);
        bool found = config != NULL;
        if (rc == 0 && found) {
            rc = parse_transformer(model, config, path, length);
        }
        tandem_json_free(config);
        free(path);
        if (rc < 0 || found) {
            return rc;
        }
    }
    return 0;
}

int tandem_model_stated_length(tandem_model *model, size_t *length)
{
    char *path = NULL;
    double stated = 0; /* a double: transformers writes 1e30 for "no limit" */
    int rc = read_optional(&model->tokenizer_config, &path, model->root, "tokenizer_config.json");
    if (rc == 0 && model->info.kind == TANDEM_BI_ENCODER) {
        rc = read_transformer(model, &stated);
    }
    if (rc == 0 && stated == 0 && model->tokenizer_config != NULL) {
        rc = tandem_json_get_double_or(model->tokenizer_config, "model_max_length", path, &stated);
    }
    if (rc == 0 && !(stated >= 0)) {
        rc = tandem_error("%s: a length limit of %g tokens", path, stated);
    }
    *length = stated < (double)model->spec.positions ? (size_t)stated : (size_t)model->spec.positions;
    free(path);
    return rc;
}
