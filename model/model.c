/* model.c - loading a model, what it is, and its differentiable forward passes. */
#include "tandem/model.h"

#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/log.h"

/* ---- loading ----------------------------------------------------------------------- */

static int check_dim(tandem_model *model)
{
    if (model->info.dim != 0 && model->info.dim != (size_t)model->spec.hidden) {
        return tandem_error("%s: the Pooling module expects vectors of %zu numbers, the encoder gives %lld", model->info.directory,
                            model->info.dim, (long long)model->spec.hidden);
    }
    model->info.dim = (size_t)model->spec.hidden;
    return 0;
}

static int load_tokenizer(tandem_model *model)
{
    TANDEM_TRY(tandem_tokenizer_load(&model->tokenizer, model->root));
    size_t ids = tandem_tokenizer_vocab_size(model->tokenizer);
    if (ids > (size_t)model->spec.vocab) {
        return tandem_error("%s: the tokenizer has ids up to %zu, the model embeds %lld", model->root, ids - 1, (long long)model->spec.vocab);
    }
    return 0;
}

static int settle_length(tandem_model *model, size_t asked)
{
    size_t stated, most = (size_t)(model->spec.positions - model->spec.position_offset);
    TANDEM_TRY(tandem_model_stated_length(model, &stated));
    size_t length = asked > 0 ? asked : stated > 0 ? stated : most;
    if (asked > most) {
        tandem_log_warn("%s: max_length %zu is more than the model's %zu positions: %zu it is", model->info.directory, asked, most, most);
    }
    model->info.max_length = length < most ? length : most;
    size_t special = tandem_tokenizer_special_count(model->tokenizer, model->info.kind == TANDEM_CROSS_ENCODER);
    if (model->info.max_length <= special) {
        return tandem_error_code(asked > 0 ? TANDEM_USAGE : TANDEM_ERROR, "%s: max_length %zu leaves no room for text beside %zu special tokens",
                                 model->info.directory, model->info.max_length, special);
    }
    return 0;
}

static void fill_info(tandem_model *model)
{
    const tandem_encoder_spec *spec = &model->spec;
    tandem_model_info *info = &model->info;
    info->family = model->family->model_type;
    info->hidden = spec->hidden;
    info->layers = spec->layers;
    info->heads = spec->heads;
    info->intermediate = spec->intermediate;
    info->vocab = spec->vocab;
    info->positions = spec->positions;
    info->types = spec->types;
    info->labels = spec->labels;
    info->norm_eps = spec->norm_eps;
}

static int load(tandem_model *model, const char *directory, const tandem_model_options *options)
{
    model->info.kind = options->kind;
    model->info.directory = tandem_arena_strndup(model->arena, directory, strlen(directory));
    if (model->info.directory == NULL) {
        return TANDEM_ERROR;
    }
    if (!tandem_dir_exists(directory)) {
        return tandem_error("%s: no such directory", directory);
    }
    TANDEM_TRY(tandem_model_read_modules(model, model->info.directory));
    TANDEM_TRY(tandem_model_read_config(model));
    TANDEM_TRY(check_dim(model));
    TANDEM_TRY(load_tokenizer(model));
    TANDEM_TRY(settle_length(model, options->max_length));
    TANDEM_TRY(tandem_model_read_weights(model, options));
    fill_info(model);
    return 0;
}

int tandem_model_load(tandem_model **out, const char *directory, const tandem_model_options *options)
{
    static const tandem_model_options plain = {.kind = TANDEM_BI_ENCODER};
    *out = NULL;
    tandem_model *model = tandem_alloc(1, sizeof *model);
    if (model == NULL) {
        return TANDEM_ERROR;
    }
    model->arena = tandem_arena_new();
    int rc = model->arena == NULL ? TANDEM_ERROR : load(model, directory, options != NULL ? options : &plain);
    if (rc < 0) {
        tandem_model_free(model);
        return rc;
    }
    *out = model;
    return 0;
}

void tandem_model_free(tandem_model *model)
{
    if (model == NULL) {
        return;
    }
    tandem_encoder_free(model->encoder);
    tandem_tokenizer_free(model->tokenizer);
    for (size_t i = 0; i < model->spare_count; i++) {
        free(model->spare[i].data);
    }
    free(model->spare);
    tandem_json_free(model->config);
    tandem_json_free(model->sentence_transformers);
    tandem_json_free(model->tokenizer_config);
    tandem_arena_free(model->arena);
    free(model);
}

/* ---- what it is --------------------------------------------------------------------- */

const tandem_model_info *tandem_model_describe(const tandem_model *model)
{
    return &model->info;
}

const tandem_tokenizer *tandem_model_tokenizer(const tandem_model *model)
{
    return model->tokenizer;
}

const tandem_encoder_spec *tandem_model_spec(const tandem_model *model)
{
    return &model->spec;
}

size_t tandem_model_parameter_count(const tandem_model *model)
{
    return model->parameter_count;
}

const tandem_parameter *tandem_model_parameter(const tandem_model *model, size_t index)
{
    return &model->parameters[index];
}

float *tandem_model_parameters(const tandem_model *model, size_t *floats)
{
    if (floats != NULL) {
        *floats = model->arena_floats;
    }
    return tandem_encoder_parameters(model->encoder);
}

float *tandem_model_gradients(const tandem_model *model)
{
    return tandem_encoder_gradients(model->encoder);
}

tandem_hash tandem_model_weights_hash(const tandem_model *model)
{
    return tandem_hash_bytes(tandem_encoder_parameters(model->encoder), model->arena_floats * sizeof(float));
}

/* The first field names what is hashed, so that the key changes when the way from text to
 * vector does. */
tandem_hash tandem_model_key(const tandem_model *model, tandem_side side)
{
    const tandem_model_info *info = &model->info;
    tandem_hasher *hasher = tandem_hasher_new();
    if (hasher == NULL) {
        return (tandem_hash){0, 0};
    }
    tandem_hasher_string(hasher, "tandem embedding 1");
    tandem_hasher_string(hasher, info->family);
    tandem_hasher_int(hasher, info->kind);
    tandem_hasher_hash(hasher, tandem_model_weights_hash(model));
    tandem_hasher_hash(hasher, tandem_tokenizer_hash(model->tokenizer));
    tandem_hasher_string(hasher, side == TANDEM_QUERY ? info->query_prompt : info->document_prompt);
    tandem_hasher_int(hasher, info->pooling);
    tandem_hasher_int(hasher, info->normalize);
    tandem_hasher_int(hasher, (int64_t)info->max_length);
    /* What the weights do not show. */
    tandem_hasher_int(hasher, info->hidden);
    tandem_hasher_int(hasher, info->layers);
    tandem_hasher_int(hasher, info->heads);
    tandem_hasher_int(hasher, info->intermediate);
    tandem_hasher_int(hasher, model->spec.activation);
    tandem_hasher_field(hasher, &info->norm_eps, sizeof info->norm_eps);
    return tandem_hasher_done(hasher);
}

/* ---- forward passes ---------------------------------------------------------------------- */

int tandem_model_embed(tandem_tensor **out, tandem_model *model, const tandem_batch *batch, tandem_dropout dropout)
{
    tandem_tensor *hidden;
    TANDEM_TRY(tandem_encoder_forward(&hidden, model->encoder, batch, dropout));
    tandem_tensor *pooled;
    TANDEM_TRY(tandem_encoder_pool(&pooled, hidden, batch, model->info.pooling));
    if (!model->info.normalize) {
        *out = pooled;
        return 0;
    }
    return tandem_op_normalize(out, pooled);
}

int tandem_model_logits(tandem_tensor **out, tandem_model *model, const tandem_batch *batch, tandem_dropout dropout)
{
    if (model->info.kind != TANDEM_CROSS_ENCODER) {
        return tandem_error("%s: a bi-encoder has no logits", model->info.directory);
    }
    tandem_tensor *hidden;
    TANDEM_TRY(tandem_encoder_forward(&hidden, model->encoder, batch, dropout));
    return tandem_encoder_classify(out, model->encoder, hidden, batch, dropout);
}

int tandem_model_append(const tandem_model *model, tandem_batch_builder *builder, tandem_bare first, const tandem_bare *second)
{
    tandem_assembly plan;
    size_t limit = model->info.max_length;
    TANDEM_TRY(tandem_tokenizer_plan(model->tokenizer, first.count, second != NULL ? &second->count : NULL, limit, &plan));
    int32_t *ids, *types;
    TANDEM_TRY(tandem_batch_builder_add(builder, plan.total, &ids, &types));
    /* The assembled type ids are bytes and the batch's are words: the bytes are written to
     * the front of the words, then widened from the last, which overwrites only bytes that
     * were read before. */
    uint8_t *bytes = (uint8_t *)types;
    TANDEM_TRY(tandem_tokenizer_assemble(model->tokenizer, first, second, limit, (uint32_t *)ids, bytes, NULL));
    for (size_t i = plan.total; i-- > 0;) {
        types[i] = bytes[i];
    }
    return 0;
}
