/* loss.h - training losses: each a C function over tensor operations beside its formula.
 *
 * Defaults and formulas are sentence-transformers' where it has the loss. Adding one:
 * write the function in a train/loss_*.c, declare it here, add its row to the table in
 * train/loss.c and its settings to train/config.c, its section to docs/losses.md, its
 * values to tests/unit/test_losses.c and its reference to tests/parity/test_losses.py. */
#ifndef TANDEM_LOSS_H
#define TANDEM_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/torch/shim.h"
#include "tandem/error.h"
#include "tandem/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- settings -------------------------------------------------------------------------- */
/* Choices, in the order in which the config names them (train/config.c). */
typedef enum { TANDEM_SIMILARITY_AUTO, TANDEM_SIMILARITY_COSINE, TANDEM_SIMILARITY_DOT } tandem_similarity;
typedef enum { TANDEM_LABELS_BINARY, TANDEM_LABELS_SCORES } tandem_labels;
typedef enum { TANDEM_PARTITION_JOINT, TANDEM_PARTITION_PER_DIRECTION } tandem_partition;
typedef enum { TANDEM_HARDNESS_OFF, TANDEM_HARDNESS_IN_BATCH, TANDEM_HARDNESS_HARD,
               TANDEM_HARDNESS_ALL } tandem_hardness;
typedef enum { TANDEM_MARGIN_ABSOLUTE, TANDEM_MARGIN_RELATIVE } tandem_margin;
typedef enum { TANDEM_DISTANCE_COSINE, TANDEM_DISTANCE_EUCLIDEAN, TANDEM_DISTANCE_MANHATTAN } tandem_distance;
typedef enum { TANDEM_DISTILL_COSINE, TANDEM_DISTILL_MSE, TANDEM_DISTILL_L2 } tandem_distill;
typedef enum {
    TANDEM_LAMBDA_NDCG2PP, TANDEM_LAMBDA_NDCG2, TANDEM_LAMBDA_NDCG1, TANDEM_LAMBDA_RANK, TANDEM_LAMBDA_NONE
} tandem_lambda_weighting;
typedef enum { TANDEM_LOG_BINARY, TANDEM_LOG_NATURAL } tandem_log_base;

/* The object "loss" of a training config; docs/losses.md says which loss reads what.
 * The strings belong to the config. */
typedef struct {
    int64_t name;   /* choice: a row of the table of bi- or of cross-encoder losses */
    int64_t labels; /* tandem_labels: whether a passage's score is its label */
    double scale;   /* of similarities: one over the temperature */
    double scale_learning_rate; /* of the scale's logarithm; 0: it stays */
    /* Bi-encoder. */
    int64_t similarity; /* tandem_similarity; auto: the loss's own */
    struct {
        bool query_to_query, doc_to_query, doc_to_doc; /* besides query_to_doc */
    } directions;
    int64_t partition; /* tandem_partition */
    struct {
        int64_t mode; /* tandem_hardness */
        double strength;
    } hardness;
    struct {
        double temperature, margin;
        int64_t margin_strategy; /* tandem_margin */
        bool contrast_anchors, contrast_positives;
    } gist;
    char *teacher;      /* model directory of a bi-encoder, or NULL */
    double temperature;   /* distill_kl */
    double teacher_scale; /* margin_mse, distill_kl: factor of the teacher's scores */
    int64_t distill;    /* tandem_distill */
    struct {
        int64_t distance; /* tandem_distance */
        double margin;
    } contrastive, triplet;
    struct {
        char *dims, *weights; /* numbers with commas between, or NULL */
    } matryoshka;
    /* Cross-encoder. */
    double pos_weight;   /* bce */
    double offset_scale; /* times the groups' scores, added to the logits; 0: off */
    int64_t in_batch_negatives;
    struct {
        int64_t weighting; /* tandem_lambda_weighting */
        int64_t k;         /* 0: no cut */
        double sigma, mu;
        int64_t log; /* tandem_log_base */
    } lambda;
    double alpha; /* adr_mse */
} tandem_loss_settings;

/* ---- bi-encoder ------------------------------------------------------------------------ */
/* What a loss may know of the texts of a step besides their embeddings. Document i < n is
 * the positive of query i; every other document is a hard negative of the query that owns
 * it. A pair is a document with the query that owns it; its label is the document's score
 * where there is one and settings->labels says so, else 1 for a positive and 0 for a
 * negative. Pointers are borrowed; what the named losses do not need may be NULL. */
typedef struct {
    size_t n, m;           /* queries, documents; m >= n */
    const uint32_t *owner; /* [m]; owner[i] is i for i < n */
    /* Documents that are no negatives of query i (other positives of it, and duplicates):
     * known[known_starts[i]] .. known[known_starts[i + 1]], without i itself. NULL: none. */
    const size_t *known_starts; /* [n + 1] */
    const uint32_t *known;
    const float *scores;    /* [m], NaN: none */
    const int64_t *classes; /* [n + m], of queries and documents: batch_*_triplet */
    /* Constants [n, any], [m, any]: of the guide of gist, of the teacher of embed_distill. */
    const tandem_tensor *teacher_queries, *teacher_documents;
    const tandem_tensor *scale; /* one element, learnable, instead of settings->scale; or NULL */
    size_t first, last;         /* rows to compute, for a loss that goes by rows; others need 0, n */
    const tandem_loss_settings *settings;
    tandem_arena *scratch; /* what a loss needs while it computes; the caller resets it */
} tandem_bi_candidates;

/* queries [n, dim], documents [m, dim]; *out is a scalar. An error for shapes and candidates
 * that do not go together; NaN embeddings give a NaN loss. */
typedef int tandem_bi_loss_function(tandem_tensor **out, const tandem_tensor *queries, const tandem_tensor *documents,
                                    const tandem_bi_candidates *candidates);

/* Multiple-negatives ranking loss (Henderson et al. 2017; InfoNCE, van den Oord et al. 2018),
 * sentence-transformers' MultipleNegativesRankingLoss. With s the cosine similarity (or dot
 * product) times the scale,
 *   L = mean_i ( logsumexp_j s(q_i, d_j) - s(q_i, d_i) )
 * over all documents of the step but the known ones. `directions` adds s(q_i, q_k), s(d_i, q_k)
 * and s(d_i, d_j) of other rows to the sum (joint; Li et al. 2023, GTE), or, per direction,
 * averages the loss of q_i -> d and that of d_i -> q (Guenther et al. 2024). Hardness adds
 * strength * the unscaled similarity, as a constant, to the logits of negatives in q_i -> d
 * (Lan et al. 2025, eq. 5). Rows first .. last: their part of the mean over n. */
tandem_bi_loss_function tandem_loss_mnrl;

/* GISTEmbedLoss (Solatorio 2024): the same, joint, over q -> positives and negatives, q -> q
 * and positive -> positives, with s = cosine / temperature, without every text that the
 * guide scores above its score of (q_i, d_i) less the margin; the own positive stays, the
 * text itself never counts. The guide's vectors are teacher_*. By rows. */
tandem_bi_loss_function tandem_loss_gist;

/* Labelled pairs. s is the similarity of a pair, y its label, P the pairs of the step.
 * CoSENT (Su 2022): log(1 + sum over y_a < y_b of exp(scale * (s_a - s_b))). */
tandem_bi_loss_function tandem_loss_cosent;
/* AnglE (Li and Li 2023): CoSENT with s = |cos + sin|, the sine of the halves of the
 * vectors as complex numbers (pairwise_angle_sim of sentence-transformers). */
tandem_bi_loss_function tandem_loss_angle;
/* mean (cos - y)^2. */
tandem_bi_loss_function tandem_loss_cosine_similarity;
/* Contrastive loss (Hadsell et al. 2006), d a distance:
 * mean of (y d^2 + (1 - y) max(0, margin - d)^2) / 2. */
tandem_bi_loss_function tandem_loss_contrastive;
/* OnlineContrastiveLoss: the sum of d^2 of positives farther than the nearest negative, and
 * of max(0, margin - d)^2 of negatives nearer than the farthest positive. y is 0 or 1. */
tandem_bi_loss_function tandem_loss_online_contrastive;

/* Triplets (q, positive, own hard negative): mean max(0, d(q, p) - d(q, n) + margin). */
tandem_bi_loss_function tandem_loss_triplet;
/* The following form triplets of all texts of the step by their classes: an anchor, another
 * text of its class, a text of another class (Hermans et al. 2017; d euclidean or cosine).
 * All: mean over triplets with a positive hinge. */
tandem_bi_loss_function tandem_loss_batch_all_triplet;
/* Hard: mean over anchors of the hinge of the farthest positive and the nearest negative. */
tandem_bi_loss_function tandem_loss_batch_hard_triplet;
/* The same with softplus(d_p - d_n) for the hinge. */
tandem_bi_loss_function tandem_loss_batch_hard_soft_margin_triplet;
/* Semi-hard (Schroff et al. 2015): mean over (anchor, positive) of the hinge with the nearest
 * negative that is farther than the positive, else the farthest negative. */
tandem_bi_loss_function tandem_loss_batch_semi_hard_triplet;

/* MarginMSE (Hofstaetter et al. 2021): mean over (q, positive, own negative) of
 * ((s(q, p) - s(q, n)) - (score_p - score_n))^2, s the dot product. Needs scores. */
tandem_bi_loss_function tandem_loss_margin_mse;
/* Kullback-Leibler divergence of the student's softmax of s / T over a query's own documents
 * from the teacher's of score / T, times T^2, mean over rows (Lin et al. 2020). Needs scores. */
tandem_bi_loss_function tandem_loss_distill_kl;
/* Mean over all texts of the distance of an embedding from the teacher's: 1 - cosine,
 * squared (mean over elements), or L2 (Kim et al. 2023). The teacher's vectors are cut
 * to the width of the student's, as Matryoshka's must be. */
tandem_bi_loss_function tandem_loss_embed_distill;

/* ---- cross-encoder --------------------------------------------------------------------- */
/* Candidate pairs of whole groups. */
typedef struct {
    size_t groups;
    const size_t *starts; /* [groups + 1]: group g's are rows starts[g] .. starts[g + 1], its positive first */
    const float *labels;  /* [starts[groups]]: as settings->labels says, or a teacher's scores */
    const float *offsets; /* the same, or NULL: added to the logits, constant in training */
    const tandem_loss_settings *settings;
    tandem_arena *scratch; /* what a loss needs while it computes; the caller resets it */
} tandem_candidates;

/* logits [n] or [n, 1], n = starts[groups]; *out is a scalar: a mean over terms, 0 where
 * there is none. x is a logit with its offset, y its label. */
typedef int tandem_cross_loss_function(tandem_tensor **out, const tandem_tensor *logits,
                                       const tandem_candidates *candidates);

/* Mean of pos_weight * y * softplus(-x) + (1 - y) * softplus(x) (torch BCEWithLogitsLoss). */
tandem_cross_loss_function tandem_loss_bce;
/* Mean of -log softmax(x)[y] over classes: logits [n, classes], y a class; no offsets. */
tandem_cross_loss_function tandem_loss_cross_entropy;
/* Mean of (x - y)^2, y a teacher's score. */
tandem_cross_loss_function tandem_loss_mse;
/* Mean over (positive, negative) of ((x_p - x_n) - (y_p - y_n))^2, y a teacher's score
 * (Hofstaetter et al. 2021). */
tandem_cross_loss_function tandem_loss_cross_margin_mse;
/* Pairwise logistic (RankNet, Burges et al. 2005): mean over pairs of a group with y_a > y_b
 * of softplus(-(x_a - x_b)). */
tandem_cross_loss_function tandem_loss_pairwise;
/* Softmax over a group (localized contrastive estimation, Gao et al. 2021): mean over groups
 * of -log softmax(x)[positive]. */
tandem_cross_loss_function tandem_loss_softmax;
/* The same of scale * sigmoid(x) (sentence-transformers' MultipleNegativesRankingLoss for
 * cross-encoders, whose negatives of other queries the step adds to the group). */
tandem_cross_loss_function tandem_loss_cross_mnrl;
/* LambdaLoss (Wang et al. 2018): minus the mean over pairs of a group with y_a > y_b of
 * w_ab * log sigmoid(sigma * (x_a - x_b)), the logarithm binary or natural. With ranks r by x
 * and i = |r_a - r_b|, gain G = (2^y - 1) / max DCG@k, discount D(r) = log2(1 + r):
 *   rank    |1/D(r_a) - 1/D(r_b)| |G_a - G_b|      ndcg2  |1/D(i) - 1/D(i + 1)| |G_a - G_b|
 *   ndcg2pp mu * ndcg2 + rank                      ndcg1  G_a / D(r_a), over all a and b
 * k: pairs with both ranks past it weigh 0; they count in the mean, so that its size depends on
 * no ranking (sentence-transformers leaves them out). */
tandem_cross_loss_function tandem_loss_lambda;
/* ListNet (Cao et al. 2007): mean over groups of the cross entropy of softmax(x) against
 * softmax(y). */
tandem_cross_loss_function tandem_loss_list_net;
/* ListMLE (Xia et al. 2008): mean over groups of minus the log-likelihood, by Plackett-Luce,
 * of the order by y (equals in the given order). */
tandem_cross_loss_function tandem_loss_list_mle;
/* Position-aware ListMLE (Lan et al. 2014): the same with rank r of a group of n weighing
 * (2^(n - r) - 1) / sum. */
tandem_cross_loss_function tandem_loss_p_list_mle;
/* ADR-MSE (Schlatt et al. 2025, Rank-DistiLLM): mean of (r - a)^2 / log2(1 + r) with r the rank
 * by y (ties: their mean) and a = 1/2 + sum_j sigmoid(alpha (x_j - x)). */
tandem_cross_loss_function tandem_loss_adr_mse;

#ifdef __cplusplus
}
#endif
#endif
