/* export_quality.c - nDCG@10 with tandem's own numbers, and with an engine's. */
#include <stdlib.h>
#include <string.h>

#include "cli/export_check.h"
#include "tandem/metrics.h"
#include "tandem/pipeline.h"
#include "tandem/vectors.h"

struct check_quality {
    tandem_model *model;
    tandem_dataset *dataset;
    tandem_qrels *qrels;
    tandem_text *queries; /* judged, [query_count] */
    size_t query_count;
    tandem_token_store *query_tokens, *document_tokens; /* of queries, of the corpus */
    tandem_pair *pairs;                                 /* cross-encoder: query after query */
    size_t pair_count;
    double own;
};

static bool crosses(const check_quality *q)
{
    return tandem_model_describe(q->model)->kind == TANDEM_CROSS_ENCODER;
}

static int score(double *out, const check_quality *q, const tandem_run *run)
{
    tandem_metric metric;
    tandem_scores scores;
    TANDEM_TRY(tandem_metric_parse(&metric, "ndcg@10"));
    TANDEM_TRY(tandem_scores_compute(&scores, q->qrels, run, &metric, 1, NULL));
    *out = scores.means[0];
    tandem_scores_free(&scores);
    return TANDEM_OK;
}

/* ---- a bi-encoder ------------------------------------------------------------------------------- */

static int search(double *out, const check_quality *q, float *queries, float *documents)
{
    const size_t dim = tandem_model_describe(q->model)->dim;
    const tandem_vectors wanted = {.count = q->query_count, .dim = dim, .data = queries};
    const tandem_vectors found = {.count = q->dataset->corpus.count, .dim = dim, .data = documents};
    tandem_run *run = NULL;
    TANDEM_TRY(tandem_retrieve_vectors(&run, "check", q->dataset, q->queries, &wanted, &found, 10));
    int rc = score(out, q, run);
    tandem_run_free(run);
    return rc;
}

static int own_vectors(double *out, const check_quality *q)
{
    tandem_run *run = NULL;
    TANDEM_TRY(tandem_retrieve_dense(&run, q->model, q->dataset, q->qrels, 10, true));
    int rc = score(out, q, run);
    tandem_run_free(run);
    return rc;
}

/* `runner` NULL: tandem's own vectors. */
static int measure_bi(double *out, const check_quality *q, onnx_runner *runner)
{
    if (runner == NULL) {
        return own_vectors(out, q);
    }
    const size_t dim = tandem_model_describe(q->model)->dim;
    float *queries = tandem_alloc(q->query_count, dim * sizeof *queries);
    float *documents = tandem_alloc(q->dataset->corpus.count, dim * sizeof *documents);
    int rc = queries && documents ? TANDEM_OK : TANDEM_ERROR;
    runner->side = TANDEM_QUERY;
    rc = rc < 0 ? rc : onnx_runner_embed(runner, q->query_tokens, queries, "encoding queries in the engine");
    runner->side = TANDEM_DOCUMENT;
    rc = rc < 0 ? rc : onnx_runner_embed(runner, q->document_tokens, documents, "encoding documents in the engine");
    rc = rc < 0 ? rc : search(out, q, queries, documents);
    free(queries);
    free(documents);
    return rc;
}

/* ---- a cross-encoder ------------------------------------------------------------------------------- */

static int index_of(uint32_t *out, const tandem_texts *texts, const char *id)
{
    size_t index;
    if (!tandem_strmap_find(texts->by_id, id, strlen(id), &index)) {
        return tandem_error("no document '%s'", id);
    }
    *out = (uint32_t)index;
    return TANDEM_OK;
}

/* The pairs of BM25's first documents. */
static int plan_pairs(check_quality *q, const tandem_run *first)
{
    q->pairs = tandem_alloc(q->query_count, CHECK_DEPTH * sizeof *q->pairs);
    if (q->pairs == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < q->query_count; i++) {
        const tandem_ranking *ranking = tandem_run_find(first, q->queries[i].id);
        for (size_t d = 0; ranking != NULL && d < ranking->count; d++) {
            tandem_pair *pair = &q->pairs[q->pair_count++];
            pair->query = (uint32_t)i;
            TANDEM_TRY(index_of(&pair->document, &q->dataset->corpus, ranking->results[d].document_id));
        }
    }
    return q->pair_count > 0 ? TANDEM_OK : tandem_error("%s: BM25 finds nothing for its queries", q->dataset->path);
}

static int find_pairs(check_quality *q)
{
    const tandem_bm25_options options = TANDEM_BM25_OPTIONS_INIT;
    tandem_run *first = NULL;
    TANDEM_TRY(tandem_retrieve_bm25(&first, q->dataset, q->qrels, CHECK_DEPTH, options, true));
    int rc = plan_pairs(q, first);
    tandem_run_free(first);
    return rc;
}

/* Rankings by the first of each pair's logits. */
static int rank(tandem_run *run, const check_quality *q, const float *logits)
{
    const size_t labels = (size_t)tandem_model_describe(q->model)->labels;
    tandem_result results[CHECK_DEPTH];
    for (size_t i = 0; i < q->pair_count;) {
        uint32_t query = q->pairs[i].query;
        size_t count = 0;
        for (; i < q->pair_count && q->pairs[i].query == query; i++) {
            results[count++] = (tandem_result){q->dataset->corpus.items[q->pairs[i].document].id, (double)logits[i * labels]};
        }
        TANDEM_TRY(tandem_run_add(run, q->queries[query].id, results, count));
    }
    return TANDEM_OK;
}

static int measure_cross(double *out, const check_quality *q, onnx_runner *runner)
{
    const size_t labels = (size_t)tandem_model_describe(q->model)->labels;
    float *logits = tandem_alloc(q->pair_count, labels * sizeof *logits);
    tandem_run *run = NULL;
    int rc = logits == NULL   ? TANDEM_ERROR
             : runner == NULL ? tandem_model_score(logits, q->model, q->query_tokens, q->document_tokens, q->pairs,
                                                   q->pair_count, "reranking")
                              : onnx_runner_score(runner, q->query_tokens, q->document_tokens, q->pairs, q->pair_count,
                                                  logits, "reranking in the engine");
    rc = rc < 0 ? rc : tandem_run_new(&run, "check");
    rc = rc < 0 ? rc : rank(run, q, logits);
    rc = rc < 0 ? rc : score(out, q, run);
    tandem_run_free(run);
    free(logits);
    return rc;
}

/* ---- both ------------------------------------------------------------------------------------------- */

int check_quality_measure(double *out, const check_quality *quality, onnx_runner *runner)
{
    return crosses(quality) ? measure_cross(out, quality, runner) : measure_bi(out, quality, runner);
}

double check_quality_own(const check_quality *quality)
{
    return quality->own;
}

static int prepare(check_quality *q, const char *dataset, const char *split)
{
    TANDEM_TRY(tandem_dataset_open(&q->dataset, dataset));
    TANDEM_TRY(tandem_dataset_qrels(&q->qrels, q->dataset, split));
    TANDEM_TRY(tandem_judged_queries(&q->queries, &q->query_count, q->dataset, q->qrels));
    TANDEM_TRY(tandem_model_tokenize(&q->query_tokens, q->model, q->queries, q->query_count, TANDEM_QUERY));
    TANDEM_TRY(tandem_model_tokenize(&q->document_tokens, q->model, q->dataset->corpus.items, q->dataset->corpus.count,
                                     TANDEM_DOCUMENT));
    if (crosses(q)) {
        TANDEM_TRY(find_pairs(q));
    }
    return check_quality_measure(&q->own, q, NULL);
}

int check_quality_new(check_quality **out, tandem_model *model, const char *dataset, const char *split)
{
    check_quality *quality = *out = tandem_alloc(1, sizeof *quality);
    if (quality == NULL) {
        return TANDEM_ERROR;
    }
    quality->model = model;
    int rc = prepare(quality, dataset, split);
    if (rc < 0) {
        check_quality_free(quality);
        *out = NULL;
    }
    return rc;
}

void check_quality_free(check_quality *quality)
{
    if (quality) {
        tandem_token_store_free(quality->query_tokens);
        tandem_token_store_free(quality->document_tokens);
        tandem_qrels_free(quality->qrels);
        tandem_dataset_free(quality->dataset);
        free(quality->queries);
        free(quality->pairs);
        free(quality);
    }
}
