/* AdamW, clipping and the schedule, against values of torch and transformers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/machine.h"
#include "tiny_model.h"
#include "train/losses.h"
#include "train/optimizer.h"
#include "train/scale.h"

/* The formulas of torch.optim.AdamW in doubles. */
static void reference_step(double *p, double *m, double *v, double g, double t, double rate, double decay)
{
    *p *= 1.0 - rate * decay;
    *m = 0.9 * *m + 0.1 * g;
    *v = 0.999 * *v + 0.001 * g * g;
    *p -= rate / (1.0 - pow(0.9, t)) * *m / (sqrt(*v) / sqrt(1.0 - pow(0.999, t)) + 1e-8);
}

static void test_adamw_follows_the_formulas(void **state)
{
    (void)state;
    enum { N = 40000, STEPS = 7 }; /* more than two of the optimizer's pieces */
    static float p[N], g[N];
    static double rp[N], rm[N], rv[N];
    const tandem_span spans[] = {{0, N - 100, true, 1.0}, {N - 100, 60, false, 0.5}};
    tandem_adamw *adamw = NULL;

    for (size_t i = 0; i < N; i++) {
        p[i] = (float)sin((double)i);
        rp[i] = (double)p[i];
    }
    assert_int_equal(tandem_adamw_new(&adamw, N, spans, 2, 0.01), 0);
    for (int t = 1; t <= STEPS; t++) {
        for (size_t i = 0; i < N; i++) {
            g[i] = (float)cos((double)i * (double)t) * 0.1F;
            reference_step(&rp[i], &rm[i], &rv[i], 0.5 * (double)g[i], t, i < N - 100 ? 1e-2 : 5e-3,
                           i < N - 100 ? 0.01 : 0.0);
        }
        tandem_adamw_step(adamw, p, g, 1e-2, 0.5);
    }
    assert_int_equal(adamw->updates, STEPS);
    for (size_t i = 0; i < N - 40; i++) {
        /* Seven updates of at most 1e-2 on values up to 1, each rounded to float (6e-8). */
        if (!(fabs((double)p[i] - rp[i]) <= 1e-6)) {
            print_error("at %zu: expected %.9f, found %.9f\n", i, rp[i], (double)p[i]);
            fail();
        }
    }
    for (size_t i = N - 40; i < N; i++) { /* no span covers these */
        float untouched = (float)sin((double)i);
        assert_memory_equal(&p[i], &untouched, sizeof untouched);
    }
    tandem_adamw_free(adamw);
}

/* A fresh optimizer moves every weight by the learning rate, whatever the gradient's
 * size, and decays it by rate * decay: 1 - 1e-3 * 0.1 - 1e-3 = 0.9989. */
static void test_adamw_first_step(void **state)
{
    (void)state;
    float p[2] = {1.0F, 1.0F};
    const float g[2] = {1e-4F, 1e3F};
    const tandem_span span = {0, 2, true, 1.0};
    tandem_adamw *adamw = NULL;

    assert_int_equal(tandem_adamw_new(&adamw, 2, &span, 1, 0.1), 0);
    tandem_adamw_step(adamw, p, g, 1e-3, 1.0);
    assert_true(fabs((double)p[0] - 0.9989) < 2e-7); /* epsilon 1e-8 beside 1e-4 is 1e-7 of 1e-3 */
    assert_true(fabs((double)p[1] - 0.9989) < 2e-7);
    tandem_adamw_free(adamw);
}

static void test_span_outside_the_arena_is_refused(void **state)
{
    (void)state;
    const tandem_span span = {8, SIZE_MAX - 4, true, 1.0};
    tandem_adamw *adamw = NULL;

    assert_true(tandem_adamw_new(&adamw, 16, &span, 1, 0.0) < 0);
}

static void test_norm(void **state)
{
    (void)state;
    enum { N = 100003 };
    float *values = malloc(N * sizeof *values);
    double norm = 0.0, again = 0.0, sum = 0.0;

    for (size_t i = 0; i < N; i++) {
        values[i] = (float)sin((double)i) * 1e3F;
        sum += (double)values[i] * (double)values[i];
    }
    assert_int_equal(tandem_norm(&norm, values, N), 0);
    assert_true(fabs(norm - sqrt(sum)) < 1e-12 * norm); /* doubles, summed in another order */
    tandem_machine_set_threads(1);
    assert_int_equal(tandem_norm(&again, values, N), 0);
    assert_memory_equal(&norm, &again, sizeof norm);
    values[N - 1] = NAN;
    assert_int_equal(tandem_norm(&norm, values, N), 0);
    assert_false(isfinite(norm));
    free(values);
}

/* torch.nn.utils.clip_grad_norm_: max / (norm + 1e-6), at most 1. */
static void test_clip(void **state)
{
    (void)state;
    assert_true(tandem_clip_scale(0.5, 1.0) == 1.0);
    assert_true(tandem_clip_scale(4.0, 1.0) == 1.0 / 4.000001);
    assert_true(tandem_clip_scale(4.0, 0.0) == 1.0);
}

/* transformers' get_linear_schedule_with_warmup(4, 20): factors 0, 1/4, ..., 1, 15/16, ... */
static void test_schedule(void **state)
{
    (void)state;
    const tandem_schedule linear = TANDEM_SCHEDULE_LINEAR;

    assert_true(tandem_schedule_factor(linear, 0, 4, 0, 20) == 0.0);
    assert_true(tandem_schedule_factor(linear, 3, 4, 0, 20) == 0.75);
    assert_true(tandem_schedule_factor(linear, 4, 4, 0, 20) == 1.0);
    assert_true(tandem_schedule_factor(linear, 5, 4, 0, 20) == 15.0 / 16.0);
    assert_true(tandem_schedule_factor(linear, 19, 4, 0, 20) == 1.0 / 16.0);
    assert_true(tandem_schedule_factor(linear, 20, 4, 0, 20) == 0.0);
    assert_true(tandem_schedule_factor(linear, 0, 0, 0, 3) == 1.0);
    assert_int_equal(tandem_warmup_steps(0.1, 95), 10);
    assert_int_equal(tandem_warmup_steps(0.0, 95), 0);
    assert_int_equal(tandem_warmup_steps(1.0, 7), 7);
    for (uint64_t step = 0; step < 7; step++) { /* nothing but warm-up */
        assert_true(tandem_schedule_factor(linear, step, 7, 0, 7) == (double)step / 7.0);
    }
}

/* transformers' get_cosine_schedule_with_warmup(4, 20): (1 + cos(pi k / 16)) / 2 of k steps after the warm-up. The cosine
 * is rounded to a unit in the last place (1e-16). */
static void test_other_schedules(void **state)
{
    (void)state;
    assert_true(tandem_schedule_factor(TANDEM_SCHEDULE_COSINE, 2, 4, 0, 20) == 0.5);
    assert_true(tandem_schedule_factor(TANDEM_SCHEDULE_COSINE, 4, 4, 0, 20) == 1.0);
    assert_true(fabs(tandem_schedule_factor(TANDEM_SCHEDULE_COSINE, 8, 4, 0, 20) - 0.8535533905932737) < 1e-15);
    assert_true(fabs(tandem_schedule_factor(TANDEM_SCHEDULE_COSINE, 12, 4, 0, 20) - 0.5) < 1e-15);
    assert_true(tandem_schedule_factor(TANDEM_SCHEDULE_COSINE, 20, 4, 0, 20) == 0.0);
    assert_true(tandem_schedule_factor(TANDEM_SCHEDULE_CONSTANT, 1, 4, 0, 20) == 0.25);
    assert_true(tandem_schedule_factor(TANDEM_SCHEDULE_CONSTANT, 19, 4, 0, 20) == 1.0);
    assert_true(tandem_schedule_factor(TANDEM_SCHEDULE_WSD, 1, 4, 5, 20) == 0.25);
    assert_true(tandem_schedule_factor(TANDEM_SCHEDULE_WSD, 15, 4, 5, 20) == 1.0);
    assert_true(tandem_schedule_factor(TANDEM_SCHEDULE_WSD, 16, 4, 5, 20) == 0.8);
    assert_true(tandem_schedule_factor(TANDEM_SCHEDULE_WSD, 19, 4, 5, 20) == 0.2);
    assert_true(tandem_schedule_factor(TANDEM_SCHEDULE_WSD, 19, 4, 0, 20) == 1.0);
}

static void test_spikes(void **state)
{
    (void)state;
    double norms[TANDEM_SPIKE_WINDOW];

    for (size_t i = 0; i < TANDEM_SPIKE_WINDOW; i++) {
        norms[i] = i % 2 == 0 ? 1.0 : i == 33 ? 1e9 : 2.0; /* one great one moves no median */
    }
    assert_true(tandem_is_spike(20.5, norms, TANDEM_SPIKE_WINDOW, 10.0));
    assert_false(tandem_is_spike(19.5, norms, TANDEM_SPIKE_WINDOW, 10.0));
    assert_false(tandem_is_spike(1e9, norms, TANDEM_SPIKE_LEAST - 1, 10.0));
    assert_true(tandem_is_spike(1e9, norms, TANDEM_SPIKE_LEAST, 10.0));
    assert_false(tandem_is_spike(1e9, norms, TANDEM_SPIKE_WINDOW, 0.0));
}

/* Two layers: what is frozen, and who learns at which rate. */
static void test_frozen_and_decayed_layers(void **state)
{
    (void)state;
    tandem_model *model = load(write_model("plain", &small, ""), (tandem_model_options){0});
    tandem_adamw *adamw = NULL;
    size_t floats = 0, left = 0;
    tandem_model_parameters(model, &floats);
    float *values = malloc(floats * sizeof *values);
    const tandem_parameter *first = find(model, "encoder.layer.0.attention.self.query.weight");
    const tandem_parameter *second = find(model, "encoder.layer.1.attention.self.query.weight");

    assert_int_equal(tandem_adamw_for_model(&adamw, model, 0.0, -1, 0.5), 0);
    for (size_t i = 0; i < adamw->span_count; i++) {
        size_t offset = adamw->spans[i].offset;

        assert_true(adamw->spans[i].rate == (offset < first->offset ? 0.25 : offset < second->offset ? 0.5 : 1.0));
    }
    tandem_adamw_free(adamw);
    assert_int_equal(tandem_adamw_for_model(&adamw, model, 0.0, 1, 1.0), 0);
    for (size_t i = 0; i < floats; i++) {
        values[i] = 1.0F;
    }
    tandem_adamw_clear_frozen(adamw, values);
    for (size_t i = 0; i < floats; i++) {
        left += values[i] == 1.0F ? 1 : 0;
        assert_true(i >= second->offset || values[i] == 0.0F);
    }
    assert_true(left > 0 && values[second->offset] == 1.0F);
    tandem_adamw_free(adamw);
    assert_int_equal(tandem_adamw_for_model(&adamw, model, 0.0, 2, 1.0), TANDEM_USAGE);
    assert_non_null(strstr(tandem_error_message(), "nothing is left to train"));
    tandem_model_free(model);

    static const shape head = {.hidden = 8, .layers = 2, .heads = 2, .intermediate = 12, .positions = 16, .types = 2,
                               .prefix = "", .pooler = true, .labels = 1};
    model = load(write_model("head", &head, ""), (tandem_model_options){.kind = TANDEM_CROSS_ENCODER, .new_head = true});
    assert_int_equal(tandem_adamw_for_model(&adamw, model, 0.0, 2, 1.0), 0);
    size_t trained = 0;
    for (size_t i = 0; i < adamw->span_count; i++) {
        trained += adamw->spans[i].count;
    }
    assert_int_equal(trained, 8 * 8 + 8 + 8 + 1); /* pooler and classifier */
    tandem_adamw_free(adamw);
    tandem_model_free(model);
    free(values);
}

/* The logarithm moves as AdamW moves any parameter, without decay. */
static void test_learned_scale(void **state)
{
    (void)state;
    tandem_loss_settings settings = {.scale = 20.0, .scale_learning_rate = 1e-3};
    tandem_scale scale = tandem_scale_of(&settings);
    double p = log(20.0), m = 0.0, v = 0.0;

    for (int t = 1; t <= 9; t++) {
        double gradient = sin((double)t * 2.0);

        reference_step(&p, &m, &v, 0.5 * gradient, t, 1e-2, 0.0);
        tandem_scale_step(&scale, gradient, 1e-2, 0.5);
        /* Updates of at most 1e-2 on a value of 3, each rounded to float (2^-23 * 2 = 2.4e-7). */
        assert_true(fabs(log(tandem_scale_value(&scale)) - p) <= 9 * 2.4e-7);
    }
    settings.scale = 99.0;
    scale = tandem_scale_of(&settings);
    for (int t = 0; t < 9; t++) {
        tandem_scale_step(&scale, -1.0, 1e-2, 1.0);
    }
    /* At the most, which is that of a logarithm in float. */
    assert_true(fabs(tandem_scale_value(&scale) - TANDEM_SCALE_MOST) <= 1e-5);
    for (int t = 0; t < 30; t++) { /* longer than the running mean lasts */
        tandem_scale_step(&scale, 1.0, 1e-2, 1.0);
    }
    assert_true(tandem_scale_value(&scale) < 0.99 * TANDEM_SCALE_MOST);
    settings.scale_learning_rate = 0.0;
    assert_false(tandem_scale_of(&settings).learned);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_follows_the_formulas), cmocka_unit_test(test_adamw_first_step),
        cmocka_unit_test(test_span_outside_the_arena_is_refused), cmocka_unit_test(test_norm),
        cmocka_unit_test(test_clip), cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_other_schedules), cmocka_unit_test(test_spikes),
        cmocka_unit_test(test_frozen_and_decayed_layers),
        cmocka_unit_test(test_learned_scale),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
