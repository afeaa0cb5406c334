/* search.c - exact maximum inner product search.
 *
 * Scores of a block of queries and a tile of documents come from one matrix product.
 * Its last bits depend on the library, the tile's shape and the CPU, so they only
 * choose candidates: whoever may be among the k best within the product's rounding
 * error is scored again by tandem_dot, and only that score counts. The result is the
 * exact top k of tandem_dot: equal rows have equal scores, and tiles, threads and the
 * other queries have no influence.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mining/dot.h"
#include "mining/select.h"
#include "model/torch/shim.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/search.h"

enum {
    QUERY_BLOCK = 1024,
    DOCUMENT_TILE = 1024,
    SCAN = 16,                /* scores looked at together */
    LEAST_ROOM = 1024,        /* candidates of a query, at least */
    BLOCK_CANDIDATES = 1 << 22 /* of a block of queries, at most: 48 MB */
};

/* The candidates of one query. Room for at least 2 k: it is cut down to the k best
 * only every k candidates. */
typedef struct {
    tandem_candidate *items;
    size_t count;
    double error; /* bound of |rough score - score| */
    float floor;  /* rough scores below it are not among the k best */
} reservoir;

typedef struct {
    const float *queries, *documents;
    size_t dim, documents_count;
    size_t k, room; /* hits wanted; candidates that a reservoir holds */
    const uint32_t *tie_ranks;
} search;

/* The error of an inner product of n terms in float, in any order of summation, is at
 * most n u / (1 - n u) * |a| |b| (Higham, Accuracy and Stability of Numerical
 * Algorithms, section 3.1, with Cauchy-Schwarz); a few u more for the roundings of the
 * norms and of the score, and FLT_MIN a term for products that underflow. */
static double rounding_error(size_t dim, double query_norm, double document_norm)
{
    double nu = (double)(dim + 8) * 0x1p-24;
    return nu / (1 - nu) * query_norm * document_norm + (double)dim * (double)FLT_MIN;
}

static float round_down(double x)
{
    float rounded = (float)x;
    return (double)rounded > x ? nextafterf(rounded, -INFINITY) : rounded;
}

/* The lowest score of `count` > 0 candidates. */
static float lowest(const tandem_candidate *items, size_t count)
{
    float score = items[0].score;
    for (size_t i = 1; i < count; i++) {
        score = fminf(score, items[i].score);
    }
    return score;
}

/* Drops the candidates that cannot be among the k best: with a_k the k-th best score,
 * rough or not, and e the error, the k-th best true score is at least a_k - e, and a
 * candidate below a_k - 2 e does not reach it. */
static void drop_hopeless(const search *s, reservoir *r)
{
    tandem_candidates_select(r->items, r->count, s->k, s->tie_ranks);
    float limit = round_down((double)lowest(r->items, s->k) - 2 * r->error);
    size_t kept = s->k;
    for (size_t i = s->k; i < r->count; i++) {
        if (r->items[i].score >= limit) {
            r->items[kept++] = r->items[i];
        }
    }
    r->count = kept;
}

/* Leaves the k best, truly scored. */
static void settle(const search *s, reservoir *r, const float *query)
{
    if (r->count > s->k) {
        drop_hopeless(s, r);
    }
    for (size_t i = 0; i < r->count; i++) {
        tandem_candidate *item = &r->items[i];
        if (item->rough) {
            item->score = tandem_dot(query, s->documents + item->document * s->dim, s->dim);
            item->rough = false;
        }
    }
    if (r->count >= s->k) {
        tandem_candidates_select(r->items, r->count, s->k, s->tie_ranks);
        r->count = s->k;
        r->floor = round_down((double)lowest(r->items, s->k) - r->error);
    }
}

static bool any_reaches(const float *scores, float floor)
{
    int any = 0;
    for (size_t i = 0; i < SCAN; i++) {
        any |= scores[i] >= floor;
    }
    return any != 0;
}

/* Takes from a row of rough scores, of documents first .. first + count, those that
 * may be among the k best. */
static void scan_row(const search *s, reservoir *r, const float *query, const float *scores, size_t first, size_t count)
{
    for (size_t start = 0; start < count; start += SCAN) {
        size_t end = start + SCAN;
        if (end > count) {
            end = count;
        } else if (!any_reaches(scores + start, r->floor)) {
            continue;
        }
        for (size_t i = start; i < end; i++) {
            if (scores[i] >= r->floor) {
                r->items[r->count++] = (tandem_candidate){scores[i], (uint32_t)(first + i), true};
                if (r->count == s->room) {
                    settle(s, r, query);
                }
            }
        }
    }
}

/* All documents for queries first .. first + count; `tile` holds count *
 * DOCUMENT_TILE scores. */
static int search_block(const search *s, reservoir *reservoirs, float *tile, size_t first, size_t count)
{
    const float *queries = s->queries + first * s->dim;
    for (size_t document = 0; document < s->documents_count; document += DOCUMENT_TILE) {
        if (tandem_interrupted()) {
            return tandem_error_code(TANDEM_INTERRUPTED, "interrupted while searching");
        }
        size_t width = s->documents_count - document;
        if (width > DOCUMENT_TILE) {
            width = DOCUMENT_TILE;
        }
        TANDEM_TRY(tandem_sgemm_nt((int64_t)count, (int64_t)width, (int64_t)s->dim, queries, (int64_t)s->dim,
                                   s->documents + document * s->dim, (int64_t)s->dim, tile, (int64_t)width));
#pragma omp parallel for schedule(dynamic, 8)
        for (size_t q = 0; q < count; q++) {
            scan_row(s, &reservoirs[q], queries + q * s->dim, tile + q * width, document, width);
        }
    }
    return TANDEM_OK;
}

static int search_all(tandem_hits *out, const search *s, const double *query_norms, double document_norm,
                      reservoir *reservoirs, float *tile, size_t block)
{
    tandem_progress *progress = tandem_progress_new("search", "queries", out->queries);
    int rc = TANDEM_OK;
    for (size_t first = 0; first < out->queries && rc == TANDEM_OK; first += block) {
        size_t count = out->queries - first < block ? out->queries - first : block;
        for (size_t q = 0; q < count; q++) {
            reservoirs[q].count = 0;
            reservoirs[q].error = rounding_error(s->dim, query_norms[first + q], document_norm);
            reservoirs[q].floor = -INFINITY;
        }
        rc = search_block(s, reservoirs, tile, first, count);
        if (rc == TANDEM_OK) {
#pragma omp parallel for schedule(dynamic, 8)
            for (size_t q = 0; q < count; q++) {
                reservoir *r = &reservoirs[q];
                settle(s, r, s->queries + (first + q) * s->dim);
                tandem_candidates_sort(r->items, r->count, s->tie_ranks);
                tandem_hits_set(out, first + q, r->items, r->count);
            }
            tandem_progress_update(progress, first + count, NULL);
        }
    }
    tandem_progress_free(progress);
    return rc;
}

/* Finite rows, and no product that a float cannot hold. */
static int check_vectors(double *query_norms, double *document_norm, const search *s, size_t queries)
{
    double query_norm;
    double *norms = tandem_alloc(s->documents_count, sizeof *norms);
    if (!norms) {
        return TANDEM_ERROR;
    }
    int rc = tandem_row_norms(norms, document_norm, s->documents, s->documents_count, s->dim, "document");
    free(norms);
    TANDEM_TRY(rc);
    TANDEM_TRY(tandem_row_norms(query_norms, &query_norm, s->queries, queries, s->dim, "query"));
    if (query_norm * *document_norm > (double)FLT_MAX / 2) {
        return tandem_error("vectors are too long for scores in float: lengths to %g and %g", query_norm,
                            *document_norm);
    }
    return TANDEM_OK;
}

int tandem_search_exact(tandem_hits *out, const float *queries, size_t nq, const float *documents,
                        size_t nd, size_t dim, size_t k, const uint32_t *tie_ranks)
{
    memset(out, 0, sizeof *out);
    if (dim == 0 || dim >= 1 << 23) {
        return tandem_error("vectors of %zu dimensions; expected 1 to %d", dim, (1 << 23) - 1);
    }
    if (nd > UINT32_MAX) {
        return tandem_error("%zu documents are more than 32-bit indices can name", nd);
    }
    TANDEM_TRY(tandem_hits_make(out, nq, k, nd));
    if (nq == 0 || nd == 0) {
        return TANDEM_OK;
    }
    search s = {queries, documents, dim, nd, out->k, 2 * out->k, tie_ranks};
    if (s.room < LEAST_ROOM) {
        s.room = LEAST_ROOM;
    }
    size_t block = BLOCK_CANDIDATES / s.room;
    block = block < 1 ? 1 : block > QUERY_BLOCK ? QUERY_BLOCK : block;
    block = block > nq ? nq : block;

    int rc = TANDEM_ERROR;
    double document_norm;
    double *query_norms = tandem_alloc(nq, sizeof *query_norms);
    float *tile = tandem_alloc(block * DOCUMENT_TILE, sizeof *tile);
    reservoir *reservoirs = tandem_alloc(block, sizeof *reservoirs);
    tandem_candidate *candidates = tandem_alloc(block * s.room, sizeof *candidates);
    if (query_norms && tile && reservoirs && candidates) {
        for (size_t q = 0; q < block; q++) {
            reservoirs[q].items = candidates + q * s.room;
        }
        rc = check_vectors(query_norms, &document_norm, &s, nq);
        if (rc == TANDEM_OK) {
            rc = search_all(out, &s, query_norms, document_norm, reservoirs, tile, block);
        }
    }
    free(query_norms);
    free(tile);
    free(reservoirs);
    free(candidates);
    if (rc < 0) {
        tandem_hits_free(out);
    }
    return rc;
}
