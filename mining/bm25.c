/* bm25.c - BM25 over an index: top k without looking at every posting, and single scores.
 *
 * Documents are scored a window at a time. What a term can add in a window is bounded by the highest frequency and
 * the least length of its blocks there. The terms with the lowest bounds, as many as cannot lift a document above
 * the k-th score so far, only add to documents that the others found (MaxScore of Turtle and Flood 1995, with the
 * block bounds of Ding and Suel 2011).
 *
 * Scores are summed as integers: exact, in whatever order terms come, and so are the comparisons with bounds.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mining/analyzer.h"
#include "mining/bm25_index.h"
#include "mining/select.h"
#include "tandem/cache.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/openmp.h"

enum { WINDOW = 4096 };

/* ---- from texts or the cache ------------------------------------------------------------- */
static int cache_path(char **out, const tandem_text *documents, size_t count, tandem_analyzer analyzer)
{
    tandem_hasher *hasher = tandem_hasher_new();
    if (!hasher) {
        return TANDEM_ERROR;
    }
    tandem_hasher_string(hasher, "bm25 1"); /* to be raised when analysis or file form change */
    tandem_hasher_int(hasher, analyzer);
    tandem_hasher_int(hasher, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        tandem_hasher_field(hasher, documents[i].text, documents[i].length);
    }
    return tandem_cache_path(out, "bm25", tandem_hasher_done(hasher), ".bm25");
}

static int open_entry(tandem_bm25 **out, const char *path, size_t count, tandem_bm25_options options)
{
    int rc = tandem_bm25_open(out, path, options);
    if (rc == TANDEM_OK && (*out)->footer.documents != count) {
        tandem_bm25_free(*out);
        *out = NULL;
        rc = tandem_error("%s: not of these documents", path);
    }
    if (rc < 0 && rc != TANDEM_NOT_FOUND) {
        tandem_log_warn("the cache entry is damaged and made anew: %s", tandem_error_message());
    }
    return rc;
}

/* From the cache, making the entry if need be. *out stays NULL where there is no cache that can be used. */
static int use_cache(tandem_bm25 **out, const tandem_text *documents, size_t count, tandem_bm25_options options)
{
    char *path;
    TANDEM_TRY(cache_path(&path, documents, count, options.analyzer));
    if (!path) {
        return TANDEM_OK;
    }
    int rc = open_entry(out, path, count, options);
    if (rc < 0) {
        rc = tandem_bm25_write(path, documents, count, options.analyzer);
        if (rc == TANDEM_OK) {
            rc = tandem_bm25_open(out, path, options);
        }
    }
    if (rc < 0 && rc != TANDEM_INTERRUPTED) {
        tandem_log_warn("the BM25 index is not cached: %s", tandem_error_message());
        rc = TANDEM_OK;
    }
    free(path);
    return rc;
}

int tandem_bm25_new(tandem_bm25 **out, const tandem_text *documents, size_t count, tandem_bm25_options options,
                    bool cache)
{
    tandem_buffer memory = TANDEM_BUFFER_INIT;
    *out = NULL;
    TANDEM_TRY(tandem_bm25_check_options(options));
    if (cache) {
        TANDEM_TRY(use_cache(out, documents, count, options));
        if (*out) {
            return TANDEM_OK;
        }
    }
    int rc = tandem_bm25_build(NULL, &memory, documents, count, options.analyzer, TANDEM_BM25_RUN);
    if (rc < 0) {
        tandem_buffer_free(&memory);
        return rc;
    }
    size_t size = memory.length;
    return tandem_bm25_from_memory(out, tandem_buffer_take(&memory), size, options);
}

int tandem_bm25_write(const char *path, const tandem_text *documents, size_t count, tandem_analyzer analyzer)
{
    return tandem_bm25_build(path, NULL, documents, count, analyzer, TANDEM_BM25_RUN);
}

/* ---- queries ----------------------------------------------------------------------------- */
typedef struct {
    uint32_t number;
    float weight; /* what the term adds at most */
} query_term;

/* The different terms that a document has. */
typedef struct {
    query_term *terms; /* by number */
    size_t count, room;
    double scale; /* scores times this are summed as integers; a power of two */
} bm25_query;

static int add_term(bm25_query *query, uint32_t number)
{
    void *terms = query->terms;
    TANDEM_TRY(tandem_grow(&terms, &query->room, query->count + 1, sizeof *query->terms));
    query->terms = terms;
    query->terms[query->count++] = (query_term){number, 1};
    return TANDEM_OK;
}

static int compare_terms(const void *left, const void *right)
{
    uint32_t a = ((const query_term *)left)->number, b = ((const query_term *)right)->number;
    return (a > b) - (a < b);
}

/* Puts equal terms together and weighs them. All weights together stay below 2^62 in integers. */
static void weigh_terms(bm25_query *query, const tandem_bm25 *index)
{
    size_t kept = 0;
    double total = 0;
    if (query->count > 0) {
        qsort(query->terms, query->count, sizeof *query->terms, compare_terms);
    }
    for (size_t i = 0, end; i < query->count; i = end) {
        query_term term = query->terms[i];
        for (end = i + 1; end < query->count && query->terms[end].number == term.number;) {
            end++;
        }
        double n = (double)index->footer.filled, df = (double)tandem_bm25_frequency(index, term.number);
        float idf = (float)log(1 + (n - df + 0.5) / (df + 0.5));
        term.weight = (float)(end - i) * idf;
        total += (double)term.weight;
        query->terms[kept++] = term;
    }
    query->count = kept;
    query->scale = total > 0 ? ldexp(1, 60 - ilogb(total)) : 1;
}

static int read_query(bm25_query *query, const tandem_bm25 *index, const tandem_text *text)
{
    tandem_words words = tandem_words_of(text->text, text->length);
    int rc;
    query->count = 0;
    while ((rc = tandem_words_next(&words)) > 0) {
        size_t length = tandem_word_to_term(words.word.data, words.word.length, index->options.analyzer);
        uint32_t number;
        if (length > 0 && tandem_bm25_find(index, words.word.data, length, &number)) {
            rc = add_term(query, number);
            if (rc < 0) {
                break;
            }
        }
    }
    tandem_buffer_free(&words.word);
    if (rc == TANDEM_OK) {
        weigh_terms(query, index);
    }
    return rc;
}

/* What a term adds. In float this never falls when the frequency grows or the length shrinks: each operation is
 * monotonic, and so is its rounding. So the bounds of blocks hold. */
static int64_t contribution(const tandem_bm25 *index, float weight, double scale, uint32_t frequency, uint8_t norm)
{
    return (int64_t)((double)(weight - weight / (1 + (float)frequency * index->inverses[norm])) * scale);
}

static float score_of(int64_t sum, double scale)
{
    return (float)((double)sum / scale);
}

/* ---- cursors ----------------------------------------------------------------------------- */
/* A place in the postings of a term. */
typedef struct {
    float weight;
    uint64_t first, end, block; /* of the term's blocks; the present one */
    bool unpacked;              /* the present block */
    size_t at, count;           /* in it */
    int64_t bound;              /* of what the term adds in the window */
    tandem_bm25_postings postings;
} cursor;

/* What threads need for one query at a time. */
typedef struct {
    bm25_query query;
    cursor *cursors;
    cursor **order; /* by bound, those with postings left */
    size_t cursor_room, order_room;
    tandem_candidate *best; /* [k] a heap, the worst at its root */
    size_t best_count;
    int64_t floor; /* a sum that is not above it is not among the k best */
    int64_t sums[WINDOW];
    uint64_t found[WINDOW / 64]; /* bit d: the window's document d has a sum */
    uint16_t survivors[WINDOW];
} scratch;

typedef struct {
    const tandem_bm25 *index;
    size_t k;
    const uint32_t *tie_ranks;
} search;

static void skip_blocks(const tandem_bm25 *index, cursor *c, uint64_t document)
{
    while (c->block < c->end && index->blocks[c->block].last < document) {
        c->block++;
        c->unpacked = false;
    }
}

/* Moves on to the first posting at `document` or after it; false when there is none. */
static bool seek(const tandem_bm25 *index, cursor *c, uint64_t document)
{
    skip_blocks(index, c, document);
    if (c->block == c->end) {
        return false;
    }
    if (!c->unpacked) {
        tandem_bm25_unpack(&c->postings, index, c->block, c->first);
        c->unpacked = true;
        c->at = 0;
        c->count = index->blocks[c->block].count + 1u;
    }
    while (c->postings.documents[c->at] < document) { /* the last one is not */
        c->at++;
    }
    return true;
}

/* The bound for documents `low` .. `high` - 1; false when the term has no posting left. */
static bool bound_window(const tandem_bm25 *index, cursor *c, double scale, uint64_t low, uint64_t high)
{
    skip_blocks(index, c, low);
    c->bound = 0;
    for (uint64_t b = c->block; b < c->end; b++) {
        const tandem_bm25_block *block = &index->blocks[b];
        if (b > c->first && block[-1].last + 1ull >= high) {
            break;
        }
        int64_t bound = contribution(index, c->weight, scale, block->max_frequency, block->min_norm);
        c->bound = bound > c->bound ? bound : c->bound;
    }
    return c->block < c->end;
}

/* ---- the k best -------------------------------------------------------------------------- */
static void sift_up(tandem_candidate *heap, size_t at, const uint32_t *ranks)
{
    while (at > 0 && tandem_candidate_before(heap[(at - 1) / 2], heap[at], ranks)) {
        tandem_candidate parent = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = heap[at];
        heap[at] = parent;
        at = (at - 1) / 2;
    }
}

static void sift_down(tandem_candidate *heap, size_t count, const uint32_t *ranks)
{
    for (size_t at = 0, child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && tandem_candidate_before(heap[child], heap[child + 1], ranks)) {
            child++;
        }
        if (!tandem_candidate_before(heap[at], heap[child], ranks)) {
            return;
        }
        tandem_candidate kept = heap[at];
        heap[at] = heap[child];
        heap[child] = kept;
    }
}

/* With k documents, only a sum that rounds to the k-th score at least comes before it. */
static void offer(const search *s, scratch *own, uint64_t document, int64_t sum)
{
    const tandem_candidate item = {.score = score_of(sum, own->query.scale), .document = (uint32_t)document};
    if (own->best_count < s->k) {
        own->best[own->best_count++] = item;
        sift_up(own->best, own->best_count - 1, s->tie_ranks);
    } else if (tandem_candidate_before(item, own->best[0], s->tie_ranks)) {
        own->best[0] = item;
        sift_down(own->best, s->k, s->tie_ranks);
    } else {
        return;
    }
    if (own->best_count == s->k) {
        own->floor = (int64_t)floor((double)nextafterf(own->best[0].score, -INFINITY) * own->query.scale);
    }
}

/* ---- a window ---------------------------------------------------------------------------- */
/* The terms with postings left, by their bounds in the window. */
static size_t order_cursors(const search *s, scratch *own, size_t count, uint64_t low, uint64_t high)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        cursor *c = own->order[i];
        if (!bound_window(s->index, c, own->query.scale, low, high)) {
            continue;
        }
        size_t at = kept++;
        for (; at > 0 && own->order[at - 1]->bound > c->bound; at--) {
            own->order[at] = own->order[at - 1];
        }
        own->order[at] = c;
    }
    return kept;
}

static void add_postings(const search *s, scratch *own, cursor *c, uint64_t low, uint64_t high)
{
    for (uint64_t from = low; seek(s->index, c, from);) {
        for (; c->at < c->count && c->postings.documents[c->at] < high; c->at++) {
            uint32_t document = c->postings.documents[c->at];
            size_t place = document - low;
            own->sums[place] += contribution(s->index, c->weight, own->query.scale, c->postings.frequencies[c->at],
                                             s->index->norms[document]);
            own->found[place / 64] |= 1ull << place % 64;
        }
        if (c->at < c->count) {
            return;
        }
        from = s->index->blocks[c->block].last + 1ull;
    }
}

/* Lists the documents with a sum, in ascending order. */
static size_t list_found(scratch *own)
{
    size_t count = 0;
    for (size_t i = 0; i < WINDOW / 64; i++) {
        for (uint64_t bits = own->found[i]; bits; bits &= bits - 1) {
            own->survivors[count++] = (uint16_t)(i * 64 + (size_t)__builtin_ctzll(bits));
        }
        own->found[i] = 0;
    }
    return count;
}

/* Drops the documents that reach no place with `more`, which is the most that the terms to come can add. */
static size_t drop_hopeless(scratch *own, size_t count, int64_t more)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        uint16_t place = own->survivors[i];
        if (own->sums[place] + more > own->floor) {
            own->survivors[kept++] = place;
        } else {
            own->sums[place] = 0;
        }
    }
    return kept;
}

/* Adds what a term has for the documents that are left. */
static void add_to_survivors(const search *s, scratch *own, cursor *c, size_t count, uint64_t low)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t document = low + own->survivors[i];
        if (!seek(s->index, c, document)) {
            return;
        }
        if (c->postings.documents[c->at] == document) {
            own->sums[own->survivors[i]] += contribution(s->index, c->weight, own->query.scale,
                                                         c->postings.frequencies[c->at], s->index->norms[document]);
        }
    }
}

static void search_window(const search *s, scratch *own, size_t count, uint64_t low, uint64_t high)
{
    size_t lesser = 0; /* terms that find no document by themselves */
    int64_t more = 0;  /* what they add together, at most */
    while (lesser < count && more + own->order[lesser]->bound <= own->floor) {
        more += own->order[lesser++]->bound;
    }
    if (lesser == count) {
        return;
    }
    for (size_t i = lesser; i < count; i++) {
        add_postings(s, own, own->order[i], low, high);
    }
    size_t left = list_found(own);
    while (lesser > 0 && left > 0) {
        left = drop_hopeless(own, left, more);
        cursor *c = own->order[--lesser];
        add_to_survivors(s, own, c, left, low);
        more -= c->bound;
    }
    for (size_t i = 0; i < left; i++) {
        uint16_t place = own->survivors[i];
        if (own->sums[place] > own->floor) {
            offer(s, own, low + place, own->sums[place]);
        }
        own->sums[place] = 0;
    }
}

/* ---- a query ----------------------------------------------------------------------------- */
static void start_cursor(cursor *c, const tandem_bm25 *index, query_term term)
{
    c->weight = term.weight;
    c->first = c->block = index->first[term.number];
    c->end = index->first[term.number + 1];
    c->unpacked = false;
}

static int place_cursors(scratch *own, const tandem_bm25 *index)
{
    size_t count = own->query.count;
    void *cursors = own->cursors;
    void *order = own->order;
    int rc = tandem_grow(&cursors, &own->cursor_room, count, sizeof *own->cursors);
    own->cursors = cursors;
    TANDEM_TRY(rc);
    rc = tandem_grow(&order, &own->order_room, count, sizeof *own->order);
    own->order = order;
    TANDEM_TRY(rc);
    for (size_t i = 0; i < count; i++) {
        start_cursor(&own->cursors[i], index, own->query.terms[i]);
        own->order[i] = &own->cursors[i];
    }
    return TANDEM_OK;
}

static int search_query(tandem_hits *out, const search *s, scratch *own, const tandem_text *text, size_t row)
{
    TANDEM_TRY(read_query(&own->query, s->index, text));
    TANDEM_TRY(place_cursors(own, s->index));
    size_t count = own->query.count;
    uint64_t documents = s->index->footer.documents;
    own->best_count = 0;
    own->floor = -1;
    for (uint64_t low = 0; low < documents; low += WINDOW) {
        uint64_t high = documents - low < WINDOW ? documents : low + WINDOW;
        count = order_cursors(s, own, count, low, high);
        if (count == 0) {
            break;
        }
        search_window(s, own, count, low, high);
    }
    tandem_candidates_sort(own->best, own->best_count, s->tie_ranks);
    tandem_hits_set(out, row, own->best, own->best_count);
    return TANDEM_OK;
}

static void free_scratches(scratch *scratches, size_t count)
{
    for (size_t i = 0; scratches && i < count; i++) {
        free(scratches[i].query.terms);
        free(scratches[i].cursors);
        free(scratches[i].order);
        free(scratches[i].best);
    }
    free(scratches);
}

static int make_scratches(scratch **out, size_t count, size_t k)
{
    *out = tandem_alloc(count, sizeof **out);
    for (size_t i = 0; *out && i < count; i++) {
        (*out)[i].best = tandem_alloc(k, sizeof *(*out)->best);
        if (!(*out)[i].best) {
            free_scratches(*out, count);
            *out = NULL;
        }
    }
    return *out ? TANDEM_OK : TANDEM_ERROR;
}

/* All queries; each thread has a scratch. */
static int search_all(tandem_hits *out, const search *s, scratch *scratches, const tandem_text *queries, size_t count)
{
    int failed = TANDEM_OK;
#pragma omp parallel for schedule(dynamic, 8)
    for (size_t q = 0; q < count; q++) {
        int rc = tandem_interrupted() ? TANDEM_INTERRUPTED
                                      : search_query(out, s, &scratches[omp_get_thread_num()], &queries[q], q);
        if (rc < 0) {
#pragma omp atomic write
            failed = rc;
        }
    }
    if (failed == TANDEM_INTERRUPTED) {
        return tandem_error_code(failed, "interrupted while searching");
    }
    return failed < 0 ? tandem_error("out of memory: the terms of a query") : TANDEM_OK;
}

int tandem_bm25_search(tandem_hits *out, const tandem_bm25 *index, const tandem_text *queries, size_t count, size_t k,
                       const uint32_t *tie_ranks)
{
    size_t threads = (size_t)omp_get_max_threads();
    scratch *scratches;
    TANDEM_TRY(tandem_hits_make(out, count, k, index->footer.documents));
    const search s = {index, out->k, tie_ranks};
    int rc = make_scratches(&scratches, threads, s.k);
    if (rc == TANDEM_OK && s.k > 0) {
        rc = search_all(out, &s, scratches, queries, count);
    }
    free_scratches(scratches, threads);
    if (rc < 0) {
        tandem_hits_free(out);
    }
    return rc;
}

/* ---- single scores ----------------------------------------------------------------------- */
int tandem_bm25_score(float *out, const tandem_bm25 *index, const tandem_text *query, uint32_t document)
{
    bm25_query read = {0};
    cursor c;
    int64_t sum = 0;
    int rc = read_query(&read, index, query);
    for (size_t i = 0; rc == TANDEM_OK && i < read.count; i++) {
        start_cursor(&c, index, read.terms[i]);
        if (seek(index, &c, document) && c.postings.documents[c.at] == document) {
            sum += contribution(index, c.weight, read.scale, c.postings.frequencies[c.at], index->norms[document]);
        }
    }
    if (rc == TANDEM_OK) {
        *out = score_of(sum, read.scale);
    }
    free(read.terms);
    return rc;
}
