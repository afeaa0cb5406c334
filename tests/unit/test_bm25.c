/* BM25: analysis, stems, scores worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mining/analyzer.h"
#include "mining/porter.h"
#include "tandem/bm25.h"
#include "tandem/memory.h"

/* ---- analysis --------------------------------------------------------------------- */
/* The examples of Porter's paper, through all steps: the outputs are those of the
 * vocabulary that he published with his program. */
static void test_stems(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"caresses", "caress"}, {"ponies", "poni"}, {"ties", "ti"}, {"caress", "caress"}, {"cats", "cat"},
        {"feed", "feed"}, {"agreed", "agre"}, {"plastered", "plaster"}, {"bled", "bled"}, {"motoring", "motor"},
        {"sing", "sing"}, {"conflated", "conflat"}, {"troubled", "troubl"}, {"sized", "size"}, {"hopping", "hop"},
        {"tanned", "tan"}, {"falling", "fall"}, {"hissing", "hiss"}, {"fizzed", "fizz"}, {"failing", "fail"},
        {"filing", "file"}, {"happy", "happi"}, {"sky", "sky"}, {"relational", "relat"}, {"conditional", "condit"},
        {"rational", "ration"}, {"valenci", "valenc"}, {"hesitanci", "hesit"}, {"digitizer", "digit"},
        {"conformabli", "conform"}, {"radicalli", "radic"}, {"differentli", "differ"}, {"vileli", "vile"},
        {"analogousli", "analog"}, {"vietnamization", "vietnam"}, {"predication", "predic"}, {"operator", "oper"},
        {"feudalism", "feudal"}, {"decisiveness", "decis"}, {"hopefulness", "hope"}, {"callousness", "callous"},
        {"formaliti", "formal"}, {"sensitiviti", "sensit"}, {"sensibiliti", "sensibl"}, {"triplicate", "triplic"},
        {"formative", "form"}, {"formalize", "formal"}, {"electriciti", "electr"}, {"electrical", "electr"},
        {"hopeful", "hope"}, {"goodness", "good"}, {"revival", "reviv"}, {"allowance", "allow"},
        {"inference", "infer"}, {"airliner", "airlin"}, {"gyroscopic", "gyroscop"}, {"adjustable", "adjust"},
        {"defensible", "defens"}, {"irritant", "irrit"}, {"replacement", "replac"}, {"adjustment", "adjust"},
        {"dependent", "depend"}, {"adoption", "adopt"}, {"homologou", "homolog"}, {"communism", "commun"},
        {"activate", "activ"}, {"angulariti", "angular"}, {"homologous", "homolog"}, {"effective", "effect"},
        {"bowdlerize", "bowdler"}, {"probate", "probat"}, {"rate", "rate"}, {"cease", "ceas"},
        {"controll", "control"}, {"roll", "roll"}, {"generalizations", "gener"}, {"oscillators", "oscil"},
        {"is", "is"}, {"by", "by"}, {"archaeology", "archaeolog"}, {"possibly", "possibl"}, {"dying", "dy"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char word[32];
        snprintf(word, sizeof word, "%s", pairs[i][0]);
        word[tandem_porter_stem(word, strlen(word))] = 0;
        assert_string_equal(word, pairs[i][1]);
    }
}

/* Words of `text`, or its terms, between bars. */
static void expect_words(const char *text, bool terms, const char *expected)
{
    tandem_words words = tandem_words_of(text, strlen(text));
    tandem_buffer all = TANDEM_BUFFER_INIT;
    while (tandem_words_next(&words) > 0) {
        size_t length = words.word.length;
        length = terms ? tandem_word_to_term(words.word.data, length, TANDEM_ANALYZER_ENGLISH) : length;
        if (length > 0) {
            assert_int_equal(tandem_buffer_append(&all, words.word.data, length), 0);
            assert_int_equal(tandem_buffer_puts(&all, "|"), 0);
        }
    }
    assert_string_equal(all.data ? all.data : "", expected);
    tandem_buffer_free(&all);
    tandem_buffer_free(&words.word);
}

static void test_words(void **state)
{
    (void)state;
    expect_words("", false, "");
    expect_words(" ,;-- ", false, "");
    expect_words("Alpha-Beta (gamma)", false, "alpha|beta|gamma|");
    expect_words("IL2 B12", false, "il2|b12|");
    expect_words("O'Neil's U.S. e.g.", false, "o'neil's|u.s|e.g|");
    expect_words("3.14 1,000 3.x 1,a it's,a", false, "3.14|1,000|3|x|1|a|it's|a|");
    expect_words("snake_case _x_", false, "snake_case|x|");
    expect_words("Stra\u00DFe \u00C9COLE \u0394\u03B9 \u041C\u0418\u0420", false,
                 "stra\u00DFe|\u00E9cole|\u03B4\u03B9|\u043C\u0438\u0440|");
    expect_words("\u0141\u00D3D\u0179 \u017B", false, "\u0142\u00F3d\u017A|\u017C|");
    expect_words("a\u2014b \u201Cc\u201D x\u00A0y", false, "a|b|c|x|y|");
    expect_words("\u4E2D\u6587ab\u3002\u304B", false, "\u4E2D|\u6587|ab|\u304B|");
    expect_words("a\xFF\xC3" "b \xE2\x80", false, "a|b|"); /* bytes that are no UTF-8 */
}

static void test_terms(void **state)
{
    (void)state;
    expect_words("The mice's running on it", true, "mice|run|");
    expect_words("Newton\u2019s laws are THEIRS", true, "newton|law|their|"); /* stops go before stems */
    expect_words("a an and are as at be but by for if in into is it no not of on or such that the their then there "
                 "these they this to was will with",
                 true, "");
    expect_words("an\u00E9s", true, "an\u00E9|");
}

/* A word of any length neither overflows nor takes quadratic time. */
static void test_long_word(void **state)
{
    (void)state;
    size_t length = 1 << 20;
    char *text = malloc(length);
    assert_non_null(text);
    memset(text, 'y', length);
    tandem_words words = tandem_words_of(text, length);
    assert_int_equal(tandem_words_next(&words), 1);
    assert_int_equal(words.word.length, length);
    assert_int_equal(tandem_word_to_term(words.word.data, length, TANDEM_ANALYZER_ENGLISH), length);
    assert_int_equal(tandem_words_next(&words), 0);
    tandem_buffer_free(&words.word);
    free(text);
}

/* ---- scores ------------------------------------------------------------------------- */
static tandem_text text_of(const char *id, const char *text)
{
    return (tandem_text){id, text, strlen(text)};
}

static tandem_bm25 *index_of(const tandem_text *documents, size_t count)
{
    tandem_bm25 *index;
    const tandem_bm25_options options = TANDEM_BM25_OPTIONS_INIT;
    assert_int_equal(tandem_bm25_new(&index, documents, count, options, false), 0);
    return index;
}

/* Documents of 3, 2, 1 and 0 terms: N 3, mean length 2. "cat" is in two of them: idf
 * ln(1 + 1.5 / 2.5). "dog" is in one: ln(1 + 2.5 / 1.5). */
static void test_by_hand(void **state)
{
    (void)state;
    const tandem_text documents[] = {
        text_of("a", "The cat sat on the mat."),
        text_of("b", "cats and cats"),
        text_of("c", "Dogs"),
        text_of("d", "the"),
    };
    tandem_bm25 *index = index_of(documents, 4);
    const tandem_text queries[] = {text_of("1", "cat"), text_of("2", "dog's cat, cat"), text_of("3", "zebra the")};
    double one = log(1.6) * 1 / (1 + 0.9 * (0.6 + 0.4 * 3 / 2));
    double two = log(1.6) * 2 / (2 + 0.9 * (0.6 + 0.4 * 2 / 2));
    double dog = log(1 + 2.5 / 1.5) * 1 / (1 + 0.9 * (0.6 + 0.4 * 1 / 2));
    const struct {
        size_t count;
        uint32_t documents[3];
        double scores[3];
    } expected[] = {
        {2, {1, 0}, {two, one}},
        {3, {2, 1, 0}, {dog, 2 * two, 2 * one}}, /* a word twice counts twice */
        {0, {0}, {0}},
    };
    assert_true(dog < 2 * two); /* so the order is by score: */
    tandem_hits hits;
    assert_int_equal(tandem_bm25_search(&hits, index, queries, 3, 10, NULL), 0);
    assert_int_equal(hits.k, 4);
    for (size_t q = 0; q < 3; q++) {
        assert_int_equal(hits.counts[q], expected[q].count);
        for (size_t i = 0; i < hits.counts[q]; i++) {
            uint32_t document = hits.documents[q * hits.k + i];
            double score = hits.scores[q * hits.k + i];
            float again;
            size_t at = 0;
            while (at < 3 && expected[q].documents[at] != document) {
                at++;
            }
            assert_true(at < expected[q].count);
            assert_true(i == 0 || score <= hits.scores[q * hits.k + i - 1]);
            assert_float_equal(score, expected[q].scores[at], 3e-7); /* five roundings of floats below 1 */
            assert_int_equal(tandem_bm25_score(&again, index, &queries[q], document), 0);
            assert_true((double)again == score);
        }
    }
    float none;
    assert_int_equal(tandem_bm25_score(&none, index, &queries[0], 2), 0);
    assert_true(none == 0);
    tandem_hits_free(&hits);
    tandem_bm25_free(index);
}

/* Documents with the same words tie, and the ranks decide at the k-th place. */
static void test_ties(void **state)
{
    (void)state;
    enum { COUNT = 50, K = 7 };
    tandem_text documents[COUNT];
    uint32_t ranks[COUNT];
    for (uint32_t d = 0; d < COUNT; d++) {
        documents[d] = text_of("x", d % 2 ? "red fish" : "Fishes, red");
        ranks[d] = (d * 7 + 3) % COUNT;
    }
    tandem_bm25 *index = index_of(documents, COUNT);
    const tandem_text query = text_of("q", "a red fish");
    tandem_hits hits;
    assert_int_equal(tandem_bm25_search(&hits, index, &query, 1, K, ranks), 0);
    assert_int_equal(hits.counts[0], K);
    for (uint32_t i = 0; i < K; i++) {
        assert_int_equal(ranks[hits.documents[i]], i);
    }
    tandem_hits_free(&hits);
    tandem_bm25_free(index);
}

static void test_edges(void **state)
{
    (void)state;
    const tandem_text nothing = text_of("a", ""), query = text_of("q", "word");
    tandem_bm25 *index = index_of(&nothing, 1); /* no term at all */
    tandem_hits hits;
    assert_int_equal(tandem_bm25_search(&hits, index, &query, 1, 5, NULL), 0);
    assert_int_equal(hits.counts[0], 0);
    tandem_hits_free(&hits);
    assert_int_equal(tandem_bm25_search(&hits, index, &query, 1, 0, NULL), TANDEM_USAGE);
    tandem_bm25_free(index);
    const tandem_bm25_options wrong[] = {{-1, 0.4, 0}, {NAN, 0.4, 0}, {0.9, 1.5, 0}, {0.9, NAN, 0}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(tandem_bm25_new(&index, &nothing, 1, wrong[i], false), TANDEM_USAGE);
        assert_null(index);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stems),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_terms),
        cmocka_unit_test(test_long_word),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
