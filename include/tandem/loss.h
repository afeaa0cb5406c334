/* loss.h - training losses, each a C function over tensor operations beside its
 * formula. Adding a loss: write the function in train/loss_*.c, add its row to the
 * table in train/loss.c, its page to docs/losses.md, its parity case to
 * tests/parity/test_losses.py. */
#ifndef TANDEM_LOSS_H
#define TANDEM_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/torch/shim.h"
#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- bi-encoder ----------------------------------------------------------------------- */
/* Multiple-negatives ranking loss (Henderson et al. 2017; sentence-transformers
 * MultipleNegativesRankingLoss): with s = cosine similarity,
 *   L = mean_i -( scale * s(q_i, d_i) - logsumexp_j scale * s(q_i, d_j) )
 * queries [n, dim], documents [m, dim], m >= n; row i's positive is documents[i], all others are
 * its negatives, but where masked[i * m + j] is true (its other known positives and duplicate
 * texts). masked may be NULL. */
int tandem_loss_mnrl(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents, const bool *masked, double scale);

/* ---- cross-encoder -------------------------------------------------------------------------- */
/* logits [n] or [n, 1] everywhere; offsets [n] (may be NULL) are added to the logits:
 * the first stage's score times a scale, constant in training. */

/* Binary cross-entropy: mean of pos_weight * y * softplus(-x) + (1 - y) * softplus(x)
 * (torch BCEWithLogitsLoss). */
int tandem_loss_bce(tandem_tensor **out, const tandem_tensor *logits, const float *labels, const float *offsets, double pos_weight);

/* Candidates of group g are rows starts[g] .. starts[g + 1], its positive first. */
/* Pairwise logistic (RankNet, Burges et al. 2005): mean over (positive, negative) of
 * softplus(-(x_positive - x_negative)). */
int tandem_loss_pairwise(tandem_tensor **out, const tandem_tensor *logits, const size_t *starts, size_t groups, const float *offsets);
/* Softmax over a group (localized contrastive estimation, Gao et al. 2021): mean over
 * groups of -log softmax(x_group)[positive]. */
int tandem_loss_softmax(tandem_tensor **out, const tandem_tensor *logits, const size_t *starts, size_t groups, const float *offsets);

#ifdef __cplusplus
}
#endif
#endif
