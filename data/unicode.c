/* unicode.c - UTF-8 in and out, decomposition and composition. */
#include "data/unicode.h"

enum {
    HANGUL_BASE = 0xAC00,
    HANGUL_COUNT = 11172,
    LEADING_BASE = 0x1100,
    LEADING_COUNT = 19,
    VOWEL_BASE = 0x1161,
    VOWEL_COUNT = 21,
    TRAILING_BASE = 0x11A7, /* one below the first: none */
    TRAILING_COUNT = 28,
    PER_LEADING = VOWEL_COUNT * TRAILING_COUNT
};

/* Unicode standard, section 3.12. */
static size_t decompose_hangul(uint32_t index, uint32_t *out)
{
    out[0] = LEADING_BASE + index / PER_LEADING;
    out[1] = VOWEL_BASE + index % PER_LEADING / TRAILING_COUNT;
    out[2] = TRAILING_BASE + index % TRAILING_COUNT;
    return index % TRAILING_COUNT == 0 ? 2 : 3;
}

static uint32_t compose_hangul(uint32_t first, uint32_t second)
{
    if (first - LEADING_BASE < LEADING_COUNT && second - VOWEL_BASE < VOWEL_COUNT) {
        return HANGUL_BASE + (first - LEADING_BASE) * PER_LEADING + (second - VOWEL_BASE) * TRAILING_COUNT;
    }
    bool open = first - HANGUL_BASE < HANGUL_COUNT && (first - HANGUL_BASE) % TRAILING_COUNT == 0;
    return open && second - TRAILING_BASE - 1 < TRAILING_COUNT - 1 ? first + second - TRAILING_BASE : 0;
}

const uint32_t *tandem_unicode_decomposition(uint32_t code_point, bool compatible, size_t *count, uint32_t jamo[3])
{
    if (code_point - HANGUL_BASE < HANGUL_COUNT) {
        *count = decompose_hangul(code_point - HANGUL_BASE, jamo);
        return jamo;
    }
    const uint8_t *stage = compatible ? tandem_unicode_compatible_stage : tandem_unicode_canonical_stage;
    size_t block = stage[code_point >> 8];
    size_t place = tandem_unicode_decomposition_blocks[block << 8 | (code_point & 0xFF)];
    if (place == 0) {
        return NULL;
    }
    *count = tandem_unicode_decompositions[place];
    return tandem_unicode_decompositions + place + 1;
}

uint32_t tandem_unicode_compose(uint32_t first, uint32_t second)
{
    size_t low = 0, high = tandem_unicode_pair_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const tandem_unicode_pair *pair = &tandem_unicode_pairs[middle];
        if (pair->second == second && pair->first == first) {
            return pair->composed;
        }
        bool before = pair->second != second ? pair->second < second : pair->first < first;
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    return compose_hangul(first, second);
}

size_t tandem_unicode_decompose(uint32_t code_point, uint32_t out[TANDEM_UNICODE_KEPT_MAX])
{
    uint32_t jamo[3];
    size_t count = 1, kept = 0;
    const uint32_t *parts = tandem_unicode_decomposition(code_point, false, &count, jamo);
    if (!parts) {
        parts = &code_point;
    }
    for (size_t i = 0; i < count; i++) {
        if (!(tandem_unicode_find(parts[i])->flags & TANDEM_UNICODE_NONSPACING)) {
            out[kept++] = parts[i];
        }
    }
    return kept;
}

/* ---- UTF-8 ----------------------------------------------------------------------- */
/* What may follow the first byte: how many bytes, and the range of the second, which
 * rules out overlong forms, surrogates and what lies above U+10FFFF (RFC 3629). */
typedef struct {
    uint8_t rest, low, high;
} sequence_shape;

static sequence_shape shape_of(unsigned char first)
{
    if (first < 0xC2 || first > 0xF4) {
        return (sequence_shape){0, 0, 0};
    }
    if (first < 0xE0) {
        return (sequence_shape){1, 0x80, 0xBF};
    }
    if (first < 0xF0) {
        return (sequence_shape){2, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF};
    }
    return (sequence_shape){3, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF};
}

size_t tandem_unicode_decode(const char *text, size_t length, uint32_t *code_point)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) {
        *code_point = s[0];
        return 1;
    }
    sequence_shape shape = shape_of(s[0]);
    uint32_t value = s[0] & (0x3FU >> shape.rest);
    for (size_t i = 1; i <= shape.rest; i++) {
        if (i == length || s[i] < (i == 1 ? shape.low : 0x80) || s[i] > (i == 1 ? shape.high : 0xBF)) {
            *code_point = TANDEM_UNICODE_REPLACEMENT;
            return i;
        }
        value = value << 6 | (s[i] & 0x3F);
    }
    *code_point = shape.rest ? value : TANDEM_UNICODE_REPLACEMENT;
    return 1U + shape.rest;
}

size_t tandem_unicode_decode_before(const char *text, size_t at, uint32_t *code_point)
{
    for (size_t back = at < 4 ? at : 4; back > 1; back--) {
        if (tandem_unicode_decode(text + at - back, back, code_point) == back) {
            return back;
        }
    }
    return tandem_unicode_decode(text + at - 1, 1, code_point);
}

size_t tandem_unicode_encode(uint32_t code_point, char out[4])
{
    unsigned char *s = (unsigned char *)out;
    if (code_point < 0x80) {
        s[0] = (unsigned char)code_point;
        return 1;
    }
    size_t rest = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
    for (size_t i = rest; i > 0; i--) {
        s[i] = (unsigned char)(0x80 | (code_point & 0x3F));
        code_point >>= 6;
    }
    s[0] = (unsigned char)((0xF00U >> (rest + 1) & 0xF0) | code_point);
    return rest + 1;
}
