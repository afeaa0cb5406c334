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
    {"gelu", TANDEM_ACTIVATION_GELU}, {"gelu_python", TANDEM_ACTIVATION_GELU},
    {"gelu_new", TANDEM_ACTIVATION_GELU_TANH}, {"gelu_pytorch_tanh", TANDEM_ACTIVATION_GELU_TANH},
    {"relu", TANDEM_ACTIVATION_RELU}, {"silu", TANDEM_ACTIVATION_SILU}, {"swish", TANDEM_ACTIVATION_SILU},
};

static int read_activation(const cJSON *config, const char *key, const char *path, tandem_activation *out)
{
    const char *name = "gelu";
    TANDEM_TRY(tandem_json_get_string_or(config, key, path, &name));
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
        if (strcmp(name, activations[i].name) == 0) {
            *out = activations[i].activation;
            return 0;
        }
    }
    return tandem_error("%s: %s \"%s\" is not supported (known: gelu, gelu_new, gelu_pytorch_tanh, relu, silu)", path, key, name);
}

static int read_probability(const cJSON *config, const char *key, const char *path, double *out)
{
    TANDEM_TRY(tandem_json_get_double_or(config, key, path, out));
    if (!(*out >= 0 && *out < 1)) {
        return tandem_error("%s: %s is %g, expected a probability below 1", path, key, *out);
    }
    return 0;
}

static int read_sizes(const cJSON *config, const tandem_family *family, const char *path, tandem_encoder_spec *spec)
{
    const tandem_config_keys *keys = &family->keys;
    TANDEM_TRY(tandem_json_get_int(config, keys->hidden, path, 1, MAX_SIZE, &spec->hidden));
    TANDEM_TRY(tandem_json_get_int(config, keys->layers, path, 1, 1000, &spec->layers));
    TANDEM_TRY(tandem_json_get_int(config, keys->heads, path, 1, spec->hidden, &spec->heads));
    TANDEM_TRY(tandem_json_get_int(config, keys->intermediate, path, 1, MAX_SIZE, &spec->intermediate));
    TANDEM_TRY(tandem_json_get_int(config, keys->vocab, path, 1, MAX_VOCAB, &spec->vocab));
    TANDEM_TRY(tandem_json_get_int(config, keys->positions, path, family->position_offset + 1, MAX_SIZE, &spec->positions));
    spec->types = keys->types_default;
    if (keys->types != NULL) {
        TANDEM_TRY(tandem_json_get_int_or(config, keys->types, path, 1, 256, &spec->types));
    }
    spec->position_offset = family->position_offset;
    spec->position_pad_id = -1;
    spec->embedding_size = spec->hidden;
    spec->head_activation = TANDEM_ACTIVATION_TANH;
    if (spec->hidden % spec->heads != 0) {
        return tandem_error("%s: %s %lld is no multiple of %s %lld", path, keys->hidden, (long long)spec->hidden, keys->heads, (long long)spec->heads);
    }
    return 0;
}

static int read_numerics(const cJSON *config, const tandem_config_keys *keys, const char *path, tandem_encoder_spec *spec)
{
    spec->norm_eps = keys->norm_eps_default;
    TANDEM_TRY(tandem_json_get_double_or(config, keys->norm_eps, path, &spec->norm_eps));
    if (!(spec->norm_eps >= 0 && spec->norm_eps < 1)) {
        return tandem_error("%s: %s is %g, expected a small positive number", path, keys->norm_eps, spec->norm_eps);
    }
    double hidden_dropout = 0.1;
    spec->attention_dropout = 0.1; /* transformers' default */
    TANDEM_TRY(read_probability(config, keys->hidden_dropout, path, &hidden_dropout));
    spec->embedding_dropout = spec->attention_out_dropout = spec->down_dropout = hidden_dropout;
    TANDEM_TRY(read_probability(config, keys->attention_dropout, path, &spec->attention_dropout));
    spec->classifier_dropout = hidden_dropout;
    TANDEM_TRY(read_probability(config, keys->classifier_dropout, path, &spec->classifier_dropout));
    return read_activation(config, keys->activation, path, &spec->activation);
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

static int parse_config(tandem_model *model, const char *path)
{
    TANDEM_TRY(tandem_json_read(&model->config, path));
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
    TANDEM_TRY(read_sizes(config, model->family, path, &model->spec));
    TANDEM_TRY(read_numerics(config, &model->family->keys, path, &model->spec));
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
