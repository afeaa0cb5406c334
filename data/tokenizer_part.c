/* tokenizer_part.c - what the readers of a tokenizer.json's parts have in common. */
#include <cjson/cJSON.h>
#include <string.h>

#include "data/tokenizer_parts.h"
#include "tandem/json.h"

static int refuse_type(const char *source, const char *key, const char *type, const char *const *names)
{
    tandem_buffer known = TANDEM_BUFFER_INIT;
    int rc = TANDEM_OK;
    for (size_t i = 0; names[i] && rc == TANDEM_OK; i++) {
        rc = tandem_buffer_printf(&known, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    if (rc == TANDEM_OK) {
        rc = *type ? tandem_error("%s: %s.type \"%s\" is not supported (known: %s)", source, key, type, known.data)
                   : tandem_error("%s: %s.type is missing (known: %s)", source, key, known.data);
    }
    tandem_buffer_free(&known);
    return rc;
}

int tandem_part_type(const cJSON *part, const char *key, const char *const *names, const char *source, size_t *index)
{
    const char *type = "";
    TANDEM_TRY(tandem_json_get_string_or(part, "type", source, &type));
    for (*index = 0; names[*index]; ++*index) {
        if (strcmp(type, names[*index]) == 0) {
            return TANDEM_OK;
        }
    }
    return refuse_type(source, key, type, names);
}

int tandem_part_each(const cJSON *part, const char *key, const char *member, const char *source, size_t depth,
                     tandem_part_fn read, void *context)
{
    const cJSON *parts = tandem_json_member(part, member);
    if (!cJSON_IsArray(parts)) {
        return tandem_error("%s: %s.%s: expected an array", source, key, member);
    }
    if (depth >= TANDEM_PARTS_MAX) {
        return tandem_error("%s: %s: more than %d sequences in each other", source, key, TANDEM_PARTS_MAX);
    }
    for (const cJSON *item = parts->child; item; item = item->next) {
        TANDEM_TRY(read(context, item, depth + 1));
    }
    return TANDEM_OK;
}

int tandem_part_pattern(const cJSON *part, const char *key, const char *source, tandem_hasher *hasher,
                        tandem_pattern **out)
{
    const cJSON *pattern = tandem_json_member(part, "pattern");
    const char *string = NULL, *regex = NULL;
    if (cJSON_IsObject(pattern)) {
        TANDEM_TRY(tandem_json_get_string_or(pattern, "String", source, &string));
        TANDEM_TRY(tandem_json_get_string_or(pattern, "Regex", source, &regex));
    }
    if (!string == !regex) {
        return tandem_error("%s: %s.pattern: expected {\"String\": ...} or {\"Regex\": ...}", source, key);
    }
    tandem_hasher_string(hasher, string);
    tandem_hasher_string(hasher, regex);
    const char *text = string ? string : regex;
    return tandem_pattern_new(out, text, strlen(text), regex != NULL, source);
}

/* An id in a batch is a signed 32-bit number. */
int tandem_part_id(const cJSON *value, const char *name, const char *source, uint32_t *id)
{
    double number = cJSON_IsNumber(value) ? value->valuedouble : -1;
    if (!(number >= 0 && number < INT32_MAX) || number != (double)(uint32_t)number) {
        return tandem_error("%s: \"%s\": expected an id, a whole number from 0 to %d", source, name, INT32_MAX - 1);
    }
    *id = (uint32_t)number;
    return TANDEM_OK;
}
