/* text_reader.c - one line of BEIR's JSONL, and where a dataset's files lie. */
#include "data/text_reader.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/json.h"

/* ---- lines ---------------------------------------------------------------------- */
bool tandem_line_is_blank(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') {
            return false;
        }
    }
    return true;
}

int tandem_line_parse(cJSON **out, const char *line, size_t length, const char *source)
{
    *out = NULL;
    cJSON *json = NULL;
    if (tandem_json_parse(&json, line, length, "") < 0) {
        /* ":1:COLUMN: what" or ": what", since the whole text is one line. */
        const char *message = tandem_error_message();
        return strncmp(message, ":1:", 3) == 0 ? tandem_error("%s: at byte %s", source, message + 3)
                                               : tandem_error("%s%s", source, message);
    }
    if (!cJSON_IsObject(json)) {
        tandem_json_free(json);
        return tandem_error("%s: expected a JSON object", source);
    }
    *out = json;
    return TANDEM_OK;
}

int tandem_line_id(const char **out, const cJSON *object, const char *key, tandem_arena *arena,
                   const char *source)
{
    const cJSON *member = tandem_json_member(object, key);
    if (cJSON_IsNumber(member)) {
        const int64_t exact = (INT64_C(1) << 53) - 1; /* beyond it a double may be another integer */
        int64_t value = 0;
        TANDEM_TRY(tandem_json_get_int(object, key, source, -exact, exact, &value));
        char digits[24];
        int length = snprintf(digits, sizeof digits, "%" PRId64, value);
        *out = tandem_arena_strndup(arena, digits, (size_t)length);
        return *out ? TANDEM_OK : TANDEM_ERROR;
    }
    const char *id = NULL;
    TANDEM_TRY(tandem_json_get_string(object, key, source, &id));
    if (*id == '\0') {
        return tandem_error("%s: \"%s\" is empty", source, key);
    }
    *out = tandem_arena_strndup(arena, id, strlen(id));
    return *out ? TANDEM_OK : TANDEM_ERROR;
}

/* ---- texts ----------------------------------------------------------------------- */
/* Bytes of the white space character at `text`, or 0: the characters for which Python's
 * str.isspace() is true (White_Space of Unicode, and U+001C to U+001F). */
static size_t space_at(const char *text, size_t length)
{
    const unsigned char *byte = (const unsigned char *)text;
    if (length >= 1 && (byte[0] == ' ' || (byte[0] >= 0x09 && byte[0] <= 0x0D) ||
                        (byte[0] >= 0x1C && byte[0] <= 0x1F))) {
        return 1;
    }
    if (length >= 2 && byte[0] == 0xC2 && (byte[1] == 0x85 || byte[1] == 0xA0)) {
        return 2; /* U+0085, U+00A0 */
    }
    if (length < 3) {
        return 0;
    }
    unsigned code = (unsigned)(byte[0] & 0x0F) << 12 | (unsigned)(byte[1] & 0x3F) << 6 | (unsigned)(byte[2] & 0x3F);
    bool space = (byte[0] & 0xF0) == 0xE0 &&
                 (code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
                  code == 0x202F || code == 0x205F || code == 0x3000);
    return space ? 3 : 0;
}

const char *tandem_text_strip(const char *text, size_t *length)
{
    size_t begin = 0, end = *length, bytes;
    while (begin < end && (bytes = space_at(text + begin, end - begin)) > 0) {
        begin += bytes;
    }
    while (end > begin) {
        size_t last = end - 1; /* back to the first byte of the last character */
        while (last > begin && ((unsigned char)text[last] & 0xC0) == 0x80) {
            last--;
        }
        if (space_at(text + last, end - last) == 0) {
            break;
        }
        end = last;
    }
    *length = end - begin;
    return text + begin;
}

int tandem_text_parse(tandem_text *out, tandem_arena *arena, const char *line, size_t length,
                      const char *source)
{
    cJSON *json = NULL;
    TANDEM_TRY(tandem_line_parse(&json, line, length, source));
    const char *title = "", *text = NULL;
    int rc = tandem_line_id(&out->id, json, "_id", arena, source);
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_json_get_string(json, "text", source, &text));
    TANDEM_TRY_GOTO(rc, done, tandem_json_get_string_or(json, "title", source, &title));
    size_t title_length = strlen(title), text_length = strlen(text), joined_length;
    joined_length = title_length + 1 + text_length; /* no overflow: both lie in one parsed line */
    char *joined = tandem_arena_alloc(arena, joined_length + 1, 1);
    TANDEM_TRY_GOTO(rc, done, joined ? TANDEM_OK : TANDEM_ERROR);
    memcpy(joined, title, title_length);
    joined[title_length] = ' ';
    memcpy(joined + title_length + 1, text, text_length);
    const char *stripped = tandem_text_strip(joined, &joined_length);
    joined[(size_t)(stripped - joined) + joined_length] = '\0';
    out->text = stripped;
    out->length = joined_length;
done:
    tandem_json_free(json);
    return rc;
}

/* ---- files ------------------------------------------------------------------------- */
int tandem_dataset_file(char **out, const char *directory, const char *name)
{
    *out = NULL;
    tandem_buffer path = TANDEM_BUFFER_INIT;
    int rc = tandem_buffer_printf(&path, "%s/%s.zst", directory, name);
    if (rc < 0) {
        return rc;
    }
    size_t plain = path.length - strlen(".zst");
    path.data[plain] = '\0';
    if (!tandem_file_exists(path.data)) {
        path.data[plain] = '.';
        if (!tandem_file_exists(path.data)) {
            rc = tandem_error_code(TANDEM_NOT_FOUND, "%s/%s: no such file, nor with .zst", directory, name);
        }
    }
    if (rc == TANDEM_OK) {
        *out = tandem_buffer_take(&path);
    }
    tandem_buffer_free(&path);
    return rc;
}

/* The length of the split's name in "NAME.tsv" or "NAME.tsv.zst"; 0: no such file name. */
static size_t split_name_length(const char *file)
{
    const char *end = strstr(file, ".tsv");
    bool ends = end && (strcmp(end, ".tsv") == 0 || strcmp(end, ".tsv.zst") == 0);
    return ends && file[0] != '.' ? (size_t)(end - file) : 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts, and drops the second of train.tsv and train.tsv.zst. */
static void sort_names(tandem_split_names *names)
{
    qsort(names->names, names->count, sizeof *names->names, compare_names);
    size_t kept = 0;
    for (size_t i = 0; i < names->count; i++) {
        if (kept > 0 && strcmp(names->names[kept - 1], names->names[i]) == 0) {
            free(names->names[i]);
        } else {
            names->names[kept++] = names->names[i];
        }
    }
    names->count = kept;
}

int tandem_split_names_list(tandem_split_names *out, const char *directory)
{
    *out = (tandem_split_names){0};
    char *path = tandem_path_join(directory, "qrels");
    if (!path) {
        return TANDEM_ERROR;
    }
    int rc = TANDEM_OK;
    void *names = NULL;
    size_t capacity = 0;
    DIR *folder = opendir(path);
    if (!folder) {
        rc = errno == ENOENT ? TANDEM_OK : tandem_error("%s: cannot list: %s", path, strerror(errno));
        goto done;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        size_t length = split_name_length(entry->d_name);
        if (length == 0) {
            continue;
        }
        TANDEM_TRY_GOTO(rc, done, tandem_grow(&names, &capacity, out->count + 1, sizeof *out->names));
        out->names = names;
        char *name = tandem_strndup(entry->d_name, length);
        TANDEM_TRY_GOTO(rc, done, name ? TANDEM_OK : TANDEM_ERROR);
        out->names[out->count++] = name;
    }
    if (out->count > 0) {
        sort_names(out);
    }
done:
    if (folder) {
        closedir(folder);
    }
    if (rc < 0) {
        tandem_split_names_free(out);
    }
    free(path);
    return rc;
}

void tandem_split_names_free(tandem_split_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->names[i]);
    }
    free(names->names);
    *names = (tandem_split_names){0};
}
