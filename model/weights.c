/* weights.c - the arena of a model: where each weight lies, and how it gets there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"
#include "tandem/file.h"
#include "tandem/log.h"
#include "tandem/random.h"

#define BLOCK 16 /* floats: 64 bytes, a cache line */

/* ---- layout ------------------------------------------------------------------------ */

static int64_t dim_size(const tandem_encoder_spec *spec, tandem_dim dim)
{
    switch (dim) {
    case TANDEM_DIM_HIDDEN: return spec->hidden;
    case TANDEM_DIM_INTERMEDIATE: return spec->intermediate;
    case TANDEM_DIM_VOCAB: return spec->vocab;
    case TANDEM_DIM_POSITIONS: return spec->positions;
    case TANDEM_DIM_TYPES: return spec->types;
    case TANDEM_DIM_LABELS: return spec->labels;
    case TANDEM_DIM_NONE: break;
    }
    return 1;
}

static void clear_places(tandem_model *model)
{
    tandem_encoder_spec *spec = &model->spec;
    spec->word_embedding = spec->position_embedding = spec->type_embedding = -1;
    spec->embedding_norm_weight = spec->embedding_norm_bias = -1;
    spec->projection_weight = spec->projection_bias = spec->relative_bias = -1;
    spec->final_norm_weight = spec->final_norm_bias = -1;
    spec->head_weight = spec->head_bias = spec->head_norm_weight = spec->head_norm_bias = -1;
    spec->classifier_weight = spec->classifier_bias = -1;
    for (int64_t i = 0; i < spec->layers; i++) {
        memset(&model->layers[i], 0xff, offsetof(tandem_layer_spec, window)); /* all places -1 */
        model->layers[i].window = 0;
        model->layers[i].rope_theta = 0;
    }
}

static tandem_place *place_of(tandem_model *model, const tandem_weight_row *row, int64_t layer)
{
    char *base = row->group == TANDEM_WEIGHT_LAYER ? (char *)&model->layers[layer] : (char *)&model->spec;
    return (tandem_place *)(void *)(base + row->place);
}

/* A row's name with the number of the layer for its '*', in the model's arena. */
static const char *weight_name(tandem_model *model, const char *prefix, const tandem_weight_row *row, int64_t layer)
{
    const char *star = strchr(row->name, '*');
    tandem_buffer name = TANDEM_BUFFER_INIT;
    int rc = star == NULL ? tandem_buffer_printf(&name, "%s%s", prefix, row->name)
                          : tandem_buffer_printf(&name, "%s%.*s%lld%s", prefix, (int)(star - row->name), row->name, (long long)layer, star + 1);
    const char *copy = rc < 0 ? NULL : tandem_arena_strndup(model->arena, name.data, name.length);
    tandem_buffer_free(&name);
    return copy;
}

static bool is_parameter(const tandem_model *model, const tandem_weight_row *row)
{
    return row->group == TANDEM_WEIGHT_EMBEDDING || row->group == TANDEM_WEIGHT_LAYER || model->info.kind == TANDEM_CROSS_ENCODER;
}

static int describe_weight(tandem_model *model, const tandem_weight_row *row, int64_t layer, tandem_parameter *out)
{
    bool prefixed = model->info.kind == TANDEM_CROSS_ENCODER && row->group != TANDEM_WEIGHT_HEAD;
    out->name = weight_name(model, prefixed ? model->family->prefix : "", row, layer);
    out->dims = row->columns == TANDEM_DIM_NONE ? 1 : 2;
    out->shape[0] = dim_size(&model->spec, row->rows);
    out->shape[1] = out->dims == 2 ? dim_size(&model->spec, row->columns) : 0;
    out->decay = out->dims == 2; /* what has one dimension is a bias or belongs to a LayerNorm */
    if (!tandem_size_mul(&out->count, (size_t)out->shape[0], (size_t)dim_size(&model->spec, row->columns))) {
        return tandem_error("weight %s: its shape is too large", out->name);
    }
    return out->name == NULL ? TANDEM_ERROR : 0;
}

/* Puts a weight at the end of the arena; `joined` to the one before it, else at the next
 * multiple of BLOCK. */
static int place_weight(tandem_model *model, const tandem_weight_row *row, int64_t layer, bool joined)
{
    tandem_parameter *parameter = &model->parameters[model->parameter_count];
    TANDEM_TRY(describe_weight(model, row, layer, parameter));
    if (!joined) {
        model->arena_floats = (model->arena_floats + BLOCK - 1) / BLOCK * BLOCK;
        *place_of(model, row, layer) = (tandem_place)model->arena_floats;
    }
    parameter->offset = model->arena_floats;
    if (!tandem_size_add(&model->arena_floats, model->arena_floats, parameter->count) || model->arena_floats > PTRDIFF_MAX / sizeof(float) - BLOCK) {
        return tandem_error("weight %s: the model is too large", parameter->name);
    }
    model->parameter_count++;
    return 0;
}

/* Lays out rows [first, end), which are of one group, once a layer where they say so. */
static int place_group(tandem_model *model, size_t first, size_t end)
{
    const tandem_weight_row *rows = model->family->weights;
    int64_t repeats = rows[first].group == TANDEM_WEIGHT_LAYER ? model->spec.layers : 1;
    for (int64_t layer = 0; layer < repeats; layer++) {
        for (size_t i = first; i < end; i++) {
            bool joined = i > first && rows[i].place == rows[i - 1].place;
            if (is_parameter(model, &rows[i])) {
                TANDEM_TRY(place_weight(model, &rows[i], layer, joined));
            }
        }
    }
    return 0;
}

static int lay_out(tandem_model *model)
{
    const tandem_family *family = model->family;
    size_t layers = (size_t)model->spec.layers;
    model->layers = tandem_arena_alloc(model->arena, layers, sizeof *model->layers);
    model->parameters = tandem_arena_alloc(model->arena, family->weight_count * layers, sizeof *model->parameters);
    if (model->layers == NULL || model->parameters == NULL) {
        return TANDEM_ERROR;
    }
    clear_places(model);
    model->spec.layer = model->layers;
    for (size_t first = 0, end; first < family->weight_count; first = end) {
        end = first + 1;
        while (end < family->weight_count && family->weights[end].group == family->weights[first].group) {
            end++;
        }
        TANDEM_TRY(place_group(model, first, end));
    }
    model->arena_floats = (model->arena_floats + BLOCK - 1) / BLOCK * BLOCK;
    return 0;
}

/* ---- finding weights in a checkpoint --------------------------------------------------- */

/* What is known while a checkpoint is read. */
typedef struct {
    const tandem_safetensors *file;
    const char *path;
    const char *prefix;
    bool *used;             /* [tensors of the file] */
    tandem_buffer problems; /* what is missing, of another shape, or unknown */
    size_t problem_count;
} checkpoint;

#define PROBLEMS_NAMED 8

static int add_problem(checkpoint *source, const char *what, const char *name)
{
    if (source->problem_count++ < PROBLEMS_NAMED) {
        return tandem_buffer_printf(&source->problems, "%s%s %s", source->problem_count > 1 ? ", " : "", what, name);
    }
    return 0;
}

/* The name without the prefix, if it begins with it. */
static const char *bare_name(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 ? name + length : name;
}

/* Looks a bare name up with and without the prefix, and with the names that LayerNorm's
 * weight and bias have in checkpoints that come from TensorFlow. */
static const tandem_safetensor *find_weight(const checkpoint *source, const char *name)
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
        int written = snprintf(text, sizeof text, "%s%.*s%s", source->prefix, (int)(length - ending), name, endings[i].older);
        if (written < 0 || (size_t)written >= sizeof text) {
            continue; /* no weight of the table has such a name */
        }
        const tandem_safetensor *tensor = tandem_safetensors_find(source->file, text);
        tensor = tensor != NULL ? tensor : tandem_safetensors_find(source->file, text + strlen(source->prefix));
        if (tensor != NULL) {
            return tensor;
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

static int add_shape_problem(checkpoint *source, const tandem_parameter *parameter, const tandem_safetensor *tensor)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = tandem_buffer_printf(&text, "%s (expected ", parameter->name);
    rc = rc < 0 ? rc : shape_text(&text, parameter->shape, parameter->dims);
    rc = rc < 0 ? rc : tandem_buffer_puts(&text, ", found ");
    rc = rc < 0 ? rc : shape_text(&text, tensor->shape, tensor->dims);
    rc = rc < 0 ? rc : tandem_buffer_puts(&text, ")");
    rc = rc < 0 ? rc : add_problem(source, "wrong shape of", text.data);
    tandem_buffer_free(&text);
    return rc;
}

/* The tensor of a parameter, or NULL when there is none. */
static const tandem_safetensor *claim(checkpoint *source, const tandem_parameter *parameter)
{
    const tandem_safetensor *tensor = find_weight(source, bare_name(parameter->name, source->prefix));
    if (tensor != NULL) {
        source->used[tensor - tandem_safetensors_at(source->file, 0)] = true;
    }
    return tensor;
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
    return false;
}

static int list_unknown(const tandem_model *model, checkpoint *source)
{
    size_t heads = 0;
    for (size_t i = 0; i < tandem_safetensors_count(source->file); i++) {
        const char *name = tandem_safetensors_at(source->file, i)->name;
        if (source->used[i]) {
            continue;
        }
        if (!is_ignored(model, name)) {
            TANDEM_TRY(add_problem(source, "unknown", name));
        } else if (strstr(name, "position_ids") == NULL) {
            heads++;
        }
    }
    if (heads > 0) {
        tandem_log_info("%s: weights of pretraining heads ignored: %zu", source->path, heads);
    }
    return 0;
}

/* ---- a new head ------------------------------------------------------------------------- */

static bool is_of(const tandem_model *model, const tandem_parameter *parameter, tandem_place weight, tandem_place bias)
{
    return model->info.kind == TANDEM_CROSS_ENCODER && ((tandem_place)parameter->offset == weight || (tandem_place)parameter->offset == bias);
}

static bool is_classifier(const tandem_model *model, const tandem_parameter *parameter)
{
    return is_of(model, parameter, model->spec.classifier_weight, model->spec.classifier_bias);
}

static bool is_pooler(const tandem_model *model, const tandem_parameter *parameter)
{
    return is_of(model, parameter, model->spec.head_weight, model->spec.head_bias);
}

/* Each weight draws from a stream of its own name. */
static void fill_new(const tandem_model *model, const tandem_parameter *parameter, uint64_t seed, float *out)
{
    tandem_random random = tandem_random_stream(seed, parameter->name, 0);
    for (size_t i = 0; i < parameter->count; i++) {
        out[i] = parameter->dims == 2 ? (float)(model->initializer_range * tandem_random_normal(&random)) : 0.0f;
    }
}

/* Whether the file has a classifier, and with how many labels. */
static bool find_classifier(const tandem_model *model, const checkpoint *source, int64_t *labels)
{
    for (size_t i = 0; i < model->family->weight_count; i++) {
        const tandem_weight_row *row = &model->family->weights[i];
        if (row->place == offsetof(tandem_encoder_spec, classifier_weight) && row->group == TANDEM_WEIGHT_HEAD) {
            const tandem_safetensor *tensor = find_weight(source, row->name);
            *labels = tensor != NULL && tensor->dims > 0 ? tensor->shape[0] : 0;
            return tensor != NULL;
        }
    }
    return false;
}

static int settle_labels(tandem_model *model, const checkpoint *source, const tandem_model_options *options)
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

/* Finds the tensor of every parameter: sources[parameter_count], NULL for one to be made. */
static int match_weights(const tandem_model *model, checkpoint *source, const tandem_safetensor **sources)
{
    bool pooler = false;
    for (size_t i = 0; i < model->parameter_count; i++) {
        sources[i] = claim(source, &model->parameters[i]);
        pooler = pooler || (sources[i] != NULL && is_pooler(model, &model->parameters[i]));
    }
    for (size_t i = 0; i < model->parameter_count; i++) {
        const tandem_parameter *parameter = &model->parameters[i];
        bool made = model->new_head && (is_classifier(model, parameter) || (is_pooler(model, parameter) && !pooler));
        if (sources[i] == NULL && !made) {
            TANDEM_TRY(add_problem(source, "missing", parameter->name));
        } else if (sources[i] != NULL && !same_shape(parameter, sources[i])) {
            TANDEM_TRY(add_shape_problem(source, parameter, sources[i]));
        }
    }
    return 0;
}

static int read_values(const checkpoint *source, const tandem_safetensor *tensor, float *out)
{
    int rc = tandem_safetensor_read_f32(tensor, out);
    return rc < 0 ? tandem_error_context(rc, "%s", source->path) : 0;
}

static int read_spare(tandem_model *model, const tandem_weight_row *row, checkpoint *source)
{
    tandem_spare_weight *spare = &model->spare[model->spare_count];
    TANDEM_TRY(describe_weight(model, row, 0, &spare->parameter));
    const tandem_safetensor *tensor = claim(source, &spare->parameter);
    if (tensor == NULL) {
        return 0;
    }
    if (!same_shape(&spare->parameter, tensor)) {
        return add_shape_problem(source, &spare->parameter, tensor);
    }
    spare->data = tandem_alloc(spare->parameter.count, sizeof *spare->data);
    if (spare->data == NULL) {
        return TANDEM_ERROR;
    }
    model->spare_count++;
    return read_values(source, tensor, spare->data);
}

static int read_spares(tandem_model *model, checkpoint *source)
{
    const tandem_family *family = model->family;
    model->spare = tandem_alloc(family->weight_count, sizeof *model->spare);
    if (model->spare == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < family->weight_count; i++) {
        if (family->weights[i].group == TANDEM_WEIGHT_POOLER && model->info.kind == TANDEM_BI_ENCODER) {
            TANDEM_TRY(read_spare(model, &family->weights[i], source));
        }
    }
    return 0;
}

static int report_problems(const tandem_model *model, const checkpoint *source)
{
    if (source->problem_count == 0) {
        return 0;
    }
    size_t more = source->problem_count > PROBLEMS_NAMED ? source->problem_count - PROBLEMS_NAMED : 0;
    const char *kind = model->info.kind == TANDEM_BI_ENCODER ? "bi-encoder" : "cross-encoder";
    if (more > 0) {
        return tandem_error("%s: not the weights of a %s %s: %s and %zu more", source->path, model->family->model_type, kind, source->problems.data, more);
    }
    return tandem_error("%s: not the weights of a %s %s: %s", source->path, model->family->model_type, kind, source->problems.data);
}

static int copy_weights(tandem_model *model, const checkpoint *source, const tandem_safetensor *const *sources, uint64_t seed)
{
    TANDEM_TRY(tandem_encoder_new(&model->encoder, &model->spec, model->arena_floats));
    float *arena = tandem_encoder_parameters(model->encoder);
    for (size_t i = 0; i < model->parameter_count; i++) {
        const tandem_parameter *parameter = &model->parameters[i];
        if (sources[i] == NULL) {
            fill_new(model, parameter, seed, arena + parameter->offset);
        } else {
            TANDEM_TRY(read_values(source, sources[i], arena + parameter->offset));
        }
    }
    return 0;
}

static int read_checkpoint(tandem_model *model, checkpoint *source, const tandem_model_options *options)
{
    TANDEM_TRY(settle_labels(model, source, options));
    TANDEM_TRY(lay_out(model));
    source->used = tandem_arena_alloc(model->arena, tandem_safetensors_count(source->file), sizeof *source->used);
    const tandem_safetensor **sources = tandem_arena_alloc(model->arena, model->parameter_count, sizeof *sources);
    if (source->used == NULL || sources == NULL) {
        return TANDEM_ERROR;
    }
    memset(source->used, 0, tandem_safetensors_count(source->file) * sizeof *source->used);
    TANDEM_TRY(match_weights(model, source, sources));
    TANDEM_TRY(read_spares(model, source));
    TANDEM_TRY(list_unknown(model, source));
    TANDEM_TRY(report_problems(model, source));
    return copy_weights(model, source, sources, options->seed);
}

/* Names the file that is there instead of model.safetensors. */
static int explain_missing(const tandem_model *model, const char *path)
{
    static const char *const others[] = {"pytorch_model.bin", "model.safetensors.index.json", "tf_model.h5", "model.onnx"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *other = tandem_path_join(model->root, others[i]);
        if (other == NULL) {
            return TANDEM_ERROR;
        }
        int rc = 0;
        if (tandem_file_exists(other)) {
            tandem_safetensors *file = NULL;
            rc = i == 0 ? tandem_safetensors_open(&file, other) : tandem_error("%s: not supported: the weights must be in one file, model.safetensors", other);
            tandem_safetensors_close(file);
        }
        free(other);
        if (rc < 0) {
            return rc;
        }
    }
    return tandem_error("%s: no such file", path);
}

int tandem_model_read_weights(tandem_model *model, const tandem_model_options *options)
{
    tandem_safetensors *file = NULL;
    checkpoint source = {.prefix = model->family->prefix, .problems = TANDEM_BUFFER_INIT};
    char *path = tandem_path_join(model->root, "model.safetensors");
    int rc = path == NULL ? TANDEM_ERROR : tandem_file_exists(path) ? tandem_safetensors_open(&file, path) : explain_missing(model, path);
    if (rc == 0) {
        source.file = file;
        source.path = path;
        rc = read_checkpoint(model, &source, options);
    }
    tandem_buffer_free(&source.problems);
    tandem_safetensors_close(file);
    free(path);
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------- */

static tandem_safetensor_out output(const tandem_parameter *parameter, const float *data)
{
    tandem_safetensor_out out = {.name = parameter->name, .dims = parameter->dims, .data = data};
    memcpy(out.shape, parameter->shape, sizeof parameter->shape);
    return out;
}

int tandem_model_write_weights(const tandem_model *model, const char *path)
{
    size_t count = 0;
    tandem_safetensor_out *tensors = tandem_alloc(model->parameter_count + model->spare_count, sizeof *tensors);
    if (tensors == NULL) {
        return TANDEM_ERROR;
    }
    const float *arena = tandem_encoder_parameters(model->encoder);
    for (size_t i = 0; i < model->parameter_count; i++) {
        tensors[count++] = output(&model->parameters[i], arena + model->parameters[i].offset);
    }
    for (size_t i = 0; i < model->spare_count; i++) {
        tensors[count++] = output(&model->spare[i].parameter, model->spare[i].data);
    }
    int rc = tandem_safetensors_write(path, tensors, count);
    free(tensors);
    return rc;
}
