/* rules.c - which texts are no negatives of a query. */
#include <math.h>
#include <stdlib.h>

#include "mining/dot.h"
#include "mining/miner.h"
#include "tandem/memory.h"

/* Finds documents with the same text. */
static int find_alike(tandem_miner *m)
{
    const tandem_texts *corpus = &m->job->dataset->corpus;
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
static int find_same_queries(tandem_miner *m)
{
    size_t count = m->job->split->count;
    tandem_strmap *by_text = tandem_strmap_new(count);
    m->same_query = tandem_alloc(count, sizeof *m->same_query);
    int rc = by_text && m->same_query ? TANDEM_OK : TANDEM_ERROR;
    for (size_t q = 0; q < count && rc >= 0; q++) {
        const tandem_text *text = tandem_miner_query(m, q);
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

int tandem_rules_prepare(tandem_miner *m)
{
    size_t documents = m->job->dataset->corpus.count;
    TANDEM_TRY(find_alike(m));
    TANDEM_TRY(find_same_queries(m));
    m->positive = tandem_alloc(documents, sizeof *m->positive);
    m->excluded = tandem_alloc(documents, sizeof *m->excluded);
    return m->positive && m->excluded ? TANDEM_OK : TANDEM_ERROR;
}

/* ---- the present query -------------------------------------------------------------------- */
static int mark_positive(tandem_miner *m, uint32_t mark, uint32_t document)
{
    if (m->positive[document] == mark) {
        return TANDEM_OK;
    }
    m->positive[document] = mark;
    m->excluded[m->first_alike[document]] = mark;
    void *list = m->positive_list;
    int rc = tandem_grow(&list, &m->positive_room, m->positive_count + 1, sizeof *m->positive_list);
    m->positive_list = list;
    if (rc == TANDEM_OK) {
        m->positive_list[m->positive_count++] = document;
    }
    return rc;
}

static int read_document(tandem_shingles *out, const tandem_miner *m, uint32_t document)
{
    const tandem_text *text = &m->job->dataset->corpus.items[document];
    return tandem_shingles_read(out, text->text, text->length);
}

static int read_positives(tandem_miner *m)
{
    if (m->positive_count > m->shingles_room) {
        tandem_shingles *more = tandem_alloc(m->positive_count, sizeof *more);
        if (!more) {
            return TANDEM_ERROR;
        }
        for (size_t i = 0; i < m->shingles_room; i++) {
            more[i] = m->shingles[i];
        }
        free(m->shingles);
        m->shingles = more;
        m->shingles_room = m->positive_count;
    }
    for (size_t i = 0; i < m->positive_count; i++) {
        TANDEM_TRY(read_document(&m->shingles[i], m, m->positive_list[i]));
    }
    return TANDEM_OK;
}

int tandem_rules_begin(tandem_miner *m, size_t q)
{
    uint32_t mark = (uint32_t)q + 1;
    size_t same = q, document;
    m->positive_count = 0;
    /* The marks may be there from an earlier time that this query was the present one. */
    do {
        const tandem_split_query *query = &m->job->split->queries[same];
        for (size_t i = 0; i < query->count; i++) {
            m->positive[query->documents[i]] = 0;
        }
        same = m->same_query[same];
    } while (same != q);
    do {
        const tandem_split_query *query = &m->job->split->queries[same];
        for (size_t i = 0; i < query->count; i++) {
            TANDEM_TRY(mark_positive(m, mark, query->documents[i]));
        }
        same = m->same_query[same];
    } while (same != q);
    const tandem_text *text = tandem_miner_query(m, q);
    if (tandem_strmap_find(m->by_text, text->text, text->length, &document)) {
        m->excluded[document] = mark;
    }
    return isnan(m->job->options.near_duplicate) ? TANDEM_OK : read_positives(m);
}

/* 1: the document shares too much of its wording with a positive. */
static int is_near_duplicate(tandem_miner *m, uint32_t document)
{
    double limit = m->job->options.near_duplicate;
    if (isnan(limit)) {
        return 0;
    }
    TANDEM_TRY(read_document(&m->candidate, m, document));
    for (size_t i = 0; i < m->positive_count; i++) {
        if (tandem_shingles_overlap(&m->candidate, &m->shingles[i]) >= limit) {
            return 1;
        }
    }
    return 0;
}

static bool is_similar(const tandem_miner *m, uint32_t document)
{
    double limit = m->job->options.similar_positive;
    const tandem_mining_source *source = m->job->sources;
    if (isnan(limit)) {
        return false;
    }
    while (source->bm25) { /* a dense one is there: tandem_mining_check */
        source++;
    }
    size_t dim = source->documents.items[0].dim;
    const float *a = tandem_shards_row(&source->documents, document);
    double length = sqrt((double)tandem_dot(a, a, dim));
    for (size_t i = 0; i < m->positive_count; i++) {
        const float *b = tandem_shards_row(&source->documents, m->positive_list[i]);
        double lengths = length * sqrt((double)tandem_dot(b, b, dim));
        if (lengths > 0 && (double)tandem_dot(a, b, dim) / lengths >= limit) {
            return true;
        }
    }
    return false;
}

int tandem_rules_apply(size_t **out, tandem_miner *m, tandem_mining_statistics *counts, size_t q, uint32_t document)
{
    uint32_t mark = (uint32_t)q + 1, *excluded = &m->excluded[m->first_alike[document]];
    if (m->positive[document] == mark) {
        *out = &counts->removed_positive;
        return TANDEM_OK;
    }
    if (*excluded == mark) {
        *out = &counts->removed_identical;
        return TANDEM_OK;
    }
    *excluded = mark;
    int near = is_near_duplicate(m, document);
    *out = near > 0 ? &counts->removed_near_duplicate : is_similar(m, document) ? &counts->removed_similar : NULL;
    return near < 0 ? near : TANDEM_OK;
}
