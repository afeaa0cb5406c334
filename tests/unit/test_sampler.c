/* Epoch orders, and what training makes of groups: examples, known positives, masks. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "train/examples.h"

/* ---- order -------------------------------------------------------------------------- */
enum { COUNT = 1000 };

static void test_order_is_a_permutation(void **state)
{
    (void)state;
    uint32_t order[COUNT];
    bool seen[COUNT] = {false};

    tandem_epoch_order(order, COUNT, 13, 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(order[i] < COUNT);
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
    }
}

static void test_order_depends_on_seed_and_epoch_alone(void **state)
{
    (void)state;
    uint32_t a[COUNT], b[COUNT], other_epoch[COUNT], other_seed[COUNT];

    tandem_epoch_order(a, COUNT, 13, 2);
    tandem_epoch_order(other_epoch, COUNT, 13, 3);
    tandem_epoch_order(other_seed, COUNT, 14, 2);
    tandem_epoch_order(b, COUNT, 13, 2);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, other_epoch, sizeof a);
    assert_memory_not_equal(a, other_seed, sizeof a);
}

/* ---- groups --------------------------------------------------------------------------- */
static void begin(tandem_groups *groups, const char *id, const char *query)
{
    assert_int_equal(tandem_groups_begin(groups, id, query, strlen(query)), 0);
}

static void add(tandem_groups *groups, bool positive, const char *text, float score)
{
    assert_int_equal(tandem_groups_add(groups, positive, text, text, strlen(text), score), 0);
}

/* Two groups share the query "red"; "blue" lists its own text, a known positive of
 * another group with its text, and two usable negatives; "green" has no negative. */
static tandem_groups *some_groups(void)
{
    tandem_groups *groups = NULL;

    assert_int_equal(tandem_groups_new(&groups), 0);
    begin(groups, "q1", "red");
    add(groups, true, "rose", 0.9F);
    add(groups, true, "ruby", 0.8F);
    add(groups, false, "sky", 0.5F);
    begin(groups, "q2", "red");
    add(groups, true, "blood", 0.7F);
    add(groups, false, "ruby", 0.6F);
    add(groups, false, "grass", 0.4F);
    begin(groups, "q3", "blue");
    add(groups, true, "sky", NAN);
    add(groups, false, "blue", 0.9F);
    add(groups, false, "sky", 0.8F);
    add(groups, false, "rose", 0.3F);
    add(groups, false, "grass", 0.2F);
    begin(groups, "q4", "green");
    add(groups, true, "grass", 0.5F);
    assert_int_equal(tandem_groups_finish(groups), 0);
    return groups;
}

static tandem_examples *make(const tandem_groups *groups, size_t negatives, bool needs_negatives)
{
    tandem_examples *examples = NULL;
    tandem_examples_options options = {negatives, needs_negatives, false};

    assert_int_equal(tandem_examples_new(&examples, groups, NULL, &options), 0);
    return examples;
}

static void test_one_example_a_positive(void **state)
{
    (void)state;
    tandem_groups *groups = some_groups();
    tandem_examples *examples = make(groups, 8, false);

    assert_int_equal(examples->count, 5);
    assert_int_equal(examples->skipped, 0);
    assert_int_equal(examples->query_count, 3);    /* red, blue, green */
    assert_int_equal(examples->document_count, 6); /* rose ruby sky blood grass blue */
    assert_int_equal(examples->items[0].query, examples->items[2].query);
    assert_true(examples->items[1].positive_score == 0.8F);
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

/* A listed negative that is a positive of the query elsewhere, or its own text, is none. */
static void test_known_positives_are_no_negatives(void **state)
{
    (void)state;
    tandem_groups *groups = some_groups();
    tandem_examples *examples = make(groups, 1, false);
    const tandem_example *red = &examples->items[2], *blue = &examples->items[3];

    assert_int_equal(red->negative_count, 1);
    assert_true(red->negative_scores[0] == 0.4F); /* grass: ruby is a positive of the other "red" */
    assert_int_equal(blue->negative_count, 1);
    assert_true(blue->negative_scores[0] == 0.3F); /* rose: blue and sky are not usable */
    tandem_examples_free(examples);

    examples = make(groups, 8, false);
    assert_int_equal(examples->items[3].negative_count, 2);
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

static void test_groups_without_negatives_are_counted(void **state)
{
    (void)state;
    tandem_groups *groups = some_groups();
    tandem_examples *examples = make(groups, 2, true);

    assert_int_equal(examples->count, 4);
    assert_int_equal(examples->skipped, 1);
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

static void test_missing_score_is_named(void **state)
{
    (void)state;
    tandem_groups *groups = some_groups();
    tandem_examples *examples = NULL;
    tandem_examples_options options = {2, false, true};

    assert_true(tandem_examples_new(&examples, groups, NULL, &options) < 0);
    assert_non_null(strstr(tandem_error_message(), "group 3 (query q3): passage sky"));
    tandem_groups_free(groups);
}

/* The batch red/rose, blue/sky, red/blood with the negatives sky and grass. */
static void test_mask(void **state)
{
    (void)state;
    tandem_groups *groups = some_groups();
    tandem_examples *examples = make(groups, 1, false);
    const tandem_example *item = examples->items;
    uint32_t queries[3] = {item[0].query, item[3].query, item[2].query};
    uint32_t documents[5] = {item[0].positive, item[3].positive, item[2].positive, item[0].negatives[0], item[2].negatives[0]};
    bool masked[15];
    const bool expected[15] = {
        0, 0, 1, 0, 0, /* red: blood is another positive of it */
        0, 0, 0, 1, 0, /* blue: the negative sky is its positive's text */
        1, 0, 0, 0, 0, /* red again: rose */
    };

    tandem_examples_mask(masked, examples, queries, 3, documents, 5);
    assert_memory_equal(masked, expected, sizeof masked);
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

static tandem_hash hash_of_pair(const char *query, const char *positive, float score)
{
    tandem_groups *groups = NULL;
    tandem_hash hash;

    assert_int_equal(tandem_groups_new(&groups), 0);
    begin(groups, "q", query);
    add(groups, true, positive, score);
    assert_int_equal(tandem_groups_finish(groups), 0);
    assert_int_equal(tandem_groups_hash(&hash, groups), 0);
    tandem_groups_free(groups);
    return hash;
}

static void test_hash_sees_texts_and_scores(void **state)
{
    (void)state;
    tandem_hash hash = hash_of_pair("white", "snow", 0.5F), scoreless = hash_of_pair("white", "snow", NAN);

    assert_true(tandem_hash_equal(hash, hash_of_pair("white", "snow", 0.5F)));
    assert_true(tandem_hash_equal(scoreless, hash_of_pair("white", "snow", NAN)));
    assert_false(tandem_hash_equal(hash, scoreless));
    assert_false(tandem_hash_equal(hash, hash_of_pair("whit", "esnow", 0.5F)));
    assert_false(tandem_hash_equal(hash, hash_of_pair("white", "milk", 0.5F)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_is_a_permutation),
        cmocka_unit_test(test_order_depends_on_seed_and_epoch_alone),
        cmocka_unit_test(test_one_example_a_positive),
        cmocka_unit_test(test_known_positives_are_no_negatives),
        cmocka_unit_test(test_groups_without_negatives_are_counted),
        cmocka_unit_test(test_missing_score_is_named),
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_hash_sees_texts_and_scores),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
