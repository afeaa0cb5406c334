/* negatives.c - hard negatives: what the retriever ranks high and nobody judged
 * relevant. */
#include "tandem/negatives.h"

#include <stdlib.h>
#include <string.h>

#include "mining/dot.h"
#include "mining/statistics.h"
#include "tandem/hash.h"
#include "tandem/memory.h"
#include "tandem/random.h"
#include "tandem/search.h"

typedef struct {
    const tandem_dataset *dataset;
    const tandem_split *split;
    const tandem_mining_source *source;
    const tandem_mining_options *options;
    tandem_groups *groups;
    tandem_mining_statistics *statistics;
    tandem_mining_scores scores; /* behind the quantiles */
    tandem_hits hits;
    tandem_strmap *by_text; /* text of a document -> first document with that text */
    uint32_t *first_alike;  /* [corpus] that document, for each */
    uint32_t *same_query;   /* [split] the next query with the same text, round in a ring */
    /* [corpus] per first_alike: 1 + the last query for which the text is excluded. */
    size_t *excluded;
    bool *positive;      /* [corpus] of the present query, or of one with the same text */
    uint32_t *survivors; /* [range] positions in the query's row of hits */
} miner;

static const tandem_text *query_text(const miner *m, size_t q)
{
    return &m->dataset->queries.items[m->split->queries[q].query];
}

static int check_options(const tandem_mining_options *o)
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
    return TANDEM_OK;
}

/* Finds documents with the same text. */
static int find_alike(miner *m)
{
    const tandem_texts *corpus = &m->dataset->corpus;
    m->by_text = tandem_strmap_new(corpus->count);
    m->first_alike = tandem_alloc(corpus->count, sizeof *m->first_alike);
    if (!m->by_text || !m->first_alike) {
        return TANDEM_ERROR;
    }
    for (size_t d = 0; d < corpus->count; d++) {
        size_t first = d;
        int rc = tandem_strmap_add(m->by_text, corpus->items[d].text, corpus->items[d].length, d, &first);
        TANDEM_TRY(rc);
        m->first_alike[d] = (uint32_t)first;
    }
    return TANDEM_OK;
}

/* Finds queries with the same text: what is relevant to one is so to all. */
static int find_same_queries(miner *m)
{
    size_t count = m->split->count;
    tandem_strmap *by_text = tandem_strmap_new(count);
    m->same_query = tandem_alloc(count, sizeof *m->same_query);
    int rc = by_text && m->same_query ? TANDEM_OK : TANDEM_ERROR;
    for (size_t q = 0; q < count && rc >= 0; q++) {
        const tandem_text *text = query_text(m, q);
        size_t first;
        m->same_query[q] = (uint32_t)q;
        rc = tandem_strmap_add(by_text, text->text, text->length, q, &first);
        if (rc == 0) {
            m->same_query[q] = m->same_query[first];
            m->same_query[first] = (uint32_t)q;
        }
    }
    tandem_strmap_free(by_text);
    return rc < 0 ? rc : TANDEM_OK;
}

static int search_vectors(miner *m, const uint32_t *tie_ranks)
{
    const tandem_mining_source *s = m->source;
    return tandem_search_exact(&m->hits, s->queries, m->split->count, s->documents, m->dataset->corpus.count, s->dim,
                               m->options->range_high, tie_ranks);
}

static int search_bm25(miner *m, const uint32_t *tie_ranks)
{
    size_t count = m->split->count;
    tandem_text *texts = tandem_alloc(count, sizeof *texts);
    if (!texts) {
        return TANDEM_ERROR;
    }
    for (size_t q = 0; q < count; q++) {
        texts[q] = *query_text(m, q);
    }
    int rc = tandem_bm25_search(&m->hits, m->source->bm25, texts, count, m->options->range_high, tie_ranks);
    free(texts);
    return rc;
}

static int retrieve(miner *m)
{
    uint32_t *tie_ranks;
    TANDEM_TRY(tandem_tie_ranks(&tie_ranks, m->dataset->corpus.items, m->dataset->corpus.count));
    int rc = m->source->bm25 ? search_bm25(m, tie_ranks) : search_vectors(m, tie_ranks);
    free(tie_ranks);
    return rc;
}

static int score_pair(float *out, const miner *m, size_t q, uint32_t document)
{
    const tandem_mining_source *s = m->source;
    if (s->bm25) {
        return tandem_bm25_score(out, s->bm25, query_text(m, q), document);
    }
    *out = tandem_dot(s->queries + q * s->dim, s->documents + document * s->dim, s->dim);
    return TANDEM_OK;
}

static int add_passage(miner *m, bool positive, uint32_t document, float score)
{
    const tandem_text *text = &m->dataset->corpus.items[document];
    return tandem_groups_add(m->groups, positive, text->id, text->text, text->length, score);
}

/* Adds the positives to the group; *lowest is the least of their scores. */
static int add_positives(miner *m, size_t q, float *lowest)
{
    const tandem_split_query *query = &m->split->queries[q];
    *lowest = INFINITY;
    for (size_t i = 0; i < query->count; i++) {
        uint32_t document = query->documents[i];
        float score;
        TANDEM_TRY(score_pair(&score, m, q, document));
        TANDEM_TRY(add_passage(m, true, document, score));
        TANDEM_TRY(tandem_score_list_add(&m->scores.positive, score));
        *lowest = fminf(*lowest, score);
    }
    return TANDEM_OK;
}

/* Marks the positives of `q` and of the queries with its text, or takes the marks away. */
static void mark_positives(miner *m, size_t q, bool positive)
{
    size_t same = q;
    do {
        const tandem_split_query *query = &m->split->queries[same];
        for (size_t i = 0; i < query->count; i++) {
            m->positive[query->documents[i]] = positive;
            m->excluded[m->first_alike[query->documents[i]]] = q + 1;
        }
        same = m->same_query[same];
    } while (same != q);
}

static void exclude_query_text(miner *m, size_t q)
{
    const tandem_text *text = query_text(m, q);
    size_t document;
    if (tandem_strmap_find(m->by_text, text->text, text->length, &document)) {
        m->excluded[document] = q + 1;
    }
}

/* The highest score that a negative may have. A margin that is off is NaN, which
 * fmin() passes over. */
static double score_limit(const tandem_mining_options *o, double lowest)
{
    return fmin(fmin(lowest - o->absolute_margin, lowest - fabs(lowest) * o->relative_margin), INFINITY);
}

/* Gathers in m->survivors the ranks that no rule removes; gives their number. */
static size_t filter(miner *m, size_t q, double limit)
{
    tandem_mining_statistics *s = m->statistics;
    const uint32_t *documents = m->hits.documents + q * m->hits.k;
    const float *scores = m->hits.scores + q * m->hits.k;
    size_t kept = 0;
    for (size_t rank = m->options->range_low; rank < m->hits.counts[q]; rank++) {
        uint32_t document = documents[rank];
        size_t *excluded = &m->excluded[m->first_alike[document]];
        s->candidates++;
        if (m->positive[document]) {
            s->removed_positive++;
        } else if (*excluded == q + 1) {
            s->removed_identical++;
        } else if ((double)scores[rank] > limit) {
            s->removed_margin++;
        } else {
            *excluded = q + 1;
            m->survivors[kept++] = (uint32_t)rank;
        }
    }
    return kept;
}

static int compare_ranks(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* Moves a random sample to the front, hardest first. */
static void sample(const miner *m, size_t q, size_t count, size_t wanted)
{
    const char *id = query_text(m, q)->id;
    tandem_random random = tandem_random_stream(m->options->seed, "negatives", tandem_hash_bytes(id, strlen(id)).low);
    for (size_t i = 0; i < wanted; i++) {
        size_t drawn = i + (size_t)tandem_random_below(&random, count - i);
        uint32_t rank = m->survivors[drawn];
        m->survivors[drawn] = m->survivors[i];
        m->survivors[i] = rank;
    }
    qsort(m->survivors, wanted, sizeof *m->survivors, compare_ranks);
}

static int add_negatives(miner *m, size_t q, double lowest, size_t count)
{
    const tandem_mining_options *o = m->options;
    size_t wanted = count < o->negatives ? count : o->negatives;
    if (o->sampling == TANDEM_SAMPLE_RANDOM) {
        sample(m, q, count, wanted);
    }
    for (size_t i = 0; i < wanted; i++) {
        size_t cell = q * m->hits.k + m->survivors[i];
        float score = m->hits.scores[cell];
        TANDEM_TRY(add_passage(m, false, m->hits.documents[cell], score));
        TANDEM_TRY(tandem_score_list_add(&m->scores.negative, score));
        TANDEM_TRY(tandem_score_list_add(&m->scores.margin, lowest - (double)score));
    }
    m->statistics->mined += wanted;
    m->statistics->queries_short += wanted < o->negatives;
    m->statistics->queries_empty += wanted == 0;
    return TANDEM_OK;
}

static int mine_query(miner *m, size_t q)
{
    const tandem_text *text = query_text(m, q);
    float lowest;
    TANDEM_TRY(tandem_groups_begin(m->groups, text->id, text->text, text->length));
    TANDEM_TRY(add_positives(m, q, &lowest));
    mark_positives(m, q, true);
    exclude_query_text(m, q);
    size_t count = filter(m, q, score_limit(m->options, (double)lowest));
    mark_positives(m, q, false);
    return add_negatives(m, q, (double)lowest, count);
}

static int mine(miner *m)
{
    size_t documents = m->dataset->corpus.count;
    TANDEM_TRY(check_options(m->options));
    if (m->split->count == 0) {
        return tandem_error("%s: no query of the split has a relevant document", m->dataset->path);
    }
    TANDEM_TRY(find_alike(m));
    TANDEM_TRY(find_same_queries(m));
    TANDEM_TRY(retrieve(m));
    m->excluded = tandem_alloc(documents, sizeof *m->excluded);
    m->positive = tandem_alloc(documents, sizeof *m->positive);
    m->survivors = tandem_alloc(m->hits.k, sizeof *m->survivors);
    if (!m->excluded || !m->positive || !m->survivors) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(tandem_groups_new(&m->groups));
    m->statistics->queries = m->split->count;
    m->statistics->pairs = m->split->pairs;
    for (size_t q = 0; q < m->split->count; q++) {
        TANDEM_TRY(mine_query(m, q));
    }
    tandem_mining_quantiles(m->statistics, &m->scores);
    return tandem_groups_finish(m->groups);
}

int tandem_mine_negatives(tandem_groups **out, tandem_mining_statistics *statistics, const tandem_dataset *dataset,
                          const tandem_split *split, const tandem_mining_source *source,
                          const tandem_mining_options *options)
{
    miner m = {.dataset = dataset, .split = split, .source = source, .options = options, .statistics = statistics};
    *out = NULL;
    *statistics = (tandem_mining_statistics){0};
    int rc = mine(&m);
    if (rc == TANDEM_OK) {
        *out = m.groups;
        m.groups = NULL;
    }
    tandem_groups_free(m.groups);
    tandem_mining_scores_free(&m.scores);
    tandem_hits_free(&m.hits);
    tandem_strmap_free(m.by_text);
    free(m.first_alike);
    free(m.same_query);
    free(m.excluded);
    free(m.positive);
    free(m.survivors);
    return rc;
}
