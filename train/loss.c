/* loss.c - the tables of losses, and which settings go together. */
#include "train/loss_parts.h"
#include "train/losses.h"

/* ---- terms of cross-encoder losses ------------------------------------------------------ */
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

/* ---- tables -------------------------------------------------------------------------------- */
enum {
    NEGATIVES = TANDEM_NEEDS_NEGATIVES, SCORES = TANDEM_NEEDS_SCORES, TEACHER = TANDEM_NEEDS_TEACHER,
    LABELS = TANDEM_READS_LABELS, IN_UNIT = TANDEM_LABELS_IN_UNIT, ZERO_OR_ONE = TANDEM_LABELS_0_OR_1,
    CLASSES = TANDEM_NEEDS_CLASSES, LISTS = TANDEM_TAKES_LISTS, BY_ROWS = TANDEM_GOES_BY_ROWS,
    TEXT_CLASSES = TANDEM_READS_CLASSES, SCALE = TANDEM_TAKES_SCALE
};

#define BI_LOSSES(X) \
    X("mnrl", BY_ROWS | SCALE, tandem_loss_mnrl) \
    X("gist", BY_ROWS | TEACHER | SCALE, tandem_loss_gist) \
    X("margin_mse", NEGATIVES | SCORES, tandem_loss_margin_mse) \
    X("distill_kl", NEGATIVES | SCORES, tandem_loss_distill_kl) \
    X("embed_distill", TEACHER, tandem_loss_embed_distill) \
    X("cosent", LABELS | SCALE, tandem_loss_cosent) \
    X("angle", LABELS | SCALE, tandem_loss_angle) \
    X("cosine_similarity", LABELS, tandem_loss_cosine_similarity) \
    X("contrastive", LABELS | IN_UNIT, tandem_loss_contrastive) \
    X("online_contrastive", LABELS | ZERO_OR_ONE, tandem_loss_online_contrastive) \
    X("triplet", NEGATIVES, tandem_loss_triplet) \
    X("batch_all_triplet", TEXT_CLASSES, tandem_loss_batch_all_triplet) \
    X("batch_hard_triplet", TEXT_CLASSES, tandem_loss_batch_hard_triplet) \
    X("batch_hard_soft_margin_triplet", TEXT_CLASSES, tandem_loss_batch_hard_soft_margin_triplet) \
    X("batch_semi_hard_triplet", TEXT_CLASSES, tandem_loss_batch_semi_hard_triplet)

#define CROSS_LOSSES(X) \
    X("bce", LABELS | IN_UNIT, pair_terms, tandem_loss_bce) \
    X("pairwise", NEGATIVES | LABELS, tandem_part_better_pairs, tandem_loss_pairwise) \
    X("softmax", NEGATIVES, group_terms, tandem_loss_softmax) \
    X("mnrl", 0, group_terms, tandem_loss_cross_mnrl) \
    X("lambda", NEGATIVES | LABELS | LISTS, tandem_part_lambda_pairs, tandem_loss_lambda) \
    X("list_net", NEGATIVES | LABELS | LISTS, group_terms, tandem_loss_list_net) \
    X("list_mle", NEGATIVES | LABELS | LISTS, group_terms, tandem_loss_list_mle) \
    X("p_list_mle", NEGATIVES | LABELS | LISTS, group_terms, tandem_loss_p_list_mle) \
    X("adr_mse", NEGATIVES | LABELS | LISTS, pair_terms, tandem_loss_adr_mse) \
    X("margin_mse", NEGATIVES | SCORES, negative_terms, tandem_loss_cross_margin_mse) \
    X("mse", SCORES, pair_terms, tandem_loss_mse) \
    X("cross_entropy", LABELS | CLASSES, pair_terms, tandem_loss_cross_entropy)

#define BI_ROW(name, needs, compute) {name, needs, compute},
#define BI_NAME(name, needs, compute) name,
#define CROSS_ROW(name, needs, terms, compute) {name, needs, terms, compute},
#define CROSS_NAME(name, needs, terms, compute) name,

static const tandem_bi_loss bi_losses[] = {BI_LOSSES(BI_ROW)};
static const tandem_cross_loss cross_losses[] = {CROSS_LOSSES(CROSS_ROW)};
const char *const tandem_bi_loss_names[] = {BI_LOSSES(BI_NAME) NULL};
const char *const tandem_cross_loss_names[] = {CROSS_LOSSES(CROSS_NAME) NULL};

const tandem_bi_loss *tandem_bi_loss_at(size_t index)
{
    return &bi_losses[index];
}

const tandem_cross_loss *tandem_cross_loss_at(size_t index)
{
    return &cross_losses[index];
}

unsigned tandem_loss_needs(const tandem_loss_settings *settings, bool cross)
{
    size_t index = (size_t)settings->name;
    unsigned needs = cross ? cross_losses[index].needs : bi_losses[index].needs;

    if (settings->labels == TANDEM_LABELS_BINARY) {
        needs &= ~(unsigned)(LABELS | IN_UNIT | ZERO_OR_ONE);
    }
    if (cross && cross_losses[index].compute == tandem_loss_cross_mnrl && settings->in_batch_negatives == 0) {
        needs |= NEGATIVES;
    }
    return needs;
}

const char *tandem_loss_name(const tandem_loss_settings *settings, bool cross)
{
    return cross ? tandem_cross_loss_names[settings->name] : tandem_bi_loss_names[settings->name];
}

double tandem_loss_scale(const tandem_loss_settings *settings)
{
    bool gist = bi_losses[settings->name].compute == tandem_loss_gist;

    return gist ? 1.0 / settings->gist.temperature : settings->scale;
}

void tandem_loss_set_scale(tandem_loss_settings *settings, double scale)
{
    settings->scale = scale;
    settings->gist.temperature = 1.0 / scale;
}

/* ---- settings that do not go together ------------------------------------------------------ */
static int check_bi(const tandem_loss_settings *s, const tandem_bi_loss *loss)
{
    if (s->partition == TANDEM_PARTITION_PER_DIRECTION && (s->directions.query_to_query || s->directions.doc_to_doc)) {
        return tandem_error_code(TANDEM_USAGE, "loss.partition per_direction goes with doc_to_query alone: "
                                 "query_to_query and doc_to_doc have no positive of their own");
    }
    if ((loss->needs & TEACHER) != 0 && s->teacher == NULL) {
        return tandem_error_code(TANDEM_USAGE, "the loss %s needs loss.teacher: the directory of a bi-encoder",
                                 loss->name);
    }
    if ((loss->needs & TEACHER) == 0 && s->teacher != NULL) {
        return tandem_error_code(TANDEM_USAGE, "the loss %s reads no loss.teacher", loss->name);
    }
    if ((loss->needs & TEXT_CLASSES) != 0 && s->triplet.distance == TANDEM_DISTANCE_MANHATTAN) {
        return tandem_error_code(TANDEM_USAGE, "the loss %s has no distance manhattan: expected cosine or euclidean",
                                 loss->name);
    }
    if (s->scale_learning_rate > 0.0 && (loss->needs & SCALE) == 0) {
        return tandem_error_code(TANDEM_USAGE, "loss.scale_learning_rate: the loss %s has no scale", loss->name);
    }
    if (s->scale_learning_rate > 0.0 && tandem_loss_scale(s) > TANDEM_SCALE_MOST) {
        return tandem_error_code(TANDEM_USAGE, "loss.scale_learning_rate: a learned scale is at most %g, and it is to "
                                 "start from %g", TANDEM_SCALE_MOST, tandem_loss_scale(s));
    }
    return TANDEM_OK;
}

static int check_cross(const tandem_loss_settings *s, const tandem_cross_loss *loss)
{
    const char *reason = NULL;

    if (s->offset_scale > 0.0 && (tandem_loss_needs(s, true) & (SCORES | LABELS)) != 0) {
        reason = "learns the groups' scores, which cannot be the first stage's as well";
    } else if (s->offset_scale > 0.0 && (loss->needs & CLASSES) != 0) {
        reason = "has a logit a class, and takes no offset";
    } else if (s->offset_scale > 0.0 && loss->compute == tandem_loss_cross_mnrl && s->in_batch_negatives > 0) {
        reason = "draws loss.in_batch_negatives, of which the first stage's score is not known";
    }
    return reason == NULL ? TANDEM_OK : tandem_error_code(TANDEM_USAGE, "loss.offset_scale: the loss %s %s", loss->name,
                                                          reason);
}

int tandem_loss_check_settings(const tandem_loss_settings *settings, bool cross)
{
    return cross ? check_cross(settings, tandem_cross_loss_at((size_t)settings->name))
                 : check_bi(settings, tandem_bi_loss_at((size_t)settings->name));
}
