/* judge.c - the scores that thresholds look at and groups hold. */
#include <math.h>
#include <stdlib.h>

#include "mining/dot.h"
#include "mining/miner.h"
#include "tandem/memory.h"

/* The score of a document that the first source did not list. */
static int score_by_source(float *out, const tandem_miner *m, size_t q, uint32_t document)
{
    const tandem_mining_source *s = &m->job->sources[0];
    if (s->bm25) {
        return tandem_bm25_score(out, s->bm25, tandem_miner_query(m, q), document);
    }
    *out = tandem_dot(tandem_shards_row(&s->queries, q), tandem_shards_row(&s->documents, document),
                      s->documents.items[0].dim);
    return TANDEM_OK;
}

/* Token ids of all that a cross-encoder may be asked for, once. */
static int tokenize(tandem_miner *m)
{
    const tandem_mining *job = m->job;
    tandem_text *texts = tandem_alloc(job->split->count, sizeof *texts);
    if (!texts) {
        return TANDEM_ERROR;
    }
    for (size_t q = 0; q < job->split->count; q++) {
        texts[q] = *tandem_miner_query(m, q);
    }
    int rc = tandem_model_tokenize(&m->cross_queries, job->cross, texts, job->split->count, TANDEM_QUERY);
    free(texts);
    TANDEM_TRY(rc);
    const tandem_texts *corpus = &job->dataset->corpus;
    return tandem_model_tokenize(&m->cross_documents, job->cross, corpus->items, corpus->count, TANDEM_DOCUMENT);
}

/* All of them in one call, which sorts them by length. */
static int score_by_cross(tandem_miner *m, tandem_judged_list *list)
{
    size_t labels = (size_t)tandem_model_describe(m->job->cross)->labels, floats, count = 0;
    if (!m->cross_documents) {
        TANDEM_TRY(tokenize(m));
    }
    if (!tandem_size_mul(&floats, list->count, labels)) {
        return tandem_error("%zu scores do not fit in memory", list->count);
    }
    tandem_pair *pairs = tandem_alloc(list->count, sizeof *pairs);
    float *logits = tandem_alloc(floats, sizeof *logits);
    int rc = pairs && logits ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; rc == TANDEM_OK && i < list->count; i++) {
        if (isnan(list->items[i].score)) {
            pairs[count++] = (tandem_pair){list->items[i].query, list->items[i].document};
        }
    }
    if (rc == TANDEM_OK && count > 0) {
        rc = tandem_model_score(logits, m->job->cross, m->cross_queries, m->cross_documents, pairs, count, "judging");
    }
    for (size_t i = 0, at = 0; rc == TANDEM_OK && i < list->count; i++) {
        if (isnan(list->items[i].score)) {
            list->items[i].score = logits[at++ * labels];
        }
    }
    free(pairs);
    free(logits);
    return rc;
}

int tandem_judge(tandem_miner *m, tandem_judged_list *list)
{
    if (m->job->cross) {
        TANDEM_TRY(score_by_cross(m, list));
    }
    for (size_t i = 0; i < list->count; i++) {
        tandem_judged *item = &list->items[i];
        if (isnan(item->score) && !m->job->cross) {
            TANDEM_TRY(score_by_source(&item->score, m, item->query, item->document));
        }
        if (!isfinite(item->score)) {
            return tandem_error("the score of query \"%s\" and document \"%s\" is not finite",
                                tandem_miner_query(m, item->query)->id,
                                m->job->dataset->corpus.items[item->document].id);
        }
    }
    return TANDEM_OK;
}
