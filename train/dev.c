/* dev.c - evaluation on the development split while training. */
#include "train/dev.h"

#include <stdlib.h>
#include <string.h>

#include "tandem/dataset.h"
#include "tandem/memory.h"
#include "tandem/metrics.h"
#include "tandem/pipeline.h"
#include "tandem/qrels.h"
#include "tandem/run.h"

/* RERANK_DEPTH: as deep as `tandem rerank` goes by default. FULL_DEPTH: results kept
 * for a metric without a cutoff, as trec_eval's track runs have them. */
enum { RERANK_DEPTH = 50, FULL_DEPTH = 1000 };

struct tandem_dev {
    tandem_dataset *dataset;
    tandem_qrels *qrels;
    tandem_model *model;
    tandem_encoded *encoded;
    tandem_text *queries;   /* bi-encoder: [query_count], the judged ones */
    size_t query_count;
    tandem_run *candidates; /* cross-encoder: the first stage's results, */
    tandem_reranking *reranking; /* the top RERANK_DEPTH of them */
    tandem_metric metric;
    double offset_scale;
};

static int open_parts(tandem_dev *dev, const tandem_train_config *config)
{
    TANDEM_TRY(tandem_metric_parse(&dev->metric, config->dev.metric));
    TANDEM_TRY(tandem_dataset_open(&dev->dataset, config->dev.dataset));
    TANDEM_TRY(tandem_dataset_qrels(&dev->qrels, dev->dataset, config->dev.split));
    if (tandem_model_describe(dev->model)->kind == TANDEM_BI_ENCODER) {
        return tandem_judged_queries(&dev->queries, &dev->query_count, dev->dataset, dev->qrels);
    }
    TANDEM_TRY(tandem_run_read(&dev->candidates, config->dev.run));
    return tandem_reranking_new(&dev->reranking, dev->model, dev->dataset, dev->candidates, RERANK_DEPTH);
}

int tandem_dev_new(tandem_dev **out, const tandem_train_config *config, tandem_model *model, tandem_encoded *encoded)
{
    tandem_dev *dev = tandem_alloc(1, sizeof *dev);

    if (dev == NULL) {
        return TANDEM_ERROR;
    }
    dev->model = model;
    dev->encoded = encoded;
    dev->offset_scale = config->loss.offset_scale;
    int rc = open_parts(dev, config);
    if (rc < 0) {
        tandem_dev_free(dev);
        return rc;
    }
    *out = dev;
    return TANDEM_OK;
}

void tandem_dev_free(tandem_dev *dev)
{
    if (dev != NULL) {
        tandem_reranking_free(dev->reranking);
        tandem_run_free(dev->candidates);
        free(dev->queries);
        tandem_qrels_free(dev->qrels);
        tandem_dataset_free(dev->dataset);
        free(dev);
    }
}

const char *tandem_dev_metric(const tandem_dev *dev)
{
    return dev->metric.name;
}

/* The first stage's score of a document that the reranker was given. */
static double first_score(const tandem_ranking *first, const char *document_id)
{
    for (size_t i = 0; i < first->count && i < RERANK_DEPTH; i++) {
        if (strcmp(first->results[i].document_id, document_id) == 0) {
            return first->results[i].score;
        }
    }
    return 0.0;
}

/* A run with offset_scale times the first stage's score added to every logit. */
static int add_offsets(tandem_run **out, const tandem_dev *dev, const tandem_run *reranked)
{
    tandem_result results[RERANK_DEPTH];
    tandem_run *run = NULL;
    int rc = tandem_run_new(&run, tandem_run_name(reranked));

    for (size_t i = 0; rc == TANDEM_OK && i < tandem_run_count(reranked); i++) {
        const tandem_ranking *ranking = tandem_run_ranking(reranked, i);
        const tandem_ranking *first = tandem_run_find(dev->candidates, ranking->query_id);

        for (size_t k = 0; k < ranking->count; k++) {
            results[k] = ranking->results[k];
            results[k].score += dev->offset_scale * first_score(first, results[k].document_id);
        }
        rc = tandem_run_add(run, ranking->query_id, results, ranking->count);
    }
    if (rc < 0) {
        tandem_run_free(run);
        return rc;
    }
    *out = run;
    return TANDEM_OK;
}

static int retrieve(tandem_run **out, tandem_dev *dev)
{
    const tandem_texts *corpus = &dev->dataset->corpus;
    const tandem_vectors *queries = NULL, *documents = NULL;
    size_t depth = dev->metric.cutoff > 0 ? dev->metric.cutoff : FULL_DEPTH;

    TANDEM_TRY(tandem_encoded_vectors(&queries, dev->encoded, dev->queries, dev->query_count, TANDEM_QUERY,
                                      "dev: queries"));
    TANDEM_TRY(tandem_encoded_vectors(&documents, dev->encoded, corpus->items, corpus->count, TANDEM_DOCUMENT,
                                      "dev: documents"));
    return tandem_retrieve_vectors(out, "dev", dev->dataset, dev->queries, queries, documents, depth);
}

static int rerank(tandem_run **out, tandem_dev *dev)
{
    tandem_run *reranked = NULL;

    TANDEM_TRY(tandem_reranking_score(&reranked, dev->reranking, dev->model));
    if (dev->offset_scale <= 0.0) {
        *out = reranked;
        return TANDEM_OK;
    }
    int rc = add_offsets(out, dev, reranked);
    tandem_run_free(reranked);
    return rc;
}

int tandem_dev_evaluate(double *out, tandem_dev *dev)
{
    tandem_run *run = NULL;
    tandem_scores scores = {0};

    TANDEM_TRY(dev->reranking != NULL ? rerank(&run, dev) : retrieve(&run, dev));
    int rc = tandem_scores_compute(&scores, dev->qrels, run, &dev->metric, 1, NULL);
    if (rc == TANDEM_OK) {
        *out = scores.means[0];
        tandem_scores_free(&scores);
    }
    tandem_run_free(run);
    return rc;
}
