/* Products in bfloat16 and float32, of every instruction set of this machine: right against a plain sum in double of
 * rounded factors, and the same bits for any number of threads and any neighbours. */
#include "kernel_checks.h"

/* To the nearest number of 8 significant bits, ties to even. */
static double rounded(float x)
{
    int exponent;
    double mantissa = frexp((double)x, &exponent);
    return ldexp(nearbyint(ldexp(mantissa, 8)), exponent - 8);
}

static double unrounded(float x)
{
    return (double)x;
}

/* Room for a matrix laid out, in either precision. */
static uint32_t *words(size_t depth, size_t width)
{
    return (uint32_t *)floats(tandem_float_words(depth, width));
}

/* c = sum over k of factor(a(row, k)) * factor(b(k, column)), and the greatest sum of |a b|: what rounding is to be measured by. */
static double reference(double factor(float), double *c, size_t rows, size_t depth, size_t width, const float *a, const float *b)
{
    double greatest = 0;
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < width; j++) {
            double size = 0;
            for (size_t k = 0; k < depth; k++) {
                double product = factor(a[i * depth + k]) * factor(b[k * width + j]);
                c[i * width + j] += product;
                size += fabs(product);
            }
            greatest = fmax(greatest, size);
        }
    }
    return greatest;
}

static void check_sums(const char *what, tandem_isa isa, const float *found, const double *expected, size_t count, double tolerance)
{
    for (size_t i = 0; i < count; i++) {
        if (!(fabs((double)found[i] - expected[i]) <= tolerance)) {
            fail_msg("%s, %s: element %zu is %.9g, expected %.9g within %.2g", what, tandem_isa_name(isa), i, (double)found[i], expected[i], tolerance);
        }
    }
}

/* c = a * b, in float32 (full) or bfloat16. */
static void product_of(bool full, tandem_isa isa, tandem_extent extent, size_t depth, const float *a, const float *b, bool transposed, float *c)
{
    const tandem_kernels *kernels = tandem_kernels_of(isa);
    tandem_extent right = {depth, extent.width, extent.threads};
    uint32_t *laid_out = words(depth, extent.width);
    if (full) {
        tandem_laid_out matrix = {TANDEM_FP32, depth, extent.width, laid_out, NULL, NULL};
        kernels->float_lay_out(right, b, transposed, (float *)laid_out);
        kernels->float_multiply(extent.rows, &matrix, tandem_all_columns(&matrix), a, c);
    } else {
        tandem_laid_out matrix = {TANDEM_BF16, depth, extent.width, laid_out, NULL, NULL};
        kernels->bf16_lay_out(right, b, transposed, laid_out);
        kernels->bf16_multiply(extent.rows, &matrix, tandem_all_columns(&matrix), a, c);
    }
    free(laid_out);
}

/* c += a^T * b. */
static void gradient_of(bool full, tandem_isa isa, tandem_extent extent, size_t depth, const float *a, const float *b, float *c)
{
    const tandem_kernels *kernels = tandem_kernels_of(isa);
    uint32_t *scratch = words(full ? TANDEM_FLOAT_DEPTH : TANDEM_BF16_DEPTH, extent.width);
    if (full) {
        kernels->float_gradient(extent, depth, a, b, (float *)scratch, c);
    } else {
        kernels->bf16_gradient(extent, depth, a, b, scratch, c);
    }
    free(scratch);
}

static const float *column_of(const float *b, size_t column, size_t depth, size_t width)
{
    static float numbers[1024];
    for (size_t k = 0; k < depth; k++) {
        numbers[k] = b[k * width + column];
    }
    return numbers;
}

/* Both forms of a right factor, and the product of a transpose, added to what is there. */
static void check_size(tandem_random *random, size_t rows, size_t depth, size_t width)
{
    float *a = random_floats(random, rows * depth, 1), *b = random_floats(random, depth * width, 1), *flipped = floats(depth * width);
    float *columns = floats(rows * depth), *start = random_floats(random, rows * width, 1), *c = floats(rows * width + 64);
    double *expected = doubles(rows * width), *sum = doubles(rows * width);
    for (size_t k = 0; k < depth; k++) {
        for (size_t j = 0; j < width; j++) {
            flipped[j * depth + k] = b[k * width + j];
        }
        for (size_t i = 0; i < rows; i++) {
            columns[k * rows + i] = a[i * depth + k];
        }
    }
    /* Each of `depth` additions rounds a sum that is at most `size` by 2^-24 of it. */
    for (int full = 0; full < 2; full++) {
        memset(expected, 0, rows * width * sizeof *expected);
        double size = reference(full ? unrounded : rounded, expected, rows, depth, width, a, b), tolerance = size * (double)(depth + 1) * 0x1p-24;
        for (size_t i = 0; i < rows * width; i++) {
            sum[i] = expected[i] + (double)start[i];
        }
        for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
            for (int transposed = 0; transposed < 2; transposed++) {
                c[rows * width] = 77; /* what follows stays as it is */
                product_of(full, (tandem_isa)isa, (tandem_extent){rows, width, THREADS}, depth, a, transposed ? flipped : b, transposed, c);
                check_sums(transposed ? "product, transposed" : "product", (tandem_isa)isa, c, expected, rows * width, tolerance);
                assert_true(c[rows * width] == 77);
            }
            memcpy(c, start, rows * width * sizeof *c);
            gradient_of(full, (tandem_isa)isa, (tandem_extent){rows, width, THREADS}, depth, columns, b, c);
            check_sums("gradient", (tandem_isa)isa, c, sum, rows * width, tolerance + 0x1p-24 * (double)depth);
            assert_true(c[rows * width] == 77);
        }
    }
    free(a), free(b), free(flipped), free(columns), free(start), free(c), free(expected), free(sum);
}

static void test_products(void **state)
{
    (void)state;
    /* Ends of tiles, panels and blocks, odd depths, more than one block of depth or rows. */
    static const size_t sizes[][3] = {{1, 1, 1},     {1, 2, 16},    {3, 7, 5},       {8, 31, 48},  {7, 32, 49},
                                      {13, 33, 100}, {16, 384, 64}, {20, 513, 33}, {5, 1025, 47}, {203, 20, 31}};
    tandem_random random = tandem_random_stream(21, "products", 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_size(&random, sizes[i][0], sizes[i][1], sizes[i][2]);
    }
}

/* A product with 1 is the number rounded. */
static void test_rounding(void **state)
{
    (void)state;
    static const float numbers[] = {0,        1,         -1,         0x1.01p0f,   0x1.02p0f,   0x1.03p0f, 0x1.010002p0f, 0x1.00fffep0f, -0x1.03p0f,  0x1.ffp0f,
                                    0x1.fep3f, 0x1p-100f, 0x1.03p-99f, 3.14159265f, -2.718281f, 1e30f,     65504,         0x1.fdp100f,   0x1.ff8p-20f, 0x1p-126f};
    enum { COUNT = sizeof numbers / sizeof *numbers };
    const float one = 1;
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        const tandem_kernels *kernels = tandem_kernels_of((tandem_isa)isa);
        uint32_t *laid_out = words(1, COUNT);
        float out[COUNT], odd[] = {(float)INFINITY, -(float)INFINITY, (float)NAN, 0x1.fffffep127f}, c[4];
        kernels->bf16_lay_out((tandem_extent){1, COUNT, 1}, numbers, false, laid_out);
        kernels->bf16_multiply(1, &(tandem_laid_out){TANDEM_BF16, 1, COUNT, laid_out, NULL, NULL}, (tandem_columns){0, COUNT}, &one, out);
        for (size_t i = 0; i < COUNT; i++) {
            if ((double)out[i] != rounded(numbers[i])) {
                fail_msg("%s: %a is rounded to %a, expected %a", tandem_isa_name((tandem_isa)isa), (double)numbers[i], (double)out[i], rounded(numbers[i]));
            }
        }
        /* A gradient that overflowed or is none must be seen: steps are skipped by it. */
        kernels->bf16_lay_out((tandem_extent){1, 1, 1}, &one, false, laid_out);
        kernels->bf16_multiply(4, &(tandem_laid_out){TANDEM_BF16, 1, 1, laid_out, NULL, NULL}, (tandem_columns){0, 1}, odd, c);
        assert_true(isinf(c[0]) && c[0] > 0 && isinf(c[1]) && c[1] < 0 && isnan(c[2]) && isinf(c[3]));
        free(laid_out);
    }
}

/* Rows and columns of sizes far apart, and none: each sum keeps the digits that its own terms have. */
static void test_sizes_apart(void **state)
{
    (void)state;
    enum { ROWS = 21, DEPTH = 401, WIDTH = 67, ZERO = 5 };
    tandem_random random = tandem_random_stream(23, "sizes", 0);
    float *a = random_floats(&random, ROWS * DEPTH, 1), *b = random_floats(&random, DEPTH * WIDTH, 1), *c = floats(ROWS * WIDTH), *columns = floats(ROWS * DEPTH);
    for (size_t i = 0; i < ROWS * DEPTH; i++) {
        a[i] = i / DEPTH == ZERO ? 0 : ldexpf(a[i], (int)(i / DEPTH * 7 % ROWS) * 5 - 50);
        columns[i % DEPTH * ROWS + i / DEPTH] = a[i];
    }
    for (size_t i = 0; i < DEPTH * WIDTH; i++) {
        b[i] = i % WIDTH == ZERO ? 0 : ldexpf(b[i], (int)(i % WIDTH * 5 % WIDTH) - 33);
    }
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        for (int gradient = 0; gradient < 2; gradient++) {
            memset(c, 0, ROWS * WIDTH * sizeof *c);
            if (gradient) {
                gradient_of(true, (tandem_isa)isa, (tandem_extent){ROWS, WIDTH, 1}, DEPTH, columns, b, c);
            } else {
                product_of(true, (tandem_isa)isa, (tandem_extent){ROWS, WIDTH, 1}, DEPTH, a, b, false, c);
            }
            for (size_t i = 0; i < ROWS * WIDTH; i++) {
                double expected = 0;
                double size = reference(unrounded, &expected, 1, DEPTH, 1, a + i / WIDTH * DEPTH, column_of(b, i % WIDTH, DEPTH, WIDTH));
                check_sums("sizes apart", (tandem_isa)isa, c + i, &expected, 1, size * (DEPTH + 1) * 0x1p-24);
            }
        }
    }
    /* What is no number stays in its row, and in its column. */
    a[3 * DEPTH + 17] = (float)NAN;
    b[40] = (float)INFINITY;
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        product_of(true, (tandem_isa)isa, (tandem_extent){ROWS, WIDTH, 1}, DEPTH, a, b, false, c);
        for (size_t i = 0; i < ROWS * WIDTH; i++) {
            assert_int_equal(isfinite(c[i]) != 0, i / WIDTH != 3 && i % WIDTH != 40);
        }
    }
    free(a), free(b), free(c), free(columns);
}

static void test_same_bits(void **state)
{
    (void)state;
    enum { ROWS = 301, DEPTH = 700, WIDTH = 77 };
    tandem_random random = tandem_random_stream(22, "bits", 0);
    float *a = random_floats(&random, ROWS * DEPTH, 1), *b = random_floats(&random, DEPTH * WIDTH, 1), *d = random_floats(&random, ROWS * WIDTH, 1);
    float *first = floats(ROWS * WIDTH), *again = floats(ROWS * WIDTH), *first_gradient = floats(DEPTH * WIDTH), *gradient = floats(DEPTH * WIDTH);
    for (int i = 0; i < 2 * ((int)tandem_machine_isa() + 1); i++) {
        bool full = i % 2 == 1;
        tandem_isa isa = (tandem_isa)(i / 2);
        product_of(full, isa, (tandem_extent){ROWS, WIDTH, 1}, DEPTH, a, b, false, first);
        memset(first_gradient, 0, DEPTH * WIDTH * sizeof *first_gradient);
        gradient_of(full, isa, (tandem_extent){DEPTH, WIDTH, 1}, ROWS, a, d, first_gradient);
        for (int threads = 2; threads <= 5; threads++) {
            product_of(full, isa, (tandem_extent){ROWS, WIDTH, threads}, DEPTH, a, b, false, again);
            assert_memory_equal(first, again, ROWS * WIDTH * sizeof *first);
            memset(gradient, 0, DEPTH * WIDTH * sizeof *gradient);
            gradient_of(full, isa, (tandem_extent){DEPTH, WIDTH, threads}, ROWS, a, d, gradient);
            assert_memory_equal(first_gradient, gradient, DEPTH * WIDTH * sizeof *gradient);
        }
        /* A text's vectors do not depend on the texts beside it. */
        product_of(full, isa, (tandem_extent){3, WIDTH, 1}, DEPTH, a + 50 * DEPTH, b, false, again);
        assert_memory_equal(first + 50 * WIDTH, again, 3 * WIDTH * sizeof *again);
    }
    free(a), free(b), free(d), free(first), free(again), free(first_gradient), free(gradient);
}

/* What is chosen is one thing in a process, never int8, and bf16 only where its instructions are. */
static void test_chosen(void **state)
{
    (void)state;
    tandem_precision chosen = tandem_precision_settle(TANDEM_AUTO);
    assert_true(chosen == TANDEM_FP32 || (chosen == TANDEM_BF16 && tandem_machine_has_bf16()));
    assert_int_equal(tandem_precision_settle(TANDEM_AUTO), chosen);
    assert_int_equal(tandem_precision_settle(TANDEM_BF16), TANDEM_BF16); /* with or without its instructions */
    assert_string_equal(tandem_precision_name(TANDEM_BF16), "bf16");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chosen),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_sizes_apart),
        cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
