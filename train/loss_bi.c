/* loss_bi.c - losses over embeddings. */
#include <math.h>
#include <stdlib.h>

#include "tandem/loss.h"
#include "tandem/memory.h"

/* int64 tensor 0, 1 ... count - 1: row i's positive is column i. */
static int diagonal_labels(tandem_tensor **out, int64_t count)
{
    int64_t *labels = tandem_alloc((size_t)count, sizeof *labels);

    if (labels == NULL) {
        return TANDEM_ERROR;
    }
    for (int64_t i = 0; i < count; i++) {
        labels[i] = i;
    }
    int rc = tandem_tensor_from_int64(out, labels, &count, 1);
    free(labels);
    return rc;
}

int tandem_loss_mnrl(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                     const bool *masked, double scale)
{
    tandem_tensor *q = NULL, *d = NULL, *scores = NULL, *labels = NULL;
    int64_t n = tandem_tensor_size(queries, 0), m = tandem_tensor_size(documents, 0);

    if (n < 1 || m < n) {
        return tandem_error("mnrl: expected at least one document a query, found %lld queries and %lld documents",
                            (long long)n, (long long)m);
    }
    TANDEM_TRY(tandem_op_normalize(&q, queries));
    TANDEM_TRY(tandem_op_normalize(&d, documents));
    TANDEM_TRY(tandem_op_matmul(&scores, q, d, true)); /* [n, m] cosine similarities */
    TANDEM_TRY(tandem_op_scale(&scores, scores, scale));
    if (masked != NULL) {
        tandem_tensor *mask = NULL;
        int64_t shape[2] = {n, m};

        for (int64_t i = 0; i < n; i++) {
            if (masked[i * m + i]) {
                return tandem_error("mnrl: row %lld masks its own positive", (long long)i);
            }
        }
        TANDEM_TRY(tandem_tensor_from_bool(&mask, masked, shape, 2));
        TANDEM_TRY(tandem_op_masked_fill(&scores, scores, mask, -INFINITY));
    }
    TANDEM_TRY(diagonal_labels(&labels, n));
    return tandem_op_cross_entropy(out, scores, labels);
}
