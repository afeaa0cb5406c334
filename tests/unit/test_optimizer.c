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
#include "train/optimizer.h"

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
    const tandem_span spans[] = {{0, N - 100, true}, {N - 100, 60, false}};
    tandem_adamw *adamw = NULL;

    for (size_t i = 0; i < N; i++) {
        p[i] = (float)sin((double)i);
        rp[i] = (double)p[i];
    }
    assert_int_equal(tandem_adamw_new(&adamw, N, spans, 2, 0.01), 0);
    for (int t = 1; t <= STEPS; t++) {
        for (size_t i = 0; i < N; i++) {
            g[i] = (float)cos((double)i * (double)t) * 0.1F;
            reference_step(&rp[i], &rm[i], &rv[i], 0.5 * (double)g[i], t, 1e-2, i < N - 100 ? 0.01 : 0.0);
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
    const tandem_span span = {0, 2, true};
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
    const tandem_span span = {8, SIZE_MAX - 4, true};
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
    assert_true(tandem_schedule_factor(0, 4, 20) == 0.0);
    assert_true(tandem_schedule_factor(3, 4, 20) == 0.75);
    assert_true(tandem_schedule_factor(4, 4, 20) == 1.0);
    assert_true(tandem_schedule_factor(5, 4, 20) == 15.0 / 16.0);
    assert_true(tandem_schedule_factor(19, 4, 20) == 1.0 / 16.0);
    assert_true(tandem_schedule_factor(20, 4, 20) == 0.0);
    assert_true(tandem_schedule_factor(0, 0, 3) == 1.0);
    assert_int_equal(tandem_warmup_steps(0.1, 95), 10);
    assert_int_equal(tandem_warmup_steps(0.0, 95), 0);
    assert_int_equal(tandem_warmup_steps(1.0, 7), 7);
    for (uint64_t step = 0; step < 7; step++) { /* nothing but warm-up */
        assert_true(tandem_schedule_factor(step, 7, 7) == (double)step / 7.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_follows_the_formulas), cmocka_unit_test(test_adamw_first_step),
        cmocka_unit_test(test_span_outside_the_arena_is_refused), cmocka_unit_test(test_norm),
        cmocka_unit_test(test_clip), cmocka_unit_test(test_schedule),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
