/* token_trie.h - private to data/: tokens in a trie over their bytes, whose edges lie in a
 * hash table.
 */
#ifndef TANDEM_DATA_TOKEN_TRIE_H
#define TANDEM_DATA_TOKEN_TRIE_H

#include "data/token_model.h"

typedef struct {
    uint32_t key;   /* node and byte of the edge */
    uint32_t child; /* 0: no edge here */
} tandem_trie_edge;

typedef struct {
    tandem_trie_edge *edges; /* open addressing */
    size_t edge_capacity;    /* a power of two */
    size_t nodes;            /* edges + 1 */
    uint32_t *ids;           /* [nodes] the token that ends at a node, or TANDEM_NO_TOKEN */
    size_t ids_capacity;
} tandem_token_trie;

enum { TANDEM_TRIE_ROOT = 0 };

int tandem_token_trie_init(tandem_token_trie *trie);
void tandem_token_trie_clear(tandem_token_trie *trie);
/* Adds a token, or changes its id (TANDEM_OK both times). */
int tandem_token_trie_put(tandem_token_trie *trie, const char *token, size_t length, uint32_t id);
/* The node that `text` leads to; false when none does. */
bool tandem_token_trie_walk(const tandem_token_trie *trie, const char *text, size_t length, uint32_t *node);
/* The token's id, or TANDEM_NO_TOKEN. */
uint32_t tandem_token_trie_find(const tandem_token_trie *trie, const char *token, size_t length);

/* The slot that holds the edge, or the empty one where it would go. */
static inline tandem_trie_edge *tandem_token_trie_edge(const tandem_token_trie *trie, uint32_t node,
                                                       unsigned char byte)
{
    uint32_t key = node << 8 | byte;
    size_t mask = trie->edge_capacity - 1;
    size_t slot = (size_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 32) & mask;
    while (trie->edges[slot].child != 0 && trie->edges[slot].key != key) {
        slot = (slot + 1) & mask;
    }
    return &trie->edges[slot];
}

/* The node that the byte leads to, or TANDEM_TRIE_ROOT when there is none. */
static inline uint32_t tandem_token_trie_step(const tandem_token_trie *trie, uint32_t node, unsigned char byte)
{
    return tandem_token_trie_edge(trie, node, byte)->child;
}

#endif
