/* dot.h - private to mining/: the score of a query and a document. */
#ifndef TANDEM_MINING_DOT_H
#define TANDEM_MINING_DOT_H

#include <stddef.h>

#include "tandem/error.h"

/* The inner product, summed in double in a fixed order and rounded to float once: a
 * function of the two rows alone, whatever was computed beside it. (Products of floats
 * are exact in double, so that fused multiply-adds change nothing.) */
float tandem_dot(const float *a, const float *b, size_t dim);

/* Euclidean lengths of the rows of [count, dim]; *largest (may be NULL) is their
 * maximum. NaN or infinity in a row is an error; `what` ("query") names its kind. */
int tandem_row_norms(double *out, double *largest, const float *rows, size_t count, size_t dim, const char *what);

#endif
