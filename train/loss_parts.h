/* loss_parts.h - what several losses are made of. Scratch memory is the candidates'. */
#ifndef TANDEM_TRAIN_LOSS_PARTS_H
#define TANDEM_TRAIN_LOSS_PARTS_H

#include "tandem/loss.h"

/* 0, with the graph of `x`, and NaN where x is not finite. */
int tandem_part_zero(tandem_tensor **out, const tandem_tensor *x);
/* Constants of n values. */
int tandem_part_floats(tandem_tensor **out, const float *values, size_t n);
/* a[i] . b[i] of two [n, dim] tensors, [n]. */
int tandem_part_dots(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b);
int tandem_part_cosines(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b);
/* One of the two. */
int tandem_part_similarities(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b, bool cosine);
/* Distances of the rows of two [n, dim] tensors, [n]; `shift` is added to the differences. */
int tandem_part_distances(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b, int64_t distance,
                          double shift);
/* 1 - a, element by element. */
int tandem_part_complement(tandem_tensor **out, const tandem_tensor *a);

/* ---- bi-encoder ------------------------------------------------------------------------ */
/* Checks shapes and candidates; `loss` is named in the message. */
int tandem_part_check_bi(const char *loss, const tandem_tensor *queries, const tandem_tensor *documents,
                         const tandem_bi_candidates *candidates);
/* The query of each document, [m, dim]. */
int tandem_part_owners(tandem_tensor **out, const tandem_tensor *queries, const tandem_bi_candidates *candidates);
/* a times the learnable scale, or times `scale` where there is none. */
int tandem_part_scaled(tandem_tensor **out, const tandem_tensor *a, const tandem_bi_candidates *candidates, double scale);
float tandem_part_label(const tandem_bi_candidates *candidates, size_t document);
/* Whether the similarity is the cosine; `otherwise` where the setting leaves it to the loss. */
bool tandem_part_cosine(const tandem_bi_candidates *candidates, bool otherwise);

/* ---- lists ----------------------------------------------------------------------------- */
/* Runs of values as a matrix: index[g * width + c] is where list g's item c lies among
 * them; places past its end point at its first item and are masked. */
typedef struct {
    size_t count, width;
    const size_t *sizes; /* [count] */
    int64_t *index;      /* [count * width] */
    bool *masked;        /* the same */
} tandem_lists;

/* Room for lists of these sizes (each at least 1), masked past their ends; index is zeroed. */
int tandem_lists_new(tandem_lists *out, const size_t *sizes, size_t count, tandem_arena *scratch);
/* Points the places past each end at the list's first item; after the others are set. */
void tandem_lists_close(tandem_lists *lists);
/* x [n] as [count, width]. */
int tandem_lists_gather(tandem_tensor **out, const tandem_tensor *x, const tandem_lists *lists);
/* The masked cells of a [count, width] tensor become `value`. */
int tandem_lists_fill(tandem_tensor **out, const tandem_tensor *a, const tandem_lists *lists, double value);
/* A constant [count, width]. */
int tandem_lists_floats(tandem_tensor **out, const float *values, const tandem_lists *lists);

/* out[0 .. count) = softmax(values / temperature), in doubles. */
void tandem_part_softmax(float *out, const float *values, size_t count, double temperature);

/* ---- cross-encoder --------------------------------------------------------------------- */
/* Checks that the groups tile the logits, each of `least` candidates or more, and gives the
 * logits with their offsets, [n]. */
int tandem_part_logits(tandem_tensor **out, const char *loss, const tandem_tensor *logits,
                       const tandem_candidates *candidates, size_t least);
/* (a, b) of one group with label a > label b. */
size_t tandem_part_better_pairs(const tandem_candidates *candidates);
/* The pairs that LambdaLoss is a mean over. */
size_t tandem_part_lambda_pairs(const tandem_candidates *candidates);

#endif
