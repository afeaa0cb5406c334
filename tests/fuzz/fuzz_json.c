/* JSON text, and the settings that are read from it. What parses must not hold a
 * duplicate key or a number that is not finite, and must be writable again. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tandem/json.h"
#include "tandem/settings.h"

typedef struct {
    int64_t number, choice, low, high;
    double real;
    bool flag;
    char *text;
} fields;

static const char *const choices[] = {"one", "two", NULL};
static const tandem_setting rows[] = {
    {"number", TANDEM_SETTING_INT, offsetof(fields, number), -10, 10, "1", NULL, ""},
    {"o.real", TANDEM_SETTING_DOUBLE, offsetof(fields, real), 0, 1, "0.5", NULL, ""},
    {"o.flag", TANDEM_SETTING_BOOL, offsetof(fields, flag), 0, 0, "false", NULL, ""},
    {"text", TANDEM_SETTING_STRING, offsetof(fields, text), 0, 0, NULL, NULL, ""},
    {"choice", TANDEM_SETTING_CHOICE, offsetof(fields, choice), 0, 0, "one", choices, ""},
    {"r.0", TANDEM_SETTING_INT, offsetof(fields, low), 0, 9, "0", NULL, ""},
    {"r.1", TANDEM_SETTING_INT, offsetof(fields, high), 0, 9, "9", NULL, ""},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    TANDEM_FUZZ_SEED("{\"number\": 3, \"o\": {\"real\": 0.25, \"flag\": true}, \"text\": \"\\u0041\\\\\", "
                     "\"choice\": \"two\", \"r\": [1, 2]}"),
    TANDEM_FUZZ_SEED("[{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9}, 1e308, \"\\ud83d\\ude00\"]"),
    {NULL, 0},
};

static void check(const cJSON *value)
{
    if (cJSON_IsNumber(value) && !isfinite(value->valuedouble)) {
        abort();
    }
    for (const cJSON *item = value->child; item; item = item->next) {
        for (const cJSON *other = item->next; cJSON_IsObject(value) && other; other = other->next) {
            if (strcmp(item->string, other->string) == 0) {
                abort();
            }
        }
        check(item);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cJSON *json = NULL;
    if (tandem_json_parse(&json, (const char *)data, size, "input") < 0) {
        return 0;
    }
    check(json);
    fields settings = {0};
    if (tandem_settings_init(&settings, rows, ROWS) < 0) {
        abort();
    }
    (void)tandem_settings_apply(&settings, rows, ROWS, json, "input");
    if (settings.number < -10 || settings.number > 10 || settings.choice > 1) {
        abort();
    }
    tandem_buffer dump = TANDEM_BUFFER_INIT;
    cJSON *again = NULL;
    if (tandem_settings_dump(&dump, &settings, rows, ROWS) < 0 ||
        tandem_json_parse(&again, dump.data, dump.length, "dump") < 0 ||
        tandem_settings_apply(&settings, rows, ROWS, again, "dump") < 0) {
        abort();
    }
    tandem_json_free(again);
    tandem_buffer_free(&dump);
    tandem_settings_free(&settings, rows, ROWS);
    tandem_json_free(json);
    return 0;
}
