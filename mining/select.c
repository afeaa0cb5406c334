/* select.c - order and selection of scored documents, and the table of hits. */
#include "mining/select.h"

#include <stdlib.h>
#include <string.h>

#include "tandem/memory.h"

enum { SHORT = 16 /* runs that insertion sorts fastest */ };

static void swap(tandem_candidate *a, tandem_candidate *b)
{
    tandem_candidate kept = *a;
    *a = *b;
    *b = kept;
}

/* The middle one of first, middle and last: scores often come sorted. */
static tandem_candidate pivot_of(const tandem_candidate *items, ptrdiff_t low, ptrdiff_t high, const uint32_t *ranks)
{
    tandem_candidate a = items[low], b = items[low + (high - low) / 2], c = items[high];
    bool ab = tandem_candidate_before(a, b, ranks);
    bool bc = tandem_candidate_before(b, c, ranks);
    bool ac = tandem_candidate_before(a, c, ranks);
    if (ab == bc) {
        return b;
    }
    return ab == ac ? c : a;
}

/* Hoare's partition: afterwards items[low .. *j] come before items[*i .. high], and what lies between is the pivot. */
static void partition(tandem_candidate *items, ptrdiff_t low, ptrdiff_t high, const uint32_t *ranks, ptrdiff_t *left,
                      ptrdiff_t *right)
{
    tandem_candidate pivot = pivot_of(items, low, high, ranks);
    ptrdiff_t i = low, j = high;
    while (i <= j) {
        while (tandem_candidate_before(items[i], pivot, ranks)) {
            i++;
        }
        while (tandem_candidate_before(pivot, items[j], ranks)) {
            j--;
        }
        if (i <= j) {
            swap(&items[i++], &items[j--]);
        }
    }
    *left = i;
    *right = j;
}

/* Quickselect (Hoare 1961, Algorithm 65): narrows [low, high] to the border. */
void tandem_candidates_select(tandem_candidate *items, size_t count, size_t k, const uint32_t *ranks)
{
    if (count <= k) {
        return;
    }
    ptrdiff_t border = (ptrdiff_t)k, low = 0, high = (ptrdiff_t)count - 1;
    while (low < high) {
        ptrdiff_t i, j;
        partition(items, low, high, ranks, &i, &j);
        if (border <= j) {
            high = j;
        } else if (border >= i) {
            low = i;
        } else {
            return;
        }
    }
}

/* Quicksort, the smaller part first: the stack stays short. */
static void sort(tandem_candidate *items, ptrdiff_t low, ptrdiff_t high, const uint32_t *ranks)
{
    while (high - low >= SHORT) {
        ptrdiff_t i, j;
        partition(items, low, high, ranks, &i, &j);
        if (j - low < high - i) {
            sort(items, low, j, ranks);
            low = i;
        } else {
            sort(items, i, high, ranks);
            high = j;
        }
    }
    for (ptrdiff_t i = low + 1; i <= high; i++) { /* insertion */
        tandem_candidate item = items[i];
        ptrdiff_t at = i;
        for (; at > low && tandem_candidate_before(item, items[at - 1], ranks); at--) {
            items[at] = items[at - 1];
        }
        items[at] = item;
    }
}

void tandem_candidates_sort(tandem_candidate *items, size_t count, const uint32_t *ranks)
{
    sort(items, 0, (ptrdiff_t)count - 1, ranks);
}

int tandem_hits_make(tandem_hits *out, size_t queries, size_t k, size_t documents)
{
    size_t cells;
    memset(out, 0, sizeof *out);
    if (k == 0) {
        return tandem_error_code(TANDEM_USAGE, "the number of documents to retrieve must be at least 1");
    }
    if (k > documents) {
        k = documents;
    }
    if (!tandem_size_mul(&cells, queries, k)) {
        return tandem_error("%zu queries with %zu hits each do not fit in memory", queries, k);
    }
    out->queries = queries;
    out->k = k;
    out->documents = tandem_alloc(cells, sizeof *out->documents);
    out->scores = tandem_alloc(cells, sizeof *out->scores);
    out->counts = tandem_alloc(queries, sizeof *out->counts);
    if (!out->documents || !out->scores || !out->counts) {
        tandem_hits_free(out);
        return TANDEM_ERROR;
    }
    return TANDEM_OK;
}

void tandem_hits_set(tandem_hits *hits, size_t query, const tandem_candidate *items, size_t count)
{
    size_t row = query * hits->k;
    for (size_t i = 0; i < count; i++) {
        hits->documents[row + i] = items[i].document;
        hits->scores[row + i] = items[i].score;
    }
    hits->counts[query] = (uint32_t)count;
}

void tandem_hits_free(tandem_hits *hits)
{
    free(hits->documents);
    free(hits->scores);
    free(hits->counts);
    memset(hits, 0, sizeof *hits);
}

static int compare_ids(const void *left, const void *right, void *argument)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    const tandem_text *texts = *(const tandem_text *const *)argument;
    int order = strcmp(texts[b].id, texts[a].id);
    return order ? order : (a > b) - (a < b);
}

int tandem_tie_ranks(uint32_t **out, const tandem_text *texts, size_t count)
{
    *out = NULL;
    if (count > UINT32_MAX) {
        return tandem_error("%zu texts are more than 32-bit indices can name", count);
    }
    uint32_t *order = tandem_alloc(count, sizeof *order);
    uint32_t *ranks = tandem_alloc(count, sizeof *ranks);
    if (!order || !ranks) {
        free(order);
        free(ranks);
        return TANDEM_ERROR;
    }
    for (uint32_t i = 0; i < count; i++) {
        order[i] = i;
    }
    qsort_r(order, count, sizeof *order, compare_ids, &texts);
    for (uint32_t i = 0; i < count; i++) {
        ranks[order[i]] = i;
    }
    free(order);
    *out = ranks;
    return TANDEM_OK;
}
