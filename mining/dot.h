/* dot.h - private to mining/: the score of a query and a document. */
#ifndef TANDEM_MINING_DOT_H
#define TANDEM_MINING_DOT_H

#include <stddef.h>

#include "model/kernels/search.h"

/* The inner product, summed in double in a fixed order and rounded to float once: a
 * function of the two rows alone, whatever was computed beside it. */
static inline float tandem_dot(const float *a, const float *b, size_t dim)
{
    return (float)tandem_search_kernels_best()->dot_exact(a, b, dim);
}

#endif
