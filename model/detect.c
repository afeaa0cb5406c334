/* What kind of model a directory holds. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "tandem/file.h"
#include "tandem/json.h"

static bool classifies(const cJSON *config)
{
    static const char suffix[] = "ForSequenceClassification";
    const cJSON *name;
    cJSON_ArrayForEach(name, tandem_json_member(config, "architectures"))
    {
        size_t length = cJSON_IsString(name) ? strlen(name->valuestring) : 0;
        if (length >= sizeof suffix - 1 && strcmp(name->valuestring + length - (sizeof suffix - 1), suffix) == 0) {
            return true;
        }
    }
    return false;
}

/* Reads `name`, NULL where it is not there. */
static int read_one(cJSON **out, const char *directory, const char *name)
{
    char *path = NULL;
    int rc = tandem_model_read_optional(out, &path, directory, name);
    free(path);
    return rc;
}

static int judge(tandem_model_kind *out, const char *directory, const cJSON *settings, const cJSON *modules)
{
    const cJSON *type = tandem_json_member(settings, "model_type");
    if (cJSON_IsString(type)) {
        *out = strcmp(type->valuestring, "CrossEncoder") == 0 ? TANDEM_CROSS_ENCODER : TANDEM_BI_ENCODER;
        return 0;
    }
    if (cJSON_IsArray(modules) && cJSON_GetArraySize(modules) > 1) {
        *out = TANDEM_BI_ENCODER;
        return 0;
    }
    cJSON *config = NULL;
    char *path = tandem_path_join(directory, "config.json");
    int rc = path == NULL ? TANDEM_ERROR : tandem_json_read(&config, path);
    if (rc == 0) {
        *out = classifies(config) ? TANDEM_CROSS_ENCODER : TANDEM_BI_ENCODER;
    }
    tandem_json_free(config);
    free(path);
    return rc;
}

int tandem_model_detect(tandem_model_kind *out, const char *directory)
{
    cJSON *settings = NULL, *modules = NULL;
    int rc = read_one(&settings, directory, "config_sentence_transformers.json");
    rc = rc < 0 ? rc : read_one(&modules, directory, "modules.json");
    rc = rc < 0 ? rc : judge(out, directory, settings, modules);
    tandem_json_free(settings);
    tandem_json_free(modules);
    return rc;
}
