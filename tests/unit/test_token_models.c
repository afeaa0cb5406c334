/* The models that cut words into tokens. Expected tokens are what Hugging Face tokenizers
 * 0.23.3 gives for the same models (Tokenizer.model.tokenize). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/bpe.h"
#include "data/token_trie.h"
#include "data/unigram.h"
#include "data/wordlevel.h"
#include "tandem/json.h"
#include "tandem/random.h"

static struct cJSON *parse(const char *text)
{
    struct cJSON *json;
    if (tandem_json_parse(&json, text, strlen(text), "t.json") < 0) {
        fail_msg("%s", tandem_error_message());
    }
    return json;
}

static void assert_message(int rc, const char *part)
{
    assert_int_equal(rc, TANDEM_ERROR);
    if (!strstr(tandem_error_message(), part)) {
        fail_msg("expected \"%s\" in: %s", part, tandem_error_message());
    }
}

/* Tokens as "id:begin:end id:begin:end". */
static const char *shown(const tandem_model_tokens *tokens)
{
    static char text[1024];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < tokens->count && at < sizeof text - 40; i++) {
        const tandem_model_token *t = &tokens->items[i];
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%u:%u:%u", i > 0 ? " " : "", t->id, t->begin, t->end);
    }
    return text;
}

/* ---- BPE ------------------------------------------------------------------------------- */
#define BPE(options, vocab, merges) "{\"type\":\"BPE\"," options "\"vocab\":{" vocab "},\"merges\":[" merges "]}"
#define LETTERS "\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\"bc\":5,\"<unk>\":6"
#define MERGES "\"b c\",\"a b\",\"a bc\""

static tandem_bpe *new_bpe(const char *text, bool byte_level)
{
    struct cJSON *json = parse(text);
    tandem_bpe *bpe;
    if (tandem_bpe_new(&bpe, json, byte_level, "t.json") < 0) {
        fail_msg("%s", tandem_error_message());
    }
    tandem_json_free(json);
    return bpe;
}

/* Each word twice: the second time from the cache. */
static void assert_bpe(const char *model, bool byte_level, const char *word, const char *expected)
{
    tandem_bpe *bpe = new_bpe(model, byte_level);
    tandem_bpe_scratch *scratch = tandem_bpe_scratch_new();
    tandem_model_tokens out = {0};
    for (int i = 0; i < 2; i++) {
        out.count = 0;
        assert_int_equal(tandem_bpe_word(bpe, scratch, word, strlen(word), &out), TANDEM_OK);
        assert_string_equal(shown(&out), expected);
    }
    free(out.items);
    tandem_bpe_scratch_free(scratch);
    tandem_bpe_free(bpe);
}

static void test_bpe_merges(void **state)
{
    (void)state;
    const char *model = BPE("", LETTERS, MERGES);
    assert_bpe(model, false, "abc", "4:0:3"); /* bc is learned before ab */
    assert_bpe(model, false, "abab", "3:0:2 3:2:4");
    assert_bpe(model, false, "", "");
    assert_bpe(BPE("", LETTERS, "[\"a\",\"b\"],[\"b\",\"c\"]"), false, "abc", "3:0:2 2:2:3");
    assert_bpe(BPE("", LETTERS, "\"#version: 0.2\",\"a b\""), false, "abc", "3:0:2 2:2:3");
    assert_bpe(BPE("", LETTERS, "\"b c\",\"a b\",\"b c\""), false, "abc", "3:0:2 2:2:3"); /* the last rank of a pair */
    assert_bpe(BPE("\"ignore_merges\":true,", LETTERS, ""), false, "abc", "4:0:3");
    assert_bpe(BPE("\"dropout\":0.0,\"ignore_merges\":null,", LETTERS, ""), false, "ab", "0:0:1 1:1:2");
}

static void test_bpe_unknown(void **state)
{
    (void)state;
    assert_bpe(BPE("\"unk_token\":\"<unk>\",", LETTERS, MERGES), false, "a\xC3\xA9\xC3\xA9" "bc",
               "0:0:1 6:1:3 6:3:5 5:5:7");
    assert_bpe(BPE("\"unk_token\":\"<unk>\",\"fuse_unk\":true,", LETTERS, MERGES), false, "a\xC3\xA9\xC3\xA9" "bc",
               "0:0:1 6:1:5 5:5:7");
    /* Without an unknown token a character vanishes, and its neighbours meet. */
    assert_bpe(BPE("", LETTERS, MERGES), false, "a\xC3\xA9" "bc", "4:0:3");
    assert_bpe(BPE("", LETTERS, MERGES), false, "\xC3\xA9", "");
}

static void test_bpe_fallback(void **state)
{
    (void)state;
    const char *vocab = "\"a\":0,\"<unk>\":1,\"<0xC3>\":2,\"<0xA9>\":3";
    char model[512];
    snprintf(model, sizeof model, BPE("\"unk_token\":\"<unk>\",\"byte_fallback\":true,", "%s", ""), vocab);
    assert_bpe(model, false, "a\xC3\xA9" "a", "0:0:1 2:1:2 3:2:3 0:3:4");
    /* The unknown waits for the next token that is no byte. */
    assert_bpe(model, false, "\xC3\xBC\xC3\xA9" "a", "2:0:1 3:1:2 1:2:4 0:4:5");
    assert_bpe(model, false, "\xE4\xB8\xAD", "1:0:3");
}

static void test_bpe_affixes(void **state)
{
    (void)state;
    const char *suffix = BPE("\"end_of_word_suffix\":\"</w>\",", "\"a\":0,\"a</w>\":1,\"b\":2,\"ba</w>\":3",
                             "\"b a</w>\"");
    assert_bpe(suffix, false, "aba", "0:0:1 3:1:3");
    assert_bpe(suffix, true, "aba", "0:0:1 3:1:3");
    const char *prefix = BPE("\"continuing_subword_prefix\":\"##\",", "\"a\":0,\"##a\":1,\"##b\":2,\"ab\":3,\"##ab\":4",
                             "\"a ##b\",\"##a ##b\"");
    assert_bpe(prefix, false, "abab", "3:0:2 4:2:4");
    assert_bpe(prefix, false, "b", "");
}

/* A text whose spaces are U+2581 is cut before them where no token has one inside: that changes
 * the time only. */
static void test_bpe_spaces(void **state)
{
    (void)state;
#define SPACE "\xE2\x96\x81"
#define SPACED "\"a\":0,\"" SPACE "\":1,\"" SPACE "a\":2,\"" SPACE SPACE "\":3,\"<unk>\":4"
    const char *word = "a" SPACE "a" SPACE SPACE "a\xC3\xA9\xC3\xA9" SPACE "\xC3\xA9";
    assert_bpe(BPE("\"unk_token\":\"<unk>\",\"fuse_unk\":true,", SPACED, "\"" SPACE " a\",\"" SPACE " " SPACE "\""),
               false, word, "0:0:1 2:1:5 1:5:8 2:8:12 4:12:16 1:16:19 4:19:21");
    assert_bpe(BPE("\"unk_token\":\"<unk>\",\"fuse_unk\":true,", SPACED ",\"a" SPACE "\":5",
                   "\"a " SPACE "\",\"" SPACE " a\",\"" SPACE " " SPACE "\""),
               false, word, "5:0:4 5:4:8 2:8:12 4:12:16 1:16:19 4:19:21");
}

/* Raw bytes stand for the visible characters of the vocabulary: U+0120 is the space, and
 * C3 A9 are U+00C3 U+00A9. */
static void test_bpe_byte_level(void **state)
{
    (void)state;
    const char *model = BPE("", "\"\xC4\xA0\":0,\"a\":1,\"\xC4\xA0" "a\":2,\"\xC3\x83\":3,\"\xC2\xA9\":4,"
                                "\"\xC3\x83\xC2\xA9\":5", "\"\xC4\xA0 a\",\"\xC3\x83 \xC2\xA9\"");
    assert_bpe(model, true, " a", "2:0:2");
    assert_bpe(model, true, "a\xC3\xA9 ", "1:0:1 5:1:3 0:3:4");
    assert_bpe(model, true, "\xA9\xC3", "4:0:1 3:1:2");
    /* b vanishes: what follows begins a byte early in the visible text, where each of these
     * characters has two. */
    assert_bpe(model, true, "b\xC3\xA9", "5:0:3");
    assert_bpe(BPE("\"ignore_merges\":true,", "\"\xC4\xA0" "a\":7", ""), true, " a", "7:0:2");
    tandem_bpe *bpe = new_bpe(model, true);
    assert_int_equal(tandem_bpe_find(bpe, "\xC4\xA0" "a", 3), 2);
    assert_int_equal(tandem_bpe_find(bpe, " a", 2), TANDEM_NO_TOKEN);
    assert_int_equal(tandem_bpe_count(bpe), 6);
    assert_int_equal(tandem_bpe_largest_id(bpe), 5);
    tandem_bpe_free(bpe);
}

static void assert_bpe_refused(const char *text, const char *message)
{
    struct cJSON *json = parse(text);
    tandem_bpe *bpe;
    assert_message(tandem_bpe_new(&bpe, json, false, "t.json"), message);
    tandem_json_free(json);
}

static void test_bpe_refused(void **state)
{
    (void)state;
    assert_bpe_refused(BPE("\"dropout\":0.1,", LETTERS, ""), "model.dropout: 0.1");
    assert_bpe_refused(BPE("", LETTERS, "\"a x\""), "model.merges[0]: \"x\" is not in the vocabulary");
    assert_bpe_refused(BPE("", LETTERS, "\"a b\",\"a c\""), "model.merges[1]: \"ac\" is not in the vocabulary");
    assert_bpe_refused(BPE("", LETTERS, "\"ab\""), "model.merges[0]: expected two texts with a space");
    assert_bpe_refused(BPE("", LETTERS, "\"a b c\""), "model.merges[0]: expected two texts with a space");
    assert_bpe_refused(BPE("", LETTERS, "[\"a\"]"), "model.merges[0]: expected two texts");
    assert_bpe_refused(BPE("", LETTERS, "[\"a\",\"b\"],\"b c\""), "model.merges[1]: expected two texts");
    assert_bpe_refused(BPE("", LETTERS, "3"), "model.merges[0]");
    assert_bpe_refused(BPE("", "\"a\":0,\"b\":0", ""), "\"a\" and \"b\" have the same id 0");
    assert_bpe_refused(BPE("", "\"a\":-1", ""), "the id of \"a\"");
    assert_bpe_refused(BPE("", "\"a\":\"x\"", ""), "the id of \"a\"");
    assert_bpe_refused("{\"merges\":[]}", "model.vocab: expected an object");
    assert_bpe_refused("{\"vocab\":{}}", "model.merges: expected an array");
    assert_bpe_refused(BPE("\"byte_fallback\":true,\"end_of_word_suffix\":\"</w>\",", LETTERS, ""), "byte_fallback");
    assert_bpe_refused(BPE("\"continuing_subword_prefix\":\"##\",", "\"a\":0,\"##\":1", "\"a ##\""), "no longer than");
    tandem_bpe *bpe = new_bpe(BPE("\"unk_token\":\"[?]\",", LETTERS, MERGES), false);
    tandem_bpe_scratch *scratch = tandem_bpe_scratch_new();
    tandem_model_tokens out = {0};
    assert_int_equal(tandem_bpe_word(bpe, scratch, "abc", 3, &out), TANDEM_OK);
    assert_message(tandem_bpe_word(bpe, scratch, "axc", 3, &out), "[?]");
    assert_int_equal(out.count, 1);
    free(out.items);
    tandem_bpe_scratch_free(scratch);
    tandem_bpe_free(bpe);
}

/* The strings of a and b up to 6 letters are tokens, merged in a random order, and x is one
 * that merges with nothing. */
static tandem_bpe *new_random_bpe(tandem_random *random)
{
    enum { LONGEST = 6, COUNT = (2 << LONGEST) - 2, ROUNDS = 3000 };
    tandem_buffer vocab = TANDEM_BUFFER_INIT, model = TANDEM_BUFFER_INIT;
    char tokens[COUNT][LONGEST + 1];
    size_t count = 0;
    for (unsigned length = 1; length <= LONGEST; length++) {
        for (unsigned bits = 0; bits < 1U << length; bits++, count++) {
            for (unsigned i = 0; i < length; i++) {
                tokens[count][i] = bits >> i & 1 ? 'a' : 'b';
            }
            tokens[count][length] = '\0';
            assert_int_equal(tandem_buffer_printf(&vocab, ",\"%s\":%zu", tokens[count], count), TANDEM_OK);
        }
    }
    tandem_buffer_printf(&model, "{\"vocab\":{\"x\":%zu%s},\"merges\":[", count, vocab.data);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const char *left = tokens[tandem_random_below(random, count)];
        const char *right = tokens[tandem_random_below(random, i % 8 == 0 ? 2 : count)];
        if (strlen(left) + strlen(right) <= LONGEST) {
            tandem_buffer_printf(&model, "\"%s %s\",", left, right);
        }
    }
    assert_int_equal(tandem_buffer_puts(&model, "\"a b\",\"b a\",\"b b\",\"a a\"]}"), TANDEM_OK);
    tandem_bpe *bpe = new_bpe(model.data, false);
    tandem_buffer_free(&vocab);
    tandem_buffer_free(&model);
    return bpe;
}

/* Appends the tokens of a word of random letters, and the letters to `text`. */
static void add_word(const tandem_bpe *bpe, tandem_bpe_scratch *scratch, tandem_random *random,
                     tandem_model_tokens *out, tandem_buffer *text)
{
    char word[41];
    size_t length = 1 + tandem_random_below(random, 40), from = out->count;
    for (size_t i = 0; i < length; i++) {
        word[i] = tandem_random_below(random, 2) ? 'a' : 'b';
    }
    assert_int_equal(tandem_bpe_word(bpe, scratch, word, length, out), TANDEM_OK);
    for (size_t i = from; i < out->count; i++) {
        out->items[i].begin += (uint32_t)text->length;
        out->items[i].end += (uint32_t)text->length;
    }
    assert_int_equal(tandem_buffer_append(text, word, length), TANDEM_OK);
}

/* Long words are merged by another algorithm than short ones: short words with x between
 * them are cut the same when they are one long word. */
static void test_bpe_long_words(void **state)
{
    (void)state;
    tandem_random random = tandem_random_stream(7, "words", 0);
    for (int round = 0; round < 20; round++) {
        tandem_bpe *bpe = new_random_bpe(&random);
        tandem_bpe_scratch *scratch = tandem_bpe_scratch_new();
        tandem_model_tokens parts = {0}, whole = {0};
        tandem_buffer text = TANDEM_BUFFER_INIT;
        for (int word = 0; word < 50; word++) {
            add_word(bpe, scratch, &random, &parts, &text);
            assert_int_equal(tandem_bpe_word(bpe, scratch, "x", 1, &parts), TANDEM_OK);
            parts.items[parts.count - 1].begin += (uint32_t)text.length;
            parts.items[parts.count - 1].end += (uint32_t)text.length;
            assert_int_equal(tandem_buffer_puts(&text, "x"), TANDEM_OK);
        }
        assert_int_equal(tandem_bpe_word(bpe, scratch, text.data, text.length, &whole), TANDEM_OK);
        assert_int_equal(whole.count, parts.count);
        assert_memory_equal(whole.items, parts.items, parts.count * sizeof *parts.items);
        tandem_buffer_free(&text);
        free(parts.items);
        free(whole.items);
        tandem_bpe_scratch_free(scratch);
        tandem_bpe_free(bpe);
    }
}

/* ---- Unigram ------------------------------------------------------------------------------ */
#define UNIGRAM(options, vocab) "{\"type\":\"Unigram\"," options "\"vocab\":[" vocab "]}"
#define UNK "[\"<unk>\",0]"

static void assert_unigram(const char *text, const char *word, const char *expected)
{
    struct cJSON *json = parse(text);
    tandem_unigram *unigram;
    if (tandem_unigram_new(&unigram, json, "t.json") < 0) {
        fail_msg("%s", tandem_error_message());
    }
    tandem_json_free(json);
    tandem_unigram_scratch *scratch = tandem_unigram_scratch_new();
    tandem_model_tokens out = {0};
    for (int i = 0; i < 2; i++) {
        out.count = 0;
        assert_int_equal(tandem_unigram_word(unigram, scratch, word, strlen(word), &out), TANDEM_OK);
        assert_string_equal(shown(&out), expected);
    }
    free(out.items);
    tandem_unigram_scratch_free(scratch);
    tandem_unigram_free(unigram);
}

static void test_unigram_best(void **state)
{
    (void)state;
    const char *model = UNIGRAM("\"unk_id\":0,", UNK ",[\"a\",0],[\"b\",0],[\"c\",0],[\"d\",0],[\"cd\",1],"
                                                    "[\"ab\",2],[\"abc\",5],[\"abcd\",10]");
    assert_unigram(model, "abcdacd", "8:0:4 1:4:5 5:5:7");
    assert_unigram(model, "abcdacdxx", "8:0:4 1:4:5 5:5:7 0:7:9"); /* unknown neighbours are one */
    assert_unigram(model, "", "");
    /* Equally good: the longest last token. */
    assert_unigram(UNIGRAM("\"unk_id\":0,", UNK ",[\"a\",-1],[\"aa\",-2]"), "aaa", "1:0:1 2:1:3");
    /* t5-small's scores of these two: with them rounded once, the single would come first. */
    assert_unigram(UNIGRAM("\"unk_id\":0,", UNK ",[\"-\",-5.129043102264404],[\"---\",-12.130167007446289]"), "-------",
                   "2:0:3 2:3:6 1:6:7");
    /* A token that comes twice has its last id and score. */
    assert_unigram(UNIGRAM("\"unk_id\":0,", UNK ",[\"ab\",-9],[\"a\",-1],[\"b\",-1],[\"ab\",-1]"), "ab", "4:0:2");
}

static void test_unigram_unknown(void **state)
{
    (void)state;
    const char *vocab = UNK ",[\"a\",-1],[\"<0xC3>\",-1],[\"<0xA9>\",-1]";
    char model[256];
    snprintf(model, sizeof model, UNIGRAM("\"unk_id\":0,\"byte_fallback\":true,", "%s"), vocab);
    assert_unigram(model, "a\xC3\xA9" "a", "1:0:1 2:1:3 3:1:3 1:3:4");
    assert_unigram(model, "\xC3\xA9\xC3\xBC", "0:0:4"); /* all bytes of an unknown text, or none */
    /* Written out, the unknown token joins its neighbours. */
    assert_unigram(UNIGRAM("\"unk_id\":0,", UNK ",[\"a\",-1]"), "a<unk>xa", "1:0:1 0:1:7 1:7:8");
    /* Two unknowns that together are a token. */
    assert_unigram(UNIGRAM("\"unk_id\":0,", "[\"<unk>\",50],[\"xy\",10]"), "xy", "1:0:2");
}

static void assert_unigram_refused(const char *text, const char *message)
{
    struct cJSON *json = parse(text);
    tandem_unigram *unigram;
    assert_message(tandem_unigram_new(&unigram, json, "t.json"), message);
    tandem_json_free(json);
}

static void test_unigram_refused(void **state)
{
    (void)state;
    assert_unigram_refused("{}", "model.vocab: expected an array");
    assert_unigram_refused(UNIGRAM("", "[\"a\"]"), "model.vocab[0]: expected a token and its score");
    assert_unigram_refused(UNIGRAM("", UNK ",[\"a\",1,2]"), "model.vocab[1]");
    assert_unigram_refused(UNIGRAM("", "[1,\"a\"]"), "model.vocab[0]");
    assert_unigram_refused(UNIGRAM("", "\"a\""), "model.vocab[0]");
    assert_unigram_refused(UNIGRAM("\"unk_id\":1,", UNK), "model.unk_id: 1, but there are 1 tokens");
    struct cJSON *json = parse(UNIGRAM("", "[\"a\",-1]"));
    tandem_unigram *unigram;
    assert_int_equal(tandem_unigram_new(&unigram, json, "t.json"), TANDEM_OK);
    tandem_json_free(json);
    tandem_unigram_scratch *scratch = tandem_unigram_scratch_new();
    tandem_model_tokens out = {0};
    assert_message(tandem_unigram_word(unigram, scratch, "ab", 2, &out), "\"b\" is not in the vocabulary");
    assert_int_equal(out.count, 0);
    free(out.items);
    tandem_unigram_scratch_free(scratch);
    tandem_unigram_free(unigram);
}

/* ---- WordLevel ------------------------------------------------------------------------------ */
static void test_wordlevel(void **state)
{
    (void)state;
    struct cJSON *json = parse("{\"vocab\":{\"foo\":3,\"<unk>\":1},\"unk_token\":\"<unk>\"}");
    tandem_wordlevel *wordlevel;
    tandem_model_tokens out = {0};
    assert_int_equal(tandem_wordlevel_new(&wordlevel, json, "t.json"), TANDEM_OK);
    tandem_json_free(json);
    assert_int_equal(tandem_wordlevel_word(wordlevel, "foo", 3, &out), TANDEM_OK);
    assert_int_equal(tandem_wordlevel_word(wordlevel, "fo", 2, &out), TANDEM_OK);
    assert_string_equal(shown(&out), "3:0:3 1:0:2");
    assert_int_equal(tandem_wordlevel_count(wordlevel), 2);
    assert_int_equal(tandem_wordlevel_largest_id(wordlevel), 3);
    tandem_wordlevel_free(wordlevel);
    json = parse("{\"vocab\":{\"foo\":3},\"unk_token\":\"<unk>\"}");
    assert_int_equal(tandem_wordlevel_new(&wordlevel, json, "t.json"), TANDEM_OK);
    tandem_json_free(json);
    assert_message(tandem_wordlevel_word(wordlevel, "bar", 3, &out), "\"bar\" is not in the vocabulary");
    free(out.items);
    tandem_wordlevel_free(wordlevel);
    json = parse("{\"vocab\":{}}");
    assert_message(tandem_wordlevel_new(&wordlevel, json, "t.json"), "unk_token");
    tandem_json_free(json);
}

/* ---- what they share --------------------------------------------------------------------------- */
static tandem_hash hash_of(const char *model)
{
    tandem_bpe *bpe = new_bpe(model, false);
    tandem_hasher *hasher = tandem_hasher_new();
    tandem_bpe_hash(bpe, hasher);
    tandem_bpe_free(bpe);
    return tandem_hasher_done(hasher);
}

static void test_hash(void **state)
{
    (void)state;
    static const char *const models[] = {
        BPE("", LETTERS, MERGES),
        BPE("", LETTERS, "\"a b\",\"b c\",\"a bc\""),
        BPE("", "\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\"bc\":5,\"<unk>\":7", MERGES),
        BPE("\"unk_token\":\"<unk>\",", LETTERS, MERGES),
        BPE("\"unk_token\":\"<unk>\",\"fuse_unk\":true,", LETTERS, MERGES),
        BPE("\"byte_fallback\":true,", LETTERS, MERGES),
        BPE("\"ignore_merges\":true,", LETTERS, MERGES),
        BPE("\"end_of_word_suffix\":\"c\",", LETTERS, MERGES),
    };
    enum { COUNT = sizeof models / sizeof *models };
    tandem_hash hashes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        hashes[i] = hash_of(models[i]);
        for (size_t k = 0; k < i; k++) {
            assert_false(tandem_hash_equal(hashes[i], hashes[k]));
        }
    }
    assert_true(tandem_hash_equal(hashes[0], hash_of(BPE("\"dropout\":null,", LETTERS, MERGES))));
}

/* Words of every length that differ in one byte only are told apart. */
static void test_cache(void **state)
{
    (void)state;
    tandem_word_cache cache;
    assert_int_equal(tandem_word_cache_init(&cache), TANDEM_OK);
    tandem_model_tokens out = {0};
    assert_int_equal(tandem_model_tokens_reserve(&out, 16), TANDEM_OK);
    for (size_t length = 1; length <= TANDEM_WORD_CACHE_BYTES + 1; length++) {
        char word[TANDEM_WORD_CACHE_BYTES + 1];
        memset(word, 'a', sizeof word);
        out.items[0] = (tandem_model_token){.id = (uint32_t)length, .begin = 0, .end = (uint32_t)length};
        out.count = 1;
        tandem_word_cache_put(&cache, word, length, &out, 0);
        out.count = 0;
        bool kept = length <= TANDEM_WORD_CACHE_BYTES;
        assert_int_equal(tandem_word_cache_get(&cache, word, length, &out), kept);
        assert_int_equal(out.count, kept);
        for (size_t i = 0; i < length; i++) {
            word[i] = 'b';
            assert_false(tandem_word_cache_get(&cache, word, length, &out));
            word[i] = 'a';
        }
    }
    free(out.items);
    tandem_word_cache_clear(&cache);
}

static void test_trie(void **state)
{
    (void)state;
    tandem_token_trie trie = {0};
    assert_int_equal(tandem_token_trie_init(&trie), TANDEM_OK);
    char token[16];
    for (uint32_t i = 0; i < 20000; i++) {
        int length = snprintf(token, sizeof token, "%u", i);
        assert_int_equal(tandem_token_trie_put(&trie, token, (size_t)length, i), TANDEM_OK);
    }
    for (uint32_t i = 0; i < 20000; i++) {
        int length = snprintf(token, sizeof token, "%u", i);
        assert_int_equal(tandem_token_trie_find(&trie, token, (size_t)length), i);
    }
    assert_int_equal(tandem_token_trie_find(&trie, "20000", 5), TANDEM_NO_TOKEN);
    assert_int_equal(tandem_token_trie_find(&trie, "", 0), TANDEM_NO_TOKEN);
    assert_int_equal(tandem_token_trie_put(&trie, "", 0, 7), TANDEM_OK);
    assert_int_equal(tandem_token_trie_put(&trie, "12", 2, 9), TANDEM_OK);
    assert_int_equal(tandem_token_trie_find(&trie, "", 0), 7);
    assert_int_equal(tandem_token_trie_find(&trie, "12", 2), 9);
    tandem_token_trie_clear(&trie);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe_merges),
        cmocka_unit_test(test_bpe_unknown),
        cmocka_unit_test(test_bpe_fallback),
        cmocka_unit_test(test_bpe_affixes),
        cmocka_unit_test(test_bpe_spaces),
        cmocka_unit_test(test_bpe_byte_level),
        cmocka_unit_test(test_bpe_refused),
        cmocka_unit_test(test_bpe_long_words),
        cmocka_unit_test(test_unigram_best),
        cmocka_unit_test(test_unigram_unknown),
        cmocka_unit_test(test_unigram_refused),
        cmocka_unit_test(test_wordlevel),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_trie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
