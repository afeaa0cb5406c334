/* Every CPU kernel but attention, of every instruction set of this machine, against a
 * plain reference in double precision. */
#include "kernel_checks.h"

/* ---- residual and LayerNorm --------------------------------------------------------------- */

/* d loss / d sum of LayerNorm, Ba, Kiros and Hinton 2016, by the chain rule in double. */
static void reference_norm(const double *sum, const float *weight, const float *shift, double eps, size_t width, const float *d_out, double *out, double *d_sum, double *d_weight,
                           double *d_shift) {
    double mean = 0, variance = 0, g_mean = 0, slope = 0;
    for (size_t i = 0; i < width; i++) {
        mean += sum[i] / (double)width;
    }
    for (size_t i = 0; i < width; i++) {
        variance += (sum[i] - mean) * (sum[i] - mean) / (double)width;
    }
    double inverse = 1 / sqrt(variance + eps);
    for (size_t i = 0; i < width; i++) {
        double normed = (sum[i] - mean) * inverse;
        out[i] = normed * (double)weight[i] + (double)shift[i];
        g_mean += (double)d_out[i] * (double)weight[i] / (double)width;
        slope += (double)d_out[i] * (double)weight[i] * normed / (double)width;
        d_weight[i] += (double)d_out[i] * normed;
        d_shift[i] += (double)d_out[i];
    }
    for (size_t i = 0; i < width; i++) {
        d_sum[i] = inverse * ((double)d_out[i] * (double)weight[i] - g_mean - (sum[i] - mean) * inverse * slope);
    }
}

static void check_residual_norm(tandem_random *random, size_t width, double dropout)
{
    enum { ROWS = 37 };
    const double eps = 1e-5;
    size_t count = ROWS * width;
    tandem_mask mask = tandem_mask_make(1, 2, 3, dropout);
    float *x = random_floats(random, count, 1), *residual = random_floats(random, count, 1), *d_out = random_floats(random, count, 1);
    float *bias = random_floats(random, width, 1), *weight = random_floats(random, width, 1), *shift = random_floats(random, width, 1);
    double *sum = doubles(count), *out = doubles(count), *d_sum = doubles(count), *d_x = doubles(count), *d_weight = doubles(width), *d_shift = doubles(width), *d_bias = doubles(width);
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t i = 0, at = row * width; i < width; i++, at++) {
            double factor = (double)tandem_mask_factor(&mask, tandem_mask_row(mask.key, row), (uint32_t)i);
            sum[at] = factor * ((double)x[at] + (double)bias[i]) + (double)residual[at];
        }
        reference_norm(sum + row * width, weight, shift, eps, width, d_out + row * width, out + row * width, d_sum + row * width, d_weight, d_shift);
        for (size_t i = 0, at = row * width; i < width; i++, at++) {
            d_x[at] = d_sum[at] * (double)tandem_mask_factor(&mask, tandem_mask_row(mask.key, row), (uint32_t)i);
            d_bias[i] += d_x[at];
        }
    }
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
        tandem_extent extent = {ROWS, width, THREADS};
        float *kernel_sum = floats(count), *kernel_out = floats(count), *stats = floats(2 * ROWS), *partial = floats(THREADS * 3 * width);
        float *kernel_d_sum = floats(count), *kernel_d_x = dropout > 0 ? floats(count) : kernel_d_sum, *sums = floats(3 * width);
        memcpy(kernel_sum, x, count * sizeof *x); /* in place, as the encoder calls it */
        kernels->residual_norm_forward(extent, kernel_sum, bias, residual, mask, weight, shift, (float)eps, kernel_sum, kernel_out, stats);
        kernels->residual_norm_backward(extent, d_out, kernel_sum, stats, weight, mask, partial, kernel_d_sum, kernel_d_x, sums, sums + width, sums + 2 * width);
        /* Sums of up to 400 terms of both signs: some tens of float roundings. */
        const double tolerance = 1e-5;
        check_close("norm out", (tandem_isa)isa, kernel_out, out, count, tolerance);
        check_close("norm d_sum", (tandem_isa)isa, kernel_d_sum, d_sum, count, tolerance);
        check_close("norm d_x", (tandem_isa)isa, kernel_d_x, d_x, count, tolerance);
        check_close("norm d_weight", (tandem_isa)isa, sums, d_weight, width, tolerance);
        check_close("norm d_shift", (tandem_isa)isa, sums + width, d_shift, width, tolerance);
        check_close("norm d_bias", (tandem_isa)isa, sums + 2 * width, d_bias, width, tolerance);
        free(kernel_sum), free(kernel_out), free(stats), free(partial), free(sums), free(kernel_d_sum);
        if (dropout > 0) {
            free(kernel_d_x);
        }
    }
    free(x), free(residual), free(d_out), free(bias), free(weight), free(shift);
    free(sum), free(out), free(d_sum), free(d_x), free(d_weight), free(d_shift), free(d_bias);
}

/* Without a weight, the sum alone. */
static void test_residual(void **state)
{
    (void)state;
    enum { ROWS = 9, WIDTH = 37, COUNT = ROWS * WIDTH };
    tandem_random random = tandem_random_stream(14, "residual", 0);
    tandem_mask mask = tandem_mask_make(1, 2, 3, 0.4);
    float *x = random_floats(&random, COUNT, 1), *residual = random_floats(&random, COUNT, 1), *bias = random_floats(&random, WIDTH, 1), *sum = floats(COUNT);
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        tandem_kernels_of((tandem_isa)isa)->residual_norm_forward((tandem_extent){ROWS, WIDTH, THREADS}, x, bias, residual, mask, NULL, NULL, 0, sum, NULL, NULL);
        for (size_t i = 0; i < COUNT; i++) {
            float factor = tandem_mask_factor(&mask, tandem_mask_row(mask.key, i / WIDTH), (uint32_t)(i % WIDTH));
            assert_true(fabsf(sum[i] - (factor * (x[i] + bias[i % WIDTH]) + residual[i])) < 4e-7f); /* two roundings of numbers below 5 */
        }
    }
    free(x), free(residual), free(bias), free(sum);
}

static void test_residual_norm(void **state)
{
    (void)state;
    const size_t widths[] = {5, 16, 100, 384};
    tandem_random random = tandem_random_stream(6, "norm", 0);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        check_residual_norm(&random, widths[i], 0);
        check_residual_norm(&random, widths[i], 0.2);
    }
}

/* ---- activations ----------------------------------------------------------------------------- */

static double reference_activation(tandem_activation kind, double x, double *slope)
{
    double s, u, phi;
    switch (kind) {
    case TANDEM_ACTIVATION_GELU:
        phi = 0.5 * erfc(-x / sqrt(2));
        *slope = phi + x * exp(-x * x / 2) / sqrt(2 * M_PI);
        return x * phi;
    case TANDEM_ACTIVATION_GELU_TANH:
        u = sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
        s = 0.5 * (1 + tanh(u));
        *slope = s + x * 0.5 * (1 - tanh(u) * tanh(u)) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
        return x * s;
    case TANDEM_ACTIVATION_SILU:
        s = 1 / (1 + exp(-x));
        *slope = s + x * s * (1 - s);
        return x * s;
    case TANDEM_ACTIVATION_RELU:
    default:
        *slope = x > 0;
        return x > 0 ? x : 0;
    }
}

static void test_activations(void **state)
{
    (void)state;
    enum { ROWS = 3, WIDTH = 2003, COUNT = ROWS * WIDTH };
    tandem_random random = tandem_random_stream(7, "activation", 0);
    float *x = random_floats(&random, COUNT, 14), *bias = random_floats(&random, WIDTH, 1), *d_out = random_floats(&random, COUNT, 1);
    x[0] = 1000, x[1] = -1000, x[2] = 1e15f, x[3] = -1e15f;
    const tandem_mask none = {0};
    for (int kind = TANDEM_ACTIVATION_GELU; kind <= TANDEM_ACTIVATION_SILU; kind++) {
        for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
            const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
            tandem_extent extent = {ROWS, WIDTH, THREADS};
            float *out = floats(COUNT), *d_x = floats(COUNT), *d_bias = floats(WIDTH), *partial = floats(THREADS * WIDTH);
            kernels->activation_forward(extent, (tandem_activation)kind, false, x, bias, none, out);
            kernels->activation_backward(extent, (tandem_activation)kind, false, d_out, x, bias, none, partial, d_x, d_bias);
            for (size_t i = 0; i < COUNT; i++) {
                double slope, input = (double)(x[i] + bias[i % WIDTH]);
                double expected = reference_activation((tandem_activation)kind, input, &slope);
                /* A float's rounding of the result, and of its factors where the
                 * result is the small difference of greater ones. */
                double allowed = 4e-7 * fmax(fabs(expected), 1);
                if (!(fabs((double)out[i] - expected) <= allowed)) {
                    fail_msg("activation %d, %s: f(%.9g) is %.9g, expected %.9g", kind, tandem_isa_name((tandem_isa)isa), input, (double)out[i], expected);
                }
                if (!(fabs((double)d_x[i] - slope * (double)d_out[i]) <= 2e-6)) {
                    fail_msg("activation %d, %s: d f(%.9g) is %.9g, expected %.9g", kind, tandem_isa_name((tandem_isa)isa), input, (double)d_x[i], slope * (double)d_out[i]);
                }
            }
            for (size_t i = 0; i < WIDTH; i++) {
                double expected = (double)d_x[i] + (double)d_x[WIDTH + i] + (double)d_x[2 * WIDTH + i];
                assert_true(fabs((double)d_bias[i] - expected) < 1e-6); /* three terms of at most 1.2 */
            }
            free(out), free(d_x), free(d_bias), free(partial);
        }
    }
    free(x), free(bias), free(d_out);
}

/* dropout(f(a) * b) and dropout(f(a)), in widths that fill vectors and that do not. */
static void check_gate(tandem_random *random, tandem_activation kind, bool gated, bool with_bias, size_t width, double dropout)
{
    enum { ROWS = 5 };
    size_t in = gated ? 2 * width : width, count = ROWS * width;
    tandem_mask mask = tandem_mask_make(3, 1, 4, dropout);
    float *x = random_floats(random, ROWS * in, 4), *bias = with_bias ? random_floats(random, in, 1) : NULL, *d_out = random_floats(random, count, 1);
    double *expected = doubles(count), *d_expected = doubles(ROWS * in), *d_bias_expected = doubles(in);
    for (size_t i = 0; i < count; i++) {
        size_t row = i / width, column = i % width, at = row * in + column;
        double slope, factor = (double)tandem_mask_factor(&mask, tandem_mask_row(mask.key, row), (uint32_t)column);
        double a = (double)x[at] + (with_bias ? (double)bias[column] : 0), f = reference_activation(kind, a, &slope);
        double b = gated ? (double)x[at + width] + (with_bias ? (double)bias[width + column] : 0) : 1, d = factor * (double)d_out[i];
        expected[i] = factor * f * b;
        d_expected[at] = d * b * slope;
        d_bias_expected[column] += d_expected[at];
        if (gated) {
            d_expected[at + width] = d * f;
            d_bias_expected[width + column] += d * f;
        }
    }
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
        tandem_extent extent = {ROWS, width, THREADS};
        float *out = floats(count), *d_x = floats(ROWS * in), *d_bias = floats(in), *partial = floats(THREADS * in);
        kernels->activation_forward(extent, kind, gated, x, bias, mask, out);
        kernels->activation_backward(extent, kind, gated, d_out, x, bias, mask, partial, d_x, with_bias ? d_bias : NULL);
        /* As in test_activations, times a factor b of at most 5 and the mask's 1.4. */
        check_close("gate", (tandem_isa)isa, out, expected, count, 1e-6);
        check_close("gate d_x", (tandem_isa)isa, d_x, d_expected, ROWS * in, 2e-6);
        if (with_bias) {
            check_close("gate d_bias", (tandem_isa)isa, d_bias, d_bias_expected, in, 2e-6);
        }
        free(out), free(d_x), free(d_bias), free(partial);
    }
    free(x), free(bias), free(d_out), free(expected), free(d_expected), free(d_bias_expected);
}

static void test_gates(void **state)
{
    (void)state;
    const size_t widths[] = {1, 16, 37, 160};
    tandem_random random = tandem_random_stream(13, "gates", 0);
    for (int kind = TANDEM_ACTIVATION_GELU; kind <= TANDEM_ACTIVATION_SILU; kind++) {
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            check_gate(&random, (tandem_activation)kind, true, i % 2 == 0, widths[i], 0);
            check_gate(&random, (tandem_activation)kind, true, i % 2 == 1, widths[i], 0.3);
            check_gate(&random, (tandem_activation)kind, false, true, widths[i], 0.3);
        }
    }
}

/* Trouble upstream must stay visible. */
static void test_activations_pass_nan(void **state)
{
    (void)state;
    float x[20], out[20];
    for (int i = 0; i < 20; i++) {
        x[i] = NAN;
    }
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        for (int kind = TANDEM_ACTIVATION_GELU; kind <= TANDEM_ACTIVATION_SILU; kind++) {
            tandem_kernels_of((tandem_isa)isa)->activation_forward((tandem_extent){1, 20, 1}, (tandem_activation)kind, false, x, NULL, (tandem_mask){0}, out);
            for (int i = 0; i < 20; i++) {
                assert_true(isnan(out[i]));
            }
        }
    }
}

/* ---- dropout ------------------------------------------------------------------------------------- */

static bool kept(const tandem_mask *mask, uint64_t row, uint32_t column)
{
    return tandem_mask_hash(tandem_mask_row(mask->key, row), column) >= mask->threshold;
}

/* The vector code drops exactly what the scalar definition says. */
static void test_dropout_is_its_mask(void **state)
{
    (void)state;
    enum { ROWS = 11, WIDTH = 77 };
    tandem_mask mask = tandem_mask_make(9, 1, 4, 0.3);
    float *x = floats(ROWS * WIDTH), *out = floats(ROWS * WIDTH);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        x[i] = 1;
    }
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        tandem_kernels_of((tandem_isa)isa)->dropout((tandem_extent){ROWS, WIDTH, THREADS}, x, mask, out);
        for (size_t i = 0; i < ROWS * WIDTH; i++) {
            assert_true(out[i] == (kept(&mask, i / WIDTH, (uint32_t)(i % WIDTH)) ? mask.scale : 0.0f));
        }
    }
    free(x), free(out);
}

/* Share of elements kept, and how often neighbours (by column, row, site, step and
 * seed) are kept together: independent draws within five standard deviations. */
static void test_dropout_statistics(void **state)
{
    (void)state;
    enum { ROWS = 2000, WIDTH = 500 };
    const double n = (double)ROWS * WIDTH;
    for (int tenths = 1; tenths <= 5; tenths += 2) {
        double keep = 1 - tenths / 10.0;
        tandem_mask mask = tandem_mask_make(1, 0, 0, 1 - keep);
        tandem_mask others[] = {tandem_mask_make(1, 0, 1, 1 - keep), tandem_mask_make(1, 1, 0, 1 - keep), tandem_mask_make(2, 0, 0, 1 - keep)};
        double kept_count = 0, both[5] = {0};
        for (uint64_t row = 0; row < ROWS; row++) {
            for (uint32_t column = 0; column < WIDTH; column++) {
                if (!kept(&mask, row, column)) {
                    continue;
                }
                kept_count++;
                both[0] += kept(&mask, row, column + 1);
                both[1] += kept(&mask, row + 1, column);
                for (int k = 0; k < 3; k++) {
                    both[2 + k] += kept(&others[k], row, column);
                }
            }
        }
        assert_true(fabs(kept_count / n - keep) < 5 * sqrt(keep * (1 - keep) / n));
        for (int k = 0; k < 5; k++) {
            double share = keep * keep;
            assert_true(fabs(both[k] / n - share) < 5 * sqrt(share * (1 - share) / n) + 5 * sqrt(keep * (1 - keep) / n));
        }
    }
}

/* ---- rows ------------------------------------------------------------------------------------------ */

static void test_rows(void **state)
{
    (void)state;
    enum { ROWS = 50, TABLE = 9, WIDTH = 21 };
    tandem_random random = tandem_random_stream(8, "rows", 0);
    int32_t index[ROWS], scattered[ROWS];
    for (int i = 0; i < ROWS; i++) {
        index[i] = (int32_t)tandem_random_below(&random, TABLE);
        scattered[i] = i % 5 == 0 ? -1 : index[i];
    }
    float *table = random_floats(&random, TABLE * WIDTH, 1), *x = random_floats(&random, ROWS * WIDTH, 1);
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
        tandem_extent extent = {ROWS, WIDTH, THREADS};
        float *out = floats(ROWS * WIDTH), *gradient = floats(TABLE * WIDTH), *column = floats(WIDTH), *partial = floats(THREADS * WIDTH);
        kernels->rows_gather(extent, table, index, false, out);
        kernels->rows_gather(extent, table, index, true, out);
        kernels->rows_scatter(extent, x, scattered, gradient);
        kernels->column_sum(extent, x, partial, column);
        double *expected = doubles(TABLE * WIDTH), *sum = doubles(WIDTH);
        for (size_t i = 0; i < ROWS * WIDTH; i++) {
            assert_true(out[i] == 2 * table[(size_t)index[i / WIDTH] * WIDTH + i % WIDTH]);
            if (scattered[i / WIDTH] >= 0) {
                expected[(size_t)index[i / WIDTH] * WIDTH + i % WIDTH] += (double)x[i];
            }
            sum[i % WIDTH] += (double)x[i];
        }
        check_close("scatter", (tandem_isa)isa, gradient, expected, TABLE * WIDTH, 1e-6); /* about five terms a row */
        check_close("column sum", (tandem_isa)isa, column, sum, WIDTH, 1e-6);             /* fifty terms */
        free(out), free(gradient), free(column), free(partial), free(expected), free(sum);
    }
    free(table), free(x);
}

static void test_segments(void **state)
{
    (void)state;
    enum { COUNT = 3, TOTAL = 300, WIDTH = 300 };
    const int32_t offsets[COUNT + 1] = {0, 1, 260, TOTAL};
    const double scale[COUNT] = {1, 0.25, 0.125};
    tandem_random random = tandem_random_stream(9, "segments", 0);
    float *x = random_floats(&random, TOTAL * WIDTH, 1), *d_out = random_floats(&random, COUNT * WIDTH, 1);
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        for (int ramp = 0; ramp < 2; ramp++) {
            const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
            tandem_extent extent = {COUNT, WIDTH, THREADS};
            float *out = floats(COUNT * WIDTH), *d_x = floats(TOTAL * WIDTH);
            double *expected = doubles(COUNT * WIDTH);
            kernels->segment_sum(extent, x, offsets, scale, ramp == 1, out);
            kernels->segment_spread(extent, d_out, offsets, scale, ramp == 1, d_x);
            for (int s = 0; s < COUNT; s++) {
                for (int32_t row = offsets[s]; row < offsets[s + 1]; row++) {
                    double times = scale[s] * (ramp ? row - offsets[s] + 1 : 1);
                    for (int i = 0; i < WIDTH; i++) {
                        expected[s * WIDTH + i] += times * (double)x[row * WIDTH + i];
                        assert_true(fabs((double)d_x[row * WIDTH + i] - times * (double)d_out[s * WIDTH + i]) <= 2e-7 * times);
                    }
                }
            }
            check_close("segment sum", (tandem_isa)isa, out, expected, COUNT * WIDTH, 1e-7); /* one rounding */
            free(out), free(d_x), free(expected);
        }
    }
    free(x), free(d_out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_residual_norm),
        cmocka_unit_test(test_residual),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_gates),
        cmocka_unit_test(test_activations_pass_nan),
        cmocka_unit_test(test_dropout_is_its_mask),
        cmocka_unit_test(test_dropout_statistics),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
