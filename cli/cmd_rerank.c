/* cmd_rerank.c - tandem rerank: a run's best documents in the cross-encoder's order. */
#include <string.h>

#include "cli/cli.h"
#include "tandem/log.h"
#include "tandem/metrics.h"
#include "tandem/model.h"
#include "tandem/pipeline.h"
#include "tandem/run.h"

typedef struct {
    const char *model, *dataset, *run, *output;
    int64_t depth, max_length, dtype;
    const char *dev_run, *dev_split, *metric;
} rerank_options;

static const tandem_option table[] = {
    {.name = "model", .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(rerank_options, model),
     .value = "DIR", .help = "directory of the cross-encoder"},
    {.name = "dataset", .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(rerank_options, dataset),
     .value = "DIR", .help = "the texts of queries and documents"},
    {.name = "run", .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(rerank_options, run),
     .value = "RUN", .help = "the first stage's run"},
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(rerank_options, output), .value = "RUN", .help = "the run to write; - is stdout"},
    {.name = "depth", .type = TANDEM_OPTION_INT, .offset = offsetof(rerank_options, depth), .value = "N",
     .initial = "50", .min = 1, .max = 1e9, .help = "documents of each query to rerank"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(rerank_options, max_length), .value = "N",
     .initial = "0", .min = 0, .max = 1e6, .help = "tokens of a pair; 0: what the model says"},
    TANDEM_OPTION_DTYPE(rerank_options),
    {.name = "dev-run", .type = TANDEM_OPTION_STRING, .offset = offsetof(rerank_options, dev_run), .value = "RUN",
     .help = "the first stage's run of judged queries: fit the weight of the two stages on it"},
    {.name = "dev-split", .type = TANDEM_OPTION_STRING, .offset = offsetof(rerank_options, dev_split),
     .value = "NAME", .initial = "dev", .help = "the split that judges --dev-run"},
    {.name = "metric", .type = TANDEM_OPTION_STRING, .offset = offsetof(rerank_options, metric), .value = "METRIC",
     .initial = "ndcg@10", .help = "what the weight is to maximize"},
    TANDEM_OPTION_END,
};

static void report_fusion(const tandem_fusion *fusion, const double *curve, const tandem_metric *metric,
                          const rerank_options *options)
{
    size_t chosen = 0;
    tandem_log_info("%s of split %s by the reranker's weight:", metric->name, options->dev_split);
    for (size_t i = 0; i < TANDEM_FUSION_WEIGHTS; i++) {
        double weight = (double)i / (TANDEM_FUSION_WEIGHTS - 1);
        chosen = curve[i] > curve[chosen] ? i : chosen;
        tandem_log_info("  %.2f  %.4f", weight, curve[i]);
    }
    tandem_log_info("first stage %.4f, reranker alone %.4f, weight %.2f gives %.4f: reranking is worth %+.4f", curve[0],
                    curve[TANDEM_FUSION_WEIGHTS - 1], fusion->weight, curve[chosen], curve[chosen] - curve[0]);
}

/* Fits `fusion` on the dev run, which is reranked for that. */
static int fit(tandem_fusion *fusion, tandem_model *model, const tandem_dataset *dataset,
               const tandem_metric *metric, const rerank_options *options)
{
    tandem_qrels *qrels = NULL;
    tandem_run *first = NULL, *reranked = NULL;
    double curve[TANDEM_FUSION_WEIGHTS];
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_qrels(&qrels, dataset, options->dev_split));
    TANDEM_TRY_GOTO(rc, done, tandem_run_read(&first, options->dev_run));
    TANDEM_TRY_GOTO(rc, done, tandem_rerank(&reranked, model, dataset, first, (size_t)options->depth));
    TANDEM_TRY_GOTO(rc, done, tandem_fusion_fit(fusion, curve, first, reranked, qrels, metric));
    report_fusion(fusion, curve, metric, options);
done:
    tandem_run_free(reranked);
    tandem_run_free(first);
    tandem_qrels_free(qrels);
    return rc;
}

static int rerank(tandem_model *model, const tandem_dataset *dataset, const tandem_metric *metric,
                  const rerank_options *options)
{
    tandem_fusion fusion = TANDEM_FUSION_INIT;
    tandem_run *first = NULL, *reranked = NULL, *joined = NULL;
    int rc;
    TANDEM_TRY_GOTO(rc, done, tandem_run_read(&first, options->run));
    if (options->dev_run) {
        TANDEM_TRY_GOTO(rc, done, fit(&fusion, model, dataset, metric, options));
    }
    TANDEM_TRY_GOTO(rc, done, tandem_rerank(&reranked, model, dataset, first, (size_t)options->depth));
    TANDEM_TRY_GOTO(rc, done, tandem_fusion_apply(&joined, tandem_run_name(reranked), &fusion, first, reranked));
    rc = tandem_run_write(joined, options->output);
done:
    tandem_run_free(joined);
    tandem_run_free(reranked);
    tandem_run_free(first);
    return rc;
}

static int run_rerank(const void *raw, size_t count, char *const *arguments)
{
    (void)count;
    (void)arguments;
    const rerank_options *options = raw;
    tandem_model_options model_options = {.kind = TANDEM_CROSS_ENCODER, .max_length = (size_t)options->max_length,
                                          .precision = (tandem_precision)options->dtype};
    tandem_metric metric;
    tandem_dataset *dataset = NULL;
    tandem_model *model = NULL;
    int rc;
    TANDEM_TRY(tandem_metric_parse(&metric, options->metric));
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_open(&dataset, options->dataset));
    TANDEM_TRY_GOTO(rc, done, tandem_model_load(&model, options->model, &model_options));
    rc = rerank(model, dataset, &metric, options);
done:
    tandem_model_free(model);
    tandem_dataset_free(dataset);
    return rc;
}

const tandem_command tandem_command_rerank = {
    .name = "rerank",
    .summary = "Rerank a run's best documents with a cross-encoder",
    .options = table,
    .options_size = sizeof(rerank_options),
    .run = run_rerank,
    .notes = "The first --depth documents of every query are ranked by the cross-encoder; the rest\n"
             "follow below in their order.\n\n"
             "With --dev-run the two stages' scores are joined instead: both are standardized, and the\n"
             "reranker's weight, 0 to 1 in steps of 0.05, is the one that does best by --metric on the\n"
             "judged queries of --dev-split, of equals the smallest. The whole curve and what the\n"
             "reranker is worth are told on stderr. A dev run must hold other queries than those you\n"
             "report on.",
};
