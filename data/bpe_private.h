/* bpe_private.h - the insides of the BPE model: bpe.c cuts words, bpe_merge.c merges their
 * symbols, bpe_read.c reads the model. */
#ifndef TANDEM_DATA_BPE_PRIVATE_H
#define TANDEM_DATA_BPE_PRIVATE_H

#include "data/bpe.h"

#define BPE_SPACE "\xE2\x96\x81" /* U+2581, what Metaspace makes of a space */

enum {
    BPE_SPACE_LENGTH = sizeof BPE_SPACE - 1,
    BPE_LONGEST_WORD = 1 << 29 /* so that no position in it passes 32 bits */
};

/* Two neighbours that become one. */
typedef struct {
    uint64_t pair; /* left id << 32 | right id */
    uint32_t rank; /* lower ones are applied first */
    uint32_t id;   /* of the result; TANDEM_NO_TOKEN: an empty slot */
} bpe_merge;

/* What the alphabet of ByteLevel makes of a byte. */
typedef struct {
    char text[2];
    uint8_t length;
    uint32_t id; /* of the token that is just this character, or TANDEM_NO_TOKEN */
} bpe_visible;

struct tandem_bpe {
    tandem_token_ids vocab;
    bpe_merge *merges; /* open addressing */
    size_t merge_mask; /* slots, a power of two, less one */
    char *unk_token, *prefix, *suffix; /* each may be NULL */
    size_t prefix_length, suffix_length;
    uint32_t unk_id;
    bool byte_level, fuse_unk, byte_fallback, ignore_merges;
    bool apart; /* nothing merges across the beginning of a run of U+2581: see bpe_read.c */
    bpe_visible visible[256];
    uint32_t fallback[256]; /* of the tokens <0x00> to <0xFF> */
    tandem_hash hash;
};

typedef struct {
    uint32_t id, length;
} bpe_symbol;

typedef struct {
    uint32_t previous, next;
} bpe_link;

typedef struct {
    uint32_t rank, position, id;
} bpe_candidate;

struct tandem_bpe_scratch {
    tandem_word_cache cache;
    tandem_buffer spelled;
    bpe_symbol *symbols;
    size_t count, capacity;
    bpe_link *links; /* of long words: neighbours of each symbol */
    size_t link_capacity;
    bpe_candidate *queue; /* of long words: a heap, the next merge first */
    size_t queue_count, queue_capacity;
};

static inline bpe_merge *tandem_bpe_merge_slot(const tandem_bpe *bpe, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    uint64_t mixed = (pair ^ pair >> 29) * UINT64_C(0x9E3779B97F4A7C15);
    size_t slot = (size_t)(mixed >> 32) & bpe->merge_mask;
    while (bpe->merges[slot].id != TANDEM_NO_TOKEN && bpe->merges[slot].pair != pair) {
        slot = (slot + 1) & bpe->merge_mask;
    }
    return &bpe->merges[slot];
}

/* Merges the symbols of the scratch: always the pair of the lowest rank, the leftmost of equals. */
int tandem_bpe_merge(const tandem_bpe *bpe, tandem_bpe_scratch *scratch);

#endif
