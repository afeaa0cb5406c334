/* settings.c - a struct filled from JSON and from key=value, by its table. */
#include "tandem/settings.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/json.h"

static void *field_of(void *settings, const tandem_setting *row)
{
    return (char *)settings + row->offset;
}

static const void *const_field_of(const void *settings, const tandem_setting *row)
{
    return (const char *)settings + row->offset;
}

/* Whether the field is a text of its own, which may be absent. */
static bool is_text(const tandem_setting *row)
{
    return row->type == TANDEM_SETTING_STRING || row->type == TANDEM_SETTING_LIST;
}

/* ---- one value -------------------------------------------------------------------- */
static int set_string(void *settings, const tandem_setting *row, const char *text)
{
    char *copy = NULL;
    if (text && !(copy = tandem_strdup(text))) {
        return TANDEM_ERROR;
    }
    char **field = field_of(settings, row);
    free(*field);
    *field = copy;
    return TANDEM_OK;
}

/* Integers come as doubles: beyond 2^53 one is not told from the next. */
static bool is_whole(double value)
{
    return value == floor(value) && fabs(value) < 0x1p53;
}

/* `found` is the value as the user wrote it. */
static int set_number(void *settings, const tandem_setting *row, double value, const char *found, const char *source)
{
    bool whole = row->type == TANDEM_SETTING_INT;
    if (!isfinite(value) || (whole && !is_whole(value)) || value < row->min || value > row->max) {
        return tandem_error_code(TANDEM_USAGE, "%s: %s: expected %s from %.15g to %.15g, found %s", source, row->path,
                                 whole ? "an integer" : "a number", row->min, row->max, found);
    }
    if (whole) {
        *(int64_t *)field_of(settings, row) = (int64_t)value;
    } else {
        *(double *)field_of(settings, row) = value;
    }
    return TANDEM_OK;
}

static int set_choice(void *settings, const tandem_setting *row, const char *text, const char *source)
{
    tandem_buffer known = TANDEM_BUFFER_INIT;
    int rc = TANDEM_OK;
    for (int64_t i = 0; row->choices[i]; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            *(int64_t *)field_of(settings, row) = i;
            tandem_buffer_free(&known);
            return TANDEM_OK;
        }
        rc = rc < 0 ? rc : tandem_buffer_printf(&known, "%s%s", i ? ", " : "", row->choices[i]);
    }
    if (rc == TANDEM_OK) {
        rc = tandem_error_code(TANDEM_USAGE, "%s: %s: expected one of %s; found \"%s\"", source, row->path, known.data, text);
    }
    tandem_buffer_free(&known);
    return rc;
}

static int wrong_type(const tandem_setting *row, const cJSON *value, const char *source)
{
    static const char *const expected[] = {"an integer", "a number", "true or false", "a string", "a string", "an array"};
    char *found = cJSON_PrintUnformatted(value);
    int rc = tandem_error_code(TANDEM_USAGE, "%s: %s: expected %s, found %.60s", source, row->path,
                               expected[row->type], found ? found : "something else");
    cJSON_free(found);
    return rc;
}

static int set_list(void *settings, const tandem_setting *row, const cJSON *value, const char *source)
{
    if (!cJSON_IsArray(value)) {
        return wrong_type(row, value, source);
    }
    char *text = cJSON_PrintUnformatted(value);
    int rc = text ? set_string(settings, row, text) : tandem_error("out of memory: the setting %s", row->path);
    cJSON_free(text);
    return rc;
}

static int set_list_text(void *settings, const tandem_setting *row, const char *text, const char *source)
{
    cJSON *json = NULL;
    TANDEM_TRY(tandem_json_parse(&json, text, strlen(text), source));
    int rc = set_list(settings, row, json, source);
    tandem_json_free(json);
    return rc;
}

/* From text: a default, or what follows the = of --set. */
static int set_text(void *settings, const tandem_setting *row, const char *text, const char *source)
{
    char *end = NULL;
    double number;
    switch (row->type) {
    case TANDEM_SETTING_INT:
    case TANDEM_SETTING_DOUBLE:
        number = strtod(text, &end);
        if (end == text || *end) {
            number = NAN;
        }
        return set_number(settings, row, number, text, source);
    case TANDEM_SETTING_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            return tandem_error_code(TANDEM_USAGE, "%s: %s: expected true or false, found %s", source, row->path, text);
        }
        *(bool *)field_of(settings, row) = *text == 't';
        return TANDEM_OK;
    case TANDEM_SETTING_STRING:
        return set_string(settings, row, text);
    case TANDEM_SETTING_CHOICE:
        return set_choice(settings, row, text, source);
    case TANDEM_SETTING_LIST:
        return set_list_text(settings, row, text, source);
    }
    return tandem_error("%s: %s has no such type", source, row->path);
}

static int set_json(void *settings, const tandem_setting *row, const cJSON *value, const char *source)
{
    char found[32];
    if (is_text(row) && cJSON_IsNull(value) && !row->initial) { /* as the dump spells an absent one */
        return set_string(settings, row, NULL);
    }
    switch (row->type) {
    case TANDEM_SETTING_INT:
    case TANDEM_SETTING_DOUBLE:
        if (!cJSON_IsNumber(value)) {
            break;
        }
        snprintf(found, sizeof found, "%.17g", value->valuedouble);
        return set_number(settings, row, value->valuedouble, found, source);
    case TANDEM_SETTING_BOOL:
        if (!cJSON_IsBool(value)) {
            break;
        }
        *(bool *)field_of(settings, row) = cJSON_IsTrue(value);
        return TANDEM_OK;
    case TANDEM_SETTING_STRING:
        if (!cJSON_IsString(value)) {
            break;
        }
        return set_string(settings, row, value->valuestring);
    case TANDEM_SETTING_CHOICE:
        if (!cJSON_IsString(value)) {
            break;
        }
        return set_choice(settings, row, value->valuestring, source);
    case TANDEM_SETTING_LIST:
        return set_list(settings, row, value, source);
    }
    return wrong_type(row, value, source);
}

/* ---- paths --------------------------------------------------------------------------- */
static const tandem_setting *find_row(const tandem_setting *rows, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].path, path) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Number of rows below `path`. */
static size_t rows_below(const tandem_setting *rows, size_t count, const char *path)
{
    size_t length = strlen(path), below = 0;
    for (size_t i = 0; i < count; i++) {
        below += strncmp(rows[i].path, path, length) == 0 && rows[i].path[length] == '.';
    }
    return below;
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* The path nearest to `path`: by its whole, else by its last part, for a key that
 * was put into the wrong object. */
static const char *suggestion(const tandem_setting *rows, size_t count, const char *path)
{
    const char **words = tandem_alloc(count, sizeof *words);
    if (!words) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        words[i] = rows[i].path;
    }
    const char *nearest = tandem_nearest(path, words, count);
    if (!nearest) {
        for (size_t i = 0; i < count; i++) {
            words[i] = last_part(rows[i].path);
        }
        const char *part = tandem_nearest(last_part(path), words, count);
        for (size_t i = 0; part && i < count && !nearest; i++) {
            nearest = words[i] == part ? rows[i].path : NULL;
        }
    }
    free(words);
    return nearest;
}

static int unknown_key(const tandem_setting *rows, size_t count, const char *path, const char *source)
{
    const char *nearest = suggestion(rows, count, path);
    return nearest ? tandem_error_code(TANDEM_USAGE, "%s: unknown key \"%s\"; did you mean \"%s\"?", source, path, nearest)
                   : tandem_error_code(TANDEM_USAGE, "%s: unknown key \"%s\"", source, path);
}

typedef struct {
    void *settings;
    const tandem_setting *rows;
    size_t count;
    const char *source;
    tandem_buffer path; /* of the value at hand */
} applier;

static int apply_value(applier *at, const cJSON *value);

/* The members of an object, or the elements of an array, of known rows. */
static int apply_below(applier *at, const cJSON *value)
{
    size_t length = at->path.length, index = 0;
    for (const cJSON *item = value->child; item; item = item->next, index++) {
        if (length > 0) {
            TANDEM_TRY(tandem_buffer_puts(&at->path, "."));
        }
        TANDEM_TRY(cJSON_IsArray(value) ? tandem_buffer_printf(&at->path, "%zu", index)
                                        : tandem_buffer_puts(&at->path, item->string));
        TANDEM_TRY(apply_value(at, item));
        at->path.length = length;
        if (at->path.data) {
            at->path.data[length] = '\0';
        }
    }
    return TANDEM_OK;
}

static int apply_value(applier *at, const cJSON *value)
{
    const char *path = at->path.data;
    const tandem_setting *row = find_row(at->rows, at->count, path);
    if (row) {
        return set_json(at->settings, row, value, at->source);
    }
    size_t below = rows_below(at->rows, at->count, path);
    if (below == 0) {
        return unknown_key(at->rows, at->count, path, at->source);
    }
    char first[256];
    snprintf(first, sizeof first, "%s.0", path);
    bool array = find_row(at->rows, at->count, first) != NULL;
    if (array && !(cJSON_IsArray(value) && (size_t)cJSON_GetArraySize(value) == below)) {
        return tandem_error_code(TANDEM_USAGE, "%s: %s: expected an array of %zu values", at->source, path, below);
    }
    if (!array && !cJSON_IsObject(value)) {
        return tandem_error_code(TANDEM_USAGE, "%s: %s: expected an object", at->source, path);
    }
    return apply_below(at, value);
}

/* ---- public ------------------------------------------------------------------------------ */
int tandem_settings_init(void *settings, const tandem_setting *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].initial) {
            TANDEM_TRY(set_text(settings, &rows[i], rows[i].initial, "default"));
        } else if (!is_text(&rows[i])) {
            return tandem_error("the setting %s has no default", rows[i].path);
        }
    }
    return TANDEM_OK;
}

int tandem_settings_apply(void *settings, const tandem_setting *rows, size_t count, const struct cJSON *object, const char *source)
{
    if (!cJSON_IsObject(object)) {
        return tandem_error_code(TANDEM_USAGE, "%s: expected a JSON object", source);
    }
    applier at = {.settings = settings, .rows = rows, .count = count, .source = source, .path = TANDEM_BUFFER_INIT};
    int rc = apply_below(&at, object);
    tandem_buffer_free(&at.path);
    return rc;
}

/* "range=[0,50]": an array or object is JSON, as in the file. */
static int set_structure(void *settings, const tandem_setting *rows, size_t count, const char *path, const char *text)
{
    cJSON *json;
    TANDEM_TRY(tandem_json_parse(&json, text, strlen(text), "--set"));
    applier at = {.settings = settings, .rows = rows, .count = count, .source = "--set", .path = TANDEM_BUFFER_INIT};
    int rc = tandem_buffer_puts(&at.path, path);
    if (rc == TANDEM_OK) {
        rc = apply_value(&at, json);
    }
    tandem_buffer_free(&at.path);
    tandem_json_free(json);
    return rc;
}

int tandem_settings_set(void *settings, const tandem_setting *rows, size_t count, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment) {
        return tandem_error_code(TANDEM_USAGE, "--set: expected key=value, found \"%s\"", assignment);
    }
    char *path = tandem_strndup(assignment, (size_t)(equals - assignment));
    if (!path) {
        return TANDEM_ERROR;
    }
    const tandem_setting *row = find_row(rows, count, path);
    int rc;
    if (row) {
        rc = set_text(settings, row, equals + 1, "--set");
    } else if (rows_below(rows, count, path) > 0) {
        rc = set_structure(settings, rows, count, path, equals + 1);
    } else {
        rc = unknown_key(rows, count, path, "--set");
    }
    free(path);
    return rc;
}

int tandem_settings_copy(void *out, const void *settings, const tandem_setting *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const void *field = const_field_of(settings, &rows[i]);
        if (is_text(&rows[i])) {
            TANDEM_TRY(set_string(out, &rows[i], *(char *const *)field));
        } else {
            bool flag = rows[i].type == TANDEM_SETTING_BOOL; /* all others have 8 bytes */
            memcpy(field_of(out, &rows[i]), field, flag ? sizeof(bool) : sizeof(int64_t));
        }
    }
    return TANDEM_OK;
}

void tandem_settings_free(void *settings, const tandem_setting *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_text(&rows[i])) {
            (void)set_string(settings, &rows[i], NULL);
        }
    }
}

/* ---- dump ----------------------------------------------------------------------------------- */
/* The shortest decimal form that reads back as the same double. */
static void format_double(char out[32], double value)
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, value);
        if (strtod(out, NULL) == value) {
            return;
        }
    }
}

static cJSON *value_json(const void *settings, const tandem_setting *row)
{
    const void *field = const_field_of(settings, row);
    const char *text;
    char number[32];
    switch (row->type) {
    case TANDEM_SETTING_INT:
        snprintf(number, sizeof number, "%lld", (long long)*(const int64_t *)field);
        return cJSON_CreateRaw(number);
    case TANDEM_SETTING_DOUBLE:
        format_double(number, *(const double *)field);
        return cJSON_CreateRaw(number);
    case TANDEM_SETTING_BOOL:
        return cJSON_CreateBool(*(const bool *)field);
    case TANDEM_SETTING_STRING:
        text = *(char *const *)field;
        return text ? cJSON_CreateString(text) : cJSON_CreateNull();
    case TANDEM_SETTING_CHOICE:
        return cJSON_CreateString(row->choices[*(const int64_t *)field]);
    case TANDEM_SETTING_LIST:
        text = *(char *const *)field;
        return text ? cJSON_Parse(text) : cJSON_CreateNull();
    }
    return NULL;
}

/* Puts the row's value into the tree, making the objects and arrays on its way. */
static int put_row(cJSON *root, const void *settings, const tandem_setting *row)
{
    char path[256];
    snprintf(path, sizeof path, "%s", row->path);
    cJSON *parent = root;
    char *key = path;
    for (char *dot; (dot = strchr(key, '.')) != NULL; key = dot + 1) {
        *dot = '\0';
        cJSON *child = cJSON_GetObjectItemCaseSensitive(parent, key);
        if (!child) {
            child = dot[1] == '0' ? cJSON_CreateArray() : cJSON_CreateObject();
            cJSON_AddItemToObject(parent, key, child);
        }
        parent = child;
    }
    cJSON *value = value_json(settings, row);
    cJSON_bool added = value && (cJSON_IsArray(parent) ? cJSON_AddItemToArray(parent, value)
                                                       : cJSON_AddItemToObject(parent, key, value));
    if (!added) {
        cJSON_Delete(value);
        return tandem_error("out of memory: the setting %s", row->path);
    }
    return TANDEM_OK;
}

int tandem_settings_dump(tandem_buffer *out, const void *settings, const tandem_setting *rows, size_t count)
{
    cJSON *root = cJSON_CreateObject();
    int rc = root ? TANDEM_OK : tandem_error("out of memory: settings");
    for (size_t i = 0; i < count && rc == TANDEM_OK; i++) {
        rc = put_row(root, settings, &rows[i]);
    }
    char *text = rc == TANDEM_OK ? cJSON_Print(root) : NULL;
    if (rc == TANDEM_OK) {
        rc = text ? tandem_buffer_printf(out, "%s\n", text) : tandem_error("out of memory: settings");
    }
    cJSON_free(text);
    cJSON_Delete(root);
    return rc;
}
