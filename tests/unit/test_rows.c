/* Products of rows with weights laid out, of every instruction set of this machine: in int8 the bits of a plain sum in
 * whole numbers, in float32 near a sum in double; and in every precision the same bits for any threads and neighbours. */
#include "kernel_checks.h"

enum { DEEPEST = 1600 };

/* What int8_lay_out and int8_quantize are to do, in plain C. */
typedef struct {
    int32_t *codes;       /* [count, depth] */
    float *first, *second; /* [count]: of columns scales and sums, of rows least numbers and steps */
} plain;

static plain plain_make(size_t count, size_t depth)
{
    return (plain){calloc(count * depth, sizeof(int32_t)), floats(count), floats(count)};
}

static void plain_free(plain p)
{
    free(p.codes);
    free(p.first);
    free(p.second);
}

static plain plain_columns(const float *weights, size_t width, size_t depth)
{
    plain p = plain_make(width, depth);
    for (size_t j = 0; j < width; j++) {
        float most = 0;
        for (size_t k = 0; k < depth; k++) {
            most = fmaxf(most, fabsf(weights[j * depth + k]));
        }
        volatile float inverse = most > 0 ? 127 / most : 0;
        int32_t total = 0;
        for (size_t k = 0; k < depth; k++) {
            p.codes[j * depth + k] = (int32_t)nearbyintf(weights[j * depth + k] * inverse);
            total += p.codes[j * depth + k];
        }
        p.first[j] = most / 127;
        p.second[j] = p.first[j] * (float)total;
    }
    return p;
}

static plain plain_rows(const float *x, size_t rows, size_t depth)
{
    plain p = plain_make(rows, depth);
    for (size_t i = 0; i < rows; i++) {
        float least = 0, most = 0;
        for (size_t k = 0; k < depth; k++) {
            least = fminf(least, x[i * depth + k]);
            most = fmaxf(most, x[i * depth + k]);
        }
        float inverse = most > least ? 255 / (most - least) : 0;
        for (size_t k = 0; k < depth; k++) {
            p.codes[i * depth + k] = (int32_t)nearbyintf((x[i * depth + k] - least) * inverse);
        }
        p.first[i] = least;
        p.second[i] = (most - least) / 255;
    }
    return p;
}

static void plain_product(float *c, plain a, plain b, size_t rows, size_t depth, size_t width)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < width; j++) {
            int64_t sum = 0;
            for (size_t k = 0; k < depth; k++) {
                sum += (int64_t)a.codes[i * depth + k] * b.codes[j * depth + k];
            }
            assert_true(sum <= INT32_MAX && sum >= INT32_MIN);
            /* Each step is rounded, as the kernels do it. */
            volatile float scale = b.first[j] * a.second[i], product = (float)sum * scale, shift = a.first[i] * b.second[j];
            c[i * width + j] = product + shift;
        }
    }
}

static void check_int8(const float *x, const float *weights, size_t rows, size_t depth, size_t width)
{
    plain a = plain_rows(x, rows, depth), b = plain_columns(weights, width, depth);
    float *expected = floats(rows * width), *found = floats(rows * width), *ranges = floats(2 * rows), *scales = floats(2 * width);
    plain_product(expected, a, b, rows, depth, width);
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
        size_t words = kernels->int8_words(depth);
        uint32_t *columns = (uint32_t *)floats(words * ((width + 15) / 16 * 16)), *codes = (uint32_t *)floats(rows * words);
        kernels->int8_lay_out((tandem_extent){depth, width, THREADS}, weights, columns, scales, scales + width);
        kernels->int8_quantize(rows, depth, x, codes, ranges);
        tandem_laid_out matrix = {TANDEM_INT8, depth, width, columns, scales, scales + width};
        memset(found, 0xff, rows * width * sizeof *found);
        kernels->int8_multiply(rows, &matrix, tandem_all_columns(&matrix), codes, ranges, found);
        for (size_t i = 0; i < rows * width; i++) {
            if (found[i] != expected[i]) {
                fail_msg("%s, %zu x %zu x %zu: element %zu is %.9g, expected %.9g", tandem_isa_name((tandem_isa)isa), rows, depth, width, i, (double)found[i], (double)expected[i]);
            }
        }
        free(columns);
        free(codes);
    }
    plain_free(a);
    plain_free(b);
    free(expected);
    free(found);
    free(ranges);
    free(scales);
}

static void test_int8(void **state)
{
    (void)state;
    const size_t sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {8, 16, 48}, {13, 37, 49}, {19, 64, 100}, {64, 384, 96}, {9, DEEPEST, 31}};
    tandem_random random = tandem_random_stream(1, "int8", 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t rows = sizes[i][0], depth = sizes[i][1], width = sizes[i][2];
        float *x = random_floats(&random, rows * depth, 3), *weights = random_floats(&random, width * depth, 0.5);
        for (size_t k = 0; k < depth; k++) {
            x[k] = fabsf(x[k]); /* a row on one side of 0 */
        }
        check_int8(x, weights, rows, depth, width);
        free(x);
        free(weights);
    }
}

/* Rows and weights at the ends of their ranges, whose sums of two or four products are greater than 16 bits hold. */
static void test_int8_extremes(void **state)
{
    (void)state;
    enum { EDGE_ROWS = 9, EDGE_WIDTH = 50 };
    float *x = floats(EDGE_ROWS * DEEPEST), *weights = floats(EDGE_WIDTH * DEEPEST);
    for (size_t i = 0; i < EDGE_ROWS * DEEPEST; i++) {
        x[i] = i / DEEPEST == 0 ? 0 : i % 16 == 5 && i / DEEPEST != 3 ? -1 : 4; /* a row of zeros, one constant */
    }
    for (size_t i = 0; i < EDGE_WIDTH * DEEPEST; i++) {
        weights[i] = i / DEEPEST == 0 ? 0 : i / DEEPEST % 2 == 0 ? 2 : -2;
    }
    check_int8(x, weights, EDGE_ROWS, DEEPEST, EDGE_WIDTH);
    free(x);
    free(weights);
}

/* A weight that is no number is seen in all that its output gives, and nowhere else. */
static void test_int8_no_number(void **state)
{
    (void)state;
    enum { DEPTH = 20, WIDTH = 3 };
    tandem_random random = tandem_random_stream(2, "int8", 0);
    float *x = random_floats(&random, DEPTH, 1), *weights = random_floats(&random, WIDTH * DEPTH, 1), found[WIDTH], ranges[2], scales[2 * WIDTH];
    weights[DEPTH + 4] = NAN;
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
        uint32_t columns[DEPTH * 16], codes[DEPTH];
        kernels->int8_lay_out((tandem_extent){DEPTH, WIDTH, 1}, weights, columns, scales, scales + WIDTH);
        kernels->int8_quantize(1, DEPTH, x, codes, ranges);
        tandem_laid_out matrix = {TANDEM_INT8, DEPTH, WIDTH, columns, scales, scales + WIDTH};
        kernels->int8_multiply(1, &matrix, tandem_all_columns(&matrix), codes, ranges, found);
        assert_true(isfinite(found[0]) && isnan(found[1]) && isfinite(found[2]));
    }
    free(x);
    free(weights);
}

/* Weights [width, depth] laid out in a precision. */
static tandem_laid_out matrix_make(const tandem_kernels *kernels, tandem_precision precision, const float *weights, size_t depth, size_t width)
{
    tandem_extent size = {depth, width, 1};
    float *data = floats(tandem_float_words(depth + 2, width)), *scales = floats(2 * width);
    if (precision == TANDEM_FP32) {
        kernels->float_lay_out(size, weights, true, data);
    } else if (precision == TANDEM_BF16) {
        kernels->bf16_lay_out(size, weights, true, (uint32_t *)data);
    } else {
        kernels->int8_lay_out(size, weights, (uint32_t *)data, scales, scales + width);
    }
    return (tandem_laid_out){precision, depth, width, data, scales, scales + width};
}

static tandem_laid_out random_matrix(const tandem_kernels *kernels, tandem_random *random, tandem_precision precision, size_t depth, size_t width)
{
    float *weights = random_floats(random, width * depth, 1);
    tandem_laid_out matrix = matrix_make(kernels, precision, weights, depth, width);
    free(weights);
    return matrix;
}

static void matrix_free(tandem_laid_out matrix)
{
    free((void *)(uintptr_t)matrix.data);
    free((void *)(uintptr_t)matrix.scales);
}

/* A row alone, and among others on one thread and several. */
static void test_neighbours(void **state)
{
    (void)state;
    enum { MANY = 150, DEPTH = 36, WIDTH = 70 };
    tandem_random random = tandem_random_stream(4, "rows", 0);
    float *x = random_floats(&random, MANY * DEPTH, 1), *weights = random_floats(&random, WIDTH * DEPTH, 1);
    float *one = floats(WIDTH), *many = floats(MANY * WIDTH);
    float *workspace = floats((THREADS + 1) * tandem_row_scratch_floats((tandem_row_scratch){0, 0, DEPTH}));
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
        const tandem_precision precisions[] = {TANDEM_FP32, TANDEM_BF16, TANDEM_INT8};
        for (size_t p = 0; p < 3; p++) {
            tandem_laid_out matrix = matrix_make(kernels, precisions[p], weights, DEPTH, WIDTH);
            for (int threads = 1; threads <= THREADS + 1; threads++) {
                kernels->rows_product((tandem_extent){MANY, WIDTH, threads}, &matrix, x, many, workspace);
                for (size_t row = 0; row < MANY; row += 7) {
                    kernels->rows_product((tandem_extent){1, WIDTH, 1}, &matrix, x + row * DEPTH, one, workspace);
                    assert_memory_equal(one, many + row * WIDTH, WIDTH * sizeof *one);
                }
            }
            matrix_free(matrix);
        }
    }
    free(x);
    free(weights);
    free(one);
    free(many);
    free(workspace);
}

/* A layer over few rows gives on several threads, which share the columns of its products, what it gives on one. */
static void check_few_rows(const tandem_kernels *kernels, tandem_precision precision, bool pre_norm, bool gated, size_t rows)
{
    enum { HIDDEN = 100, INNER = 170 };
    tandem_random random = tandem_random_stream(5, "rows", rows);
    float *bias = random_floats(&random, 2 * INNER, 1), *context = random_floats(&random, rows * HIDDEN, 1), *in = random_floats(&random, rows * HIDDEN, 1);
    tandem_row_layer layer = {
        .out = random_matrix(kernels, &random, precision, HIDDEN, HIDDEN),
        .up = random_matrix(kernels, &random, precision, HIDDEN, gated ? 2 * INNER : INNER),
        .down = random_matrix(kernels, &random, precision, INNER, HIDDEN),
        .next = random_matrix(kernels, &random, precision, HIDDEN, 3 * HIDDEN),
        .out_bias = bias, .up_bias = bias, .down_bias = bias,
        .middle_norm = {bias, bias + HIDDEN}, .last_norm = {bias + 1, NULL},
        .pre_norm = pre_norm, .gated = gated, .activation = TANDEM_ACTIVATION_GELU, .eps = 1e-12f,
    };
    float *x[2] = {floats(rows * HIDDEN), floats(rows * HIDDEN)}, *next[2] = {floats(rows * 3 * HIDDEN), floats(rows * 3 * HIDDEN)};
    float *workspace = floats((THREADS + 1) * tandem_row_scratch_floats(tandem_row_scratch_of(&layer)));
    for (int threads = 1; threads <= THREADS + 1; threads++) {
        int i = threads > 1;
        memcpy(x[i], in, rows * HIDDEN * sizeof *in);
        memset(next[i], 0xff, rows * 3 * HIDDEN * sizeof *in);
        kernels->rows_layer((tandem_extent){rows, HIDDEN, threads}, &layer, context, x[i], next[i], workspace);
        assert_memory_equal(x[0], x[i], rows * HIDDEN * sizeof *in);
        assert_memory_equal(next[0], next[i], rows * 3 * HIDDEN * sizeof *in);
    }
    for (int i = 0; i < 2; i++) {
        free(x[i]);
        free(next[i]);
    }
    matrix_free(layer.out), matrix_free(layer.up), matrix_free(layer.down), matrix_free(layer.next);
    free(bias), free(context), free(in), free(workspace);
}

static void test_few_rows(void **state)
{
    (void)state;
    const tandem_precision precisions[] = {TANDEM_FP32, TANDEM_BF16, TANDEM_INT8};
    const size_t rows[] = {1, 2, 15, TANDEM_FEW_ROWS, TANDEM_FEW_ROWS + 1};
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        for (size_t i = 0; i < 3 * 4 * sizeof rows / sizeof *rows; i++) {
            check_few_rows(tandem_kernels_of((tandem_isa)isa), precisions[i % 3], i / 3 % 2 == 1, i / 6 % 2 == 1, rows[i / 12]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int8),  cmocka_unit_test(test_int8_extremes), cmocka_unit_test(test_int8_no_number),
        cmocka_unit_test(test_neighbours), cmocka_unit_test(test_few_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
