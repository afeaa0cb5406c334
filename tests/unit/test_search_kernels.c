/* The kernels of exact search, of every instruction set of this machine, against plain loops. */
#include "kernel_checks.h"

#include <float.h>

#include "model/kernels/search.h"

enum { ROWS = 33, QUERIES = 3, WIDEST = 200 };

static uint16_t upper_half(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static float value_of(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* |found - expected| of a sum of dim products in float: gamma_dim times the sum of their magnitudes (Higham 2002,
 * section 3.1), one more rounding for a scale. */
static void check_dot(float found, const float *query, const float *row, size_t dim)
{
    double sum = 0, magnitude = 0;
    for (size_t i = 0; i < dim; i++) {
        sum += (double)query[i] * (double)row[i];
        magnitude += fabs((double)query[i] * (double)row[i]);
    }
    assert_true(fabs((double)found - sum) <= (double)(dim + 2) * 0x1p-24 * magnitude);
}

static void check_rows(const tandem_search_kernels *kernels, tandem_random *random, size_t dim)
{
    float *queries = random_floats(random, QUERIES * dim, 1), *rows = random_floats(random, ROWS * dim, 1);
    float scores[QUERIES * ROWS], scales[ROWS], *copies = floats(ROWS * dim);
    uint16_t *halves = calloc(ROWS * dim, sizeof *halves);
    int8_t *bytes = calloc(ROWS * dim, sizeof *bytes);
    assert_true(halves && bytes);
    kernels->rows_dot(queries, QUERIES, rows, ROWS, dim, scores);
    for (size_t i = 0; i < QUERIES * ROWS; i++) {
        check_dot(scores[i], queries + i / ROWS * dim, rows + i % ROWS * dim, dim);
    }
    float *laid_out = floats((ROWS + 15) / 16 * 16 * dim);
    kernels->rows_lay_out(rows, ROWS, dim, laid_out);
    kernels->rows_multiply(queries, QUERIES, laid_out, ROWS, dim, scores);
    for (size_t i = 0; i < QUERIES * ROWS; i++) {
        check_dot(scores[i], queries + i / ROWS * dim, rows + i % ROWS * dim, dim);
    }
    free(laid_out);
    for (size_t i = 0; i < ROWS * dim; i++) {
        halves[i] = upper_half(rows[i]);
        copies[i] = value_of(halves[i]);
    }
    kernels->rows_dot_bfloat16(queries, QUERIES, halves, ROWS, dim, scores);
    for (size_t i = 0; i < QUERIES * ROWS; i++) {
        check_dot(scores[i], queries + i / ROWS * dim, copies + i % ROWS * dim, dim);
    }
    for (size_t i = 0; i < ROWS * dim; i++) {
        scales[i / dim] = exp2f((float)(i / dim % 5)); /* powers of two: the product with a byte is exact */
        bytes[i] = (int8_t)(tandem_random_below(random, 255) - 127);
        copies[i] = scales[i / dim] * bytes[i];
    }
    kernels->rows_dot_int8(queries, QUERIES, bytes, scales, ROWS, dim, scores);
    for (size_t i = 0; i < QUERIES * ROWS; i++) {
        check_dot(scores[i], queries + i / ROWS * dim, copies + i % ROWS * dim, dim);
    }
    free(queries);
    free(rows);
    free(copies);
    free(halves);
    free(bytes);
}

static void test_rows(void **state)
{
    (void)state;
    tandem_random random = tandem_random_stream(1, "rows", 0);
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        for (size_t dim = 1; dim < WIDEST; dim += dim < 70 ? 1 : 17) {
            check_rows(tandem_search_kernels_of((tandem_isa)isa), &random, dim);
        }
    }
}

/* Every instruction set gives the same bits, and the sum is right within the roundings in double. */
static void test_exact(void **state)
{
    (void)state;
    tandem_random random = tandem_random_stream(2, "exact", 0);
    for (size_t dim = 1; dim < WIDEST; dim++) {
        float *a = random_floats(&random, dim, 1), *b = random_floats(&random, dim, 1);
        double expected = tandem_search_kernels_of(TANDEM_ISA_PORTABLE)->dot_exact(a, b, dim), sum = 0;
        for (size_t i = 0; i < dim; i++) {
            sum += (double)a[i] * (double)b[i];
        }
        assert_true(fabs(sum - expected) <= (double)dim * DBL_EPSILON * (double)dim);
        for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
            double found = tandem_search_kernels_of((tandem_isa)isa)->dot_exact(a, b, dim);
            assert_memory_equal(&found, &expected, sizeof found);
        }
        free(a);
        free(b);
    }
}

/* Scores with repeats, so that some are equal to the least that is kept. */
static void fill_scores(tandem_random *random, float *scores, size_t count)
{
    const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < count; i++) {
        scores[i] = (float)tandem_random_below(random, 9) - 4;
        if (tandem_random_below(random, 10) == 0) {
            scores[i] = special[tandem_random_below(random, 5)];
        }
    }
}

static void check_keep(const tandem_search_kernels *kernels, const float *scores, const uint32_t *names, size_t count, float least)
{
    enum { ROOM = WIDEST + TANDEM_SIFT_SLACK };
    float kept[ROOM + 1];
    uint32_t documents[ROOM + 1];
    const uint32_t first = 4000000000u;
    size_t expected = 0, room;
    for (size_t i = 0; i < count; i++) {
        expected += scores[i] >= least;
    }
    room = expected + TANDEM_SIFT_SLACK;
    kept[room] = 12345;
    documents[room] = 12345;
    assert_int_equal(kernels->scores_count(scores, count, least), expected);
    assert_int_equal(kernels->scores_keep(scores, names, first, count, least, kept, documents), expected);
    for (size_t i = 0, at = 0; i < count; i++) {
        if (scores[i] >= least) {
            assert_memory_equal(&kept[at], &scores[i], sizeof *kept);
            assert_int_equal(documents[at], names ? names[i] : first + (uint32_t)i);
            at++;
        }
    }
    assert_true(kept[room] == 12345 && documents[room] == 12345);
}

static void check_keep_in_place(const tandem_search_kernels *kernels, const float *scores, const uint32_t *names, size_t count, float least)
{
    float expected[WIDEST + TANDEM_SIFT_SLACK], found[WIDEST + TANDEM_SIFT_SLACK];
    uint32_t expected_names[WIDEST + TANDEM_SIFT_SLACK], found_names[WIDEST + TANDEM_SIFT_SLACK];
    memcpy(found, scores, count * sizeof *found);
    memcpy(found_names, names, count * sizeof *found_names);
    size_t kept = kernels->scores_keep(scores, names, 0, count, least, expected, expected_names);
    assert_int_equal(kernels->scores_keep(found, found_names, 0, count, least, found, found_names), kept);
    assert_memory_equal(found, expected, kept * sizeof *found);
    assert_memory_equal(found_names, expected_names, kept * sizeof *found_names);
}

static void test_sifting(void **state)
{
    (void)state;
    tandem_random random = tandem_random_stream(3, "scores", 0);
    const float bounds[] = {-INFINITY, -2, 0, 3, 4, INFINITY};
    for (int isa = TANDEM_ISA_PORTABLE; isa <= (int)tandem_machine_isa(); isa++) {
        const tandem_search_kernels *kernels = tandem_search_kernels_of((tandem_isa)isa);
        for (size_t count = 0; count < WIDEST; count++) {
            float scores[WIDEST];
            uint32_t names[WIDEST];
            fill_scores(&random, scores, count);
            for (size_t i = 0; i < count; i++) {
                names[i] = (uint32_t)(i * 7 + 1);
            }
            for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
                check_keep(kernels, scores, NULL, count, bounds[i]);
                check_keep(kernels, scores, names, count, bounds[i]);
                check_keep_in_place(kernels, scores, names, count, bounds[i]);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_sifting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
