/* analyzer.c - words and terms. */
#include "mining/analyzer.h"

#include <stdint.h>
#include <string.h>

#include "mining/porter.h"

enum { LONGEST_STEMMED = 255 };

/* ---- characters ------------------------------------------------------------------ */
typedef enum { SEPARATOR, LETTER, DIGIT, SINGLE, APOSTROPHE, FULL_STOP, COMMA, UNDERSCORE } kind;

typedef struct {
    uint32_t first, last;
} range;

/* Punctuation, symbols, spaces and controls beyond ASCII, by block. */
static const range separators[] = {
    {0x80, 0xA9},     {0xAB, 0xB4},     {0xB6, 0xB9},     {0xBB, 0xBF},     {0xD7, 0xD7},     {0xF7, 0xF7},
    {0x2C2, 0x2C5},   {0x2D2, 0x2DF},   {0x37E, 0x37E},   {0x387, 0x387},   {0x55A, 0x55F},   {0x589, 0x58F},
    {0x5BE, 0x5BE},   {0x5F3, 0x5F4},   {0x600, 0x60F},   {0x61B, 0x61F},   {0x66A, 0x66D},   {0x6D4, 0x6D4},
    {0x964, 0x965},   {0xE4F, 0xE4F},   {0xE5A, 0xE5B},   {0x1680, 0x1680}, {0x2000, 0x2070}, {0x2072, 0x207E},
    {0x2080, 0x208E}, {0x20A0, 0x20CF}, {0x2100, 0x2101}, {0x2103, 0x2106}, {0x2108, 0x2109}, {0x2116, 0x2118},
    {0x211E, 0x2123}, {0x2150, 0x215F}, {0x2190, 0x245F}, {0x2500, 0x2BFF}, {0x2E00, 0x2E7F}, {0x3000, 0x3004},
    {0x3008, 0x3020}, {0x3030, 0x3030}, {0x303D, 0x303F}, {0x30A0, 0x30A0}, {0x30FB, 0x30FB}, {0xD800, 0xF8FF},
    {0xFD3E, 0xFD3F}, {0xFE10, 0xFE1F}, {0xFE30, 0xFE6F}, {0xFEFF, 0xFEFF}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF20},
    {0xFF3B, 0xFF40}, {0xFF5B, 0xFF65}, {0xFFE0, 0xFFFF}, {0x1F000, 0x1FAFF},
};

static const range singles[] = { /* hiragana, ideographs */
    {0x3041, 0x3096}, {0x309D, 0x309F}, {0x3400, 0x4DBF}, {0x4E00, 0x9FFF}, {0xF900, 0xFAFF}, {0x20000, 0x3FFFF},
};

static bool within(const range *ranges, size_t count, uint32_t c) { /* ranges ascend */
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c > ranges[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && c >= ranges[low].first;
}

static kind kind_of(uint32_t c)
{
    if (c < 0x80) {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
            return LETTER;
        }
        if (c >= '0' && c <= '9') {
            return DIGIT;
        }
        return c == '\'' ? APOSTROPHE : c == '.' ? FULL_STOP : c == ',' ? COMMA : c == '_' ? UNDERSCORE : SEPARATOR;
    }
    if (c == 0x2019) { /* right single quotation mark, the typographic apostrophe */
        return APOSTROPHE;
    }
    if (within(separators, sizeof separators / sizeof *separators, c)) {
        return SEPARATOR;
    }
    return within(singles, sizeof singles / sizeof *singles, c) ? SINGLE : LETTER;
}

/* Lower case where upper and lower case lie at a fixed distance or alternate. */
static uint32_t lower(uint32_t c)
{
    if (c < 0x80) {
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    }
    if ((c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x391 && c <= 0x3A9) || (c >= 0x410 && c <= 0x42F)) {
        return c + 32;
    }
    if (c >= 0x400 && c <= 0x40F) {
        return c + 80;
    }
    if ((c >= 0x100 && c <= 0x12F) || (c >= 0x132 && c <= 0x137) || (c >= 0x14A && c <= 0x177) ||
        (c >= 0x460 && c <= 0x481)) {
        return c | 1;
    }
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E)) {
        return c + (c & 1);
    }
    switch (c) { /* signs that are letters: ohm, kelvin, angstrom */
    case 0x2126:
        return 0x3C9;
    case 0x212A:
        return 'k';
    case 0x212B:
        return 0xE5;
    default:
        return c;
    }
}

/* The character at the start of `text`, and its bytes: 0 at the end of the text. A byte
 * that begins no character is U+FFFD, a separator. */
static uint32_t decode(const char *text, size_t length, size_t *bytes)
{
    const unsigned char *b = (const unsigned char *)text;
    if (length == 0) {
        *bytes = 0;
        return 0;
    }
    size_t more = b[0] < 0x80 ? 0 : b[0] >= 0xF0 && b[0] < 0xF8 ? 3 : b[0] >= 0xE0 ? 2 : 1;
    uint32_t c = more == 0 ? b[0] : more == 3 ? b[0] & 7u : more == 2 ? b[0] & 15u : b[0] & 31u;
    bool valid = b[0] < 0x80 || (b[0] >= 0xC2 && b[0] < 0xF5);
    for (size_t i = 1; valid && i <= more; i++) {
        valid = i < length && (b[i] & 0xC0) == 0x80;
        c = valid ? c << 6 | (b[i] & 0x3Fu) : c;
    }
    *bytes = valid ? more + 1 : 1;
    return valid ? c : 0xFFFD;
}

/* ---- words ------------------------------------------------------------------------ */
tandem_words tandem_words_of(const char *text, size_t length)
{
    return (tandem_words){.text = text, .length = length};
}

/* Does `joint` belong to the word when it stands between `before` and `after`? */
static bool joins(kind before, kind joint, kind after)
{
    switch (joint) {
    case APOSTROPHE:
    case FULL_STOP:
        return before == after && (before == LETTER || before == DIGIT);
    case COMMA:
        return before == DIGIT && after == DIGIT;
    case UNDERSCORE:
        return after == LETTER || after == DIGIT;
    default:
        return false;
    }
}

/* Appends the character at words->at, lower-cased. */
static int take(tandem_words *words, uint32_t c, size_t bytes)
{
    uint32_t small = lower(c);
    if (words->word.length == 0) {
        words->start = words->at;
    }
    words->at += bytes;
    if (small == c) {
        return tandem_buffer_append(&words->word, words->text + words->at - bytes, bytes);
    }
    char pair[2] = {(char)small, 0}; /* ASCII, or else below U+0800: two bytes */
    if (small >= 0x80) {
        pair[0] = (char)(0xC0 | small >> 6);
        pair[1] = (char)(0x80 | (small & 0x3F));
    }
    return tandem_buffer_append(&words->word, pair, small < 0x80 ? 1 : 2);
}

int tandem_words_next(tandem_words *words)
{
    kind last = SEPARATOR;
    tandem_buffer_clear(&words->word);
    for (;;) {
        const char *rest = words->text + words->at;
        size_t left = words->length - words->at, bytes, next_bytes;
        uint32_t c = decode(rest, left, &bytes);
        kind this = kind_of(c);
        if (bytes == 0) {
            return words->word.length > 0;
        }
        if (this == LETTER || this == DIGIT) {
            TANDEM_TRY(take(words, c, bytes));
        } else if (last == SEPARATOR) { /* no word has begun */
            if (this == SINGLE) {
                TANDEM_TRY(take(words, c, bytes));
                return 1;
            }
            words->at += bytes;
            continue;
        } else if (joins(last, this, kind_of(decode(rest + bytes, left - bytes, &next_bytes)))) {
            TANDEM_TRY(take(words, c, bytes));
        } else {
            return 1;
        }
        last = this;
    }
}

/* ---- terms ------------------------------------------------------------------------- */
/* English stop words of Lucene (EnglishAnalyzer.ENGLISH_STOP_WORDS_SET), sorted. */
static const char *const stop_words[] = {
    "a",    "an",   "and", "are", "as",   "at",  "be",    "but",  "by",    "for",   "if",
    "in",   "into", "is",  "it",  "no",   "not", "of",    "on",   "or",    "such",  "that",
    "the",  "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
};

static bool is_stop_word(const char *word, size_t length)
{
    size_t low = 0, high = sizeof stop_words / sizeof *stop_words;
    if (length > 5) { /* of the longest ones */
        return false;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strncmp(word, stop_words[middle], length);
        if (order == 0 && stop_words[middle][length] == 0) {
            return true;
        }
        if (order > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

size_t tandem_word_to_term(char *word, size_t length, tandem_analyzer analyzer)
{
    if (analyzer == TANDEM_ANALYZER_STANDARD) {
        return length;
    }
    if (length >= 2 && memcmp(word + length - 2, "'s", 2) == 0) {
        length -= 2;
    } else if (length >= 4 && memcmp(word + length - 4, "\u2019s", 4) == 0) {
        length -= 4;
    }
    if (is_stop_word(word, length)) {
        return 0;
    }
    return length <= LONGEST_STEMMED ? tandem_porter_stem(word, length) : length;
}
