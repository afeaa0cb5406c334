/* json.h - checked access to JSON (cJSON underneath). */
#ifndef TANDEM_JSON_H
#define TANDEM_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"

struct cJSON; /* <cjson/cJSON.h>; include it to walk a tree by hand */

#ifdef __cplusplus
extern "C" {
#endif

/* Parses `length` bytes; `source` names them in messages (a path). The message of
 * a failure gives line and column. Bytes that follow the value are an error, and
 * so are invalid UTF-8, a duplicate key, and NaN. Free with tandem_json_free. */
int tandem_json_parse(struct cJSON **out, const char *text, size_t length, const char *source);
/* Reads and parses a file; TANDEM_NOT_FOUND when there is none. */
int tandem_json_read(struct cJSON **out, const char *path);
void tandem_json_free(struct cJSON *json);
/* Writes `json`, indented, by rename. */
int tandem_json_write(const struct cJSON *json, const char *path);

/* Members of an object. `source` names the object in messages. Where the key is
 * absent or null: the _or functions leave *out as it is and return 0, the others
 * fail. A member of another type always fails. Strings are borrowed. */
int tandem_json_get_string(const struct cJSON *object, const char *key, const char *source, const char **out);
int tandem_json_get_string_or(const struct cJSON *object, const char *key, const char *source, const char **out);
/* Integers must be whole, exact in a double and within [min, max]. */
int tandem_json_get_int(const struct cJSON *object, const char *key, const char *source, int64_t min, int64_t max, int64_t *out);
int tandem_json_get_int_or(const struct cJSON *object, const char *key, const char *source, int64_t min, int64_t max, int64_t *out);
int tandem_json_get_double_or(const struct cJSON *object, const char *key, const char *source, double *out);
int tandem_json_get_bool_or(const struct cJSON *object, const char *key, const char *source, bool *out);
/* The member, or NULL; never fails. Case-sensitive. */
const struct cJSON *tandem_json_member(const struct cJSON *object, const char *key);

#ifdef __cplusplus
}
#endif
#endif
