/* cloze.c - the inverse cloze task over a corpus. */
#include "tandem/cloze.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mining/sentences.h"
#include "tandem/bm25.h"
#include "tandem/memory.h"
#include "tandem/random.h"

enum {
    QUERY_WORDS_LEAST = 6,
    QUERY_WORDS_MOST = 30,
    DOCUMENT_SENTENCES_LEAST = 4, /* fewer leave no passage when one is the query */
    HARD_FROM = 50                /* ranks of BM25 that hard negatives are drawn from */
};

typedef struct {
    const tandem_dataset *dataset;
    const tandem_cloze_options *options;
    tandem_sentence *sentences; /* of all documents */
    size_t *first;              /* [documents + 1] a document's first sentence */
    uint32_t *sources;          /* documents that give queries */
    size_t source_count;
    tandem_buffer text;         /* of the passage in work */
    uint32_t *pool;             /* [HARD_FROM] a query's hard documents */
} cloze;

/* A sentence as query: its document, and its place there. */
typedef struct {
    uint32_t document;
    size_t sentence;
    tandem_random random; /* of the group, after these draws */
} cloze_query;

/* ---- sentences ------------------------------------------------------------------------------------ */
static bool makes_query(const tandem_sentence *sentence)
{
    return sentence->words >= QUERY_WORDS_LEAST && sentence->words <= QUERY_WORDS_MOST;
}

static int cut_document(cloze *c, size_t document, size_t *count, size_t *capacity)
{
    const tandem_text *text = &c->dataset->corpus.items[document];
    size_t at = 0, before = *count, queries = 0;
    tandem_sentence sentence;

    if (text->length > UINT32_MAX) {
        return tandem_error("document '%s': %zu bytes are more than can be cut into sentences", text->id, text->length);
    }
    while (tandem_sentence_next(&sentence, text->text, text->length, &at)) {
        TANDEM_TRY(tandem_grow((void **)&c->sentences, capacity, *count + 1, sizeof *c->sentences));
        c->sentences[(*count)++] = sentence;
        queries += makes_query(&sentence);
    }
    c->first[document + 1] = *count;
    if (*count - before >= DOCUMENT_SENTENCES_LEAST && queries > 0) {
        c->sources[c->source_count++] = (uint32_t)document;
    }
    return TANDEM_OK;
}

static int cut_corpus(cloze *c)
{
    size_t documents = c->dataset->corpus.count, count = 0, capacity = 0;
    c->first = tandem_alloc(documents + 1, sizeof *c->first);
    c->sources = tandem_alloc(documents, sizeof *c->sources);
    c->pool = tandem_alloc(HARD_FROM, sizeof *c->pool);
    if (!c->first || !c->sources || !c->pool) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < documents; i++) {
        TANDEM_TRY(cut_document(c, i, &count, &capacity));
    }
    if (c->source_count == 0) {
        return tandem_error("%s: no document has %d sentences, one of them of %d to %d words", c->dataset->path,
                            DOCUMENT_SENTENCES_LEAST, QUERY_WORDS_LEAST, QUERY_WORDS_MOST);
    }
    return TANDEM_OK;
}

/* ---- queries ---------------------------------------------------------------------------------------- */
static cloze_query draw_query(const cloze *c, size_t group)
{
    cloze_query q = {.random = tandem_random_stream(c->options->seed, "cloze", group)};
    q.document = c->sources[tandem_random_below(&q.random, c->source_count)];

    size_t first = c->first[q.document], last = c->first[q.document + 1], fit = 0;
    for (size_t i = first; i < last; i++) {
        fit += makes_query(&c->sentences[i]);
    }
    size_t chosen = (size_t)tandem_random_below(&q.random, fit);
    for (q.sentence = first; !makes_query(&c->sentences[q.sentence]) || chosen-- > 0; q.sentence++) {
    }
    return q;
}

static tandem_text query_text(const cloze *c, const cloze_query *q)
{
    const tandem_sentence *sentence = &c->sentences[q->sentence];
    return (tandem_text){.id = "", .text = c->dataset->corpus.items[q->document].text + sentence->start,
                         .length = sentence->length};
}

/* ---- passages ---------------------------------------------------------------------------------------- */
/* Sentences around `centre` of its document, nearly in the middle, until they have the words asked for;
 * without `centre` itself where it is `left_out`. */
static int add_passage(tandem_groups *groups, cloze *c, bool positive, uint32_t document, size_t centre, bool left_out,
                       tandem_random *random)
{
    const tandem_text *text = &c->dataset->corpus.items[document];
    size_t first = c->first[document], last = c->first[document + 1], low = centre, high = centre + 1;
    size_t words = left_out ? 0 : c->sentences[centre].words;

    while (words < c->options->words && (low > first || high < last)) {
        bool down = high == last || (low > first && tandem_random_below(random, 2) == 0);
        words += c->sentences[down ? --low : high++].words;
    }
    tandem_buffer_clear(&c->text);
    for (size_t i = low; i < high; i++) {
        if (i != centre || !left_out) {
            TANDEM_TRY(c->text.length > 0 ? tandem_buffer_append(&c->text, " ", 1) : TANDEM_OK);
            TANDEM_TRY(tandem_buffer_append(&c->text, text->text + c->sentences[i].start, c->sentences[i].length));
        }
    }
    char place[96];
    snprintf(place, sizeof place, left_out ? "#%zu-%zu-%zu" : "#%zu-%zu", low - first, high - first, centre - first);
    size_t bytes = c->text.length;
    TANDEM_TRY(tandem_buffer_append(&c->text, "", 1));
    size_t id = c->text.length;
    TANDEM_TRY(tandem_buffer_printf(&c->text, "%s%s", text->id, place));
    return tandem_groups_add(groups, positive, c->text.data + id, c->text.data, bytes, NAN);
}

static int add_negative(tandem_groups *groups, cloze *c, uint32_t document, tandem_random *random)
{
    size_t first = c->first[document], count = c->first[document + 1] - first;
    if (count == 0) {
        return TANDEM_OK; /* an empty document */
    }
    return add_passage(groups, c, false, document, first + (size_t)tandem_random_below(random, count), false, random);
}

static int add_negatives(tandem_groups *groups, cloze *c, const cloze_query *q, const tandem_hits *hits, size_t row,
                         tandem_random *random)
{
    size_t documents = c->dataset->corpus.count, wanted = c->options->negatives, hard = wanted * 3 / 7, found = 0;

    for (size_t i = 0; i < hits->counts[row] && found < HARD_FROM; i++) {
        uint32_t document = hits->documents[row * hits->k + i];
        if (document != q->document) {
            c->pool[found++] = document;
        }
    }
    tandem_random_shuffle(random, c->pool, found);
    for (size_t i = 0; i < wanted; i++) {
        uint32_t document = q->document;
        if (i < hard && i < found) {
            document = c->pool[i];
        } else {
            document = (uint32_t)tandem_random_below(random, documents - 1);
            document += document >= q->document;
        }
        TANDEM_TRY(add_negative(groups, c, document, random));
    }
    return TANDEM_OK;
}

static int add_group(tandem_groups *groups, cloze *c, size_t group, cloze_query *q, const tandem_hits *hits)
{
    const tandem_text query = query_text(c, q);
    char id[32];
    snprintf(id, sizeof id, "cloze-%zu", group);
    TANDEM_TRY(tandem_groups_begin(groups, id, query.text, query.length));
    bool left_out = tandem_random_double(&q->random) >= c->options->keep;
    TANDEM_TRY(add_passage(groups, c, true, q->document, q->sentence, left_out, &q->random));
    return add_negatives(groups, c, q, hits, group, &q->random);
}

/* ---- all ----------------------------------------------------------------------------------------------- */
static int make_groups(tandem_groups **out, cloze *c, cloze_query *queries, tandem_text *texts)
{
    size_t count = c->options->groups;
    tandem_bm25 *index = NULL;
    tandem_hits hits = {0};
    tandem_groups *groups = NULL;
    for (size_t i = 0; i < count; i++) {
        queries[i] = draw_query(c, i);
        texts[i] = query_text(c, &queries[i]);
    }
    int rc = tandem_bm25_new(&index, c->dataset->corpus.items, c->dataset->corpus.count,
                             (tandem_bm25_options)TANDEM_BM25_OPTIONS_INIT, true);
    TANDEM_TRY_GOTO(rc, done, rc);
    TANDEM_TRY_GOTO(rc, done, tandem_bm25_search(&hits, index, texts, count, HARD_FROM + 1, NULL));
    TANDEM_TRY_GOTO(rc, done, tandem_groups_new(&groups));
    for (size_t i = 0; i < count; i++) {
        TANDEM_TRY_GOTO(rc, done, add_group(groups, c, i, &queries[i], &hits));
    }
    rc = tandem_groups_finish(groups);
done:
    if (rc == TANDEM_OK) {
        *out = groups;
    } else {
        tandem_groups_free(groups);
    }
    tandem_hits_free(&hits);
    tandem_bm25_free(index);
    return rc;
}

int tandem_cloze_groups(tandem_groups **out, const tandem_dataset *dataset, const tandem_cloze_options *options)
{
    *out = NULL;
    if (options->groups == 0 || options->negatives == 0 || options->words == 0 || options->keep < 0 ||
        options->keep > 1) {
        return tandem_error_code(TANDEM_USAGE, "groups, negatives and words must be 1 or more, keep 0 to 1");
    }
    if (dataset->corpus.count < 2) {
        return tandem_error("%s: one document leaves no other for negatives", dataset->path);
    }
    cloze c = {.dataset = dataset, .options = options, .text = TANDEM_BUFFER_INIT};
    cloze_query *queries = tandem_alloc(options->groups, sizeof *queries);
    tandem_text *texts = tandem_alloc(options->groups, sizeof *texts);
    int rc = queries && texts ? cut_corpus(&c) : TANDEM_ERROR;
    if (rc == TANDEM_OK) {
        rc = make_groups(out, &c, queries, texts);
    }
    tandem_buffer_free(&c.text);
    free(c.sentences);
    free(c.first);
    free(c.sources);
    free(c.pool);
    free(queries);
    free(texts);
    return rc;
}
