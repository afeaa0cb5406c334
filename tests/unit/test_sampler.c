/* Batches, and what training makes of groups: examples, known positives, masks. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "train/examples.h"
#include "train/in_batch.h"
#include "train/sampler.h"

/* ---- groups --------------------------------------------------------------------------- */
static void begin(tandem_groups *groups, const char *id, const char *query)
{
    assert_int_equal(tandem_groups_begin(groups, id, query, strlen(query)), 0);
}

static void add(tandem_groups *groups, bool positive, const char *text, float score)
{
    assert_int_equal(tandem_groups_add(groups, positive, text, text, strlen(text), score), 0);
}

/* Two groups share the query "red"; "blue" lists its own text, a known positive of
 * another group with its text, and two usable negatives; "green" has no negative. */
static tandem_groups *some_groups(void)
{
    tandem_groups *groups = NULL;

    assert_int_equal(tandem_groups_new(&groups), 0);
    begin(groups, "q1", "red");
    add(groups, true, "rose", 0.9F);
    add(groups, true, "ruby", 0.8F);
    add(groups, false, "sky", 0.5F);
    begin(groups, "q2", "red");
    add(groups, true, "blood", 0.7F);
    add(groups, false, "ruby", 0.6F);
    add(groups, false, "grass", 0.4F);
    begin(groups, "q3", "blue");
    add(groups, true, "sky", NAN);
    add(groups, false, "blue", 0.9F);
    add(groups, false, "sky", 0.8F);
    add(groups, false, "rose", 0.3F);
    add(groups, false, "grass", 0.2F);
    begin(groups, "q4", "green");
    add(groups, true, "grass", 0.5F);
    assert_int_equal(tandem_groups_finish(groups), 0);
    return groups;
}

static tandem_examples *make(const tandem_groups *groups, size_t negatives, bool needs_negatives)
{
    tandem_examples *examples = NULL;
    tandem_examples_options options = {.negatives = negatives, .needs = needs_negatives ? TANDEM_NEEDS_NEGATIVES : 0};

    assert_int_equal(tandem_examples_new(&examples, groups, NULL, &options), 0);
    return examples;
}

static void test_one_example_a_positive(void **state)
{
    (void)state;
    tandem_groups *groups = some_groups();
    tandem_examples *examples = make(groups, 8, false);

    assert_int_equal(examples->count, 5);
    assert_int_equal(examples->skipped, 0);
    assert_int_equal(examples->query_count, 3);    /* red, blue, green */
    assert_int_equal(examples->document_count, 6); /* rose ruby sky blood grass blue */
    assert_int_equal(examples->items[0].query, examples->items[2].query);
    assert_true(examples->items[1].positive_score == 0.8F);
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

/* A listed negative that is a positive of the query elsewhere, or its own text, is none. */
static void test_known_positives_are_no_negatives(void **state)
{
    (void)state;
    tandem_groups *groups = some_groups();
    tandem_examples *examples = make(groups, 1, false);
    const tandem_example *red = &examples->items[2], *blue = &examples->items[3];

    assert_int_equal(red->negative_count, 1);
    assert_true(red->negative_scores[0] == 0.4F); /* grass: ruby is a positive of the other "red" */
    assert_int_equal(blue->negative_count, 1);
    assert_true(blue->negative_scores[0] == 0.3F); /* rose: blue and sky are not usable */
    tandem_examples_free(examples);

    examples = make(groups, 8, false);
    assert_int_equal(examples->items[3].negative_count, 2);
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

static void test_groups_without_negatives_are_counted(void **state)
{
    (void)state;
    tandem_groups *groups = some_groups();
    tandem_examples *examples = make(groups, 2, true);

    assert_int_equal(examples->count, 4);
    assert_int_equal(examples->skipped, 1);
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

static void test_missing_score_is_named(void **state)
{
    (void)state;
    tandem_groups *groups = some_groups();
    tandem_examples *examples = NULL;
    tandem_examples_options options = {.negatives = 2, .needs = TANDEM_NEEDS_SCORES, .reader = "margin_mse"};

    assert_true(tandem_examples_new(&examples, groups, NULL, &options) < 0);
    assert_non_null(strstr(tandem_error_message(),
                           "group 3 (query q3): passage sky has no score, which margin_mse needs"));
    tandem_groups_free(groups);
}

/* Scores from 0.2 to 0.9, and none where labels are 1 and 0 by themselves. */
static void test_labels_must_suit_the_loss(void **state)
{
    (void)state;
    tandem_groups *groups = some_groups();
    tandem_examples *examples = NULL;
    tandem_loss_settings settings = {.labels = TANDEM_LABELS_SCORES};

    while (strcmp(tandem_bi_loss_names[settings.name], "contrastive") != 0) {
        settings.name++;
    }
    tandem_examples_options options = tandem_examples_options_for(&settings, false, 2);
    assert_int_equal(tandem_examples_new(&examples, groups, NULL, &options), 0);
    tandem_examples_free(examples);

    while (strcmp(tandem_bi_loss_names[settings.name], "online_contrastive") != 0) {
        settings.name++;
    }
    options = tandem_examples_options_for(&settings, false, 2);
    assert_true(tandem_examples_new(&examples, groups, NULL, &options) < 0);
    assert_non_null(strstr(tandem_error_message(),
                           "group 1 (query q1): passage sky has the score 0.5: online_contrastive expects 0 or 1"));
    settings.labels = TANDEM_LABELS_BINARY;
    options = tandem_examples_options_for(&settings, false, 2);
    assert_int_equal(tandem_examples_new(&examples, groups, NULL, &options), 0);
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

static void test_offsets_need_scores(void **state)
{
    (void)state;
    tandem_loss_settings settings = {.offset_scale = 2.0};
    tandem_examples_options options = tandem_examples_options_for(&settings, true, 2);

    assert_true((options.needs & TANDEM_NEEDS_SCORES) != 0);
    assert_string_equal(options.reader, "loss.offset_scale");
    settings.offset_scale = 0.0;
    assert_true((tandem_examples_options_for(&settings, true, 2).needs & TANDEM_NEEDS_SCORES) == 0);
}

/* As lists, a group is one example with all its positives, and one of two positives needs no negative. */
static void test_lists(void **state)
{
    (void)state;
    tandem_groups *groups = some_groups();
    tandem_examples *examples = NULL;
    tandem_examples_options options = {.negatives = 0, .needs = TANDEM_TAKES_LISTS | TANDEM_NEEDS_NEGATIVES};

    assert_int_equal(tandem_examples_new(&examples, groups, NULL, &options), 0);
    assert_int_equal(examples->count, 1);
    assert_int_equal(examples->skipped, 3);
    assert_int_equal(examples->items[0].other_count, 1);
    assert_true(examples->items[0].positive_score == 0.9F);
    assert_true(examples->items[0].other_scores[0] == 0.8F);
    tandem_examples_free(examples);
    options.negatives = 8;
    assert_int_equal(tandem_examples_new(&examples, groups, NULL, &options), 0);
    assert_int_equal(examples->count, 3);
    assert_int_equal(examples->skipped, 1);
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

/* Of four negatives two are drawn: over the epochs every pair, in any order; the same again for the same epoch. */
static void test_drawn_for_an_epoch(void **state)
{
    (void)state;
    tandem_groups *groups = NULL;
    tandem_examples *examples = NULL;
    tandem_examples_options options = {.negatives = 2, .draw = true};
    bool seen[16] = {false};
    size_t pairs = 0;

    assert_int_equal(tandem_groups_new(&groups), 0);
    begin(groups, "q", "red");
    add(groups, true, "rose", NAN);
    for (size_t i = 0; i < 4; i++) {
        add(groups, false, (const char *[]){"sky", "sea", "grass", "snow"}[i], (float)i);
    }
    assert_int_equal(tandem_groups_finish(groups), 0);
    assert_int_equal(tandem_examples_new(&examples, groups, NULL, &options), 0);
    const tandem_example *item = examples->items;

    for (uint64_t epoch = 0; epoch < 200; epoch++) {
        assert_int_equal(tandem_examples_draw(examples, 13, epoch), 0);
        assert_int_equal(item->negative_count, 2);
        size_t first = (size_t)item->negative_scores[0], second = (size_t)item->negative_scores[1];

        assert_int_not_equal(item->negatives[0], item->negatives[1]);
        assert_int_equal(item->negatives[0], item->pool[first]);
        pairs += seen[4 * first + second] ? 0 : 1;
        seen[4 * first + second] = true;
    }
    assert_int_equal(pairs, 12);
    float before = item->negative_scores[0], last = item->negative_scores[1];
    assert_int_equal(tandem_examples_draw(examples, 13, 7), 0);
    assert_int_equal(tandem_examples_draw(examples, 13, 199), 0);
    assert_true(item->negative_scores[0] == before && item->negative_scores[1] == last);
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

/* ---- batches ------------------------------------------------------------------------------ */
enum { COUNT = 1000, BATCH = 32 };

/* COUNT groups over few texts: a query of 400, a positive of 500, a negative of 300; some texts are
 * both queries and documents, and "t0" is in every tenth group. */
static tandem_examples *crowded(tandem_groups **groups)
{
    tandem_random random = tandem_random_stream(3, "texts", 0);

    assert_int_equal(tandem_groups_new(groups), 0);
    for (size_t g = 0; g < COUNT; g++) {
        char query[16], positive[16], negative[16];

        snprintf(query, sizeof query, "t%d", (int)tandem_random_below(&random, 400));
        snprintf(positive, sizeof positive, "t%d", 350 + (int)tandem_random_below(&random, 500));
        snprintf(negative, sizeof negative, "t%d", g % 10 == 0 ? 0 : 800 + (int)tandem_random_below(&random, 300));
        begin(*groups, "q", query);
        add(*groups, true, positive, NAN);
        add(*groups, false, negative, NAN);
    }
    assert_int_equal(tandem_groups_finish(*groups), 0);
    return make(*groups, 1, false);
}

static void check_epoch(const tandem_epoch *epoch, size_t count, size_t batch_size)
{
    bool seen[COUNT] = {false};

    assert_int_equal(epoch->count, count);
    assert_int_equal(epoch->starts[0], 0);
    assert_int_equal(epoch->starts[epoch->batches], count);
    for (size_t b = 0; b < epoch->batches; b++) {
        assert_true(epoch->starts[b] < epoch->starts[b + 1]);
        assert_true(epoch->starts[b + 1] - epoch->starts[b] <= batch_size);
    }
    for (size_t i = 0; i < count; i++) {
        assert_true(epoch->order[i] < count);
        assert_false(seen[epoch->order[i]]);
        seen[epoch->order[i]] = true;
    }
}

static void test_an_epoch_has_every_example_once(void **state)
{
    (void)state;
    tandem_groups *groups = NULL;
    tandem_examples *examples = crowded(&groups);
    tandem_epoch a, b, other_epoch, other_seed;

    for (tandem_sampler sampler = TANDEM_SAMPLER_RANDOM; sampler <= TANDEM_SAMPLER_NO_DUPLICATES; sampler++) {
        assert_int_equal(tandem_epoch_plan(&a, examples, sampler, BATCH, 13, 2), 0);
        assert_int_equal(tandem_epoch_plan(&other_epoch, examples, sampler, BATCH, 13, 3), 0);
        assert_int_equal(tandem_epoch_plan(&other_seed, examples, sampler, BATCH, 14, 2), 0);
        assert_int_equal(tandem_epoch_plan(&b, examples, sampler, BATCH, 13, 2), 0);
        check_epoch(&a, COUNT, BATCH);
        check_epoch(&other_epoch, COUNT, BATCH);
        assert_int_equal(a.batches, b.batches);
        assert_memory_equal(a.order, b.order, COUNT * sizeof *a.order);
        assert_memory_not_equal(a.order, other_epoch.order, COUNT * sizeof *a.order);
        assert_memory_not_equal(a.order, other_seed.order, COUNT * sizeof *a.order);
        tandem_epoch_free(&a);
        tandem_epoch_free(&b);
        tandem_epoch_free(&other_epoch);
        tandem_epoch_free(&other_seed);
    }
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

/* The texts of a batch by their bytes. A text that an example itself has twice counts once. */
static size_t duplicates(const tandem_epoch *epoch, size_t b, const tandem_groups *groups)
{
    size_t count = 0;
    uint32_t texts[3 * BATCH];

    for (size_t i = epoch->starts[b], used = 0; i < epoch->starts[b + 1]; i++) {
        const tandem_group *group = &groups->items[epoch->order[i]];
        const uint32_t own[3] = {group->query, group->positives[0].text, group->negatives[0].text};
        size_t before = used;

        for (size_t k = 0; k < 3; k++) {
            for (size_t j = 0; j < before; j++) {
                count += texts[j] == own[k] ? 1 : 0;
            }
            texts[used++] = own[k];
        }
    }
    return count;
}

static void test_no_duplicates(void **state)
{
    (void)state;
    tandem_groups *groups = NULL;
    tandem_examples *examples = crowded(&groups);
    tandem_epoch plain, without;
    size_t found = 0;

    assert_int_equal(tandem_epoch_plan(&plain, examples, TANDEM_SAMPLER_RANDOM, BATCH, 13, 0), 0);
    assert_int_equal(tandem_epoch_plan(&without, examples, TANDEM_SAMPLER_NO_DUPLICATES, BATCH, 13, 0), 0);
    for (size_t b = 0; b < plain.batches; b++) {
        found += duplicates(&plain, b, groups);
    }
    assert_true(found > COUNT / 4);
    for (size_t b = 0; b < without.batches; b++) {
        assert_int_equal(duplicates(&without, b, groups), 0);
    }
    assert_int_equal(plain.batches, 32);
    assert_in_range(without.batches, 100, 110); /* "t0" is in 100 groups and a few more */
    tandem_epoch_free(&plain);
    tandem_epoch_free(&without);
    tandem_examples_free(examples);
    tandem_groups_free(groups);
}

/* ---- several sources ---------------------------------------------------------------------- */
enum { SOURCES = 3, WIDTH = 32 };

/* Sources of 1,000, 97 and 640 rows: 32, 4 and 20 batches. */
typedef struct {
    tandem_groups *groups[SOURCES];
    tandem_examples *examples[SOURCES];
    tandem_mix_source items[SOURCES];
} mixed;

static void open_mixed(mixed *m)
{
    static const size_t rows[SOURCES] = {1000, 97, 640};

    for (size_t s = 0; s < SOURCES; s++) {
        assert_int_equal(tandem_groups_new(&m->groups[s]), 0);
        for (size_t g = 0; g < rows[s]; g++) {
            char text[32];

            snprintf(text, sizeof text, "query %zu", g);
            begin(m->groups[s], "q", text);
            snprintf(text, sizeof text, "document %zu", g);
            add(m->groups[s], true, text, NAN);
        }
        assert_int_equal(tandem_groups_finish(m->groups[s]), 0);
        m->examples[s] = make(m->groups[s], 1, false);
        m->items[s] = (tandem_mix_source){m->examples[s], TANDEM_SAMPLER_RANDOM, 1.0, 13 + s};
    }
}

static void close_mixed(mixed *m)
{
    for (size_t s = 0; s < SOURCES; s++) {
        tandem_examples_free(m->examples[s]);
        tandem_groups_free(m->groups[s]);
    }
}

static void plan_mix(tandem_mix *out, const mixed *m, tandem_mixing mixing, uint64_t seed, uint64_t epoch)
{
    assert_int_equal(tandem_mix_plan(out, m->items, SOURCES, mixing, WIDTH, seed, epoch), 0);
}

/* How often each row of a source comes in the epoch's steps. */
static void count_rows(size_t *seen, const tandem_mix *mix, size_t source)
{
    for (size_t i = 0; i < mix->steps; i++) {
        const tandem_epoch *epoch = &mix->epochs[mix->sources[i]];

        for (size_t k = epoch->starts[mix->batches[i]]; mix->sources[i] == source && k < epoch->starts[mix->batches[i] + 1]; k++) {
            seen[epoch->order[k]]++;
        }
    }
}

static size_t steps_of(const tandem_mix *mix, size_t source)
{
    size_t count = 0;

    for (size_t i = 0; i < mix->steps; i++) {
        count += mix->sources[i] == source ? 1 : 0;
    }
    return count;
}

static void test_proportional_has_every_row_once(void **state)
{
    (void)state;
    mixed m;
    tandem_mix mix;
    size_t changes = 0;

    open_mixed(&m);
    plan_mix(&mix, &m, TANDEM_MIXING_PROPORTIONAL, 13, 0);
    assert_int_equal(mix.steps, 32 + 4 + 20);
    for (size_t s = 0; s < SOURCES; s++) {
        size_t seen[COUNT] = {0};

        count_rows(seen, &mix, s);
        for (size_t i = 0; i < m.items[s].examples->count; i++) {
            assert_int_equal(seen[i], 1);
        }
    }
    for (size_t i = 1; i < mix.steps; i++) {
        changes += mix.sources[i] != mix.sources[i - 1] ? 1 : 0;
    }
    assert_true(changes > 20); /* in random order 31 on average, with a deviation below 4; one after the other 2 */
    tandem_mix_free(&mix);
    close_mixed(&m);
}

static void test_round_robin_ends_with_the_smallest(void **state)
{
    (void)state;
    mixed m;
    tandem_mix mix, next;
    size_t seen[COUNT] = {0}, kept = 0, other = 0;

    open_mixed(&m);
    plan_mix(&mix, &m, TANDEM_MIXING_ROUND_ROBIN, 13, 0);
    plan_mix(&next, &m, TANDEM_MIXING_ROUND_ROBIN, 13, 1);
    assert_int_equal(mix.steps, 4 * SOURCES);
    for (size_t i = 0; i < mix.steps; i++) {
        assert_int_equal(mix.sources[i], i % SOURCES);
        assert_int_equal(mix.batches[i], i / SOURCES);
    }
    count_rows(seen, &mix, 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(seen[i] <= 1);
        kept += seen[i];
    }
    assert_int_equal(kept, 4 * WIDTH);
    count_rows(seen, &next, 0);
    for (size_t i = 0; i < COUNT; i++) {
        other += seen[i] == 1 ? 1 : 0;
    }
    assert_true(other > kept); /* the next epoch takes other rows */
    tandem_mix_free(&mix);
    tandem_mix_free(&next);
    close_mixed(&m);
}

/* As many steps as all batches; a source with more than its share goes over its rows again, each pass in another order. */
static void test_weighted_draws_by_weight(void **state)
{
    (void)state;
    mixed m;
    tandem_mix mix;
    size_t taken[SOURCES] = {0}, seen[COUNT] = {0};

    open_mixed(&m);
    m.items[0].weight = 1.0;
    m.items[1].weight = 2.0;
    m.items[2].weight = 1e-6;
    for (uint64_t epoch = 0; epoch < 100; epoch++) {
        plan_mix(&mix, &m, TANDEM_MIXING_WEIGHTED, 13, epoch);
        assert_int_equal(mix.steps, 56);
        for (size_t s = 0; s < SOURCES; s++) {
            taken[s] += steps_of(&mix, s);
        }
        tandem_mix_free(&mix);
    }
    /* A third of 5,600 draws is 1,867 with a deviation of 35: four of them. */
    assert_in_range(taken[0], 1867 - 140, 1867 + 140);
    assert_true(taken[2] <= 1); /* 0.01 expected */
    plan_mix(&mix, &m, TANDEM_MIXING_WEIGHTED, 13, 0);
    size_t passes = steps_of(&mix, 1) / 4;

    assert_true(passes >= 5);
    count_rows(seen, &mix, 1);
    for (size_t i = 0; i < 97; i++) {
        assert_true(seen[i] == passes || seen[i] == passes + 1);
    }
    assert_memory_not_equal(mix.epochs[1].order, mix.epochs[1].order + 97, 97 * sizeof(uint32_t));
    tandem_mix_free(&mix);
    close_mixed(&m);
}

static bool same_mix(const tandem_mix *a, const tandem_mix *b)
{
    bool same = a->steps == b->steps && memcmp(a->sources, b->sources, a->steps * sizeof *a->sources) == 0 &&
                memcmp(a->batches, b->batches, a->steps * sizeof *a->batches) == 0;

    for (size_t s = 0; same && s < SOURCES; s++) {
        same = a->epochs[s].count == b->epochs[s].count &&
               memcmp(a->epochs[s].order, b->epochs[s].order, a->epochs[s].count * sizeof(uint32_t)) == 0;
    }
    return same;
}

/* A run that is resumed in the middle of an epoch plans it again. */
static void test_steps_follow_from_seed_and_epoch(void **state)
{
    (void)state;
    mixed m;

    open_mixed(&m);
    for (tandem_mixing mixing = TANDEM_MIXING_PROPORTIONAL; mixing <= TANDEM_MIXING_WEIGHTED; mixing++) {
        tandem_mix mix, again, other_epoch, other_seed;

        plan_mix(&mix, &m, mixing, 13, 2);
        plan_mix(&other_epoch, &m, mixing, 13, 3);
        plan_mix(&again, &m, mixing, 13, 2);
        plan_mix(&other_seed, &m, mixing, 14, 2);
        assert_true(same_mix(&mix, &again));
        assert_false(same_mix(&mix, &other_epoch));
        assert_true(same_mix(&mix, &other_seed) == (mixing == TANDEM_MIXING_ROUND_ROBIN)); /* which draws no source */
        tandem_mix_free(&mix);
        tandem_mix_free(&again);
        tandem_mix_free(&other_epoch);
        tandem_mix_free(&other_seed);
    }
    close_mixed(&m);
}

/* One source: its batches in their order, whatever the mixing. */
static void test_one_source_is_its_epoch(void **state)
{
    (void)state;
    mixed m;

    open_mixed(&m);
    for (tandem_mixing mixing = TANDEM_MIXING_PROPORTIONAL; mixing <= TANDEM_MIXING_WEIGHTED; mixing++) {
        tandem_mix mix;
        tandem_epoch epoch;

        assert_int_equal(tandem_mix_plan(&mix, m.items, 1, mixing, WIDTH, 13, 5), 0);
        assert_int_equal(tandem_epoch_plan(&epoch, m.items[0].examples, TANDEM_SAMPLER_RANDOM, WIDTH, 13, 5), 0);
        assert_int_equal(mix.steps, epoch.batches);
        assert_memory_equal(mix.epochs[0].order, epoch.order, epoch.count * sizeof *epoch.order);
        for (size_t i = 0; i < mix.steps; i++) {
            assert_int_equal(mix.batches[i], i);
        }
        tandem_epoch_free(&epoch);
        tandem_mix_free(&mix);
    }
    close_mixed(&m);
}

/* ---- a step's texts ----------------------------------------------------------------------- */
/* The batch red/rose, blue/sky, red/blood with the negatives sky of the first and grass, twice. */
typedef struct {
    tandem_groups *groups;
    tandem_examples *examples;
    uint32_t queries[3], documents[6], owner[6];
    tandem_batch_texts texts;
    tandem_arena *arena;
    size_t *starts;
    uint32_t *known;
} batch;

static void open_batch(batch *b)
{
    b->groups = some_groups();
    b->examples = make(b->groups, 1, false);
    const tandem_example *item = b->examples->items;

    b->arena = tandem_arena_new();
    b->texts = (tandem_batch_texts){3, 6, b->queries, b->documents, b->owner, NULL};
    memcpy(b->queries, (uint32_t[]){item[0].query, item[3].query, item[2].query}, sizeof b->queries);
    memcpy(b->documents, (uint32_t[]){item[0].positive, item[3].positive, item[2].positive, item[0].negatives[0],
                                      item[2].negatives[0], item[2].negatives[0]}, sizeof b->documents);
    memcpy(b->owner, (uint32_t[]){0, 1, 2, 0, 2, 1}, sizeof b->owner);
    assert_int_equal(tandem_batch_known(&b->starts, &b->known, b->examples, &b->texts, b->arena), 0);
}

static void close_batch(batch *b)
{
    tandem_arena_free(b->arena);
    tandem_examples_free(b->examples);
    tandem_groups_free(b->groups);
}

static void test_known_of_a_step(void **state)
{
    (void)state;
    batch b;

    open_batch(&b);
    const size_t starts[4] = {0, 1, 2, 3};
    const uint32_t known[3] = {
        2, /* red: blood is another positive of it */
        3, /* blue: the negative sky is its positive's text */
        0, /* red again: rose */
    };
    assert_memory_equal(b.starts, starts, sizeof starts);
    assert_memory_equal(b.known, known, sizeof known);
    close_batch(&b);
}

/* Both reds with rose and blood; blue with both skies; the two grasses. */
static void test_classes_of_a_step(void **state)
{
    (void)state;
    batch b;
    int64_t *classes = NULL;
    const int64_t expected[9] = {0, 1, 0, 0, 1, 0, 1, 7, 7};

    open_batch(&b);
    assert_int_equal(tandem_batch_classes(&classes, b.starts, b.known, &b.texts, b.arena), 0);
    assert_memory_equal(classes, expected, sizeof expected);
    close_batch(&b);
}

static void test_drawn_negatives(void **state)
{
    (void)state;
    batch b;
    uint32_t drawn[6], room[6], again[6];
    bool seen[6] = {false};
    tandem_random random = tandem_random_stream(13, "draw", 0), same = random;

    open_batch(&b);
    /* Of the first red's: sky (the positive of blue, position 1) and both grasses; not blood, not its own. */
    assert_int_equal(tandem_batch_draw(drawn, 6, 0, b.examples, &b.texts, room, &random), 3);
    for (size_t k = 0; k < 3; k++) {
        assert_true(drawn[k] == 1 || drawn[k] == 4 || drawn[k] == 5);
        assert_false(seen[drawn[k]]);
        seen[drawn[k]] = true;
    }
    assert_int_equal(tandem_batch_draw(again, 6, 0, b.examples, &b.texts, room, &same), 3);
    assert_memory_equal(drawn, again, 3 * sizeof *drawn);
    assert_int_equal(tandem_batch_draw(drawn, 2, 0, b.examples, &b.texts, room, &random), 2);
    close_batch(&b);
}

static tandem_hash hash_of_pair(const char *query, const char *positive, float score)
{
    tandem_groups *groups = NULL;
    tandem_hash hash;

    assert_int_equal(tandem_groups_new(&groups), 0);
    begin(groups, "q", query);
    add(groups, true, positive, score);
    assert_int_equal(tandem_groups_finish(groups), 0);
    assert_int_equal(tandem_groups_hash(&hash, groups), 0);
    tandem_groups_free(groups);
    return hash;
}

static void test_hash_sees_texts_and_scores(void **state)
{
    (void)state;
    tandem_hash hash = hash_of_pair("white", "snow", 0.5F), scoreless = hash_of_pair("white", "snow", NAN);

    assert_true(tandem_hash_equal(hash, hash_of_pair("white", "snow", 0.5F)));
    assert_true(tandem_hash_equal(scoreless, hash_of_pair("white", "snow", NAN)));
    assert_false(tandem_hash_equal(hash, scoreless));
    assert_false(tandem_hash_equal(hash, hash_of_pair("whit", "esnow", 0.5F)));
    assert_false(tandem_hash_equal(hash, hash_of_pair("white", "milk", 0.5F)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_example_a_positive),
        cmocka_unit_test(test_known_positives_are_no_negatives),
        cmocka_unit_test(test_groups_without_negatives_are_counted),
        cmocka_unit_test(test_missing_score_is_named),
        cmocka_unit_test(test_labels_must_suit_the_loss),
        cmocka_unit_test(test_offsets_need_scores),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_drawn_for_an_epoch),
        cmocka_unit_test(test_an_epoch_has_every_example_once),
        cmocka_unit_test(test_no_duplicates),
        cmocka_unit_test(test_proportional_has_every_row_once),
        cmocka_unit_test(test_round_robin_ends_with_the_smallest),
        cmocka_unit_test(test_weighted_draws_by_weight),
        cmocka_unit_test(test_steps_follow_from_seed_and_epoch),
        cmocka_unit_test(test_one_source_is_its_epoch),
        cmocka_unit_test(test_known_of_a_step),
        cmocka_unit_test(test_classes_of_a_step),
        cmocka_unit_test(test_drawn_negatives),
        cmocka_unit_test(test_hash_sees_texts_and_scores),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
