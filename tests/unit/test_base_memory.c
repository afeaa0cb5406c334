/* Errors, checked sizes, arena, buffer, UTF-8, string map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/error.h"
#include "tandem/memory.h"

static void error_codes_and_messages(void **state)
{
    (void)state;
    assert_int_equal(tandem_error("%s:%d: bad", "a.tsv", 3), TANDEM_ERROR);
    assert_string_equal(tandem_error_message(), "a.tsv:3: bad");
    assert_int_equal(tandem_error_code(TANDEM_NOT_FOUND, "gone"), TANDEM_NOT_FOUND);
    assert_int_equal(tandem_error_context(TANDEM_NOT_FOUND, "while reading %s", "x"), TANDEM_NOT_FOUND);
    assert_string_equal(tandem_error_message(), "while reading x: gone");
    /* The present message may be an argument of the next one. */
    tandem_error("outer (%s)", tandem_error_message());
    assert_string_equal(tandem_error_message(), "outer (while reading x: gone)");
}

static void error_messages_too_long_are_cut(void **state)
{
    (void)state;
    char *text = malloc(10001);
    memset(text, 'x', 10000);
    text[10000] = '\0';
    tandem_error("%s", text);
    size_t length = strlen(tandem_error_message());
    assert_in_range(length, 1000, 9999);
    tandem_error_context(TANDEM_ERROR, "context");
    assert_memory_equal(tandem_error_message(), "context: xxx", 12);
    free(text);
}

static void sizes_overflow(void **state)
{
    (void)state;
    size_t out = 7;
    assert_false(tandem_size_mul(&out, SIZE_MAX / 2, 3));
    assert_false(tandem_size_add(&out, SIZE_MAX, 1));
    assert_int_equal(out, 7); /* untouched */
    assert_true(tandem_size_mul(&out, SIZE_MAX / 3, 3));
    assert_true(tandem_size_add(&out, SIZE_MAX - 1, 1));
    assert_true(out == SIZE_MAX);

    assert_null(tandem_alloc(SIZE_MAX / 4, 5));
    assert_non_null(strstr(tandem_error_message(), "out of memory"));
    void *pointer = tandem_alloc(0, 8);
    assert_non_null(pointer);
    void *before = pointer;
    assert_int_equal(tandem_realloc(&pointer, SIZE_MAX / 4, 5), TANDEM_ERROR);
    assert_ptr_equal(pointer, before);
    free(pointer);
}

static void growth_is_geometric(void **state)
{
    (void)state;
    void *items = NULL;
    size_t capacity = 0, reallocations = 0;
    for (size_t needed = 1; needed <= 100000; needed++) {
        size_t old = capacity;
        assert_int_equal(tandem_grow(&items, &capacity, needed, sizeof(int)), 0);
        assert_true(capacity >= needed);
        reallocations += capacity != old;
    }
    assert_in_range(reallocations, 1, 40);
    size_t held = capacity;
    assert_int_equal(tandem_grow(&items, &capacity, SIZE_MAX / 2, sizeof(int)), TANDEM_ERROR);
    assert_int_equal(capacity, held);
    free(items);
}

static void arena_aligns_and_reuses(void **state)
{
    (void)state;
    tandem_arena *arena = tandem_arena_new();
    char *first = tandem_arena_strndup(arena, "abc", 2);
    assert_string_equal(first, "ab");
    for (size_t i = 1; i < 3000; i++) {
        unsigned char *bytes = tandem_arena_alloc(arena, i, 3);
        assert_int_equal((uintptr_t)bytes % 16, 0);
        memset(bytes, 0xEE, 3 * i); /* AddressSanitizer sees an overrun of the block */
    }
    assert_string_equal(first, "ab"); /* nothing moved, nothing overlapped */
    size_t held = tandem_arena_bytes(arena);
    assert_true(held >= 3000u * 2999u / 2 * 3);
    tandem_arena_reset(arena);
    for (size_t i = 1; i < 3000; i++) {
        assert_non_null(tandem_arena_alloc(arena, i, 3));
    }
    assert_int_equal(tandem_arena_bytes(arena), held); /* the same work needs no more memory */
    assert_null(tandem_arena_alloc(arena, SIZE_MAX / 2, 3));
    assert_null(tandem_arena_alloc(arena, SIZE_MAX, 1));
    tandem_arena_free(arena);
    tandem_arena_free(NULL);
}

static void buffer_appends(void **state)
{
    (void)state;
    tandem_buffer buffer = TANDEM_BUFFER_INIT;
    assert_int_equal(tandem_buffer_append(&buffer, "a\0b", 3), 0);
    assert_int_equal(tandem_buffer_printf(&buffer, "%05d", 42), 0);
    assert_int_equal(buffer.length, 8);
    assert_memory_equal(buffer.data, "a\0b00042", 9); /* NUL-terminated */
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(tandem_buffer_puts(&buffer, "xyz"), 0);
    }
    assert_int_equal(buffer.length, 30008);
    tandem_buffer_clear(&buffer);
    assert_int_equal(buffer.length, 0);
    assert_string_equal(buffer.data, "");
    tandem_buffer_puts(&buffer, "end");
    char *taken = tandem_buffer_take(&buffer);
    assert_string_equal(taken, "end");
    assert_null(buffer.data);
    free(taken);
    tandem_buffer_free(&buffer);
}

/* RFC 8259, section 7: what must be escaped. */
static void json_strings_are_escaped(void **state)
{
    (void)state;
    tandem_buffer buffer = TANDEM_BUFFER_INIT;
    static const char text[] = "a\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa9\0z";
    assert_int_equal(tandem_buffer_json_string(&buffer, text, sizeof text - 1), 0);
    assert_string_equal(buffer.data, "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9\\u0000z\"");
    tandem_buffer_clear(&buffer);
    assert_int_equal(tandem_buffer_json_string(&buffer, "\xff!\xc3", 3), 0);
    assert_string_equal(buffer.data, "\"\xEF\xBF\xBD!\xEF\xBF\xBD\"");
    tandem_buffer_free(&buffer);
}

/* Boundaries of RFC 3629, section 4; `at` is the offset that is reported. */
static void utf8_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t length, at;
    } vectors[] = {
        {"", 0, 0},
        {"plain ASCII, more than eight bytes", 34, 34},
        {"\xC2\x80\xDF\xBF", 4, 4},
        {"\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF", 12, 12},
        {"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 8, 8},
        {"a\0b", 3, 3},
        {"\x80", 1, 0},                         /* continuation first */
        {"abc\xC1\xBF", 5, 3},                  /* overlong */
        {"\xE0\x9F\xBF", 3, 0},                 /* overlong */
        {"\xF0\x8F\xBF\xBF", 4, 0},             /* overlong */
        {"\xED\xA0\x80", 3, 0},                 /* surrogate */
        {"\xF4\x90\x80\x80", 4, 0},             /* above U+10FFFF */
        {"\xF5\x80\x80\x80", 4, 0},
        {"\xFE", 1, 0},
        {"twelve bytes\xE2\x82", 14, 12},       /* cut short */
        {"\xE2\x82\x28", 3, 0},
        {"\xF0\x9F\x98\x28", 4, 0},
        {"1234567\xC3\xA9 and then \xC3\x28", 21, 19},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        assert_int_equal(tandem_utf8_invalid(vectors[i].text, vectors[i].length), vectors[i].at);
    }
}

static void strmap_holds_many_keys(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    static char keys[COUNT][12];
    tandem_strmap *map = tandem_strmap_new(10); /* it has to grow */
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(keys[i], sizeof keys[i], "d%zu", i);
        assert_int_equal(tandem_strmap_add(map, keys[i], strlen(keys[i]), i * 3, NULL), 1);
    }
    assert_int_equal(tandem_strmap_count(map), COUNT);
    size_t value = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(tandem_strmap_find(map, keys[i], strlen(keys[i]), &value));
        assert_int_equal(value, i * 3);
    }
    assert_false(tandem_strmap_find(map, "d100000", 7, &value));
    assert_false(tandem_strmap_find(map, "d1", 1, NULL)); /* lengths count: "d" is no key */
    assert_int_equal(tandem_strmap_add(map, "d17", 3, 5, &value), 0);
    assert_int_equal(value, 51); /* the first value stays */
    assert_int_equal(tandem_strmap_add(map, "", 0, 9, NULL), 1);
    assert_true(tandem_strmap_find(map, NULL, 0, &value));
    assert_int_equal(value, 9);
    tandem_strmap_free(map);
    tandem_strmap_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_codes_and_messages),
        cmocka_unit_test(error_messages_too_long_are_cut),
        cmocka_unit_test(sizes_overflow),
        cmocka_unit_test(growth_is_geometric),
        cmocka_unit_test(arena_aligns_and_reuses),
        cmocka_unit_test(buffer_appends),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(utf8_vectors),
        cmocka_unit_test(strmap_holds_many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
