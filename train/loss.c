/* loss.c - the table of losses. */
#include "train/losses.h"

static size_t pair_terms(const tandem_candidates *candidates)
{
    return candidates->starts[candidates->groups];
}

static size_t negative_terms(const tandem_candidates *candidates)
{
    return candidates->starts[candidates->groups] - candidates->groups;
}

static size_t group_terms(const tandem_candidates *candidates)
{
    return candidates->groups;
}

static int compute_bce(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    return tandem_loss_bce(out, logits, c->labels, c->offsets, c->pos_weight);
}

static int compute_pairwise(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    return tandem_loss_pairwise(out, logits, c->starts, c->groups, c->offsets);
}

static int compute_softmax(tandem_tensor **out, const tandem_tensor *logits, const tandem_candidates *c)
{
    return tandem_loss_softmax(out, logits, c->starts, c->groups, c->offsets);
}

#define BCE "bce"
#define PAIRWISE "pairwise"
#define SOFTMAX "softmax"

static const tandem_cross_loss cross_losses[] = {
    {BCE, false, pair_terms, compute_bce},
    {PAIRWISE, true, negative_terms, compute_pairwise},
    {SOFTMAX, true, group_terms, compute_softmax},
};

/* In the order of the table. */
const char *const tandem_cross_loss_names[] = {BCE, PAIRWISE, SOFTMAX, NULL};
const char *const tandem_bi_loss_names[] = {"mnrl", NULL};

const tandem_cross_loss *tandem_cross_loss_at(size_t index)
{
    return &cross_losses[index];
}
