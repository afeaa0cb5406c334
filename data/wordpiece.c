/* wordpiece.c - the WordPiece model: a trie of all tokens, greedy longest match, and a
 * cache of whole words in front of it. */
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_scratch.h"
#include "tandem/memory.h"

/* ---- trie --------------------------------------------------------------------------- */
enum { ROOT = 0, FIRST_EDGES = 4096, LARGEST_NODE = 1 << 24 }; /* node and byte share 32 bits */

static size_t edge_slot(const tandem_wordpiece *model, uint32_t key)
{
    uint64_t mixed = key * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(mixed >> 32) & (model->edge_capacity - 1);
}

/* The slot that holds the edge, or the empty one where it would go. */
static tandem_trie_edge *find_edge(const tandem_wordpiece *model, uint32_t node, unsigned char byte)
{
    uint32_t key = node << 8 | byte;
    size_t slot = edge_slot(model, key);
    while (model->edges[slot].child != 0 && model->edges[slot].key != key) {
        slot = (slot + 1) & (model->edge_capacity - 1);
    }
    return &model->edges[slot];
}

static int grow_edges(tandem_wordpiece *model)
{
    tandem_trie_edge *old = model->edges;
    size_t old_capacity = model->edge_capacity;
    tandem_trie_edge *edges = tandem_alloc(old_capacity * 2, sizeof *edges);
    if (!edges) {
        return TANDEM_ERROR;
    }
    model->edges = edges;
    model->edge_capacity = old_capacity * 2;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].child != 0) {
            *find_edge(model, old[i].key >> 8, old[i].key & 0xFF) = old[i];
        }
    }
    free(old);
    return TANDEM_OK;
}

static int add_node(tandem_wordpiece *model)
{
    if (model->nodes == LARGEST_NODE) {
        return tandem_error("the vocabulary is too large: more than %d prefixes", LARGEST_NODE);
    }
    void *ids = model->ids;
    int rc = tandem_grow(&ids, &model->ids_capacity, model->nodes + 1, sizeof *model->ids);
    model->ids = ids;
    if (rc == TANDEM_OK) {
        model->ids[model->nodes++] = TANDEM_NO_TOKEN;
    }
    return rc;
}

int tandem_wordpiece_init(tandem_wordpiece *model)
{
    model->edges = tandem_alloc(FIRST_EDGES, sizeof *model->edges);
    model->edge_capacity = FIRST_EDGES;
    return model->edges ? add_node(model) : TANDEM_ERROR;
}

void tandem_wordpiece_clear(tandem_wordpiece *model)
{
    free(model->edges);
    free(model->ids);
}

int tandem_wordpiece_put(tandem_wordpiece *model, const char *token, size_t length, uint32_t id)
{
    uint32_t node = ROOT;
    for (size_t i = 0; i < length; i++) {
        if (model->nodes * 2 > model->edge_capacity) {
            TANDEM_TRY(grow_edges(model));
        }
        unsigned char byte = (unsigned char)token[i];
        tandem_trie_edge *edge = find_edge(model, node, byte);
        if (edge->child == 0) {
            TANDEM_TRY(add_node(model));
            *edge = (tandem_trie_edge){.key = node << 8 | byte, .child = (uint32_t)model->nodes - 1};
        }
        node = edge->child;
    }
    model->count += model->ids[node] == TANDEM_NO_TOKEN ? 1 : 0;
    model->ids[node] = id;
    return TANDEM_OK;
}

/* The node that `token` leads to; false when none does. */
static bool walk(const tandem_wordpiece *model, const char *token, size_t length, uint32_t *node)
{
    *node = ROOT;
    for (size_t i = 0; i < length; i++) {
        *node = find_edge(model, *node, (unsigned char)token[i])->child;
        if (*node == ROOT) {
            return false;
        }
    }
    return true;
}

uint32_t tandem_wordpiece_find(const tandem_wordpiece *model, const char *token, size_t length)
{
    uint32_t node;
    return walk(model, token, length, &node) ? model->ids[node] : TANDEM_NO_TOKEN;
}

void tandem_wordpiece_set_prefix(tandem_wordpiece *model, const char *prefix, size_t length)
{
    model->has_continuing = walk(model, prefix, length, &model->continuing);
}

/* ---- pieces ---------------------------------------------------------------------------- */
/* Length of the longest token that begins `text`, from `node` on; 0 when there is none. */
static size_t longest_piece(const tandem_wordpiece *model, uint32_t node, const unsigned char *text,
                            size_t length, uint32_t *id)
{
    size_t best = 0;
    for (size_t i = 0; i < length; i++) {
        node = find_edge(model, node, text[i])->child;
        if (node == ROOT) {
            break;
        }
        if (model->ids[node] != TANDEM_NO_TOKEN) {
            best = i + 1;
            *id = model->ids[node];
        }
    }
    return best;
}

/* Cuts the word into pieces; a word that cannot be cut is one unk. Returns how many. */
static size_t cut_word(const tandem_wordpiece *model, const tandem_word *word, uint32_t *ids, uint32_t *ends)
{
    size_t count = 0;
    for (size_t at = 0; at < word->length; at = ends[count++]) {
        size_t piece = 0;
        if (at == 0 || model->has_continuing) {
            uint32_t node = at == 0 ? ROOT : model->continuing;
            piece = longest_piece(model, node, word->bytes + at, word->length - at, &ids[count]);
        }
        if (piece == 0) {
            ids[0] = model->unk_id;
            ends[0] = (uint32_t)word->length;
            return 1;
        }
        ends[count] = (uint32_t)(at + piece);
    }
    return count;
}

/* ---- cache ------------------------------------------------------------------------------ */
/* The row where the word belongs; it may hold another. The word has at most
 * TANDEM_CACHE_KEY bytes, and its buffer at least as many. */
static tandem_cached_word *cache_row(tandem_token_scratch *scratch, uint64_t key[TANDEM_CACHE_KEY / 8])
{
    tandem_word *word = &scratch->word;
    memset(word->bytes + word->length, 0, TANDEM_CACHE_KEY - word->length);
    memcpy(key, word->bytes, TANDEM_CACHE_KEY);
    uint64_t mixed = (key[0] ^ word->length) * UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ mixed >> 32 ^ key[1]) * UINT64_C(0xD6E8FEB86659FD93);
    mixed = (mixed ^ mixed >> 32 ^ key[2]) * UINT64_C(0x9E3779B97F4A7C15);
    return &scratch->cache[mixed >> 40 & (TANDEM_CACHE_ROWS - 1)];
}

static bool row_holds(const tandem_cached_word *row, const uint64_t key[TANDEM_CACHE_KEY / 8], size_t length)
{
    return row->pieces > 0 && row->length == length && row->key[0] == key[0] && row->key[1] == key[1] &&
           row->key[2] == key[2];
}

static void fill_row(tandem_cached_word *row, const uint64_t key[TANDEM_CACHE_KEY / 8], size_t length,
                     const uint32_t *ids, const uint32_t *ends, size_t pieces)
{
    memcpy(row->key, key, sizeof row->key);
    for (size_t i = 0; i < pieces; i++) {
        row->ids[i] = ids[i];
        row->ends[i] = (uint8_t)ends[i];
    }
    row->length = (uint8_t)length;
    row->pieces = (uint8_t)pieces;
}

/* Writes the pieces of a word that the model may take to `ids` and piece_ends. */
static size_t look_up(const tandem_wordpiece *model, tandem_token_scratch *scratch, uint32_t *ids)
{
    const tandem_word *word = &scratch->word;
    uint32_t *ends = scratch->piece_ends;
    if (word->length > TANDEM_CACHE_KEY) {
        return cut_word(model, word, ids, ends);
    }
    uint64_t key[TANDEM_CACHE_KEY / 8];
    tandem_cached_word *row = cache_row(scratch, key);
    if (!row_holds(row, key, word->length)) {
        size_t pieces = cut_word(model, word, ids, ends);
        if (pieces <= TANDEM_CACHE_PIECES) {
            fill_row(row, key, word->length, ids, ends, pieces);
        }
        return pieces;
    }
    for (size_t i = 0; i < row->pieces; i++) {
        ids[i] = row->ids[i];
        ends[i] = row->ends[i];
    }
    return row->pieces;
}

/* ---- a word of the text -------------------------------------------------------------------- */
/* Origins of the pieces, whose ends are given in bytes. */
static void put_offsets(tandem_token_scratch *scratch, size_t pieces)
{
    const tandem_word *word = &scratch->word;
    size_t at = 0, chars = 0;
    for (size_t i = 0; i < pieces; i++) {
        scratch->starts[scratch->count + i] = word->origins[chars];
        for (; at < scratch->piece_ends[i]; at++) {
            chars += (word->bytes[at] & 0xC0) != 0x80 ? 1 : 0;
        }
        scratch->ends[scratch->count + i] = word->origins[chars - 1] + 1;
    }
}

int tandem_wordpiece_end_word(const tandem_wordpiece *model, tandem_token_scratch *scratch)
{
    tandem_word *word = &scratch->word;
    size_t chars = word->chars, pieces = 1;
    if (chars == 0) {
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_token_scratch_reserve(scratch, chars > model->max_chars ? 1 : chars));
    if (chars > model->max_chars) {
        scratch->ids[scratch->count] = model->unk_id;
    } else {
        pieces = look_up(model, scratch, scratch->ids + scratch->count);
    }
    if (scratch->offsets && chars > model->max_chars) {
        scratch->starts[scratch->count] = word->origins[0];
        scratch->ends[scratch->count] = word->last + 1;
    } else if (scratch->offsets) {
        put_offsets(scratch, pieces);
    }
    tandem_token_scratch_count(scratch, pieces);
    word->length = 0;
    word->chars = 0;
    return TANDEM_OK;
}
