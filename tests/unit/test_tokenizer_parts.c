/* The parts of a tokenizer.json that BERT's does not have: each on a WordLevel vocabulary, so
 * that words show as they are cut. Expected values are Hugging Face tokenizers 0.23.3's. */
#include "folder.h"
#include "tandem/memory.h"
#include "tandem/tokenizer.h"

enum { UNK, S, END, MASK };

#define VOCAB                                                                                                    \
    "\"<unk>\":0,\"<s>\":1,\"</s>\":2,\"<mask>\":3,\"a\":4,\"b\":5,\"ab\":6,\" \":7,\"-\":8,\"12\":9,\"1\":10,"     \
    "\"2\":11,\"\xE2\x96\x81" "a\":12,\"\xE2\x96\x81" "b\":13,\"\xE2\x96\x81\":14,\"e\xCC\x81\":15,\"\xC3\xA9\":16," \
    "\"e\":17,\"xy\":18,\"\xC4\xA0" "a\":19,\"\xC4\xA0" "b\":20,\"\xC3\x83\xC2\xA9\":21,\"a-\":22,\"-b\":23,\"--\":24," \
    "\" a\":25,\"b \":26,\"fi\":27,\"xyb\":28,\"\xC4\xA0\":29"
#define WORDLEVEL "\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"<unk>\",\"vocab\":{" VOCAB "}}"
#define MASK_TOKEN                                                                                       \
    "\"added_tokens\":[{\"id\":3,\"content\":\"<mask>\",\"single_word\":false,\"lstrip\":true,"           \
    "\"rstrip\":false,\"normalized\":false,\"special\":true}]"
#define TOKENIZER(parts) "{" parts "," MASK_TOKEN "," WORDLEVEL "}"
#define NORMALIZER(part) TOKENIZER("\"normalizer\":" part)
#define CUTS(part) TOKENIZER("\"pre_tokenizer\":" part)

static tandem_tokenizer *parse(const char *json)
{
    tandem_tokenizer *tokenizer;
    if (tandem_tokenizer_parse(&tokenizer, json, strlen(json), "t.json") < 0) {
        fail_msg("%s", tandem_error_message());
    }
    return tokenizer;
}

/* The same ids with offsets and without, which take different ways, and the offsets as pairs. */
static void assert_tokens(const char *json, const char *text, size_t count, const uint32_t *ids,
                          const uint32_t *offsets)
{
    tandem_tokenizer *tokenizer = parse(json);
    tandem_token_scratch *scratch = tandem_token_scratch_new();
    assert_non_null(scratch);
    tandem_tokens tokens;
    for (int with_offsets = 0; with_offsets < 2; with_offsets++) {
        if (tandem_tokenizer_bare(tokenizer, scratch, text, strlen(text), 0, with_offsets, &tokens) < 0) {
            fail_msg("%s", tandem_error_message());
        }
        assert_int_equal(tokens.count, count);
        assert_memory_equal(tokens.ids, ids, count * sizeof *ids);
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tokens.starts[i], offsets[2 * i]);
        assert_int_equal(tokens.ends[i], offsets[2 * i + 1]);
    }
    tandem_token_scratch_free(scratch);
    tandem_tokenizer_free(tokenizer);
}

#define LIST(...) (const uint32_t[]){__VA_ARGS__}
#define COUNT(...) (sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
#define IDS(...) COUNT(__VA_ARGS__), LIST(__VA_ARGS__)
#define AT LIST

static void test_normalizers(void **state)
{
    (void)state;
    assert_tokens(NORMALIZER("{\"type\":\"NFD\"}"), "\xC3\xA9", IDS(15), AT(0, 1));
    assert_tokens(NORMALIZER("{\"type\":\"NFC\"}"), "e\xCC\x81", IDS(16), AT(0, 1)); /* the library's offset */
    assert_tokens(NORMALIZER("{\"type\":\"NFKC\"}"), "\xEF\xAC\x81", IDS(27), AT(0, 1));
    assert_tokens(NORMALIZER("{\"type\":\"Lowercase\"}"), "AB", IDS(6), AT(0, 2));
    assert_tokens(NORMALIZER("{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}"), " ab\t", IDS(6), AT(1, 3));
    assert_tokens(NORMALIZER("{\"type\":\"Strip\",\"strip_left\":false,\"strip_right\":true}"), " a ", IDS(25), AT(0, 2));
    assert_tokens(NORMALIZER("{\"type\":\"Nmt\"}"), "\x01" "a\x7F" "b", IDS(6), AT(1, 4));
    assert_tokens(NORMALIZER("{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"}"), "a", IDS(12), AT(0, 1));
    assert_tokens(NORMALIZER("{\"type\":\"ByteLevel\"}"), "\xC3\xA9", IDS(21), AT(0, 1));
    assert_tokens(NORMALIZER("{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"xy\"}"), "ab", IDS(28),
                  AT(0, 2));
    assert_tokens(NORMALIZER("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"-+\"},\"content\":\"\"}"), "a--b", IDS(6),
                  AT(0, 4));
    assert_tokens(NORMALIZER("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"StripAccents\"}]}"),
                  "\xC3\xA9", IDS(17), AT(0, 1));
}

/* An empty match before the first character: what is put there covers nothing. */
static void test_inserted_at_the_start(void **state)
{
    (void)state;
    assert_tokens(TOKENIZER("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(?=a)\"},\"content\":\"-\"},"
                            "\"pre_tokenizer\":{\"type\":\"Punctuation\"}"), "<mask>ab", IDS(MASK, 8, 6),
                  AT(0, 6, 6, 6, 6, 8));
}

static void test_words(void **state)
{
    (void)state;
    assert_tokens(CUTS("{\"type\":\"Whitespace\"}"), "a-b  12", IDS(4, 8, 5, 9), AT(0, 1, 1, 2, 2, 3, 5, 7));
    assert_tokens(CUTS("{\"type\":\"WhitespaceSplit\"}"), " a-\tb", IDS(22, 5), AT(1, 3, 4, 5));
    assert_tokens(CUTS("{\"type\":\"BertPreTokenizer\"}"), "a--b", IDS(4, 8, 8, 5), AT(0, 1, 1, 2, 2, 3, 3, 4));
    assert_tokens(CUTS("{\"type\":\"Digits\",\"individual_digits\":true}"), "a12", IDS(4, 10, 11), AT(0, 1, 1, 2, 2, 3));
    assert_tokens(CUTS("{\"type\":\"Digits\",\"individual_digits\":false}"), "a12", IDS(4, 9), AT(0, 1, 1, 3));
    assert_tokens(CUTS("{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"-\"}"), "a--b", IDS(4, 5), AT(0, 1, 3, 4));
    assert_tokens(CUTS("{\"type\":\"FixedLength\",\"length\":2}"), "ab12e", IDS(6, 9, 17), AT(0, 2, 2, 4, 4, 5));
    assert_tokens(CUTS("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":"
                       "\"Punctuation\",\"behavior\":\"Removed\"}]}"), "a-b ab", IDS(4, 5, 6), AT(0, 1, 2, 3, 4, 6));
}

#define SPLIT(behavior, invert) \
    CUTS("{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":\"" behavior "\",\"invert\":" invert "}")

static void test_behaviors(void **state)
{
    (void)state;
    assert_tokens(SPLIT("Removed", "false"), "a--b", IDS(4, 5), AT(0, 1, 3, 4));
    assert_tokens(SPLIT("Removed", "true"), "a--b", IDS(8, 8), AT(1, 2, 2, 3));
    assert_tokens(SPLIT("Isolated", "false"), "a--b", IDS(4, 8, 8, 5), AT(0, 1, 1, 2, 2, 3, 3, 4));
    assert_tokens(SPLIT("Contiguous", "false"), "a--b", IDS(4, 24, 5), AT(0, 1, 1, 3, 3, 4));
    assert_tokens(SPLIT("MergedWithPrevious", "false"), "a--b", IDS(22, 8, 5), AT(0, 2, 2, 3, 3, 4));
    assert_tokens(SPLIT("MergedWithNext", "false"), "a--b", IDS(4, 8, 23), AT(0, 1, 1, 2, 2, 4));
}

/* As Rust's from_utf8_lossy and Python's errors="replace" read the same bytes. */
static void test_broken_utf8(void **state)
{
    (void)state;
    const char *words = CUTS("{\"type\":\"WhitespaceSplit\"}");
    assert_tokens(words, "\xF0\x9F\x98 a", IDS(UNK, 4), AT(0, 1, 2, 3)); /* a start that breaks off: one */
    assert_tokens(words, "a \xED\xA0\x80<mask>\xC3", IDS(4, UNK, MASK, UNK), AT(0, 1, 2, 5, 5, 11, 11, 12));
}

#define METASPACE(scheme, split)                                                                              \
    CUTS("{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"" scheme "\",\"split\":" split "}")

static void test_metaspace(void **state)
{
    (void)state;
    assert_tokens(METASPACE("always", "true"), "a  b", IDS(12, 14, 13), AT(0, 1, 1, 2, 2, 4));
    assert_tokens(METASPACE("always", "true"), "a<mask>b", IDS(12, MASK, 13), AT(0, 1, 1, 7, 7, 8));
    assert_tokens(METASPACE("first", "true"), "a<mask>b", IDS(12, MASK, 5), AT(0, 1, 1, 7, 7, 8));
    assert_tokens(METASPACE("first", "true"), "<mask>b", IDS(MASK, 5), AT(0, 6, 6, 7));
    assert_tokens(METASPACE("never", "true"), "a b", IDS(4, 13), AT(0, 1, 1, 3));
    assert_tokens(METASPACE("always", "false"), " ", IDS(14), AT(0, 1));
    /* "first" asks for the first character of the text: not of what a normalizer leaves of it. */
    assert_tokens(TOKENIZER("\"normalizer\":{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true},"
                            "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\","
                            "\"prepend_scheme\":\"first\"}"), " b", IDS(5), AT(1, 2));
}

static void test_byte_level(void **state)
{
    (void)state;
    assert_tokens(CUTS("{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}"), "a b<mask>\xC3\xA9",
                  IDS(19, 20, MASK, UNK), AT(0, 1, 1, 3, 3, 9, 9, 10));
    assert_tokens(CUTS("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"), "a b\xC3\xA9",
                  IDS(4, UNK), AT(0, 1, 1, 4));
    assert_tokens(CUTS("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"), "\xC3\xA9", IDS(21),
                  AT(0, 1));
}

#define ROBERTA(trim)                                                                                        \
    TOKENIZER("\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true},"       \
              "\"post_processor\":{\"type\":\"RobertaProcessing\",\"sep\":[\"</s>\",2],\"cls\":[\"<s>\",1]," \
              "\"trim_offsets\":" trim ",\"add_prefix_space\":true}")

static void test_trimmed_offsets(void **state)
{
    (void)state;
    assert_tokens(ROBERTA("false"), "a b <mask>", IDS(19, 20, MASK), AT(0, 1, 1, 3, 3, 10));
    assert_tokens(ROBERTA("true"), "a b <mask>", IDS(19, 20, MASK), AT(0, 1, 2, 3, 4, 10));
    /* What was prepended after an added token is trimmed from the text itself. */
    assert_tokens(ROBERTA("true"), "<mask>a", IDS(MASK, 19), AT(0, 6, 7, 7));
    assert_tokens(ROBERTA("true"), " a", IDS(19), AT(0, 2)); /* the first keeps its space */
}

/* ---- what the library's encode gives ------------------------------------------------------- */
typedef struct {
    tandem_buffer out;
} printed;

/* "ids/type ids" of each window, separated by "; ". */
static int print(void *context, size_t window, const tandem_encoding *encoding)
{
    printed *p = context;
    assert_true(window == 0 || p->out.length > 0);
    TANDEM_TRY(window > 0 ? tandem_buffer_puts(&p->out, "; ") : 0);
    for (size_t i = 0; i < encoding->count; i++) {
        TANDEM_TRY(tandem_buffer_printf(&p->out, "%s%u", i ? " " : "", encoding->ids[i]));
    }
    TANDEM_TRY(tandem_buffer_puts(&p->out, "/"));
    for (size_t i = 0; i < encoding->count; i++) {
        TANDEM_TRY(tandem_buffer_printf(&p->out, "%u", encoding->type_ids[i]));
    }
    return 0;
}

static void assert_windows(const char *json, const char *text, const char *pair, tandem_truncation truncation,
                           const char *expected)
{
    tandem_tokenizer *tokenizer = parse(json);
    tandem_token_scratch *scratch = tandem_token_scratch_new();
    const tandem_input input = {text, strlen(text), pair, pair ? strlen(pair) : 0};
    printed p = {TANDEM_BUFFER_INIT};
    int rc = tandem_tokenizer_encode(tokenizer, scratch, &input, &truncation, true, print, &p);
    assert_string_equal(rc < 0 ? tandem_error_message() : p.out.data, expected);
    tandem_buffer_free(&p.out);
    tandem_token_scratch_free(scratch);
    tandem_tokenizer_free(tokenizer);
}

#define TEMPLATE                                                                                                 \
    TOKENIZER("\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"post_processor\":{\"type\":\"TemplateProcessing\"," \
              "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]," \
              "\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":2}},{\"Sequence\":{\"id\":\"B\",\"type_id\":3}}]," \
              "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],\"tokens\":[\"<s>\"]}}}")

static void test_windows(void **state)
{
    (void)state;
    static const char text[] = "a b 1 2 e";
    assert_windows(TEMPLATE, text, NULL, (tandem_truncation){0}, "1 4 5 10 11 17/000000");
    assert_windows(TEMPLATE, text, NULL, (tandem_truncation){.max_length = 4, .stride = 1},
                   "1 4 5 10/0000; 1 10 11 17/0000");
    assert_windows(TEMPLATE, text, NULL, (tandem_truncation){.max_length = 4, .stride = 2, .left = true},
                   "1 10 11 17/0000; 1 5 10 11/0000; 1 4 5 10/0000");
    assert_windows(TEMPLATE, text, NULL, (tandem_truncation){.max_length = 1}, "1/0; 1 4 5 10 11 17/000000");
    /* All pairs of windows; the library leaves those that overflow their first type ids. */
    assert_windows(TEMPLATE, "a b 1", "e 12", (tandem_truncation){.max_length = 3},
                   "4 5 17/223; 10 17/03; 10 9/01; 4 5 9/221");
    assert_windows(TEMPLATE, "a b", "e 12", (tandem_truncation){.max_length = 2},
                   "4 17/23; 5 17/03; 5 9/01; 4 9/21");
}

static void test_strategies(void **state)
{
    (void)state;
    assert_windows(TEMPLATE, "a b 1", "e 12", (tandem_truncation){.max_length = 4, .strategy = TANDEM_ONLY_SECOND},
                   "4 5 10 17/2223; 4 5 10 9/2221");
    assert_windows(TEMPLATE, "a b 1", "e 12", (tandem_truncation){.max_length = 3, .strategy = TANDEM_ONLY_SECOND},
                   "truncation only_second: the other text's 3 tokens leave the second none of 3");
    assert_windows(TEMPLATE, "a b 1", NULL, (tandem_truncation){.max_length = 3, .strategy = TANDEM_ONLY_SECOND},
                   "truncation only_second: a text of 3 tokens is too long, and there is no second one");
    assert_windows(TEMPLATE, "a b 1", "e", (tandem_truncation){.max_length = 3, .strategy = TANDEM_ONLY_FIRST},
                   "4 5 17/223; 10 17/03");
    assert_windows(TEMPLATE, "a b 1", NULL, (tandem_truncation){.max_length = 3, .stride = 2},
                   "a stride of 2 tokens must be less than the 2 that truncation keeps");
}

/* A tokenizer that truncates on the left gives bare ids last first, so that those that a limit
 * keeps are those that assembling needs. */
static void test_left(void **state)
{
    (void)state;
    tandem_tokenizer *tokenizer = parse(TOKENIZER(
        "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"truncation\":{\"direction\":\"Left\",\"max_length\":3,"
        "\"strategy\":\"LongestFirst\",\"stride\":1}"));
    tandem_truncation own = tandem_tokenizer_truncation_settings(tokenizer);
    assert_int_equal(own.max_length, 3);
    assert_int_equal(own.stride, 1);
    assert_true(own.left);
    tandem_token_scratch *scratch = tandem_token_scratch_new();
    tandem_tokens tokens;
    assert_int_equal(tandem_tokenizer_bare(tokenizer, scratch, "a b 1 2", 7, 3, true, &tokens), 0);
    assert_int_equal(tokens.total, 4);
    assert_int_equal(tokens.count, 3);
    assert_memory_equal(tokens.ids, LIST(11, 10, 5), 3 * sizeof *tokens.ids);
    assert_int_equal(tokens.starts[0], 6);
    uint32_t ids[3];
    int64_t origin[3];
    tandem_bare bare = {tokens.ids, tokens.total};
    assert_int_equal(tandem_tokenizer_assemble(tokenizer, bare, NULL, 3, ids, NULL, origin), 0);
    assert_memory_equal(ids, LIST(5, 10, 11), sizeof ids);
    assert_memory_equal(origin, ((const int64_t[]){4, 2, 0}), sizeof origin);
    tandem_token_scratch_free(scratch);
    tandem_tokenizer_free(tokenizer);
}

/* transformers 5.23 lets tokenizer_config.json overrule tokenizer.json. */
static void test_truncation_side(void **state)
{
    (void)state;
    tandem_tokenizer *right, *left;
    put_file("tokenizer.json", CUTS("{\"type\":\"WhitespaceSplit\"}"));
    assert_int_equal(tandem_tokenizer_load(&right, folder), 0);
    assert_false(tandem_tokenizer_truncation_settings(right).left);
    put_file("tokenizer_config.json", "{\"truncation_side\":\"left\"}");
    assert_int_equal(tandem_tokenizer_load(&left, folder), 0);
    assert_true(tandem_tokenizer_truncation_settings(left).left);
    assert_false(tandem_hash_equal(tandem_tokenizer_hash(left), tandem_tokenizer_hash(right)));
    tandem_tokenizer_free(left);
    tandem_tokenizer_free(right);
    put_file("tokenizer_config.json", "{\"truncation_side\":\"top\"}");
    assert_fails(tandem_tokenizer_load(&left, folder),
                 "tokenizer_config.json: truncation_side: expected \"left\" or \"right\", found \"top\"");
    assert_null(left);
}

/* Parts within parts end somewhere, and so does their number. */
static void test_depth(void **state)
{
    (void)state;
    tandem_buffer json = TANDEM_BUFFER_INIT;
    tandem_tokenizer *tokenizer;
    assert_int_equal(tandem_buffer_puts(&json, "{" WORDLEVEL ",\"normalizer\":"), 0);
    for (int i = 0; i < 65; i++) {
        assert_int_equal(tandem_buffer_puts(&json, "{\"type\":\"Sequence\",\"normalizers\":["), 0);
    }
    for (int i = 0; i < 65; i++) {
        assert_int_equal(tandem_buffer_puts(&json, "]}"), 0);
    }
    assert_int_equal(tandem_buffer_puts(&json, "}"), 0);
    assert_fails(tandem_tokenizer_parse(&tokenizer, json.data, json.length, "t.json"),
                 "t.json: normalizer: more than 64 sequences in each other");
    tandem_buffer_clear(&json);
    assert_int_equal(tandem_buffer_puts(&json, "{" WORDLEVEL ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["),
                     0);
    for (int i = 0; i < 65; i++) {
        assert_int_equal(tandem_buffer_printf(&json, "%s{\"type\":\"Whitespace\"}", i ? "," : ""), 0);
    }
    assert_int_equal(tandem_buffer_puts(&json, "]}}"), 0);
    assert_fails(tandem_tokenizer_parse(&tokenizer, json.data, json.length, "t.json"),
                 "t.json: pre_tokenizer: more than 64 of them");
    tandem_buffer_free(&json);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *message;
    } cases[] = {
        {NORMALIZER("{\"type\":\"Replace\",\"pattern\":\"a\",\"content\":\"\"}"),
         "t.json: normalizer.pattern: expected {\"String\": ...} or {\"Regex\": ...}"},
        {NORMALIZER("{\"type\":\"Sequence\"}"), "t.json: normalizer.normalizers: expected an array"},
        {CUTS("{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Kept\"}"),
         "t.json: pre_tokenizer.behavior \"Kept\" is not supported"},
        {CUTS("{\"type\":\"Metaspace\",\"replacement\":\"__\"}"),
         "t.json: pre_tokenizer.replacement: expected one character, found \"__\""},
        {CUTS("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false}"),
         "t.json: pre_tokenizer.add_prefix_space is false, but prepend_scheme is \"always\""},
        {TOKENIZER("\"post_processor\":{\"type\":\"RobertaProcessing\",\"sep\":[\"</s>\",2]}"),
         "t.json: post_processor.cls: expected [token, id]"},
        {TOKENIZER("\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"BertProcessing\",\"sep\":"
                   "[\"</s>\",2],\"cls\":[\"<s>\",1]},{\"type\":\"ByteLevel\",\"trim_offsets\":true}]}"),
         "t.json: post_processor: trim_offsets after special tokens were added is not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tandem_tokenizer *tokenizer;
        assert_fails(tandem_tokenizer_parse(&tokenizer, cases[i].json, strlen(cases[i].json), "t.json"),
                     cases[i].message);
        assert_null(tokenizer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalizers),
        cmocka_unit_test(test_inserted_at_the_start),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_behaviors),
        cmocka_unit_test(test_broken_utf8),
        cmocka_unit_test(test_metaspace),
        cmocka_unit_test(test_byte_level),
        cmocka_unit_test(test_trimmed_offsets),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_strategies),
        cmocka_unit_test(test_left),
        cmocka_unit_test_setup_teardown(test_truncation_side, make_folder, remove_folder),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
