/* Every CPU kernel, of every instruction set of this machine, against a plain
 * reference in double precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/kernels/kernels.h"
#include "tandem/random.h"

enum { THREADS = 2 };

/* Uniform in [-span, span). */
static void fill(tandem_random *random, float *x, size_t count, double span)
{
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)(span * (2 * tandem_random_double(random) - 1));
    }
}

static float *floats(size_t count)
{
    float *x = aligned_alloc(64, (count * sizeof *x + 63) / 64 * 64 + 64);
    assert_non_null(x);
    memset(x, 0, count * sizeof *x);
    return x;
}

static float *random_floats(tandem_random *random, size_t count, double span)
{
    float *x = floats(count);
    fill(random, x, count, span);
    return x;
}

static double *doubles(size_t count)
{
    double *x = calloc(count + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

/* Fails when an element differs by more than `tolerance` of the greatest one. */
static void check_close(const char *what, tandem_isa isa, const float *found, const double *expected, size_t count, double tolerance)
{
    double greatest = 1e-30, worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        greatest = fmax(greatest, fabs(expected[i]));
        double difference = fabs((double)found[i] - expected[i]);
        if (!(difference <= worst)) {
            worst = difference;
            at = i;
        }
    }
    if (!(worst <= tolerance * greatest)) {
        fail_msg("%s, %s: element %zu is %.9g, expected %.9g (off by %.2e of the greatest, allowed %.2e)", what, tandem_isa_name(isa), at, (double)found[at], expected[at],
                 worst / greatest, tolerance);
    }
}

/* ---- attention ------------------------------------------------------------------------ */

typedef struct {
    size_t total, hidden;
    tandem_attention attention;
    float *qkv, *bias, *d_out;
    double *out, *d_qkv; /* the reference's */
} attention_case;

static double mask_of(const attention_case *c, size_t query, size_t head, size_t column)
{
    if (c->attention.mask.threshold == 0) {
        return 1;
    }
    uint64_t key = tandem_mask_row(c->attention.mask.key, query * c->attention.heads + head);
    return tandem_mask_hash(key, (uint32_t)column) >= c->attention.mask.threshold ? (double)c->attention.mask.scale : 0;
}

/* Row `token` of part 0 (queries), 1 (keys) or 2 (values), element d of a head. */
static double element(const attention_case *c, size_t token, size_t part, size_t head, size_t d)
{
    size_t column = part * c->hidden + head * c->attention.head_size + d;
    return (double)c->qkv[token * 3 * c->hidden + column] + (c->bias == NULL ? 0 : (double)c->bias[column]);
}

/* One head of one sequence by the textbook: P = softmax(Q K^T / sqrt(d)), O = (P o M) V;
 * dV = (P o M)^T dO, dP = M o (dO V^T), dS = P o (dP - rowsum(P o dP)). */
static void reference_head(attention_case *c, size_t first, size_t length, size_t head)
{
    size_t size = c->attention.head_size, row = 3 * c->hidden, at = head * size;
    double scale = 1 / sqrt((double)size), *p = doubles(length), *dp = doubles(length);
    for (size_t i = 0; i < length; i++) {
        double most = -INFINITY, sum = 0, mean = 0;
        const float *d_out = c->d_out + (first + i) * c->hidden + at;
        for (size_t j = 0; j < length; j++) {
            p[j] = 0;
            for (size_t d = 0; d < size; d++) {
                p[j] += scale * element(c, first + i, 0, head, d) * element(c, first + j, 1, head, d);
            }
            most = fmax(most, p[j]);
        }
        for (size_t j = 0; j < length; j++) {
            p[j] = exp(p[j] - most);
            sum += p[j];
        }
        for (size_t j = 0; j < length; j++) {
            double mask = mask_of(c, first + i, head, j);
            p[j] /= sum;
            dp[j] = 0;
            for (size_t d = 0; d < size; d++) {
                c->out[(first + i) * c->hidden + at + d] += mask * p[j] * element(c, first + j, 2, head, d);
                c->d_qkv[(first + j) * row + 2 * c->hidden + at + d] += mask * p[j] * (double)d_out[d];
                dp[j] += mask * (double)d_out[d] * element(c, first + j, 2, head, d);
            }
            mean += p[j] * dp[j];
        }
        for (size_t j = 0; j < length; j++) {
            double ds = p[j] * (dp[j] - mean) * scale;
            for (size_t d = 0; d < size; d++) {
                c->d_qkv[(first + i) * row + at + d] += ds * element(c, first + j, 1, head, d);
                c->d_qkv[(first + j) * row + c->hidden + at + d] += ds * element(c, first + i, 0, head, d);
            }
        }
    }
    free(p);
    free(dp);
}

static void reference_run(attention_case *c)
{
    memset(c->out, 0, c->total * c->hidden * sizeof *c->out);
    memset(c->d_qkv, 0, c->total * 3 * c->hidden * sizeof *c->d_qkv);
    for (size_t s = 0; s < c->attention.sequences; s++) {
        for (size_t head = 0; head < c->attention.heads; head++) {
            size_t first = (size_t)c->attention.offsets[s];
            reference_head(c, first, (size_t)c->attention.offsets[s + 1] - first, head);
        }
    }
}

static attention_case attention_case_make(tandem_random *random, const int32_t *offsets, size_t sequences, size_t heads, size_t head_size, bool bias, double dropout)
{
    attention_case c = {.total = (size_t)offsets[sequences], .hidden = heads * head_size};
    c.attention = (tandem_attention){.sequences = sequences, .heads = heads, .head_size = head_size, .offsets = offsets, .mask = tandem_mask_make(5, 6, 7, dropout), .threads = THREADS};
    /* Scores of a spread of a few units: neither uniform nor one-hot. */
    c.qkv = random_floats(random, c.total * 3 * c.hidden, 2);
    c.bias = bias ? random_floats(random, 3 * c.hidden, 1) : NULL;
    c.d_out = random_floats(random, c.total * c.hidden, 1);
    c.out = doubles(c.total * c.hidden);
    c.d_qkv = doubles(c.total * 3 * c.hidden);
    return c;
}

static void attention_case_free(attention_case *c)
{
    free(c->qkv);
    free(c->bias);
    free(c->d_out);
    free(c->out);
    free(c->d_qkv);
}

/* Runs the kernels of `isa` on `threads` threads; the caller frees both results. */
static void attention_run(const tandem_kernels *kernels, const attention_case *c, int threads, float **out, float **d_qkv)
{
    tandem_attention attention = c->attention;
    attention.threads = threads;
    attention.workspace = floats(tandem_attention_workspace(&attention));
    float *lse = floats(c->total * attention.heads);
    *out = floats(c->total * c->hidden);
    *d_qkv = floats(c->total * 3 * c->hidden);
    kernels->attention_forward(&attention, c->qkv, c->bias, *out, lse);
    kernels->attention_backward(&attention, c->qkv, c->bias, *out, lse, c->d_out, *d_qkv);
    free(lse);
    free(attention.workspace);
}

static const int32_t all_lengths[] = {0, 1, 3, 10, 26, 43, 74, 138, 203, 403, 915}; /* 1 2 7 16 17 31 64 65 200 512 */

static void test_attention(void **state)
{
    (void)state;
    const size_t sizes[] = {8, 16, 24, 32, 64, 80, 128, 5, 20};
    tandem_random random = tandem_random_stream(1, "attention", 0);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int dropout = 0; dropout < 2; dropout++) {
            attention_case c = attention_case_make(&random, all_lengths, 10, 2, sizes[s], dropout == 1, 0.15 * dropout);
            reference_run(&c);
            for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
                float *out, *d_qkv;
                char what[64];
                attention_run(tandem_kernels_of((tandem_isa)isa), &c, THREADS, &out, &d_qkv);
                snprintf(what, sizeof what, "head size %zu, dropout %d", sizes[s], dropout);
                /* Scores reach 40, so float rounding shifts an exponential by up to
                 * 40 * 2^-24 = 2e-6 of itself; ten such errors bound what was ever seen. */
                check_close(what, (tandem_isa)isa, out, c.out, c.total * c.hidden, 2e-5);
                check_close(what, (tandem_isa)isa, d_qkv, c.d_qkv, c.total * 3 * c.hidden, 2e-5);
                free(out);
                free(d_qkv);
            }
            attention_case_free(&c);
        }
    }
}

/* The reference's gradient is not taken on trust: d (sum of out * d_out) / d qkv. */
static void test_reference_gradient(void **state)
{
    (void)state;
    const int32_t offsets[] = {0, 3, 8};
    tandem_random random = tandem_random_stream(2, "finite", 0);
    attention_case c = attention_case_make(&random, offsets, 2, 2, 4, true, 0.25);
    reference_run(&c);
    double *gradient = doubles(c.total * 3 * c.hidden);
    memcpy(gradient, c.d_qkv, c.total * 3 * c.hidden * sizeof *gradient);
    for (size_t i = 0; i < c.total * 3 * c.hidden; i += 7) {
        /* A power of two: the float inputs take it without rounding beyond 2^-13 h. */
        const float h = 0x1p-10f;
        double loss[2];
        float keep = c.qkv[i];
        for (int side = 0; side < 2; side++) {
            c.qkv[i] = side == 0 ? keep + h : keep - h;
            reference_run(&c);
            loss[side] = 0;
            for (size_t k = 0; k < c.total * c.hidden; k++) {
                loss[side] += c.out[k] * (double)c.d_out[k];
            }
        }
        c.qkv[i] = keep;
        /* Central differences err by h^2 = 1e-6 times the third derivative. */
        double numeric = (loss[0] - loss[1]) / (2 * (double)h);
        assert_true(fabs(numeric - gradient[i]) < 1e-4);
    }
    free(gradient);
    attention_case_free(&c);
}

/* Every item is one thread's: the number of threads changes no bit. */
static void test_attention_threads(void **state)
{
    (void)state;
    tandem_random random = tandem_random_stream(3, "threads", 0);
    attention_case c = attention_case_make(&random, all_lengths, 10, 3, 16, true, 0.1);
    float *out[2], *d_qkv[2];
    attention_run(tandem_kernels_best(), &c, 1, &out[0], &d_qkv[0]);
    attention_run(tandem_kernels_best(), &c, 3, &out[1], &d_qkv[1]);
    assert_memory_equal(out[0], out[1], c.total * c.hidden * sizeof(float));
    assert_memory_equal(d_qkv[0], d_qkv[1], c.total * 3 * c.hidden * sizeof(float));
    for (int i = 0; i < 2; i++) {
        free(out[i]);
        free(d_qkv[i]);
    }
    attention_case_free(&c);
}

/* A sequence's result is the same alone and among others: bit for bit without dropout. */
static void test_attention_batch(void **state)
{
    (void)state;
    tandem_random random = tandem_random_stream(4, "batch", 0);
    attention_case c = attention_case_make(&random, all_lengths, 10, 2, 32, false, 0);
    float *out, *d_qkv, *alone, *d_alone;
    attention_run(tandem_kernels_best(), &c, THREADS, &out, &d_qkv);
    const int32_t offsets[] = {0, 200};
    attention_case one = c;
    one.total = 200;
    one.qkv = c.qkv + 203 * 3 * c.hidden;
    one.d_out = c.d_out + 203 * c.hidden;
    one.attention.sequences = 1;
    one.attention.offsets = offsets;
    attention_run(tandem_kernels_best(), &one, THREADS, &alone, &d_alone);
    assert_memory_equal(alone, out + 203 * c.hidden, 200 * c.hidden * sizeof *out);
    assert_memory_equal(d_alone, d_qkv + 203 * 3 * c.hidden, 200 * 3 * c.hidden * sizeof *out);
    free(out);
    free(d_qkv);
    free(alone);
    free(d_alone);
    attention_case_free(&c);
}

/* Scores beyond the range of exp must not overflow: the softmax is shifted. */
static void test_attention_large_scores(void **state)
{
    (void)state;
    const int32_t offsets[] = {0, 20};
    tandem_random random = tandem_random_stream(5, "large", 0);
    attention_case c = attention_case_make(&random, offsets, 1, 1, 8, false, 0);
    fill(&random, c.qkv, c.total * 3 * c.hidden, 100);
    reference_run(&c);
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        float *out, *d_qkv;
        attention_run(tandem_kernels_of((tandem_isa)isa), &c, 1, &out, &d_qkv);
        /* Scores reach 3e4, whose float spacing is 2e-3: that much of a probability. */
        check_close("large scores", (tandem_isa)isa, out, c.out, c.total * c.hidden, 4e-3);
        for (size_t i = 0; i < c.total * 3 * c.hidden; i++) {
            assert_true(isfinite(d_qkv[i]));
        }
        free(out);
        free(d_qkv);
    }
    attention_case_free(&c);
}

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
    for (int kind = TANDEM_ACTIVATION_GELU; kind <= TANDEM_ACTIVATION_SILU; kind++) {
        for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
            const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
            tandem_extent extent = {ROWS, WIDTH, THREADS};
            float *out = floats(COUNT), *d_x = floats(COUNT), *d_bias = floats(WIDTH), *partial = floats(THREADS * WIDTH);
            kernels->activation_forward(extent, (tandem_activation)kind, x, bias, out);
            kernels->activation_backward(extent, (tandem_activation)kind, d_out, x, bias, partial, d_x, d_bias);
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
            tandem_kernels_of((tandem_isa)isa)->activation_forward((tandem_extent){1, 20, 1}, (tandem_activation)kind, x, NULL, out);
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
    int32_t index[ROWS];
    for (int i = 0; i < ROWS; i++) {
        index[i] = (int32_t)tandem_random_below(&random, TABLE);
    }
    float *table = random_floats(&random, TABLE * WIDTH, 1), *x = random_floats(&random, ROWS * WIDTH, 1);
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
        tandem_extent extent = {ROWS, WIDTH, THREADS};
        float *out = floats(ROWS * WIDTH), *gradient = floats(TABLE * WIDTH), *column = floats(WIDTH), *partial = floats(THREADS * WIDTH);
        kernels->rows_gather(extent, table, index, false, out);
        kernels->rows_gather(extent, table, index, true, out);
        kernels->rows_scatter(extent, x, index, gradient);
        kernels->column_sum(extent, x, partial, column);
        double *expected = doubles(TABLE * WIDTH), *sum = doubles(WIDTH);
        for (size_t i = 0; i < ROWS * WIDTH; i++) {
            assert_true(out[i] == 2 * table[(size_t)index[i / WIDTH] * WIDTH + i % WIDTH]);
            expected[(size_t)index[i / WIDTH] * WIDTH + i % WIDTH] += (double)x[i];
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
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_reference_gradient),
        cmocka_unit_test(test_attention_threads),
        cmocka_unit_test(test_attention_batch),
        cmocka_unit_test(test_attention_large_scores),
        cmocka_unit_test(test_residual_norm),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_activations_pass_nan),
        cmocka_unit_test(test_dropout_is_its_mask),
        cmocka_unit_test(test_dropout_statistics),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
