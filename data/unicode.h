/* unicode.h - private to data/: what Hugging Face tokenizers does with each code point.
 *
 * The tables (unicode_tables.c) are measured from that library by
 * scripts/generate_unicode.py, because it mixes tables of several Unicode versions: 8 and 9 for
 * the normalizers, 16 for regular expressions, 17 for grapheme clusters. Two stages: the
 * high bits of a code point choose a block of 256, the low eight a row of it.
 */
#ifndef TANDEM_DATA_UNICODE_H
#define TANDEM_DATA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TANDEM_UNICODE_CONTROL = 1,      /* clean_text drops it (U+0000 and U+FFFD too) */
    TANDEM_UNICODE_SPACE = 2,        /* White_Space: separates words, and is part of none; \s everywhere */
    TANDEM_UNICODE_PUNCTUATION = 4,  /* a word of its own (BertPreTokenizer, Punctuation) */
    TANDEM_UNICODE_IDEOGRAPH = 8,    /* handle_chinese_chars puts spaces around it */
    TANDEM_UNICODE_WORD = 16,        /* \w of Rust's regex crate (single_word, Whitespace) */
    TANDEM_UNICODE_DOT = 32,         /* its lowercase is followed by U+0307 (U+0130 alone) */
    TANDEM_UNICODE_NONSPACING = 64,  /* strip_accents of BertNormalizer drops it */
    TANDEM_UNICODE_MARK = 128,       /* StripAccents drops it */
    TANDEM_UNICODE_NUMERIC = 256,    /* Digits splits at it */
    TANDEM_UNICODE_REGEX_WORD = 512, /* [\w] of a regular expression in tokenizer.json */
    TANDEM_UNICODE_FOLLOWS = 1024,   /* may compose with the code point before it */
    TANDEM_UNICODE_INERT_NFC = 2048, /* normal_forms.h */
    TANDEM_UNICODE_INERT_NFKC = 4096
};

/* General categories, as regular expressions in tokenizer.json (Oniguruma) see them. */
typedef enum {
    TANDEM_CATEGORY_CN, TANDEM_CATEGORY_LU, TANDEM_CATEGORY_LL, TANDEM_CATEGORY_LT, TANDEM_CATEGORY_LM,
    TANDEM_CATEGORY_LO, TANDEM_CATEGORY_MN, TANDEM_CATEGORY_MC, TANDEM_CATEGORY_ME, TANDEM_CATEGORY_ND,
    TANDEM_CATEGORY_NL, TANDEM_CATEGORY_NO, TANDEM_CATEGORY_PC, TANDEM_CATEGORY_PD, TANDEM_CATEGORY_PS,
    TANDEM_CATEGORY_PE, TANDEM_CATEGORY_PI, TANDEM_CATEGORY_PF, TANDEM_CATEGORY_PO, TANDEM_CATEGORY_SM,
    TANDEM_CATEGORY_SC, TANDEM_CATEGORY_SK, TANDEM_CATEGORY_SO, TANDEM_CATEGORY_ZS, TANDEM_CATEGORY_ZL,
    TANDEM_CATEGORY_ZP, TANDEM_CATEGORY_CC, TANDEM_CATEGORY_CF, TANDEM_CATEGORY_CO
} tandem_unicode_category;

/* Sets of them: \p{L}, \p{M}, ... */
#define TANDEM_CATEGORY_BIT(name) (1U << TANDEM_CATEGORY_##name)
#define TANDEM_CATEGORIES(first, last) ((TANDEM_CATEGORY_BIT(last) << 1) - TANDEM_CATEGORY_BIT(first))
#define TANDEM_CATEGORIES_L TANDEM_CATEGORIES(LU, LO)
#define TANDEM_CATEGORIES_M TANDEM_CATEGORIES(MN, ME)
#define TANDEM_CATEGORIES_N TANDEM_CATEGORIES(ND, NO)
#define TANDEM_CATEGORIES_P TANDEM_CATEGORIES(PC, PO)
#define TANDEM_CATEGORIES_S TANDEM_CATEGORIES(SM, SO)
#define TANDEM_CATEGORIES_Z TANDEM_CATEGORIES(ZS, ZP)
#define TANDEM_CATEGORIES_C (TANDEM_CATEGORIES(CC, CO) | TANDEM_CATEGORY_BIT(CN))

typedef struct {
    int32_t lower;     /* to be added to the code point for its lowercase */
    uint16_t flags;    /* TANDEM_UNICODE_ bits */
    uint8_t combining; /* canonical combining class of what it decomposes to first */
    uint8_t category;
} tandem_unicode_record;

/* `second` after `first` composes (NFC); sorted by second, then first. */
typedef struct {
    uint32_t second, first, composed;
} tandem_unicode_pair;

enum { TANDEM_UNICODE_KEPT_MAX = 4, TANDEM_UNICODE_REPLACEMENT = 0xFFFD };

extern const tandem_unicode_record tandem_unicode_records[];
extern const uint8_t tandem_unicode_record_stage[], tandem_unicode_record_blocks[];
extern const uint8_t tandem_unicode_canonical_stage[], tandem_unicode_compatible_stage[];
extern const uint16_t tandem_unicode_decomposition_blocks[];
extern const uint32_t tandem_unicode_decompositions[]; /* runs: a count, then as many code points */
extern const size_t tandem_unicode_pair_count;
extern const tandem_unicode_pair tandem_unicode_pairs[];
extern const uint8_t tandem_unicode_break_stage[], tandem_unicode_break_blocks[]; /* graphemes.c */

/* `code_point` is at most U+10FFFF, here and below. */
static inline const tandem_unicode_record *tandem_unicode_find(uint32_t code_point)
{
    size_t block = tandem_unicode_record_stage[code_point >> 8];
    return &tandem_unicode_records[tandem_unicode_record_blocks[block << 8 | (code_point & 0xFF)]];
}

/* Its full decomposition (NFD, or NFKD with `compatible`): the code points, and how many in
 * *count; `jamo` holds those of a Hangul syllable. NULL where it stays as it is. */
const uint32_t *tandem_unicode_decomposition(uint32_t code_point, bool compatible, size_t *count, uint32_t jamo[3]);

/* The code point that two compose to in NFC, or 0. */
uint32_t tandem_unicode_compose(uint32_t first, uint32_t second);

/* What is left of a code point once it is decomposed (NFD) and rid of its nonspacing
 * marks: writes it to `out` and returns how many code points it is, perhaps none. */
size_t tandem_unicode_decompose(uint32_t code_point, uint32_t out[TANDEM_UNICODE_KEPT_MAX]);

/* The code point at the start of `text`; `length` is at least 1. Returns its bytes. Where
 * none begins, gives U+FFFD and the bytes that it stands for: the longest start of a
 * valid sequence, or one byte (Unicode standard, 3.9, table 3-8; Rust and Python too). */
size_t tandem_unicode_decode(const char *text, size_t length, uint32_t *code_point);

/* The same for the code point that ends before text[at]; `at` is at least 1. */
size_t tandem_unicode_decode_before(const char *text, size_t at, uint32_t *code_point);

/* Writes 1 to 4 bytes of UTF-8 and returns how many. */
size_t tandem_unicode_encode(uint32_t code_point, char out[4]);

#endif
