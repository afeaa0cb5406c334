/* precompiled.c - replacements by SentencePiece's table. */
#include "data/precompiled.h"

#include <stdlib.h>
#include <string.h>

#include "data/graphemes.h"
#include "tandem/memory.h"

enum { WHOLE_MAX = 5 }; /* bytes of a cluster that is looked up whole */

/* Bits of a unit. */
#define LEAF (1U << 31)
#define HAS_LEAF (1U << 8)
#define FAR_OFFSET (1U << 9)

struct tandem_precompiled {
    char *source;
    uint32_t *units; /* the trie */
    size_t unit_count;
    char *replacements;
    size_t replacements_length;
    bool inert[128];
};

/* ---- base64 (RFC 4648, with padding, as strict as Rust's base64 crate) ------------------- */
static int base64_digit(unsigned char c)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(alphabet, c) : NULL;
    return found ? (int)(found - alphabet) : -1;
}

/* Writes up to length / 4 * 3 bytes to `out`, and adds how many to *size. */
static int decode_base64(const char *text, size_t length, uint8_t *out, size_t *size, const char *source)
{
    if (length % 4 != 0) {
        return tandem_error("%s: precompiled_charsmap: base64 of %zu characters, which is no multiple of 4", source,
                            length);
    }
    size_t padding = 0;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=') {
        padding++;
    }
    uint32_t bits = 0; /* of the four digits of a group */
    for (size_t i = 0; i < length; i++) {
        int digit = i < length - padding ? base64_digit((unsigned char)text[i]) : 0;
        if (digit < 0) {
            return tandem_error("%s: precompiled_charsmap: character %zu is no base64", source, i);
        }
        bits = bits << 6 | (uint32_t)digit;
        for (int shift = 16; i % 4 == 3 && shift >= 0; shift -= 8) {
            out[(*size)++] = (uint8_t)(bits >> shift);
        }
    }
    if (padding > 0 && bits & (padding == 1 ? 0xFFU : 0xFFFFU)) {
        return tandem_error("%s: precompiled_charsmap: bits are set after the last byte of base64", source);
    }
    *size -= padding;
    return TANDEM_OK;
}

/* ---- the table ---------------------------------------------------------------------------- */
static uint32_t read_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static size_t unit_offset(uint32_t unit)
{
    return (size_t)(unit >> 10) << (unit & FAR_OFFSET ? 8 : 0);
}

static int broken(const tandem_precompiled *map, const char *what, size_t found, size_t size)
{
    return tandem_error("%s: precompiled_charsmap: the trie leads to %s %zu of %zu", map->source, what, found, size);
}

/* The value of the shortest key that begins `text`: 1 and the value, or 0 where there is none. */
static int find_key(const tandem_precompiled *map, const char *text, size_t length, size_t *value)
{
    size_t node = unit_offset(map->units[0]);
    for (size_t i = 0; i < length && text[i] != '\0'; i++) {
        unsigned char byte = (unsigned char)text[i];
        node ^= byte;
        if (node >= map->unit_count) {
            return broken(map, "unit", node, map->unit_count);
        }
        uint32_t unit = map->units[node];
        if ((unit & (LEAF | 0xFF)) != byte) {
            return 0;
        }
        node ^= unit_offset(unit);
        if (unit & HAS_LEAF) {
            if (node >= map->unit_count) {
                return broken(map, "unit", node, map->unit_count);
            }
            *value = map->units[node] & ~LEAF;
            return 1;
        }
    }
    return 0;
}

/* What replaces `text` in *replacement, up to its NUL: 1, or 0 where nothing does. */
static int find_replacement(const tandem_precompiled *map, const char *text, size_t length, const char **replacement)
{
    size_t value;
    int rc = find_key(map, text, length, &value);
    if (rc <= 0) {
        return rc;
    }
    if (value > map->replacements_length || ((unsigned char)map->replacements[value] & 0xC0) == 0x80) {
        return broken(map, "replacement", value, map->replacements_length);
    }
    *replacement = map->replacements + value;
    return 1;
}

static int read_table(tandem_precompiled *map, const uint8_t *bytes, size_t size)
{
    size_t trie = size >= 4 ? read_u32(bytes) : 0;
    map->unit_count = trie / 4;
    if (map->unit_count == 0 || map->unit_count * 4 > size - 4) {
        return tandem_error("%s: precompiled_charsmap: a trie of %zu bytes in a table of %zu", map->source, trie, size);
    }
    const char *replacements = (const char *)bytes + 4 + map->unit_count * 4;
    map->replacements_length = size - 4 - map->unit_count * 4;
    size_t invalid = tandem_utf8_invalid(replacements, map->replacements_length);
    if (invalid < map->replacements_length) {
        return tandem_error("%s: precompiled_charsmap: byte %zu of the replacements is no valid UTF-8", map->source,
                            invalid);
    }
    map->units = tandem_alloc(map->unit_count, sizeof *map->units);
    map->replacements = tandem_strndup(replacements, map->replacements_length);
    if (!map->units || !map->replacements) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < map->unit_count; i++) {
        map->units[i] = read_u32(bytes + 4 + 4 * i);
    }
    return TANDEM_OK;
}

static void find_inert(tandem_precompiled *map)
{
    for (unsigned i = 0; i < 128; i++) {
        const char text[2] = {(char)i, '\n'}; /* the one cluster of two that ASCII has is CR LF */
        size_t value;
        map->inert[i] = find_key(map, text, i == '\r' ? 2 : 1, &value) == 0;
    }
}

int tandem_precompiled_new(tandem_precompiled **out, const char *base64, size_t length, const char *source)
{
    *out = NULL;
    tandem_precompiled *map = tandem_alloc(1, sizeof *map);
    uint8_t *bytes = tandem_alloc(length / 4 + 1, 3);
    size_t size = 0;
    int rc = TANDEM_ERROR;
    if (!map || !bytes || !(map->source = tandem_strdup(source))) {
        goto done;
    }
    TANDEM_TRY_GOTO(rc, done, decode_base64(base64, length, bytes, &size, source));
    TANDEM_TRY_GOTO(rc, done, read_table(map, bytes, size));
    find_inert(map);
    *out = map;
    map = NULL;
done:
    free(bytes);
    tandem_precompiled_free(map);
    return rc;
}

void tandem_precompiled_free(tandem_precompiled *map)
{
    if (map) {
        free(map->source);
        free(map->units);
        free(map->replacements);
        free(map);
    }
}

const bool *tandem_precompiled_inert(const tandem_precompiled *map)
{
    return map->inert;
}

/* ---- text -------------------------------------------------------------------------------- */
static int put(tandem_changes *out, uint32_t c, int32_t change)
{
    void *items = out->items;
    int rc = tandem_grow(&items, &out->capacity, out->count + 1, sizeof *out->items);
    out->items = items;
    TANDEM_TRY(rc);
    out->items[out->count++] = (tandem_changed_char){c, change};
    return TANDEM_OK;
}

/* `replacement` for `replaced` code points: those beyond are inserted; where it is shorter, what
 * is too many goes with the last code point there is, which may be one of an earlier text. */
static int replace(tandem_changes *out, size_t replaced, const char *replacement)
{
    size_t length = strlen(replacement), count = 0;
    for (size_t at = 0; at < length; count++) {
        uint32_t c;
        at += tandem_unicode_decode(replacement + at, length - at, &c);
        TANDEM_TRY(put(out, c, 0));
    }
    for (size_t i = replaced; i < count; i++) {
        out->items[out->count - 1 - (i - replaced)].change = 1;
    }
    if (count < replaced && out->count > 0) {
        out->items[out->count - 1].change -= (int32_t)(replaced - count);
    }
    return TANDEM_OK;
}

/* Looks up `count` code points together: 1 when they were replaced. */
static int try_replace(const tandem_precompiled *map, const uint32_t *chars, size_t count, tandem_changes *out)
{
    char text[WHOLE_MAX + 4];
    size_t length = 0;
    const char *replacement = NULL;
    for (size_t i = 0; i < count; i++) {
        length += tandem_unicode_encode(chars[i], text + length);
        if (count > 1 && length > WHOLE_MAX) {
            return 0;
        }
    }
    int rc = find_replacement(map, text, length, &replacement);
    if (rc <= 0) {
        return rc;
    }
    TANDEM_TRY(replace(out, count, replacement));
    return 1;
}

static int apply_cluster(const tandem_precompiled *map, const uint32_t *chars, size_t count, tandem_changes *out)
{
    int replaced = count > 1 ? try_replace(map, chars, count, out) : 0;
    if (replaced != 0) {
        return replaced;
    }
    for (size_t i = 0; i < count; i++) {
        replaced = try_replace(map, chars + i, 1, out);
        TANDEM_TRY(replaced == 0 ? put(out, chars[i], 0) : replaced);
    }
    return TANDEM_OK;
}

int tandem_precompiled_apply(const tandem_precompiled *map, const uint32_t *chars, size_t count,
                             tandem_changes *out)
{
    out->count = 0;
    for (size_t i = 0, length; i < count; i += length) {
        bool alone = chars[i] < 0x80 && map->inert[chars[i]] && (i + 1 == count || chars[i + 1] < 0x80);
        length = alone ? 1 : tandem_grapheme_length(chars + i, count - i);
        TANDEM_TRY(alone ? put(out, chars[i], 0) : apply_cluster(map, chars + i, length, out));
    }
    return TANDEM_OK;
}
