/* settings.c - what sentence-transformers says of a model besides its modules: prompts, similarity,
 * the cut of its vectors, the length limit. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "tandem/json.h"

/* ---- config_sentence_transformers.json -------------------------------------------------- */

static int read_prompts(tandem_model *model, const cJSON *prompts, const char *path)
{
    if (prompts == NULL || cJSON_IsNull(prompts)) {
        return 0;
    }
    if (!cJSON_IsObject(prompts)) {
        return tandem_error("%s: prompts must be an object of texts", path);
    }
    tandem_prompt *all = tandem_arena_alloc(model->arena, (size_t)cJSON_GetArraySize(prompts) + 1, sizeof *all);
    if (all == NULL) {
        return TANDEM_ERROR;
    }
    model->info.prompts = all;
    for (const cJSON *prompt = prompts->child; prompt != NULL; prompt = prompt->next) {
        if (!cJSON_IsString(prompt) && !cJSON_IsNull(prompt)) {
            return tandem_error("%s: prompt \"%s\" must be a text", path, prompt->string);
        }
        all[model->info.prompt_count++] =
            (tandem_prompt){prompt->string, cJSON_IsString(prompt) ? prompt->valuestring : ""};
    }
    return 0;
}

/* The first of `names` that the directory has; else the default prompt; else none. */
static const char *choose_prompt(const tandem_model_info *info, const char *const *names)
{
    const char *fallback = "";
    for (; *names != NULL; names++) {
        for (size_t i = 0; i < info->prompt_count; i++) {
            if (strcmp(info->prompts[i].name, *names) == 0) {
                return info->prompts[i].text;
            }
            if (info->default_prompt_name != NULL && strcmp(info->prompts[i].name, info->default_prompt_name) == 0) {
                fallback = info->prompts[i].text;
            }
        }
    }
    return fallback;
}

static int read_default_prompt(tandem_model *model, const cJSON *settings, const char *path)
{
    const char *name = NULL;
    TANDEM_TRY(tandem_json_get_string_or(settings, "default_prompt_name", path, &name));
    if (name == NULL) {
        return 0;
    }
    model->info.default_prompt_name = name;
    return tandem_model_find_prompt(model, name) != NULL
               ? 0
               : tandem_error_context(TANDEM_ERROR, "%s: default_prompt_name", path);
}

static int parse_bi_settings(tandem_model *model, const cJSON *settings, const char *path)
{
    static const char *const query_names[] = {"query", NULL};
    static const char *const document_names[] = {"document", "passage", "corpus", NULL};
    tandem_model_info *info = &model->info;
    const char *similarity = "cosine";
    int64_t cut = 0;
    TANDEM_TRY(read_prompts(model, tandem_json_member(settings, "prompts"), path));
    TANDEM_TRY(read_default_prompt(model, settings, path));
    info->query_prompt = choose_prompt(info, query_names);
    info->document_prompt = choose_prompt(info, document_names);
    TANDEM_TRY(tandem_json_get_string_or(settings, "similarity_fn_name", path, &similarity));
    info->cosine = strcmp(similarity, "cosine") == 0;
    if (!info->cosine && strcmp(similarity, "dot") != 0) {
        return tandem_error("%s: similarity_fn_name \"%s\" is not supported (known: cosine, dot)", path, similarity);
    }
    TANDEM_TRY(tandem_json_get_int_or(settings, "truncate_dim", path, 1, INT32_MAX, &cut));
    info->dim = (size_t)cut; /* 0: not cut; tandem_model_load settles it */
    return 0;
}

bool tandem_model_is_cross_directory(const tandem_model *model)
{
    const cJSON *type = tandem_json_member(model->sentence_transformers, "model_type");
    return cJSON_IsString(type) && strcmp(type->valuestring, "CrossEncoder") == 0;
}

/* A cross-encoder's prompt stands before the query where sentence-transformers has a default for it. */
static int parse_cross_settings(const tandem_model *model, const cJSON *settings, const char *path)
{
    const char *name = NULL;
    TANDEM_TRY(tandem_json_get_string_or(settings, "default_prompt_name", path, &name));
    if (name != NULL && tandem_model_is_cross_directory(model)) {
        return tandem_error("%s: default_prompt_name \"%s\" of a cross-encoder is not supported", path, name);
    }
    return 0;
}

int tandem_model_read_settings(tandem_model *model)
{
    char *path = NULL;
    model->info.query_prompt = model->info.document_prompt = "";
    model->info.cosine = true;
    int rc = tandem_model_read_optional(&model->sentence_transformers, &path, model->info.directory,
                                        "config_sentence_transformers.json");
    if (rc == 0 && model->sentence_transformers != NULL) {
        rc = model->info.kind == TANDEM_BI_ENCODER ? parse_bi_settings(model, model->sentence_transformers, path)
                                                   : parse_cross_settings(model, model->sentence_transformers, path);
    }
    free(path);
    return rc;
}

int tandem_model_set_dimensions(tandem_model *model, size_t dim)
{
    if (model->info.kind != TANDEM_BI_ENCODER) {
        return tandem_error_code(TANDEM_USAGE, "%s: a cross-encoder has no vectors to cut", model->info.directory);
    }
    if (dim == 0 || dim > model->info.width) {
        return tandem_error_code(TANDEM_USAGE, "%s: vectors of %zu numbers cannot be cut to %zu", model->info.directory,
                                 model->info.width, dim);
    }
    model->info.dim = dim;
    return 0;
}

/* ---- sentence_bert_config.json and tokenizer_config.json ------------------------------------ */

/* Arguments that the package passes on to transformers could change anything. */
static int refuse_arguments(const cJSON *config, const char *path)
{
    static const char *const keys[] = {"config_args", "config_kwargs", "processing_kwargs"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *arguments = tandem_json_member(config, keys[i]);
        if (cJSON_IsObject(arguments) && arguments->child != NULL) {
            return tandem_error("%s: %s (\"%s\") are not supported", path, keys[i], arguments->child->string);
        }
    }
    return 0;
}

static int parse_transformer(tandem_model *model, const cJSON *config, const char *path, double *length)
{
    bool cross = model->info.kind == TANDEM_CROSS_ENCODER;
    const char *expected_task = cross ? "sequence-classification" : "feature-extraction", *task = expected_task;
    const char *expected_output = cross ? "logits" : "last_hidden_state", *output = expected_output;
    const cJSON *text = tandem_json_member(tandem_json_member(config, "modality_config"), "text");
    TANDEM_TRY(tandem_json_get_double_or(config, "max_seq_length", path, length));
    TANDEM_TRY(tandem_json_get_string_or(config, "transformer_task", path, &task));
    TANDEM_TRY(tandem_json_get_bool_or(config, "do_lower_case", path, &model->lower_case));
    if (strcmp(task, expected_task) != 0) {
        return tandem_error("%s: transformer_task \"%s\" is not that of a %s", path, task,
                            cross ? "cross-encoder" : "bi-encoder");
    }
    if (cross && model->lower_case) {
        return tandem_error("%s: do_lower_case of a cross-encoder is not supported",
                            path); /* its older layout cannot say it */
    }
    if (cJSON_IsObject(text)) {
        TANDEM_TRY(tandem_json_get_string_or(text, "method_output_name", path, &output));
    }
    if (strcmp(output, expected_output) != 0) {
        return tandem_error("%s: method_output_name \"%s\" is not supported (known: %s)", path, output,
                            expected_output);
    }
    return refuse_arguments(config, path);
}

/* The file's name goes by the family in old directories. */
static int read_transformer(tandem_model *model, double *length)
{
    static const char *const names[] = {"sentence_bert_config.json",       "sentence_roberta_config.json",
                                        "sentence_distilbert_config.json", "sentence_camembert_config.json",
                                        "sentence_albert_config.json",     "sentence_xlm-roberta_config.json",
                                        "sentence_xlnet_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = NULL;
        cJSON *config = NULL;
        int rc = tandem_model_read_optional(&config, &path, model->root, names[i]);
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
    int rc = tandem_model_read_optional(&model->tokenizer_config, &path, model->root, "tokenizer_config.json");
    if (rc == 0 && (model->info.kind == TANDEM_BI_ENCODER || tandem_model_is_cross_directory(model))) {
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
