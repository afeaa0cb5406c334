/* optimizer.c - AdamW over the flat arenas, gradient clipping, learning rate schedule. */
#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/memory.h"

/* Floats that one thread works on at a time: four arrays of them fit the L2 cache. */
enum { PIECE = 16384 };

/* Cuts spans into pieces of at most PIECE floats, so that threads share them evenly. */
static int cut_spans(tandem_adamw *adamw, const tandem_span *spans, size_t count)
{
    size_t pieces = 0;

    for (size_t i = 0; i < count; i++) {
        if (spans[i].offset > adamw->floats || spans[i].count > adamw->floats - spans[i].offset) {
            return tandem_error("optimizer: span %zu (%zu floats at %zu) leaves the arena of %zu", i,
                                spans[i].count, spans[i].offset, adamw->floats);
        }
        pieces += (spans[i].count + PIECE - 1) / PIECE;
    }
    adamw->spans = tandem_alloc(pieces, sizeof *adamw->spans);
    if (adamw->spans == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t done = 0; done < spans[i].count; done += PIECE) {
            size_t left = spans[i].count - done;

            adamw->spans[adamw->span_count++] =
                (tandem_span){spans[i].offset + done, left < PIECE ? left : PIECE, spans[i].decay, spans[i].rate};
        }
    }
    return TANDEM_OK;
}

int tandem_adamw_new(tandem_adamw **out, size_t floats, const tandem_span *spans, size_t count, double weight_decay)
{
    tandem_adamw *adamw = tandem_alloc(1, sizeof *adamw);

    if (adamw == NULL) {
        return TANDEM_ERROR;
    }
    *adamw = (tandem_adamw)TANDEM_ADAMW_INIT;
    adamw->weight_decay = weight_decay;
    adamw->floats = floats;
    adamw->m = tandem_alloc(floats, sizeof *adamw->m);
    adamw->v = tandem_alloc(floats, sizeof *adamw->v);
    if (adamw->m == NULL || adamw->v == NULL || cut_spans(adamw, spans, count) < 0) {
        tandem_adamw_free(adamw);
        return TANDEM_ERROR;
    }
    *out = adamw;
    return TANDEM_OK;
}

/* The first of a layer's places in the arena; a layer's lie together. */
static tandem_place layer_begin(const tandem_layer_spec *layer)
{
    const tandem_place places[] = {layer->qkv_weight, layer->attention_norm_weight, layer->up_weight,
                                   layer->output_norm_weight};
    tandem_place first = layer->qkv_weight;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        first = places[i] >= 0 && places[i] < first ? places[i] : first;
    }
    return first;
}

/* Where what follows the layers begins: the norm at the end, heads, modules. */
static tandem_place layers_end(const tandem_encoder_spec *spec)
{
    const tandem_place places[] = {spec->final_norm_weight, spec->head_weight, spec->head_bias, spec->head_norm_weight,
                                   spec->classifier_weight, spec->classifier_bias};
    tandem_place last = layer_begin(&spec->layer[spec->layers - 1]), end = INT64_MAX;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        end = places[i] > last && places[i] < end ? places[i] : end;
    }
    for (int64_t i = 0; i < spec->modules; i++) {
        end = spec->module[i].weight > last && spec->module[i].weight < end ? spec->module[i].weight : end;
    }
    return end;
}

/* 0 of the embeddings, l of layer l from 1, one more of what follows. */
static int64_t depth_of(const tandem_encoder_spec *spec, const tandem_parameter *parameter)
{
    tandem_place place = (tandem_place)parameter->offset;
    int64_t depth = 0;

    if (place >= layers_end(spec)) {
        return spec->layers + 1;
    }
    while (depth < spec->layers && place >= layer_begin(&spec->layer[depth])) {
        depth++;
    }
    return depth;
}

int tandem_adamw_for_model(tandem_adamw **out, const tandem_model *model, double weight_decay, int64_t frozen,
                           double layer_decay)
{
    const tandem_encoder_spec *spec = tandem_model_spec(model);
    size_t floats = 0, count = tandem_model_parameter_count(model), trained = 0;
    tandem_span *spans = tandem_alloc(count, sizeof *spans);

    if (spans == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        const tandem_parameter *parameter = tandem_model_parameter(model, i);
        int64_t depth = depth_of(spec, parameter);

        if (depth > frozen) {
            double rate = depth < spec->layers ? pow(layer_decay, (double)(spec->layers - depth)) : 1.0;

            spans[trained++] = (tandem_span){parameter->offset, parameter->count, parameter->decay, rate};
        }
    }
    tandem_model_parameters(model, &floats);
    int rc = trained > 0 ? tandem_adamw_new(out, floats, spans, trained, weight_decay)
                         : tandem_error_code(TANDEM_USAGE,
                                             "freeze is %lld: the model has %lld layers, and nothing is left to train",
                                             (long long)frozen, (long long)spec->layers);
    free(spans);
    return rc;
}

void tandem_adamw_clear_frozen(const tandem_adamw *adamw, float *gradients)
{
    size_t end = 0;

    for (size_t i = 0; i < adamw->span_count; i++) {
        memset(gradients + end, 0, (adamw->spans[i].offset - end) * sizeof *gradients);
        end = adamw->spans[i].offset + adamw->spans[i].count;
    }
    memset(gradients + end, 0, (adamw->floats - end) * sizeof *gradients);
}

void tandem_adamw_free(tandem_adamw *adamw)
{
    if (adamw != NULL) {
        free(adamw->m);
        free(adamw->v);
        free(adamw->spans);
        free(adamw);
    }
}

/* The factors of one update, in float as torch's kernels use them. */
typedef struct {
    float keep;         /* 1 - learning rate * decay */
    float one_minus_b1, beta2, one_minus_b2;
    float rate;         /* learning rate / (1 - beta1^t) */
    float root;         /* sqrt(1 - beta2^t) */
    float epsilon, scale;
} update_factors;

static void update_span(float *restrict p, float *restrict m, float *restrict v, const float *restrict g,
                        size_t count, update_factors f)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        float gradient = g[i] * f.scale;

        m[i] += (gradient - m[i]) * f.one_minus_b1;
        v[i] = v[i] * f.beta2 + gradient * gradient * f.one_minus_b2;
        p[i] = p[i] * f.keep - f.rate * m[i] / (sqrtf(v[i]) / f.root + f.epsilon);
    }
}

void tandem_adamw_step(tandem_adamw *adamw, float *parameters, const float *gradients, double learning_rate, double scale)
{
    double t = (double)++adamw->updates;
    double correction1 = 1.0 - pow(adamw->beta1, t), correction2 = 1.0 - pow(adamw->beta2, t);

#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < adamw->span_count; i++) {
        tandem_span span = adamw->spans[i];
        double rate = learning_rate * span.rate;
        update_factors factors = {
            .keep = span.decay ? (float)(1.0 - rate * adamw->weight_decay) : 1.0F,
            .one_minus_b1 = (float)(1.0 - adamw->beta1),
            .beta2 = (float)adamw->beta2,
            .one_minus_b2 = (float)(1.0 - adamw->beta2),
            .rate = (float)(rate / correction1),
            .root = (float)sqrt(correction2),
            .epsilon = (float)adamw->epsilon,
            .scale = (float)scale,
        };

        update_span(parameters + span.offset, adamw->m + span.offset, adamw->v + span.offset,
                    gradients + span.offset, span.count, factors);
    }
}

static double sum_of_squares(const float *values, size_t count)
{
    double sum = 0.0;

#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++) {
        sum += (double)values[i] * (double)values[i];
    }
    return sum;
}

int tandem_norm(double *out, const float *values, size_t count)
{
    size_t pieces = (count + PIECE - 1) / PIECE;
    double *sums = tandem_alloc(pieces, sizeof *sums);
    double total = 0.0;

    if (sums == NULL) {
        return TANDEM_ERROR;
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < pieces; i++) {
        size_t left = count - i * PIECE;

        sums[i] = sum_of_squares(values + i * PIECE, left < PIECE ? left : PIECE);
    }
    for (size_t i = 0; i < pieces; i++) {
        total += sums[i];
    }
    free(sums);
    *out = sqrt(total);
    return TANDEM_OK;
}

/* ---- a model's, wherever it is ------------------------------------------------------------------- */
static bool is_elsewhere(const tandem_model *model)
{
    return tandem_encoder_device(tandem_model_encoder(model)) != TANDEM_DEVICE_CPU;
}

int tandem_adamw_norm(double *out, const tandem_adamw *adamw, const tandem_model *model)
{
    if (is_elsewhere(model)) { /* where frozen parameters get no gradients */
        return tandem_encoder_gradient_norm(out, tandem_model_encoder(model));
    }
    float *gradients = tandem_model_gradients(model);

    tandem_adamw_clear_frozen(adamw, gradients);
    return tandem_norm(out, gradients, adamw->floats);
}

static int update_elsewhere(tandem_adamw *adamw, tandem_encoder *encoder, double learning_rate, double scale)
{
    tandem_update *runs = tandem_alloc(adamw->span_count, sizeof *runs);

    if (runs == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < adamw->span_count; i++) {
        tandem_span span = adamw->spans[i];

        runs[i] = (tandem_update){(tandem_place)span.offset, (int64_t)span.count, learning_rate * span.rate,
                                  span.decay ? adamw->weight_decay : 0.0};
    }
    int rc = tandem_encoder_update(encoder, runs, adamw->span_count, ++adamw->updates, adamw->beta1, adamw->beta2,
                                   adamw->epsilon, scale);
    free(runs);
    return rc;
}

int tandem_adamw_update(tandem_adamw *adamw, tandem_model *model, double learning_rate, double scale)
{
    if (is_elsewhere(model)) {
        return update_elsewhere(adamw, tandem_model_encoder(model), learning_rate, scale);
    }
    tandem_adamw_step(adamw, tandem_model_parameters(model, NULL), tandem_model_gradients(model), learning_rate, scale);
    tandem_model_parameters_changed(model);
    return TANDEM_OK;
}

int tandem_adamw_fetch(const tandem_adamw *adamw, const tandem_model *model)
{
    tandem_encoder *encoder = tandem_model_encoder(model);

    if (!is_elsewhere(model)) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_encoder_fetch_parameters(encoder));
    return tandem_encoder_fetch_moments(encoder, adamw->m, adamw->v);
}

int tandem_adamw_send(const tandem_adamw *adamw, const tandem_model *model)
{
    return is_elsewhere(model) ? tandem_encoder_send_moments(tandem_model_encoder(model), adamw->m, adamw->v) : TANDEM_OK;
}

/* ---- rates ------------------------------------------------------------------------------------------ */
double tandem_clip_scale(double norm, double max)
{
    double scale = max / (norm + 1e-6);

    return max > 0.0 && scale < 1.0 ? scale : 1.0;
}

double tandem_schedule_factor(tandem_schedule schedule, uint64_t step, uint64_t warmup, uint64_t decay, uint64_t total)
{
    if (step < warmup) {
        return (double)step / (double)warmup;
    }
    if (schedule == TANDEM_SCHEDULE_CONSTANT) {
        return 1.0;
    }
    if (step >= total) {
        return 0.0;
    }
    uint64_t left = total - step;

    if (schedule == TANDEM_SCHEDULE_WSD) {
        return left < decay ? (double)left / (double)decay : 1.0;
    }
    if (schedule == TANDEM_SCHEDULE_COSINE) {
        return 0.5 * (1.0 + cos(acos(-1.0) * (double)(step - warmup) / (double)(total - warmup)));
    }
    return (double)left / (double)(total - warmup);
}

uint64_t tandem_warmup_steps(double ratio, uint64_t total)
{
    return (uint64_t)ceil(ratio * (double)total);
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

bool tandem_is_spike(double norm, const double *norms, size_t count, double factor)
{
    double sorted[TANDEM_SPIKE_WINDOW];

    if (factor <= 0.0 || count < TANDEM_SPIKE_LEAST || count > TANDEM_SPIKE_WINDOW) {
        return false;
    }
    memcpy(sorted, norms, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    return norm > factor * sorted[count / 2];
}
