/* Normal forms, grapheme clusters, charsmaps and patterns, on cases from the standards. That they
 * do what the library does is shown by tests/parity/test_unicode.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/graphemes.h"
#include "data/precompiled.h"
#include "data/split_pattern.h"
#include "tandem/memory.h"

enum { MAX = 32 };

/* ---- normal forms ------------------------------------------------------------------------ */
typedef struct {
    uint32_t given[MAX]; /* up to a 0, as the others */
    uint32_t forms[4][MAX];
} form_case;

static size_t count_of(const uint32_t *chars)
{
    size_t count = 0;
    while (chars[count]) {
        count++;
    }
    return count;
}

/* Unicode Standard Annex #15, figures 3 to 6, and the standard's section 3.12. */
static const form_case form_cases[] = {
    {{0x212B}, {{0xC5}, {0x41, 0x30A}, {0xC5}, {0x41, 0x30A}}},
    {{0x2126}, {{0x3A9}, {0x3A9}, {0x3A9}, {0x3A9}}},
    {{0xF4}, {{0xF4}, {0x6F, 0x302}, {0xF4}, {0x6F, 0x302}}},
    {{0x1E69}, {{0x1E69}, {0x73, 0x323, 0x307}, {0x1E69}, {0x73, 0x323, 0x307}}},
    {{0x1E0B, 0x323}, {{0x1E0D, 0x307}, {0x64, 0x323, 0x307}, {0x1E0D, 0x307}, {0x64, 0x323, 0x307}}},
    {{0x71, 0x307, 0x323}, {{0x71, 0x323, 0x307}, {0x71, 0x323, 0x307}, {0x71, 0x323, 0x307}, {0x71, 0x323, 0x307}}},
    {{0xFB01}, {{0xFB01}, {0xFB01}, {0x66, 0x69}, {0x66, 0x69}}},
    {{0x32, 0x2075}, {{0x32, 0x2075}, {0x32, 0x2075}, {0x32, 0x35}, {0x32, 0x35}}},
    {{0xD4DB}, {{0xD4DB}, {0x1111, 0x1171, 0x11B6}, {0xD4DB}, {0x1111, 0x1171, 0x11B6}}},
    {{0x1111, 0x1171, 0x11B6}, {{0xD4DB}, {0x1111, 0x1171, 0x11B6}, {0xD4DB}, {0x1111, 0x1171, 0x11B6}}},
    {{0x958}, {{0x915, 0x93C}, {0x915, 0x93C}, {0x915, 0x93C}, {0x915, 0x93C}}}, /* excluded from composition */
};

static void assert_form(const form_case *row, tandem_normal_form form, tandem_changes *changes)
{
    const uint32_t *expected = row->forms[form];
    assert_int_equal(tandem_normal_form_apply(form, row->given, count_of(row->given), changes), 0);
    assert_int_equal(changes->count, count_of(expected));
    int64_t used = 0;
    for (size_t i = 0; i < changes->count; i++) {
        assert_int_equal(changes->items[i].c, expected[i]);
        used += 1 - (changes->items[i].change > 0 ? 1 : changes->items[i].change);
    }
    assert_int_equal(used, count_of(row->given)); /* all that came in is used up */
}

static void normal_forms(void **state)
{
    (void)state;
    tandem_changes changes = {0};
    for (size_t i = 0; i < sizeof form_cases / sizeof *form_cases; i++) {
        for (int form = TANDEM_NFC; form <= TANDEM_NFKD; form++) {
            assert_form(&form_cases[i], (tandem_normal_form)form, &changes);
        }
    }
    tandem_changes_free(&changes);
}

/* Marks of two classes alternate in a run that sorting by insertion would take hours for. */
static void long_run_of_marks(void **state)
{
    (void)state;
    enum { MARKS = 2000000 };
    tandem_changes changes = {0};
    uint32_t *chars = tandem_alloc(MARKS, sizeof *chars);
    for (size_t i = 0; i < MARKS; i++) {
        chars[i] = i % 2 == 0 ? 0x301 : 0x323;
    }
    assert_int_equal(tandem_normal_form_apply(TANDEM_NFC, chars, MARKS, &changes), 0);
    assert_int_equal(changes.count, MARKS);
    for (size_t i = 0; i < MARKS; i++) {
        assert_int_equal(changes.items[i].c, i < MARKS / 2 ? 0x323 : 0x301);
    }
    free(chars);
    tandem_changes_free(&changes);
}

/* Any two inert code points stay as they are, in both orders, beside each other. */
static void inert(void **state)
{
    (void)state;
    tandem_changes changes = {0};
    uint32_t before = 'a';
    for (int form = TANDEM_NFC; form <= TANDEM_NFKD; form++) {
        size_t others = 0;
        for (uint32_t c = 1; c < 0x110000; c++) {
            if ((c >= 0xD800 && c < 0xE000) || !tandem_normal_form_is_inert((tandem_normal_form)form, c)) {
                others++;
                continue;
            }
            const uint32_t chars[] = {before, c, 'e', c};
            assert_int_equal(tandem_normal_form_apply((tandem_normal_form)form, chars, 4, &changes), 0);
            assert_int_equal(changes.count, 4);
            for (size_t i = 0; i < 4; i++) {
                assert_int_equal(changes.items[i].c, chars[i]);
                assert_int_equal(changes.items[i].change, 0);
            }
            before = c;
        }
        assert_in_range(others, 2048 + 900, 2048 + 20000); /* surrogates, marks and what decomposes */
    }
    assert_true(tandem_normal_form_is_inert(TANDEM_NFC, 0xE9));
    assert_false(tandem_normal_form_is_inert(TANDEM_NFD, 0xE9));
    assert_false(tandem_normal_form_is_inert(TANDEM_NFC, 0x301));
    assert_false(tandem_normal_form_is_inert(TANDEM_NFC, 0x1161));
    tandem_changes_free(&changes);
}

/* ---- grapheme clusters --------------------------------------------------------------------- */
/* Examples of Unicode Standard Annex #29, table 1a and sections 3 and 3.1. */
static void graphemes(void **state)
{
    (void)state;
    static const struct {
        uint32_t chars[MAX];
        size_t length;
    } cases[] = {
        {{'g', 0x308, 'a'}, 2},
        {{0xAC01, 'a'}, 1},
        {{0x1100, 0x1161, 0x11A8, 0x1100}, 3},
        {{0xAC00, 0x11A8, 0x1161}, 2},
        {{0xE01, 0xE33}, 2},
        {{0xBA8, 0xBBF, 'a'}, 2},
        {{0x915, 0x94D, 0x937, 0x93F, 0x915}, 4}, /* a conjunct */
        {{0x915, 0x93C, 0x937}, 2},               /* no linker, no conjunct */
        {{0x915, 0x94D, 0x200D, 0x937}, 4},
        {{'\r', '\n', 'a'}, 2},
        {{'\n', '\r'}, 1},
        {{'\r', 0x308}, 1},
        {{0x1F1E6, 0x1F1E7, 0x1F1E8}, 2}, /* flags are pairs */
        {{0x1F468, 0x200D, 0x1F469, 0x200D, 0x1F467, 'a'}, 5},
        {{0x1F476, 0x1F3FF, 0x200D, 0x1F6D1}, 4},
        {{'a', 0x200D, 0x1F6D1}, 2}, /* the joiner follows no picture */
        {{0x600, '1', '2'}, 2},
        {{0x600, '\n'}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(tandem_grapheme_length(cases[i].chars, count_of(cases[i].chars)), cases[i].length);
    }
}

/* ---- charsmaps ------------------------------------------------------------------------------ */
/* A table with the keys "a" for "xy", "b" for nothing and CR LF for a space: units by hand. */
static size_t write_table(uint8_t *bytes)
{
    enum { UNITS = 1024, LEAF = 256, AFTER_CR = 512, LEAF_CRLF = 768 };
    static const char replacements[] = "xy\0\0 ";
    uint32_t *units = tandem_alloc(UNITS, sizeof *units);
    units['a'] = 1U << 8 | 'a' | (uint32_t)('a' ^ LEAF) << 10;
    units[LEAF] = 1U << 31;
    units['b'] = 1U << 8 | 'b' | (uint32_t)('b' ^ (LEAF + 1)) << 10;
    units[LEAF + 1] = 1U << 31 | 3;
    units['\r'] = '\r' | (uint32_t)('\r' ^ AFTER_CR) << 10;
    units[AFTER_CR ^ '\n'] = 1U << 8 | '\n' | (uint32_t)(AFTER_CR ^ '\n' ^ LEAF_CRLF) << 10;
    units[LEAF_CRLF] = 1U << 31 | 4;
    for (size_t i = 0; i <= UNITS; i++) {
        uint32_t value = i == 0 ? UNITS * 4 : units[i - 1];
        for (size_t k = 0; k < 4; k++) {
            bytes[4 * i + k] = (uint8_t)(value >> 8 * k);
        }
    }
    memcpy(bytes + 4 + 4 * UNITS, replacements, sizeof replacements);
    free(units);
    return 4 + 4 * UNITS + sizeof replacements;
}

static char *base64(const uint8_t *bytes, size_t size)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = tandem_alloc(size / 3 * 4 + 5, 1);
    for (size_t i = 0, at = 0; i < size; i += 3) {
        uint32_t bits = (uint32_t)bytes[i] << 16;
        bits |= i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0;
        bits |= i + 2 < size ? bytes[i + 2] : 0;
        for (size_t k = 0; k < 4; k++) {
            text[at++] = i + k > size ? '=' : alphabet[bits >> (18 - 6 * k) & 63];
        }
    }
    return text;
}

static void assert_changes(const tandem_precompiled *map, const char *text, const tandem_changed_char *expected,
                           size_t count)
{
    uint32_t chars[MAX];
    size_t length = strlen(text), given = 0;
    tandem_changes changes = {0};
    for (size_t at = 0; at < length; given++) {
        at += tandem_unicode_decode(text + at, length - at, &chars[given]);
    }
    assert_int_equal(tandem_precompiled_apply(map, chars, given, &changes), 0);
    assert_int_equal(changes.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(changes.items[i].c, expected[i].c);
        assert_int_equal(changes.items[i].change, expected[i].change);
    }
    tandem_changes_free(&changes);
}

static void precompiled(void **state)
{
    (void)state;
    uint8_t bytes[8192];
    size_t size = write_table(bytes);
    char *text = base64(bytes, size);
    tandem_precompiled *map = NULL;
    assert_int_equal(tandem_precompiled_new(&map, text, strlen(text), "test"), 0);
    const bool *plain = tandem_precompiled_inert(map);
    assert_false(plain['a'] || plain['b'] || plain['\r']);
    assert_true(plain['c'] && plain['\n'] && plain[0]);

    assert_changes(map, "ca", (tandem_changed_char[]){{'c', 0}, {'x', 0}, {'y', 1}}, 3);
    assert_changes(map, "cb", (tandem_changed_char[]){{'c', -1}}, 1);
    assert_changes(map, "bc", (tandem_changed_char[]){{'c', 0}}, 1); /* nothing before it to remember b */
    assert_changes(map, "ab", (tandem_changed_char[]){{'x', 0}, {'y', 0}}, 2); /* 1 - 1 */
    assert_changes(map, "c\r\n\r", (tandem_changed_char[]){{'c', 0}, {' ', -1}, {'\r', 0}}, 3);
    /* The key "a" begins the cluster and replaces all of it. */
    assert_changes(map, "a\xCC\x81", (tandem_changed_char[]){{'x', 0}, {'y', 0}}, 2);
    /* Of 6 bytes, it is looked up code point by code point. */
    assert_changes(map, "a\xCC\x81\xE2\x83\x90",
                   (tandem_changed_char[]){{'x', 0}, {'y', 1}, {0x301, 0}, {0x20D0, 0}}, 4);
    tandem_precompiled_free(map);
    free(text);
}

static void assert_no_table(const uint8_t *bytes, size_t size, const char *expected)
{
    char *text = base64(bytes, size);
    tandem_precompiled *map = NULL;
    assert_true(tandem_precompiled_new(&map, text, strlen(text), "file.json") < 0);
    assert_null(map);
    assert_non_null(strstr(tandem_error_message(), expected));
    assert_non_null(strstr(tandem_error_message(), "file.json"));
    free(text);
}

static void malformed_tables(void **state)
{
    (void)state;
    uint8_t bytes[8192];
    size_t size = write_table(bytes);
    tandem_precompiled *map = NULL;
    static const char *const texts[] = {"A", "AA==A", "AB==", "AAB=", "====", "AA=A", "A*AA"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_true(tandem_precompiled_new(&map, texts[i], strlen(texts[i]), "x") < 0);
        assert_non_null(strstr(tandem_error_message(), "base64"));
    }
    assert_true(tandem_precompiled_new(&map, "AA==", 4, "x") < 0); /* sound base64 of one byte */
    assert_non_null(strstr(tandem_error_message(), "trie"));
    assert_no_table(bytes, 0, "trie");
    assert_no_table(bytes, 3, "trie");
    assert_no_table(bytes, 4 + 4 * 1024 - 1, "trie");
    bytes[size - 1] = 0xFF;
    assert_no_table(bytes, size, "UTF-8");
}

/* A trie that leads outside is found out when it does. */
static void trie_leads_outside(void **state)
{
    (void)state;
    static const struct {
        size_t unit;
        uint32_t value;
        const char *message;
    } cases[] = {
        {'a', 1U << 8 | 'a' | 1U << 9 | 0xFFFFU << 10, "unit"},
        {256, 1U << 31 | 7, "replacement"},
        {0, 1U << 9 | 0xFFFFU << 10, "unit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[8192];
        size_t size = write_table(bytes);
        for (size_t k = 0; k < 4; k++) {
            bytes[4 + 4 * cases[i].unit + k] = (uint8_t)(cases[i].value >> 8 * k);
        }
        char *text = base64(bytes, size);
        tandem_precompiled *map = NULL;
        tandem_changes changes = {0};
        assert_int_equal(tandem_precompiled_new(&map, text, strlen(text), "test"), 0);
        assert_true(tandem_precompiled_apply(map, (const uint32_t[]){'a'}, 1, &changes) < 0);
        assert_non_null(strstr(tandem_error_message(), cases[i].message));
        tandem_changes_free(&changes);
        tandem_precompiled_free(map);
        free(text);
    }
}

/* ---- patterns ------------------------------------------------------------------------------- */
/* The matches of a pattern as "[a][b]". */
static int matches(const char *pattern, bool regex, const char *text, char *out, size_t room)
{
    tandem_pattern *made = NULL;
    tandem_match match = {0};
    size_t used = 0;
    int rc = tandem_pattern_new(&made, pattern, strlen(pattern), regex, "file.json");
    while (rc >= 0 && (rc = tandem_pattern_next(made, text, strlen(text), &match)) > 0) {
        used += (size_t)snprintf(out + used, room - used, "[%.*s]", (int)(match.end - match.begin), text + match.begin);
    }
    out[used] = '\0';
    tandem_pattern_free(made);
    return rc;
}

static void assert_matches(const char *pattern, bool regex, const char *text, const char *expected)
{
    char out[256];
    assert_int_equal(matches(pattern, regex, text, out, sizeof out), 0);
    assert_string_equal(out, expected);
}

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static void patterns(void **state)
{
    (void)state;
    assert_matches("(.)", false, "a(.)b.", "[(.)]");
    assert_matches("aa", false, "aaaaa", "[aa][aa]");
    assert_matches("", false, "", "");
    assert_matches("", false, "ab", "[][][]");
    assert_matches("x*", true, "axxb", "[][xx][]"); /* an empty match never follows another directly */
    assert_matches("^", true, "a\nb\n", "[][]");    /* at lines, as in Ruby */
    assert_matches(GPT2, true, "I'll  pay 20\xE2\x82\xAC, \n ok ",
                   "[I]['ll][ ][ pay][ 20][\xE2\x82\xAC,][ \n][ ok][ ]");
    assert_matches("(?:" GPT2 ")", true, "I'll  pay 20\xE2\x82\xAC, \n ok ", /* the same by PCRE2 */
                   "[I]['ll][ ][ pay][ 20][\xE2\x82\xAC,][ \n][ ok][ ]");
    assert_matches(" {2,}", true, "a b  c   d", "[  ][   ]");
    assert_matches("\\d{1,3}", true, "1234567", "[123][456][7]");
    assert_matches("[a-c]+|\xC3\xA9", true, "abcd\xC3\xA9", "[abc][\xC3\xA9]");
    /* A{1,2}+ is (?:A{1,2})+ in Ruby, but possessive in PCRE2: refused. */
    char out[256];
    assert_true(matches("a{1,2}+", true, "a", out, sizeof out) < 0);
    assert_non_null(strstr(tandem_error_message(), "file.json: regular expression \"a{1,2}+\", byte 1"));
}

static void assert_pieces(size_t (*split)(const char *, size_t, size_t), const char *text, const char *expected)
{
    char out[256];
    size_t used = 0;
    for (size_t at = 0, end; at < strlen(text); at = end) {
        end = split(text, strlen(text), at);
        assert_true(end > at);
        used += (size_t)snprintf(out + used, sizeof out - used, "[%.*s]", (int)(end - at), text + at);
    }
    assert_string_equal(out, expected);
}

static void direct_matchers(void **state)
{
    (void)state;
    const char *text = "You'RE 1234 \n\n  (ok)\r\n!x";
    assert_pieces(tandem_split_gpt2, text, "[You]['][RE][ 1234][ \n\n ][ (][ok][)][\r][\n][!][x]");
    assert_pieces(tandem_split_cl100k, text, "[You]['RE][ ][123][4][ \n\n][ ][ (][ok][)\r\n][!x]");
    assert_pieces(tandem_split_qwen2, text, "[You]['RE][ ][1][2][3][4][ \n\n][ ][ (][ok][)\r\n][!x]");
    size_t at = 0;
    assert_int_equal(tandem_split_whitespace("  a_1+-b ", 9, &at), 5);
    assert_int_equal(at, 2);
    at = 5;
    assert_int_equal(tandem_split_whitespace("  a_1+-b ", 9, &at), 7);
    assert_int_equal(at, 5);
    at = 8;
    tandem_split_whitespace("  a_1+-b ", 9, &at);
    assert_int_equal(at, 9);
}

/* Without a limit, this takes 2 to the power of 40 steps. */
static void catastrophic_pattern(void **state)
{
    (void)state;
    char out[256];
    assert_true(matches("(?:a+)+\\z", true, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", out, sizeof out) < 0);
    assert_non_null(strstr(tandem_error_message(), "match limit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_forms),      cmocka_unit_test(long_run_of_marks),
        cmocka_unit_test(inert),             cmocka_unit_test(graphemes),
        cmocka_unit_test(precompiled),       cmocka_unit_test(malformed_tables),
        cmocka_unit_test(trie_leads_outside), cmocka_unit_test(patterns),
        cmocka_unit_test(direct_matchers),   cmocka_unit_test(catastrophic_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
