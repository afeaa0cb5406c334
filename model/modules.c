/* modules.c - the modules of a sentence-transformers directory: Transformer, Pooling, and any of
 * Dense, LayerNorm and Normalize after it. Both the layout of versions before 5.4 and
 * the one since are read. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "tandem/file.h"
#include "tandem/json.h"

#define MAX_WIDTH (INT64_C(1) << 20)

/* ---- Pooling ------------------------------------------------------------------------ */
const tandem_pooling_name tandem_pooling_names[TANDEM_POOLING_MODES] = {
    [TANDEM_POOL_CLS] = {"pooling_mode_cls_token", "cls"},
    [TANDEM_POOL_MAX] = {"pooling_mode_max_tokens", "max"},
    [TANDEM_POOL_MEAN] = {"pooling_mode_mean_tokens", "mean"},
    [TANDEM_POOL_MEAN_SQRT_LEN] = {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
    [TANDEM_POOL_WEIGHTED_MEAN] = {"pooling_mode_weightedmean_tokens", "weightedmean"},
    [TANDEM_POOL_LAST] = {"pooling_mode_lasttoken", "lasttoken"},
};

/* One of `pooling_mode`. */
static int add_pooling_mode(tandem_model_info *info, const cJSON *mode, const char *path)
{
    const char *name = cJSON_IsString(mode) ? mode->valuestring : "";
    for (size_t i = 0; i < TANDEM_POOLING_MODES; i++) {
        if (strcmp(name, tandem_pooling_names[i].name) != 0) {
            continue;
        }
        for (size_t k = 0; k < info->poolings; k++) {
            if (info->pooling[k] == (tandem_pooling)i) {
                return tandem_error("%s: pooling_mode names \"%s\" twice", path, name);
            }
        }
        info->pooling[info->poolings++] = (tandem_pooling)i;
        return 0;
    }
    return tandem_error("%s: pooling_mode \"%s\" is not supported (known: cls, max, mean, mean_sqrt_len_tokens, "
                        "weightedmean, lasttoken)",
                        path, name);
}

/* Since 5.4: a name, or an array of names whose vectors are joined in its order. */
static int read_pooling_modes(tandem_model_info *info, const cJSON *modes, const char *path)
{
    if (!cJSON_IsArray(modes)) {
        return add_pooling_mode(info, modes, path);
    }
    for (const cJSON *mode = modes->child; mode != NULL; mode = mode->next) {
        TANDEM_TRY(add_pooling_mode(info, mode, path));
    }
    return info->poolings > 0 ? 0 : tandem_error("%s: pooling_mode is empty", path);
}

/* Before 5.4: a bool a mode, joined in the order of tandem_pooling; mean when none is true. */
static int read_pooling_flags(tandem_model_info *info, const cJSON *config, const char *path)
{
    for (size_t i = 0; i < TANDEM_POOLING_MODES; i++) {
        bool on = false;
        TANDEM_TRY(tandem_json_get_bool_or(config, tandem_pooling_names[i].flag, path, &on));
        if (on) {
            info->pooling[info->poolings++] = (tandem_pooling)i;
        }
    }
    if (info->poolings == 0) {
        info->pooling[info->poolings++] = TANDEM_POOL_MEAN;
    }
    return 0;
}

static int parse_pooling(tandem_model *model, const cJSON *config, const char *path)
{
    tandem_model_info *info = &model->info;
    const cJSON *modes = tandem_json_member(config, "pooling_mode");
    int64_t dim = 0;
    info->poolings = 0;
    TANDEM_TRY(modes != NULL ? read_pooling_modes(info, modes, path) : read_pooling_flags(info, config, path));
    TANDEM_TRY(tandem_json_get_int_or(config, "word_embedding_dimension", path, 1, MAX_WIDTH, &dim));
    TANDEM_TRY(tandem_json_get_int_or(config, "embedding_dimension", path, 1, MAX_WIDTH, &dim));
    info->hidden = dim; /* tandem_model_load compares it with config.json's */
    return tandem_json_get_bool_or(config, "include_prompt", path, &info->include_prompt);
}

/* ---- Dense, LayerNorm, Normalize ------------------------------------------------------------ */

/* Classes of torch.nn by their last name: torch.nn.modules.activation.Tanh, torch.nn.Tanh. */
static const struct {
    const char *class_name;
    tandem_activation activation;
} activations[] = {
    {"Tanh", TANDEM_ACTIVATION_TANH}, {"Identity", TANDEM_ACTIVATION_IDENTITY}, {"ReLU", TANDEM_ACTIVATION_RELU},
    {"GELU", TANDEM_ACTIVATION_GELU}, {"SiLU", TANDEM_ACTIVATION_SILU},
};

static int find_activation(const char *class_name, const char *path, tandem_activation *out)
{
    const char *dot = strrchr(class_name, '.');
    bool torch = strncmp(class_name, "torch.nn.", 9) == 0;
    for (size_t i = 0; torch && i < sizeof activations / sizeof *activations; i++) {
        if (strcmp(dot + 1, activations[i].class_name) == 0) {
            *out = activations[i].activation;
            return 0;
        }
    }
    return tandem_error(
        "%s: activation_function \"%s\" is not supported (known: Tanh, Identity, ReLU, GELU and SiLU of torch.nn)",
        path, class_name);
}

/* Modules may be told to read and write something else than the sentence's vector. */
static int check_names(const cJSON *config, const char *path)
{
    static const char *const keys[] = {"module_input_name", "module_output_name"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *name = "sentence_embedding";
        TANDEM_TRY(tandem_json_get_string_or(config, keys[i], path, &name));
        if (strcmp(name, "sentence_embedding") != 0) {
            return tandem_error("%s: %s \"%s\" is not supported (known: sentence_embedding)", path, keys[i], name);
        }
    }
    return 0;
}

static int parse_dense(tandem_model *model, const cJSON *config, const char *path, tandem_module_spec *module,
                       tandem_module_file *file)
{
    bool bias = true, residual = false;
    const char *activation = "torch.nn.modules.activation.Tanh";
    TANDEM_TRY(tandem_json_get_int(config, "in_features", path, 1, MAX_WIDTH, &module->in));
    TANDEM_TRY(tandem_json_get_int(config, "out_features", path, 1, MAX_WIDTH, &module->out));
    TANDEM_TRY(tandem_json_get_bool_or(config, "bias", path, &bias));
    TANDEM_TRY(tandem_json_get_bool_or(config, "use_residual", path, &residual));
    TANDEM_TRY(tandem_json_get_string_or(config, "activation_function", path, &activation));
    TANDEM_TRY(find_activation(activation, path, &module->activation));
    if (residual) {
        return tandem_error("%s: use_residual is not supported", path);
    }
    module->bias = bias ? 0 : -1; /* layout.c gives it its place */
    file->activation = tandem_arena_strndup(model->arena, activation, strlen(activation));
    return file->activation == NULL ? TANDEM_ERROR : check_names(config, path);
}

static int parse_layer_norm(const cJSON *config, const char *path, tandem_module_spec *module)
{
    TANDEM_TRY(tandem_json_get_int(config, "dimension", path, 1, MAX_WIDTH, &module->in));
    module->out = module->in;
    module->eps = 1e-5; /* torch.nn.LayerNorm's own */
    return 0;
}

/* ---- modules.json ---------------------------------------------------------------------------- */

/* What is known of one entry while the list is walked. */
typedef struct {
    const char *class_name; /* the last part of its type, if that is of sentence_transformers */
    const char *folder;     /* as modules.json has it */
    const char *path;       /* of its config.json */
    const cJSON *config;    /* NULL: no such file */
} module_entry;

static int add_module(tandem_model *model, const module_entry *entry)
{
    tandem_module_spec *module = &model->modules[model->spec.modules];
    tandem_module_file *file = &model->module_files[model->spec.modules];
    tandem_buffer prefix = TANDEM_BUFFER_INIT;
    int rc = tandem_buffer_printf(&prefix, "%s.", entry->folder);
    *module = (tandem_module_spec){.weight = -1, .bias = -1, .activation = TANDEM_ACTIVATION_IDENTITY};
    *file = (tandem_module_file){.folder = entry->folder};
    file->prefix = rc < 0 ? NULL : tandem_arena_strndup(model->arena, prefix.data, prefix.length);
    tandem_buffer_free(&prefix);
    if (file->prefix == NULL) {
        return TANDEM_ERROR;
    }
    model->spec.modules++;
    if (strcmp(entry->class_name, "Normalize") == 0) {
        module->kind = TANDEM_MODULE_NORMALIZE;
        return entry->config != NULL ? check_names(entry->config, entry->path) : 0;
    }
    bool dense = strcmp(entry->class_name, "Dense") == 0;
    module->kind = dense ? TANDEM_MODULE_DENSE : TANDEM_MODULE_LAYER_NORM;
    if (entry->config == NULL) {
        return tandem_error("%s: no such file, but modules.json names its folder", entry->path);
    }
    return dense ? parse_dense(model, entry->config, entry->path, module, file)
                 : parse_layer_norm(entry->config, entry->path, module);
}

static int add_entry(tandem_model *model, size_t index, const module_entry *entry, const char *source)
{
    const char *name = entry->class_name;
    bool follows = strcmp(name, "Dense") == 0 || strcmp(name, "LayerNorm") == 0 || strcmp(name, "Normalize") == 0;
    if (index == 1 && strcmp(name, "Pooling") == 0) {
        model->pooling_folder = entry->folder;
        return entry->config != NULL ? parse_pooling(model, entry->config, entry->path)
                                     : tandem_error("%s: no such file, but modules.json names its folder", entry->path);
    }
    if (index < 2 || !follows) {
        return tandem_error("%s: module %zu, \"%s\", is not supported there (known: Transformer, Pooling, then any of "
                            "Dense, LayerNorm, Normalize)",
                            source, index, name);
    }
    return add_module(model, entry);
}

/* Gives the class of a module and its folder, in the model's arena. */
static int read_entry(tandem_model *model, const cJSON *module, const char *source, module_entry *out)
{
    const char *type, *path;
    TANDEM_TRY(tandem_json_get_string(module, "type", source, &type));
    TANDEM_TRY(tandem_json_get_string(module, "path", source, &path));
    const char *dot = strrchr(type, '.');
    const char *name = dot != NULL && strncmp(type, "sentence_transformers.", 22) == 0 ? dot + 1 : type;
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/') {
        length--;
    }
    if (path[0] == '/' || strstr(path, "..") != NULL) {
        return tandem_error("%s: path \"%s\" leaves the directory", source, path);
    }
    out->class_name = tandem_arena_strndup(model->arena, name, strlen(name));
    out->folder = tandem_arena_strndup(model->arena, path, length);
    return out->class_name == NULL || out->folder == NULL ? TANDEM_ERROR : 0;
}

/* The folder of the first module holds config.json, the weights and the tokenizer. */
static int set_root(tandem_model *model, const module_entry *entry, const char *source)
{
    if (strcmp(entry->class_name, "Transformer") != 0) {
        return tandem_error("%s: module 0, \"%s\", is not supported (known: Transformer)", source, entry->class_name);
    }
    if (entry->folder[0] == '\0') {
        return 0;
    }
    char *joined = tandem_path_join(model->info.directory, entry->folder);
    model->root = joined == NULL ? NULL : tandem_arena_strndup(model->arena, joined, strlen(joined));
    free(joined);
    return model->root == NULL ? TANDEM_ERROR : 0;
}

static int read_module(tandem_model *model, size_t index, module_entry *entry, const char *source)
{
    if (entry->folder[0] == '\0') {
        return tandem_error("%s: module %zu, \"%s\", needs a folder of its own", source, index, entry->class_name);
    }
    cJSON *config = NULL;
    char *path = NULL, *folder = tandem_path_join(model->info.directory, entry->folder);
    int rc = folder == NULL ? TANDEM_ERROR : tandem_model_read_optional(&config, &path, folder, "config.json");
    entry->path = path;
    entry->config = config;
    rc = rc < 0 ? rc : add_entry(model, index, entry, source);
    tandem_json_free(config);
    free(path);
    free(folder);
    return rc;
}

/* A cross-encoder is a Transformer; whatever follows belongs to the bi-encoder that it is made
 * from, unless the directory calls itself a cross-encoder's. */
static int check_cross(const tandem_model *model, const cJSON *modules, const char *source)
{
    if (tandem_model_is_cross_directory(model) && modules->child->next != NULL) {
        return tandem_error("%s: a cross-encoder of several modules is not supported (known: one Transformer)", source);
    }
    return 0;
}

static int walk_modules(tandem_model *model, const cJSON *modules, const char *source)
{
    if (!cJSON_IsArray(modules) || modules->child == NULL) {
        return tandem_error("%s: expected an array of modules", source);
    }
    size_t count = (size_t)cJSON_GetArraySize(modules), index = 0;
    model->modules = tandem_arena_alloc(model->arena, count, sizeof *model->modules);
    model->module_files = tandem_arena_alloc(model->arena, count, sizeof *model->module_files);
    if (model->modules == NULL || model->module_files == NULL) {
        return TANDEM_ERROR;
    }
    model->spec.module = model->modules;
    for (const cJSON *module = modules->child; module != NULL; module = module->next, index++) {
        module_entry entry = {0};
        TANDEM_TRY(read_entry(model, module, source, &entry));
        if (index > 0) {
            TANDEM_TRY(read_module(model, index, &entry, source));
            continue;
        }
        TANDEM_TRY(set_root(model, &entry, source));
        if (model->info.kind == TANDEM_CROSS_ENCODER) {
            return check_cross(model, modules, source);
        }
    }
    return index >= 2 ? 0 : tandem_error("%s: no Pooling module: not a bi-encoder's directory", source);
}

int tandem_model_read_modules(tandem_model *model)
{
    model->root = model->info.directory;
    model->info.pooling[0] =
        TANDEM_POOL_MEAN; /* of a directory without modules.json, as sentence-transformers reads it */
    model->info.poolings = 1;
    model->info.include_prompt = true;
    model->pooling_folder = "1_Pooling";
    char *path = NULL;
    cJSON *modules = NULL;
    int rc = tandem_model_read_optional(&modules, &path, model->info.directory, "modules.json");
    if (rc == 0 && modules != NULL) {
        rc = walk_modules(model, modules, path);
    }
    tandem_json_free(modules);
    free(path);
    return rc;
}
