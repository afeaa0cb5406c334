/* refresh.c - mining negatives again with the weights as they are. */
#include "train/refresh.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/memory.h"
#include "tandem/random.h"

static double margin_or_off(double margin)
{
    return margin < 0.0 ? (double)NAN : margin;
}

static tandem_mining_options mining_options(const tandem_train_config *config, uint64_t step)
{
    tandem_random random = tandem_random_stream((uint64_t)config->seed, "mining", step);

    tandem_mining_options options = TANDEM_MINING_OPTIONS_INIT;

    options.range_low = (size_t)config->mining.range[0];
    options.range_high = (size_t)config->mining.range[1];
    options.absolute_margin = margin_or_off(config->mining.absolute_margin);
    options.relative_margin = margin_or_off(config->mining.relative_margin);
    options.negatives = (size_t)config->mining.negatives;
    options.sampling = config->mining.sampling == 0 ? TANDEM_SAMPLE_TOP : TANDEM_SAMPLE_RANDOM;
    options.seed = tandem_random_next(&random);
    return options;
}

static int mine_source(tandem_groups **out, tandem_mining_statistics *statistics, const tandem_dataset *dataset,
                       const tandem_split *split, const tandem_mining_source *source, const tandem_mining_options *options)
{
    const tandem_mining mining = {
        .dataset = dataset, .split = split, .sources = source, .source_count = 1, .options = *options};

    return tandem_mine_negatives(out, statistics, &mining);
}

static int mine(tandem_groups **out, tandem_mining_statistics *statistics, tandem_encoded *encoded,
                const tandem_dataset *dataset, const tandem_split *split, const tandem_mining_options *options)
{
    const tandem_vectors *queries = NULL, *documents = NULL;
    tandem_text *texts = tandem_alloc(split->count, sizeof *texts);
    int rc = texts == NULL ? TANDEM_ERROR : TANDEM_OK;

    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < split->count; i++) {
        texts[i] = dataset->queries.items[split->queries[i].query];
    }
    TANDEM_TRY_GOTO(rc, done, tandem_encoded_vectors(&queries, encoded, texts, split->count, TANDEM_QUERY,
                                                     "mining: queries"));
    TANDEM_TRY_GOTO(rc, done, tandem_encoded_vectors(&documents, encoded, dataset->corpus.items, dataset->corpus.count,
                                                     TANDEM_DOCUMENT, "mining: documents"));
    tandem_mining_source source = {.queries = {queries, 1}, .documents = {documents, 1}};
    rc = mine_source(out, statistics, dataset, split, &source, options);
done:
    free(texts);
    return rc;
}

/* Negatives of BM25, from the same ranks. Its scores know nothing of the margins. */
static int mine_bm25(tandem_groups **out, const tandem_dataset *dataset, const tandem_split *split,
                     const tandem_mining_options *options, size_t negatives)
{
    tandem_mining_statistics statistics;
    tandem_mining_options plain = *options;
    tandem_bm25 *index = NULL;

    plain.absolute_margin = plain.relative_margin = (double)NAN;
    plain.negatives = negatives;
    TANDEM_TRY(tandem_bm25_new(&index, dataset->corpus.items, dataset->corpus.count,
                               (tandem_bm25_options)TANDEM_BM25_OPTIONS_INIT, true));
    tandem_mining_source source = {.bm25 = index};
    int rc = mine_source(out, &statistics, dataset, split, &source, &plain);
    tandem_bm25_free(index);
    return rc;
}

static bool has_text(const tandem_groups *groups, const tandem_group *group, const tandem_text *text)
{
    for (size_t i = 0; group != NULL && i < group->negative_count; i++) {
        const tandem_text *other = &groups->texts[group->negatives[i].text];

        if (other->length == text->length && memcmp(other->text, text->text, text->length) == 0) {
            return true;
        }
    }
    return false;
}

/* Passages of `from`, but those that are negatives of `but` (NULL: none) already. */
static int add_passages(tandem_groups *out, bool positive, const tandem_groups *from, const tandem_passage *passages,
                        size_t count, const tandem_groups *owner, const tandem_group *but)
{
    for (size_t i = 0; i < count; i++) {
        const tandem_text *text = &from->texts[passages[i].text];

        if (!has_text(owner, but, text)) {
            TANDEM_TRY(tandem_groups_add(out, positive, passages[i].id, text->text, text->length, passages[i].score));
        }
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

/* base with the negatives of mined, then those of bm25 (NULL: none), whose groups are the same queries. */
static int replace_negatives(tandem_groups *out, const tandem_groups *base, const tandem_groups *mined,
                             const tandem_groups *bm25, const tandem_strmap *by_id)
{
    for (size_t g = 0; g < base->count; g++) {
        const tandem_group *group = &base->items[g], *source = group;
        const tandem_groups *owner = base;
        const tandem_text *query = &base->texts[group->query];
        size_t index = 0;
        bool found = tandem_strmap_find(by_id, group->query_id, strlen(group->query_id), &index);

        if (found) {
            source = &mined->items[index];
            owner = mined;
        }
        TANDEM_TRY(tandem_groups_begin(out, group->query_id, query->text, query->length));
        TANDEM_TRY(add_passages(out, true, base, group->positives, group->positive_count, NULL, NULL));
        TANDEM_TRY(add_passages(out, false, owner, source->negatives, source->negative_count, NULL, NULL));
        if (found && bm25 != NULL) {
            const tandem_group *more = &bm25->items[index];

            TANDEM_TRY(add_passages(out, false, bm25, more->negatives, more->negative_count, owner, source));
        }
    }
    return tandem_groups_finish(out);
}

int tandem_refresh_negatives(tandem_groups **out, tandem_mining_statistics *statistics, tandem_encoded *encoded,
                             const tandem_dataset *dataset, const tandem_split *split, const tandem_groups *base,
                             const tandem_train_config *config, uint64_t step)
{
    tandem_mining_options options = mining_options(config, step);
    tandem_groups *mined = NULL, *bm25 = NULL, *groups = NULL;
    tandem_strmap *by_id = NULL;
    size_t more = (size_t)config->mining.bm25_negatives;
    int rc = mine(&mined, statistics, encoded, dataset, split, &options);

    TANDEM_TRY(rc);
    TANDEM_TRY_GOTO(rc, done, more > 0 ? mine_bm25(&bm25, dataset, split, &options, more) : TANDEM_OK);
    TANDEM_TRY_GOTO(rc, done, index_groups(&by_id, mined));
    TANDEM_TRY_GOTO(rc, done, tandem_groups_new(&groups));
    TANDEM_TRY_GOTO(rc, done, replace_negatives(groups, base, mined, bm25, by_id));
    *out = groups;
    groups = NULL;
done:
    tandem_strmap_free(by_id);
    tandem_groups_free(groups);
    tandem_groups_free(bm25);
    tandem_groups_free(mined);
    return rc;
}
