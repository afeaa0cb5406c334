/* json.c - cJSON with the checks that it leaves to its caller. */
#include "tandem/json.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/memory.h"

/* The largest integer below which a double tells every integer from the next. */
static const double LARGEST_EXACT = 9007199254740991.0; /* 2^53 - 1 */

/* Objects with fewer members are searched pair by pair for duplicate keys. */
enum { FEW_MEMBERS = 8 };

/* Fails with "source:line:column: what", counting columns in bytes from 1. */
static int fail_at(const char *source, const char *text, size_t at, const char *what)
{
    size_t line = 1, start = 0;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    return tandem_error("%s:%zu:%zu: %s", source, line, at - start + 1, what);
}

/* ---- what is looked for in the text --------------------------------------------- */
/* True when the backslash at `at` begins an escape: an even number of them are escaped
 * backslashes. */
static bool begins_escape(const char *text, const char *at)
{
    size_t backslashes = 1;
    while (at - text >= (ptrdiff_t)backslashes && at[-(ptrdiff_t)backslashes] == '\\') {
        backslashes++;
    }
    return backslashes % 2 == 1;
}

/* cJSON ends a string, and says nothing, at U+0000, raw or escaped, and at a \u that four
 * hexadecimal digits do not follow. */
static int refuse_bad_characters(const char *text, size_t length, const char *source)
{
    const char *raw = memchr(text, '\0', length);
    if (raw) {
        return fail_at(source, text, (size_t)(raw - text), "a NUL byte is no JSON");
    }
    const char *end = text + length;
    for (const char *at = text; (at = memmem(at, (size_t)(end - at), "\\u", 2)) != NULL; at += 2) {
        if (!begins_escape(text, at)) {
            continue;
        }
        size_t digits = 0;
        while (digits < 4 && at + 2 + digits < end && isxdigit((unsigned char)at[2 + digits])) {
            digits++;
        }
        if (digits < 4) {
            return fail_at(source, text, (size_t)(at - text), "\\u without four hexadecimal digits");
        }
        if (memcmp(at + 2, "0000", 4) == 0) {
            return fail_at(source, text, (size_t)(at - text), "the character U+0000 is not supported in strings");
        }
    }
    return TANDEM_OK;
}

/* Where the `ordinal`-th key (from 0, in the order of the text) begins. The text is
 * valid JSON: a string followed by a colon is a key. */
static size_t key_position(const char *text, size_t length, size_t ordinal)
{
    for (size_t at = 0; at < length; at++) {
        if (text[at] != '"') {
            continue;
        }
        size_t begin = at++;
        while (at < length && text[at] != '"') {
            at += text[at] == '\\' ? 2 : 1;
        }
        size_t next = at + 1;
        while (next < length && strchr(" \t\r\n", text[next])) {
            next++;
        }
        if (next < length && text[next] == ':' && ordinal-- == 0) {
            return begin;
        }
    }
    return 0;
}

/* ---- what is looked for in the tree ----------------------------------------------- */
typedef struct {
    const char *text, *source;
    size_t length;
    size_t keys; /* keys met so far, in the order of the text */
} checker;

static int duplicate_key(const checker *check, size_t ordinal, const char *key)
{
    tandem_buffer what = TANDEM_BUFFER_INIT;
    TANDEM_TRY(tandem_buffer_printf(&what, "the key \"%s\" is already in this object", key));
    int rc = fail_at(check->source, check->text, key_position(check->text, check->length, ordinal), what.data);
    tandem_buffer_free(&what);
    return rc;
}

/* The first member whose key came before in the object, or NULL. */
static int find_duplicate(const cJSON *object, size_t count, const cJSON **out)
{
    *out = NULL;
    tandem_strmap *map = count < FEW_MEMBERS ? NULL : tandem_strmap_new(count);
    if (!map && count >= FEW_MEMBERS) {
        return TANDEM_ERROR;
    }
    int rc = TANDEM_OK;
    for (const cJSON *item = object->child; item && !*out && rc >= 0; item = item->next) {
        if (map) {
            rc = tandem_strmap_add(map, item->string, strlen(item->string), 0, NULL);
            *out = rc == 0 ? item : NULL;
            continue;
        }
        for (const cJSON *other = object->child; other != item; other = other->next) {
            *out = strcmp(other->string, item->string) == 0 ? item : *out;
        }
    }
    tandem_strmap_free(map);
    return rc < 0 ? rc : TANDEM_OK;
}

/* Recursion is bounded: cJSON refuses nesting deeper than CJSON_NESTING_LIMIT. */
static int check_value(checker *check, const cJSON *value)
{
    if (cJSON_IsNumber(value) && !isfinite(value->valuedouble)) {
        return tandem_error("%s: a number is too large for a double", check->source);
    }
    const cJSON *duplicate = NULL;
    if (cJSON_IsObject(value)) {
        TANDEM_TRY(find_duplicate(value, (size_t)cJSON_GetArraySize(value), &duplicate));
    }
    for (const cJSON *item = value->child; item; item = item->next) {
        size_t ordinal = check->keys;
        check->keys += cJSON_IsObject(value) ? 1 : 0;
        if (item == duplicate) {
            return duplicate_key(check, ordinal, item->string);
        }
        TANDEM_TRY(check_value(check, item));
    }
    return TANDEM_OK;
}

/* ---- parsing -------------------------------------------------------------------------- */
/* Position of the first byte after `at` that is no white space. */
static size_t skip_space(const char *text, size_t length, size_t at)
{
    while (at < length && strchr(" \t\r\n", text[at])) {
        at++;
    }
    return at;
}

int tandem_json_parse(struct cJSON **out, const char *text, size_t length, const char *source)
{
    size_t invalid = tandem_utf8_invalid(text, length);
    if (invalid < length) {
        return fail_at(source, text, invalid, "invalid UTF-8");
    }
    TANDEM_TRY(refuse_bad_characters(text, length, source));
    if (skip_space(text, length, 0) == length) {
        return tandem_error("%s: expected JSON, found nothing", source);
    }
    const char *stop = text;
    cJSON *json = cJSON_ParseWithLengthOpts(text, length, &stop, 0);
    size_t at = (size_t)(stop - text);
    if (!json) {
        bool early = skip_space(text, length, at + 1) >= length;
        return fail_at(source, text, at, early ? "invalid JSON, or its end is missing" : "invalid JSON");
    }
    at = skip_space(text, length, at);
    checker check = {.text = text, .source = source, .length = length};
    int rc = at < length ? fail_at(source, text, at, "expected the end after the JSON value") : check_value(&check, json);
    if (rc < 0) {
        cJSON_Delete(json);
        return rc;
    }
    *out = json;
    return TANDEM_OK;
}

int tandem_json_read(struct cJSON **out, const char *path)
{
    char *text;
    size_t size;
    TANDEM_TRY(tandem_file_read(&text, &size, path));
    int rc = tandem_json_parse(out, text, size, path);
    free(text);
    return rc;
}

void tandem_json_free(struct cJSON *json)
{
    cJSON_Delete(json);
}

/* cJSON would print such a number as null. */
static bool all_finite(const cJSON *value)
{
    if (cJSON_IsNumber(value) && !isfinite(value->valuedouble)) {
        return false;
    }
    for (const cJSON *item = value->child; item; item = item->next) {
        if (!all_finite(item)) {
            return false;
        }
    }
    return true;
}

int tandem_json_write(const struct cJSON *json, const char *path)
{
    if (!all_finite(json)) {
        return tandem_error("%s: JSON has no NaN and no infinity", path);
    }
    char *printed = cJSON_Print(json);
    if (!printed) {
        return tandem_error("%s: out of memory", path);
    }
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = tandem_buffer_printf(&text, "%s\n", printed);
    if (rc == TANDEM_OK) {
        rc = tandem_file_write(path, text.data, text.length);
    }
    tandem_buffer_free(&text);
    cJSON_free(printed);
    return rc;
}

/* ---- access ------------------------------------------------------------------------------ */
const struct cJSON *tandem_json_member(const struct cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static const char *type_name(const cJSON *value)
{
    return cJSON_IsObject(value) ? "an object" : cJSON_IsArray(value) ? "an array" :
           cJSON_IsString(value) ? "a string" : cJSON_IsNumber(value) ? "a number" :
           cJSON_IsBool(value) ? "a boolean" : "null";
}

static int wrong_type(const char *source, const char *key, const char *expected, const cJSON *found)
{
    return tandem_error("%s: \"%s\": expected %s, found %s", source, key, expected, type_name(found));
}

static int absent(const char *source, const char *key, const char *expected)
{
    return tandem_error("%s: \"%s\" is missing: expected %s", source, key, expected);
}

/* 1 with the member in *out; 0 when it is absent or null; fails on what is no object. */
static int find(const cJSON *object, const char *key, const char *source, const cJSON **out)
{
    if (!cJSON_IsObject(object)) {
        return tandem_error("%s: expected an object with the key \"%s\", found %s", source, key, type_name(object));
    }
    *out = tandem_json_member(object, key);
    return *out && !cJSON_IsNull(*out);
}

int tandem_json_get_string_or(const struct cJSON *object, const char *key, const char *source, const char **out)
{
    const cJSON *value;
    int found = find(object, key, source, &value);
    if (found <= 0) {
        return found;
    }
    if (!cJSON_IsString(value)) {
        return wrong_type(source, key, "a string", value);
    }
    *out = value->valuestring;
    return TANDEM_OK;
}

int tandem_json_get_string(const struct cJSON *object, const char *key, const char *source, const char **out)
{
    const char *value = NULL;
    TANDEM_TRY(tandem_json_get_string_or(object, key, source, &value));
    if (!value) {
        return absent(source, key, "a string");
    }
    *out = value;
    return TANDEM_OK;
}

/* 1 with the number in *out, 0 when it is absent. */
static int get_int(const cJSON *object, const char *key, const char *source, int64_t min, int64_t max, int64_t *out)
{
    const cJSON *value;
    int found = find(object, key, source, &value);
    if (found <= 0) {
        return found;
    }
    if (!cJSON_IsNumber(value)) {
        return wrong_type(source, key, "an integer", value);
    }
    double number = value->valuedouble;
    if (!(fabs(number) <= LARGEST_EXACT) || number != floor(number)) {
        return tandem_error("%s: \"%s\": expected an integer, found %.17g", source, key, number);
    }
    if ((int64_t)number < min || (int64_t)number > max) {
        return tandem_error("%s: \"%s\": expected an integer from %lld to %lld, found %.0f", source, key,
                            (long long)min, (long long)max, number);
    }
    *out = (int64_t)number;
    return 1;
}

int tandem_json_get_int_or(const struct cJSON *object, const char *key, const char *source, int64_t min, int64_t max, int64_t *out)
{
    int found = get_int(object, key, source, min, max, out);
    return found < 0 ? found : TANDEM_OK;
}

int tandem_json_get_int(const struct cJSON *object, const char *key, const char *source, int64_t min, int64_t max, int64_t *out)
{
    int found = get_int(object, key, source, min, max, out);
    return found < 0 ? found : found == 0 ? absent(source, key, "an integer") : TANDEM_OK;
}

int tandem_json_get_double_or(const struct cJSON *object, const char *key, const char *source, double *out)
{
    const cJSON *value;
    int found = find(object, key, source, &value);
    if (found <= 0) {
        return found;
    }
    if (!cJSON_IsNumber(value)) {
        return wrong_type(source, key, "a number", value);
    }
    *out = value->valuedouble;
    return TANDEM_OK;
}

int tandem_json_get_bool_or(const struct cJSON *object, const char *key, const char *source, bool *out)
{
    const cJSON *value;
    int found = find(object, key, source, &value);
    if (found <= 0) {
        return found;
    }
    if (!cJSON_IsBool(value)) {
        return wrong_type(source, key, "true or false", value);
    }
    *out = cJSON_IsTrue(value);
    return TANDEM_OK;
}
