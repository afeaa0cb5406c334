/* refresh.c - mining negatives again with the weights as they are. */
#include "train/refresh.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/memory.h"
#include "tandem/random.h"
#include "tandem/vectors.h"

static double margin_or_off(double margin)
{
    return margin < 0.0 ? (double)NAN : margin;
}

static tandem_mining_options mining_options(const tandem_train_config *config, uint64_t epoch)
{
    tandem_random random = tandem_random_stream((uint64_t)config->seed, "mining", epoch);

    return (tandem_mining_options){
        .range_low = (size_t)config->mining.range[0],
        .range_high = (size_t)config->mining.range[1],
        .absolute_margin = margin_or_off(config->mining.absolute_margin),
        .relative_margin = margin_or_off(config->mining.relative_margin),
        .negatives = (size_t)config->mining.negatives,
        .sampling = config->mining.sampling == 0 ? TANDEM_SAMPLE_TOP : TANDEM_SAMPLE_RANDOM,
        .seed = tandem_random_next(&random),
    };
}

static int mine(tandem_groups **out, tandem_mining_statistics *statistics, tandem_model *model,
                const tandem_dataset *dataset, const tandem_split *split, const tandem_mining_options *options)
{
    tandem_vectors queries = {0}, documents = {0};
    tandem_text *texts = tandem_alloc(split->count, sizeof *texts);
    int rc = texts == NULL ? TANDEM_ERROR : TANDEM_OK;

    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < split->count; i++) {
        texts[i] = dataset->queries.items[split->queries[i].query];
    }
    TANDEM_TRY_GOTO(rc, done, tandem_model_encode_texts(&queries, model, texts, split->count, TANDEM_QUERY, false, "mining: queries"));
    TANDEM_TRY_GOTO(rc, done, tandem_model_encode_texts(&documents, model, dataset->corpus.items, dataset->corpus.count,
                                                        TANDEM_DOCUMENT, false, "mining: documents"));
    tandem_mining_source source = {queries.data, documents.data, documents.dim, NULL};
    rc = tandem_mine_negatives(out, statistics, dataset, split, &source, options);
done:
    tandem_vectors_free(&queries);
    tandem_vectors_free(&documents);
    free(texts);
    return rc;
}

static int add_passages(tandem_groups *out, bool positive, const tandem_groups *from, const tandem_passage *passages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const tandem_text *text = &from->texts[passages[i].text];

        TANDEM_TRY(tandem_groups_add(out, positive, passages[i].id, text->text, text->length, passages[i].score));
    }
    return TANDEM_OK;
}

static int index_groups(tandem_strmap **out, const tandem_groups *groups)
{
    tandem_strmap *map = tandem_strmap_new(groups->count);

    if (map == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t g = 0; g < groups->count; g++) {
        const char *id = groups->items[g].query_id;

        if (tandem_strmap_add(map, id, strlen(id), g, NULL) < 0) {
            tandem_strmap_free(map);
            return TANDEM_ERROR;
        }
    }
    *out = map;
    return TANDEM_OK;
}

/* base with the negatives of mined. */
static int replace_negatives(tandem_groups *out, const tandem_groups *base, const tandem_groups *mined, const tandem_strmap *by_id)
{
    for (size_t g = 0; g < base->count; g++) {
        const tandem_group *group = &base->items[g], *source = group;
        const tandem_groups *owner = base;
        const tandem_text *query = &base->texts[group->query];
        size_t index = 0;

        if (tandem_strmap_find(by_id, group->query_id, strlen(group->query_id), &index)) {
            source = &mined->items[index];
            owner = mined;
        }
        TANDEM_TRY(tandem_groups_begin(out, group->query_id, query->text, query->length));
        TANDEM_TRY(add_passages(out, true, base, group->positives, group->positive_count));
        TANDEM_TRY(add_passages(out, false, owner, source->negatives, source->negative_count));
    }
    return tandem_groups_finish(out);
}

int tandem_refresh_negatives(tandem_groups **out, tandem_mining_statistics *statistics, tandem_model *model,
                             const tandem_dataset *dataset, const tandem_split *split, const tandem_groups *base,
                             const tandem_train_config *config, uint64_t epoch)
{
    tandem_mining_options options = mining_options(config, epoch);
    tandem_groups *mined = NULL, *groups = NULL;
    tandem_strmap *by_id = NULL;
    int rc = mine(&mined, statistics, model, dataset, split, &options);

    TANDEM_TRY(rc);
    TANDEM_TRY_GOTO(rc, done, index_groups(&by_id, mined));
    TANDEM_TRY_GOTO(rc, done, tandem_groups_new(&groups));
    TANDEM_TRY_GOTO(rc, done, replace_negatives(groups, base, mined, by_id));
    *out = groups;
    groups = NULL;
done:
    tandem_strmap_free(by_id);
    tandem_groups_free(groups);
    tandem_groups_free(mined);
    return rc;
}
