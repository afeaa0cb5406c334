/* weights.c - how each weight gets to its place in the arena, and from there into a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/weight_files.h"
#include "model/model_private.h"
#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/random.h"

/* What is known while a checkpoint is read. */
typedef struct {
    tandem_weight_files *files;
    const char *prefix;       /* the family's */
    tandem_problems problems; /* what is missing, of another shape, or unknown */
} reading;

/* ---- finding weights in a checkpoint --------------------------------------------------- */

/* The name without the prefix, if it begins with it. */
static const char *bare_name(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 ? name + length : name;
}

/* Looks a bare name up with and without the prefix, and with the names that LayerNorm's
 * weight and bias have in checkpoints that come from TensorFlow. */
static tandem_weight_entry *find_weight(const reading *source, const char *name)
{
    static const struct {
        const char *ending, *older;
    } endings[] = {{"", ""}, {"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}};
    char text[256];
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t ending = strlen(endings[i].ending);
        if (length < ending || strcmp(name + length - ending, endings[i].ending) != 0) {
            continue;
        }
        int written =
            snprintf(text, sizeof text, "%s%.*s%s", source->prefix, (int)(length - ending), name, endings[i].older);
        if (written < 0 || (size_t)written >= sizeof text) {
            continue; /* no weight of the table has such a name */
        }
        tandem_weight_entry *entry = tandem_weight_files_find(source->files, text);
        entry = entry != NULL ? entry : tandem_weight_files_find(source->files, text + strlen(source->prefix));
        if (entry != NULL) {
            return entry;
        }
    }
    return NULL;
}

static bool same_shape(const tandem_parameter *parameter, const tandem_safetensor *tensor)
{
    if (parameter->dims != tensor->dims) {
        return false;
    }
    for (int i = 0; i < tensor->dims; i++) {
        if (parameter->shape[i] != tensor->shape[i]) {
            return false;
        }
    }
    return true;
}

static int shape_text(tandem_buffer *out, const int64_t *shape, int dims)
{
    TANDEM_TRY(tandem_buffer_puts(out, "["));
    for (int i = 0; i < dims; i++) {
        TANDEM_TRY(tandem_buffer_printf(out, "%s%lld", i > 0 ? ", " : "", (long long)shape[i]));
    }
    return tandem_buffer_puts(out, "]");
}

static int add_shape_problem(reading *source, const tandem_parameter *parameter, const tandem_safetensor *tensor)
{
    tandem_buffer expected = TANDEM_BUFFER_INIT, found = TANDEM_BUFFER_INIT;
    int rc = shape_text(&expected, parameter->shape, parameter->dims);
    rc = rc < 0 ? rc : shape_text(&found, tensor->shape, tensor->dims);
    rc = rc < 0 ? rc
                : tandem_problems_add(&source->problems, "wrong shape of %s (expected %s, found %s)", parameter->name,
                                      expected.data, found.data);
    tandem_buffer_free(&expected);
    tandem_buffer_free(&found);
    return rc;
}

/* The tensor of a parameter, or NULL when there is none. */
static const tandem_weight_entry *claim(const reading *source, const tandem_parameter *parameter)
{
    tandem_weight_entry *entry = find_weight(source, bare_name(parameter->name, source->prefix));
    if (entry != NULL) {
        entry->used = true;
    }
    return entry;
}

/* What a bi-encoder keeps for saving, a cross-encoder of that family leaves. */
static bool is_spare(const tandem_model *model, const char *bare)
{
    for (const tandem_weight_row *row = model->family->head; row->name != NULL; row++) {
        if (row->group == TANDEM_WEIGHT_SPARE && strcmp(row->name, bare) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_ignored(const tandem_model *model, const char *name)
{
    const char *bare = bare_name(name, model->family->prefix);
    for (const char *const *known = model->family->ignored; *known != NULL; known++) {
        size_t length = strlen(*known);
        bool all = (*known)[length - 1] == '.';
        if (all ? strncmp(bare, *known, length) == 0 : strcmp(bare, *known) == 0) {
            return true;
        }
    }
    return is_spare(model, bare);
}

static int list_unknown(const tandem_model *model, reading *source)
{
    size_t heads = 0;
    for (size_t i = 0; i < tandem_weight_files_count(source->files); i++) {
        const tandem_weight_entry *entry = tandem_weight_files_at(source->files, i);
        if (entry->used) {
            continue;
        }
        if (!is_ignored(model, entry->name)) {
            TANDEM_TRY(tandem_problems_add(&source->problems, "unknown %s", entry->name));
        } else if (strstr(entry->name, "position_ids") == NULL) {
            heads++;
        }
    }
    if (heads > 0) {
        tandem_log_info("%s: weights that nothing reads (heads of pretraining) are ignored: %zu",
                        tandem_weight_files_path(source->files), heads);
    }
    return 0;
}

/* ---- a new head ------------------------------------------------------------------------- */

static bool is_at(const tandem_parameter *parameter, tandem_place place)
{
    return (tandem_place)parameter->offset == place;
}

static bool is_classifier(const tandem_model *model, const tandem_parameter *parameter)
{
    return is_at(parameter, model->spec.classifier_weight) || is_at(parameter, model->spec.classifier_bias);
}

/* What lies between pooling and the classifier. */
static bool is_head_body(const tandem_model *model, const tandem_parameter *parameter)
{
    const tandem_encoder_spec *spec = &model->spec;
    return is_at(parameter, spec->head_weight) || is_at(parameter, spec->head_bias) ||
           is_at(parameter, spec->head_norm_weight) || is_at(parameter, spec->head_norm_bias);
}

/* Each weight draws from a stream of its own name. */
static void fill_new(const tandem_model *model, const tandem_parameter *parameter, uint64_t seed, float *out)
{
    tandem_random random = tandem_random_stream(seed, parameter->name, 0);
    float constant = is_at(parameter, model->spec.head_norm_weight) ? 1.0f : 0.0f;
    for (size_t i = 0; i < parameter->count; i++) {
        out[i] = parameter->dims == 2 ? (float)(model->initializer_range * tandem_random_normal(&random)) : constant;
    }
}

/* Whether the file has a classifier, and with how many labels. */
static bool find_classifier(const tandem_model *model, const reading *source, int64_t *labels)
{
    for (const tandem_weight_row *row = model->family->head; row->name != NULL; row++) {
        if (row->place == offsetof(tandem_encoder_spec, classifier_weight) && row->group == TANDEM_WEIGHT_HEAD) {
            const tandem_weight_entry *entry = find_weight(source, row->name);
            *labels = entry != NULL && entry->tensor->dims > 0 ? entry->tensor->shape[0] : 0;
            return entry != NULL;
        }
    }
    return false;
}

static int settle_labels(tandem_model *model, const reading *source, const tandem_model_options *options)
{
    if (model->info.kind == TANDEM_BI_ENCODER) {
        model->spec.labels = 0;
        return 0;
    }
    int64_t labels;
    bool found = find_classifier(model, source, &labels);
    if (!found && options->new_head) {
        model->new_head = true;
        model->spec.labels = 1;
    } else if (model->spec.labels == 0) {
        model->spec.labels = labels > 0 ? labels : 1;
    }
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Finds the tensor of every parameter: entries[parameter_count], NULL for one to be made. A new
 * head has the body that the checkpoint brings, or all of it is new. */
static int match_weights(const tandem_model *model, reading *source, const tandem_weight_entry **entries)
{
    bool body = false;
    for (size_t i = 0; i < model->parameter_count; i++) {
        entries[i] = claim(source, &model->parameters[i]);
        body = body || (entries[i] != NULL && is_head_body(model, &model->parameters[i]));
    }
    for (size_t i = 0; i < model->parameter_count; i++) {
        const tandem_parameter *parameter = &model->parameters[i];
        bool made = model->new_head && (is_classifier(model, parameter) || (is_head_body(model, parameter) && !body));
        if (entries[i] == NULL && !made) {
            TANDEM_TRY(tandem_problems_add(&source->problems, "missing %s", parameter->name));
        } else if (entries[i] != NULL && !same_shape(parameter, entries[i]->tensor)) {
            TANDEM_TRY(add_shape_problem(source, parameter, entries[i]->tensor));
        }
    }
    return 0;
}

static int read_values(const tandem_weight_entry *entry, float *out)
{
    int rc = tandem_safetensor_read_f32(entry->tensor, out);
    return rc < 0 ? tandem_error_context(rc, "%s", entry->path) : 0;
}

static int read_spare(tandem_model *model, const tandem_weight_row *row, reading *source)
{
    tandem_spare_weight *spare = &model->spare[model->spare_count];
    TANDEM_TRY(tandem_model_describe_weight(model, row, 0, &spare->parameter));
    const tandem_weight_entry *entry = claim(source, &spare->parameter);
    if (entry == NULL) {
        return 0;
    }
    if (!same_shape(&spare->parameter, entry->tensor)) {
        return add_shape_problem(source, &spare->parameter, entry->tensor);
    }
    spare->data = tandem_alloc(spare->parameter.count, sizeof *spare->data);
    if (spare->data == NULL) {
        return TANDEM_ERROR;
    }
    model->spare_count++;
    return read_values(entry, spare->data);
}

static int read_spares(tandem_model *model, reading *source)
{
    const tandem_weight_row *rows = model->family->head;
    size_t count = 0;
    while (rows[count].name != NULL) {
        count++;
    }
    model->spare = tandem_alloc(count, sizeof *model->spare);
    if (model->spare == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count && model->info.kind == TANDEM_BI_ENCODER; i++) {
        if (rows[i].group == TANDEM_WEIGHT_POOLER || rows[i].group == TANDEM_WEIGHT_SPARE) {
            TANDEM_TRY(read_spare(model, &rows[i], source));
        }
    }
    return 0;
}

static int report_problems(const tandem_model *model, reading *source)
{
    char what[512];
    const char *kind = model->info.kind == TANDEM_BI_ENCODER ? "bi-encoder" : "cross-encoder";
    snprintf(what, sizeof what, "%s: not the weights of a %s %s", tandem_weight_files_path(source->files),
             model->family->model_type, kind);
    return tandem_problems_close(&source->problems, what);
}

static int copy_weights(tandem_model *model, const tandem_weight_entry *const *entries, uint64_t seed)
{
    TANDEM_TRY(tandem_torch_init());
    TANDEM_TRY(tandem_encoder_new(&model->encoder, &model->spec, model->arena_floats, tandem_machine_device()));
    float *arena = tandem_encoder_parameters(model->encoder);
    for (size_t i = 0; i < model->parameter_count; i++) {
        const tandem_parameter *parameter = &model->parameters[i];
        if (entries[i] == NULL) {
            fill_new(model, parameter, seed, arena + parameter->offset);
        } else {
            TANDEM_TRY(read_values(entries[i], arena + parameter->offset));
        }
    }
    tandem_encoder_parameters_changed(model->encoder);
    return 0;
}

static int add_files(const tandem_model *model, tandem_weight_files *files)
{
    TANDEM_TRY(tandem_weight_files_add(files, model->root, ""));
    for (int64_t i = 0; i < model->spec.modules; i++) {
        if (model->modules[i].kind == TANDEM_MODULE_NORMALIZE) {
            continue; /* has no weights */
        }
        char *folder = tandem_path_join(model->info.directory, model->module_files[i].folder);
        int rc = folder == NULL ? TANDEM_ERROR : tandem_weight_files_add(files, folder, model->module_files[i].prefix);
        free(folder);
        TANDEM_TRY(rc);
    }
    return 0;
}

static int read_checkpoint(tandem_model *model, reading *source, const tandem_model_options *options)
{
    TANDEM_TRY(add_files(model, source->files));
    TANDEM_TRY(settle_labels(model, source, options));
    TANDEM_TRY(tandem_model_lay_out(model));
    const tandem_weight_entry **entries = tandem_arena_alloc(model->arena, model->parameter_count, sizeof *entries);
    if (entries == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(match_weights(model, source, entries));
    TANDEM_TRY(read_spares(model, source));
    TANDEM_TRY(list_unknown(model, source));
    TANDEM_TRY(report_problems(model, source));
    return copy_weights(model, entries, options->seed);
}

int tandem_model_read_weights(tandem_model *model, const tandem_model_options *options)
{
    reading source = {.files = tandem_weight_files_new(),
                      .prefix = model->family->prefix,
                      .problems = {TANDEM_BUFFER_INIT, 0}};
    int rc = source.files == NULL ? TANDEM_ERROR : read_checkpoint(model, &source, options);
    tandem_buffer_free(&source.problems.text);
    tandem_weight_files_free(source.files);
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* `skip` bytes of the name are left out. */
static tandem_safetensor_out output(const tandem_parameter *parameter, const float *data, size_t skip)
{
    tandem_safetensor_out out = {.name = parameter->name + skip, .dims = parameter->dims, .data = data};
    memcpy(out.shape, parameter->shape, sizeof parameter->shape);
    return out;
}

int tandem_model_write_weights(const tandem_model *model, const char *path)
{
    size_t count = 0;
    tandem_safetensor_out *tensors = tandem_alloc(model->first_module_parameter + model->spare_count, sizeof *tensors);
    if (tensors == NULL) {
        return TANDEM_ERROR;
    }
    const float *arena = tandem_encoder_parameters(model->encoder);
    for (size_t i = 0; i < model->first_module_parameter; i++) {
        tensors[count++] = output(&model->parameters[i], arena + model->parameters[i].offset, 0);
    }
    for (size_t i = 0; i < model->spare_count; i++) {
        tensors[count++] = output(&model->spare[i].parameter, model->spare[i].data, 0);
    }
    int rc = tandem_safetensors_write(path, tensors, count);
    free(tensors);
    return rc;
}

int tandem_model_write_module_weights(const tandem_model *model, int64_t module, const char *path)
{
    tandem_safetensor_out tensors[2]; /* weight and bias */
    size_t count = 0;
    const float *arena = tandem_encoder_parameters(model->encoder);
    for (size_t i = model->first_module_parameter; i < model->parameter_count; i++) {
        const tandem_parameter *parameter = &model->parameters[i];
        if (is_at(parameter, model->modules[module].weight) || is_at(parameter, model->modules[module].bias)) {
            tensors[count++] = output(parameter, arena + parameter->offset, strlen(model->module_files[module].prefix));
        }
    }
    return tandem_safetensors_write(path, tensors, count);
}
