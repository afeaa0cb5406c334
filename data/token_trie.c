/* token_trie.c - tokens in a trie over their bytes. */
#include "data/token_trie.h"

#include <stdlib.h>

enum { FIRST_EDGES = 4096, LARGEST_NODE = 1 << 24 }; /* node and byte share 32 bits */

static int set_capacity(tandem_token_trie *trie, size_t capacity)
{
    tandem_trie_edge *old = trie->edges;
    size_t old_capacity = trie->edge_capacity;
    tandem_trie_edge *edges = tandem_alloc(capacity, sizeof *edges);
    if (!edges) {
        return TANDEM_ERROR;
    }
    trie->edges = edges;
    trie->edge_capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].child != 0) {
            *tandem_token_trie_edge(trie, old[i].key >> 8, (unsigned char)(old[i].key & 0xFF)) = old[i];
        }
    }
    free(old);
    return TANDEM_OK;
}

static int add_node(tandem_token_trie *trie)
{
    if (trie->nodes == LARGEST_NODE) {
        return tandem_error("the vocabulary is too large: more than %d prefixes", LARGEST_NODE);
    }
    void *ids = trie->ids;
    int rc = tandem_grow(&ids, &trie->ids_capacity, trie->nodes + 1, sizeof *trie->ids);
    trie->ids = ids;
    if (rc == TANDEM_OK) {
        trie->ids[trie->nodes++] = TANDEM_NO_TOKEN;
    }
    return rc;
}

int tandem_token_trie_init(tandem_token_trie *trie)
{
    TANDEM_TRY(set_capacity(trie, FIRST_EDGES));
    return add_node(trie);
}

void tandem_token_trie_clear(tandem_token_trie *trie)
{
    free(trie->edges);
    free(trie->ids);
}

int tandem_token_trie_put(tandem_token_trie *trie, const char *token, size_t length, uint32_t id)
{
    uint32_t node = TANDEM_TRIE_ROOT;
    for (size_t i = 0; i < length; i++) {
        if (trie->nodes * 2 > trie->edge_capacity) {
            TANDEM_TRY(set_capacity(trie, trie->edge_capacity * 2));
        }
        unsigned char byte = (unsigned char)token[i];
        tandem_trie_edge *edge = tandem_token_trie_edge(trie, node, byte);
        if (edge->child == 0) {
            TANDEM_TRY(add_node(trie));
            *edge = (tandem_trie_edge){.key = node << 8 | byte, .child = (uint32_t)trie->nodes - 1};
        }
        node = edge->child;
    }
    trie->ids[node] = id;
    return TANDEM_OK;
}

bool tandem_token_trie_walk(const tandem_token_trie *trie, const char *text, size_t length, uint32_t *node)
{
    *node = TANDEM_TRIE_ROOT;
    for (size_t i = 0; i < length; i++) {
        *node = tandem_token_trie_step(trie, *node, (unsigned char)text[i]);
        if (*node == TANDEM_TRIE_ROOT) {
            return false;
        }
    }
    return true;
}

uint32_t tandem_token_trie_find(const tandem_token_trie *trie, const char *token, size_t length)
{
    uint32_t node;
    return tandem_token_trie_walk(trie, token, length, &node) ? trie->ids[node] : TANDEM_NO_TOKEN;
}
