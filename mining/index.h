/* index.h - private to mining/: the documents of an exact search. */
#ifndef TANDEM_MINING_INDEX_H
#define TANDEM_MINING_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/search.h"

struct tandem_index {
    const float *documents; /* [count, dim], borrowed */
    size_t count, dim;
    double norm; /* length of the longest document */

    /* A smaller copy for few queries; none with TANDEM_STORE_FLOAT32. */
    tandem_storage storage;
    void *rows;    /* [count, dim] of uint16_t or int8_t */
    float *scales; /* [count] int8 only */
    double error;  /* the greatest distance of a document from its copy */
};

/* Euclidean lengths of the rows of [count, dim], into `norms` [count] unless it is NULL; *largest is
 * their maximum. NaN or infinity in a row is an error that names the row, a row of zeros a warning;
 * `what` ("query") says what the rows are. */
int tandem_row_norms(double *norms, double *largest, const float *rows, size_t count, size_t dim, const char *what);

/* scores[q * width + i] = about queries[q] . document (first + i), i < width, from the smaller copy where
 * there is one. */
void tandem_index_dots(const tandem_index *index, const float *queries, size_t count, size_t first, size_t width,
                       float *scores);

#endif
