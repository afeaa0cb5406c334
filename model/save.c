/* save.c - writing a model as a directory that the field's libraries load. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "tandem/file.h"
#include "tandem/json.h"

/* ---- JSON ---------------------------------------------------------------------------- */

/* Sets object[key], replacing what is there in its place; takes `value` in every case. */
static int set_item(cJSON *object, const char *key, cJSON *value)
{
    bool present = cJSON_GetObjectItemCaseSensitive(object, key) != NULL;
    if (value == NULL || !(present ? cJSON_ReplaceItemInObjectCaseSensitive(object, key, value)
                                   : cJSON_AddItemToObject(object, key, value))) {
        cJSON_Delete(value);
        return tandem_error("out of memory");
    }
    return 0;
}

/* Writes `json` as `name` and frees it; NULL: memory was out. */
static int write_json(cJSON *json, const char *directory, const char *name)
{
    char *path = json != NULL ? tandem_path_join(directory, name) : NULL;
    int rc = path != NULL ? tandem_json_write(json, path) : tandem_error("%s/%s: out of memory", directory, name);
    free(path);
    tandem_json_free(json);
    return rc;
}

/* ---- config.json ---------------------------------------------------------------------- */

/* {"0": "LABEL_0", ...} and its inverse, as transformers names labels. */
static int add_label_names(cJSON *config, int64_t labels)
{
    cJSON *names = cJSON_CreateObject(), *numbers = cJSON_CreateObject();
    bool made = names != NULL && numbers != NULL;
    for (int64_t i = 0; made && i < labels; i++) {
        char number[24], name[32];
        snprintf(number, sizeof number, "%lld", (long long)i);
        snprintf(name, sizeof name, "LABEL_%lld", (long long)i);
        made = cJSON_AddStringToObject(names, number, name) != NULL &&
               cJSON_AddNumberToObject(numbers, name, (double)i) != NULL;
    }
    if (!made) {
        cJSON_Delete(names);
        cJSON_Delete(numbers);
        return tandem_error("out of memory");
    }
    int first = set_item(config, "id2label", names), second = set_item(config, "label2id", numbers);
    return first < 0 ? first : second;
}

/* It stands in config.json, or since sentence-transformers 5.4 beside the list of modules. */
const char *tandem_model_score_activation(const tandem_model *model)
{
    if (model->new_head) {
        return "torch.nn.modules.activation.Sigmoid";
    }
    const cJSON *nested =
        tandem_json_member(tandem_json_member(model->config, "sentence_transformers"), "activation_fn");
    const cJSON *oldest = tandem_json_member(model->config, "sbert_ce_default_activation_function");
    const cJSON *newest = tandem_json_member(model->sentence_transformers, "activation_fn");
    const cJSON *found = cJSON_IsString(nested) ? nested : cJSON_IsString(oldest) ? oldest : newest;
    return cJSON_IsString(found) ? found->valuestring : NULL;
}

static int set_head(const tandem_model *model, cJSON *config)
{
    if (model->new_head || !cJSON_IsObject(tandem_json_member(config, "id2label"))) {
        TANDEM_TRY(add_label_names(config, model->spec.labels));
    }
    cJSON_DeleteItemFromObjectCaseSensitive(config, "num_labels"); /* id2label says it */
    const char *activation = tandem_model_score_activation(model);
    if (activation == NULL) {
        return 0;
    }
    cJSON *settings = cJSON_CreateObject();
    if (settings == NULL || cJSON_AddStringToObject(settings, "activation_fn", activation) == NULL) {
        cJSON_Delete(settings);
        return tandem_error("out of memory");
    }
    cJSON_DeleteItemFromObjectCaseSensitive(config, "sbert_ce_default_activation_function");
    return set_item(config, "sentence_transformers", settings);
}

/* Numbers that config.c kept the text of are written as they were. */
static void write_floats_as_read(cJSON *item)
{
    for (; item != NULL; item = item->next) {
        if (cJSON_IsNumber(item) && item->valuestring != NULL) {
            item->type = cJSON_Raw;
        }
        write_floats_as_read(item->child);
    }
}

/* The source's config.json with what became different. */
static int change_config(const tandem_model *model, cJSON *config)
{
    bool cross = model->info.kind == TANDEM_CROSS_ENCODER;
    const char *class = cross ? model->family->classifier : model->family->architecture;
    TANDEM_TRY(set_item(config, "architectures", cJSON_CreateStringArray(&class, 1)));
    static const char *const types[] = {"torch_dtype", "dtype"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (tandem_json_member(config, types[i]) != NULL) {
            TANDEM_TRY(set_item(config, types[i], cJSON_CreateString("float32")));
        }
    }
    return cross ? set_head(model, config) : 0;
}

/* transformers.js must be told which graphs have their weights in a second file. */
static int set_external_data(cJSON *config, const cJSON *external)
{
    static const char own[] = "transformers.js_config", key[] = "use_external_data_format";
    cJSON *settings = cJSON_GetObjectItemCaseSensitive(config, own);
    cJSON_DeleteItemFromObjectCaseSensitive(settings, key); /* of the graphs that the source was with */
    if (external->child == NULL) {
        return 0;
    }
    if (!cJSON_IsObject(settings)) {
        TANDEM_TRY(set_item(config, own, cJSON_CreateObject()));
        settings = cJSON_GetObjectItemCaseSensitive(config, own);
    }
    return set_item(settings, key, cJSON_Duplicate(external, true));
}

static int write_config(const tandem_model *model, const char *directory, const cJSON *external)
{
    cJSON *config = cJSON_Duplicate(model->config, true);
    int rc = config == NULL ? tandem_error("out of memory") : change_config(model, config);
    rc = rc < 0 || external == NULL ? rc : set_external_data(config, external);
    write_floats_as_read(config);
    if (rc < 0) {
        cJSON_Delete(config);
        return rc;
    }
    return write_json(config, directory, "config.json");
}

/* ---- the tokenizer's files --------------------------------------------------------------- */

static int copy_if_there(const tandem_model *model, const char *directory, const char *name)
{
    char *from = tandem_path_join(model->root, name), *to = tandem_path_join(directory, name);
    int rc = from == NULL || to == NULL ? TANDEM_ERROR : tandem_file_exists(from) ? tandem_file_copy(from, to) : 0;
    free(from);
    free(to);
    return rc;
}

/* model_max_length is the limit for every tool that does not read sentence-transformers' own
 * file: all of them truncate where this model does. */
static int write_tokenizer_config(const tandem_model *model, const char *directory)
{
    cJSON *config =
        model->tokenizer_config != NULL ? cJSON_Duplicate(model->tokenizer_config, true) : cJSON_CreateObject();
    int rc = config == NULL ? tandem_error("out of memory") : 0;
    if (rc == 0 && model->tokenizer_config == NULL) {
        rc = set_item(config, "tokenizer_class", cJSON_CreateString(model->family->tokenizer));
    }
    if (rc == 0) {
        rc = set_item(config, "model_max_length", cJSON_CreateNumber((double)model->info.max_length));
    }
    if (rc < 0) {
        cJSON_Delete(config);
        return rc;
    }
    return write_json(config, directory, "tokenizer_config.json");
}

static int write_tokenizer(const tandem_model *model, const char *directory)
{
    static const char *const names[] = {
        "tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",      "vocab.json",
        "merges.txt",     "sentencepiece.bpe.model", "spiece.model",      "tokenizer.model"};
    if (!tandem_file_exists(tandem_tokenizer_path(model->tokenizer))) {
        return tandem_error(
            "%s: no longer there: saving copies the tokenizer from the directory that the model was loaded from",
            tandem_tokenizer_path(model->tokenizer));
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        TANDEM_TRY(copy_if_there(model, directory, names[i]));
    }
    return write_tokenizer_config(model, directory);
}

/* ---- sentence-transformers' files --------------------------------------------------------- */

static int write_text(const tandem_buffer *text, const char *directory, const char *name)
{
    char *path = tandem_path_join(directory, name);
    int rc = path == NULL ? TANDEM_ERROR : tandem_file_write(path, text->data, text->length);
    free(path);
    return rc;
}

static const char *const module_classes[] = {
    [TANDEM_MODULE_DENSE] = "Dense", [TANDEM_MODULE_LAYER_NORM] = "LayerNorm", [TANDEM_MODULE_NORMALIZE] = "Normalize"};

/* Every version knows the classes under sentence_transformers.models. */
static int list_module(tandem_buffer *text, size_t index, const char *class, const char *folder)
{
    TANDEM_TRY(tandem_buffer_printf(text, "%s\n  {\n    \"idx\": %zu,\n    \"name\": \"%zu\",\n    \"path\": ",
                                    index > 0 ? "," : "[", index, index));
    TANDEM_TRY(tandem_buffer_json_string(text, folder, strlen(folder)));
    return tandem_buffer_printf(text, ",\n    \"type\": \"sentence_transformers.models.%s\"\n  }", class);
}

static int list_modules(const tandem_model *model, tandem_buffer *text)
{
    TANDEM_TRY(list_module(text, 0, "Transformer", ""));
    TANDEM_TRY(list_module(text, 1, "Pooling", model->pooling_folder));
    for (int64_t i = 0; i < model->spec.modules; i++) {
        TANDEM_TRY(
            list_module(text, (size_t)i + 2, module_classes[model->modules[i].kind], model->module_files[i].folder));
    }
    return tandem_buffer_puts(text, "\n]\n");
}

static int write_module_list(const tandem_model *model, const char *directory)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = list_modules(model, &text);
    rc = rc < 0 ? rc : write_text(&text, directory, "modules.json");
    tandem_buffer_free(&text);
    return rc;
}

/* The bools of the older layout join poolings in the order of tandem_pooling. */
static bool flags_say_it(const tandem_model_info *info)
{
    for (size_t i = 1; i < info->poolings; i++) {
        if (info->pooling[i] < info->pooling[i - 1]) {
            return false;
        }
    }
    return true;
}

static bool pools(const tandem_model_info *info, size_t mode)
{
    for (size_t i = 0; i < info->poolings; i++) {
        if ((size_t)info->pooling[i] == mode) {
            return true;
        }
    }
    return false;
}

static int pooling_text(const tandem_model_info *info, tandem_buffer *text)
{
    if (flags_say_it(info)) {
        TANDEM_TRY(tandem_buffer_printf(text, "{\n  \"word_embedding_dimension\": %lld,\n", (long long)info->hidden));
        for (size_t i = 0; i < TANDEM_POOLING_MODES; i++) {
            TANDEM_TRY(tandem_buffer_printf(text, "  \"%s\": %s,\n", tandem_pooling_names[i].flag,
                                            pools(info, i) ? "true" : "false"));
        }
    } else {
        TANDEM_TRY(tandem_buffer_printf(text, "{\n  \"embedding_dimension\": %lld,\n  \"pooling_mode\": [",
                                        (long long)info->hidden));
        for (size_t i = 0; i < info->poolings; i++) {
            TANDEM_TRY(
                tandem_buffer_printf(text, "%s\"%s\"", i > 0 ? ", " : "", tandem_pooling_names[info->pooling[i]].name));
        }
        TANDEM_TRY(tandem_buffer_puts(text, "],\n"));
    }
    return tandem_buffer_printf(text, "  \"include_prompt\": %s\n}\n", info->include_prompt ? "true" : "false");
}

static int module_text(const tandem_model *model, int64_t index, tandem_buffer *text)
{
    const tandem_module_spec *module = &model->modules[index];
    if (module->kind == TANDEM_MODULE_NORMALIZE) {
        return tandem_buffer_puts(text, "{}\n");
    }
    if (module->kind == TANDEM_MODULE_LAYER_NORM) {
        return tandem_buffer_printf(text, "{\n  \"dimension\": %lld\n}\n", (long long)module->in);
    }
    return tandem_buffer_printf(text,
                                "{\n  \"in_features\": %lld,\n  \"out_features\": %lld,\n  \"bias\": %s,\n  "
                                "\"activation_function\": \"%s\"\n}\n",
                                (long long)module->in, (long long)module->out, module->bias >= 0 ? "true" : "false",
                                model->module_files[index].activation);
}

/* Writes config.json of a module into `folder`, which is made. */
static int write_module_config(const char *directory, const char *folder, const tandem_buffer *text)
{
    char *path = tandem_path_join(directory, folder);
    int rc = path == NULL ? TANDEM_ERROR : tandem_dir_make(path);
    rc = rc < 0 ? rc : write_text(text, path, "config.json");
    free(path);
    return rc;
}

static int write_pooling(const tandem_model *model, const char *directory)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = pooling_text(&model->info, &text);
    rc = rc < 0 ? rc : write_module_config(directory, model->pooling_folder, &text);
    tandem_buffer_free(&text);
    return rc;
}

static int write_module(const tandem_model *model, int64_t index, const char *directory)
{
    const char *folder = model->module_files[index].folder;
    tandem_buffer text = TANDEM_BUFFER_INIT, name = TANDEM_BUFFER_INIT;
    int rc = module_text(model, index, &text);
    rc = rc < 0 ? rc : write_module_config(directory, folder, &text);
    rc = rc < 0 ? rc : tandem_buffer_printf(&name, "%s/%s/model.safetensors", directory, folder);
    if (rc == 0 && model->modules[index].kind != TANDEM_MODULE_NORMALIZE) {
        rc = tandem_model_write_module_weights(model, index, name.data);
    }
    tandem_buffer_free(&text);
    tandem_buffer_free(&name);
    return rc;
}

static int write_limit(const tandem_model *model, const char *directory)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = tandem_buffer_printf(&text, "{\n  \"max_seq_length\": %zu,\n  \"do_lower_case\": %s\n}\n",
                                  model->info.max_length, model->lower_case ? "true" : "false");
    rc = rc < 0 ? rc : write_text(&text, directory, "sentence_bert_config.json");
    tandem_buffer_free(&text);
    return rc;
}

/* The source's own settings, or the ones that sentence-transformers assumes without any. */
static int write_settings(const tandem_model *model, const char *directory)
{
    static const char text[] = "{\n  \"prompts\": {\n    \"query\": \"\",\n    \"document\": \"\"\n  },\n"
                               "  \"default_prompt_name\": null,\n  \"similarity_fn_name\": \"cosine\"\n}\n";
    cJSON *settings =
        model->sentence_transformers != NULL ? cJSON_Duplicate(model->sentence_transformers, true) : cJSON_Parse(text);
    if (settings != NULL && model->info.dim < model->info.width) {
        int rc = set_item(settings, "truncate_dim", cJSON_CreateNumber((double)model->info.dim));
        if (rc < 0) {
            cJSON_Delete(settings);
            return rc;
        }
    }
    return write_json(settings, directory, "config_sentence_transformers.json");
}

static int write_bi_encoder(const tandem_model *model, const char *directory)
{
    TANDEM_TRY(write_module_list(model, directory));
    TANDEM_TRY(write_pooling(model, directory));
    for (int64_t i = 0; i < model->spec.modules; i++) {
        TANDEM_TRY(write_module(model, i, directory));
    }
    TANDEM_TRY(write_limit(model, directory));
    return write_settings(model, directory);
}

/* ---- the whole ---------------------------------------------------------------------------- */

int tandem_model_write_files(const tandem_model *model, const char *directory, const cJSON *external)
{
    TANDEM_TRY(write_config(model, directory, external));
    TANDEM_TRY(write_tokenizer(model, directory));
    if (model->info.kind == TANDEM_BI_ENCODER) {
        TANDEM_TRY(write_bi_encoder(model, directory));
    }
    char *path = tandem_path_join(directory, "model.safetensors");
    int rc = path == NULL ? TANDEM_ERROR : tandem_model_write_weights(model, path);
    free(path);
    return rc;
}

int tandem_model_save(const tandem_model *model, const char *directory)
{
    char *staged = NULL;
    TANDEM_TRY(tandem_stage_dir(&staged, directory));
    int rc = tandem_model_write_files(model, staged, NULL);
    if (rc == 0) {
        rc = tandem_stage_commit(staged, directory);
    } else {
        tandem_stage_abort(staged);
    }
    free(staged);
    return rc;
}
