/* The tokenizer on small vocabularies. Expected values are Hugging Face tokenizers 0.23.3's;
 * tests/parity/test_tokenizer.py compares with that library at large. */
#include <pthread.h>

#include "folder.h"
#include "tandem/memory.h"
#include "tandem/tokenizer.h"

/* Ids in the vocabulary below. */
enum { PAD, UNK, CLS, SEP, MASK, UN, AFF, ABLE, A, B, IN_A, IN_B, CAFE, I, DOT, HE, COMMA, SHARP_S, BAD, X, IN_DOT };

#define VOCAB                                                                                                   \
    "\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"[MASK]\":4,\"un\":5,\"##aff\":6,\"##able\":7,\"a\":8,"     \
    "\"b\":9,\"##a\":10,\"##b\":11,\"cafe\":12,\"i\":13,\".\":14,\"\xE5\x92\x8C\":15,\",\":16,\"\xC3\x9F\":17,"    \
    "\"\xEF\xBF\xBD\":18,\"x\":19,\"##\xCC\x87\":20"
#define WORDPIECE(vocab)                                                                                        \
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","           \
    "\"max_input_chars_per_word\":100,\"vocab\":{" vocab "}}"
#define NORMALIZER(strip, lower)                                                                                \
    "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"            \
    "\"strip_accents\":" strip ",\"lowercase\":" lower "}"
#define PRE_TOKENIZER "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}"
#define PROCESSOR "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]}"
#define ADDED(content, id, flags) "{\"content\":\"" content "\",\"id\":" #id flags "}"
#define PLAIN ",\"normalized\":false"
#define SPECIALS ADDED("[SEP]", 3, PLAIN) "," ADDED("[MASK]", 4, PLAIN)
#define TOKENIZER(normalizer, added, more)                                                                      \
    "{" normalizer "," PRE_TOKENIZER "," WORDPIECE(VOCAB) ",\"added_tokens\":[" added "]" more "}"
#define UNCASED TOKENIZER(NORMALIZER("null", "true"), SPECIALS, "," PROCESSOR)

static tandem_tokenizer *parse(const char *json)
{
    tandem_tokenizer *tokenizer;
    if (tandem_tokenizer_parse(&tokenizer, json, strlen(json), "t.json") < 0) {
        fail_msg("%s", tandem_error_message());
    }
    return tokenizer;
}

/* Text to ids, and to offsets as pairs, when not NULL. */
static void assert_tokens(const tandem_tokenizer *tokenizer, const char *text, size_t length, size_t count,
                          const uint32_t *ids, const uint32_t *offsets)
{
    tandem_token_scratch *scratch = tandem_token_scratch_new();
    assert_non_null(scratch);
    tandem_tokens tokens;
    for (int with_offsets = 0; with_offsets < 2; with_offsets++) {
        assert_int_equal(tandem_tokenizer_bare(tokenizer, scratch, text, length, 0, with_offsets, &tokens), TANDEM_OK);
        assert_int_equal(tokens.count, count);
        assert_int_equal(tokens.total, count);
        assert_memory_equal(tokens.ids, ids, count * sizeof *ids);
        assert_int_equal(tokens.starts != NULL, with_offsets);
    }
    for (size_t i = 0; i < count && offsets; i++) {
        assert_int_equal(tokens.starts[i], offsets[2 * i]);
        assert_int_equal(tokens.ends[i], offsets[2 * i + 1]);
    }
    tandem_token_scratch_free(scratch);
}

#define IDS(...) (const uint32_t[]){__VA_ARGS__}
#define COUNT(...) (sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
#define ASSERT_IDS(tokenizer, text, ...) \
    assert_tokens(tokenizer, text, sizeof(text) - 1, COUNT(__VA_ARGS__), IDS(__VA_ARGS__), NULL)

static void test_pieces(void **state)
{
    (void)state;
    tandem_tokenizer *tokenizer = parse(UNCASED);
    ASSERT_IDS(tokenizer, "unaffable", UN, AFF, ABLE);
    ASSERT_IDS(tokenizer, "abba", A, IN_B, IN_B, IN_A);
    ASSERT_IDS(tokenizer, "abbaz", UNK); /* one piece fails: the whole word does */
    ASSERT_IDS(tokenizer, "a.b,", A, DOT, B, COMMA);
    ASSERT_IDS(tokenizer, "##a", UNK, UNK, A); /* the prefix is no way into the vocabulary */
    assert_tokens(tokenizer, " \t\n", 3, 0, NULL, NULL);
    assert_tokens(tokenizer, "un affable a", 12, 3, IDS(UN, UNK, A), IDS(0, 2, 3, 10, 11, 12));
    assert_tokens(tokenizer, "\xE2\x82\xACunaffable", 12, 1, IDS(UNK), IDS(0, 10));
    tandem_tokenizer_free(tokenizer);
}

static void test_longest_word(void **state)
{
    (void)state;
    tandem_tokenizer *tokenizer = parse(UNCASED);
    char text[512];
    memset(text, 'a', sizeof text);
    uint32_t ids[100] = {A};
    for (size_t i = 1; i < 100; i++) {
        ids[i] = IN_A;
    }
    assert_tokens(tokenizer, text, 100, 100, ids, NULL);
    assert_tokens(tokenizer, text, 101, 1, IDS(UNK), IDS(0, 101));
    text[300] = ' ';
    assert_tokens(tokenizer, text, 303, 3, IDS(UNK, A, IN_A), IDS(0, 300, 301, 302, 302, 303));
    tandem_tokenizer_free(tokenizer);
}

static void test_normalizer(void **state)
{
    (void)state;
    tandem_tokenizer *uncased = parse(UNCASED);
    ASSERT_IDS(uncased, "CAF\xC3\x89", CAFE);
    ASSERT_IDS(uncased, "cafe\xCC\x81", CAFE);
    ASSERT_IDS(uncased, "\xC4\xB0 \xC3\x9F", I, SHARP_S); /* the dot goes, the sharp s stays */
    ASSERT_IDS(uncased, "a\xE5\x92\x8C""b", A, HE, B);
    ASSERT_IDS(uncased, "a\xC2\xA0" "b", A, B); /* U+00A0 */
    ASSERT_IDS(uncased, "a\0\x0B\xE2\x80\x8B\xEF\xBF\xBD" "b", A, IN_B); /* dropped, so that words join */
    assert_tokens(uncased, "\xE5\x92\x8C\xCC\x81 x", 7, 2, IDS(HE, X), IDS(0, 1, 3, 4));
    tandem_tokenizer_free(uncased);
    tandem_tokenizer *accents = parse(TOKENIZER(NORMALIZER("false", "true"), "", ""));
    assert_tokens(accents, "\xC4\xB0", 2, 2, IDS(I, IN_DOT), IDS(0, 1, 0, 1)); /* two code points of one */
    tandem_tokenizer_free(accents);
    tandem_tokenizer *cased = parse(TOKENIZER(NORMALIZER("null", "false"), "", ""));
    ASSERT_IDS(cased, "A CAFE cafe", UNK, UNK, CAFE);
    tandem_tokenizer_free(cased);
}

/* As Rust's from_utf8_lossy and Python's errors="replace" read the same bytes. */
static void test_broken_utf8(void **state)
{
    (void)state;
    tandem_tokenizer *tokenizer = parse(TOKENIZER("\"normalizer\":null", "", ""));
    ASSERT_IDS(tokenizer, "\xC3 a", BAD, A);
    ASSERT_IDS(tokenizer, "\xF0\x9F\x98 a", BAD, A);  /* three bytes of a start that breaks off: one */
    ASSERT_IDS(tokenizer, "\xC3", BAD);
    assert_tokens(tokenizer, "\xED\xA0\x80 a", 5, 2, IDS(UNK, A), IDS(0, 3, 4, 5)); /* a surrogate: three */
    assert_tokens(tokenizer, "\xC0\x80 \xF5.a", 6, 4, IDS(UNK, BAD, DOT, A), IDS(0, 2, 3, 4, 4, 5, 5, 6));
    tandem_tokenizer_free(tokenizer);
}

static void test_added_tokens(void **state)
{
    (void)state;
    tandem_tokenizer *tokenizer = parse(UNCASED);
    assert_tokens(tokenizer, "a[SEP]b[sep", 11, 5, IDS(A, SEP, B, UNK, UNK), IDS(0, 1, 1, 6, 6, 7, 7, 8, 8, 11));
    tandem_tokenizer_free(tokenizer);
    tokenizer = parse(TOKENIZER(NORMALIZER("null", "true"),
                                ADDED("ab", 21, ",\"single_word\":true") "," ADDED("abba", 22, "") ","
                                ADDED("[L]", 23, ",\"lstrip\":true") "," ADDED("[R]", 24, ",\"rstrip\":true") ","
                                ADDED("Caf\xC3\xA9 X", 25, ",\"normalized\":true"), ""));
    assert_int_equal(tandem_tokenizer_vocab_size(tokenizer), 26);
    ASSERT_IDS(tokenizer, "ab abb abba aab", 21, A, IN_B, IN_B, 22, A, IN_A, IN_B);
    assert_tokens(tokenizer, "a  [L] [R]  b", 13, 4, IDS(A, 23, 24, B), IDS(0, 1, 1, 6, 7, 12, 12, 13));
    assert_tokens(tokenizer, "a CAF\xC3\x89 x!", 10, 3, IDS(A, 25, UNK), IDS(0, 1, 2, 8, 8, 9));
    tandem_tokenizer_free(tokenizer);
}

static void test_limit(void **state)
{
    (void)state;
    tandem_tokenizer *tokenizer = parse(UNCASED);
    tandem_token_scratch *scratch = tandem_token_scratch_new();
    tandem_tokens tokens;
    assert_int_equal(tandem_tokenizer_bare(tokenizer, scratch, "a unaffable [SEP] b", 19, 3, true, &tokens), 0);
    assert_int_equal(tokens.count, 3);
    assert_int_equal(tokens.total, 6);
    assert_int_equal(tokens.ids[2], AFF);
    tandem_token_scratch_free(scratch);
    tandem_tokenizer_free(tokenizer);
}

static void test_plan(void **state)
{
    (void)state;
    tandem_tokenizer *tokenizer = parse(UNCASED);
    static const struct {
        size_t first, second, max_length, kept_first, kept_second;
    } cases[] = {{4, 4, 0, 4, 4}, {4, 4, 11, 4, 4}, {5, 4, 4, 1, 0}, {4, 5, 4, 0, 1}, {4, 4, 4, 0, 1},
                 {9, 2, 8, 3, 2}, {2, 9, 8, 2, 3},  {9, 9, 8, 2, 3}, {9, 8, 8, 3, 2}, {9, 0, 8, 5, 0}, {3, 3, 3, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tandem_assembly plan;
        assert_int_equal(tandem_tokenizer_plan(tokenizer, cases[i].first, &cases[i].second, cases[i].max_length, &plan), 0);
        assert_int_equal(plan.first, cases[i].kept_first);
        assert_int_equal(plan.second, cases[i].kept_second);
        assert_int_equal(plan.total, plan.first + plan.second + 3);
    }
    tandem_assembly plan;
    size_t second = 1;
    assert_int_equal(tandem_tokenizer_plan(tokenizer, 9, NULL, 6, &plan), 0);
    assert_int_equal(plan.first, 4);
    assert_int_equal(tandem_tokenizer_plan(tokenizer, 9, NULL, 2, &plan), 0);
    assert_int_equal(plan.total, 2);
    assert_int_equal(tandem_tokenizer_plan(tokenizer, 9, NULL, 1, &plan), TANDEM_ERROR);
    assert_int_equal(tandem_tokenizer_plan(tokenizer, 1, &second, 2, &plan), TANDEM_ERROR);
    assert_string_equal(tandem_error_message(), "a maximum length of 2 leaves no room for the 3 special tokens");
    tandem_tokenizer_free(tokenizer);
}

static void test_assemble(void **state)
{
    (void)state;
    tandem_tokenizer *tokenizer = parse(UNCASED);
    tandem_bare first = {IDS(A, B, X), 3}, second = {IDS(UN, AFF), 2};
    uint32_t ids[8];
    uint8_t type_ids[8];
    int64_t origin[8];
    assert_int_equal(tandem_tokenizer_assemble(tokenizer, first, &second, 7, ids, type_ids, origin), 0);
    assert_memory_equal(ids, IDS(CLS, A, B, SEP, UN, AFF, SEP), 7 * sizeof *ids);
    assert_memory_equal(type_ids, ((const uint8_t[]){0, 0, 0, 0, 1, 1, 1}), 7);
    assert_memory_equal(origin, ((const int64_t[]){-1, 0, 2, -1, 1, 3, -1}), 7 * sizeof *origin);
    assert_int_equal(tandem_tokenizer_assemble(tokenizer, (tandem_bare){NULL, 0}, NULL, 0, ids, NULL, NULL), 0);
    assert_memory_equal(ids, IDS(CLS, SEP), 2 * sizeof *ids);
    assert_int_equal(tandem_tokenizer_special_count(tokenizer, false), 2);
    assert_int_equal(tandem_tokenizer_special_count(tokenizer, true), 3);
    tandem_tokenizer_free(tokenizer);
    tokenizer = parse(TOKENIZER("\"normalizer\":null", "", ",\"post_processor\":null"));
    assert_int_equal(tandem_tokenizer_assemble(tokenizer, first, &second, 0, ids, type_ids, NULL), 0);
    assert_memory_equal(ids, IDS(A, B, X, UN, AFF), 5 * sizeof *ids);
    assert_memory_equal(type_ids, ((const uint8_t[]){0, 0, 0, 1, 1}), 5);
    tandem_tokenizer_free(tokenizer);
}

static void test_settings(void **state)
{
    (void)state;
    tandem_tokenizer *tokenizer = parse(TOKENIZER("\"normalizer\":null", "", ",\"truncation\":{\"direction\":\"Right\","
        "\"max_length\":256,\"strategy\":\"LongestFirst\",\"stride\":0},\"padding\":{\"direction\":\"Right\",\"pad_id\":7}"));
    assert_int_equal(tandem_tokenizer_truncation(tokenizer), 256);
    assert_int_equal(tandem_tokenizer_pad_id(tokenizer), 7);
    assert_int_equal(tandem_tokenizer_vocab_size(tokenizer), 21);
    assert_string_equal(tandem_tokenizer_path(tokenizer), "t.json");
    tandem_tokenizer_free(tokenizer);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"[1]", "t.json: expected an object with the key \"version\", found an array"},
        {"{}", "t.json: model: expected an object"},
        {"{\"model\":{\"type\":\"Char\"}}",
         "t.json: model.type \"Char\" is not supported (known: WordPiece, BPE, Unigram, WordLevel)"},
        {"{\"model\":{}}", "t.json: model.type is missing (known: WordPiece, BPE, Unigram, WordLevel)"},
        {"{\"version\":\"2.0\"}", "t.json: version \"2.0\" is not supported (known: 1.0)"},
        {"{\"normalizer\":{\"type\":\"NFX\"}," WORDPIECE(VOCAB) "}",
         "t.json: normalizer.type \"NFX\" is not supported (known: BertNormalizer, NFC, NFD, NFKC, NFKD, Lowercase, "
         "StripAccents, Strip, Replace, Prepend, Precompiled, ByteLevel, Nmt, Sequence)"},
        {"{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}," WORDPIECE(VOCAB) "}",
         "t.json: pre_tokenizer.type \"UnicodeScripts\" is not supported (known: BertPreTokenizer, Whitespace, "
         "WhitespaceSplit, ByteLevel, Metaspace, Punctuation, Digits, Split, CharDelimiterSplit, FixedLength, Sequence)"},
        {"{" WORDPIECE("\"a\":0") "}", "t.json: the unknown token \"[UNK]\" is not in the vocabulary"},
        {"{" WORDPIECE("\"[UNK]\":0,\"a\":1,\"b\":1") "}", "t.json: \"a\" and \"b\" have the same id 1"},
        {"{" WORDPIECE("\"[UNK]\":0.5") "}", "t.json: \"[UNK]\": expected an id, a whole number from 0 to 2147483646"},
        {"{" WORDPIECE("\"[UNK]\":-1") "}", "t.json: \"[UNK]\": expected an id, a whole number from 0 to 2147483646"},
        {TOKENIZER("\"normalizer\":null", ADDED("new", 30, PLAIN), ""),
         "t.json: added_tokens: \"new\" has id 30, but Hugging Face tokenizers gives it 21"},
        {TOKENIZER("\"normalizer\":null", SPECIALS "," SPECIALS, ""), "t.json: added_tokens: \"[SEP]\" comes twice"},
        {TOKENIZER(NORMALIZER("null", "true"),
                   ADDED("n", 21, ",\"normalized\":true") "," ADDED("N", 22, ",\"normalized\":true"), ""),
         "t.json: added_tokens: \"n\" and \"N\" cannot be told apart"},
        {TOKENIZER(NORMALIZER("null", "true"), ADDED("\xE2\x80\x8B", 21, ",\"normalized\":true"), ""),
         "t.json: added_tokens: nothing is left of \"\xE2\x80\x8B\" once it is normalized"},
        {TOKENIZER("\"normalizer\":null", "", ",\"truncation\":{\"max_length\":8,\"direction\":\"Up\"}"),
         "t.json: truncation.direction \"Up\" is not supported"},
        {TOKENIZER("\"normalizer\":null", "", ",\"truncation\":{\"max_length\":8,\"strategy\":\"None\"}"),
         "t.json: truncation.strategy \"None\" is not supported"},
        {TOKENIZER("\"normalizer\":null", "", ",\"post_processor\":{\"type\":\"Other\"}"),
         "t.json: post_processor.type \"Other\" is not supported (known: TemplateProcessing, BertProcessing, "
         "RobertaProcessing, ByteLevel, Sequence)"},
        {TOKENIZER("\"normalizer\":null", "", ",\"post_processor\":{\"type\":\"Sequence\",\"processors\":["
                   "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]},"
                   "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]}]}"),
         "t.json: post_processor: two parts that add special tokens are not supported"},
        {TOKENIZER("\"normalizer\":null", "", ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
                   "{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":{}}"),
         "t.json: post_processor.special_tokens: the ids of \"[CLS]\" are missing"},
        {TOKENIZER("\"normalizer\":null", "", ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
                   "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]}"),
         "t.json: post_processor.pair: expected sequence A once and B once"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tandem_tokenizer *tokenizer;
        assert_int_equal(tandem_tokenizer_parse(&tokenizer, cases[i].json, strlen(cases[i].json), "t.json"), TANDEM_ERROR);
        assert_null(tokenizer);
        assert_message(cases[i].message);
    }
}

static void assert_hash(const char *left, const char *right, bool equal)
{
    tandem_tokenizer *a = parse(left), *b = parse(right);
    assert_int_equal(tandem_hash_equal(tandem_tokenizer_hash(a), tandem_tokenizer_hash(b)), equal);
    tandem_tokenizer_free(a);
    tandem_tokenizer_free(b);
}

static void test_hash(void **state)
{
    (void)state;
    assert_hash(UNCASED, UNCASED, true);
    assert_hash(UNCASED, TOKENIZER(NORMALIZER("true", "true"), SPECIALS, "," PROCESSOR), true); /* what null means */
    assert_hash("{" WORDPIECE("\"[UNK]\":0,\"a\":1") "," PRE_TOKENIZER "}",
                "{" PRE_TOKENIZER "," WORDPIECE("\"a\":1,\"[UNK]\":0") "}", true);
    assert_hash("{" WORDPIECE("\"[UNK]\":0,\"a\":1") "," PRE_TOKENIZER "}",
                "{" WORDPIECE("\"[UNK]\":0,\"b\":1") "," PRE_TOKENIZER "}", false);
    assert_hash(UNCASED, TOKENIZER(NORMALIZER("false", "true"), SPECIALS, "," PROCESSOR), false);
    assert_hash(UNCASED, TOKENIZER(NORMALIZER("null", "true"), ADDED("[SEP]", 3, PLAIN), "," PROCESSOR), false);
    assert_hash(UNCASED, TOKENIZER(NORMALIZER("null", "true"), SPECIALS, ""), false);
}

static void test_vocab_txt(void **state)
{
    (void)state;
    tandem_tokenizer *tokenizer;
    assert_int_equal(tandem_tokenizer_load(&tokenizer, folder), TANDEM_NOT_FOUND);
    put_file("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na \r\nb\xE3\x80\x80\na\n##b\n\xC3\xA9\n");
    assert_int_equal(tandem_tokenizer_load(&tokenizer, folder), 0);
    ASSERT_IDS(tokenizer, "AB b \xC3\xA9[SEP]", 6, 7, 5, 1, 3); /* the second "a" counts; uncased */
    assert_int_equal(tandem_tokenizer_vocab_size(tokenizer), 9);
    tandem_tokenizer_free(tokenizer);
    put_file("tokenizer_config.json", "{\"do_lower_case\": false, \"tokenizer_class\": \"BertTokenizer\"}");
    assert_int_equal(tandem_tokenizer_load(&tokenizer, folder), 0);
    ASSERT_IDS(tokenizer, "AB b \xC3\xA9[SEP]", 1, 5, 8, 3);
    tandem_tokenizer_free(tokenizer);
    put_file("vocab.txt", "[UNK]\n[CLS]\n");
    assert_fails(tandem_tokenizer_load(&tokenizer, folder), "vocab.txt: the vocabulary has no [SEP]");
    put_file("vocab.txt", "[UNK]\n\xC3(\n");
    assert_fails(tandem_tokenizer_load(&tokenizer, folder), "vocab.txt:2: invalid UTF-8");
    put_file("tokenizer.json", UNCASED); /* comes first */
    assert_int_equal(tandem_tokenizer_load(&tokenizer, folder), 0);
    ASSERT_IDS(tokenizer, "unaffable", UN, AFF, ABLE);
    tandem_tokenizer_free(tokenizer);
}

/* A scratch remembers words of one tokenizer; another must not see them. */
static void test_scratch_of_two(void **state)
{
    (void)state;
    tandem_tokenizer *one = parse("{" WORDPIECE("\"[UNK]\":0,\"ab\":1") "," PRE_TOKENIZER "}");
    tandem_tokenizer *two = parse("{" WORDPIECE("\"[UNK]\":0,\"a\":1,\"##b\":2") "," PRE_TOKENIZER "}");
    tandem_token_scratch *scratch = tandem_token_scratch_new();
    for (int i = 0; i < 4; i++) {
        tandem_tokens tokens;
        assert_int_equal(tandem_tokenizer_bare(i % 2 ? two : one, scratch, "ab ab", 5, 0, false, &tokens), 0);
        assert_int_equal(tokens.count, i % 2 ? 4 : 2);
    }
    tandem_token_scratch_free(scratch);
    tandem_tokenizer_free(one);
    tandem_tokenizer_free(two);
}

/* A million marks in the wrong order are put in order at once, not in quadratic time:
 * U+302E (class 224) before U+1B44 (class 9). */
static void test_many_marks(void **state)
{
    (void)state;
    enum { MARKS = 500000, BYTES = 3 };
    tandem_tokenizer *tokenizer = parse(UNCASED);
    char *text = tandem_alloc(2 * MARKS + 1, BYTES);
    assert_non_null(text);
    for (size_t i = 0; i < MARKS; i++) {
        memcpy(text + BYTES * i, "\xE3\x80\xAE", BYTES);
        memcpy(text + BYTES * (MARKS + i), "\xE1\xAD\x84", BYTES);
    }
    assert_tokens(tokenizer, text, 2 * MARKS * BYTES, 1, IDS(UNK), IDS(0, 2 * MARKS));
    free(text);
    tandem_tokenizer_free(tokenizer);
}

static void *tokenize_often(void *raw)
{
    static const char text[] = "unaffable caf\xC3\xA9[MASK]";
    tandem_token_scratch *scratch = tandem_token_scratch_new();
    size_t right = 0;
    for (int i = 0; i < 2000 && scratch; i++) {
        tandem_tokens tokens;
        int rc = tandem_tokenizer_bare(raw, scratch, text, sizeof text - 1, 0, true, &tokens);
        right += rc == 0 && tokens.count == 5 && tokens.ids[1] == AFF && tokens.starts[4] == 14 ? 1 : 0;
    }
    tandem_token_scratch_free(scratch);
    return (void *)right;
}

static void test_threads(void **state)
{
    (void)state;
    tandem_tokenizer *tokenizer = parse(UNCASED);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, tokenize_often, tokenizer), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *right;
        assert_int_equal(pthread_join(threads[i], &right), 0);
        assert_int_equal((size_t)right, 2000);
    }
    tandem_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),       cmocka_unit_test(test_longest_word), cmocka_unit_test(test_normalizer),
        cmocka_unit_test(test_broken_utf8),  cmocka_unit_test(test_added_tokens), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_plan),         cmocka_unit_test(test_assemble),     cmocka_unit_test(test_settings),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_hash),         cmocka_unit_test(test_scratch_of_two),
        cmocka_unit_test(test_many_marks),   cmocka_unit_test(test_threads),
        cmocka_unit_test_setup_teardown(test_vocab_txt, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
