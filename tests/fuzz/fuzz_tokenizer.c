/* First byte even: the rest is a tokenizer.json, and then text for it. Odd: the rest is
 * text for tokenizers with every rule and every flag of an added token, chosen by that byte. */
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

static const char *const made[] = {
    "{" RULES("true", "null", "true") "," ADDED("false") "," TEMPLATE "," MODEL "}",
    "{" RULES("true", "null", "true") "," ADDED("true") "," TEMPLATE "," MODEL "}",
    "{" RULES("false", "true", "false") "," ADDED("true") "," MODEL "}",
    "{" RULES("false", "false", "true") "," ADDED("false") "," MODEL "}",
};

const tandem_fuzz_seed tandem_fuzz_seeds[] = {
    TANDEM_FUZZ_SEED("\0{" RULES("true", "null", "true") "," ADDED("true") "," TEMPLATE "," MODEL
                     ",\"truncation\":{\"max_length\":9,\"direction\":\"Right\",\"strategy\":\"LongestFirst\"},"
                     "\"padding\":{\"pad_id\":0,\"direction\":\"Right\"}}"),
    TANDEM_FUZZ_SEED("\001 Caf\xC3\xA9  \xC3\xA9 a [ [SEP]\xE6\x97\xA5 aaaaaaaaaaaa \xC4\xB0\xE1\xAD\x84\xF0\x9D\x85\xA7\xF0\x9D\x85\x9F."),
    TANDEM_FUZZ_SEED("\003Cafa [  \xC3\xA9 \xC3\xA9[SEP]\xE3\x80\xAE\xCC\x81\xEA\xB0\x81\t\x0B\xE2\x80\x8B\xED\xA0\x80\xF4\x90\x80\x80"),
    TANDEM_FUZZ_SEED("\005caf\xC3\xA9" "CAF a\xCC\xA3\xCC\x81\xE0\xB3\x80"),
    TANDEM_FUZZ_SEED("\007Caf a [a [  \xC4\xB0\0\xC2\x85"),
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

/* The first tokens of a text do not depend on the limit, nor on what the scratch has seen;
 * an assembled pair has the planned length. */
static void tokenize(const tandem_tokenizer *tokenizer, const char *text, size_t length)
{
    tandem_token_scratch *scratch = tandem_token_scratch_new();
    tandem_tokens all, cut;
    if (!scratch || tandem_tokenizer_bare(tokenizer, scratch, text, length, 0, true, &all) < 0) {
        abort();
    }
    check_tokens(tokenizer, &all, length);
    size_t total = all.count, limit = length % 7 + 1, wanted = total < limit ? total : limit;
    uint32_t *ids = tandem_alloc(2 * total + 16, sizeof *ids);
    if (!ids || all.total != total) {
        abort();
    }
    memcpy(ids, all.ids, total * sizeof *ids);
    if (tandem_tokenizer_bare(tokenizer, scratch, text, length, limit, false, &cut) < 0 || cut.total != total ||
        cut.count != wanted || memcmp(ids, cut.ids, wanted * sizeof *ids) != 0) {
        abort();
    }
    tandem_assembly plan;
    tandem_bare side = {cut.ids, cut.total};
    if (tandem_tokenizer_plan(tokenizer, total, &total, limit, &plan) == TANDEM_OK &&
        (plan.total > limit || tandem_tokenizer_assemble(tokenizer, side, &side, limit, ids, NULL, NULL) < 0)) {
        abort();
    }
    free(ids);
    tandem_token_scratch_free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    const char *json = data[0] % 2 ? made[data[0] / 2 % 4] : text;
    tandem_tokenizer *tokenizer;
    int rc = tandem_tokenizer_parse(&tokenizer, json, data[0] % 2 ? strlen(json) : size - 1, "input");
    if (rc == TANDEM_OK) {
        tokenize(tokenizer, text, size - 1);
        tandem_tokenizer_free(tokenizer);
    } else if (data[0] % 2) {
        abort();
    }
    return 0;
}
