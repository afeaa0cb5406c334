/* Packed batches: what a builder holds, and that a plan is a partition within its budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/batch.h"
#include "tandem/random.h"

static void add(tandem_batch_builder *builder, const int32_t *ids, const int32_t *types, size_t length)
{
    int32_t *to, *types_to;
    assert_int_equal(tandem_batch_builder_add(builder, length, &to, &types_to), TANDEM_OK);
    for (size_t i = 0; i < length; i++) {
        assert_int_equal(types_to[i], 0); /* zeroed, also when the memory was used before */
        to[i] = ids[i];
        types_to[i] = types == NULL ? 0 : types[i];
    }
}

static void test_builder(void **state)
{
    (void)state;
    const int32_t ids[] = {11, 12, 13, 14}, types[] = {0, 0, 1, 1};
    tandem_batch_builder *builder = tandem_batch_builder_new();
    assert_non_null(builder);
    tandem_batch batch = tandem_batch_builder_view(builder);
    assert_int_equal(batch.count, 0);
    assert_int_equal(batch.total, 0);
    assert_int_equal(batch.offsets[0], 0);

    add(builder, ids, NULL, 3);
    add(builder, ids + 1, types + 1, 3);
    batch = tandem_batch_builder_view(builder);
    assert_int_equal(batch.count, 2);
    assert_int_equal(batch.total, 6);
    const int32_t all_ids[] = {11, 12, 13, 12, 13, 14}, all_types[] = {0, 0, 0, 0, 1, 1}, offsets[] = {0, 3, 6};
    assert_memory_equal(batch.ids, all_ids, sizeof all_ids);
    assert_memory_equal(batch.type_ids, all_types, sizeof all_types);
    assert_memory_equal(batch.offsets, offsets, sizeof offsets);

    tandem_batch_builder_clear(builder);
    add(builder, ids, NULL, 4);
    batch = tandem_batch_builder_view(builder);
    assert_int_equal(batch.count, 1);
    assert_int_equal(batch.total, 4);
    assert_null(batch.type_ids);
    tandem_batch_builder_free(builder);
    tandem_batch_builder_free(NULL);
}

static void test_builder_grows(void **state)
{
    (void)state;
    tandem_batch_builder *builder = tandem_batch_builder_new();
    for (int32_t s = 0; s < 1000; s++) {
        int32_t ids[50];
        for (int32_t i = 0; i < 50; i++) {
            ids[i] = s * 50 + i;
        }
        add(builder, ids, NULL, (size_t)(s % 50));
    }
    tandem_batch batch = tandem_batch_builder_view(builder);
    assert_int_equal(batch.count, 1000);
    for (size_t s = 0; s < batch.count; s++) {
        assert_int_equal(batch.offsets[s + 1] - batch.offsets[s], s % 50);
        for (int32_t at = batch.offsets[s]; at < batch.offsets[s + 1]; at++) {
            assert_int_equal(batch.ids[at], (int32_t)s * 50 + at - batch.offsets[s]);
        }
    }
    tandem_batch_builder_free(builder);
}

/* Offsets are 32-bit integers. */
static void test_builder_limit(void **state)
{
    (void)state;
    int32_t *ids, *types;
    tandem_batch_builder *builder = tandem_batch_builder_new();
    add(builder, (const int32_t[]){1}, NULL, 1);
    assert_int_equal(tandem_batch_builder_add(builder, INT32_MAX, &ids, &types), TANDEM_ERROR);
    assert_non_null(strstr(tandem_error_message(), "2147483647"));
    assert_int_equal(tandem_batch_builder_view(builder).count, 1);
    tandem_batch_builder_free(builder);
}

/* Checks what batch.h says of a plan, for any lengths. */
static void check_plan(const uint32_t *lengths, size_t count, size_t budget, size_t window)
{
    tandem_batch_plan plan;
    assert_int_equal(tandem_batch_plan_make(&plan, lengths, count, budget, window), TANDEM_OK);
    char *seen = calloc(count + 1, 1);
    assert_int_equal(plan.starts[0], 0);
    assert_int_equal(plan.starts[plan.batches], count);
    for (size_t b = 0; b < plan.batches; b++) {
        size_t tokens = 0;
        assert_true(plan.starts[b + 1] > plan.starts[b]);
        for (size_t i = plan.starts[b]; i < plan.starts[b + 1]; i++) {
            assert_false(seen[plan.order[i]]);
            seen[plan.order[i]] = 1;
            tokens += lengths[plan.order[i]];
        }
        assert_true(tokens <= budget || plan.starts[b + 1] - plan.starts[b] == 1);
        /* The next sequence would not have fitted. */
        assert_true(b + 1 == plan.batches || tokens + lengths[plan.order[plan.starts[b + 1]]] > budget);
    }
    for (size_t i = 0; i < count; i++) {
        size_t at_window = window == 0 ? 0 : i / window;
        assert_true(seen[i]);
        assert_true(window == 0 || plan.order[i] / window == at_window);
        if (i > 0 && (window == 0 || i % window != 0)) {
            uint32_t before = plan.order[i - 1], here = plan.order[i];
            assert_true(lengths[before] > lengths[here] || (lengths[before] == lengths[here] && before < here));
        }
    }
    free(seen);
    tandem_batch_plan_free(&plan);
    assert_null(plan.order);
}

static void test_plan(void **state)
{
    (void)state;
    uint32_t lengths[997];
    tandem_random random = tandem_random_stream(1, "plan", 0);
    for (size_t i = 0; i < 997; i++) {
        lengths[i] = 1 + (uint32_t)tandem_random_below(&random, 300);
    }
    check_plan(lengths, 997, 4096, 0);
    check_plan(lengths, 997, 4096, 100);
    check_plan(lengths, 997, 4096, SIZE_MAX);
    check_plan(lengths, 997, 1, 10); /* nothing fits: one sequence a batch */
    check_plan(lengths, 997, SIZE_MAX, 0);
    check_plan(lengths, 1, 10, 0);
}

static void test_plan_of_nothing(void **state)
{
    (void)state;
    tandem_batch_plan plan;
    assert_int_equal(tandem_batch_plan_make(&plan, NULL, 0, 100, 0), TANDEM_OK);
    assert_int_equal(plan.batches, 0);
    assert_int_equal(plan.starts[0], 0);
    tandem_batch_plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builder),       cmocka_unit_test(test_builder_grows), cmocka_unit_test(test_builder_limit),
        cmocka_unit_test(test_plan),          cmocka_unit_test(test_plan_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
