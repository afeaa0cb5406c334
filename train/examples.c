/* examples.c - what a step trains on, made from groups. */
#include "train/examples.h"

#include <math.h>
#include <stdlib.h>

#include "tandem/hash.h"
#include "tandem/random.h"

/* Rows of the two stores by text index, and the texts by row. */
typedef struct {
    uint32_t *query_row, *document_row;      /* [groups->text_count] */
    tandem_text *query_text, *document_text; /* [query_count], [document_count] */
} row_maps;

static void free_maps(row_maps *maps)
{
    free(maps->query_row);
    free(maps->document_row);
    free(maps->query_text);
    free(maps->document_text);
}

static void give_row(uint32_t *rows, tandem_text *texts, size_t *count, const tandem_groups *groups, uint32_t text)
{
    if (rows[text] == TANDEM_NO_ROW) {
        texts[*count] = groups->texts[text];
        rows[text] = (uint32_t)(*count)++;
    }
}

static int number_rows(row_maps *maps, tandem_examples *examples, const tandem_groups *groups)
{
    size_t n = groups->text_count;

    maps->query_row = tandem_alloc(n, sizeof *maps->query_row);
    maps->document_row = tandem_alloc(n, sizeof *maps->document_row);
    maps->query_text = tandem_alloc(n, sizeof *maps->query_text);
    maps->document_text = tandem_alloc(n, sizeof *maps->document_text);
    if (maps->query_row == NULL || maps->document_row == NULL || maps->query_text == NULL || maps->document_text == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < n; i++) {
        maps->query_row[i] = maps->document_row[i] = TANDEM_NO_ROW;
    }
    for (size_t g = 0; g < groups->count; g++) {
        const tandem_group *group = &groups->items[g];

        give_row(maps->query_row, maps->query_text, &examples->query_count, groups, group->query);
        for (size_t i = 0; i < group->positive_count; i++) {
            give_row(maps->document_row, maps->document_text, &examples->document_count, groups, group->positives[i].text);
        }
        for (size_t i = 0; i < group->negative_count; i++) {
            give_row(maps->document_row, maps->document_text, &examples->document_count, groups, group->negatives[i].text);
        }
    }
    return TANDEM_OK;
}

/* ---- known positives ------------------------------------------------------------ */
typedef struct {
    uint32_t query, document;
} known_pair;

static int compare_pairs(const void *left, const void *right)
{
    const known_pair *a = left, *b = right;

    if (a->query != b->query) {
        return a->query < b->query ? -1 : 1;
    }
    return (a->document > b->document) - (a->document < b->document);
}

static size_t collect_known(known_pair *pairs, uint32_t *query_documents, const tandem_groups *groups,
                            const row_maps *maps)
{
    size_t count = 0;

    for (size_t g = 0; g < groups->count; g++) {
        const tandem_group *group = &groups->items[g];
        uint32_t query = maps->query_row[group->query], same = maps->document_row[group->query];

        for (size_t i = 0; i < group->positive_count; i++) {
            pairs[count++] = (known_pair){query, maps->document_row[group->positives[i].text]};
        }
        query_documents[query] = same;
        if (same != TANDEM_NO_ROW) {
            pairs[count++] = (known_pair){query, same};
        }
    }
    return count;
}

static int index_known(tandem_examples *examples, const tandem_groups *groups, const row_maps *maps)
{
    size_t room = groups->count;

    for (size_t g = 0; g < groups->count; g++) {
        room += groups->items[g].positive_count;
    }
    known_pair *pairs = tandem_alloc(room, sizeof *pairs);
    examples->known = tandem_alloc(room, sizeof *examples->known);
    examples->known_starts = tandem_alloc(examples->query_count + 1, sizeof *examples->known_starts);
    examples->query_documents = tandem_alloc(examples->query_count, sizeof *examples->query_documents);
    if (pairs == NULL || examples->known == NULL || examples->known_starts == NULL ||
        examples->query_documents == NULL) {
        free(pairs);
        return TANDEM_ERROR;
    }
    size_t count = collect_known(pairs, examples->query_documents, groups, maps);

    qsort(pairs, count, sizeof *pairs, compare_pairs);
    for (size_t i = 0, row = 0; row <= examples->query_count; row++) {
        examples->known_starts[row] = i;
        while (i < count && pairs[i].query == row) {
            examples->known[i] = pairs[i].document;
            i++;
        }
    }
    free(pairs);
    return TANDEM_OK;
}

bool tandem_examples_known(const tandem_examples *examples, uint32_t query, uint32_t document)
{
    size_t low = examples->known_starts[query], high = examples->known_starts[query + 1];

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (examples->known[middle] < document) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < examples->known_starts[query + 1] && examples->known[low] == document;
}

/* ---- examples ------------------------------------------------------------------- */
tandem_examples_options tandem_examples_options_for(const tandem_loss_settings *settings, bool cross, size_t negatives)
{
    tandem_examples_options options = {
        .negatives = negatives,
        .needs = tandem_loss_needs(settings, cross),
        .reader = tandem_loss_name(settings, cross),
    };

    if (cross && settings->offset_scale > 0.0) {
        options.needs |= TANDEM_NEEDS_SCORES;
        options.reader = "loss.offset_scale";
    }
    return options;
}

/* What a score should be to be a label, or NULL where it is one. */
static const char *expected_label(unsigned needs, float score)
{
    if (isnan(score)) {
        return NULL;
    }
    if ((needs & TANDEM_LABELS_IN_UNIT) != 0 && !(score >= 0.0F && score <= 1.0F)) {
        return "a number from 0 to 1";
    }
    if ((needs & TANDEM_LABELS_0_OR_1) != 0 && score != 0.0F && score != 1.0F) {
        return "0 or 1";
    }
    if ((needs & TANDEM_NEEDS_CLASSES) != 0 && (needs & TANDEM_READS_LABELS) != 0 && !(score >= 0.0F && score == floorf(score))) {
        return "a class, 0 or 1 or so on,";
    }
    return NULL;
}

static int check_score(const tandem_examples_options *options, size_t row, const tandem_group *group,
                       const tandem_passage *passage)
{
    const char *expected = expected_label(options->needs, passage->score);

    if ((options->needs & TANDEM_NEEDS_SCORES) != 0 && !isfinite(passage->score)) {
        return tandem_error("group %zu (query %s): passage %s has no score, which %s needs", row + 1, group->query_id,
                            passage->id, options->reader);
    }
    if (expected != NULL) {
        return tandem_error("group %zu (query %s): passage %s has the score %g: %s expects %s as a label, or loss.labels "
                            "\"binary\"", row + 1, group->query_id, passage->id, (double)passage->score, options->reader,
                            expected);
    }
    return TANDEM_OK;
}

/* The group's usable negatives, at most options->negatives unless they are drawn. A known positive among
 * them would teach the reranker a contradiction. */
static int take_negatives(tandem_example *example, tandem_examples *examples, const tandem_examples_options *options,
                          const tandem_groups *groups, size_t g, const row_maps *maps)
{
    const tandem_group *group = &groups->items[g];
    size_t most = options->draw ? SIZE_MAX : options->negatives, taken = 0;
    size_t room = group->negative_count < most ? group->negative_count : most;
    uint32_t *rows = tandem_arena_alloc(examples->arena, room, sizeof *rows);
    float *scores = tandem_arena_alloc(examples->arena, room, sizeof *scores);

    if (rows == NULL || scores == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < group->negative_count && taken < room; i++) {
        const tandem_passage *passage = &group->negatives[i];
        uint32_t row = maps->document_row[passage->text];

        if (!tandem_examples_known(examples, example->query, row)) {
            TANDEM_TRY(check_score(options, g, group, passage));
            rows[taken] = row;
            scores[taken++] = passage->score;
        }
    }
    example->negatives = example->pool = rows;
    example->negative_scores = example->pool_scores = scores;
    example->pool_count = taken;
    example->negative_count = taken < options->negatives ? taken : options->negatives;
    if (options->draw && taken > examples->longest_pool) {
        examples->longest_pool = taken;
    }
    return TANDEM_OK;
}

/* The other positives of a list. */
static int take_others(tandem_example *example, tandem_examples *examples, const tandem_examples_options *options,
                       const tandem_groups *groups, size_t g, const row_maps *maps)
{
    const tandem_group *group = &groups->items[g];
    size_t count = group->positive_count - 1;
    uint32_t *rows = tandem_arena_alloc(examples->arena, count, sizeof *rows);
    float *scores = tandem_arena_alloc(examples->arena, count, sizeof *scores);

    if (rows == NULL || scores == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < count; i++) {
        TANDEM_TRY(check_score(options, g, group, &group->positives[i + 1]));
        rows[i] = maps->document_row[group->positives[i + 1].text];
        scores[i] = group->positives[i + 1].score;
    }
    example->others = rows;
    example->other_scores = scores;
    example->other_count = count;
    return TANDEM_OK;
}

/* An example a positive; or one of them all. */
static int add_group(tandem_examples *examples, const tandem_examples_options *options, const tandem_groups *groups,
                     size_t g, const row_maps *maps)
{
    const tandem_group *group = &groups->items[g];
    tandem_example example = {.query = maps->query_row[group->query], .group = (uint32_t)g};
    bool list = (options->needs & TANDEM_TAKES_LISTS) != 0 && group->positive_count > 0;
    size_t count = list ? 1 : group->positive_count;

    TANDEM_TRY(take_negatives(&example, examples, options, groups, g, maps));
    if (list) {
        TANDEM_TRY(take_others(&example, examples, options, groups, g, maps));
    }
    if ((options->needs & TANDEM_NEEDS_NEGATIVES) != 0 && example.negative_count + example.other_count == 0) {
        examples->first_skipped = examples->skipped == 0 ? g : examples->first_skipped;
        examples->skipped += group->positive_count;
        return TANDEM_OK;
    }
    for (size_t i = 0; i < count; i++) {
        TANDEM_TRY(check_score(options, g, group, &group->positives[i]));
        example.positive = maps->document_row[group->positives[i].text];
        example.positive_score = group->positives[i].score;
        examples->items[examples->count++] = example;
    }
    return TANDEM_OK;
}

static int build(tandem_examples *examples, const tandem_groups *groups, const tandem_model *model,
                 const tandem_examples_options *options, row_maps *maps)
{
    size_t positives = 0;

    TANDEM_TRY(number_rows(maps, examples, groups));
    TANDEM_TRY(index_known(examples, groups, maps));
    for (size_t g = 0; g < groups->count; g++) {
        positives += groups->items[g].positive_count;
    }
    examples->arena = tandem_arena_new();
    examples->drawn = tandem_arena_new();
    examples->items = tandem_alloc(positives, sizeof *examples->items);
    if (examples->arena == NULL || examples->drawn == NULL || examples->items == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t g = 0; g < groups->count; g++) {
        TANDEM_TRY(add_group(examples, options, groups, g, maps));
    }
    if (examples->count > UINT32_MAX) {
        return tandem_error("%zu training examples are more than the %u that tandem can order", examples->count,
                            UINT32_MAX);
    }
    if (model == NULL) {
        return TANDEM_OK;
    }
    if (options->teacher != NULL) {
        TANDEM_TRY(tandem_model_encode_texts(&examples->teacher_queries, options->teacher, maps->query_text,
                                             examples->query_count,
                                             TANDEM_QUERY, true, "teacher: queries"));
        TANDEM_TRY(tandem_model_encode_texts(&examples->teacher_documents, options->teacher, maps->document_text,
                                             examples->document_count, TANDEM_DOCUMENT, true, "teacher: documents"));
    }
    TANDEM_TRY(tandem_model_tokenize(&examples->queries, model, maps->query_text, examples->query_count, TANDEM_QUERY));
    return tandem_model_tokenize(&examples->documents, model, maps->document_text, examples->document_count,
                                 TANDEM_DOCUMENT);
}

int tandem_examples_new(tandem_examples **out, const tandem_groups *groups, const tandem_model *model,
                        const tandem_examples_options *options)
{
    row_maps maps = {NULL, NULL, NULL, NULL};
    tandem_examples *examples = tandem_alloc(1, sizeof *examples);

    if (examples == NULL) {
        return TANDEM_ERROR;
    }
    int rc = build(examples, groups, model, options, &maps);
    free_maps(&maps);
    if (rc < 0) {
        tandem_examples_free(examples);
        return rc;
    }
    *out = examples;
    return TANDEM_OK;
}

void tandem_examples_free(tandem_examples *examples)
{
    if (examples != NULL) {
        free(examples->items);
        free(examples->known);
        free(examples->known_starts);
        free(examples->query_documents);
        tandem_vectors_free(&examples->teacher_queries);
        tandem_vectors_free(&examples->teacher_documents);
        tandem_token_store_free(examples->queries);
        tandem_token_store_free(examples->documents);
        tandem_arena_free(examples->arena);
        tandem_arena_free(examples->drawn);
        free(examples);
    }
}

/* ---- drawing negatives ------------------------------------------------------------ */
/* `count` of the pool, in the order of the draw; `places` are 0 .. pool_count - 1 in any order. */
static int draw_negatives(tandem_example *example, tandem_arena *arena, uint32_t *places, tandem_random *random)
{
    size_t count = example->negative_count;
    uint32_t *rows = tandem_arena_alloc(arena, count, sizeof *rows);
    float *scores = tandem_arena_alloc(arena, count, sizeof *scores);

    if (rows == NULL || scores == NULL) {
        return TANDEM_ERROR;
    }
    for (size_t k = 0; k < count; k++) {
        size_t other = k + (size_t)tandem_random_below(random, example->pool_count - k);
        uint32_t place = places[other];

        places[other] = places[k];
        places[k] = place;
        rows[k] = example->pool[place];
        scores[k] = example->pool_scores[place];
    }
    example->negatives = rows;
    example->negative_scores = scores;
    return TANDEM_OK;
}

int tandem_examples_draw(tandem_examples *examples, uint64_t seed, uint64_t epoch)
{
    tandem_random random = tandem_random_stream(seed, "negatives", epoch);
    uint32_t *places = NULL;
    int rc = TANDEM_OK;

    if (examples->longest_pool == 0) {
        return TANDEM_OK;
    }
    places = tandem_alloc(examples->longest_pool, sizeof *places);
    if (places == NULL) {
        return TANDEM_ERROR;
    }
    tandem_arena_reset(examples->drawn);
    for (size_t i = 0; rc == TANDEM_OK && i < examples->count; i++) {
        for (size_t k = 0; k < examples->items[i].pool_count; k++) {
            places[k] = (uint32_t)k;
        }
        rc = draw_negatives(&examples->items[i], examples->drawn, places, &random);
    }
    free(places);
    return rc;
}

/* ---- identity ----------------------------------------------------------------------- */
static void hash_passages(tandem_hasher *hasher, const tandem_groups *groups, const tandem_passage *passages,
                          size_t count)
{
    tandem_hasher_int(hasher, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        const tandem_text *text = &groups->texts[passages[i].text];
        /* One bit pattern for every NaN: a file gives no score, not a payload. */
        float score = isnan(passages[i].score) ? NAN : passages[i].score;

        tandem_hasher_field(hasher, text->text, text->length);
        tandem_hasher_field(hasher, &score, sizeof score);
    }
}

int tandem_groups_hash(tandem_hash *out, const tandem_groups *groups)
{
    tandem_hasher *hasher = tandem_hasher_new();

    if (hasher == NULL) {
        return TANDEM_ERROR;
    }
    tandem_hasher_int(hasher, (int64_t)groups->count);
    for (size_t g = 0; g < groups->count; g++) {
        const tandem_group *group = &groups->items[g];
        const tandem_text *query = &groups->texts[group->query];

        tandem_hasher_field(hasher, query->text, query->length);
        hash_passages(hasher, groups, group->positives, group->positive_count);
        hash_passages(hasher, groups, group->negatives, group->negative_count);
    }
    *out = tandem_hasher_done(hasher);
    return TANDEM_OK;
}
