/* model.c - loading a model, what it is, and its differentiable forward passes. */
#include "tandem/model.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/log.h"

/* ---- loading ----------------------------------------------------------------------- */

int tandem_model_read_optional(cJSON **out, char **path, const char *folder, const char *name)
{
    *out = NULL;
    *path = tandem_path_join(folder, name);
    if (*path == NULL) {
        return TANDEM_ERROR;
    }
    return tandem_file_exists(*path) ? tandem_json_read(out, *path) : 0;
}

/* Follows the width of a vector from pooling through the modules; `dim` as of the options. */
static int settle_width(tandem_model *model, size_t dim)
{
    tandem_model_info *info = &model->info;
    int64_t hidden = model->spec.hidden, width = hidden * (int64_t)info->poolings;
    if (info->hidden != 0 && info->hidden != hidden) {
        return tandem_error("%s: the Pooling module expects vectors of %lld numbers, the encoder gives %lld",
                            info->directory, (long long)info->hidden, (long long)hidden);
    }
    for (int64_t i = 0; i < model->spec.modules; i++) {
        tandem_module_spec *module = &model->modules[i];
        if (module->kind == TANDEM_MODULE_NORMALIZE) {
            module->in = module->out = width;
        }
        if (module->in != width) {
            return tandem_error("%s: module %s expects vectors of %lld numbers, the one before it gives %lld",
                                info->directory, model->module_files[i].folder, (long long)module->in,
                                (long long)width);
        }
        width = module->out;
        info->normalize = module->kind == TANDEM_MODULE_NORMALIZE;
    }
    info->width = (size_t)width;
    if (dim > info->width) {
        return tandem_error_code(TANDEM_USAGE, "%s: an embedding has %zu numbers, not %zu", info->directory,
                                 info->width, dim);
    }
    info->dim = dim > 0 ? dim : info->dim > 0 && info->dim < info->width ? info->dim : info->width;
    return 0;
}

/* Puts the library's Lowercase before the normalizers that tokenizer.json has, as
 * sentence-transformers does for do_lower_case. Takes `lower`. */
static int put_lowercase(cJSON *json, cJSON *lower)
{
    cJSON *normalizer = cJSON_DetachItemFromObjectCaseSensitive(json, "normalizer");
    cJSON *sequence = cJSON_CreateObject(), *list = cJSON_CreateArray();
    bool made = lower != NULL && sequence != NULL && list != NULL &&
                cJSON_AddStringToObject(lower, "type", "Lowercase") != NULL &&
                cJSON_AddStringToObject(sequence, "type", "Sequence") != NULL;
    if (!made) {
        cJSON_Delete(normalizer);
        cJSON_Delete(sequence);
        cJSON_Delete(list);
        cJSON_Delete(lower);
        return tandem_error("out of memory");
    }
    cJSON_AddItemToArray(list, lower);
    if (cJSON_IsObject(normalizer)) {
        cJSON_AddItemToArray(list, normalizer);
    } else {
        cJSON_Delete(normalizer);
    }
    cJSON_AddItemToObject(sequence, "normalizers", list);
    cJSON_AddItemToObject(json, "normalizer", sequence);
    return 0;
}

static int load_lowercasing(tandem_model *model, const char *path)
{
    cJSON *json = NULL;
    TANDEM_TRY(tandem_json_read(&json, path));
    int rc =
        cJSON_IsObject(json) ? put_lowercase(json, cJSON_CreateObject()) : tandem_error("%s: expected an object", path);
    char *text = rc == 0 ? cJSON_PrintUnformatted(json) : NULL;
    if (rc == 0) {
        rc = text != NULL ? tandem_tokenizer_parse(&model->tokenizer, text, strlen(text), path)
                          : tandem_error("%s: out of memory", path);
    }
    cJSON_free(text);
    tandem_json_free(json);
    return rc;
}

static int load_tokenizer(tandem_model *model)
{
    if (!model->lower_case) {
        return tandem_tokenizer_load(&model->tokenizer, model->root);
    }
    char *path = tandem_path_join(model->root, "tokenizer.json");
    int rc = path == NULL ? TANDEM_ERROR : 0;
    if (rc == 0) { /* BERT's vocab.txt is read as uncased */
        rc = tandem_file_exists(path) ? load_lowercasing(model, path)
                                      : tandem_tokenizer_load(&model->tokenizer, model->root);
    }
    free(path);
    return rc;
}

static int check_vocab(const tandem_model *model)
{
    size_t ids = tandem_tokenizer_vocab_size(model->tokenizer);
    if (ids > (size_t)model->spec.vocab) {
        return tandem_error("%s: the tokenizer has ids up to %zu, the model embeds %lld", model->root, ids - 1,
                            (long long)model->spec.vocab);
    }
    return 0;
}

static int settle_length(tandem_model *model, size_t asked, size_t stated)
{
    size_t most = (size_t)(model->spec.positions - model->spec.position_offset);
    size_t length = asked > 0 ? asked : stated > 0 ? stated : most;
    if (asked > most) {
        tandem_log_warn("%s: max_length %zu is more than the model's %zu positions: %zu it is", model->info.directory,
                        asked, most, most);
    }
    model->info.max_length = length < most ? length : most;
    size_t special = tandem_tokenizer_special_count(model->tokenizer, model->info.kind == TANDEM_CROSS_ENCODER);
    if (model->info.max_length <= special) {
        return tandem_error_code(asked > 0 ? TANDEM_USAGE : TANDEM_ERROR,
                                 "%s: max_length %zu leaves no room for text beside %zu special tokens",
                                 model->info.directory, model->info.max_length, special);
    }
    return 0;
}

/* transformers passes token type ids where the tokenizer's model_input_names has them: those of its
 * class, unless tokenizer_config.json says otherwise. */
static bool reads_types(const tandem_model *model)
{
    const cJSON *names = tandem_json_member(model->tokenizer_config, "model_input_names"), *name;
    bool reads = model->family->reads_types && !cJSON_IsArray(names);
    cJSON_ArrayForEach(name, names)
    {
        reads = reads || (cJSON_IsString(name) && strcmp(name->valuestring, "token_type_ids") == 0);
    }
    return reads && model->spec.types > 0;
}

static void fill_info(tandem_model *model, tandem_precision precision)
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
    info->reads_types = reads_types(model);
    info->labels = spec->labels;
    info->norm_eps = spec->norm_eps;
    info->precision = precision;
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
    size_t stated;
    TANDEM_TRY(tandem_model_read_settings(model));
    TANDEM_TRY(tandem_model_read_modules(model));
    TANDEM_TRY(tandem_model_read_config(model));
    TANDEM_TRY(settle_width(model, options->dim));
    TANDEM_TRY(tandem_model_stated_length(model, &stated));
    TANDEM_TRY(load_tokenizer(model));
    TANDEM_TRY(check_vocab(model));
    TANDEM_TRY(settle_length(model, options->max_length, stated));
    TANDEM_TRY(tandem_model_set_prompt(model, TANDEM_QUERY, model->info.query_prompt));
    TANDEM_TRY(tandem_model_set_prompt(model, TANDEM_DOCUMENT, model->info.document_prompt));
    TANDEM_TRY(tandem_model_read_weights(model, options));
    fill_info(model, tandem_precision_settle(options->precision));
    return tandem_encoder_set_precision(model->encoder, model->info.precision);
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

int tandem_model_share(tandem_model **out, const tandem_model *model)
{
    *out = NULL;
    tandem_model *copy = tandem_alloc(1, sizeof *copy);
    if (copy == NULL) {
        return TANDEM_ERROR;
    }
    *copy = *model;
    copy->shared = true;
    copy->prompts[TANDEM_QUERY] = tandem_strdup(model->info.query_prompt);
    copy->prompts[TANDEM_DOCUMENT] = tandem_strdup(model->info.document_prompt);
    copy->info.query_prompt = copy->prompts[TANDEM_QUERY];
    copy->info.document_prompt = copy->prompts[TANDEM_DOCUMENT];
    if (copy->info.query_prompt == NULL || copy->info.document_prompt == NULL) {
        tandem_model_free(copy);
        return TANDEM_ERROR;
    }
    *out = copy;
    return 0;
}

static void free_parts(tandem_model *model)
{
    if (model->encoder) {
        tandem_encoder_free(model->encoder);
    }
    tandem_tokenizer_free(model->tokenizer);
    for (size_t i = 0; i < model->spare_count; i++) {
        free(model->spare[i].data);
    }
    free(model->spare);
    tandem_json_free(model->config);
    tandem_json_free(model->sentence_transformers);
    tandem_json_free(model->tokenizer_config);
    tandem_arena_free(model->arena);
}

void tandem_model_free(tandem_model *model)
{
    if (model == NULL) {
        return;
    }
    if (!model->shared) {
        free_parts(model);
    }
    free(model->prompts[TANDEM_QUERY]);
    free(model->prompts[TANDEM_DOCUMENT]);
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

void tandem_model_parameters_changed(tandem_model *model)
{
    tandem_encoder_parameters_changed(model->encoder);
}

tandem_encoder *tandem_model_encoder(const tandem_model *model)
{
    return model->encoder;
}

void tandem_model_freeze(tandem_model *model, int64_t layers)
{
    tandem_encoder_freeze(model->encoder, layers);
}

void tandem_model_set_checkpointing(tandem_model *model, bool on)
{
    tandem_encoder_set_checkpointing(model->encoder, on);
}

tandem_hash tandem_model_weights_hash(const tandem_model *model)
{
    return tandem_hash_bytes(tandem_encoder_parameters(model->encoder), model->arena_floats * sizeof(float));
}

/* ---- prompts ---------------------------------------------------------------------------- */

const char *tandem_model_find_prompt(const tandem_model *model, const char *name)
{
    const tandem_model_info *info = &model->info;
    tandem_buffer known = TANDEM_BUFFER_INIT;
    for (size_t i = 0; i < info->prompt_count; i++) {
        if (strcmp(info->prompts[i].name, name) == 0) {
            tandem_buffer_free(&known);
            return info->prompts[i].text;
        }
        if (tandem_buffer_printf(&known, "%s%s", i > 0 ? ", " : "", info->prompts[i].name) < 0) {
            break;
        }
    }
    tandem_error("%s: no prompt is called \"%s\" (known: %s)", info->directory, name,
                 known.length > 0 ? known.data : "none");
    tandem_buffer_free(&known);
    return NULL;
}

/* What sentence-transformers takes for the prompt in a text's tokens: as many as the prompt has
 * alone, with the special ones before it. */
static int count_prompt(const tandem_model *model, const char *prompt, size_t *out)
{
    tandem_token_scratch *scratch = tandem_token_scratch_new();
    if (scratch == NULL) {
        return TANDEM_ERROR;
    }
    tandem_tokens tokens;
    tandem_assembly plan = {0};
    int64_t *origin = NULL;
    int rc = tandem_tokenizer_bare(model->tokenizer, scratch, prompt, strlen(prompt), 0, false, &tokens);
    rc = rc < 0 ? rc : tandem_tokenizer_plan(model->tokenizer, tokens.count, NULL, 0, &plan);
    uint32_t *ids = rc < 0 ? NULL : tandem_alloc(plan.total, sizeof *ids);
    origin = ids == NULL ? NULL : tandem_alloc(plan.total, sizeof *origin);
    rc = rc < 0 ? rc : origin == NULL ? TANDEM_ERROR : 0;
    if (rc == 0) {
        rc = tandem_tokenizer_assemble(model->tokenizer, (tandem_bare){tokens.ids, tokens.count}, NULL, 0, ids, NULL,
                                       origin);
    }
    size_t count = rc == 0 ? plan.total : 0;
    while (count > 0 && origin[count - 1] < 0) {
        count--; /* special tokens at the end */
    }
    *out = count;
    free(ids);
    free(origin);
    tandem_token_scratch_free(scratch);
    return rc;
}

int tandem_model_set_prompt(tandem_model *model, tandem_side side, const char *prompt)
{
    size_t tokens = 0;
    if (!model->info.include_prompt && prompt[0] != '\0') {
        TANDEM_TRY(count_prompt(model, prompt, &tokens));
        if (tokens >= model->info.max_length) {
            return tandem_error("%s: a prompt of %zu tokens, which pooling leaves out, leaves nothing of %zu",
                                model->info.directory, tokens, model->info.max_length);
        }
    }
    char *copy = tandem_strdup(prompt);
    if (copy == NULL) {
        return TANDEM_ERROR;
    }
    free(model->prompts[side]); /* `prompt` may have been this one */
    model->prompts[side] = copy;
    *(side == TANDEM_QUERY ? &model->info.query_prompt : &model->info.document_prompt) = copy;
    model->prompt_tokens[side] = tokens;
    return 0;
}

size_t tandem_model_prompt_length(const tandem_model *model, tandem_side side)
{
    return model->prompt_tokens[side];
}

/* ---- the key of embeddings ----------------------------------------------------------------- */

/* What config.json says of the forward pass that neither weights nor sizes show. */
static void hash_forward(tandem_hasher *hasher, const tandem_encoder_spec *spec)
{
    tandem_hasher_int(hasher, spec->activation);
    tandem_hasher_field(hasher, &spec->norm_eps, sizeof spec->norm_eps);
    tandem_hasher_int(hasher, spec->position_offset);
    tandem_hasher_int(hasher, spec->position_pad_id);
    for (int64_t i = 0; i < spec->layers; i++) {
        tandem_hasher_int(hasher, spec->layer[i].window);
        tandem_hasher_field(hasher, &spec->layer[i].rope_theta, sizeof spec->layer[i].rope_theta);
    }
}

static void hash_vector(tandem_hasher *hasher, const tandem_model *model)
{
    const tandem_model_info *info = &model->info;
    tandem_hasher_int(hasher, (int64_t)info->poolings);
    for (size_t i = 0; i < info->poolings; i++) {
        tandem_hasher_int(hasher, info->pooling[i]);
    }
    tandem_hasher_int(hasher, info->include_prompt);
    tandem_hasher_int(hasher, model->spec.modules);
    for (int64_t i = 0; i < model->spec.modules; i++) {
        tandem_hasher_int(hasher, model->modules[i].kind);
        tandem_hasher_int(hasher, model->modules[i].activation);
        tandem_hasher_int(hasher, model->modules[i].out);
    }
    tandem_hasher_int(hasher, (int64_t)info->dim);
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
    tandem_hasher_string(hasher, "tandem embedding 2");
    tandem_hasher_string(hasher, info->family);
    tandem_hasher_int(hasher, info->kind);
    tandem_hasher_hash(hasher, tandem_model_weights_hash(model));
    tandem_hasher_hash(hasher, tandem_tokenizer_hash(model->tokenizer));
    tandem_hasher_string(hasher, side == TANDEM_QUERY ? info->query_prompt : info->document_prompt);
    tandem_hasher_int(hasher, (int64_t)info->max_length);
    tandem_hasher_int(hasher, info->hidden);
    tandem_hasher_int(hasher, info->layers);
    tandem_hasher_int(hasher, info->heads);
    tandem_hasher_int(hasher, info->intermediate);
    hash_forward(hasher, &model->spec);
    hash_vector(hasher, model);
    if (info->precision != TANDEM_FP32) {
        tandem_hasher_string(hasher, tandem_precision_name(info->precision));
    }
    tandem_device device = tandem_encoder_device(model->encoder);
    if (device != TANDEM_DEVICE_CPU) {
        tandem_hasher_string(hasher, tandem_device_name(device));
    }
    return tandem_hasher_done(hasher);
}

/* ---- forward passes ---------------------------------------------------------------------- */

int tandem_model_embed(tandem_tensor **out, tandem_model *model, const tandem_batch *batch, tandem_dropout dropout)
{
    return tandem_model_embed_sides(out, model, batch, NULL, dropout);
}

int tandem_model_embed_sides(tandem_tensor **out, tandem_model *model, const tandem_batch *batch,
                             const tandem_side *sides, tandem_dropout dropout)
{
    tandem_tensor *pooled;
    TANDEM_TRY(tandem_model_pool(&pooled, model, batch, sides, dropout));
    if (model->spec.modules == 0) {
        *out = pooled;
        return 0;
    }
    return tandem_encoder_modules(out, model->encoder, pooled);
}

int tandem_model_hidden(tandem_tensor **out, tandem_model *model, const tandem_batch *batch, tandem_dropout dropout)
{
    return tandem_encoder_forward(out, model->encoder, batch, dropout);
}

int tandem_model_logits(tandem_tensor **out, tandem_model *model, const tandem_batch *batch, tandem_dropout dropout)
{
    if (model->info.kind != TANDEM_CROSS_ENCODER) {
        return tandem_error("%s: a bi-encoder has no logits", model->info.directory);
    }
    tandem_tensor *pooled;
    TANDEM_TRY(tandem_encoder_forward_pooled(&pooled, model->encoder, batch, model->spec.head_pooling, dropout));
    return tandem_encoder_classify(out, model->encoder, pooled, dropout);
}

int tandem_model_append(const tandem_model *model, tandem_batch_builder *builder, tandem_bare first,
                        const tandem_bare *second)
{
    tandem_assembly plan;
    size_t limit = model->info.max_length;
    TANDEM_TRY(
        tandem_tokenizer_plan(model->tokenizer, first.count, second != NULL ? &second->count : NULL, limit, &plan));
    int32_t *ids, *types;
    TANDEM_TRY(tandem_batch_builder_add(builder, plan.total, &ids, &types));
    /* The assembled type ids are bytes and the batch's are words: the bytes are written to
     * the front of the words, then widened from the last, which overwrites only bytes that
     * were read before. */
    uint8_t *bytes = (uint8_t *)types;
    TANDEM_TRY(tandem_tokenizer_assemble(model->tokenizer, first, second, limit, (uint32_t *)ids, bytes, NULL));
    for (size_t i = plan.total; i-- > 0;) {
        types[i] = model->info.reads_types ? bytes[i] : 0;
    }
    return 0;
}
