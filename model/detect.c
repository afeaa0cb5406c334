/* What kind of model a directory holds. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/model.h"

static bool classifies(const cJSON *config)
{
    static const char suffix[] = "ForSequenceClassification";
    const cJSON *name;
    cJSON_ArrayForEach(name, tandem_json_member(config, "architectures")) {
        size_t length = cJSON_IsString(name) ? strlen(name->valuestring) : 0;
        if (length >= sizeof suffix - 1 && strcmp(name->valuestring + length - (sizeof suffix - 1), suffix) == 0) {
            return true;
        }
    }
    return false;
}

int tandem_model_detect(tandem_model_kind *out, const char *directory)
{
    cJSON *config = NULL;
    char *path = tandem_path_join(directory, "config.json");
    int rc = path ? tandem_json_read(&config, path) : TANDEM_ERROR;
    if (rc == TANDEM_OK) {
        *out = classifies(config) ? TANDEM_CROSS_ENCODER : TANDEM_BI_ENCODER;
    }
    tandem_json_free(config);
    free(path);
    return rc;
}
