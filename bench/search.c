/* bench_search DOCUMENTS.npy QUERIES.npy THREADS: for each line "WHAT QUERIES K" of stdin, searches for the first
 * QUERIES queries and prints a JSON object: seconds (wall clock) and the sum of the hits' rows. WHAT is float32,
 * bfloat16 or int8, the form in which the documents are stored; or product, the matrix product of queries and
 * documents alone, a tile of 1024 x 1024 after the other. Storing is not timed. bench/search.py drives this. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/torch/shim.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/search.h"
#include "tandem/vectors.h"

enum { TILE = 1024, STORAGES = 3 };

static const char *const storage_names[STORAGES] = {"float32", "bfloat16", "int8"};

typedef struct {
    tandem_vectors documents, queries;
    tandem_index *indexes[STORAGES];
    float *tile;
} bench;

static int multiply(const bench *b, size_t queries)
{
    size_t dim = b->documents.dim;
    for (size_t q = 0; q < queries; q += TILE) {
        size_t rows = queries - q < TILE ? queries - q : TILE;
        for (size_t d = 0; d < b->documents.count; d += TILE) {
            size_t columns = b->documents.count - d < TILE ? b->documents.count - d : TILE;
            TANDEM_TRY(tandem_sgemm_nt((int64_t)rows, (int64_t)columns, (int64_t)dim, b->queries.data + q * dim,
                                       (int64_t)dim, b->documents.data + d * dim, (int64_t)dim, b->tile,
                                       (int64_t)columns));
        }
    }
    return TANDEM_OK;
}

static int search(const tandem_index *index, const bench *b, size_t queries, size_t k, unsigned long long *sum)
{
    tandem_hits hits;
    TANDEM_TRY(tandem_index_search(&hits, index, b->queries.data, queries, k, NULL));
    for (size_t q = 0; q < queries; q++) {
        for (size_t i = 0; i < hits.counts[q]; i++) {
            *sum += hits.documents[q * hits.k + i];
        }
    }
    tandem_hits_free(&hits);
    return TANDEM_OK;
}

static int answer(const bench *b, const char *what, size_t queries, size_t k)
{
    unsigned long long sum = 0;
    size_t storage = 0;
    while (storage < STORAGES && strcmp(what, storage_names[storage]) != 0) {
        storage++;
    }
    if (queries > b->queries.count || (storage == STORAGES && strcmp(what, "product") != 0)) {
        return tandem_error("%s %zu: no such measurement", what, queries);
    }
    double wall = tandem_seconds();
    TANDEM_TRY(storage == STORAGES ? multiply(b, queries) : search(b->indexes[storage], b, queries, k, &sum));
    wall = tandem_seconds() - wall;
    printf("{\"wall\": %.6f, \"sum\": %llu}\n", wall, sum);
    fflush(stdout);
    return TANDEM_OK;
}

static int run(bench *b, char **arguments)
{
    TANDEM_TRY(tandem_vectors_read(&b->documents, arguments[1], NULL));
    TANDEM_TRY(tandem_vectors_read(&b->queries, arguments[2], NULL));
    if (b->documents.dim != b->queries.dim) {
        return tandem_error("documents and queries differ in dimensions");
    }
    for (size_t i = 0; i < STORAGES; i++) {
        TANDEM_TRY(tandem_index_new(&b->indexes[i], b->documents.data, b->documents.count, b->documents.dim,
                                    (tandem_storage)i));
    }
    b->tile = malloc((size_t)TILE * TILE * sizeof *b->tile);
    if (!b->tile) {
        return tandem_error("out of memory");
    }
    char what[16];
    size_t queries, k;
    while (scanf("%15s %zu %zu", what, &queries, &k) == 3) {
        TANDEM_TRY(answer(b, what, queries, k));
    }
    return TANDEM_OK;
}

int main(int count, char **arguments)
{
    bench b = {0};
    long threads = count == 4 ? strtol(arguments[3], NULL, 10) : 0;
    if (threads < 1 || threads > 1024) {
        fputs("usage: bench_search DOCUMENTS.npy QUERIES.npy THREADS\n", stderr);
        return 2;
    }
    tandem_machine_set_threads((size_t)threads);
    int rc = tandem_torch_init();
    if (rc == TANDEM_OK) {
        rc = run(&b, arguments);
    }
    if (rc < 0) {
        fprintf(stderr, "bench_search: %s\n", tandem_error_message());
    }
    for (size_t i = 0; i < STORAGES; i++) {
        tandem_index_free(b.indexes[i]);
    }
    tandem_vectors_free(&b.documents);
    tandem_vectors_free(&b.queries);
    free(b.tile);
    return rc < 0;
}
