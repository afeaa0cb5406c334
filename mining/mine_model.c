/* Dense mining from a model: encode, then mine. */
#include "tandem/negatives.h"

#include <stdlib.h>

/* The texts of a split's queries, in its order; the caller frees the array. */
static tandem_text *split_queries(const tandem_dataset *dataset, const tandem_split *split)
{
    tandem_text *texts = tandem_alloc(split->count, sizeof *texts);
    for (size_t i = 0; texts && i < split->count; i++) {
        texts[i] = dataset->queries.items[split->queries[i].query];
    }
    return texts;
}

int tandem_mine_with_model(tandem_groups **out, tandem_mining_statistics *statistics,
                           tandem_model *model, const tandem_dataset *dataset,
                           const tandem_split *split, const tandem_mining_options *options, bool cache)
{
    tandem_vectors documents = {0};
    tandem_vectors queries = {0};
    *out = NULL;
    tandem_text *texts = split_queries(dataset, split);
    int rc = texts ? TANDEM_OK : TANDEM_ERROR;
    if (rc < 0) {
        return rc;
    }
    TANDEM_TRY_GOTO(rc, done, tandem_model_encode_texts(&documents, model, dataset->corpus.items, dataset->corpus.count,
                                                        TANDEM_DOCUMENT, cache, "encoding the corpus"));
    TANDEM_TRY_GOTO(rc, done, tandem_model_encode_texts(&queries, model, texts, split->count, TANDEM_QUERY, cache,
                                                        "encoding queries"));
    const tandem_mining_source source = {.queries = queries.data, .documents = documents.data, .dim = documents.dim};
    rc = tandem_mine_negatives(out, statistics, dataset, split, &source, options);
done:
    tandem_vectors_free(&documents);
    tandem_vectors_free(&queries);
    free(texts);
    return rc;
}
