/* unicode.h - private to data/: what Hugging Face tokenizers does with each code point.
 *
 * The tables (unicode_tables.c) are measured from that library by
 * scripts/generate_unicode.py, because it mixes tables of several Unicode versions. Two
 * stages: the high bits of a code point choose a block of 256, the low eight a row of it.
 */
#ifndef TANDEM_DATA_UNICODE_H
#define TANDEM_DATA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TANDEM_UNICODE_CONTROL = 1,     /* clean_text drops it (U+0000 and U+FFFD too) */
    TANDEM_UNICODE_SPACE = 2,       /* White_Space: separates words, and is part of none */
    TANDEM_UNICODE_PUNCTUATION = 4, /* a word of its own */
    TANDEM_UNICODE_IDEOGRAPH = 8,   /* handle_chinese_chars puts spaces around it */
    TANDEM_UNICODE_WORD = 16,       /* \w of Rust's regex crate */
    TANDEM_UNICODE_DOT = 32         /* its lowercase is followed by U+0307 (U+0130 alone) */
};

typedef struct {
    int32_t lower;     /* to be added to the code point for its lowercase */
    uint8_t flags;     /* TANDEM_UNICODE_ bits */
    uint8_t combining; /* canonical combining class of what it decomposes to first */
} tandem_unicode_record;

enum { TANDEM_UNICODE_KEPT_MAX = 4, TANDEM_UNICODE_REPLACEMENT = 0xFFFD };

extern const tandem_unicode_record tandem_unicode_records[];
extern const uint8_t tandem_unicode_record_stage[], tandem_unicode_record_blocks[];
extern const uint8_t tandem_unicode_kept_stage[];
extern const uint16_t tandem_unicode_kept_blocks[];
extern const uint32_t tandem_unicode_kept[]; /* runs: a count, then as many code points */

/* `code_point` is at most U+10FFFF. */
static inline const tandem_unicode_record *tandem_unicode_find(uint32_t code_point)
{
    size_t block = tandem_unicode_record_stage[code_point >> 8];
    return &tandem_unicode_records[tandem_unicode_record_blocks[block << 8 | (code_point & 0xFF)]];
}

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
