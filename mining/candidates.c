/* candidates.c - what the sources rank high, as one ranking a query. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mining/miner.h"
#include "mining/select.h"
#include "tandem/memory.h"

/* Of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009), for ranks from 1. */
static const double RRF_CONSTANT = 60;

const float *tandem_shards_row(const tandem_shards *shards, size_t index)
{
    size_t rows = shards->items[0].count;
    const tandem_vectors *shard = &shards->items[index / rows];
    return shard->data + index % rows * shard->dim;
}

/* ---- search --------------------------------------------------------------------------- */
/* The k best of two sorted rows of hits, into `out` (which is neither); `from` are documents
 * start, start + 1, ... */
static void merge_row(tandem_hits *out, const tandem_hits *into, const tandem_hits *from, size_t row, size_t start,
                      const uint32_t *tie_ranks)
{
    size_t i = 0, j = 0, count = 0;
    while (count < out->k && (i < into->counts[row] || j < from->counts[row])) {
        tandem_candidate a = {0}, b = {0};
        if (i < into->counts[row]) {
            size_t cell = row * into->k + i;
            a = (tandem_candidate){.score = into->scores[cell], .document = into->documents[cell]};
        }
        if (j < from->counts[row]) {
            size_t cell = row * from->k + j;
            b = (tandem_candidate){.score = from->scores[cell], .document = from->documents[cell] + (uint32_t)start};
        }
        bool first = j == from->counts[row] || (i < into->counts[row] && tandem_candidate_before(a, b, tie_ranks));
        out->documents[row * out->k + count] = first ? a.document : b.document;
        out->scores[row * out->k + count++] = first ? a.score : b.score;
        i += first;
        j += !first;
    }
    out->counts[row] = (uint32_t)count;
}

/* Merges a shard's hits into *into; both are freed. */
static int merge_hits(tandem_hits *into, tandem_hits *from, size_t start, size_t k, size_t documents,
                      const uint32_t *tie_ranks)
{
    tandem_hits merged;
    int rc = tandem_hits_make(&merged, into->queries, k, documents);
    for (size_t row = 0; rc == TANDEM_OK && row < into->queries; row++) {
        merge_row(&merged, into, from, row, start, tie_ranks);
    }
    tandem_hits_free(into);
    tandem_hits_free(from);
    if (rc == TANDEM_OK) {
        *into = merged;
    }
    return rc;
}

/* Shard after shard, so that each is read from disk once a block. */
static int search_shards(tandem_hits *out, const float *queries, size_t count, const tandem_shards *documents, size_t k,
                         const uint32_t *tie_ranks)
{
    size_t start = 0;
    for (size_t i = 0; i < documents->count; i++) {
        const tandem_vectors *shard = &documents->items[i];
        tandem_hits hits;
        TANDEM_TRY(tandem_search_exact(&hits, queries, count, shard->data, shard->count, shard->dim, k,
                                       tie_ranks + start));
        if (i == 0) {
            *out = hits;
        } else {
            TANDEM_TRY(merge_hits(out, &hits, start, k, start + shard->count, tie_ranks));
        }
        start += shard->count;
    }
    return TANDEM_OK;
}

static int search_vectors(tandem_miner *m, size_t source, size_t first, size_t count)
{
    const tandem_mining_source *s = &m->job->sources[source];
    size_t rows = s->queries.items[0].count, done = 0;
    /* A block may reach over the end of a shard of queries. */
    while (done < count) {
        size_t at = (first + done) % rows, part = rows - at < count - done ? rows - at : count - done;
        tandem_hits hits = {0};
        int rc = search_shards(&hits, tandem_shards_row(&s->queries, first + done), part, &s->documents,
                               m->job->options.range_high, m->tie_ranks);
        if (rc == TANDEM_OK && part == count) {
            m->hits[source] = hits;
            return TANDEM_OK;
        }
        tandem_hits *all = &m->hits[source];
        if (rc == TANDEM_OK && done == 0) {
            rc = tandem_hits_make(all, count, hits.k, hits.k);
        }
        if (rc == TANDEM_OK) {
            memcpy(all->documents + done * hits.k, hits.documents, part * hits.k * sizeof *hits.documents);
            memcpy(all->scores + done * hits.k, hits.scores, part * hits.k * sizeof *hits.scores);
            memcpy(all->counts + done, hits.counts, part * sizeof *hits.counts);
        }
        tandem_hits_free(&hits);
        TANDEM_TRY(rc);
        done += part;
    }
    return TANDEM_OK;
}

static int search_bm25(tandem_miner *m, size_t source, size_t first, size_t count)
{
    tandem_text *texts = tandem_alloc(count, sizeof *texts);
    if (!texts) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        texts[i] = *tandem_miner_query(m, first + i);
    }
    int rc = tandem_bm25_search(&m->hits[source], m->job->sources[source].bm25, texts, count,
                                m->job->options.range_high, m->tie_ranks);
    free(texts);
    return rc;
}

int tandem_miner_retrieve(tandem_miner *m, size_t first, size_t count)
{
    for (size_t s = 0; s < m->job->source_count; s++) {
        tandem_hits_free(&m->hits[s]);
        TANDEM_TRY(m->job->sources[s].bm25 ? search_bm25(m, s, first, count) : search_vectors(m, s, first, count));
    }
    return TANDEM_OK;
}

/* ---- fusion ------------------------------------------------------------------------------- */
static int compare_documents(const void *left, const void *right)
{
    const tandem_ranked *a = left, *b = right;
    int order = (a->document > b->document) - (a->document < b->document);
    return order ? order : (a->source > b->source) - (a->source < b->source);
}

static int compare_fused(const void *left, const void *right, void *tie_ranks)
{
    const tandem_ranked *a = left, *b = right;
    if (a->fused != b->fused) {
        return a->fused > b->fused ? -1 : 1;
    }
    const uint32_t *ranks = tie_ranks;
    return (ranks[a->document] > ranks[b->document]) - (ranks[a->document] < ranks[b->document]);
}

/* Makes one entry of those of a document. */
static size_t unite(tandem_ranked *items, size_t count)
{
    size_t kept = 0;
    qsort(items, count, sizeof *items, compare_documents);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && items[kept - 1].document == items[i].document) {
            tandem_ranked *same = &items[kept - 1];
            same->rank = same->rank < items[i].rank ? same->rank : items[i].rank;
            same->fused += items[i].fused;
        } else {
            items[kept++] = items[i];
        }
    }
    return kept;
}

size_t tandem_miner_fuse(tandem_miner *m, size_t row)
{
    size_t count = 0;
    for (size_t s = 0; s < m->job->source_count; s++) {
        const tandem_hits *hits = &m->hits[s];
        for (uint32_t rank = 0; rank < hits->counts[row]; rank++) {
            size_t cell = row * hits->k + rank;
            m->ranked[count++] = (tandem_ranked){hits->documents[cell], (uint32_t)s, rank,
                                                 s == 0 ? hits->scores[cell] : NAN, 1 / (RRF_CONSTANT + 1 + rank)};
        }
    }
    if (m->job->source_count > 1) { /* one source's are in order */
        count = unite(m->ranked, count);
        qsort_r(m->ranked, count, sizeof *m->ranked, compare_fused, m->tie_ranks);
    }
    for (size_t i = 0; i < count && m->job->options.rank == TANDEM_RANK_FUSED; i++) {
        m->ranked[i].rank = (uint32_t)i;
    }
    return count;
}
