/* probe_search QUERIES.npy DOCUMENTS.npy K STORAGE: one line a query, "document score" for each
 * hit, best first. STORAGE: a number of tandem_storage. */
#include <stdio.h>
#include <stdlib.h>

#include "tandem/search.h"
#include "tandem/vectors.h"

int main(int argc, char **argv)
{
    tandem_vectors queries = {0}, documents = {0};
    tandem_hits hits = {0};
    tandem_index *index = NULL;
    if (argc != 5) {
        return 2;
    }
    if (tandem_vectors_read(&queries, argv[1], NULL) < 0 || tandem_vectors_read(&documents, argv[2], NULL) < 0 ||
        tandem_index_new(&index, documents.data, documents.count, documents.dim,
                         (tandem_storage)strtoul(argv[4], NULL, 10)) < 0 ||
        tandem_index_search(&hits, index, queries.data, queries.count, strtoul(argv[3], NULL, 10), NULL) < 0) {
        fprintf(stderr, "%s\n", tandem_error_message());
        return 1;
    }
    for (size_t q = 0; q < hits.queries; q++) {
        for (size_t i = 0; i < hits.counts[q]; i++) {
            printf("%u %.9g ", hits.documents[q * hits.k + i], (double)hits.scores[q * hits.k + i]);
        }
        putchar('\n');
    }
    tandem_hits_free(&hits);
    tandem_index_free(index);
    tandem_vectors_free(&queries);
    tandem_vectors_free(&documents);
    return 0;
}
