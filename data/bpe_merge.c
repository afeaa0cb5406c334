/* bpe_merge.c - merges the symbols of a word. Short words, which is nearly all of them, are
 * searched for the next merge each time; for long ones candidates wait in a heap, so that
 * the time is n log n. */
#include <string.h>

#include "data/bpe_private.h"

enum { SHORT_WORD = 48 };

#define NO_RANK UINT32_MAX
#define NO_LINK UINT32_MAX

/* ---- short words ------------------------------------------------------------------------ */
typedef struct {
    uint32_t ranks[SHORT_WORD], ids[SHORT_WORD]; /* of a symbol with the next */
} pairs;

static void look_up(const tandem_bpe *bpe, const bpe_symbol *symbols, size_t at, pairs *p)
{
    const bpe_merge *merge = tandem_bpe_merge_slot(bpe, symbols[at].id, symbols[at + 1].id);
    p->ranks[at] = merge->id == TANDEM_NO_TOKEN ? NO_RANK : merge->rank;
    p->ids[at] = merge->id;
}

static void merge_short(const tandem_bpe *bpe, bpe_symbol *symbols, size_t *count)
{
    pairs p;
    size_t last = *count - 1; /* pairs */
    for (size_t i = 0; i < last; i++) {
        look_up(bpe, symbols, i, &p);
    }
    while (last > 0) {
        size_t best = 0;
        for (size_t i = 1; i < last; i++) {
            best = p.ranks[i] < p.ranks[best] ? i : best;
        }
        if (p.ranks[best] == NO_RANK) {
            break;
        }
        symbols[best].id = p.ids[best];
        symbols[best].length += symbols[best + 1].length;
        last--;
        memmove(&symbols[best + 1], &symbols[best + 2], (last - best) * sizeof *symbols);
        if (best < last) {
            memmove(&p.ranks[best + 1], &p.ranks[best + 2], (last - best - 1) * sizeof *p.ranks);
            memmove(&p.ids[best + 1], &p.ids[best + 2], (last - best - 1) * sizeof *p.ids);
            look_up(bpe, symbols, best, &p);
        }
        if (best > 0) {
            look_up(bpe, symbols, best - 1, &p);
        }
    }
    *count = last + 1;
}

/* ---- long words -------------------------------------------------------------------------- */
static bool before(const bpe_candidate *a, const bpe_candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void push(tandem_bpe_scratch *scratch, bpe_candidate candidate)
{
    size_t at = scratch->queue_count++;
    while (at > 0 && before(&candidate, &scratch->queue[(at - 1) / 2])) {
        scratch->queue[at] = scratch->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    scratch->queue[at] = candidate;
}

static bpe_candidate pop(tandem_bpe_scratch *scratch)
{
    bpe_candidate *queue = scratch->queue, top = queue[0];
    size_t count = --scratch->queue_count, at = 0;
    bpe_candidate moved = queue[count];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && before(&queue[child + 1], &queue[child]) ? 1 : 0;
        if (!before(&queue[child], &moved)) {
            break;
        }
        queue[at] = queue[child];
    }
    queue[at] = moved;
    return top;
}

/* Queues the merge of the symbol with the next, where there is one. */
static void consider(const tandem_bpe *bpe, tandem_bpe_scratch *scratch, uint32_t position)
{
    uint32_t next = scratch->links[position].next;
    if (next != NO_LINK) {
        const bpe_merge *merge = tandem_bpe_merge_slot(bpe, scratch->symbols[position].id, scratch->symbols[next].id);
        if (merge->id != TANDEM_NO_TOKEN) {
            push(scratch, (bpe_candidate){.rank = merge->rank, .position = position, .id = merge->id});
        }
    }
}

/* A symbol that was merged into the one before it has length 0. */
static void apply(const tandem_bpe *bpe, tandem_bpe_scratch *scratch, const bpe_candidate *candidate)
{
    bpe_symbol *symbols = scratch->symbols;
    bpe_link *links = scratch->links;
    uint32_t at = candidate->position, next = links[at].next;
    if (symbols[at].length == 0 || next == NO_LINK ||
        tandem_bpe_merge_slot(bpe, symbols[at].id, symbols[next].id)->id != candidate->id) {
        return; /* one of the two became part of another since */
    }
    symbols[at].id = candidate->id;
    symbols[at].length += symbols[next].length;
    symbols[next].length = 0;
    links[at].next = links[next].next;
    if (links[at].next != NO_LINK) {
        links[links[at].next].previous = at;
    }
    if (links[at].previous != NO_LINK) {
        consider(bpe, scratch, links[at].previous);
    }
    consider(bpe, scratch, at);
}

static int merge_long(const tandem_bpe *bpe, tandem_bpe_scratch *scratch)
{
    size_t count = scratch->count, kept = 0;
    void *links = scratch->links, *queue = scratch->queue;
    int rc = tandem_grow(&links, &scratch->link_capacity, count, sizeof *scratch->links);
    scratch->links = links;
    TANDEM_TRY(rc);
    /* A merge queues two and takes one out; there are fewer merges than symbols. */
    rc = tandem_grow(&queue, &scratch->queue_capacity, 2 * count, sizeof *scratch->queue);
    scratch->queue = queue;
    TANDEM_TRY(rc);
    for (size_t i = 0; i < count; i++) {
        scratch->links[i] = (bpe_link){.previous = i > 0 ? (uint32_t)i - 1 : NO_LINK,
                                       .next = i + 1 < count ? (uint32_t)i + 1 : NO_LINK};
    }
    scratch->queue_count = 0;
    for (size_t i = 0; i < count; i++) {
        consider(bpe, scratch, (uint32_t)i);
    }
    while (scratch->queue_count > 0) {
        bpe_candidate candidate = pop(scratch);
        apply(bpe, scratch, &candidate);
    }
    for (size_t i = 0; i < count; i++) {
        if (scratch->symbols[i].length > 0) {
            scratch->symbols[kept++] = scratch->symbols[i];
        }
    }
    scratch->count = kept;
    return TANDEM_OK;
}

int tandem_bpe_merge(const tandem_bpe *bpe, tandem_bpe_scratch *scratch)
{
    if (scratch->count > SHORT_WORD) {
        return merge_long(bpe, scratch);
    }
    if (scratch->count > 1) {
        merge_short(bpe, scratch->symbols, &scratch->count);
    }
    return TANDEM_OK;
}
