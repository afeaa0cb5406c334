/* bm25.c - an inverted index in memory and BM25 over it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mining/analyzer.h"
#include "mining/select.h"
#include "tandem/memory.h"
#include "tandem/openmp.h"
#include "tandem/search.h"

typedef struct {
    uint32_t document, frequency;
} posting;

struct tandem_bm25 {
    tandem_bm25_options options;
    tandem_arena *arena; /* keys of the maps */
    tandem_strmap *terms; /* term -> number */
    size_t term_count, document_count;
    posting *postings; /* of all terms, by document within one */
    size_t *starts;    /* [term_count + 1] */
    double *idf;       /* [term_count] */
    double *norms;     /* [document_count] k1 * (1 - b + b * length / mean length) */
};

/* A list of term numbers. */
typedef struct {
    uint32_t *items;
    size_t count, room;
} number_list;

static int number_list_add(number_list *list, size_t number)
{
    void *items = list->items;
    int rc = tandem_grow(&items, &list->room, list->count + 1, sizeof *list->items);
    list->items = items;
    if (rc == 0) {
        list->items[list->count++] = (uint32_t)number;
    }
    return rc;
}

/* ---- building ---------------------------------------------------------------------- */
/* A posting before postings are put together by term. */
typedef struct {
    uint32_t term, document, frequency;
} occurrence;

typedef struct {
    tandem_bm25 *index;
    tandem_strmap *words; /* word as it stands -> number of its term, or STOPPED: stems each word once */
    occurrence *all;      /* by document */
    size_t count, room;
    number_list terms; /* of the present document */
    uint32_t *lengths; /* [documents] */
} builder;

#define STOPPED SIZE_MAX

/* The number of a term, a new one if need be. */
static int number_term(tandem_bm25 *index, const char *term, size_t length, size_t *number)
{
    if (tandem_strmap_find(index->terms, term, length, number)) {
        return TANDEM_OK;
    }
    if (index->term_count == UINT32_MAX) {
        return tandem_error("more than %u different terms", UINT32_MAX);
    }
    char *key = tandem_arena_strndup(index->arena, term, length);
    if (!key) {
        return TANDEM_ERROR;
    }
    *number = index->term_count++;
    int rc = tandem_strmap_add(index->terms, key, length, *number, NULL);
    return rc < 0 ? rc : TANDEM_OK;
}

/* The number of the term of a word; STOPPED when it has none. */
static int number_word(builder *b, char *word, size_t length, size_t *number)
{
    if (tandem_strmap_find(b->words, word, length, number)) {
        return TANDEM_OK;
    }
    char *key = tandem_arena_strndup(b->index->arena, word, length);
    if (!key) {
        return TANDEM_ERROR;
    }
    size_t term = tandem_word_to_term(word, length);
    *number = STOPPED;
    if (term > 0) {
        TANDEM_TRY(number_term(b->index, word, term, number));
    }
    int rc = tandem_strmap_add(b->words, key, length, *number, NULL);
    return rc < 0 ? rc : TANDEM_OK;
}

static int compare_terms(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static int add_occurrences(builder *b, uint32_t document)
{
    const number_list *terms = &b->terms;
    qsort(terms->items, terms->count, sizeof *terms->items, compare_terms);
    for (size_t i = 0, end; i < terms->count; i = end) {
        for (end = i + 1; end < terms->count && terms->items[end] == terms->items[i];) {
            end++;
        }
        void *items = b->all;
        int rc = tandem_grow(&items, &b->room, b->count + 1, sizeof *b->all);
        b->all = items;
        TANDEM_TRY(rc);
        b->all[b->count++] = (occurrence){terms->items[i], document, (uint32_t)(end - i)};
    }
    return TANDEM_OK;
}

static int add_document(builder *b, const tandem_text *text, uint32_t document)
{
    tandem_words words = tandem_words_of(text->text, text->length);
    int rc;
    b->terms.count = 0;
    while ((rc = tandem_words_next(&words)) > 0) {
        size_t number;
        TANDEM_TRY_GOTO(rc, done, number_word(b, words.word.data, words.word.length, &number));
        if (number != STOPPED) {
            TANDEM_TRY_GOTO(rc, done, number_list_add(&b->terms, number));
        }
    }
    if (rc == 0 && b->terms.count > UINT32_MAX) {
        rc = tandem_error("document '%s' has more than %u words", text->id, UINT32_MAX);
    }
    if (rc == 0 && b->terms.count > 0) {
        b->lengths[document] = (uint32_t)b->terms.count;
        rc = add_occurrences(b, document);
    }
done:
    tandem_buffer_free(&words.word);
    return rc;
}

/* Counting sort by term; documents stay in order within one. */
static int gather_postings(tandem_bm25 *index, const occurrence *all, size_t count)
{
    index->starts = tandem_alloc(index->term_count + 2, sizeof *index->starts);
    index->postings = tandem_alloc(count, sizeof *index->postings);
    if (!index->starts || !index->postings) {
        return TANDEM_ERROR;
    }
    size_t *next = index->starts + 1; /* next[t] moves from the start of t to its end */
    for (size_t i = 0; i < count; i++) {
        next[all[i].term + 1]++;
    }
    for (size_t term = 0; term < index->term_count; term++) {
        next[term + 1] += next[term];
    }
    for (size_t i = 0; i < count; i++) {
        index->postings[next[all[i].term]++] = (posting){all[i].document, all[i].frequency};
    }
    return TANDEM_OK;
}

/* Documents without a term count neither for idf nor for the mean length, as in
 * Lucene. */
static int weigh(tandem_bm25 *index, const uint32_t *lengths)
{
    index->idf = tandem_alloc(index->term_count, sizeof *index->idf);
    index->norms = tandem_alloc(index->document_count, sizeof *index->norms);
    if (!index->idf || !index->norms) {
        return TANDEM_ERROR;
    }
    double filled = 0, total = 0;
    for (size_t d = 0; d < index->document_count; d++) {
        filled += lengths[d] > 0;
        total += lengths[d];
    }
    double mean = filled > 0 ? total / filled : 1;
    tandem_bm25_options o = index->options;
    for (size_t d = 0; d < index->document_count; d++) {
        index->norms[d] = o.k1 * (1 - o.b + o.b * lengths[d] / mean);
    }
    for (size_t term = 0; term < index->term_count; term++) {
        double df = (double)(index->starts[term + 1] - index->starts[term]);
        index->idf[term] = log1p((filled - df + 0.5) / (df + 0.5));
    }
    return TANDEM_OK;
}

static int build(builder *b, const tandem_text *documents, size_t count)
{
    tandem_bm25 *index = b->index;
    index->arena = tandem_arena_new();
    index->terms = tandem_strmap_new(0);
    b->words = tandem_strmap_new(0);
    b->lengths = tandem_alloc(count, sizeof *b->lengths);
    if (!index->arena || !index->terms || !b->words || !b->lengths) {
        return TANDEM_ERROR;
    }
    for (size_t d = 0; d < count; d++) {
        TANDEM_TRY(add_document(b, &documents[d], (uint32_t)d));
    }
    TANDEM_TRY(gather_postings(index, b->all, b->count));
    return weigh(index, b->lengths);
}

int tandem_bm25_new(tandem_bm25 **out, const tandem_text *documents, size_t count, tandem_bm25_options options)
{
    *out = NULL;
    if (!(options.k1 >= 0 && isfinite(options.k1) && options.b >= 0 && options.b <= 1)) {
        return tandem_error_code(TANDEM_USAGE, "BM25 with k1 %g, b %g; expected k1 >= 0 and b between 0 and 1",
                                 options.k1, options.b);
    }
    if (count > UINT32_MAX) {
        return tandem_error("%zu documents are more than 32-bit indices can name", count);
    }
    builder b = {.index = tandem_alloc(1, sizeof(tandem_bm25))};
    if (!b.index) {
        return TANDEM_ERROR;
    }
    b.index->options = options;
    b.index->document_count = count;
    int rc = build(&b, documents, count);
    tandem_strmap_free(b.words);
    free(b.all);
    free(b.terms.items);
    free(b.lengths);
    if (rc < 0) {
        tandem_bm25_free(b.index);
        return rc;
    }
    *out = b.index;
    return TANDEM_OK;
}

void tandem_bm25_free(tandem_bm25 *index)
{
    if (!index) {
        return;
    }
    tandem_strmap_free(index->terms);
    tandem_arena_free(index->arena);
    free(index->postings);
    free(index->starts);
    free(index->idf);
    free(index->norms);
    free(index);
}

/* ---- queries ------------------------------------------------------------------------- */
/* Appends the terms of a query, one that occurs twice twice; terms that no document
 * has are left out. */
static int append_query(number_list *out, const tandem_bm25 *index, const tandem_text *query)
{
    tandem_words words = tandem_words_of(query->text, query->length);
    int rc;
    while ((rc = tandem_words_next(&words)) > 0) {
        size_t length = tandem_word_to_term(words.word.data, words.word.length), number;
        if (length > 0 && tandem_strmap_find(index->terms, words.word.data, length, &number)) {
            rc = number_list_add(out, number);
            if (rc < 0) {
                break;
            }
        }
    }
    tandem_buffer_free(&words.word);
    return rc;
}

static double term_score(const tandem_bm25 *index, uint32_t term, posting p)
{
    return index->idf[term] * p.frequency / (p.frequency + index->norms[p.document]);
}

/* What a thread needs for one query at a time. */
typedef struct {
    double *scores;               /* [documents], 0 between queries */
    tandem_candidate *candidates; /* [documents] those with a score */
} scratch;

static void search_query(tandem_hits *out, const tandem_bm25 *index, size_t query, const uint32_t *terms, size_t count,
                         scratch *own, const uint32_t *tie_ranks)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t p = index->starts[terms[i]]; p < index->starts[terms[i] + 1]; p++) {
            uint32_t document = index->postings[p].document;
            if (own->scores[document] == 0) { /* every contribution is above 0 */
                own->candidates[found++].document = document;
            }
            own->scores[document] += term_score(index, terms[i], index->postings[p]);
        }
    }
    for (size_t i = 0; i < found; i++) {
        uint32_t document = own->candidates[i].document;
        own->candidates[i].score = (float)own->scores[document];
        own->scores[document] = 0;
    }
    tandem_candidates_select(own->candidates, found, out->k, tie_ranks);
    size_t kept = found < out->k ? found : out->k;
    tandem_candidates_sort(own->candidates, kept, tie_ranks);
    tandem_hits_set(out, query, own->candidates, kept);
}

/* A scratch for each of `threads`; their memory starts at [0]. */
static int make_scratches(scratch *out, size_t threads, size_t documents)
{
    size_t cells;
    if (!tandem_size_mul(&cells, threads, documents)) {
        return tandem_error("%zu documents do not fit in memory", documents);
    }
    out[0].scores = tandem_alloc(cells, sizeof *out->scores);
    out[0].candidates = tandem_alloc(cells, sizeof *out->candidates);
    if (!out[0].scores || !out[0].candidates) {
        return TANDEM_ERROR;
    }
    for (size_t i = 1; i < threads; i++) {
        out[i] = (scratch){out[0].scores + i * documents, out[0].candidates + i * documents};
    }
    return TANDEM_OK;
}

int tandem_bm25_search(tandem_hits *out, const tandem_bm25 *index, const tandem_text *queries, size_t count, size_t k,
                       const uint32_t *tie_ranks)
{
    number_list terms = {0};
    size_t threads = (size_t)omp_get_max_threads();
    int rc = tandem_hits_make(out, count, k, index->document_count);
    if (rc < 0) {
        return rc;
    }
    size_t *starts = tandem_alloc(count + 1, sizeof *starts);
    scratch *scratches = tandem_alloc(threads, sizeof *scratches);
    if (!starts || !scratches) {
        rc = TANDEM_ERROR;
        goto done;
    }
    TANDEM_TRY_GOTO(rc, done, make_scratches(scratches, threads, index->document_count));
    for (size_t q = 0; q < count; q++) {
        TANDEM_TRY_GOTO(rc, done, append_query(&terms, index, &queries[q]));
        starts[q + 1] = terms.count;
    }
#pragma omp parallel for schedule(dynamic, 8) num_threads((int)threads)
    for (size_t q = 0; q < count; q++) {
        scratch *own = &scratches[omp_get_thread_num()];
        search_query(out, index, q, terms.items + starts[q], starts[q + 1] - starts[q], own, tie_ranks);
    }
done:
    free(terms.items);
    free(starts);
    if (scratches) {
        free(scratches[0].scores);
        free(scratches[0].candidates);
    }
    free(scratches);
    if (rc < 0) {
        tandem_hits_free(out);
    }
    return rc;
}

static const posting *find_posting(const tandem_bm25 *index, uint32_t term, uint32_t document)
{
    size_t low = index->starts[term], end = index->starts[term + 1], high = end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->postings[middle].document < document) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < end && index->postings[low].document == document ? &index->postings[low] : NULL;
}

int tandem_bm25_score(float *out, const tandem_bm25 *index, const tandem_text *query, uint32_t document)
{
    number_list terms = {0};
    int rc = append_query(&terms, index, query);
    double score = 0;
    for (size_t i = 0; rc == 0 && i < terms.count; i++) { /* in the order of search_query: the same sum */
        const posting *found = find_posting(index, terms.items[i], document);
        score += found ? term_score(index, terms.items[i], *found) : 0;
    }
    *out = (float)score;
    free(terms.items);
    return rc;
}
