/* cmd_search.c - tandem search: the first stage, from a bi-encoder or BM25. */
#include <string.h>

#include "cli/cli.h"
#include "tandem/dataset.h"
#include "tandem/model.h"
#include "tandem/pipeline.h"
#include "tandem/run.h"

typedef struct {
    const char *model, *dataset, *split, *output;
    int64_t top, max_length, dtype;
} search_options;

static const tandem_option table[] = {
    {.name = "model", .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(search_options, model),
     .value = "DIR", .help = "directory of the bi-encoder, or bm25"},
    {.name = "dataset", .type = TANDEM_OPTION_STRING, .required = true, .offset = offsetof(search_options, dataset),
     .value = "DIR", .help = "the corpus, the queries and their judgments"},
    {.name = "split", .type = TANDEM_OPTION_STRING, .offset = offsetof(search_options, split), .value = "NAME",
     .initial = "test", .help = "search for the queries that this split judges"},
    {.name = "top", .letter = 'k', .type = TANDEM_OPTION_INT, .offset = offsetof(search_options, top), .value = "N",
     .initial = "100", .min = 1, .max = 1e9, .help = "documents for each query"},
    {.name = "max-length", .type = TANDEM_OPTION_INT, .offset = offsetof(search_options, max_length), .value = "N",
     .initial = "0", .min = 0, .max = 1e6, .help = "tokens of a text; 0: what the model says"},
    TANDEM_OPTION_DTYPE(search_options),
    {.name = "output", .letter = 'o', .type = TANDEM_OPTION_STRING, .required = true,
     .offset = offsetof(search_options, output), .value = "RUN", .help = "the run to write; - is stdout"},
    TANDEM_OPTION_END,
};

static int retrieve(tandem_run **out, const search_options *options, const tandem_dataset *dataset,
                    const tandem_qrels *qrels)
{
    size_t k = (size_t)options->top;
    if (strcmp(options->model, "bm25") == 0) {
        return tandem_retrieve_bm25(out, dataset, qrels, k, (tandem_bm25_options)TANDEM_BM25_OPTIONS_INIT, true);
    }
    const tandem_model_options load = {.kind = TANDEM_BI_ENCODER, .max_length = (size_t)options->max_length,
                                       .precision = (tandem_precision)options->dtype};
    tandem_model *model = NULL;
    TANDEM_TRY(tandem_model_load(&model, options->model, &load));
    int rc = tandem_retrieve_dense(out, model, dataset, qrels, k, true);
    tandem_model_free(model);
    return rc;
}

static int run(const void *given, size_t count, char *const *arguments)
{
    const search_options *options = given;
    tandem_dataset *dataset = NULL;
    tandem_qrels *qrels = NULL;
    tandem_run *found = NULL;
    int rc;
    (void)count;
    (void)arguments;
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_open(&dataset, options->dataset));
    TANDEM_TRY_GOTO(rc, done, tandem_dataset_qrels(&qrels, dataset, options->split));
    TANDEM_TRY_GOTO(rc, done, retrieve(&found, options, dataset, qrels));
    rc = tandem_run_write(found, options->output);
done:
    tandem_run_free(found);
    tandem_qrels_free(qrels);
    tandem_dataset_free(dataset);
    return rc;
}

const tandem_command tandem_command_search = {
    .name = "search",
    .summary = "Find the best documents for each query, with a bi-encoder or BM25",
    .options = table,
    .options_size = sizeof(search_options),
    .run = run,
    .notes = "The search is exact: every document is scored. Equal scores are ordered by document id,\n"
             "descending, as trec_eval orders them. Embeddings of the corpus are cached by the content of\n"
             "model and texts. BM25 has k1 0.9 and b 0.4, Porter stems and Lucene's English stop words; a\n"
             "document that shares no term with the query is not listed.",
};
