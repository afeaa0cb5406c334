/* config.c - config.json of a checkpoint. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "tandem/file.h"
#include "tandem/json.h"

/* Bounds that no encoder of the field comes near; they keep every product below in range. */
#define MAX_SIZE (INT64_C(1) << 20)
#define MAX_VOCAB (INT64_C(1) << 28)

static const struct {
    const char *name;
    tandem_activation activation;
} activations[] = {
    {"gelu", TANDEM_ACTIVATION_GELU},          {"gelu_python", TANDEM_ACTIVATION_GELU},
    {"gelu_new", TANDEM_ACTIVATION_GELU_TANH}, {"gelu_pytorch_tanh", TANDEM_ACTIVATION_GELU_TANH},
    {"relu", TANDEM_ACTIVATION_RELU},          {"silu", TANDEM_ACTIVATION_SILU},
    {"swish", TANDEM_ACTIVATION_SILU},         {"tanh", TANDEM_ACTIVATION_TANH},
    {"linear", TANDEM_ACTIVATION_IDENTITY}, /* in heads only */
};

static int read_activation(const cJSON *config, const char *key, const char *path, bool head, tandem_activation *out)
{
    const char *name = "gelu";
    TANDEM_TRY(tandem_json_get_string_or(config, key, path, &name));
    for (size_t i = 0; i < sizeof activations / sizeof *activations - (head ? 0 : 2); i++) {
        if (strcmp(name, activations[i].name) == 0) {
            *out = activations[i].activation;
            return 0;
        }
    }
    return tandem_error("%s: %s \"%s\" is not supported (known: gelu, gelu_new, gelu_pytorch_tanh, relu, silu%s)", path,
                        key, name, head ? ", tanh, linear" : "");
}

int tandem_config_head_activation(const tandem_family_config *config, const char *key, tandem_activation *out)
{
    return read_activation(config->json, key, config->path, true, out);
}

/* `key` NULL: the family has no such setting. */
static int read_probability(const cJSON *config, const char *key, const char *path, double *out)
{
    if (key == NULL) {
        return 0;
    }
    TANDEM_TRY(tandem_json_get_double_or(config, key, path, out));
    if (!(*out >= 0 && *out < 1)) {
        return tandem_error("%s: %s is %g, expected a probability below 1", path, key, *out);
    }
    return 0;
}

int tandem_config_probability(const tandem_family_config *config, const char *key, double *out)
{
    return read_probability(config->json, key, config->path, out);
}

int tandem_config_trait(tandem_family_config *config, const char *key, bool otherwise, unsigned bit)
{
    bool on = otherwise;
    TANDEM_TRY(tandem_json_get_bool_or(config->json, key, config->path, &on));
    config->has &= on ? ~0u : ~bit;
    return 0;
}

static int read_sizes(const cJSON *config, const tandem_config_keys *keys, const char *path, tandem_encoder_spec *spec)
{
    TANDEM_TRY(tandem_json_get_int(config, keys->hidden, path, 1, MAX_SIZE, &spec->hidden));
    TANDEM_TRY(tandem_json_get_int(config, keys->layers, path, 1, 1000, &spec->layers));
    TANDEM_TRY(tandem_json_get_int(config, keys->heads, path, 1, spec->hidden, &spec->heads));
    TANDEM_TRY(tandem_json_get_int(config, keys->intermediate, path, 1, MAX_SIZE, &spec->intermediate));
    TANDEM_TRY(tandem_json_get_int(config, keys->vocab, path, 1, MAX_VOCAB, &spec->vocab));
    TANDEM_TRY(tandem_json_get_int(config, keys->positions, path, 1, MAX_SIZE, &spec->positions));
    spec->types = keys->types_default;
    if (keys->types != NULL) {
        TANDEM_TRY(tandem_json_get_int_or(config, keys->types, path, 1, 256, &spec->types));
    }
    if (spec->hidden % spec->heads != 0) {
        return tandem_error("%s: %s %lld is no multiple of %s %lld", path, keys->hidden, (long long)spec->hidden,
                            keys->heads, (long long)spec->heads);
    }
    spec->embedding_size = spec->hidden;
    spec->position_offset = 0;
    spec->position_pad_id = -1;
    return 0;
}

static int read_numerics(const cJSON *config, const tandem_config_keys *keys, const char *path,
                         tandem_encoder_spec *spec)
{
    spec->norm_eps = keys->norm_eps_default;
    if (keys->norm_eps != NULL) {
        TANDEM_TRY(tandem_json_get_double_or(config, keys->norm_eps, path, &spec->norm_eps));
    }
    if (!(spec->norm_eps >= 0 && spec->norm_eps < 1)) {
        return tandem_error("%s: %s is %g, expected a small positive number", path, keys->norm_eps, spec->norm_eps);
    }
    double hidden_dropout = keys->dropout_default;
    TANDEM_TRY(read_probability(config, keys->hidden_dropout, path, &hidden_dropout));
    spec->embedding_dropout = spec->attention_out_dropout = spec->down_dropout = spec->classifier_dropout =
        hidden_dropout;
    spec->attention_dropout = keys->dropout_default;
    TANDEM_TRY(read_probability(config, keys->attention_dropout, path, &spec->attention_dropout));
    TANDEM_TRY(read_probability(config, keys->classifier_dropout, path, &spec->classifier_dropout));
    return read_activation(config, keys->activation, path, false, &spec->activation);
}

/* A checkpoint that brings code of its own was trained with that code: its weights under
 * the family's names need not mean what the family's forward pass makes of them. */
static int refuse_custom_code(const cJSON *config, const char *path)
{
    static const char loader[] = "AutoModel";
    const cJSON *map = tandem_json_member(config, "auto_map");
    for (const cJSON *entry = cJSON_IsObject(map) ? map->child : NULL; entry != NULL; entry = entry->next) {
        if (strncmp(entry->string, loader, sizeof loader - 1) == 0) {
            return tandem_error("%s: auto_map names code of its own for %s (%s): a model that needs code from its "
                                "directory (trust_remote_code) is not supported",
                                path, entry->string, cJSON_IsString(entry) ? entry->valuestring : "?");
        }
    }
    return 0;
}

/* Settings that change the forward pass in ways that tandem does not have. */
static int refuse_variants(const cJSON *config, const char *path)
{
    const char *positions = "absolute";
    bool decoder = false;
    TANDEM_TRY(tandem_json_get_string_or(config, "position_embedding_type", path, &positions));
    TANDEM_TRY(tandem_json_get_bool_or(config, "is_decoder", path, &decoder));
    if (strcmp(positions, "absolute") != 0) {
        return tandem_error("%s: position_embedding_type \"%s\" is not supported (known: absolute)", path, positions);
    }
    if (decoder) {
        return tandem_error("%s: is_decoder is not supported: tandem runs encoders", path);
    }
    TANDEM_TRY(refuse_custom_code(config, path));
    const cJSON *pruned = tandem_json_member(config, "pruned_heads");
    if (cJSON_IsObject(pruned) && pruned->child != NULL) {
        return tandem_error("%s: pruned_heads is not supported", path);
    }
    if (cJSON_IsObject(tandem_json_member(config, "quantization_config"))) {
        return tandem_error("%s: quantization_config is not supported: the weights must be plain floats", path);
    }
    return 0;
}

/* The number of labels as transformers knows it: that of id2label, else num_labels; 0 when
 * config.json says neither. */
static int read_labels(const cJSON *config, const char *path, int64_t *out)
{
    const cJSON *names = tandem_json_member(config, "id2label");
    if (cJSON_IsObject(names)) {
        *out = cJSON_GetArraySize(names);
        if (*out == 0) {
            return tandem_error("%s: id2label is empty", path);
        }
        return 0;
    }
    *out = 0;
    return tandem_json_get_int_or(config, "num_labels", path, 1, MAX_SIZE, out);
}

/* Every place -1: no weight. */
static int make_layers(tandem_model *model)
{
    tandem_encoder_spec *spec = &model->spec;
    static const tandem_layer_spec none = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0};
    model->layers = tandem_arena_alloc(model->arena, (size_t)spec->layers, sizeof *model->layers);
    if (model->layers == NULL) {
        return TANDEM_ERROR;
    }
    for (int64_t i = 0; i < spec->layers; i++) {
        model->layers[i] = none;
    }
    spec->layer = model->layers;
    spec->word_embedding = spec->position_embedding = spec->type_embedding = -1;
    spec->embedding_norm_weight = spec->embedding_norm_bias = -1;
    spec->projection_weight = spec->projection_bias = spec->relative_bias = -1;
    spec->final_norm_weight = spec->final_norm_bias = -1;
    spec->head_weight = spec->head_bias = spec->head_norm_weight = spec->head_norm_bias = -1;
    spec->classifier_weight = spec->classifier_bias = -1;
    return 0;
}

/* What the family alone knows how to read. */
static int read_family(tandem_model *model, const char *path)
{
    const tandem_family *family = model->family;
    tandem_encoder_spec *spec = &model->spec;
    tandem_family_config config = {.json = model->config,
                                   .path = path,
                                   .spec = spec,
                                   .layers = model->layers,
                                   .has = ~0u};
    spec->head_pooling = TANDEM_POOL_CLS;
    spec->head_activation = family->head_activation;
    spec->head_dropout_first = family->head_dropout_first;
    if (family->read != NULL) {
        TANDEM_TRY(family->read(&config));
    }
    if (spec->embedding_size == spec->hidden) {
        config.has &= ~(unsigned)TANDEM_NEEDS_PROJECTION;
    }
    model->has = config.has;
    return 0;
}

/* ---- numbers as they stand in the file --------------------------------------------------- */

/* The next number of NUL-terminated JSON after `at`, outside strings; its length in *length, and
 * whether it has a point or an exponent. */
static const char *next_number(const char *at, size_t *length, bool *floats)
{
    bool quoted = false;
    for (; *at != '\0'; at++) {
        if (quoted && *at == '\\') {
            at++; /* what is escaped is no end; parsed text does not end here */
        } else if (quoted) {
            quoted = *at != '"';
        } else if (*at == '"') {
            quoted = true;
        } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
            break;
        }
    }
    *length = strspn(at, "+-.0123456789eE");
    *floats = strcspn(at, ".eE,]} \n\r\t") < *length;
    return at;
}

/* cJSON writes 2.0 as 2, and transformers refuses an integer where its configuration class has
 * a float. The text of a number that has a point or an exponent is put into its item's
 * valuestring, which cJSON leaves alone, copies and frees; save.c writes it. Items come in the
 * order of the text. */
static int keep_floats(cJSON *item, const char **at)
{
    for (; item != NULL; item = item->next) {
        if (!cJSON_IsNumber(item)) {
            TANDEM_TRY(keep_floats(item->child, at));
            continue;
        }
        size_t length;
        bool floats;
        const char *number = next_number(*at, &length, &floats);
        *at = number + length;
        if (floats) {
            item->valuestring = tandem_strndup(number, length);
            TANDEM_TRY(item->valuestring == NULL ? TANDEM_ERROR : 0);
        }
    }
    return 0;
}

static int read_json(tandem_model *model, const char *path)
{
    char *text;
    size_t size;
    TANDEM_TRY(tandem_file_read(&text, &size, path));
    const char *at = text;
    int rc = tandem_json_parse(&model->config, text, size, path);
    rc = rc < 0 ? rc : keep_floats(model->config, &at);
    free(text);
    return rc;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int parse_config(tandem_model *model, const char *path)
{
    TANDEM_TRY(read_json(model, path));
    const cJSON *config = model->config;
    if (!cJSON_IsObject(config)) {
        return tandem_error("%s: expected an object", path);
    }
    const char *model_type;
    TANDEM_TRY(tandem_json_get_string(config, "model_type", path, &model_type));
    model->family = tandem_family_find(model_type, path);
    if (model->family == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(refuse_variants(config, path));
    TANDEM_TRY(read_sizes(config, &model->family->keys, path, &model->spec));
    TANDEM_TRY(read_numerics(config, &model->family->keys, path, &model->spec));
    TANDEM_TRY(make_layers(model));
    TANDEM_TRY(read_family(model, path));
    model->initializer_range = 0.02;
    TANDEM_TRY(tandem_json_get_double_or(config, "initializer_range", path, &model->initializer_range));
    if (model->info.kind == TANDEM_CROSS_ENCODER) {
        TANDEM_TRY(read_labels(config, path, &model->spec.labels));
    }
    return 0;
}

int tandem_model_read_config(tandem_model *model)
{
    char *path = tandem_path_join(model->root, "config.json");
    int rc = path == NULL ? TANDEM_ERROR : parse_config(model, path);
    free(path);
    return rc;
}
