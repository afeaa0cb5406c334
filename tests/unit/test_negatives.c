/* Hard negatives: every rule on corpora whose scores are given. Several cases are the
 * bugs that sentence-transformers' mine_hard_negatives had (issues 2818, 3504, 3819,
 * 3872, 3873), or that its code still has: a document equal to the query, ranks that
 * count only what survived. */
#include <cjson/cJSON.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tandem/negatives.h"

/* ---- a world of one dimension: the query is 1, a document is its score ------------- */
enum { MOST = 64, DEEP = 50 };

typedef struct {
    tandem_text documents[MOST], queries[MOST];
    char names[2 * MOST][24];
    tandem_dataset dataset;
    tandem_split_query split_queries[MOST];
    tandem_split split;
    float scores[MOST], ones[MOST];
} world;

static tandem_text text_of(const char *id, const char *text)
{
    return (tandem_text){id, text, strlen(text)};
}

/* Documents d0, d1 ... with texts of their own and the given scores; queries q0 ... */
static void make_world(world *w, const float *scores, size_t documents, size_t queries)
{
    memset(w, 0, sizeof *w);
    for (size_t d = 0; d < documents; d++) {
        snprintf(w->names[d], sizeof w->names[d], "d%zu", d);
        w->documents[d] = text_of(w->names[d], w->names[d]);
        w->scores[d] = scores[d];
    }
    for (size_t q = 0; q < queries; q++) {
        char *name = w->names[MOST + q];
        snprintf(name, sizeof w->names[0], "q%zu", q);
        w->queries[q] = text_of(name, name);
        w->ones[q] = 1;
        w->split_queries[q].query = (uint32_t)q;
    }
    w->dataset.path = w->names[0];
    w->dataset.corpus = (tandem_texts){w->documents, documents, NULL};
    w->dataset.queries = (tandem_texts){w->queries, queries, NULL};
    w->split.queries = w->split_queries;
    w->split.count = queries;
}

static void judge(world *w, size_t query, const uint32_t *positives, size_t count)
{
    w->split_queries[query].documents = positives;
    w->split_queries[query].count = count;
    w->split.pairs += count;
}

static tandem_mining_options options_of(size_t low, size_t high, size_t negatives)
{
    tandem_mining_options options = TANDEM_MINING_OPTIONS_INIT;
    options.range_low = low;
    options.range_high = high;
    options.relative_margin = NAN;
    options.negatives = negatives;
    return options;
}

static int mine_sources(tandem_groups **groups, tandem_mining_statistics *statistics, const world *w,
                        const tandem_mining_source *sources, size_t count, tandem_mining_options options)
{
    const tandem_mining mining = {
        .dataset = &w->dataset, .split = &w->split, .sources = sources, .source_count = count, .options = options};
    return tandem_mine_negatives(groups, statistics, &mining);
}

static int mine(tandem_groups **groups, tandem_mining_statistics *statistics, const world *w,
                tandem_mining_options options)
{
    const tandem_vectors queries = {.count = w->split.count, .dim = 1, .data = (float *)w->ones};
    const tandem_vectors documents = {.count = w->dataset.corpus.count, .dim = 1, .data = (float *)w->scores};
    const tandem_mining_source source = {.queries = {&queries, 1}, .documents = {&documents, 1}};
    return mine_sources(groups, statistics, w, &source, 1, options);
}

/* "d3 d1": ids of the negatives of a group. */
static void ids_of(char *out, size_t room, const tandem_group *group)
{
    *out = '\0';
    for (size_t i = 0; i < group->negative_count; i++) {
        size_t used = strlen(out);
        snprintf(out + used, room - used, "%s%s", i ? " " : "", group->negatives[i].id);
    }
}

static void expect_negatives(const tandem_groups *groups, size_t group, const char *expected)
{
    char ids[512];
    ids_of(ids, sizeof ids, &groups->items[group]);
    assert_string_equal(ids, expected);
}

/* Mines, and gives a query's negatives. */
static void mined_ids(char *out, size_t room, const world *w, tandem_mining_options options, size_t group)
{
    tandem_groups *groups;
    tandem_mining_statistics statistics;
    assert_int_equal(mine(&groups, &statistics, w, options), 0);
    ids_of(out, room, &groups->items[group]);
    tandem_groups_free(groups);
}

/* Mines and compares the first query's negatives. */
static tandem_mining_statistics expect_mined(const world *w, tandem_mining_options options, const char *expected)
{
    tandem_groups *groups;
    tandem_mining_statistics statistics;
    assert_int_equal(mine(&groups, &statistics, w, options), 0);
    expect_negatives(groups, 0, expected);
    tandem_groups_free(groups);
    return statistics;
}

static const float descending[] = {0.9f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f, 0.3f, 0.2f};

/* ---- rules ------------------------------------------------------------------------- */
static void test_all_positives_excluded(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {5, 0, 2};
    make_world(&w, descending, 8, 1);
    judge(&w, 0, positives, 3);
    tandem_mining_statistics s = expect_mined(&w, options_of(0, 8, 8), "d1 d3 d4 d6 d7");
    assert_int_equal(s.candidates, 8);
    assert_int_equal(s.removed_positive, 3);
    assert_int_equal(s.mined, 5);
    assert_int_equal(s.queries_short, 1);
    assert_int_equal(s.queries_empty, 0);
    assert_int_equal(s.pairs, 3);
}

/* Another query's positive is no positive of this one. */
static void test_positives_are_per_query(void **state)
{
    (void)state;
    world w;
    const uint32_t first[] = {0}, second[] = {1};
    tandem_groups *groups;
    tandem_mining_statistics statistics;
    make_world(&w, descending, 3, 2);
    judge(&w, 0, first, 1);
    judge(&w, 1, second, 1);
    assert_int_equal(mine(&groups, &statistics, &w, options_of(0, 3, 2)), 0);
    expect_negatives(groups, 0, "d1 d2");
    expect_negatives(groups, 1, "d0 d2");
    assert_string_equal(groups->items[1].query_id, "q1");
    assert_string_equal(groups->items[1].positives[0].id, "d1");
    assert_true(groups->items[1].positives[0].score == descending[1]);
    assert_true(groups->items[1].negatives[1].score == descending[2]);
    tandem_groups_free(groups);
}

/* But that of a query with the same text is (sentence-transformers 2818). */
static void test_repeated_query(void **state)
{
    (void)state;
    world w;
    const uint32_t first[] = {0}, second[] = {1}, third[] = {2};
    tandem_groups *groups;
    tandem_mining_statistics statistics;
    make_world(&w, descending, 4, 3);
    judge(&w, 0, first, 1);
    judge(&w, 1, second, 1);
    judge(&w, 2, third, 1);
    w.queries[2] = text_of("q2", w.queries[0].text);
    assert_int_equal(mine(&groups, &statistics, &w, options_of(0, 4, 3)), 0);
    expect_negatives(groups, 0, "d1 d3");
    expect_negatives(groups, 1, "d0 d2 d3");
    expect_negatives(groups, 2, "d1 d3");
    assert_int_equal(groups->items[0].positive_count, 1);
    tandem_groups_free(groups);
}

static void test_identical_texts(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {1};
    make_world(&w, descending, 8, 1);
    w.queries[0] = text_of("q0", "same question");
    w.documents[0] = text_of("d0", "same question"); /* as the query */
    w.documents[1] = text_of("d1", "answer");
    w.documents[3] = text_of("d3", "answer"); /* as the positive */
    w.documents[5] = text_of("d5", "d4");     /* as a better-ranked candidate */
    judge(&w, 0, positives, 1);
    tandem_mining_statistics s = expect_mined(&w, options_of(0, 8, 8), "d2 d4 d6 d7");
    assert_int_equal(s.removed_positive, 1);
    assert_int_equal(s.removed_identical, 3);
}

/* Low and high are ranks of the search, whatever is removed between them. */
static void test_raw_ranks(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {0, 1, 4};
    make_world(&w, descending, 8, 1);
    judge(&w, 0, positives, 3);
    tandem_mining_statistics s = expect_mined(&w, options_of(2, 6, 4), "d2 d3 d5");
    assert_int_equal(s.candidates, 4);
    assert_int_equal(s.removed_positive, 1);
    expect_mined(&w, options_of(2, 6, 2), "d2 d3");
    s = expect_mined(&w, options_of(20, 30, 2), ""); /* past the end */
    assert_int_equal(s.candidates, 0);
    assert_int_equal(s.queries_empty, 1);
}

static void test_range_beyond_corpus(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {0};
    make_world(&w, descending, 3, 1);
    judge(&w, 0, positives, 1);
    expect_mined(&w, options_of(0, 1000, 1000), "d1 d2");
}

/* Equal scores rank by id, descending. */
static void test_ties(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {0};
    const float equal[] = {1, 0.5f, 0.5f, 0.5f};
    make_world(&w, equal, 4, 1);
    judge(&w, 0, positives, 1);
    expect_mined(&w, options_of(0, 4, 2), "d3 d2");
}

/* ---- margins -------------------------------------------------------------------------- */
/* Numbers that float holds exactly: at the limit itself a candidate stays. */
static void test_absolute_margin(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {0};
    const float scores[] = {0.75f, 1, 0.625f, 0.5f, 0.25f};
    make_world(&w, scores, 5, 1);
    judge(&w, 0, positives, 1);
    tandem_mining_options options = options_of(0, 5, 4);
    options.absolute_margin = 0.25;
    tandem_mining_statistics s = expect_mined(&w, options, "d3 d4");
    assert_int_equal(s.removed_margin, 2);
    options.absolute_margin = 0;
    expect_mined(&w, options, "d2 d3 d4");
}

/* The lowest positive decides. */
static void test_margin_of_many_positives(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {0, 2};
    make_world(&w, descending, 6, 1); /* positives 0.9 and 0.7 */
    judge(&w, 0, positives, 2);
    tandem_mining_options options = options_of(0, 6, 4);
    options.relative_margin = 0.2; /* above 0.56 goes */
    expect_mined(&w, options, "d4 d5");
}

/* sentence-transformers 3819: below zero the margin must still ask for less, so that
 * of -0.49 and -0.80 under a positive of -0.50 only the far one may stay. */
static void test_margin_below_zero(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {0};
    const float scores[] = {-0.50f, -0.49f, -0.80f};
    make_world(&w, scores, 3, 1);
    judge(&w, 0, positives, 1);
    tandem_mining_options options = options_of(0, 3, 2);
    options.relative_margin = 0.05;
    tandem_mining_statistics s = expect_mined(&w, options, "d2");
    assert_int_equal(s.removed_margin, 1);
}

/* With both margins the stricter holds; the default is the relative one of 5 %. */
static void test_both_margins(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {0};
    const float scores[] = {1, 0.96f, 0.9f, 0.8f};
    make_world(&w, scores, 4, 1);
    judge(&w, 0, positives, 1);
    tandem_mining_options options = TANDEM_MINING_OPTIONS_INIT;
    expect_mined(&w, options, "d2 d3");
    options.absolute_margin = 0.15;
    expect_mined(&w, options, "d3");
}

/* ---- sampling ----------------------------------------------------------------------- */
static char *sampled_ids(char *out, size_t room, const world *w, tandem_mining_options options, const char *query_id)
{
    tandem_groups *groups;
    tandem_mining_statistics statistics;
    assert_int_equal(mine(&groups, &statistics, w, options), 0);
    out[0] = 0;
    for (size_t g = 0; g < groups->count; g++) {
        if (strcmp(groups->items[g].query_id, query_id) == 0) {
            for (size_t i = 0; i < groups->items[g].negative_count; i++) {
                const tandem_passage *p = groups->items[g].negatives;
                assert_true(i == 0 || p[i - 1].score >= p[i].score); /* hardest first */
                size_t used = strlen(out);
                snprintf(out + used, room - used, "%s ", p[i].id);
            }
        }
    }
    tandem_groups_free(groups);
    return out;
}

static void test_random_sampling(void **state)
{
    (void)state;
    world w;
    float scores[MOST];
    const uint32_t positives[] = {0};
    char a[256], b[256], other[256];
    for (size_t d = 0; d < MOST; d++) {
        scores[d] = 1 - (float)d / MOST;
    }
    make_world(&w, scores, MOST, 2);
    judge(&w, 0, positives, 1);
    judge(&w, 1, positives, 1);
    tandem_mining_options options = options_of(0, DEEP, 5);
    options.sampling = TANDEM_SAMPLE_RANDOM;
    sampled_ids(a, sizeof a, &w, options, "q0");
    assert_string_equal(a, sampled_ids(b, sizeof b, &w, options, "q0")); /* the seed's */
    sampled_ids(other, sizeof other, &w, options, "q1");
    assert_string_not_equal(a, other); /* a stream for each query */
    w.split_queries[0].query = 1; /* the order of queries does not matter */
    w.split_queries[1].query = 0;
    assert_string_equal(a, sampled_ids(b, sizeof b, &w, options, "q0"));
    assert_string_equal(other, sampled_ids(b, sizeof b, &w, options, "q1"));
    options.seed++;
    assert_string_not_equal(a, sampled_ids(b, sizeof b, &w, options, "q0"));
}

/* Every survivor is drawn about equally often. */
static void test_random_is_uniform(void **state)
{
    (void)state;
    enum { ROUNDS = 2000, LEFT = 7, WANTED = 3 };
    world w;
    const uint32_t positives[] = {0};
    size_t drawn[LEFT + 1] = {0};
    make_world(&w, descending, LEFT + 1, 1);
    judge(&w, 0, positives, 1);
    tandem_mining_options options = options_of(0, LEFT + 1, WANTED);
    options.sampling = TANDEM_SAMPLE_RANDOM;
    for (options.seed = 0; options.seed < ROUNDS; options.seed++) {
        tandem_groups *groups;
        tandem_mining_statistics statistics;
        assert_int_equal(mine(&groups, &statistics, &w, options), 0);
        for (size_t i = 0; i < WANTED; i++) {
            drawn[atoi(groups->items[0].negatives[i].id + 1)]++;
        }
        tandem_groups_free(groups);
    }
    assert_int_equal(drawn[0], 0);
    for (size_t d = 1; d <= LEFT; d++) { /* binomial, p = 3 / 7: 22 a deviation; five of them */
        assert_in_range(drawn[d], ROUNDS * WANTED / LEFT - 110, ROUNDS * WANTED / LEFT + 110);
    }
}

/* ---- scores, near-duplicates --------------------------------------------------------- */
static void test_score_limits(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {0};
    make_world(&w, descending, 8, 1);
    judge(&w, 0, positives, 1);
    tandem_mining_options options = options_of(0, 8, 8);
    options.max_score = 0.65;
    options.min_score = 0.35;
    tandem_mining_statistics s = expect_mined(&w, options, "d3 d4 d5");
    assert_int_equal(s.removed_max_score, 2);
    assert_int_equal(s.removed_min_score, 2);
    options.min_score = 0.7;
    tandem_groups *groups;
    assert_int_equal(mine(&groups, &s, &w, options), TANDEM_USAGE);
}

/* Of the words a to f, three successive ones: abc bcd cde def. */
static void test_near_duplicates(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {0};
    make_world(&w, descending, 6, 1);
    w.documents[0] = text_of("d0", "alpha bravo charlie delta echo foxtrot");
    w.documents[1] = text_of("d1", "Alpha, bravo: charlie delta ECHO foxtrot!");     /* the same words: 1 */
    w.documents[2] = text_of("d2", "alpha bravo charlie delta echo foxtrot golf");   /* 4 of 5 */
    w.documents[3] = text_of("d3", "golf alpha bravo charlie delta hotel");          /* 2 of 6 */
    w.documents[4] = text_of("d4", "foxtrot echo delta charlie bravo alpha");        /* none */
    w.documents[5] = text_of("d5", "alpha bravo");                                    /* none: a shingle of its own */
    judge(&w, 0, positives, 1);
    tandem_mining_options options = options_of(0, 6, 6);
    options.near_duplicate = 0.8;
    tandem_mining_statistics s = expect_mined(&w, options, "d3 d4 d5");
    assert_int_equal(s.removed_near_duplicate, 2);
    options.near_duplicate = 0.81;
    expect_mined(&w, options, "d2 d3 d4 d5");
    options.near_duplicate = 1.0 / 3;
    expect_mined(&w, options, "d4 d5");
}

/* In two dimensions: the cosine of (1, 0) and (0.6, 0.8) is 0.6, whatever their lengths. */
static void test_similar_positives(void **state)
{
    (void)state;
    world w;
    float rows[] = {1, 0, 3, 4, 0, 1, 2, 0.5f}, query[] = {1, 1};
    const uint32_t positives[] = {0};
    const tandem_vectors queries = {.count = 1, .dim = 2, .data = query};
    const tandem_vectors documents = {.count = 4, .dim = 2, .data = rows};
    const tandem_mining_source source = {.queries = {&queries, 1}, .documents = {&documents, 1}};
    tandem_groups *groups;
    tandem_mining_statistics s;
    make_world(&w, descending, 4, 1);
    judge(&w, 0, positives, 1);
    tandem_mining_options options = options_of(0, 4, 4);
    options.similar_positive = 0.7;
    assert_int_equal(mine_sources(&groups, &s, &w, &source, 1, options), 0);
    expect_negatives(groups, 0, "d1 d2"); /* d3's cosine is 0.97 */
    assert_int_equal(s.removed_similar, 1);
    tandem_groups_free(groups);
    options.similar_positive = 0.5;
    assert_int_equal(mine_sources(&groups, &s, &w, &source, 1, options), 0);
    expect_negatives(groups, 0, "d2");
    tandem_groups_free(groups);
}

/* ---- shortage ------------------------------------------------------------------------- */
static void test_shortage(void **state)
{
    (void)state;
    world w;
    tandem_groups *groups;
    tandem_mining_statistics s;
    const uint32_t first[] = {0}, second[] = {7};
    make_world(&w, descending, 8, 2);
    judge(&w, 0, first, 1);
    judge(&w, 1, second, 1);
    tandem_mining_options options = options_of(0, 4, 4); /* d0 is one of the four */
    assert_int_equal(mine(&groups, &s, &w, options), 0);
    expect_negatives(groups, 0, "d1 d2 d3");
    assert_int_equal(s.queries_short, 1);
    assert_int_equal(s.queries_dropped + s.filled, 0);
    tandem_groups_free(groups);

    options.shortage = TANDEM_SHORTAGE_DROP;
    assert_int_equal(mine(&groups, &s, &w, options), 0);
    assert_int_equal(groups->count, 1);
    assert_string_equal(groups->items[0].query_id, "q1");
    expect_negatives(groups, 0, "d0 d1 d2 d3");
    assert_int_equal(s.queries_dropped, 1);
    assert_int_equal(s.mined, 4);
    tandem_groups_free(groups);

    options.absolute_margin = 1; /* nothing scores low enough */
    assert_int_equal(mine(&groups, &s, &w, options), TANDEM_ERROR);
    assert_null(groups);
    assert_non_null(strstr(tandem_error_message(), "every query was dropped"));
}

/* Random documents are none that a rule removed or that was retrieved, and come with their score. */
static void test_fill(void **state)
{
    (void)state;
    world w;
    char ids[512], again[512];
    const uint32_t positives[] = {0, 50};
    float scores[MOST];
    for (size_t d = 0; d < MOST; d++) {
        scores[d] = 1 - (float)d / MOST;
    }
    make_world(&w, scores, MOST, 2);
    judge(&w, 0, positives, 2);
    judge(&w, 1, positives, 1);
    for (size_t d = 10; d < 40; d++) {
        w.documents[d] = text_of(w.names[d], w.documents[50].text); /* copies of a positive */
    }
    tandem_mining_options options = options_of(2, 5, 3);
    options.shortage = TANDEM_SHORTAGE_FILL;
    options.relative_margin = 0.9; /* all three go, of the first query */
    for (options.seed = 0; options.seed < 50; options.seed++) {
        tandem_groups *groups;
        tandem_mining_statistics s;
        assert_int_equal(mine(&groups, &s, &w, options), 0);
        assert_int_equal(groups->items[0].negative_count, 3);
        assert_int_equal(s.filled, 6);
        assert_int_equal(s.queries_empty, 2);
        for (size_t i = 0; i < 3; i++) {
            int d = atoi(groups->items[0].negatives[i].id + 1);
            assert_true((d >= 5 && d < 10) || (d >= 40 && d != 50));
            assert_true(groups->items[0].negatives[i].score == scores[d]);
            for (size_t j = 0; j < i; j++) {
                assert_string_not_equal(groups->items[0].negatives[j].id, groups->items[0].negatives[i].id);
            }
        }
        tandem_groups_free(groups);
    }
    mined_ids(ids, sizeof ids, &w, options, 0);
    w.split_queries[0] = (tandem_split_query){.query = 1, .documents = positives, .count = 1};
    w.split_queries[1] = (tandem_split_query){.query = 0, .documents = positives, .count = 2};
    options.block = 1;
    mined_ids(again, sizeof again, &w, options, 1); /* in another order, and one at a time */
    assert_string_equal(ids, again);
}

/* A corpus with nothing to draw gives what it has, and comes to an end. */
static void test_fill_of_nothing(void **state)
{
    (void)state;
    world w;
    const uint32_t positives[] = {0};
    make_world(&w, descending, 3, 1);
    judge(&w, 0, positives, 1);
    tandem_mining_options options = options_of(0, 10, 5);
    options.shortage = TANDEM_SHORTAGE_FILL;
    tandem_mining_statistics s = expect_mined(&w, options, "d1 d2");
    assert_int_equal(s.filled, 0);
}

/* ---- several sources, shards, blocks --------------------------------------------------- */
/* Ranks of the first: d0 d1 d2 d3 d4 d5, of the second: d5 d4 d0 d2 d3 d1. */
static void test_two_sources(void **state)
{
    (void)state;
    world w;
    float other[] = {0.5f, 0.1f, 0.4f, 0.3f, 0.6f, 0.9f}, ones[] = {1};
    const uint32_t positives[] = {0};
    make_world(&w, descending, 6, 1);
    judge(&w, 0, positives, 1);
    const tandem_vectors queries = {.count = 1, .dim = 1, .data = ones};
    const tandem_vectors first = {.count = 6, .dim = 1, .data = w.scores};
    const tandem_vectors second = {.count = 6, .dim = 1, .data = other};
    const tandem_mining_source sources[] = {{.queries = {&queries, 1}, .documents = {&first, 1}},
                                            {.queries = {&queries, 1}, .documents = {&second, 1}}};
    tandem_groups *groups;
    tandem_mining_statistics s;
    tandem_mining_options options = options_of(0, 6, 6);
    assert_int_equal(mine_sources(&groups, &s, &w, sources, 2, options), 0);
    /* d5: 1/66 + 1/61 = 0.03155, d4: 1/65 + 1/62 = 0.03151, d2: 1/63 + 1/64 = 0.03150, d1: 1/62 + 1/66 = 0.03128,
     * d3: 1/64 + 1/65 = 0.03101 */
    expect_negatives(groups, 0, "d5 d4 d2 d1 d3");
    assert_true(groups->items[0].negatives[0].score == descending[5]); /* the first source's */
    tandem_groups_free(groups);

    options = options_of(0, 2, 2); /* d0 d1 of the first, d5 d4 of the second */
    assert_int_equal(mine_sources(&groups, &s, &w, sources, 2, options), 0);
    expect_negatives(groups, 0, "d5 d4"); /* d4 and d1 are equal, and the higher id goes first */
    assert_true(groups->items[0].negatives[1].score == descending[4]); /* though the first has not listed it */
    assert_int_equal(s.candidates, 4);
    tandem_groups_free(groups);

    options = options_of(1, 2, 1); /* only those whose best rank is 1 */
    assert_int_equal(mine_sources(&groups, &s, &w, sources, 2, options), 0);
    expect_negatives(groups, 0, "d4");
    assert_int_equal(s.candidates, 2);
    tandem_groups_free(groups);

    options = options_of(1, 3, 2); /* the fused order of both sources' first three: d0, d5, d4 d1, d2 */
    options.rank = TANDEM_RANK_FUSED;
    assert_int_equal(mine_sources(&groups, &s, &w, sources, 2, options), 0);
    expect_negatives(groups, 0, "d5 d4");
    assert_int_equal(s.candidates, 2);
    tandem_groups_free(groups);
}

/* Rows of 2 dimensions, cut into shards of `rows`; items has room. */
static tandem_shards shards_of(tandem_vectors *items, float *data, size_t count, size_t rows)
{
    size_t shards = 0;
    for (size_t start = 0; start < count; start += rows) {
        size_t part = count - start < rows ? count - start : rows;
        items[shards++] = (tandem_vectors){.count = part, .dim = 2, .data = data + 2 * start};
    }
    return (tandem_shards){items, shards};
}

/* One matrix or many, all queries at a time or a few: the same groups, and ties by id. */
static void test_shards_and_blocks(void **state)
{
    (void)state;
    enum { DOCUMENTS = 40, QUERIES = 11 };
    world w;
    float rows[2 * DOCUMENTS] = {0}, asked[2 * QUERIES];
    const uint32_t positives[] = {3};
    tandem_vectors items[2 * MOST];
    char expected[QUERIES][256];
    make_world(&w, rows, DOCUMENTS, QUERIES);
    for (size_t d = 0; d < DOCUMENTS; d++) {
        rows[2 * d] = (float)(d * 7 % 13);
        rows[2 * d + 1] = (float)(d * 5 % 11);
    }
    for (size_t q = 0; q < QUERIES; q++) {
        asked[2 * q] = (float)(q % 3) - 1;
        asked[2 * q + 1] = (float)(q % 4) - 2;
        judge(&w, q, positives, 1);
    }
    const struct {
        size_t documents, queries, block;
    } cuts[] = {{DOCUMENTS, QUERIES, 0}, {7, QUERIES, 0}, {1, 4, 3}, {20, 1, 5}, {39, 2, 1}};
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        const tandem_mining_source source = {.queries = shards_of(items + MOST, asked, QUERIES, cuts[c].queries),
                                             .documents = shards_of(items, rows, DOCUMENTS, cuts[c].documents)};
        tandem_mining_options options = options_of(1, 9, 6);
        options.block = cuts[c].block;
        tandem_groups *groups;
        tandem_mining_statistics s;
        assert_int_equal(mine_sources(&groups, &s, &w, &source, 1, options), 0);
        assert_int_equal(groups->count, QUERIES);
        for (size_t q = 0; q < QUERIES; q++) {
            if (c == 0) {
                ids_of(expected[q], sizeof expected[q], &groups->items[q]);
            }
            expect_negatives(groups, q, expected[q]);
        }
        tandem_groups_free(groups);
    }
}

/* ---- BM25, statistics, options ------------------------------------------------------- */
static void test_bm25_source(void **state)
{
    (void)state;
    world w;
    tandem_bm25 *index;
    tandem_groups *groups;
    tandem_mining_statistics statistics;
    const uint32_t positives[] = {1};
    make_world(&w, descending, 4, 1);
    w.queries[0] = text_of("q0", "red fish");
    w.documents[0] = text_of("d0", "a blue whale");
    w.documents[1] = text_of("d1", "fish that are red, red fish");
    w.documents[2] = text_of("d2", "fish");
    w.documents[3] = text_of("d3", "The red of a red fish");
    judge(&w, 0, positives, 1);
    assert_int_equal(tandem_bm25_new(&index, w.documents, 4, (tandem_bm25_options)TANDEM_BM25_OPTIONS_INIT, false), 0);
    const tandem_mining_source source = {.bm25 = index};
    assert_int_equal(mine_sources(&groups, &statistics, &w, &source, 1, options_of(0, 4, 4)), 0);
    expect_negatives(groups, 0, "d3 d2"); /* d0 shares no word */
    float score;
    assert_int_equal(tandem_bm25_score(&score, index, &w.queries[0], 1), 0);
    assert_true(groups->items[0].positives[0].score == score);
    tandem_groups_free(groups);
    tandem_bm25_free(index);
}

/* Quantiles as numpy gives them. */
static void test_statistics(void **state)
{
    (void)state;
    world w;
    const float scores[] = {1, 0.75f, 0.5f, 0.25f, 0};
    const uint32_t positives[] = {0};
    make_world(&w, scores, 5, 1);
    judge(&w, 0, positives, 1);
    tandem_mining_statistics s = expect_mined(&w, options_of(0, 5, 4), "d1 d2 d3 d4");
    /* numpy.quantile([0, .25, .5, .75], [.05, .25, .5, .75, .95]) */
    const double negative[] = {0.0375, 0.1875, 0.375, 0.5625, 0.7125};
    for (size_t i = 0; i < 5; i++) {
        assert_float_equal(s.negative_score[i], negative[i], 1e-12); /* a few roundings of a double */
        assert_float_equal(s.margin[4 - i], 1 - negative[i], 1e-12);
        assert_true(s.positive_score[i] == 1);
    }
    cJSON *json;
    assert_int_equal(tandem_mining_report_json(&json, &s), 0);
    assert_int_equal(cJSON_GetObjectItem(json, "mined")->valueint, 4);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "margin")), 5);
    cJSON_Delete(json);
    tandem_buffer text = TANDEM_BUFFER_INIT;
    assert_int_equal(tandem_mining_report(&text, &s), 0);
    assert_non_null(strstr(text.data, "mined 4 negatives for 1 queries"));
    tandem_buffer_free(&text);
}

/* A query without a negative keeps its group, and the quantiles of nothing are null. */
static void test_nothing_left(void **state)
{
    (void)state;
    world w;
    tandem_groups *groups;
    tandem_mining_statistics s;
    const uint32_t positives[] = {0};
    make_world(&w, descending, 1, 1);
    judge(&w, 0, positives, 1);
    assert_int_equal(mine(&groups, &s, &w, options_of(0, 10, 4)), 0);
    assert_int_equal(groups->count, 1);
    assert_int_equal(groups->items[0].positive_count, 1);
    assert_int_equal(groups->items[0].negative_count, 0);
    assert_int_equal(s.queries_empty, 1);
    assert_true(isnan(s.negative_score[2]));
    cJSON *json;
    assert_int_equal(tandem_mining_report_json(&json, &s), 0);
    char *text = cJSON_PrintUnformatted(json);
    assert_non_null(strstr(text, "\"margin\":[null,null,null,null,null]"));
    cJSON_free(text);
    cJSON_Delete(json);
    tandem_groups_free(groups);
}

static void test_bad_options(void **state)
{
    (void)state;
    world w;
    tandem_groups *groups;
    tandem_mining_statistics s;
    const uint32_t positives[] = {0};
    make_world(&w, descending, 3, 1);
    judge(&w, 0, positives, 1);
    assert_int_equal(mine(&groups, &s, &w, options_of(5, 5, 1)), TANDEM_USAGE);
    assert_int_equal(mine(&groups, &s, &w, options_of(0, 5, 0)), TANDEM_USAGE);
    assert_int_equal(mine(&groups, &s, &w, options_of(2, 5, 4)), TANDEM_USAGE);
    assert_non_null(strstr(tandem_error_message(), "4 negatives are wanted from 3 ranks"));
    tandem_mining_options options = options_of(0, 5, 1);
    options.absolute_margin = INFINITY;
    assert_int_equal(mine(&groups, &s, &w, options), TANDEM_USAGE);
    w.split.count = 0;
    assert_int_equal(mine(&groups, &s, &w, options_of(0, 5, 1)), TANDEM_ERROR);
    assert_null(groups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_positives_excluded),
        cmocka_unit_test(test_positives_are_per_query),
        cmocka_unit_test(test_repeated_query),
        cmocka_unit_test(test_identical_texts),
        cmocka_unit_test(test_raw_ranks),
        cmocka_unit_test(test_range_beyond_corpus),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_absolute_margin),
        cmocka_unit_test(test_margin_of_many_positives),
        cmocka_unit_test(test_margin_below_zero),
        cmocka_unit_test(test_both_margins),
        cmocka_unit_test(test_random_sampling),
        cmocka_unit_test(test_random_is_uniform),
        cmocka_unit_test(test_score_limits),
        cmocka_unit_test(test_near_duplicates),
        cmocka_unit_test(test_similar_positives),
        cmocka_unit_test(test_shortage),
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_fill_of_nothing),
        cmocka_unit_test(test_two_sources),
        cmocka_unit_test(test_shards_and_blocks),
        cmocka_unit_test(test_bm25_source),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_nothing_left),
        cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
