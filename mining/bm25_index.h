/* bm25_index.h - private to mining/: the inverted index of BM25 as it lies in a file. All numbers are
 * little-endian; each array starts at a multiple of 8 bytes, the gap before it filled with zeros:
 *
 *     header    8 bytes "tandbm25", uint32 version, uint32 analyzer
 *     packed    packed_bytes: the postings, by term, in blocks of up to 128
 *     blocks    tandem_bm25_block [blocks]
 *     first     uint64 [terms + 1]: the first block of each term; its blocks are full but for the last
 *     starts    uint64 [terms + 1]: where the spelling of each term begins in `text`
 *     sorted    uint32 [terms]: the terms in the order of their bytes; they are numbered as they first occur
 *     text      text_bytes
 *     norms     uint8 [documents]: the length of each in terms, as tandem_bm25_norm codes it
 *     footer    tandem_bm25_footer
 *
 * A block holds the distances of its documents from the one before, less one (of the term's first document: its
 * index), document_bits each, from the lowest bit of a byte on; and, from the next whole byte on, its frequencies
 * less one, frequency_bits each. */
#ifndef TANDEM_MINING_BM25_INDEX_H
#define TANDEM_MINING_BM25_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/bm25.h"
#include "tandem/file.h"

enum { TANDEM_BM25_BLOCK = 128, TANDEM_BM25_VERSION = 1, TANDEM_BM25_NORMS = 256 };
/* After the last block, so that eight bytes can be read from any place of it. */
enum { TANDEM_BM25_PADDING = 8 };

#define TANDEM_BM25_MAGIC "tandbm25"

typedef struct {
    char magic[8];
    uint32_t version, analyzer;
} tandem_bm25_header;

typedef struct {
    uint64_t start;         /* in packed */
    uint32_t last;          /* document */
    uint32_t max_frequency; /* with min_norm: what bounds the scores of the block */
    uint8_t document_bits, frequency_bits;
    uint8_t min_norm;
    uint8_t count; /* postings less one */
    uint32_t zero;
} tandem_bm25_block;

typedef struct {
    uint64_t documents, filled; /* filled: with a term */
    uint64_t length;            /* of all documents, in terms */
    uint64_t terms, blocks, packed_bytes, text_bytes;
    tandem_hash hash; /* of all bytes before it */
} tandem_bm25_footer;

struct tandem_bm25 {
    tandem_bm25_options options;
    tandem_map map; /* of the file, or */
    char *memory;   /* the bytes themselves */
    tandem_bm25_footer footer;
    const unsigned char *packed;
    const tandem_bm25_block *blocks;
    const uint64_t *first, *starts;
    const uint32_t *sorted;
    const char *text;
    const uint8_t *norms;
    float inverses[TANDEM_BM25_NORMS]; /* 1 / (k1 * (1 - b + b * length / mean)) by norm */
};

/* ---- lengths: SmallFloat.intToByte4 of Lucene -------------------------------------------- */
uint8_t tandem_bm25_norm(uint32_t length);
uint32_t tandem_bm25_length(uint8_t norm); /* the least one that is coded so */

/* ---- blocks ------------------------------------------------------------------------------ */
typedef struct {
    uint32_t documents[TANDEM_BM25_BLOCK], frequencies[TANDEM_BM25_BLOCK];
} tandem_bm25_postings;

/* Bytes of a block's distances, or of its frequencies. */
static inline size_t tandem_bm25_bytes(size_t count, size_t bits)
{
    return (count * bits + 7) / 8;
}

/* Fills in the block's bits, its bounds but for min_norm, and appends its bytes to `out`, which has room
 * for TANDEM_BM25_BLOCK_BYTES. `before` is the index after the term's last document, 0 at first. Returns
 * the bytes. */
#define TANDEM_BM25_BLOCK_BYTES (2 * TANDEM_BM25_BLOCK * 4 + TANDEM_BM25_PADDING)
size_t tandem_bm25_pack(unsigned char *out, tandem_bm25_block *block, const tandem_bm25_postings *postings,
                        size_t count, uint32_t before);
/* The postings of block `b`, whose term begins with block `first`. */
void tandem_bm25_unpack(tandem_bm25_postings *out, const tandem_bm25 *index, uint64_t b, uint64_t first);

/* ---- the dictionary ---------------------------------------------------------------------- */
/* The number of a term; false when no document has it. */
bool tandem_bm25_find(const tandem_bm25 *index, const char *term, size_t length, uint32_t *number);
/* Number of documents that have it. */
uint64_t tandem_bm25_frequency(const tandem_bm25 *index, uint32_t term);

/* ---- making (bm25_build.c) --------------------------------------------------------------- */
/* What a run of TANDEM_BM25_RUN occurrences takes, 12 bytes each and 8 when sorted, is 160 MB. */
enum { TANDEM_BM25_RUN = 8 << 20 };

/* Writes the index to `path`, holding about `run` occurrences in memory, or, when that is NULL, into `memory`. */
int tandem_bm25_build(const char *path, tandem_buffer *memory, const tandem_text *documents, size_t count,
                      tandem_analyzer analyzer, size_t run);

/* ---- opening (bm25_index.c) -------------------------------------------------------------- */
/* Takes over `memory` (malloc'ed), also on failure. */
int tandem_bm25_from_memory(tandem_bm25 **out, char *memory, size_t size, tandem_bm25_options options);
int tandem_bm25_check_options(tandem_bm25_options options);

#endif
