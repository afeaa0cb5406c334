/* settings.h - one table row a setting: JSON path, type, range, default and help.
 * The config file, --set, the dump of a run's settings and the docs are all made
 * from the table, so they cannot drift. */
#ifndef TANDEM_SETTINGS_H
#define TANDEM_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/error.h"
#include "tandem/memory.h"

struct cJSON;

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    TANDEM_SETTING_INT,    /* field is int64_t; in [min, max] */
    TANDEM_SETTING_DOUBLE, /* field is double; in [min, max] */
    TANDEM_SETTING_BOOL,   /* field is bool */
    TANDEM_SETTING_STRING, /* field is char *, owned; NULL when the default is NULL */
    TANDEM_SETTING_CHOICE, /* field is int64_t: index into `choices` */
    TANDEM_SETTING_LIST    /* field is char *, owned: a JSON array as text, NULL when absent; what its
                              elements are is checked by whoever reads them */
} tandem_setting_type;

typedef struct {
    const char *path; /* dotted JSON path, e.g. "mining.relative_margin" */
    tandem_setting_type type;
    size_t offset; /* of the field in the settings struct */
    double min, max;
    const char *initial; /* the default, as --set would spell it; NULL (strings and lists only): absent */
    const char *const *choices; /* NULL-terminated, CHOICE only */
    const char *help;
} tandem_setting;

/* A pair of numbers [low, high] is two INT rows with paths "x.0" and "x.1". */

/* Fills `settings` (a zeroed struct) with the defaults of `count` rows. */
int tandem_settings_init(void *settings, const tandem_setting *rows, size_t count);
/* Applies a JSON object. TANDEM_USAGE for an unknown key (the message suggests the
 * nearest known one), a wrong type, or a value out of range. */
int tandem_settings_apply(void *settings, const tandem_setting *rows, size_t count, const struct cJSON *object, const char *source);
/* Applies "key=value", the form of --set. */
int tandem_settings_set(void *settings, const tandem_setting *rows, size_t count, const char *assignment);
/* The settings as they are, as a JSON object text with every key, in table order.
 * The same settings always give the same bytes. */
int tandem_settings_dump(tandem_buffer *out, const void *settings, const tandem_setting *rows, size_t count);
/* Copies the fields of `count` rows from one struct to another, strings too. */
int tandem_settings_copy(void *out, const void *settings, const tandem_setting *rows, size_t count);
/* Frees the strings. */
void tandem_settings_free(void *settings, const tandem_setting *rows, size_t count);

/* The candidate nearest to `word` by edit distance, or NULL when none is near. */
const char *tandem_nearest(const char *word, const char *const *candidates, size_t count);

#ifdef __cplusplus
}
#endif
#endif
