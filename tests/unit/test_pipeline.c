/* What a pipeline tells of itself: percentiles, the front of a sweep, snippets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/bm25.h"
#include "tandem/pipeline.h"

static void test_percentiles(void **state)
{
    (void)state;
    double seconds[200];
    tandem_latency latency;
    for (size_t i = 0; i < 200; i++) {
        seconds[i] = (double)((i * 77) % 200) + 1; /* 1 .. 200 in another order */
    }
    assert_int_equal(tandem_latency_of(&latency, seconds, 200), 0);
    assert_true(latency.p50 == 100 && latency.p90 == 180 && latency.p99 == 198);
    assert_float_equal(latency.mean, 100.5, 1e-9); /* 200 roundings of numbers below 101 */
    assert_true(seconds[1] == 78);                 /* the times stay as they are */
    assert_int_equal(tandem_latency_of(&latency, seconds, 1), 0);
    assert_true(latency.p50 == 1 && latency.p99 == 1 && latency.mean == 1);
    assert_int_equal(tandem_latency_of(&latency, seconds, 0), 0);
    assert_true(latency.p99 == 0);
}

static void test_front(void **state)
{
    (void)state;
    const double quality[] = {0.5, 0.7, 0.7, 0.6, 0.8, 0.7, 0.5}, cost[] = {1, 3, 4, 5, 9, 3, 1};
    const bool expected[] = {true, true, false, false, true, false, false}; /* the last two repeat others */
    bool front[7];
    tandem_pareto_front(front, quality, cost, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(front[i], expected[i]);
    }
}

static void expect_snippet(const char *text, const char *query, size_t width, const char *expected)
{
    const tandem_text whole = {"d", text, strlen(text)}, asked = {"q", query, strlen(query)};
    size_t start, length;
    assert_int_equal(tandem_snippet(&start, &length, &whole, &asked, width, TANDEM_ANALYZER_ENGLISH), 0);
    assert_true(start + length <= whole.length);
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(text + start, expected, length);
}

static void test_snippets(void **state)
{
    (void)state;
    const char *text = "Cats sleep. Dogs bark at night, and a cat runs from barking dogs until morning comes.";
    expect_snippet(text, "dog cat running", 30, "a cat runs from barking dogs"); /* by stems */
    expect_snippet(text, "sleeping", 20, "Cats sleep. Dogs");
    expect_snippet(text, "morning", 24, "until morning comes.");
    expect_snippet(text, "the zebra", 16, "Cats sleep. Dogs"); /* nothing found: the beginning */
    expect_snippet(text, "dog", 1000, text);
    expect_snippet("one incomprehensibilities two", "incomprehensibility", 5, "incomprehensibilities"); /* a whole word */
    expect_snippet("", "dog", 10, "");
    expect_snippet("\u00E4\u00F6\u00FC \u00E4\u00F6\u00FC", "dog", 4, ""); /* no character is cut */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_front),
        cmocka_unit_test(test_snippets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
