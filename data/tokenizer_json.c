/* tokenizer_json.c - reading tokenizer.json: the model, the added tokens, and what calls the
 * readers of the other parts. Each kind of part has a table of the types that are known; any
 * other is refused by its name. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_parts.h"
#include "tandem/json.h"
#include "tandem/memory.h"

/* ---- model ------------------------------------------------------------------------------------ */
static int read_wordpiece(tandem_tokenizer *tokenizer, const cJSON *part, const char *source)
{
    TANDEM_TRY(tandem_wordpiece_new(&tokenizer->model.wordpiece, part, source));
    tandem_wordpiece_hash(tokenizer->model.wordpiece, tokenizer->hasher);
    return TANDEM_OK;
}

static int read_bpe(tandem_tokenizer *tokenizer, const cJSON *part, const char *source)
{
    tandem_pre_tokenizers *cuts = &tokenizer->pre_tokenizers;
    tandem_cut *last = cuts->count > 0 ? &cuts->items[cuts->count - 1] : NULL;
    bool byte_level = last && last->kind == TANDEM_CUT_BYTE_LEVEL;
    TANDEM_TRY(tandem_bpe_new(&tokenizer->model.bpe, part, byte_level, source));
    if (byte_level) {
        last->raw = true; /* the bytes go to the model as they are */
    }
    tandem_bpe_hash(tokenizer->model.bpe, tokenizer->hasher);
    return TANDEM_OK;
}

static int read_unigram(tandem_tokenizer *tokenizer, const cJSON *part, const char *source)
{
    TANDEM_TRY(tandem_unigram_new(&tokenizer->model.unigram, part, source));
    tandem_unigram_hash(tokenizer->model.unigram, tokenizer->hasher);
    return TANDEM_OK;
}

static int read_wordlevel(tandem_tokenizer *tokenizer, const cJSON *part, const char *source)
{
    TANDEM_TRY(tandem_wordlevel_new(&tokenizer->model.wordlevel, part, source));
    tandem_wordlevel_hash(tokenizer->model.wordlevel, tokenizer->hasher);
    return TANDEM_OK;
}

static const struct {
    const char *type;
    int (*read)(tandem_tokenizer *tokenizer, const cJSON *part, const char *source);
} models[] = {
    [TANDEM_WORDPIECE] = {"WordPiece", read_wordpiece},
    [TANDEM_BPE] = {"BPE", read_bpe},
    [TANDEM_UNIGRAM] = {"Unigram", read_unigram},
    [TANDEM_WORDLEVEL] = {"WordLevel", read_wordlevel},
};
enum { MODELS = sizeof models / sizeof models[0] };

/* Older files do not name the type; the library then takes the first whose members are
 * there, in this order (models/mod.rs). */
static size_t guess_model(const cJSON *part)
{
    if (tandem_json_member(part, "merges")) {
        return TANDEM_BPE;
    }
    if (tandem_json_member(part, "continuing_subword_prefix")) {
        return TANDEM_WORDPIECE;
    }
    const cJSON *vocab = tandem_json_member(part, "vocab");
    return cJSON_IsObject(vocab) ? TANDEM_WORDLEVEL : cJSON_IsArray(vocab) ? TANDEM_UNIGRAM : MODELS;
}

static int read_model(tandem_tokenizer *tokenizer, const cJSON *root, const char *source)
{
    const cJSON *part = tandem_json_member(root, "model");
    const char *names[MODELS + 1] = {NULL};
    for (size_t i = 0; i < MODELS; i++) {
        names[i] = models[i].type;
    }
    if (!cJSON_IsObject(part)) {
        return tandem_error("%s: model: expected an object", source);
    }
    size_t row = tandem_json_member(part, "type") ? MODELS : guess_model(part);
    if (row == MODELS) {
        TANDEM_TRY(tandem_part_type(part, "model", names, source, &row));
    }
    tokenizer->model.kind = (tandem_model_kind)row;
    return models[row].read(tokenizer, part, source);
}

/* ---- added_tokens -------------------------------------------------------------------------------- */
/* The library gives ids itself and only warns where the file has others. */
static int read_added_token(tandem_tokenizer *tokenizer, const cJSON *item, const char *source)
{
    tandem_added_token flags = {0};
    bool special = false; /* says what decoding leaves out: nothing here depends on it */
    const char *content;
    uint32_t declared = 0, id;
    TANDEM_TRY(tandem_json_get_string(item, "content", source, &content));
    TANDEM_TRY(tandem_part_id(tandem_json_member(item, "id"), "id", source, &declared));
    TANDEM_TRY(tandem_json_get_bool_or(item, "single_word", source, &flags.single_word));
    TANDEM_TRY(tandem_json_get_bool_or(item, "lstrip", source, &flags.lstrip));
    TANDEM_TRY(tandem_json_get_bool_or(item, "rstrip", source, &flags.rstrip));
    TANDEM_TRY(tandem_json_get_bool_or(item, "normalized", source, &flags.normalized));
    TANDEM_TRY(tandem_json_get_bool_or(item, "special", source, &special));
    TANDEM_TRY(tandem_tokenizer_add_token(tokenizer, content, &flags, source, &id));
    if (id != declared) {
        return tandem_error("%s: added_tokens: \"%s\" has id %u, but Hugging Face tokenizers gives it %u", source,
                            content, declared, id);
    }
    return TANDEM_OK;
}

static int read_added_tokens(tandem_tokenizer *tokenizer, const cJSON *root, const char *source)
{
    const cJSON *tokens = tandem_json_member(root, "added_tokens");
    if (!tokens || cJSON_IsNull(tokens)) {
        return TANDEM_OK;
    }
    if (!cJSON_IsArray(tokens)) {
        return tandem_error("%s: added_tokens: expected an array", source);
    }
    tandem_strmap *seen = tandem_strmap_new((size_t)cJSON_GetArraySize(tokens));
    int rc = seen ? TANDEM_OK : TANDEM_ERROR;
    for (const cJSON *item = tokens->child; item && rc == TANDEM_OK; item = item->next) {
        const char *content;
        TANDEM_TRY_GOTO(rc, done, read_added_token(tokenizer, item, source));
        TANDEM_TRY_GOTO(rc, done, tandem_json_get_string(item, "content", source, &content));
        TANDEM_TRY_GOTO(rc, done, tandem_strmap_add(seen, content, strlen(content), 0, NULL));
        rc = rc == 1 ? TANDEM_OK : tandem_error("%s: added_tokens: \"%s\" comes twice", source, content);
    }
done:
    tandem_strmap_free(seen);
    return rc;
}

/* ---- truncation and padding ---------------------------------------------------------------------------- */
/* The index in names[], which NULL ends, of the member `key`; the first where it is missing. */
static int read_name(const cJSON *part, const char *name, const char *key, const char *const *names,
                     const char *source, size_t *index)
{
    const char *value = names[0];
    TANDEM_TRY(tandem_json_get_string_or(part, key, source, &value));
    for (*index = 0; names[*index]; ++*index) {
        if (strcmp(value, names[*index]) == 0) {
            return TANDEM_OK;
        }
    }
    return tandem_error("%s: %s.%s \"%s\" is not supported", source, name, key, value);
}

static int read_truncation(tandem_tokenizer *tokenizer, const cJSON *root, const char *source)
{
    static const char *const directions[] = {"Right", "Left", NULL};
    static const char *const strategies[] = {
        [TANDEM_LONGEST_FIRST] = "LongestFirst", [TANDEM_ONLY_FIRST] = "OnlyFirst", [TANDEM_ONLY_SECOND] = "OnlySecond",
        NULL};
    const cJSON *part = tandem_json_member(root, "truncation");
    if (!part || cJSON_IsNull(part)) {
        return TANDEM_OK;
    }
    int64_t max_length, stride = 0;
    size_t direction, strategy;
    TANDEM_TRY(tandem_json_get_int(part, "max_length", source, 1, INT32_MAX, &max_length));
    TANDEM_TRY(tandem_json_get_int_or(part, "stride", source, 0, INT32_MAX, &stride));
    TANDEM_TRY(read_name(part, "truncation", "direction", directions, source, &direction));
    TANDEM_TRY(read_name(part, "truncation", "strategy", strategies, source, &strategy));
    tokenizer->truncation = (tandem_truncation){.max_length = (size_t)max_length,
                                                .stride = (size_t)stride,
                                                .strategy = (tandem_truncation_strategy)strategy,
                                                .left = direction == 1};
    return TANDEM_OK;
}

/* Of no use here but for its id: batches are not padded. */
static int read_padding(tandem_tokenizer *tokenizer, const cJSON *root, const char *source)
{
    const cJSON *part = tandem_json_member(root, "padding");
    if (part && !cJSON_IsNull(part)) {
        int64_t id;
        TANDEM_TRY(tandem_json_get_int(part, "pad_id", source, 0, INT32_MAX - 1, &id));
        tokenizer->pad_id = (uint32_t)id;
        return TANDEM_OK;
    }
    uint32_t bert = tandem_tokenizer_find(tokenizer, "[PAD]", 5), other = tandem_tokenizer_find(tokenizer, "<pad>", 5);
    uint32_t id = bert != TANDEM_NO_TOKEN ? bert : other;
    tokenizer->pad_id = id != TANDEM_NO_TOKEN ? id : 0;
    return TANDEM_OK;
}

/* ---- the file ------------------------------------------------------------------------------------------------ */
/* Offsets are trimmed by the vocabulary's own text of a token. */
static int set_spaces(tandem_tokenizer *tokenizer, const cJSON *root)
{
    if (tokenizer->processor.trims == 0 || tokenizer->model.kind == TANDEM_UNIGRAM) {
        return TANDEM_OK;
    }
    const cJSON *vocab = tandem_json_member(tandem_json_member(root, "model"), "vocab");
    return tandem_post_processor_set_spaces(&tokenizer->processor, vocab, tandem_token_model_ids(&tokenizer->model));
}

static int read_tokenizer(tandem_tokenizer *tokenizer, const cJSON *root, const char *source)
{
    const char *version = "1.0";
    TANDEM_TRY(tandem_json_get_string_or(root, "version", source, &version));
    if (strcmp(version, "1.0") != 0) {
        return tandem_error("%s: version \"%s\" is not supported (known: 1.0)", source, version);
    }
    TANDEM_TRY(tandem_pre_tokenizers_read(&tokenizer->pre_tokenizers, tandem_json_member(root, "pre_tokenizer"),
                                          tokenizer->hasher, source));
    TANDEM_TRY(read_model(tokenizer, root, source)); /* which asks how words are cut */
    TANDEM_TRY(tandem_normalizers_read(&tokenizer->normalizers, tandem_json_member(root, "normalizer"),
                                       tokenizer->hasher, source));
    TANDEM_TRY(tandem_post_processor_read(&tokenizer->processor, tandem_json_member(root, "post_processor"), source));
    TANDEM_TRY(set_spaces(tokenizer, root));
    TANDEM_TRY(read_added_tokens(tokenizer, root, source));
    TANDEM_TRY(read_truncation(tokenizer, root, source));
    TANDEM_TRY(read_padding(tokenizer, root, source));
    return tandem_tokenizer_finish(tokenizer, source);
}

int tandem_tokenizer_parse(tandem_tokenizer **out, const char *text, size_t length, const char *source)
{
    *out = NULL;
    cJSON *root = NULL;
    TANDEM_TRY(tandem_json_parse(&root, text, length, source));
    tandem_tokenizer *tokenizer = tandem_tokenizer_new(source);
    int rc = tokenizer ? read_tokenizer(tokenizer, root, source) : TANDEM_ERROR;
    tandem_json_free(root);
    if (rc < 0) {
        tandem_tokenizer_free(tokenizer);
        return rc;
    }
    *out = tokenizer;
    return TANDEM_OK;
}
