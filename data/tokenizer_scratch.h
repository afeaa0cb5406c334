/* tokenizer_scratch.h - private to data/: what changes while a text is tokenized.
 *
 * Positions are counted in code points of the text, from 0. Every code point that a
 * normalizer writes stems from exactly one of the text, its origin; a token covers the
 * text from the origin of its first code point to that of its last.
 */
#ifndef TANDEM_DATA_TOKENIZER_SCRATCH_H
#define TANDEM_DATA_TOKENIZER_SCRATCH_H

#include "data/tokenizer_parts.h"

enum {
    TANDEM_CACHE_KEY = 24,    /* bytes of the longest word that is cached */
    TANDEM_CACHE_PIECES = 6,  /* tokens that a cached word may have */
    TANDEM_CACHE_ROWS = 16384 /* a power of two */
};

/* A word that was seen, with its tokens; pieces 0: an empty row. */
typedef struct {
    uint64_t key[TANDEM_CACHE_KEY / 8]; /* its bytes, zeros after them */
    uint32_t ids[TANDEM_CACHE_PIECES];
    uint8_t ends[TANDEM_CACHE_PIECES]; /* bytes of the word up to the end of each piece */
    uint8_t length, pieces;
} tandem_cached_word;

/* The word under construction. One code point more than the model takes is stored;
 * those that follow are only counted. */
typedef struct {
    unsigned char *bytes;
    size_t length, chars;
    uint32_t *origins; /* [chars] when offsets are wanted */
    uint32_t last;     /* origin of the last code point, stored or not */
} tandem_word;

/* A combining mark that waits for the end of its run, to be put in canonical order. */
typedef struct {
    uint32_t code_point; /* or TANDEM_MARK_DROPPED */
    uint32_t place;      /* in the run */
    uint8_t combining;
    bool first; /* it took the place of a code point, rather than following another */
} tandem_mark;

#define TANDEM_MARK_DROPPED UINT32_MAX

struct tandem_token_scratch {
    uint64_t serial; /* of the tokenizer that the word and the cache are made for */
    size_t limit;    /* tokens beyond it are counted, but not kept */
    bool offsets;
    tandem_word word;
    size_t max_chars;     /* of a word, as the model has it */
    uint32_t *piece_ends; /* [max_chars] */
    tandem_cached_word *cache;

    tandem_mark *marks;
    size_t mark_count, mark_capacity;
    uint32_t *mark_origins;
    size_t mark_origin_count, mark_origin_capacity;
    uint32_t mark_base; /* origin of the code point before the run */

    /* Normalized text, where added tokens are looked for in it. */
    char *normal;
    uint32_t *normal_origins; /* [normal_length], one a byte */
    size_t normal_length, normal_capacity, normal_origin_capacity;

    uint32_t *ids, *starts, *ends;
    size_t capacity, start_capacity, end_capacity;
    size_t count; /* tokens kept */
    size_t total; /* tokens of the text so far */
};

/* Makes room for `more` tokens. */
int tandem_token_scratch_reserve(tandem_token_scratch *scratch, size_t more);
/* Takes `more` tokens that were written after the last one, up to the limit. */
static inline void tandem_token_scratch_count(tandem_token_scratch *scratch, size_t more)
{
    scratch->total += more;
    scratch->count = scratch->count + more < scratch->limit ? scratch->count + more : scratch->limit;
}

/* ---- wordpiece.c: tokens of the word, which is then empty again -------------------- */
int tandem_wordpiece_end_word(const tandem_wordpiece *model, tandem_token_scratch *scratch);

/* ---- bert_text.c --------------------------------------------------------------------- */
/* Normalizes `length` bytes that begin at `position`, and adds the tokens of their words. */
int tandem_bert_tokenize(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                         size_t length, uint32_t position);
/* Normalizes into scratch->normal, replacing what was there. */
int tandem_bert_normalize(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                          size_t length, uint32_t position);
/* Adds the tokens of the words in bytes [begin, end) of scratch->normal. */
int tandem_bert_tokenize_normal(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, size_t begin,
                                size_t end);

#endif
