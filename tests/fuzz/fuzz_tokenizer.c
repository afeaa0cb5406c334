/* First byte even: the rest is a tokenizer.json, and then text for it. Odd: the rest is
 * text for tokenizers with every rule of BERT's, every flag of an added token, and every kind of
 * part, chosen by that byte. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tandem/memory.h"
#include "tandem/tokenizer.h"

#define MODEL                                                                                                     \
    "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\"," \
    "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":10,\"vocab\":{\"[UNK]\":0,\"a\":1,\"##a\":2," \
    "\"caf\":3,\"##\xC3\xA9\":4,\"[SEP]\":5,\"\xE6\x97\xA5\":6}}"
#define ADDED(normalized)                                                                                          \
    "\"added_tokens\":[{\"id\":5,\"content\":\"[SEP]\",\"normalized\":false},{\"id\":7,\"content\":\"Caf\",\"normalized\":" \
    normalized ",\"single_word\":true},{\"id\":8,\"content\":\"a [\",\"lstrip\":true,\"rstrip\":true,\"normalized\":" \
    normalized "},{\"id\":9,\"content\":\" \xC3\xA9\",\"lstrip\":true,\"rstrip\":true,\"normalized\":" normalized "}]"
#define TEMPLATE                                                                                                   \
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"  \
    "{\"SpecialToken\":{\"id\":\"s\",\"type_id\":1}}],\"pair\":[{\"Sequence\":{\"id\":\"B\",\"type_id\":1}},"       \
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"special_tokens\":{\"s\":{\"id\":\"s\",\"ids\":[5,1]}}}"
#define RULES(clean, strip, lower)                                                                                 \
    "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":" clean ",\"handle_chinese_chars\":true,"          \
    "\"strip_accents\":" strip ",\"lowercase\":" lower "}"

#define VOCAB "\"<unk>\":0,\"a\":1,\"b\":2,\"ab\":3,\"\xC4\xA0\":4,\"\xC4\xA0" "a\":5,\"-\":6,\"\xC3\xA9\":7,\"\xE2\x96\x81\":8"
#define BPE(more)                                                                                              \
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\"," more "\"vocab\":{" VOCAB "},\"merges\":[[\"a\",\"b\"]," \
    "[\"\xC4\xA0\",\"a\"]]}"
#define UNIGRAM                                                                                                \
    "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"\xE2\x96\x81\",-2],[\"a\",-3]," \
    "[\"\xE2\x96\x81" "a\",-3.5],[\"\xC3\xA9\",-4]]}"
#define WORDLEVEL "\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"<unk>\",\"vocab\":{" VOCAB "}}"
#define MARKS(normalized)                                                                                      \
    "\"added_tokens\":[{\"id\":9,\"content\":\" b\",\"lstrip\":true,\"rstrip\":true,\"normalized\":" normalized "}]"
#define SEQUENCE(key, parts) "{\"type\":\"Sequence\",\"" key "\":[" parts "]}"
#define LEFT ",\"truncation\":{\"max_length\":5,\"stride\":2,\"strategy\":\"OnlyFirst\",\"direction\":\"Left\"}"

static const char *const made[] = {
    "{" RULES("true", "null", "true") "," ADDED("false") "," TEMPLATE "," MODEL "}",
    "{" RULES("true", "null", "true") "," ADDED("true") "," TEMPLATE "," MODEL "}",
    "{" RULES("false", "true", "false") "," ADDED("true") "," MODEL "}",
    "{" RULES("false", "false", "true") "," ADDED("false") "," MODEL "}",
    "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true}," MARKS("true")
    "," BPE("") ",\"post_processor\":{\"type\":\"RobertaProcessing\",\"sep\":[\"a\",1],\"cls\":[\"b\",2]}}",
    "{\"normalizer\":" SEQUENCE("normalizers", "{\"type\":\"Nmt\"},{\"type\":\"NFKD\"},{\"type\":\"StripAccents\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(?=b)| {2,}\"},\"content\":\" \"},{\"type\":\"Strip\"},{\"type\":\"Lowercase\"}")
    ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"first\"}," UNIGRAM LEFT "}",
    "{\"normalizer\":" SEQUENCE("normalizers", "{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"},{\"type\":\"Replace\",\"pattern\":"
    "{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"},{\"type\":\"NFKC\"},{\"type\":\"ByteLevel\"}") "," MARKS("false") ","
    BPE("\"fuse_unk\":true,") "}",
    "{\"pre_tokenizer\":" SEQUENCE("pretokenizers", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a-z]+|(?=-)\"},\"behavior\":"
    "\"MergedWithNext\",\"invert\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":true},{\"type\":\"Digits\"},{\"type\":\"FixedLength\","
    "\"length\":3},{\"type\":\"Punctuation\",\"behavior\":\"MergedWithPrevious\"},{\"type\":\"WhitespaceSplit\"},{\"type\":\"Whitespace\"},"
    "{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"\xC4\xA0\"}") "," MARKS("true") "," WORDLEVEL "}",
};
enum { MADE = sizeof made / sizeof made[0] };

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    TANDEM_FUZZ_SEED("\0{" RULES("true", "null", "true") "," ADDED("true") "," TEMPLATE "," MODEL
                     ",\"truncation\":{\"max_length\":9,\"direction\":\"Right\",\"strategy\":\"LongestFirst\"},"
                     "\"padding\":{\"pad_id\":0,\"direction\":\"Right\"}}"),
    TANDEM_FUZZ_SEED("\001 Caf\xC3\xA9  \xC3\xA9 a [ [SEP]\xE6\x97\xA5 aaaaaaaaaaaa \xC4\xB0\xE1\xAD\x84\xF0\x9D\x85\xA7\xF0\x9D\x85\x9F."),
    TANDEM_FUZZ_SEED("\003Cafa [  \xC3\xA9 \xC3\xA9[SEP]\xE3\x80\xAE\xCC\x81\xEA\xB0\x81\t\x0B\xE2\x80\x8B\xED\xA0\x80\xF4\x90\x80\x80"),
    TANDEM_FUZZ_SEED("\005caf\xC3\xA9" "CAF a\xCC\xA3\xCC\x81\xE0\xB3\x80"),
    TANDEM_FUZZ_SEED("\007Caf a [a [  \xC4\xB0\0\xC2\x85"),
    TANDEM_FUZZ_SEED("\011a  b ab-\xC3\xA9 'll e\xCC\x81 b b\xFF\xF0\x9F\x98\x80 12"),
    TANDEM_FUZZ_SEED("\013  b a\xCC\x81\xE2\x96\x81\xEF\xAC\x81  \x01 A B \xEA\xB0\x81 a "),
    TANDEM_FUZZ_SEED("\015 a b\xE2\x96\x81 ab  \xC2\xBD\xCD\x84\xEF\xBF"),
    TANDEM_FUZZ_SEED("\017-a--b 12\xE0\xA5\xA7 3 b b.,\xC2\xA0\xE3\x80\x80x-"),
    TANDEM_FUZZ_SEED("\0{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"\"},\"behavior\":\"Removed\"}," WORDLEVEL LEFT "}"),
    TANDEM_FUZZ_SEED("\0{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"BAAAAAAAAAA=\"}," BPE("") "}"),
    TANDEM_FUZZ_SEED("\0{" BPE("\"byte_fallback\":true,") ",\"post_processor\":" SEQUENCE("processors", "{\"type\":\"ByteLevel\"}") "}"),
    {NULL, 0},
};

static void check_tokens(const tandem_tokenizer *tokenizer, const tandem_tokens *tokens, size_t length)
{
    for (size_t i = 0; i < tokens->count; i++) {
        if (tokens->ids[i] >= tandem_tokenizer_vocab_size(tokenizer) || tokens->ends[i] > length) {
            abort();
        }
    }
}

static int check_window(void *context, size_t window, const tandem_encoding *encoding)
{
    (void)window;
    const tandem_tokenizer *tokenizer = context;
    for (size_t i = 0; i < encoding->count; i++) {
        if (encoding->ids[i] >= tandem_tokenizer_vocab_size(tokenizer)) {
            abort();
        }
    }
    return TANDEM_OK;
}

/* All windows of a short text and of a pair of it. */
static void encode(tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text, size_t length)
{
    const tandem_truncation truncation = {.max_length = length % 11,
                                          .stride = length % 3,
                                          .strategy = (tandem_truncation_strategy)(length % 5 % 3),
                                          .left = length % 2 != 0};
    tandem_input input = {text, length < 48 ? length : 48, NULL, 0};
    for (int pair = 0; pair < 2; pair++) {
        input.pair = pair ? text : NULL;
        input.pair_length = pair ? input.length / 2 : 0;
        (void)tandem_tokenizer_encode(tokenizer, scratch, &input, &truncation, true, check_window, tokenizer);
    }
}

/* The first tokens of a text do not depend on the limit, nor on whether offsets are wanted, nor
 * on what the scratch has seen; an assembled pair has the planned length. A model without an
 * unknown token may fail. */
static void tokenize(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text, size_t length)
{
    tandem_tokens all, cut;
    if (tandem_tokenizer_bare(tokenizer, scratch, text, length, 0, true, &all) < 0) {
        return;
    }
    check_tokens(tokenizer, &all, length);
    size_t total = all.count, limit = length % 7 + 1, wanted = total < limit ? total : limit;
    uint32_t *ids = tandem_alloc(2 * total + 16, sizeof *ids);
    if (!ids || all.total != total) {
        abort();
    }
    memcpy(ids, all.ids, total * sizeof *ids);
    for (size_t turn = 0; turn < 2; turn++) {
        size_t most = turn == 0 ? 0 : limit, given = turn == 0 ? total : wanted;
        if (tandem_tokenizer_bare(tokenizer, scratch, text, length, most, false, &cut) < 0 || cut.total != total ||
            cut.count != given || memcmp(ids, cut.ids, given * sizeof *ids) != 0) {
            abort();
        }
    }
    tandem_assembly plan;
    tandem_bare side = {cut.ids, cut.total};
    if (tandem_tokenizer_plan(tokenizer, total, &total, limit, &plan) == TANDEM_OK &&
        (plan.total > limit || tandem_tokenizer_assemble(tokenizer, side, &side, limit, ids, NULL, NULL) < 0)) {
        abort();
    }
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    const char *json = data[0] % 2 ? made[data[0] / 2 % MADE] : text;
    tandem_tokenizer *tokenizer;
    tandem_token_scratch *scratch = tandem_token_scratch_new();
    int rc = tandem_tokenizer_parse(&tokenizer, json, data[0] % 2 ? strlen(json) : size - 1, "input");
    if (!scratch || (rc < 0 && data[0] % 2)) {
        abort();
    }
    if (rc == TANDEM_OK) {
        tokenize(tokenizer, scratch, text, size - 1);
        encode(tokenizer, scratch, text, size - 1);
        tandem_tokenizer_free(tokenizer);
    }
    tandem_token_scratch_free(scratch);
    return 0;
}
