/* The index of BM25: what is pruned, kept in files and cached must be what a look at every document gives. */
#include "folder.h"

#include <math.h>
#include <unistd.h>

#include "mining/bm25_index.h"
#include "mining/select.h"
#include "tandem/hash.h"
#include "tandem/memory.h"
#include "tandem/random.h"

#define OPTIONS ((tandem_bm25_options)TANDEM_BM25_OPTIONS_INIT)

enum { DOCUMENTS = 9000, QUERIES = 12 }; /* three windows of the search */

static tandem_text documents[DOCUMENTS], queries[QUERIES];
static uint32_t ranks[DOCUMENTS];
static tandem_arena *arena;

/* Words w0, w1 ... of which the first ones are frequent. */
static tandem_text make_text(tandem_random *random, size_t words, size_t vocabulary)
{
    tandem_buffer text = TANDEM_BUFFER_INIT;
    for (size_t i = 0; i < words; i++) {
        double x = tandem_random_double(random);
        assert_int_equal(tandem_buffer_printf(&text, "w%zu ", (size_t)((double)vocabulary * x * x * x * x)), 0);
    }
    char *copy = tandem_arena_strndup(arena, text.data ? text.data : "", text.length);
    tandem_text made = {"x", copy, text.length};
    tandem_buffer_free(&text);
    return made;
}

static int make_corpus(void **state)
{
    tandem_random random = tandem_random_stream(5, "bm25", 0);
    if (make_folder(state) != 0 || setenv("TANDEM_CACHE", in_folder("cache"), 1) != 0) {
        return -1;
    }
    arena = tandem_arena_new();
    for (uint32_t d = 0; d < DOCUMENTS; d++) {
        /* Runs of documents without a common word, many alike, some empty. */
        size_t words = d % 7 == 0 ? 3 : d % 911 == 0 ? 0 : (size_t)tandem_random_below(&random, 120);
        documents[d] = make_text(&random, words, d / 3000 == 1 ? 40 : 3000);
        ranks[d] = d;
    }
    tandem_random_shuffle(&random, ranks, DOCUMENTS);
    for (size_t q = 0; q < QUERIES; q++) {
        queries[q] = make_text(&random, q == 9 ? 60 : 1 + q % 8, 3000);
    }
    return 0;
}

static int free_corpus(void **state)
{
    tandem_arena_free(arena);
    return remove_folder(state);
}

/* ---- searching --------------------------------------------------------------------------- */
/* The k best by the score of every document that has a term of the query. */
static size_t search_all(tandem_candidate *out, const tandem_bm25 *index, const tandem_text *query, size_t k)
{
    size_t count = 0;
    for (uint32_t d = 0; d < DOCUMENTS; d++) {
        out[count] = (tandem_candidate){.document = d};
        assert_int_equal(tandem_bm25_score(&out[count].score, index, query, d), 0);
        count += out[count].score > 0;
    }
    tandem_candidates_sort(out, count, ranks);
    return count < k ? count : k;
}

static void test_nothing_is_lost(void **state)
{
    (void)state;
    static tandem_candidate expected[DOCUMENTS];
    const tandem_bm25_options settings[] = {
        {0.9, 0.4, TANDEM_ANALYZER_ENGLISH}, {1.2, 0.75, TANDEM_ANALYZER_STANDARD}, {0, 1, 0}, {20, 1, 0}};
    const size_t depths[] = {1, 10, 300, DOCUMENTS};
    for (size_t i = 0; i < 4; i++) {
        tandem_bm25 *index;
        tandem_hits hits;
        assert_int_equal(tandem_bm25_new(&index, documents, DOCUMENTS, settings[i], false), 0);
        assert_int_equal(tandem_bm25_search(&hits, index, queries, QUERIES, depths[i], ranks), 0);
        for (size_t q = 0; q < QUERIES; q++) {
            size_t count = search_all(expected, index, &queries[q], depths[i]);
            assert_int_equal(hits.counts[q], count);
            for (size_t h = 0; h < count; h++) {
                assert_int_equal(hits.documents[q * hits.k + h], expected[h].document);
                assert_true(hits.scores[q * hits.k + h] == expected[h].score);
            }
        }
        tandem_hits_free(&hits);
        tandem_bm25_free(index);
    }
}

/* ---- lengths ----------------------------------------------------------------------------- */
/* Values that SmallFloat.intToByte4 and byte4ToInt of Lucene give. */
static void test_lengths(void **state)
{
    (void)state;
    const uint32_t lengths[][3] = {{0, 0, 0},     {1, 1, 1},    {24, 24, 24}, {39, 39, 39},   {40, 40, 40},
                                   {41, 40, 40},  {42, 41, 42}, {55, 47, 54}, {56, 48, 56},   {60, 49, 60},
                                   {100, 57, 96}, {1000, 87, 984}, {INT32_MAX, 255, 2013265944}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_int_equal(tandem_bm25_norm(lengths[i][0]), lengths[i][1]);
        assert_int_equal(tandem_bm25_length((uint8_t)lengths[i][1]), lengths[i][2]);
    }
    for (int norm = 0; norm < TANDEM_BM25_NORMS; norm++) {
        assert_int_equal(tandem_bm25_norm(tandem_bm25_length((uint8_t)norm)), norm);
    }
}

/* ---- files ------------------------------------------------------------------------------- */
static void assert_same_bytes(const char *left, const char *right)
{
    tandem_hash a, b;
    assert_int_equal(tandem_hash_file(&a, left), 0);
    assert_int_equal(tandem_hash_file(&b, right), 0);
    assert_true(tandem_hash_equal(a, b));
}

/* Runs put aside on disk, of any size, merge to what memory gives. */
static void test_runs(void **state)
{
    (void)state;
    tandem_buffer memory = TANDEM_BUFFER_INIT;
    const char *whole = in_folder("whole.bm25"), *parts = in_folder("parts.bm25");
    assert_int_equal(tandem_bm25_build(NULL, &memory, documents, DOCUMENTS, TANDEM_ANALYZER_ENGLISH, 1), 0);
    assert_int_equal(tandem_file_write(whole, memory.data, memory.length), 0);
    tandem_buffer_free(&memory);
    const size_t runs[] = {1 << 30, 50000, 3001};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tandem_bm25_build(parts, NULL, documents, DOCUMENTS, TANDEM_ANALYZER_ENGLISH, runs[i]), 0);
        assert_same_bytes(whole, parts);
    }
    tandem_bm25 *index;
    assert_int_equal(tandem_bm25_open(&index, whole, OPTIONS), 0);
    tandem_bm25_free(index);
}

static void test_what_is_no_index(void **state)
{
    (void)state;
    tandem_bm25 *index;
    const char *path = in_folder("small.bm25");
    char *data;
    size_t size;
    assert_int_equal(tandem_bm25_open(&index, in_folder("none.bm25"), OPTIONS), TANDEM_NOT_FOUND);
    assert_null(index);
    assert_fails(tandem_bm25_open(&index, put_file("text.bm25", "no index"), OPTIONS),
                 "text.bm25: no BM25 index (8 bytes)");
    assert_int_equal(tandem_bm25_write(path, documents, 20, TANDEM_ANALYZER_ENGLISH), 0);
    const tandem_bm25_options other = {0.9, 0.4, TANDEM_ANALYZER_STANDARD};
    assert_fails(tandem_bm25_open(&index, path, other), "small.bm25: a BM25 index of analyzer 0; expected 1");
    assert_int_equal(tandem_file_read(&data, &size, path), 0);
    for (size_t i = 0; i < size; i++) { /* any byte, and any end */
        data[i] ^= 0x10;
        assert_int_equal(tandem_file_write(path, data, size), 0);
        assert_int_equal(tandem_bm25_open(&index, path, OPTIONS), TANDEM_ERROR);
        data[i] ^= 0x10;
        assert_int_equal(tandem_file_write(path, data, i), 0);
        assert_int_equal(tandem_bm25_open(&index, path, OPTIONS), TANDEM_ERROR);
        i += size / 100;
    }
    free(data);
}

static double best_score(tandem_bm25_options options)
{
    tandem_bm25 *index;
    tandem_hits hits;
    assert_int_equal(tandem_bm25_new(&index, documents, DOCUMENTS, options, true), 0);
    assert_int_equal(tandem_bm25_search(&hits, index, queries, 1, 1, NULL), 0);
    double score = (double)hits.scores[0];
    tandem_hits_free(&hits);
    tandem_bm25_free(index);
    return score;
}

/* One entry serves every k1 and b; a damaged one is made again. */
static void test_cache(void **state)
{
    (void)state;
    double score = best_score(OPTIONS);
    char command[512], path[512];
    snprintf(command, sizeof command, "ls %s", in_folder("cache/bm25"));
    FILE *names = popen(command, "r");
    assert_non_null(names);
    snprintf(path, sizeof path, "%s/", in_folder("cache/bm25"));
    assert_non_null(fgets(path + strlen(path), 100, names));
    path[strcspn(path, "\n")] = 0;
    assert_true(best_score((tandem_bm25_options){2, 0.9, TANDEM_ANALYZER_ENGLISH}) != score);
    assert_null(fgets(command, sizeof command, names)); /* no second name */
    pclose(names);
    assert_int_equal(truncate(path, 100), 0);
    assert_true(best_score(OPTIONS) == score);
    tandem_bm25 *index;
    assert_int_equal(tandem_bm25_open(&index, path, OPTIONS), 0);
    tandem_bm25_free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_what_is_no_index),
        cmocka_unit_test(test_cache),
    };
    return cmocka_run_group_tests(tests, make_corpus, free_corpus);
}
