/* bm25_index.c - the index in its file: blocks of postings, the dictionary, opening and checking. */
#include "mining/bm25_index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/memory.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "an index lies in its file as in memory: little-endian");
_Static_assert(sizeof(tandem_bm25_header) == 16 && sizeof(tandem_bm25_block) == 24 && sizeof(tandem_bm25_footer) == 72,
               "the parts of an index have the sizes that docs/formats.md gives");

/* ---- lengths ----------------------------------------------------------------------------- */
enum { EXACT = 24 }; /* lengths below it are coded as they are, larger ones by their excess as a small float */

/* The bits below the highest four of x go, and are counted. */
static uint32_t to_small(uint32_t x)
{
    if (x < 8) {
        return x;
    }
    uint32_t shift = 28 - (uint32_t)__builtin_clz(x);
    return (shift + 1) << 3 | ((x >> shift) & 7);
}

uint8_t tandem_bm25_norm(uint32_t length)
{
    return (uint8_t)(length < EXACT ? length : EXACT + to_small(length - EXACT));
}

uint32_t tandem_bm25_length(uint8_t norm)
{
    uint32_t small = norm < EXACT ? norm : norm - EXACT;
    uint32_t length = small < 8 ? small : (8 | (small & 7)) << ((small >> 3) - 1);
    return norm < EXACT ? norm : EXACT + length;
}

/* ---- blocks ------------------------------------------------------------------------------ */
static void put_bits(unsigned char *out, size_t at, uint32_t value)
{
    uint64_t word;
    memcpy(&word, out + at / 8, sizeof word);
    word |= (uint64_t)value << at % 8;
    memcpy(out + at / 8, &word, sizeof word);
}

static uint32_t get_bits(const unsigned char *in, size_t at, uint32_t mask)
{
    uint64_t word;
    memcpy(&word, in + at / 8, sizeof word);
    return (uint32_t)(word >> at % 8) & mask;
}

static uint8_t width_of(uint32_t bits)
{
    return (uint8_t)(bits ? 32 - __builtin_clz(bits) : 0);
}

static uint32_t mask_of(uint8_t bits)
{
    return (uint32_t)((1ULL << bits) - 1);
}

size_t tandem_bm25_pack(unsigned char *out, tandem_bm25_block *block, const tandem_bm25_postings *postings,
                        size_t count, uint32_t before)
{
    uint32_t distances[TANDEM_BM25_BLOCK], any_distance = 0, any_frequency = 0;
    block->max_frequency = 0;
    for (size_t i = 0; i < count; i++) {
        distances[i] = postings->documents[i] - (i > 0 ? postings->documents[i - 1] + 1 : before);
        any_distance |= distances[i];
        any_frequency |= postings->frequencies[i] - 1;
        if (postings->frequencies[i] > block->max_frequency) {
            block->max_frequency = postings->frequencies[i];
        }
    }
    block->last = postings->documents[count - 1];
    block->count = (uint8_t)(count - 1);
    block->document_bits = width_of(any_distance);
    block->frequency_bits = width_of(any_frequency);
    size_t split = tandem_bm25_bytes(count, block->document_bits);
    size_t size = split + tandem_bm25_bytes(count, block->frequency_bits);
    memset(out, 0, size + TANDEM_BM25_PADDING);
    for (size_t i = 0; i < count; i++) {
        put_bits(out, i * block->document_bits, distances[i]);
        put_bits(out + split, i * block->frequency_bits, postings->frequencies[i] - 1);
    }
    return size;
}

void tandem_bm25_unpack(tandem_bm25_postings *out, const tandem_bm25 *index, uint64_t b, uint64_t first)
{
    const tandem_bm25_block *block = &index->blocks[b];
    const unsigned char *packed = index->packed + block->start;
    uint32_t mask = mask_of(block->document_bits), next = b > first ? block[-1].last + 1 : 0;
    size_t count = block->count + 1u;
    for (size_t i = 0; i < count; i++) {
        out->documents[i] = next + get_bits(packed, i * block->document_bits, mask);
        next = out->documents[i] + 1;
    }
    packed += tandem_bm25_bytes(count, block->document_bits);
    mask = mask_of(block->frequency_bits);
    for (size_t i = 0; i < count; i++) {
        out->frequencies[i] = get_bits(packed, i * block->frequency_bits, mask) + 1;
    }
}

/* ---- the dictionary ---------------------------------------------------------------------- */
static int compare_bytes(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

static int compare_term(const tandem_bm25 *index, uint32_t number, const char *term, size_t length)
{
    uint64_t start = index->starts[number];
    return compare_bytes(index->text + start, index->starts[number + 1] - start, term, length);
}

bool tandem_bm25_find(const tandem_bm25 *index, const char *term, size_t length, uint32_t *number)
{
    size_t low = 0, high = index->footer.terms;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_term(index, index->sorted[middle], term, length);
        if (order == 0) {
            *number = index->sorted[middle];
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

uint64_t tandem_bm25_frequency(const tandem_bm25 *index, uint32_t term)
{
    uint64_t last = index->first[term + 1] - 1;
    return (last - index->first[term]) * TANDEM_BM25_BLOCK + index->blocks[last].count + 1u;
}

/* ---- opening ----------------------------------------------------------------------------- */
typedef struct {
    const unsigned char *data;
    size_t size, at;
    bool fits;
} section_reader;

/* The next array; past the end `fits` is false from then on. */
static const void *take(section_reader *reader, uint64_t count, size_t size)
{
    size_t bytes, at = reader->at, end;
    if (!reader->fits || !tandem_size_mul(&bytes, count, size) || !tandem_size_add(&end, at, bytes) ||
        !tandem_size_add(&end, end, (8 - end % 8) % 8) || end > reader->size) {
        reader->fits = false;
        return reader->data;
    }
    reader->at = end;
    return reader->data + at;
}

/* Finds the arrays: their sizes must come to that of the file. */
static int find_sections(tandem_bm25 *index, const unsigned char *data, size_t size, const char *name)
{
    tandem_bm25_header header;
    tandem_bm25_footer *footer = &index->footer;
    if (size < sizeof header + sizeof *footer || memcmp(data, TANDEM_BM25_MAGIC, sizeof header.magic) != 0) {
        return tandem_error("%s: no BM25 index (%zu bytes)", name, size);
    }
    memcpy(&header, data, sizeof header);
    if (header.version != TANDEM_BM25_VERSION) {
        return tandem_error("%s: a BM25 index of version %u; expected %d", name, header.version, TANDEM_BM25_VERSION);
    }
    if (header.analyzer != (uint32_t)index->options.analyzer) {
        return tandem_error("%s: a BM25 index of analyzer %u; expected %d", name, header.analyzer,
                            index->options.analyzer);
    }
    memcpy(footer, data + size - sizeof *footer, sizeof *footer);
    section_reader reader = {data, size - sizeof *footer, sizeof header,
                             footer->terms < UINT32_MAX && footer->documents <= UINT32_MAX};
    index->packed = take(&reader, footer->packed_bytes, 1);
    index->blocks = take(&reader, footer->blocks, sizeof *index->blocks);
    index->first = take(&reader, footer->terms + 1, sizeof *index->first);
    index->starts = take(&reader, footer->terms + 1, sizeof *index->starts);
    index->sorted = take(&reader, footer->terms, sizeof *index->sorted);
    index->text = take(&reader, footer->text_bytes, 1);
    index->norms = take(&reader, footer->documents, 1);
    if (!reader.fits || reader.at != reader.size) {
        return tandem_error("%s: cut or damaged: its arrays do not come to %zu bytes", name, size);
    }
    tandem_hash hash = tandem_hash_bytes(data, reader.size + offsetof(tandem_bm25_footer, hash));
    return tandem_hash_equal(hash, footer->hash) ? TANDEM_OK : tandem_error("%s: damaged: wrong checksum", name);
}

static int check_dictionary(const tandem_bm25 *index, const char *name)
{
    uint64_t terms = index->footer.terms;
    if (index->first[0] != 0 || index->first[terms] != index->footer.blocks || index->starts[0] != 0 ||
        index->starts[terms] != index->footer.text_bytes) {
        return tandem_error("%s: the dictionary does not cover its arrays", name);
    }
    for (uint64_t t = 0; t < terms; t++) {
        if (index->first[t + 1] <= index->first[t] || index->starts[t + 1] <= index->starts[t] ||
            index->first[t + 1] > index->footer.blocks || index->starts[t + 1] > index->footer.text_bytes) {
            return tandem_error("%s: term %llu has no postings or no spelling", name, (unsigned long long)t);
        }
    }
    for (uint64_t i = 0; i < terms; i++) { /* in ascending order they are all different */
        uint32_t number = index->sorted[i], previous = index->sorted[i > 0 ? i - 1 : 0];
        if (number >= terms ||
            (i > 0 && compare_term(index, previous, index->text + index->starts[number],
                                   index->starts[number + 1] - index->starts[number]) >= 0)) {
            return tandem_error("%s: the terms are not sorted at %llu", name, (unsigned long long)i);
        }
    }
    return TANDEM_OK;
}

/* Of documents whose lengths were summed in `left`, takes off those of a block. */
static bool check_block(const tandem_bm25 *index, uint64_t b, uint64_t first, bool full, uint64_t *left)
{
    const tandem_bm25_block *block = &index->blocks[b];
    size_t count = block->count + 1u, bytes;
    uint64_t room = index->footer.packed_bytes, next = b > first ? block[-1].last + 1ull : 0;
    if (count > TANDEM_BM25_BLOCK || (full && count < TANDEM_BM25_BLOCK) || block->document_bits > 32 ||
        block->frequency_bits > 32 || block->zero != 0 || block->last >= index->footer.documents) {
        return false;
    }
    bytes = tandem_bm25_bytes(count, block->document_bits) + tandem_bm25_bytes(count, block->frequency_bits);
    if (room < bytes + TANDEM_BM25_PADDING || block->start > room - bytes - TANDEM_BM25_PADDING) {
        return false;
    }
    tandem_bm25_postings postings;
    tandem_bm25_unpack(&postings, index, b, first);
    for (size_t i = 0; i < count; i++) {
        uint32_t document = postings.documents[i], frequency = postings.frequencies[i];
        /* A sum that went around 2^32 is below `next`. */
        if (document < next || document > block->last || frequency == 0 || frequency > block->max_frequency ||
            frequency > *left || index->norms[document] < block->min_norm) {
            return false;
        }
        *left -= frequency;
        next = document + 1ull;
    }
    return next == block->last + 1ull;
}

static int check_postings(const tandem_bm25 *index, const char *name)
{
    uint64_t left = index->footer.length;
    for (uint64_t t = 0; t < index->footer.terms; t++) {
        for (uint64_t b = index->first[t]; b < index->first[t + 1]; b++) {
            if (!check_block(index, b, index->first[t], b + 1 < index->first[t + 1], &left)) {
                return tandem_error("%s: the postings of block %llu are damaged", name, (unsigned long long)b);
            }
        }
    }
    return left == 0 && index->footer.filled <= index->footer.documents
               ? TANDEM_OK
               : tandem_error("%s: the postings do not come to the documents' lengths", name);
}

/* Documents without a term count neither for idf nor for the mean. */
static void weigh_lengths(tandem_bm25 *index)
{
    float k1 = (float)index->options.k1, b = (float)index->options.b;
    uint64_t filled = index->footer.filled;
    float mean = filled > 0 ? (float)((double)index->footer.length / (double)filled) : 1.0F;
    for (int norm = 0; norm < TANDEM_BM25_NORMS; norm++) {
        index->inverses[norm] = 1 / (k1 * ((1 - b) + b * (float)tandem_bm25_length((uint8_t)norm) / mean));
    }
}

/* The index over the bytes that are its map or memory; frees it on failure. */
static int open_bytes(tandem_bm25 **out, tandem_bm25 *index, const unsigned char *data, size_t size, const char *name)
{
    int rc = find_sections(index, data, size, name);
    if (rc == TANDEM_OK) {
        rc = check_dictionary(index, name);
    }
    if (rc == TANDEM_OK) {
        rc = check_postings(index, name);
    }
    if (rc < 0) {
        tandem_bm25_free(index);
        return rc;
    }
    weigh_lengths(index);
    *out = index;
    return TANDEM_OK;
}

int tandem_bm25_check_options(tandem_bm25_options options)
{
    if (!(options.k1 >= 0 && isfinite(options.k1) && options.b >= 0 && options.b <= 1)) {
        return tandem_error_code(TANDEM_USAGE, "BM25 with k1 %g, b %g; expected k1 >= 0 and b between 0 and 1",
                                 options.k1, options.b);
    }
    return TANDEM_OK;
}

static int make_index(tandem_bm25 **out, tandem_bm25_options options)
{
    *out = NULL;
    TANDEM_TRY(tandem_bm25_check_options(options));
    *out = tandem_alloc(1, sizeof **out);
    if (!*out) {
        return TANDEM_ERROR;
    }
    (*out)->options = options;
    return TANDEM_OK;
}

int tandem_bm25_from_memory(tandem_bm25 **out, char *memory, size_t size, tandem_bm25_options options)
{
    tandem_bm25 *index;
    *out = NULL;
    int rc = make_index(&index, options);
    if (rc < 0) {
        free(memory);
        return rc;
    }
    index->memory = memory;
    return open_bytes(out, index, (const unsigned char *)memory, size, "the index in memory");
}

int tandem_bm25_open(tandem_bm25 **out, const char *path, tandem_bm25_options options)
{
    tandem_bm25 *index;
    *out = NULL;
    TANDEM_TRY(make_index(&index, options));
    int rc = tandem_map_open(&index->map, path);
    if (rc < 0) {
        free(index);
        return rc;
    }
    return open_bytes(out, index, index->map.data, index->map.size, path);
}

void tandem_bm25_free(tandem_bm25 *index)
{
    if (index) {
        tandem_map_close(&index->map);
        free(index->memory);
        free(index);
    }
}
