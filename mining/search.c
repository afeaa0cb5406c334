/* search.c - exact maximum inner product search.
 *
 * Scores of a block of queries and a tile of documents come from matrix products, each sifted while it is in the
 * cache, or, for few queries, from inner products at the speed of memory. Their last bits depend on the tile's shape and
 * the CPU, and a smaller copy of the documents (index.c) has fewer of them, so they only choose candidates:
 * whoever may be among the k best within the scores' error is scored again by tandem_dot, and only that score
 * counts. The result is the exact top k of tandem_dot: equal rows have equal scores, and tiles, threads, the
 * other queries and the form of storage have no influence.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mining/dot.h"
#include "mining/index.h"
#include "mining/reservoir.h"
#include "mining/select.h"
#include "model/kernels/search.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/openmp.h"

enum {
    FEW_QUERIES = 8, /* up to these a matrix product is the slower way */
    QUERY_BLOCK = 1024,
    FEW_SCORES = 1 << 19,   /* of few queries and a tile of documents: 2 MB */
    PRODUCT_ROWS = 64,      /* queries of a product */
    TILE_FLOATS = 96 << 10, /* of a product's tile of documents, which stays in the second-level cache */
    TILE_UNIT = 48,         /* its width is a multiple of this, where there are as many: of the panels of every CPU */
    BLOCK_ROOM = 1 << 22,   /* of the reservoirs of a block, at most: 32 MB */
    CACHE_LINE = 64,
};

/* A query's candidates. Threads come with scores of documents in any order: what the query's best
 * are in the end does not depend on it. */
typedef struct {
    tandem_reservoir reservoir;
    omp_lock_t lock;
} bucket;

/* What a thread has to itself. */
typedef struct {
    float *scores;                /* [rows of a product, width of a tile] */
    float *panels;                /* a tile laid out for products */
    tandem_candidate *candidates; /* [room of a reservoir] */
} scratch;

typedef struct {
    const tandem_index *index;
    const float *queries;
    const double *query_norms;
    size_t k;
    const uint32_t *tie_ranks;
    bool few;     /* queries: no matrix product */
    size_t block; /* queries searched for together */
    size_t width; /* documents of a tile */
    size_t threads;
    bucket *buckets;    /* [block] */
    scratch *scratches; /* [threads] */
} search;

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The error of an inner product of n terms in float, in any order of summation, is at
 * most n u / (1 - n u) * |a| |b| (Higham, Accuracy and Stability of Numerical
 * Algorithms, section 3.1, with Cauchy-Schwarz); a few u more for the roundings of the
 * norms, of a scale and of the score; FLT_MIN for each product that underflows, and
 * times the other factor where a library takes denormal numbers for 0. A copy of a
 * document adds its distance from the document times |query|. */
static double score_error(const search *s, double query_norm)
{
    const tandem_index *index = s->index;
    double n = (double)index->dim, nu = (n + 8) * 0x1p-24, distance = s->few ? index->error : 0;
    double document_norm = index->norm + distance;
    return nu / (1 - nu) * query_norm * document_norm + (double)FLT_MIN * (n + sqrt(n) * (query_norm + document_norm)) +
           query_norm * distance;
}

/* Documents lie anywhere in memory: while one is scored, another is on its way. */
static void fetch_ahead(const tandem_index *index, const tandem_reservoir *r, size_t i)
{
    if (i < r->count) {
        const char *row = (const char *)(index->documents + (size_t)r->documents[i] * index->dim);
        for (size_t byte = 0; byte < index->dim * sizeof(float); byte += CACHE_LINE) {
            __builtin_prefetch(row + byte);
        }
    }
}

/* Scores the reservoir's documents truly; the k best come first in `candidates`. Their number. */
static size_t score_truly(const search *s, const tandem_reservoir *r, const float *query, tandem_candidate *candidates)
{
    const tandem_index *index = s->index;
    fetch_ahead(index, r, 0);
    for (size_t i = 0; i < r->count; i++) {
        fetch_ahead(index, r, i + 1);
        size_t document = r->documents[i];
        candidates[i] = (tandem_candidate){tandem_dot(query, index->documents + document * index->dim, index->dim),
                                           r->documents[i]};
    }
    tandem_candidates_select(candidates, r->count, s->k, s->tie_ranks);
    return r->count < s->k ? r->count : s->k;
}

/* Leaves the k best, truly scored, of a reservoir that cutting left too full. */
static void settle(const search *s, tandem_reservoir *r, const float *query, tandem_candidate *candidates)
{
    float lowest = INFINITY;
    r->count = score_truly(s, r, query, candidates);
    for (size_t i = 0; i < r->count; i++) {
        r->scores[i] = candidates[i].score;
        r->documents[i] = candidates[i].document;
        lowest = fminf(lowest, candidates[i].score);
    }
    r->floor = fmaxf(r->floor, tandem_round_down((double)lowest - r->error));
}

/* A row of scores, of documents first .. first + count. */
static void take_row(const search *s, tandem_reservoir *r, const float *query, const float *scores, size_t first,
                     size_t count, tandem_candidate *candidates)
{
    size_t mark = tandem_reservoir_mark(s->k);
    for (size_t start = 0; start < count; start += TANDEM_RESERVOIR_CHUNK) {
        size_t chunk = count - start < TANDEM_RESERVOIR_CHUNK ? count - start : TANDEM_RESERVOIR_CHUNK;
        tandem_reservoir_add(r, scores + start, (uint32_t)(first + start), chunk);
        if (r->count >= mark) {
            tandem_reservoir_cut(r, s->k);
            if (r->count >= mark) {
                settle(s, r, query, candidates);
            }
        }
    }
}

/* Those of a tile for queries first_query .. first_query + count of the block, whose scores the thread has. */
static void take_rows(const search *s, const float *queries, size_t first_query, size_t count, size_t first, size_t width)
{
    const scratch *own = &s->scratches[omp_get_thread_num()];
    for (size_t i = 0; i < count; i++) {
        size_t q = first_query + i;
        omp_set_lock(&s->buckets[q].lock);
        take_row(s, &s->buckets[q].reservoir, queries + q * s->index->dim, own->scores + i * width, first, width, own->candidates);
        omp_unset_lock(&s->buckets[q].lock);
    }
}

/* The documents first .. first + width for `count` queries. */
static void search_tile(const search *s, const float *queries, size_t count, size_t first, size_t width)
{
    const tandem_index *index = s->index;
    const tandem_search_kernels *kernels = tandem_search_kernels_best();
    size_t thread = (size_t)omp_get_thread_num(), dim = index->dim;
    const scratch *own = &s->scratches[thread];
    if (s->few) {
        tandem_index_dots(index, queries, count, first, width, own->scores);
        take_rows(s, queries, 0, count, first, width);
        return;
    }
    kernels->rows_lay_out(index->documents + first * dim, width, dim, own->panels);
    /* Each thread begins with other queries, so that they seldom wait for each other. */
    size_t products = (count + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    for (size_t i = 0; i < products; i++) {
        size_t q = (i + thread * products / s->threads) % products * PRODUCT_ROWS, rows = least(count - q, PRODUCT_ROWS);
        kernels->rows_multiply(queries + q * dim, rows, own->panels, width, dim, own->scores);
        take_rows(s, queries, q, rows, first, width);
    }
}

/* All documents for queries first .. first + count. */
static int search_block(const search *s, size_t first, size_t count)
{
    const float *queries = s->queries + first * s->index->dim;
#pragma omp parallel for schedule(dynamic) num_threads((int)s->threads)
    for (size_t document = 0; document < s->index->count; document += s->width) {
        size_t left = s->index->count - document;
        if (!tandem_interrupted()) {
            search_tile(s, queries, count, document, least(left, s->width));
        }
    }
    if (tandem_interrupted()) {
        return tandem_error_code(TANDEM_INTERRUPTED, "interrupted while searching");
    }
    return TANDEM_OK;
}

static void set_hits(tandem_hits *out, const search *s, size_t first, size_t count)
{
#pragma omp parallel for schedule(dynamic) num_threads((int)s->threads)
    for (size_t q = 0; q < count; q++) {
        tandem_reservoir *r = &s->buckets[q].reservoir;
        tandem_candidate *candidates = s->scratches[omp_get_thread_num()].candidates;
        tandem_reservoir_cut(r, s->k);
        size_t found = score_truly(s, r, s->queries + (first + q) * s->index->dim, candidates);
        tandem_candidates_sort(candidates, found, s->tie_ranks);
        tandem_hits_set(out, first + q, candidates, found);
    }
}

static int search_all(tandem_hits *out, const search *s)
{
    tandem_progress *progress = tandem_progress_new("search", "queries", out->queries);
    int rc = TANDEM_OK;
    for (size_t first = 0; first < out->queries && rc == TANDEM_OK; first += s->block) {
        size_t count = out->queries - first < s->block ? out->queries - first : s->block;
        for (size_t q = 0; q < count; q++) {
            double norm = s->query_norms[first + q], error = score_error(s, norm);
            tandem_reservoir_begin(&s->buckets[q].reservoir, error, norm * s->index->norm + error);
        }
        rc = search_block(s, first, count);
        if (rc == TANDEM_OK) {
            set_hits(out, s, first, count);
            tandem_progress_update(progress, first + count, NULL);
        }
    }
    tandem_progress_free(progress);
    return rc;
}

/* Blocks of queries that a tile of documents is laid out for once, and tiles that keep every thread busy. */
static void divide(search *s, size_t queries)
{
    size_t most = BLOCK_ROOM / tandem_reservoir_room(s->k), share = s->index->count / (4 * s->threads);
    s->block = least(queries, least(QUERY_BLOCK, most < 1 ? 1 : most));
    s->width = least(s->few ? FEW_SCORES / s->block : TILE_FLOATS / s->index->dim, share) / TILE_UNIT * TILE_UNIT;
    s->width = s->width < TILE_UNIT ? TILE_UNIT : s->width;
}

/* The first cache line that begins at or after `memory`: a vector that lies across two costs two loads. */
static void *aligned(char *memory)
{
    return memory + (CACHE_LINE - (uintptr_t)memory % CACHE_LINE) % CACHE_LINE;
}

static int search_within(tandem_hits *out, search *s)
{
    size_t room = tandem_reservoir_room(s->k);
    s->threads = (size_t)omp_get_max_threads();
    divide(s, out->queries);
    s->buckets = tandem_alloc(s->block, sizeof *s->buckets);
    s->scratches = tandem_alloc(s->threads, sizeof *s->scratches);
    float *scores = tandem_alloc(s->block * room, sizeof *scores);
    uint32_t *documents = tandem_alloc(s->block * room, sizeof *documents);
    size_t tile_scores = (s->few ? s->block : PRODUCT_ROWS) * s->width, tile_panels = s->few ? 0 : s->index->dim * s->width;
    char *tiles = tandem_alloc(s->threads * (tile_scores + tile_panels) + CACHE_LINE / sizeof(float), sizeof(float));
    tandem_candidate *candidates = tandem_alloc(s->threads * room, sizeof *candidates);
    int rc = TANDEM_ERROR;
    if (s->buckets && s->scratches && scores && documents && tiles && candidates) {
        for (size_t t = 0; t < s->threads; t++) {
            float *own = (float *)aligned(tiles) + t * (tile_scores + tile_panels);
            s->scratches[t] = (scratch){own, own + tile_scores, candidates + t * room};
        }
        for (size_t q = 0; q < s->block; q++) {
            s->buckets[q].reservoir.scores = scores + q * room;
            s->buckets[q].reservoir.documents = documents + q * room;
            omp_init_lock(&s->buckets[q].lock);
        }
        rc = search_all(out, s);
        for (size_t q = 0; q < s->block; q++) {
            omp_destroy_lock(&s->buckets[q].lock);
        }
    }
    free(s->buckets);
    free(s->scratches);
    free(scores);
    free(documents);
    free(tiles);
    free(candidates);
    return rc;
}

/* No score, and no sum of 127 times a query's numbers, that a float cannot hold. */
static int check_lengths(double query_norm, const tandem_index *index)
{
    double copy = index->storage == TANDEM_STORE_INT8 ? 127 * sqrt((double)index->dim) : 0;
    double longest = fmax(copy, index->norm + index->error);
    if (query_norm * longest > (double)FLT_MAX / 2) {
        return tandem_error("vectors are too long for scores in float: lengths to %g and %g", query_norm, index->norm);
    }
    return TANDEM_OK;
}

int tandem_index_search(tandem_hits *out, const tandem_index *index, const float *queries, size_t nq, size_t k,
                        const uint32_t *tie_ranks)
{
    TANDEM_TRY(tandem_hits_make(out, nq, k, index->count));
    if (nq == 0 || index->count == 0) {
        return TANDEM_OK;
    }
    double longest, *norms = tandem_alloc(nq, sizeof *norms);
    int rc = norms ? tandem_row_norms(norms, &longest, queries, nq, index->dim, "query") : TANDEM_ERROR;
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, check_lengths(longest, index));
    search s = {.index = index, .queries = queries, .query_norms = norms, .k = out->k, .tie_ranks = tie_ranks,
                .few = nq <= FEW_QUERIES};
    rc = search_within(out, &s);
done:
    free(norms);
    if (rc < 0) {
        tandem_hits_free(out);
    }
    return rc;
}

int tandem_search_exact(tandem_hits *out, const float *queries, size_t nq, const float *documents,
                        size_t nd, size_t dim, size_t k, const uint32_t *tie_ranks)
{
    tandem_index *index;
    memset(out, 0, sizeof *out);
    TANDEM_TRY(tandem_index_new(&index, documents, nd, dim, TANDEM_STORE_FLOAT32));
    int rc = tandem_index_search(out, index, queries, nq, k, tie_ranks);
    tandem_index_free(index);
    return rc;
}
