/* negatives.c - mining a block of queries: candidates, scores, thresholds, choice, groups. */
#include "tandem/negatives.h"

#include <stdlib.h>
#include <string.h>

#include "mining/miner.h"
#include "mining/select.h"
#include "tandem/hash.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"
#include "tandem/random.h"

enum {
    BLOCK = 4096,           /* queries at a time, */
    CROSS_BLOCK = 64,       /* with a cross-encoder, which takes most of the time, */
    BLOCK_HITS = 1 << 21,   /* and no more than come to so many hits a source */
    DRAWS = 64              /* random documents looked at for each one wanted */
};

/* ---- opening ------------------------------------------------------------------------- */
int tandem_mining_check(const tandem_mining_options *o, const tandem_split *split, const char *path)
{
    if (o->range_low >= o->range_high) {
        return tandem_error_code(TANDEM_USAGE, "the range of ranks %zu:%zu is empty", o->range_low, o->range_high);
    }
    if (o->negatives == 0) {
        return tandem_error_code(TANDEM_USAGE, "at least 1 negative a query must be wanted");
    }
    if (o->negatives > o->range_high - o->range_low) {
        return tandem_error_code(TANDEM_USAGE, "%zu negatives are wanted from %zu ranks (%zu:%zu)", o->negatives,
                                 o->range_high - o->range_low, o->range_low, o->range_high);
    }
    if (isinf(o->absolute_margin) || isinf(o->relative_margin)) {
        return tandem_error_code(TANDEM_USAGE, "a margin is infinite");
    }
    if (o->min_score > o->max_score) {
        return tandem_error_code(TANDEM_USAGE, "no score is at least %g and at most %g", o->min_score, o->max_score);
    }
    if (split->count == 0) {
        return tandem_error("%s: no query of the split has a relevant document", path);
    }
    return TANDEM_OK;
}

static int check_sources(const tandem_mining *job)
{
    bool dense = false;
    for (size_t s = 0; s < job->source_count; s++) {
        dense = dense || !job->sources[s].bm25;
    }
    if (job->source_count == 0) {
        return tandem_error_code(TANDEM_USAGE, "no retriever to mine from");
    }
    if (!isnan(job->options.similar_positive) && !dense) {
        return tandem_error_code(TANDEM_USAGE, "cosines with positives need a bi-encoder among the retrievers");
    }
    if (job->cross && tandem_model_describe(job->cross)->kind != TANDEM_CROSS_ENCODER) {
        return tandem_error_code(TANDEM_USAGE, "%s is no cross-encoder", tandem_model_describe(job->cross)->directory);
    }
    return TANDEM_OK;
}

size_t tandem_mining_hits(const tandem_mining *job)
{
    size_t documents = job->dataset->corpus.count;
    return job->options.range_high < documents ? job->options.range_high : documents;
}

size_t tandem_mining_block(const tandem_mining *job)
{
    size_t most = BLOCK_HITS / (tandem_mining_hits(job) + 1) + 1, block = job->cross ? CROSS_BLOCK : BLOCK;
    if (job->options.block > 0) {
        return job->options.block;
    }
    return block < most ? block : most;
}

int tandem_miner_open(tandem_miner *m, const tandem_mining *job)
{
    const tandem_texts *corpus = &job->dataset->corpus;
    size_t ranked;
    *m = (tandem_miner){.job = job};
    TANDEM_TRY(tandem_mining_check(&job->options, job->split, job->dataset->path));
    TANDEM_TRY(check_sources(job));
    TANDEM_TRY(tandem_rules_prepare(m));
    TANDEM_TRY(tandem_tie_ranks(&m->tie_ranks, corpus->items, corpus->count));
    m->block = tandem_mining_block(job);
    m->block = m->block < job->split->count ? m->block : job->split->count;
    if (!tandem_size_mul(&ranked, job->source_count, tandem_mining_hits(job))) {
        return tandem_error("the hits of %zu sources do not fit in memory", job->source_count);
    }
    m->hits = tandem_alloc(job->source_count, sizeof *m->hits);
    m->ranked = tandem_alloc(ranked, sizeof *m->ranked);
    m->order = tandem_alloc(ranked, sizeof *m->order);
    m->positives.starts = tandem_alloc(m->block + 1, sizeof(size_t));
    m->candidates.starts = tandem_alloc(m->block + 1, sizeof(size_t));
    m->chosen.starts = tandem_alloc(m->block + 1, sizeof(size_t));
    return m->hits && m->ranked && m->order && m->positives.starts && m->candidates.starts && m->chosen.starts
               ? TANDEM_OK
               : TANDEM_ERROR;
}

static void free_list(tandem_judged_list *list)
{
    free(list->items);
    free(list->starts);
}

void tandem_miner_close(tandem_miner *m)
{
    for (size_t s = 0; m->hits && s < m->job->source_count; s++) {
        tandem_hits_free(&m->hits[s]);
    }
    for (size_t i = 0; i < m->shingles_room; i++) {
        tandem_shingles_free(&m->shingles[i]);
    }
    tandem_shingles_free(&m->candidate);
    tandem_token_store_free(m->cross_queries);
    tandem_token_store_free(m->cross_documents);
    tandem_strmap_free(m->by_text);
    free_list(&m->positives);
    free_list(&m->candidates);
    free_list(&m->chosen);
    free(m->hits);
    free(m->shingles);
    free(m->positive_list);
    free(m->tie_ranks);
    free(m->ranked);
    free(m->order);
    free(m->positive);
    free(m->excluded);
    free(m->first_alike);
    free(m->same_query);
    *m = (tandem_miner){0};
}

/* ---- candidates of a query --------------------------------------------------------------- */
int tandem_judged_add(tandem_judged_list *list, tandem_judged item)
{
    void *items = list->items;
    int rc = tandem_grow(&items, &list->room, list->count + 1, sizeof *list->items);
    list->items = items;
    if (rc == TANDEM_OK) {
        list->items[list->count++] = item;
    }
    return rc;
}

/* What the sources rank in the range and the rules on texts leave, in order; and the positives. */
static int gather(tandem_miner *m, tandem_mining_statistics *counts, size_t first, size_t row)
{
    const tandem_mining_options *o = &m->job->options;
    size_t q = first + row;
    const tandem_split_query *judged = &m->job->split->queries[q];
    m->positives.starts[row] = m->positives.count;
    m->candidates.starts[row] = m->candidates.count;
    for (size_t i = 0; i < judged->count; i++) {
        TANDEM_TRY(tandem_judged_add(&m->positives, (tandem_judged){(uint32_t)q, judged->documents[i], NAN}));
    }
    TANDEM_TRY(tandem_rules_begin(m, q));
    size_t count = tandem_miner_fuse(m, row);
    for (size_t i = 0; i < count; i++) {
        const tandem_ranked *found = &m->ranked[i];
        size_t *removed = NULL;
        if (found->rank < o->range_low || found->rank >= o->range_high) {
            continue;
        }
        counts->candidates++;
        TANDEM_TRY(tandem_rules_apply(&removed, m, counts, q, found->document));
        if (removed) {
            ++*removed;
        } else {
            float score = m->job->cross ? NAN : found->score;
            TANDEM_TRY(tandem_judged_add(&m->candidates, (tandem_judged){(uint32_t)q, found->document, score}));
        }
    }
    return TANDEM_OK;
}

/* ---- thresholds and choice ------------------------------------------------------------------ */
static double lowest_positive(const tandem_miner *m, size_t row)
{
    double lowest = INFINITY;
    for (size_t i = m->positives.starts[row]; i < m->positives.starts[row + 1]; i++) {
        lowest = fmin(lowest, (double)m->positives.items[i].score);
    }
    return lowest;
}

/* The highest score that a negative may have. A margin that is off is NaN, which
 * fmin() passes over. */
static double score_limit(const tandem_mining_options *o, double lowest)
{
    return fmin(fmin(lowest - o->absolute_margin, lowest - fabs(lowest) * o->relative_margin), INFINITY);
}

/* Moves the candidates that no threshold removes to the front; their number. */
static size_t filter(tandem_judged *items, size_t count, const tandem_mining_options *o, double limit,
                     tandem_mining_statistics *counts)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        double score = (double)items[i].score;
        if (score > limit) {
            counts->removed_margin++;
        } else if (score > o->max_score) {
            counts->removed_max_score++;
        } else if (score < o->min_score) {
            counts->removed_min_score++;
        } else {
            items[kept++] = items[i];
        }
    }
    return kept;
}

static int compare_scores(const void *left, const void *right, void *tie_ranks)
{
    const tandem_judged *one = left, *other = right;
    tandem_candidate a = {.score = one->score, .document = one->document};
    tandem_candidate b = {.score = other->score, .document = other->document};
    return tandem_candidate_before(a, b, tie_ranks) ? -1 : tandem_candidate_before(b, a, tie_ranks);
}

static int compare_positions(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static tandem_random stream_of(const tandem_miner *m, const char *name, size_t q)
{
    const char *id = tandem_miner_query(m, q)->id;
    return tandem_random_stream(m->job->options.seed, name, tandem_hash_bytes(id, strlen(id)).low);
}

/* Sets m->order[0 .. wanted) to the positions taken of `count`, ascending. */
static void choose(tandem_miner *m, size_t q, size_t count, size_t wanted)
{
    for (size_t i = 0; i < count; i++) {
        m->order[i] = (uint32_t)i;
    }
    if (m->job->options.sampling == TANDEM_SAMPLE_TOP) {
        return;
    }
    tandem_random random = stream_of(m, "negatives", q);
    for (size_t i = 0; i < wanted; i++) {
        size_t drawn = i + (size_t)tandem_random_below(&random, count - i);
        uint32_t position = m->order[drawn];
        m->order[drawn] = m->order[i];
        m->order[i] = position;
    }
    qsort(m->order, wanted, sizeof *m->order, compare_positions);
}

/* Adds `missing` random documents that no source has listed and no rule removes, or fewer in a
 * corpus that hardly has some. */
static int fill(tandem_miner *m, size_t row, size_t q, size_t missing, tandem_mining_statistics *counts)
{
    uint32_t mark = (uint32_t)q + 1;
    tandem_random random = stream_of(m, "fill", q);
    TANDEM_TRY(tandem_rules_begin(m, q));
    for (size_t s = 0; s < m->job->source_count; s++) {
        const tandem_hits *hits = &m->hits[s];
        for (size_t i = 0; i < hits->counts[row]; i++) {
            m->excluded[m->first_alike[hits->documents[row * hits->k + i]]] = mark;
        }
    }
    for (size_t draws = DRAWS * missing; draws > 0 && missing > 0; draws--) {
        uint32_t document = (uint32_t)tandem_random_below(&random, m->job->dataset->corpus.count);
        tandem_mining_statistics uncounted;
        size_t *removed;
        TANDEM_TRY(tandem_rules_apply(&removed, m, &uncounted, q, document));
        if (!removed) {
            TANDEM_TRY(tandem_judged_add(&m->chosen, (tandem_judged){(uint32_t)q, document, NAN}));
            counts->filled++;
            missing--;
        }
    }
    return TANDEM_OK;
}

/* The negatives of a query, to m->chosen. */
static int choose_negatives(tandem_miner *m, tandem_mining_statistics *counts, size_t first, size_t row)
{
    const tandem_mining_options *o = &m->job->options;
    size_t start = m->candidates.starts[row], q = first + row;
    tandem_judged *items = m->candidates.items ? m->candidates.items + start : NULL;
    size_t count = filter(items, m->candidates.starts[row + 1] - start, o,
                          score_limit(o, lowest_positive(m, row)), counts);
    size_t wanted = count < o->negatives ? count : o->negatives;
    m->chosen.starts[row] = m->chosen.count;
    counts->queries_short += wanted < o->negatives;
    counts->queries_empty += wanted == 0;
    if (m->job->cross && count > 1) {
        qsort_r(items, count, sizeof *items, compare_scores, m->tie_ranks);
    }
    choose(m, q, count, wanted);
    for (size_t i = 0; i < wanted; i++) {
        TANDEM_TRY(tandem_judged_add(&m->chosen, items[m->order[i]]));
    }
    return o->shortage == TANDEM_SHORTAGE_FILL && wanted < o->negatives ? fill(m, row, q, o->negatives - wanted, counts)
                                                                        : TANDEM_OK;
}

/* ---- groups ------------------------------------------------------------------------------------ */
static int add_passage(const tandem_miner *m, tandem_groups *groups, bool positive, tandem_judged item)
{
    const tandem_text *text = &m->job->dataset->corpus.items[item.document];
    return tandem_groups_add(groups, positive, text->id, text->text, text->length, item.score);
}

static int add_group(tandem_miner *m, tandem_groups *groups, tandem_mining_tally *tally, size_t first, size_t row)
{
    const tandem_text *text = tandem_miner_query(m, first + row);
    size_t start = m->chosen.starts[row], end = m->chosen.starts[row + 1];
    double lowest = lowest_positive(m, row);
    if (m->job->options.shortage == TANDEM_SHORTAGE_DROP && end - start < m->job->options.negatives) {
        tally->counts.queries_dropped++;
        return TANDEM_OK;
    }
    TANDEM_TRY(tandem_groups_begin(groups, text->id, text->text, text->length));
    for (size_t i = m->positives.starts[row]; i < m->positives.starts[row + 1]; i++) {
        TANDEM_TRY(add_passage(m, groups, true, m->positives.items[i]));
        TANDEM_TRY(tandem_score_list_add(&tally->positive, (double)m->positives.items[i].score));
    }
    for (size_t i = start; i < end; i++) {
        double score = (double)m->chosen.items[i].score;
        TANDEM_TRY(add_passage(m, groups, false, m->chosen.items[i]));
        TANDEM_TRY(tandem_score_list_add(&tally->negative, score));
        TANDEM_TRY(tandem_score_list_add(&tally->margin, lowest - score));
    }
    tally->counts.mined += end - start;
    return TANDEM_OK;
}

int tandem_miner_block(tandem_miner *m, tandem_groups *groups, tandem_mining_tally *tally, size_t first, size_t count)
{
    m->positives.count = m->candidates.count = m->chosen.count = 0;
    TANDEM_TRY(tandem_miner_retrieve(m, first, count));
    for (size_t row = 0; row < count; row++) {
        TANDEM_TRY(gather(m, &tally->counts, first, row));
    }
    m->positives.starts[count] = m->positives.count;
    m->candidates.starts[count] = m->candidates.count;
    TANDEM_TRY(tandem_judge(m, &m->positives));
    TANDEM_TRY(tandem_judge(m, &m->candidates));
    for (size_t row = 0; row < count; row++) {
        TANDEM_TRY(choose_negatives(m, &tally->counts, first, row));
    }
    m->chosen.starts[count] = m->chosen.count;
    TANDEM_TRY(tandem_judge(m, &m->chosen)); /* the random ones */
    for (size_t row = 0; row < count; row++) {
        TANDEM_TRY(add_group(m, groups, tally, first, row));
    }
    tally->counts.queries += count;
    tally->counts.pairs += m->positives.count;
    return TANDEM_OK;
}

/* ---- all of them, in memory ---------------------------------------------------------------------- */
int tandem_mining_none(const tandem_mining_options *options, const char *path)
{
    return tandem_error("%s: every query was dropped: none has %zu negatives left", path, options->negatives);
}

static int mine(tandem_miner *m, tandem_groups *groups, tandem_mining_tally *tally)
{
    size_t queries = m->job->split->count;
    for (size_t first = 0; first < queries; first += m->block) {
        if (tandem_interrupted()) {
            return tandem_error_code(TANDEM_INTERRUPTED, "interrupted while mining");
        }
        size_t count = queries - first < m->block ? queries - first : m->block;
        TANDEM_TRY(tandem_miner_block(m, groups, tally, first, count));
    }
    TANDEM_TRY(tandem_groups_finish(groups));
    return groups->count > 0 ? TANDEM_OK : tandem_mining_none(&m->job->options, m->job->dataset->path);
}

int tandem_mine_negatives(tandem_groups **out, tandem_mining_statistics *statistics, const tandem_mining *mining)
{
    tandem_miner m;
    tandem_mining_tally tally = {0};
    tandem_groups *groups = NULL;
    int rc;
    *out = NULL;
    *statistics = (tandem_mining_statistics){0};
    TANDEM_TRY_GOTO(rc, done, tandem_miner_open(&m, mining));
    TANDEM_TRY_GOTO(rc, done, tandem_groups_new(&groups));
    TANDEM_TRY_GOTO(rc, done, mine(&m, groups, &tally));
    tandem_mining_tally_finish(statistics, &tally);
    *out = groups;
    groups = NULL;
done:
    tandem_groups_free(groups);
    tandem_mining_tally_free(&tally);
    tandem_miner_close(&m);
    return rc;
}
