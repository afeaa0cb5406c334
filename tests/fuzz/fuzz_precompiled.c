/* fuzz_precompiled.c - any bytes as a charsmap and as a text for it, and as a pattern: an error,
 * or changes that use up the text, and matches in order. */
#include <stdlib.h>
#include <string.h>

#include "data/precompiled.h"
#include "data/split_pattern.h"
#include "fuzz.h"
#include "tandem/memory.h"

/* The table: u16 of its bytes, these, then a text. It leads from "a" to "xy". */
#define UNIT(value) \
    (char)((value)&255), (char)((value) >> 8 & 255), (char)((value) >> 16 & 255), (char)((value) >> 24 & 255)

static const char table_seed[] = {
    48, 0, UNIT(40), UNIT(0x60 << 10), UNIT('a' | 1 << 8 | 2 << 10), UNIT(0), UNIT(1U << 31), UNIT(0), UNIT(0), UNIT(0),
    UNIT(0), UNIT(0), UNIT(0), 'x', 'y', 0, 0, 'a', 'b', 'a', '\r', '\n', 'a', (char)0xCC, (char)0x81,
};

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    {table_seed, sizeof table_seed},
    TANDEM_FUZZ_SEED("\\s+(?!\\S)|[^\\s\\p{L}]{1,3}|(?i:'s|'t)\na b  c's\n"),
    TANDEM_FUZZ_SEED("[a-z\\x{e9}\\u00e8]++|(?<=a)\\bb{,3}|\\p{^Lu}\nabc bbb"),
    {NULL, 0},
};

static void check_table(const char *base64, size_t length, const uint8_t *text, size_t size)
{
    tandem_precompiled *map = NULL;
    if (tandem_precompiled_new(&map, base64, length, "input") < 0) {
        return;
    }
    uint32_t *chars = malloc((size + 1) * sizeof *chars);
    size_t count = 0;
    tandem_changes changes = {0};
    for (size_t at = 0; at < size; count++) {
        at += tandem_unicode_decode((const char *)text + at, size - at, &chars[count]);
    }
    if (tandem_precompiled_apply(map, chars, count, &changes) == 0) {
        int64_t used = 0;
        for (size_t i = 0; i < changes.count; i++) {
            int32_t change = changes.items[i].change;
            used += change > 0 ? 0 : 1 - (int64_t)change;
        }
        if (used > (int64_t)count) {
            abort();
        }
    }
    tandem_changes_free(&changes);
    tandem_precompiled_free(map);
    free(chars);
}

static char *to_base64(const uint8_t *bytes, size_t size, size_t *length)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc(size / 3 * 4 + 4);
    *length = 0;
    for (size_t i = 0; i < size; i += 3) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++) {
            bits = bits << 8 | (i + k < size ? bytes[i + k] : 0);
        }
        for (size_t k = 0; k < 4; k++) {
            text[(*length)++] = i + k > size ? '=' : alphabet[bits >> (18 - 6 * k) & 63];
        }
    }
    return text;
}

static void check_pattern(const char *pattern, size_t length, bool regex, const char *text, size_t size)
{
    tandem_pattern *made = NULL;
    tandem_match match = {0};
    if (tandem_pattern_new(&made, pattern, length, regex, "input") < 0) {
        return;
    }
    size_t last = 0;
    while (tandem_pattern_next(made, text, size, &match) > 0) {
        if (match.begin < last || match.end < match.begin || match.end > size ||
            tandem_utf8_invalid(text + match.begin, match.end - match.begin) < match.end - match.begin) {
            abort();
        }
        last = match.end;
    }
    tandem_pattern_free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    check_table(bytes, size, data, size);
    if (size >= 2) {
        size_t table = (size_t)data[0] | (size_t)data[1] << 8, length;
        table = table < size - 2 ? table : size - 2;
        char *base64 = to_base64(data + 2, table, &length);
        check_table(base64, length, data + 2 + table, size - 2 - table);
        free(base64);
    }
    const char *line = size > 0 ? memchr(bytes, '\n', size) : NULL;
    if (line && tandem_utf8_invalid(bytes, size) == size) {
        size_t pattern = (size_t)(line - bytes), rest = size - pattern - 1;
        check_pattern(bytes, pattern, true, line + 1, rest);
        check_pattern(bytes, pattern, false, line + 1, rest);
    }
    return 0;
}
