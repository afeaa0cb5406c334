/* checkpoint.c - writing and restoring what a run needs to continue. */
#include "train/checkpoint.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/safetensors.h"

enum { FORMAT = 3, KEPT = 2 };

static const char weights_file[] = "weights.safetensors", m_file[] = "adam_m.safetensors",
                  v_file[] = "adam_v.safetensors", best_file[] = "best.safetensors", state_file[] = "state.json", manifest_file[] = "manifest.json";

/* ---- arenas ------------------------------------------------------------------------ */
static int write_arena(const char *folder, const char *name, const tandem_checkpoint *c, const float *arena)
{
    char *path = tandem_path_join(folder, name);
    tandem_safetensor_out *tensors = tandem_alloc(c->parameter_count, sizeof *tensors);
    int rc = path != NULL && tensors != NULL ? TANDEM_OK : TANDEM_ERROR;

    for (size_t i = 0; rc == TANDEM_OK && i < c->parameter_count; i++) {
        const tandem_parameter *parameter = c->parameters[i];

        tensors[i] = (tandem_safetensor_out){.name = parameter->name, .dims = parameter->dims, .data = arena + parameter->offset};
        memcpy(tensors[i].shape, parameter->shape, sizeof parameter->shape);
    }
    if (rc == TANDEM_OK) {
        rc = tandem_safetensors_write(path, tensors, c->parameter_count);
    }
    free(tensors);
    free(path);
    return rc;
}

static int read_arena(float *arena, const char *folder, const char *name, const tandem_checkpoint *c)
{
    tandem_safetensors *file = NULL;
    char *path = tandem_path_join(folder, name);
    int rc = path == NULL ? TANDEM_ERROR : tandem_safetensors_open(&file, path);

    for (size_t i = 0; rc == TANDEM_OK && i < c->parameter_count; i++) {
        const tandem_parameter *parameter = c->parameters[i];
        const tandem_safetensor *tensor = tandem_safetensors_find(file, parameter->name);

        if (tensor == NULL || tensor->elements != parameter->count) {
            rc = tandem_error("%s: expected %zu numbers of %s, found %zu", path, parameter->count, parameter->name,
                              tensor == NULL ? 0 : tensor->elements);
        } else {
            rc = tandem_safetensor_read_f32(tensor, arena + parameter->offset);
        }
    }
    tandem_safetensors_close(file);
    free(path);
    return rc;
}

/* ---- state.json ---------------------------------------------------------------------- */
typedef struct {
    const char *key;
    size_t offset;
} state_field;

#define FIELD(name) {#name, offsetof(tandem_train_state, name)}

static const state_field counters[] = {
    FIELD(step), FIELD(updates), FIELD(skipped), FIELD(skipped_in_row), FIELD(evaluated_step), FIELD(epoch),
    FIELD(epoch_start), FIELD(mined_at), FIELD(best_step), FIELD(stale),
    FIELD(norm_count), FIELD(metrics_bytes), FIELD(events_bytes), FIELD(pairs), FIELD(tokens),
};
static const state_field reals[] = {FIELD(best_metric), FIELD(seconds), FIELD(loss)};

static size_t kept_norms(const tandem_train_state *state)
{
    return state->norm_count < TANDEM_SPIKE_WINDOW ? (size_t)state->norm_count : TANDEM_SPIKE_WINDOW;
}

/* All digits: cJSON itself rounds the last ones away. */
static void write_real(cJSON *json, const char *key, double value)
{
    char number[32];

    snprintf(number, sizeof number, "%.17g", value);
    cJSON_AddRawToObject(json, key, number);
}

static void write_state_fields(cJSON *json, const tandem_train_state *state)
{
    char number[32];
    cJSON *norms = cJSON_AddArrayToObject(json, "norms");

    for (size_t i = 0; i < kept_norms(state); i++) {
        snprintf(number, sizeof number, "%.17g", state->norms[i]);
        cJSON_AddItemToArray(norms, cJSON_CreateRaw(number));
    }

    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++) {
        uint64_t value;

        memcpy(&value, (const char *)state + counters[i].offset, sizeof value);
        cJSON_AddNumberToObject(json, counters[i].key, (double)value);
    }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        double value;

        memcpy(&value, (const char *)state + reals[i].offset, sizeof value);
        if (isfinite(value)) { /* JSON has no other numbers; an absent one is NaN */
            write_real(json, reals[i].key, value);
        }
    }
}

static int read_norms(tandem_train_state *state, const cJSON *json, const char *source)
{
    const cJSON *norms = tandem_json_member(json, "norms"), *item = NULL;
    size_t count = 0;

    cJSON_ArrayForEach(item, norms)
    {
        if (!cJSON_IsNumber(item) || count == TANDEM_SPIKE_WINDOW) {
            return tandem_error("%s: norms: expected at most %d numbers", source, TANDEM_SPIKE_WINDOW);
        }
        state->norms[count++] = item->valuedouble;
    }
    return count == kept_norms(state) ? TANDEM_OK
                                      : tandem_error("%s: norms: expected %zu, found %zu", source, kept_norms(state),
                                                     count);
}

static int read_state_fields(tandem_train_state *state, const cJSON *json, const char *source)
{
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++) {
        int64_t value = 0;

        TANDEM_TRY(tandem_json_get_int(json, counters[i].key, source, 0, INT64_C(1) << 53, &value));
        memcpy((char *)state + counters[i].offset, &value, sizeof value);
    }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        double value = NAN;

        TANDEM_TRY(tandem_json_get_double_or(json, reals[i].key, source, &value));
        memcpy((char *)state + reals[i].offset, &value, sizeof value);
    }
    return read_norms(state, json, source);
}

static void write_scale(cJSON *json, const tandem_scale *scale)
{
    if (scale->learned) {
        cJSON *object = cJSON_AddObjectToObject(json, "scale");

        write_real(object, "log", (double)scale->log_value);
        write_real(object, "m", (double)scale->m);
        write_real(object, "v", (double)scale->v);
        cJSON_AddNumberToObject(object, "updates", (double)scale->updates);
    }
}

static int read_scale(tandem_scale *scale, const cJSON *json, const char *source)
{
    static const char *const keys[] = {"log", "m", "v"};
    float *const fields[] = {&scale->log_value, &scale->m, &scale->v};
    const cJSON *object = tandem_json_member(json, "scale");
    int64_t updates = 0;

    if (!scale->learned) {
        return TANDEM_OK;
    }
    if (!cJSON_IsObject(object)) {
        return tandem_error("%s: a source lacks the scale that it has learned", source);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        double value = NAN;

        TANDEM_TRY(tandem_json_get_double_or(object, keys[i], source, &value));
        if (!isfinite(value)) {
            return tandem_error("%s: a source's scale is to have a number \"%s\"", source, keys[i]);
        }
        *fields[i] = (float)value;
    }
    TANDEM_TRY(tandem_json_get_int(object, "updates", source, 0, INT64_C(1) << 53, &updates));
    scale->updates = (uint64_t)updates;
    return TANDEM_OK;
}

static void write_sources(cJSON *json, const tandem_checkpoint *c)
{
    cJSON *sources = cJSON_AddArrayToObject(json, "sources");

    for (size_t i = 0; i < c->source_count; i++) {
        cJSON *source = cJSON_CreateObject();

        cJSON_AddNumberToObject(source, "steps", (double)c->sources[i].steps);
        write_real(source, "loss", c->sources[i].loss);
        write_scale(source, &c->sources[i].scale);
        cJSON_AddItemToArray(sources, source);
    }
}

static int read_sources(tandem_checkpoint *c, const cJSON *json, const char *source)
{
    const cJSON *sources = tandem_json_member(json, "sources"), *item = NULL;
    size_t count = 0;

    if (!cJSON_IsArray(sources) || (size_t)cJSON_GetArraySize(sources) != c->source_count) {
        return tandem_error("%s: sources: expected %zu of them", source, c->source_count);
    }
    cJSON_ArrayForEach(item, sources)
    {
        int64_t steps = 0;

        TANDEM_TRY(tandem_json_get_int(item, "steps", source, 0, INT64_C(1) << 53, &steps));
        TANDEM_TRY(tandem_json_get_double_or(item, "loss", source, &c->sources[count].loss));
        TANDEM_TRY(read_scale(&c->sources[count].scale, item, source));
        c->sources[count++].steps = (uint64_t)steps;
    }
    return TANDEM_OK;
}

int tandem_train_state_write(const char *path, const tandem_checkpoint *c)
{
    char hash[TANDEM_HASH_HEX];
    TANDEM_TRY(tandem_torch_init()); /* for its version */
    cJSON *json = cJSON_CreateObject(), *settings = cJSON_Parse(c->settings);
    int rc = TANDEM_ERROR;

    tandem_hash_hex(c->data, hash);
    if (json != NULL && settings != NULL) {
        cJSON_AddNumberToObject(json, "format", FORMAT);
        write_state_fields(json, &c->state);
        write_sources(json, c);
        cJSON_AddNumberToObject(json, "threads", (double)tandem_machine_threads());
        cJSON_AddStringToObject(json, "cpu", tandem_machine_cpu());
        cJSON_AddStringToObject(json, "libtorch", tandem_torch_version());
        cJSON_AddStringToObject(json, "data", hash);
        cJSON_AddItemToObject(json, "settings", settings);
        settings = NULL;
        rc = tandem_json_write(json, path);
    }
    cJSON_Delete(settings);
    cJSON_Delete(json);
    return rc;
}

static int write_state(const char *folder, const tandem_checkpoint *c)
{
    char *path = tandem_path_join(folder, state_file);
    int rc = path == NULL ? TANDEM_ERROR : tandem_train_state_write(path, c);

    free(path);
    return rc;
}

/* ---- manifest.json --------------------------------------------------------------------- */
static int describe_file(cJSON *files, const char *folder, const char *name)
{
    tandem_map map = {NULL, 0};
    char hex[TANDEM_HASH_HEX];
    char *path = tandem_path_join(folder, name);
    int rc = path == NULL ? TANDEM_ERROR : tandem_map_open(&map, path);

    if (rc == TANDEM_OK) {
        cJSON *entry = cJSON_AddObjectToObject(files, name);

        tandem_hash_hex(tandem_hash_bytes(map.data, map.size), hex);
        cJSON_AddNumberToObject(entry, "bytes", (double)map.size);
        cJSON_AddStringToObject(entry, "xxh3_128", hex);
        tandem_map_close(&map);
    }
    free(path);
    return rc;
}

/* True when the file has the size and hash that its entry in the manifest says. */
static bool file_intact(const cJSON *entry, const char *folder)
{
    const char *wanted = NULL;
    char hex[TANDEM_HASH_HEX];
    int64_t bytes = 0;
    tandem_map map = {NULL, 0};
    char *path = tandem_path_join(folder, entry->string);
    bool intact = path != NULL && tandem_map_open(&map, path) == TANDEM_OK &&
                  tandem_json_get_int(entry, "bytes", manifest_file, 0, INT64_C(1) << 53, &bytes) == TANDEM_OK &&
                  tandem_json_get_string(entry, "xxh3_128", manifest_file, &wanted) == TANDEM_OK;

    if (intact) {
        tandem_hash_hex(tandem_hash_bytes(map.data, map.size), hex);
        intact = (uint64_t)bytes == map.size && strcmp(hex, wanted) == 0;
        if (!intact) {
            tandem_error("%s: its %zu bytes are not those that %s describes", path, map.size, manifest_file);
        }
    }
    tandem_map_close(&map);
    free(path);
    return intact;
}

static bool checkpoint_intact(const char *folder)
{
    cJSON *json = NULL;
    char *path = tandem_path_join(folder, manifest_file);
    const cJSON *entry = NULL, *files;
    bool intact = path != NULL && tandem_json_read(&json, path) == TANDEM_OK;

    free(path);
    if (intact) {
        files = tandem_json_member(json, "files");
        intact = tandem_json_member(files, weights_file) != NULL && tandem_json_member(files, state_file) != NULL;
        if (!intact) {
            tandem_error("%s: %s lists no files of a checkpoint", folder, manifest_file);
        }
        cJSON_ArrayForEach(entry, files)
        {
            intact = intact && file_intact(entry, folder);
        }
    }
    tandem_json_free(json);
    return intact;
}

/* ---- the folder ------------------------------------------------------------------------- */
static int descending(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a < b) - (a > b);
}

/* The N of every FOLDER/step-N, newest first; the caller frees. A missing folder has none. */
static int list_steps(uint64_t **steps, size_t *count, const char *folder)
{
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    void *list = NULL;
    size_t capacity = 0;
    int rc = TANDEM_OK;

    *count = 0;
    *steps = NULL;
    if (directory == NULL) {
        return errno == ENOENT ? TANDEM_OK : tandem_error("%s: %s", folder, strerror(errno));
    }
    while (rc == TANDEM_OK && (entry = readdir(directory)) != NULL) {
        char *end = NULL;

        if (strncmp(entry->d_name, "step-", 5) != 0 || entry->d_name[5] < '0' || entry->d_name[5] > '9') {
            continue;
        }
        uint64_t step = strtoull(entry->d_name + 5, &end, 10);
        if (*end == '\0') {
            rc = tandem_grow(&list, &capacity, *count + 1, sizeof **steps);
            if (rc == TANDEM_OK) {
                ((uint64_t *)list)[(*count)++] = step;
            }
        }
    }
    closedir(directory);
    if (*count > 0) {
        qsort(list, *count, sizeof **steps, descending);
    }
    *steps = list;
    return rc;
}

static char *step_path(const char *folder, uint64_t step)
{
    char name[32];

    snprintf(name, sizeof name, "step-%llu", (unsigned long long)step);
    return tandem_path_join(folder, name);
}

static int remove_old(const char *folder)
{
    uint64_t *steps = NULL;
    size_t count = 0;
    int rc = list_steps(&steps, &count, folder);

    for (size_t i = KEPT; rc == TANDEM_OK && i < count; i++) {
        char *path = step_path(folder, steps[i]);

        rc = path == NULL ? TANDEM_ERROR : tandem_dir_remove(path);
        free(path);
    }
    free(steps);
    return rc;
}

static char *groups_path(const char *folder, size_t source)
{
    char name[48];

    snprintf(name, sizeof name, "groups-%zu.jsonl", source);
    return tandem_path_join(folder, name);
}

static int write_groups(cJSON *files, const char *folder, const tandem_checkpoint *c)
{
    for (size_t i = 0; i < c->source_count; i++) {
        if (c->sources[i].mined == NULL) {
            continue;
        }
        char *path = groups_path(folder, i);
        int rc = path == NULL ? TANDEM_ERROR : tandem_groups_write(c->sources[i].mined, path);

        rc = rc < 0 ? rc : describe_file(files, folder, tandem_path_base(path));
        free(path);
        TANDEM_TRY(rc);
    }
    return TANDEM_OK;
}

static int add_arena(cJSON *files, const char *folder, const char *name, const tandem_checkpoint *c, const float *arena)
{
    TANDEM_TRY(write_arena(folder, name, c, arena));
    return describe_file(files, folder, name);
}

static int fill(cJSON *files, const char *folder, const tandem_checkpoint *c)
{
    TANDEM_TRY(add_arena(files, folder, weights_file, c, c->weights));
    TANDEM_TRY(add_arena(files, folder, m_file, c, c->m));
    TANDEM_TRY(add_arena(files, folder, v_file, c, c->v));
    if (c->best != NULL && isfinite(c->state.best_metric)) {
        TANDEM_TRY(add_arena(files, folder, best_file, c, c->best));
    }
    TANDEM_TRY(write_groups(files, folder, c));
    TANDEM_TRY(write_state(folder, c));
    return describe_file(files, folder, state_file);
}

static int fill_and_describe(const char *folder, const tandem_checkpoint *c)
{
    cJSON *json = cJSON_CreateObject(), *files = cJSON_AddObjectToObject(json, "files");
    char *path = tandem_path_join(folder, manifest_file);
    int rc = files != NULL && path != NULL ? TANDEM_OK : TANDEM_ERROR;

    rc = rc < 0 ? rc : fill(files, folder, c);
    rc = rc < 0 ? rc : tandem_json_write(json, path);
    cJSON_Delete(json);
    free(path);
    return rc;
}

int tandem_checkpoint_write(const char *folder, const tandem_checkpoint *checkpoint)
{
    char *staged = NULL, *path = step_path(folder, checkpoint->state.step);
    int rc = path == NULL ? TANDEM_ERROR : tandem_stage_dir(&staged, path);

    if (rc == TANDEM_OK) {
        rc = fill_and_describe(staged, checkpoint);
        if (rc == TANDEM_OK) {
            rc = tandem_stage_commit(staged, path);
        } else {
            tandem_stage_abort(staged);
        }
    }
    free(staged);
    free(path);
    TANDEM_TRY(rc);
    return remove_old(folder);
}

int tandem_checkpoint_find(char **path, const char *folder)
{
    uint64_t *steps = NULL;
    size_t count = 0;

    *path = NULL;
    TANDEM_TRY(list_steps(&steps, &count, folder));
    for (size_t i = 0; i < count && *path == NULL; i++) {
        char *candidate = step_path(folder, steps[i]);

        if (candidate != NULL && checkpoint_intact(candidate)) {
            *path = candidate;
        } else {
            tandem_log_warn("%s is damaged and passed over: %s", candidate, tandem_error_message());
            free(candidate);
        }
    }
    free(steps);
    if (*path != NULL) {
        return TANDEM_OK;
    }
    return count == 0 ? tandem_error_code(TANDEM_NOT_FOUND, "%s holds no checkpoint", folder)
                      : tandem_error("%s: every checkpoint in it is damaged; remove it to start anew", folder);
}

/* ---- restoring ---------------------------------------------------------------------------- */
/* Appends the paths of leaves that differ between two settings objects. */
static int list_differences(tandem_buffer *out, const cJSON *saved, const cJSON *now, const char *prefix)
{
    const cJSON *item = NULL;

    cJSON_ArrayForEach(item, now)
    {
        char path[256];
        const cJSON *other = tandem_json_member(saved, item->string);

        snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", item->string);
        if (strcmp(path, "checkpoint") == 0 || strcmp(path, "threads") == 0) {
            continue; /* they change no result that the thread warning does not name */
        }
        if (cJSON_IsObject(item)) {
            TANDEM_TRY(list_differences(out, other, item, path));
        } else if (!cJSON_Compare(other, item, true)) {
            TANDEM_TRY(tandem_buffer_printf(out, "%s%s", out->length > 0 ? ", " : "", path));
        }
    }
    return TANDEM_OK;
}

/* The saved run must be this one: same settings and data. */
static int check_identity(const tandem_checkpoint *c, const cJSON *json, const char *source)
{
    char hash[TANDEM_HASH_HEX];
    const char *data = NULL;
    int64_t threads = 0;
    tandem_buffer keys = TANDEM_BUFFER_INIT;
    cJSON *settings = cJSON_Parse(c->settings);
    int rc = TANDEM_ERROR;

    tandem_hash_hex(c->data, hash);
    TANDEM_TRY_GOTO(rc, done, list_differences(&keys, tandem_json_member(json, "settings"), settings, ""));
    TANDEM_TRY_GOTO(rc, done, tandem_json_get_string(json, "data", source, &data));
    TANDEM_TRY_GOTO(rc, done, tandem_json_get_int(json, "threads", source, 1, 65536, &threads));
    if (strcmp(data, hash) != 0) {
        TANDEM_TRY_GOTO(rc, done, tandem_buffer_printf(&keys, "%sthe training data", keys.length > 0 ? ", " : ""));
    }
    if (keys.length > 0) {
        rc = tandem_error_code(TANDEM_USAGE, "%s is of another run: these differ: %s", source, keys.data);
    } else if ((size_t)threads != tandem_machine_threads()) {
        tandem_log_warn("the checkpoint was made with %lld threads, now there are %zu: the last bits of results may differ",
                        (long long)threads, tandem_machine_threads());
    }
done:
    tandem_buffer_free(&keys);
    cJSON_Delete(settings);
    return rc;
}

static int restore_arenas(tandem_checkpoint *c, const char *path)
{
    TANDEM_TRY(read_arena(c->weights, path, weights_file, c));
    TANDEM_TRY(read_arena(c->m, path, m_file, c));
    TANDEM_TRY(read_arena(c->v, path, v_file, c));
    return c->best != NULL && isfinite(c->state.best_metric) ? read_arena(c->best, path, best_file, c) : TANDEM_OK;
}

static int restore_groups(tandem_checkpoint *c, const char *folder)
{
    int rc = TANDEM_OK;

    for (size_t i = 0; rc == TANDEM_OK && i < c->source_count; i++) {
        char *path = groups_path(folder, i);

        rc = path == NULL ? TANDEM_ERROR : tandem_file_exists(path) ? tandem_groups_read(&c->sources[i].mined, path) : rc;
        free(path);
    }
    return rc;
}

int tandem_train_state_read(tandem_checkpoint *checkpoint, const char *path)
{
    cJSON *json = NULL;
    int64_t format = 0;
    int rc;

    TANDEM_TRY(tandem_json_read(&json, path));
    TANDEM_TRY_GOTO(rc, done, tandem_json_get_int(json, "format", path, FORMAT, FORMAT, &format));
    TANDEM_TRY_GOTO(rc, done, check_identity(checkpoint, json, path));
    TANDEM_TRY_GOTO(rc, done, read_state_fields(&checkpoint->state, json, path));
    TANDEM_TRY_GOTO(rc, done, read_sources(checkpoint, json, path));
done:
    tandem_json_free(json);
    return rc;
}

int tandem_checkpoint_restore(tandem_checkpoint *checkpoint, const char *path)
{
    char *state = tandem_path_join(path, state_file);
    int rc = state == NULL ? TANDEM_ERROR : tandem_train_state_read(checkpoint, state);

    free(state);
    TANDEM_TRY(rc);
    TANDEM_TRY(restore_arenas(checkpoint, path));
    return restore_groups(checkpoint, path);
}
