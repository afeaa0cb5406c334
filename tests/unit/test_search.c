/* Exact search against a sort of all scores in double; every form of storage and number of threads against it. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/openmp.h"
#include "tandem/random.h"
#include "tandem/search.h"

static float *vectors(size_t count, size_t dim)
{
    float *rows = calloc(count * dim + 1, sizeof *rows);
    assert_non_null(rows);
    return rows;
}

/* A permutation of 0 .. count. */
static uint32_t *random_ranks(size_t count, uint64_t seed)
{
    uint32_t *ranks = calloc(count + 1, sizeof *ranks);
    assert_non_null(ranks);
    for (uint32_t i = 0; i < count; i++) {
        ranks[i] = i;
    }
    tandem_random random = tandem_random_stream(seed, "ranks", 0);
    tandem_random_shuffle(&random, ranks, count);
    return ranks;
}

typedef struct {
    float score;
    uint32_t rank, document;
} expected_hit;

static int better_first(const void *left, const void *right)
{
    const expected_hit *a = left, *b = right;
    if (a->score != b->score) {
        return a->score > b->score ? -1 : 1;
    }
    return (a->rank > b->rank) - (a->rank < b->rank);
}

/* The inner product in double, one term after the other. */
static float plain_dot(const float *a, const float *b, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return (float)sum;
}

/* Searches and compares every hit: the documents must be the same. `ulp` is how far a
 * score may lie off: 0 where all sums are exact in double, else FLT_EPSILON, the one
 * rounding to float that may fall to the other side when the order of the sum differs. */
static void check_search(const float *queries, size_t nq, const float *documents, size_t nd, size_t dim, size_t k,
                         const uint32_t *ranks, double ulp)
{
    tandem_hits hits;
    expected_hit *all = calloc(nd + 1, sizeof *all);
    assert_non_null(all);
    assert_int_equal(tandem_search_exact(&hits, queries, nq, documents, nd, dim, k, ranks), 0);
    assert_int_equal(hits.queries, nq);
    assert_int_equal(hits.k, k < nd ? k : nd);
    for (size_t q = 0; q < nq; q++) {
        for (size_t d = 0; d < nd; d++) {
            float score = plain_dot(queries + q * dim, documents + d * dim, dim);
            all[d] = (expected_hit){score, ranks ? ranks[d] : (uint32_t)d, (uint32_t)d};
        }
        qsort(all, nd, sizeof *all, better_first);
        assert_int_equal(hits.counts[q], hits.k);
        for (size_t i = 0; i < hits.k; i++) {
            double score = hits.scores[q * hits.k + i];
            assert_int_equal(hits.documents[q * hits.k + i], all[i].document);
            assert_true(fabs(score - all[i].score) <= ulp * fabs(score));
        }
    }
    tandem_hits_free(&hits);
    assert_null(hits.documents);
    free(all);
}

/* Small whole numbers: hundreds of documents tie at every rank, the k-th included. */
static void test_ties(void **state)
{
    (void)state;
    enum { NQ = 37, ND = 3000, DIM = 16 };
    float *queries = vectors(NQ, DIM), *documents = vectors(ND, DIM);
    tandem_random random = tandem_random_stream(1, "vectors", 0);
    for (size_t i = 0; i < NQ * DIM; i++) {
        queries[i] = (float)tandem_random_below(&random, 5) - 2;
    }
    for (size_t i = 0; i < ND * DIM; i++) {
        documents[i] = (float)tandem_random_below(&random, 3) - 1;
    }
    uint32_t *ranks = random_ranks(ND, 2);
    const size_t depths[] = {1, 2, 10, 100, 700, ND - 1, ND, ND + 1000};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        check_search(queries, NQ, documents, ND, DIM, depths[i], ranks, 0);
        check_search(queries, NQ, documents, ND, DIM, depths[i], NULL, 0);
    }
    free(queries);
    free(documents);
    free(ranks);
}

static void fill_normal(float *rows, size_t count, uint64_t seed)
{
    tandem_random random = tandem_random_stream(seed, "normal", 0);
    for (size_t i = 0; i < count; i++) {
        rows[i] = (float)tandem_random_normal(&random);
    }
}

static void test_embeddings(void **state)
{
    (void)state;
    enum { NQ = 19, ND = 5003, DIM = 387 }; /* no multiple of any tile or lane */
    float *queries = vectors(NQ, DIM), *documents = vectors(ND, DIM);
    fill_normal(queries, NQ * DIM, 3);
    fill_normal(documents, ND * DIM, 4);
    check_search(queries, NQ, documents, ND, DIM, 100, NULL, FLT_EPSILON);
    check_search(queries, 1, documents, ND, DIM, 7, NULL, FLT_EPSILON);
    free(queries);
    free(documents);
}

/* Terms of a million that cancel leave scores of about one: a product in float gets
 * their order wrong, and the result must not. */
static void test_cancellation(void **state)
{
    (void)state;
    enum { NQ = 9, ND = 4000, DIM = 64 }; /* more queries than are scored one by one */
    float *query = vectors(NQ, DIM), *documents = vectors(ND, DIM);
    tandem_random random = tandem_random_stream(5, "cancel", 0);
    for (size_t i = 0; i < NQ * DIM; i++) {
        query[i] = 1;
    }
    for (size_t d = 0; d < ND; d++) {
        float *row = documents + d * DIM;
        for (size_t i = 0; i < DIM; i += 2) {
            row[i] = (float)(1000000 + tandem_random_below(&random, 1000));
            row[i + 1] = -row[i];
        }
        row[DIM - 1] += (float)tandem_random_below(&random, 64) / 16; /* a multiple of the float's spacing there */
    }
    size_t wrong = 0;
    for (size_t d = 0; d < ND; d++) { /* the case is what it says: in float the order is another */
        float sum = 0;
        for (size_t i = 0; i < DIM; i += 2) {
            sum += documents[d * DIM + i];
        }
        for (size_t i = 1; i < DIM; i += 2) {
            sum += documents[d * DIM + i];
        }
        wrong += sum != plain_dot(query, documents + d * DIM, DIM);
    }
    assert_true(wrong > 0);
    for (size_t nq = 1; nq <= NQ; nq += NQ - 1) {
        check_search(query, nq, documents, ND, DIM, 10, NULL, 0);
        check_search(query, nq, documents, ND, DIM, 1000, NULL, 0);
    }
    free(query);
    free(documents);
}

/* Identical documents have identical scores wherever they lie, and the tie ranks
 * alone decide which are hits. */
static void test_duplicates(void **state)
{
    (void)state;
    enum { ND = 2600, DIM = 48, K = 20 };
    float query[DIM], *documents = vectors(ND, DIM);
    fill_normal(query, DIM, 6);
    fill_normal(documents, DIM, 7);
    for (size_t d = 1; d < ND; d++) {
        memcpy(documents + d * DIM, documents, DIM * sizeof *documents);
    }
    uint32_t *ranks = random_ranks(ND, 8);
    tandem_hits hits;
    assert_int_equal(tandem_search_exact(&hits, query, 1, documents, ND, DIM, K, ranks), 0);
    for (size_t i = 0; i < K; i++) {
        assert_int_equal(ranks[hits.documents[i]], i);
        assert_true(hits.scores[i] == hits.scores[0]);
    }
    tandem_hits_free(&hits);
    free(documents);
    free(ranks);
}

/* ---- the same hits by every way ------------------------------------------------------------- */
enum { WAYS_NQ = 20, WAYS_ND = 3100 };

static void assert_same_hits(const tandem_hits *a, const tandem_hits *b)
{
    assert_int_equal(a->k, b->k);
    assert_int_equal(a->queries, b->queries);
    assert_memory_equal(a->documents, b->documents, a->queries * a->k * sizeof *a->documents);
    assert_memory_equal(a->scores, b->scores, a->queries * a->k * sizeof *a->scores);
    assert_memory_equal(a->counts, b->counts, a->queries * sizeof *a->counts);
}

/* A search by each form of storage, on one thread and on five, for few queries and for more. */
static void check_ways(const float *queries, const float *documents, size_t dim, const uint32_t *ranks)
{
    const size_t depths[] = {1, 10, 1000, WAYS_ND + 5}, batches[] = {1, 8, WAYS_NQ};
    int threads = omp_get_max_threads();
    for (int storage = TANDEM_STORE_FLOAT32; storage <= TANDEM_STORE_INT8; storage++) {
        tandem_index *index;
        assert_int_equal(tandem_index_new(&index, documents, WAYS_ND, dim, (tandem_storage)storage), 0);
        for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
            tandem_hits expected, found;
            assert_int_equal(tandem_search_exact(&expected, queries, WAYS_NQ, documents, WAYS_ND, dim, depths[i], ranks), 0);
            for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
                expected.queries = batches[b];
                omp_set_num_threads(b == 0 ? 1 : 5);
                assert_int_equal(tandem_index_search(&found, index, queries, batches[b], depths[i], ranks), 0);
                assert_same_hits(&expected, &found);
                tandem_hits_free(&found);
            }
            omp_set_num_threads(threads);
            tandem_hits_free(&expected);
        }
        tandem_index_free(index);
    }
}

static void test_ways(void **state)
{
    (void)state;
    const size_t dims[] = {1, 5, 64, 131};
    uint32_t *ranks = random_ranks(WAYS_ND, 12);
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        size_t dim = dims[i];
        float *queries = vectors(WAYS_NQ, dim), *documents = vectors(WAYS_ND, dim);
        fill_normal(queries, WAYS_NQ * dim, 13);
        fill_normal(documents, WAYS_ND * dim, 14);
        memset(queries + 2 * dim, 0, dim * sizeof *queries); /* all scores 0 */
        check_ways(queries, documents, dim, NULL);
        for (size_t d = 0; d < WAYS_ND; d++) { /* lengths from 2^-40 to 2^40, zeros, and many duplicates */
            float scale = d % 100 == 0 ? 0 : exp2f((float)(d % 9) * 10 - 40);
            for (size_t j = 0; j < dim; j++) {
                documents[d * dim + j] = scale * documents[(d % 37) * dim + j];
            }
        }
        check_ways(queries, documents, dim, ranks);
        for (size_t j = 0; j < WAYS_ND * dim; j++) { /* denormal numbers: products underflow */
            documents[j] = (float)(j % 7) * 1e-44f;
        }
        check_ways(queries, documents, dim, ranks);
        free(queries);
        free(documents);
    }
    free(ranks);
}

/* Documents that come worst first, so that each is a candidate, and best first. */
static void test_sorted(void **state)
{
    (void)state;
    enum { NQ = 10, ND = 30000 };
    float *documents = vectors(ND, 1), queries[NQ];
    for (size_t d = 0; d < ND; d++) {
        documents[d] = (float)d / 3;
    }
    for (size_t q = 0; q < NQ; q++) {
        queries[q] = (q % 2 ? -1.0f : 1.0f) * (float)(q + 1);
    }
    check_search(queries, NQ, documents, ND, 1, 100, NULL, 0);
    check_search(queries, 2, documents, ND, 1, 10000, NULL, 0);
    free(documents);
}

/* A row of hits is the same whether its query comes alone or among others. */
static void test_batch_independent(void **state)
{
    (void)state;
    enum { NQ = 1100, ND = 1500, DIM = 32, K = 10 }; /* more than one block of queries */
    float *queries = vectors(NQ, DIM), *documents = vectors(ND, DIM);
    fill_normal(queries, NQ * DIM, 9);
    fill_normal(documents, ND * DIM, 10);
    tandem_hits all, one;
    assert_int_equal(tandem_search_exact(&all, queries, NQ, documents, ND, DIM, K, NULL), 0);
    for (size_t q = 0; q < NQ; q += 100) {
        assert_int_equal(tandem_search_exact(&one, queries + q * DIM, 1, documents, ND, DIM, K, NULL), 0);
        assert_memory_equal(all.documents + q * K, one.documents, K * sizeof *one.documents);
        assert_memory_equal(all.scores + q * K, one.scores, K * sizeof *one.scores);
        tandem_hits_free(&one);
    }
    tandem_hits_free(&all);
    free(queries);
    free(documents);
}

static void test_small(void **state)
{
    (void)state;
    const float query[] = {1, 2}, documents[] = {3, 4, 0, 0, -1, 0}, zero[] = {0, 0};
    check_search(query, 1, documents, 1, 2, 1, NULL, 0);
    check_search(query, 1, documents, 1, 2, 5, NULL, 0);
    check_search(query, 1, documents, 3, 2, 2, NULL, 0);
    check_search(zero, 1, documents, 3, 2, 2, NULL, 0); /* all scores are 0 */
    check_search(query, 0, documents, 3, 2, 2, NULL, 0);
    check_search(query, 1, documents, 0, 2, 2, NULL, 0);
}

static void expect_error(const float *query, const float *documents, const char *part)
{
    tandem_hits hits;
    assert_true(tandem_search_exact(&hits, query, 1, documents, 3, 2, 1, NULL) < 0);
    assert_null(hits.documents);
    assert_non_null(strstr(tandem_error_message(), part));
}

static void test_bad_vectors(void **state)
{
    (void)state;
    float query[] = {1, 2}, documents[] = {3, 4, 0, 0, -1, 0};
    documents[3] = NAN;
    expect_error(query, documents, "document vector in row 1 ");
    documents[3] = -INFINITY;
    expect_error(query, documents, "document vector in row 1 ");
    documents[3] = 0;
    query[0] = INFINITY;
    expect_error(query, documents, "query vector in row 0 ");
    query[0] = 1e30f;
    documents[4] = 1e30f; /* finite, but their product is no float */
    expect_error(query, documents, "too long");
    tandem_hits hits;
    assert_int_equal(tandem_search_exact(&hits, query, 1, documents, 3, 2, 0, NULL), TANDEM_USAGE);

    tandem_index *index; /* FLT_MAX rounds to infinity in a bfloat16 */
    documents[4] = FLT_MAX;
    assert_true(tandem_index_new(&index, documents, 3, 2, TANDEM_STORE_BFLOAT16) < 0);
    assert_null(index);
    assert_non_null(strstr(tandem_error_message(), "document vector in row 2 "));
    documents[4] = 1e-30f; /* 127 times the query is no float, though the scores are */
    assert_int_equal(tandem_index_new(&index, documents, 3, 2, TANDEM_STORE_INT8), 0);
    query[0] = 1e37f;
    assert_true(tandem_index_search(&hits, index, query, 1, 1, NULL) < 0);
    assert_non_null(strstr(tandem_error_message(), "too long"));
    tandem_index_free(index);
}

/* Vectors of zeros are found, and reported by row. */
static void test_zeros(void **state)
{
    (void)state;
    const float query[] = {1, 2}, documents[] = {-3, -4, 0, 0, 1, 0, 0, 0};
    char said[256] = "";
    FILE *kept = stderr, *talk = fmemopen(said, sizeof said, "w");
    assert_non_null(talk);
    tandem_hits hits;
    stderr = talk;
    int rc = tandem_search_exact(&hits, query, 1, documents, 4, 2, 3, NULL);
    stderr = kept;
    fclose(talk);
    assert_int_equal(rc, 0);
    const uint32_t expected[] = {2, 1, 3};
    assert_memory_equal(hits.documents, expected, sizeof expected);
    assert_true(hits.scores[1] == 0 && hits.scores[2] == 0);
    assert_non_null(strstr(said, "document vectors of zeros, whose scores are all 0: 2, the first in row 1"));
    tandem_hits_free(&hits);
}

/* Descending strcmp order, as trec_eval breaks ties: "d9" before "d10" before "d1". */
static void test_tie_ranks(void **state)
{
    (void)state;
    const tandem_text texts[] = {{"d1", "", 0}, {"d9", "", 0}, {"d10", "", 0}, {"\xC3\xA9", "", 0}};
    uint32_t *ranks;
    assert_int_equal(tandem_tie_ranks(&ranks, texts, 4), 0);
    const uint32_t expected[] = {3, 1, 2, 0};
    assert_memory_equal(ranks, expected, sizeof expected);
    free(ranks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_cancellation),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_sorted),
        cmocka_unit_test(test_batch_independent),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_bad_vectors),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_tie_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
