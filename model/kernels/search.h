/* search.h - the CPU loops of exact search: scores of a few queries, the sifting of scores, and scores in
 * double. They stand beside those of kernels.h, and are added to in the same way; mining/ calls them. One thread
 * each. */
#ifndef TANDEM_MODEL_KERNELS_SEARCH_H
#define TANDEM_MODEL_KERNELS_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "tandem/machine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* scores[q * row_count + r] = queries[q] . rows[r], summed in float in some order. Rows are read
 * once. bfloat16: the upper halves of floats. int8: a row is scales[r] times its whole numbers. */
typedef void tandem_rows_dot_fn(const float *queries, size_t count, const float *rows, size_t row_count, size_t dim, float *scores);
typedef void tandem_rows_dot_bfloat16_fn(const float *queries, size_t count, const uint16_t *rows, size_t row_count, size_t dim, float *scores);
typedef void tandem_rows_dot_int8_fn(const float *queries, size_t count, const int8_t *rows, const float *scales, size_t row_count, size_t dim, float *scores);

/* to = `count` rows laid out for many queries: dim times count rounded up to 16. */
typedef void tandem_rows_lay_out_fn(const float *rows, size_t count, size_t dim, float *to);
/* The scores of rows that are laid out, as those of tandem_rows_dot_fn. */
typedef void tandem_rows_multiply_fn(const float *queries, size_t count, const float *laid_out, size_t row_count, size_t dim, float *scores);

/* Copies the scores that are at least `least`, in order, with the names of their documents, and returns
 * their number. `documents` NULL: the names are first, first + 1 ... `to_*` have room for
 * TANDEM_SIFT_SLACK more than are kept, and may be where the scores came from. */
typedef size_t tandem_scores_keep_fn(const float *scores, const uint32_t *documents, uint32_t first, size_t count, float least, float *to_scores, uint32_t *to_documents);
/* How many are at least `least`; count < 2^31. */
typedef size_t tandem_scores_count_fn(const float *scores, size_t count, float least);

enum { TANDEM_SIFT_SLACK = 16 };

/* The inner product summed in double in a fixed order: every instruction set gives the same bits (products
 * of floats are exact in double, so that fused multiply-adds change nothing). */
typedef double tandem_dot_exact_fn(const float *a, const float *b, size_t dim);

typedef struct {
    tandem_rows_dot_fn *rows_dot;
    tandem_rows_dot_bfloat16_fn *rows_dot_bfloat16;
    tandem_rows_dot_int8_fn *rows_dot_int8;
    tandem_rows_lay_out_fn *rows_lay_out;
    tandem_rows_multiply_fn *rows_multiply;
    tandem_scores_keep_fn *scores_keep;
    tandem_scores_count_fn *scores_count;
    tandem_dot_exact_fn *dot_exact;
} tandem_search_kernels;

/* As tandem_kernels_of and tandem_kernels_best. */
const tandem_search_kernels *tandem_search_kernels_of(tandem_isa isa);
const tandem_search_kernels *tandem_search_kernels_best(void);

#ifdef __cplusplus
}
#endif
#endif
