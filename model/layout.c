/* layout.c - the arena of a model: where each weight of its family's rows and of its modules lies. */
#include <stdlib.h>
#include <string.h>

#include "model/model_private.h"

#define BLOCK 16 /* floats: 64 bytes, a cache line */

static int64_t dim_size(const tandem_encoder_spec *spec, tandem_dim dim)
{
    switch (dim) {
    case TANDEM_DIM_HIDDEN: return spec->hidden;
    case TANDEM_DIM_EMBEDDING: return spec->embedding_size;
    case TANDEM_DIM_QKV: return 3 * spec->hidden;
    case TANDEM_DIM_INTERMEDIATE: return spec->intermediate;
    case TANDEM_DIM_GATED: return 2 * spec->intermediate;
    case TANDEM_DIM_VOCAB: return spec->vocab;
    case TANDEM_DIM_POSITIONS: return spec->positions;
    case TANDEM_DIM_TYPES: return spec->types;
    case TANDEM_DIM_BUCKETS: return spec->relative_buckets;
    case TANDEM_DIM_HEADS: return spec->heads;
    case TANDEM_DIM_LABELS: return spec->labels;
    case TANDEM_DIM_NONE: break;
    }
    return 1;
}

/* A row's name with the number of the layer for its '*', in the model's arena. */
static const char *weight_name(tandem_model *model, const char *prefix, const tandem_weight_row *row, int64_t layer)
{
    const char *star = strchr(row->name, '*');
    tandem_buffer name = TANDEM_BUFFER_INIT;
    int rc = star == NULL ? tandem_buffer_printf(&name, "%s%s", prefix, row->name)
                          : tandem_buffer_printf(&name, "%s%.*s%lld%s", prefix, (int)(star - row->name), row->name,
                                                 (long long)layer, star + 1);
    const char *copy = rc < 0 ? NULL : tandem_arena_strndup(model->arena, name.data, name.length);
    tandem_buffer_free(&name);
    return copy;
}

/* Sets the shape, [rows, columns] or [rows] where `columns` is 0. What has one dimension is a bias
 * or belongs to a norm, and the table of MPNet's attention biases is a bias, too: those do
 * not decay, as the field's trainers have it. */
static int set_shape(tandem_parameter *out, int64_t rows, int64_t columns)
{
    out->dims = columns > 0 ? 2 : 1;
    out->shape[0] = rows;
    out->shape[1] = columns;
    out->decay = columns > 0 && strstr(out->name, "bias") == NULL;
    if (!tandem_size_mul(&out->count, (size_t)rows, columns > 0 ? (size_t)columns : 1)) {
        return tandem_error("weight %s: its shape is too large", out->name);
    }
    return 0;
}

int tandem_model_describe_weight(tandem_model *model, const tandem_weight_row *row, int64_t layer,
                                 tandem_parameter *out)
{
    bool prefixed = model->info.kind == TANDEM_CROSS_ENCODER && row->group != TANDEM_WEIGHT_HEAD;
    out->name = weight_name(model, prefixed ? model->family->prefix : "", row, layer);
    if (out->name == NULL) {
        return TANDEM_ERROR;
    }
    return set_shape(out, dim_size(&model->spec, row->rows),
                     row->columns == TANDEM_DIM_NONE ? 0 : dim_size(&model->spec, row->columns));
}

static bool is_parameter(const tandem_model *model, const tandem_weight_row *row, int64_t layer)
{
    bool cross = model->info.kind == TANDEM_CROSS_ENCODER;
    unsigned has = layer > 0 ? model->has : model->has & ~(unsigned)TANDEM_NEEDS_EARLIER_LAYER;
    if ((row->needs & ~has) != 0) {
        return false;
    }
    return row->group == TANDEM_WEIGHT_ENCODER || row->group == TANDEM_WEIGHT_LAYER ||
           (cross && row->group != TANDEM_WEIGHT_SPARE);
}

static size_t round_up(size_t floats)
{
    return (floats + BLOCK - 1) / BLOCK * BLOCK;
}

/* Puts the parameter that was just described at the end of the arena; `place` gets its offset,
 * NULL: it continues the one before it. */
static int place_parameter(tandem_model *model, tandem_place *place)
{
    tandem_parameter *parameter = &model->parameters[model->parameter_count];
    if (place != NULL) {
        model->arena_floats = round_up(model->arena_floats);
        *place = (tandem_place)model->arena_floats;
    }
    parameter->offset = model->arena_floats;
    if (!tandem_size_add(&model->arena_floats, model->arena_floats, parameter->count) ||
        model->arena_floats > PTRDIFF_MAX / sizeof(float) - BLOCK) {
        return tandem_error("weight %s: the model is too large", parameter->name);
    }
    model->parameter_count++;
    return 0;
}

static int place_row(tandem_model *model, const tandem_weight_row *row, int64_t layer, bool joined)
{
    char *base = row->group == TANDEM_WEIGHT_LAYER ? (char *)&model->layers[layer] : (char *)&model->spec;
    TANDEM_TRY(tandem_model_describe_weight(model, row, layer, &model->parameters[model->parameter_count]));
    return place_parameter(model, joined ? NULL : (tandem_place *)(void *)(base + row->place));
}

/* Lays out rows [0, count), which are of one group, once a layer where they say so. */
static int place_group(tandem_model *model, const tandem_weight_row *rows, size_t count)
{
    int64_t repeats = rows[0].group == TANDEM_WEIGHT_LAYER ? model->spec.layers : 1;
    for (int64_t layer = 0; layer < repeats; layer++) {
        for (size_t i = 0; i < count; i++) {
            bool joined = i > 0 && rows[i].place == rows[i - 1].place;
            if (is_parameter(model, &rows[i], layer)) {
                TANDEM_TRY(place_row(model, &rows[i], layer, joined));
            }
        }
    }
    return 0;
}

static int place_rows(tandem_model *model, const tandem_weight_row *rows)
{
    while (rows->name != NULL) {
        size_t count = 1;
        while (rows[count].name != NULL && rows[count].group == rows->group) {
            count++;
        }
        TANDEM_TRY(place_group(model, rows, count));
        rows += count;
    }
    return 0;
}

static int place_module_weight(tandem_model *model, const char *prefix, const char *name, int64_t rows, int64_t columns,
                               tandem_place *place)
{
    tandem_parameter *parameter = &model->parameters[model->parameter_count];
    tandem_buffer text = TANDEM_BUFFER_INIT;
    int rc = tandem_buffer_printf(&text, "%s%s", prefix, name);
    parameter->name = rc < 0 ? NULL : tandem_arena_strndup(model->arena, text.data, text.length);
    tandem_buffer_free(&text);
    if (parameter->name == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(set_shape(parameter, rows, columns));
    return place_parameter(model, place);
}

static int place_modules(tandem_model *model)
{
    for (int64_t i = 0; i < model->spec.modules; i++) {
        tandem_module_spec *module = &model->modules[i];
        const char *prefix = model->module_files[i].prefix;
        if (module->kind == TANDEM_MODULE_DENSE) {
            TANDEM_TRY(place_module_weight(model, prefix, "linear.weight", module->out, module->in, &module->weight));
            if (module->bias >= 0) {
                TANDEM_TRY(place_module_weight(model, prefix, "linear.bias", module->out, 0, &module->bias));
            }
        } else if (module->kind == TANDEM_MODULE_LAYER_NORM) {
            TANDEM_TRY(place_module_weight(model, prefix, "norm.weight", module->out, 0, &module->weight));
            TANDEM_TRY(place_module_weight(model, prefix, "norm.bias", module->out, 0, &module->bias));
        }
    }
    return 0;
}

static size_t row_count(const tandem_weight_row *rows)
{
    size_t count = 0;
    while (rows[count].name != NULL) {
        count++;
    }
    return count;
}

int tandem_model_lay_out(tandem_model *model)
{
    const tandem_family *family = model->family;
    size_t most = (row_count(family->encoder) + row_count(family->head)) * (size_t)model->spec.layers +
                  2 * (size_t)model->spec.modules;
    model->parameters = tandem_arena_alloc(model->arena, most, sizeof *model->parameters);
    if (model->parameters == NULL) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(place_rows(model, family->encoder));
    TANDEM_TRY(place_rows(model, family->head));
    model->first_module_parameter = model->parameter_count;
    TANDEM_TRY(place_modules(model));
    model->arena_floats = round_up(model->arena_floats);
    return 0;
}
