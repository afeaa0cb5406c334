/* pipeline.c - a pipeline's settings, its loading, and its answers. */
#include "cli/pipeline.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/settings.h"

/* ---- settings ------------------------------------------------------------------------------ */
static const char *const fusions[] = {"rrf", "min-max", "z-score", NULL};
static const char *const analyzers[] = {"english", "standard", NULL};

#define INT(path, field, low, high, initial, help)                                                                  \
    {path, TANDEM_SETTING_INT, offsetof(pipeline_settings, field), low, high, initial, NULL, help}
#define NUMBER(path, field, low, high, initial, help)                                                               \
    {path, TANDEM_SETTING_DOUBLE, offsetof(pipeline_settings, field), low, high, initial, NULL, help}
#define STRING(path, field, initial, help)                                                                          \
    {path, TANDEM_SETTING_STRING, offsetof(pipeline_settings, field), 0, 0, initial, NULL, help}
#define CHOICE(path, field, initial, choices, help)                                                                 \
    {path, TANDEM_SETTING_CHOICE, offsetof(pipeline_settings, field), 0, 0, initial, choices, help}

static const tandem_setting rows[] = {
    STRING("dataset", dataset, NULL, "BEIR folder"),
    STRING("split", split, "test", "the queries to measure on"),
    STRING("metrics", metrics, "ndcg@10,recall@100,map", "the first one is that of ceiling, weight and sweep"),
    INT("max_length", max_length, 0, 1e6, "0", "limit in tokens; 0: what each model says"),
    CHOICE("dtype", dtype, "fp32", tandem_dtypes, "precision of the matrix products: fp32, bf16, auto or int8"),
    STRING("retrieve.models", retrieve.models, "bm25", "bm25 and directories of bi-encoders, with commas"),
    STRING("retrieve.weights", retrieve.weights, NULL, "of each of them when they are joined, with commas; 1 each"),
    CHOICE("retrieve.fusion", retrieve.fusion, "rrf", fusions, "how they are joined: rrf, min-max or z-score"),
    NUMBER("retrieve.rrf_k", retrieve.rrf_k, 0, 1e9, "60", "rrf: a document adds 1 / (rrf_k + its rank)"),
    INT("retrieve.top", retrieve.top, 1, 1e6, "200", "documents retrieved for a query"),
    NUMBER("retrieve.k1", retrieve.k1, 0, 1000, "0.9", "BM25: how slowly repeated terms saturate"),
    NUMBER("retrieve.b", retrieve.b, 0, 1, "0.4", "BM25: how much long documents lose"),
    CHOICE("retrieve.analyzer", retrieve.analyzer, "english", analyzers, "BM25: english or standard"),
    STRING("rerank.model", rerank.model, NULL, "directory of a cross-encoder; none: nothing is reranked"),
    INT("rerank.depth", rerank.depth, 1, 1e6, "50", "documents reranked"),
    STRING("rerank.dev_split", rerank.dev_split, NULL,
           "the split that the weight of both stages is fitted on; none: the reranker alone decides"),
    INT("cut", cut, 1, 1e6, "10", "documents that come out"),
    STRING("sweep.models", sweep.models, NULL, "cross-encoders to try, with commas; none: rerank.model"),
    STRING("sweep.depths", sweep.depths, "10,20,50,100,200", "depths to try"),
    INT("sweep.queries", sweep.queries, 1, 1e6, "50", "queries that each depth is timed on"),
};
enum { ROWS = sizeof rows / sizeof *rows };

int pipeline_dump(tandem_buffer *out, const pipeline *p)
{
    return tandem_settings_dump(out, &p->settings, rows, ROWS);
}

static int read_settings(pipeline *p, const char *path, const char *const *assignments, size_t count)
{
    cJSON *json = NULL;
    TANDEM_TRY(tandem_settings_init(&p->settings, rows, ROWS));
    TANDEM_TRY(tandem_json_read(&json, path));
    int rc = tandem_settings_apply(&p->settings, rows, ROWS, json, path);
    tandem_json_free(json);
    for (size_t i = 0; i < count && rc >= 0; i++) {
        rc = tandem_settings_set(&p->settings, rows, ROWS, assignments[i]);
    }
    if (rc >= 0 && !p->settings.dataset) {
        rc = tandem_error_code(TANDEM_USAGE, "%s: \"dataset\" is missing", path);
    }
    if (rc >= 0 && p->settings.rerank.model && p->settings.rerank.depth > p->settings.retrieve.top) {
        rc = tandem_error_code(TANDEM_USAGE, "rerank.depth is %lld, but retrieve.top gives %lld documents",
                               (long long)p->settings.rerank.depth, (long long)p->settings.retrieve.top);
    }
    return rc;
}

void pipeline_free_list(pipeline_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i]);
    }
    free(list->items);
    *list = (pipeline_list){NULL, 0};
}

int pipeline_split_list(pipeline_list *out, const char *key, const char *text)
{
    *out = (pipeline_list){NULL, 0};
    while (true) {
        size_t length = strcspn(text, ",");
        void *items = out->items;
        int rc = length > 0 ? tandem_realloc(&items, out->count + 1, sizeof *out->items)
                            : tandem_error_code(TANDEM_USAGE, "%s: expected names with commas between them", key);
        out->items = items;
        char *item = rc < 0 ? NULL : tandem_strndup(text, length);
        if (!item) {
            pipeline_free_list(out);
            return rc < 0 ? rc : TANDEM_ERROR;
        }
        out->items[out->count++] = item;
        if (!text[length]) {
            return TANDEM_OK;
        }
        text += length + 1;
    }
}

static int parse_weights(pipeline *p)
{
    pipeline_list list;
    if (!p->settings.retrieve.weights) {
        return TANDEM_OK;
    }
    TANDEM_TRY(pipeline_split_list(&list, "retrieve.weights", p->settings.retrieve.weights));
    int rc = TANDEM_OK;
    p->weights = tandem_alloc(list.count, sizeof *p->weights);
    if (!p->weights) {
        rc = TANDEM_ERROR;
    } else if (list.count != p->models.count) {
        rc = tandem_error_code(TANDEM_USAGE, "retrieve.weights has %zu numbers for %zu models", list.count,
                               p->models.count);
    }
    for (size_t i = 0; i < list.count && rc == TANDEM_OK; i++) {
        char *end;
        p->weights[i] = strtod(list.items[i], &end);
        if (*end || !(p->weights[i] >= 0) || !isfinite(p->weights[i])) {
            rc = tandem_error_code(TANDEM_USAGE, "retrieve.weights: expected a number of 0 or more, found \"%s\"",
                                   list.items[i]);
        }
    }
    pipeline_free_list(&list);
    return rc;
}

static int parse_metrics(pipeline *p)
{
    pipeline_list list;
    TANDEM_TRY(pipeline_split_list(&list, "metrics", p->settings.metrics));
    int rc = list.count <= PIPELINE_METRICS
                 ? TANDEM_OK
                 : tandem_error_code(TANDEM_USAGE, "metrics: more than %d are asked for", PIPELINE_METRICS);
    for (size_t i = 0; i < list.count && rc == TANDEM_OK; i++) {
        rc = tandem_metric_parse(&p->metrics[p->metric_count++], list.items[i]);
    }
    pipeline_free_list(&list);
    return rc;
}

/* ---- loading ----------------------------------------------------------------------------------- */
int pipeline_open_reranker(tandem_reranker **out, const pipeline *p, const char *directory)
{
    const pipeline_settings *s = &p->settings;
    return tandem_reranker_open(out, directory, p->dataset, (size_t)s->max_length, (tandem_precision)s->dtype);
}

static int load_models(pipeline *p)
{
    const pipeline_settings *s = &p->settings;
    const tandem_retriever_options options = {
        .models = (const char *const *)p->models.items,
        .model_count = p->models.count,
        .hybrid = {(tandem_hybrid_method)s->retrieve.fusion, s->retrieve.rrf_k, p->weights},
        .bm25 = {s->retrieve.k1, s->retrieve.b, (tandem_analyzer)s->retrieve.analyzer},
        .top = (size_t)s->retrieve.top,
        .max_length = (size_t)s->max_length,
        .precision = (tandem_precision)s->dtype,
    };
    TANDEM_TRY(tandem_retriever_open(&p->retriever, p->dataset, &options));
    return s->rerank.model ? pipeline_open_reranker(&p->reranker, p, s->rerank.model) : TANDEM_OK;
}

static int fit_weight(pipeline *p)
{
    tandem_run *first = NULL, *scored = NULL;
    tandem_qrels *qrels = NULL;
    size_t depth = (size_t)p->settings.rerank.depth;
    int rc = pipeline_dev_runs(&first, &scored, p, p->reranker, &qrels, depth);
    if (rc == TANDEM_OK) {
        rc = tandem_fusion_fit(&p->fusion, NULL, first, scored, qrels, &p->metrics[0]);
    }
    if (rc == TANDEM_OK) {
        tandem_log_info("weight of the reranker by %s of split %s: %.2f", p->metrics[0].name,
                        p->settings.rerank.dev_split, p->fusion.weight);
    }
    tandem_run_free(first);
    tandem_run_free(scored);
    tandem_qrels_free(qrels);
    return rc;
}

int pipeline_open(pipeline *out, const char *path, const char *const *assignments, size_t count)
{
    *out = (pipeline){.fusion = TANDEM_FUSION_INIT};
    TANDEM_TRY(read_settings(out, path, assignments, count));
    TANDEM_TRY(parse_metrics(out));
    TANDEM_TRY(pipeline_split_list(&out->models, "retrieve.models", out->settings.retrieve.models));
    TANDEM_TRY(parse_weights(out));
    TANDEM_TRY(tandem_dataset_open(&out->dataset, out->settings.dataset));
    TANDEM_TRY(load_models(out));
    return out->reranker && out->settings.rerank.dev_split ? fit_weight(out) : TANDEM_OK;
}

void pipeline_close(pipeline *p)
{
    tandem_reranker_free(p->reranker);
    tandem_retriever_free(p->retriever);
    tandem_dataset_free(p->dataset);
    pipeline_free_list(&p->models);
    free(p->weights);
    tandem_settings_free(&p->settings, rows, ROWS);
}

/* ---- answers ------------------------------------------------------------------------------------ */
size_t pipeline_stages(const pipeline *p)
{
    return tandem_retriever_stages(p->retriever) + (p->reranker ? 1 : 0);
}

const char *pipeline_stage_name(const pipeline *p, size_t stage)
{
    return stage < tandem_retriever_stages(p->retriever) ? tandem_retriever_stage(p->retriever, stage)
                                                         : tandem_reranker_name(p->reranker);
}

int pipeline_answer_new(pipeline_answer *out, const pipeline *p)
{
    out->count = pipeline_stages(p);
    out->runs = tandem_alloc(out->count, sizeof *out->runs);
    out->seconds = tandem_alloc(out->count, sizeof *out->seconds);
    return out->runs && out->seconds ? TANDEM_OK : TANDEM_ERROR;
}

static void drop_runs(pipeline_answer *answer)
{
    for (size_t i = 0; answer->runs && i < answer->count; i++) {
        tandem_run_free(answer->runs[i]);
        answer->runs[i] = NULL;
    }
}

void pipeline_answer_free(pipeline_answer *answer)
{
    drop_runs(answer);
    free(answer->runs);
    free(answer->seconds);
}

static int rerank(tandem_run **out, const pipeline *p, const tandem_text *query, const tandem_run *first)
{
    tandem_run *scored;
    TANDEM_TRY(tandem_reranker_score(&scored, p->reranker, query, tandem_run_ranking(first, 0),
                                     (size_t)p->settings.rerank.depth));
    int rc = tandem_fusion_apply(out, tandem_run_name(scored), &p->fusion, first, scored);
    tandem_run_free(scored);
    return rc;
}

int pipeline_ask(pipeline_answer *out, const pipeline *p, const tandem_text *query)
{
    size_t first = tandem_retriever_stages(p->retriever) - 1;
    drop_runs(out);
    TANDEM_TRY(tandem_retriever_search(out->runs, out->seconds, p->retriever, query));
    if (!p->reranker) {
        return TANDEM_OK;
    }
    double start = tandem_seconds();
    TANDEM_TRY(rerank(&out->runs[first + 1], p, query, out->runs[first]));
    out->seconds[first + 1] = tandem_seconds() - start;
    return TANDEM_OK;
}
