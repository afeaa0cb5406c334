#include "model/weight_files.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/json.h"

/* ---- lists of problems ------------------------------------------------------------- */

#define PROBLEMS_NAMED 8

int tandem_problems_add(tandem_problems *problems, const char *format, ...)
{
    char text[512];
    va_list arguments;
    if (problems->count++ >= PROBLEMS_NAMED) {
        return 0;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments); /* a name that does not fit is cut */
    va_end(arguments);
    return tandem_buffer_printf(&problems->text, "%s%s", problems->count > 1 ? ", " : "", text);
}

int tandem_problems_close(tandem_problems *problems, const char *what)
{
    size_t more = problems->count > PROBLEMS_NAMED ? problems->count - PROBLEMS_NAMED : 0;
    int rc = 0;
    if (more > 0) {
        rc = tandem_error("%s: %s and %zu more", what, problems->text.data, more);
    } else if (problems->count > 0) {
        rc = tandem_error("%s: %s", what, problems->text.data);
    }
    tandem_buffer_free(&problems->text);
    problems->count = 0;
    return rc;
}

/* ---- files ---------------------------------------------------------------------------- */

struct tandem_weight_files {
    tandem_arena *arena; /* of names and paths */
    tandem_safetensors **files;
    size_t file_count, file_capacity;
    tandem_weight_entry *entries;
    size_t count, capacity;
    tandem_strmap *by_name;
    const char *path;
};

tandem_weight_files *tandem_weight_files_new(void)
{
    tandem_weight_files *checkpoint = tandem_alloc(1, sizeof *checkpoint);
    if (checkpoint == NULL) {
        return NULL;
    }
    checkpoint->arena = tandem_arena_new();
    checkpoint->by_name = tandem_strmap_new(256);
    if (checkpoint->arena == NULL || checkpoint->by_name == NULL) {
        tandem_weight_files_free(checkpoint);
        return NULL;
    }
    return checkpoint;
}

void tandem_weight_files_free(tandem_weight_files *checkpoint)
{
    if (checkpoint == NULL) {
        return;
    }
    for (size_t i = 0; i < checkpoint->file_count; i++) {
        tandem_safetensors_close(checkpoint->files[i]);
    }
    free(checkpoint->files);
    free(checkpoint->entries);
    tandem_strmap_free(checkpoint->by_name);
    tandem_arena_free(checkpoint->arena);
    free(checkpoint);
}

static const char *keep(tandem_weight_files *checkpoint, const char *text)
{
    return tandem_arena_strndup(checkpoint->arena, text, strlen(text));
}

/* Opens a file that the checkpoint then owns. */
static int open_file(tandem_weight_files *checkpoint, const char *path, tandem_safetensors **out)
{
    size_t needed = checkpoint->file_count + 1;
    TANDEM_TRY(
        tandem_grow((void **)&checkpoint->files, &checkpoint->file_capacity, needed, sizeof(tandem_safetensors *)));
    TANDEM_TRY(tandem_safetensors_open(out, path));
    checkpoint->files[checkpoint->file_count++] = *out;
    return 0;
}

static int add_entry(tandem_weight_files *checkpoint, const tandem_safetensor *tensor, const char *prefix,
                     const char *path)
{
    size_t length = strlen(prefix), name_length = strlen(tensor->name);
    char *name = tandem_arena_alloc(checkpoint->arena, length + name_length + 1, 1);
    if (name == NULL) {
        return TANDEM_ERROR;
    }
    memcpy(name, prefix, length);
    memcpy(name + length, tensor->name, name_length + 1);
    int added = tandem_strmap_add(checkpoint->by_name, name, length + name_length, checkpoint->count, NULL);
    if (added <= 0) {
        return added < 0 ? added : tandem_error("%s: tensor \"%s\" is there twice", path, name);
    }
    TANDEM_TRY(tandem_grow((void **)&checkpoint->entries, &checkpoint->capacity, checkpoint->count + 1,
                           sizeof *checkpoint->entries));
    checkpoint->entries[checkpoint->count++] = (tandem_weight_entry){.name = name, .path = path, .tensor = tensor};
    return 0;
}

static int add_file(tandem_weight_files *checkpoint, const char *path, const char *prefix)
{
    tandem_safetensors *file;
    const char *kept = keep(checkpoint, path);
    if (kept == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(open_file(checkpoint, path, &file));
    for (size_t i = 0; i < tandem_safetensors_count(file); i++) {
        TANDEM_TRY(add_entry(checkpoint, tandem_safetensors_at(file, i), prefix, kept));
    }
    return 0;
}

/* ---- shards ------------------------------------------------------------------------------ */

/* Opens each shard that weight_map names, once. */
static int open_shards(tandem_weight_files *checkpoint, const cJSON *map, const char *folder, const char *path,
                       tandem_strmap *opened)
{
    for (const cJSON *place = map->child; place != NULL; place = place->next) {
        const char *name = cJSON_IsString(place) ? place->valuestring : "";
        if (!tandem_path_has_suffix(name, ".safetensors") || strchr(name, '/') != NULL) {
            return tandem_error(
                "%s: weight_map: \"%s\" is in \"%s\", expected the name of a .safetensors file beside the index", path,
                place->string, name);
        }
        int added = tandem_strmap_add(opened, name, strlen(name), 0, NULL);
        if (added > 0) {
            char *file = tandem_path_join(folder, name);
            added = file == NULL ? TANDEM_ERROR : add_file(checkpoint, file, "");
            free(file);
        }
        TANDEM_TRY(added);
    }
    return 0;
}

/* Each tensor must be in the shard that the index names, and the index must name each. */
static int check_shards(tandem_weight_files *checkpoint, const cJSON *map, const char *path)
{
    tandem_problems problems = {TANDEM_BUFFER_INIT, 0};
    int rc = 0;
    for (const cJSON *place = map->child; place != NULL && rc == 0; place = place->next) {
        tandem_weight_entry *entry = tandem_weight_files_find(checkpoint, place->string);
        if (entry == NULL) {
            rc = tandem_problems_add(&problems, "%s is missing from %s", place->string, place->valuestring);
            continue;
        }
        entry->used = true;
        if (strcmp(place->valuestring, tandem_path_base(entry->path)) != 0) {
            rc = tandem_problems_add(&problems, "%s is in %s, not in %s", entry->name, tandem_path_base(entry->path),
                                     place->valuestring);
        }
    }
    for (size_t i = 0; i < checkpoint->count && rc == 0; i++) {
        tandem_weight_entry *entry = &checkpoint->entries[i];
        if (!entry->used) {
            rc = tandem_problems_add(&problems, "%s of %s is not in the index", entry->name,
                                     tandem_path_base(entry->path));
        }
        entry->used = false;
    }
    int closed = tandem_problems_close(&problems, path);
    return rc < 0 ? rc : closed;
}

static int add_shards(tandem_weight_files *checkpoint, const cJSON *index, const char *folder, const char *path)
{
    const cJSON *map = tandem_json_member(index, "weight_map");
    if (!cJSON_IsObject(map) || map->child == NULL) {
        return tandem_error("%s: weight_map must be an object that names the file of each tensor", path);
    }
    tandem_strmap *opened = tandem_strmap_new(16);
    int rc = opened == NULL ? TANDEM_ERROR : open_shards(checkpoint, map, folder, path, opened);
    tandem_strmap_free(opened);
    return rc < 0 ? rc : check_shards(checkpoint, map, path);
}

static int add_index(tandem_weight_files *checkpoint, const char *folder, const char *path)
{
    cJSON *index = NULL;
    int rc = tandem_json_read(&index, path);
    rc = rc < 0 ? rc : add_shards(checkpoint, index, folder, path);
    tandem_json_free(index);
    return rc;
}

/* ---- folders -------------------------------------------------------------------------------- */

/* Names the file that is there instead of model.safetensors. */
static int explain_missing(const char *folder, const char *path)
{
    static const char *const others[] = {"pytorch_model.bin", "tf_model.h5", "model.onnx"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *other = tandem_path_join(folder, others[i]);
        if (other == NULL) {
            return TANDEM_ERROR;
        }
        int rc = 0;
        if (tandem_file_exists(other)) {
            tandem_safetensors *file = NULL;
            rc = i == 0 ? tandem_safetensors_open(&file, other)
                        : tandem_error("%s: not supported: the weights must be in model.safetensors", other);
            tandem_safetensors_close(file);
        }
        free(other);
        TANDEM_TRY(rc);
    }
    return tandem_error("%s: no such file", path);
}

static int add_folder(tandem_weight_files *checkpoint, const char *folder, const char *prefix, const char *single,
                      const char *index)
{
    /* As transformers looks for them: one file first. Modules are never sharded. */
    bool sharded = prefix[0] == '\0' && !tandem_file_exists(single) && tandem_file_exists(index);
    if (checkpoint->path == NULL) {
        checkpoint->path = keep(checkpoint, sharded ? index : single);
    }
    if (sharded) {
        return add_index(checkpoint, folder, index);
    }
    return tandem_file_exists(single) ? add_file(checkpoint, single, prefix) : explain_missing(folder, single);
}

int tandem_weight_files_add(tandem_weight_files *checkpoint, const char *folder, const char *prefix)
{
    char *single = tandem_path_join(folder, "model.safetensors"),
         *index = tandem_path_join(folder, "model.safetensors.index.json");
    int rc = single == NULL || index == NULL ? TANDEM_ERROR : add_folder(checkpoint, folder, prefix, single, index);
    free(single);
    free(index);
    return rc;
}

/* ---- reading ------------------------------------------------------------------------------------ */

size_t tandem_weight_files_count(const tandem_weight_files *checkpoint)
{
    return checkpoint->count;
}

tandem_weight_entry *tandem_weight_files_at(tandem_weight_files *checkpoint, size_t index)
{
    return &checkpoint->entries[index];
}

tandem_weight_entry *tandem_weight_files_find(tandem_weight_files *checkpoint, const char *name)
{
    size_t index;
    return tandem_strmap_find(checkpoint->by_name, name, strlen(name), &index) ? &checkpoint->entries[index] : NULL;
}

const char *tandem_weight_files_path(const tandem_weight_files *checkpoint)
{
    return checkpoint->path != NULL ? checkpoint->path : "";
}
