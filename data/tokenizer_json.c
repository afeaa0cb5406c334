/* tokenizer_json.c - reading tokenizer.json. Each kind of part has a table of the types
 * that are known; any other is refused by its name. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_parts.h"
#include "tandem/json.h"
#include "tandem/memory.h"

/* ---- parts by type --------------------------------------------------------------------- */
typedef struct {
    const char *type; /* NULL: the part may be null */
    int (*read)(tandem_tokenizer *tokenizer, const cJSON *part, const char *source);
} part_type;

/* `type` is NULL for a part that is null or missing, "" for one without a type. */
static int refuse_type(const char *source, const char *key, const char *type, const part_type *known, size_t count)
{
    tandem_buffer names = TANDEM_BUFFER_INIT;
    for (size_t i = 0; i < count; i++) {
        const char *name = known[i].type ? known[i].type : "null";
        int rc = tandem_buffer_printf(&names, "%s%s", i > 0 ? ", " : "", name);
        if (rc < 0) {
            tandem_buffer_free(&names);
            return rc;
        }
    }
    int rc = !type ? tandem_error("%s: %s null is not supported (known: %s)", source, key, names.data)
             : *type ? tandem_error("%s: %s.type \"%s\" is not supported (known: %s)", source, key, type, names.data)
                     : tandem_error("%s: %s.type is missing (known: %s)", source, key, names.data);
    tandem_buffer_free(&names);
    return rc;
}

static int read_part(tandem_tokenizer *tokenizer, const cJSON *root, const char *key, const part_type *known,
                     size_t count, const char *source)
{
    const cJSON *part = tandem_json_member(root, key);
    const char *type = NULL;
    if (part && !cJSON_IsNull(part)) {
        type = "";
        TANDEM_TRY(tandem_json_get_string_or(part, "type", source, &type));
    }
    for (size_t i = 0; i < count; i++) {
        bool same = type && known[i].type ? strcmp(type, known[i].type) == 0 : !type && !known[i].type;
        if (same) {
            return known[i].read(tokenizer, part, source);
        }
    }
    return refuse_type(source, key, type, known, count);
}

/* ---- normalizer and pre_tokenizer ---------------------------------------------------------- */
static int read_nothing(tandem_tokenizer *tokenizer, const cJSON *part, const char *source)
{
    (void)tokenizer, (void)part, (void)source;
    return TANDEM_OK;
}

static int read_bert_normalizer(tandem_tokenizer *tokenizer, const cJSON *part, const char *source)
{
    tandem_bert_rules *rules = &tokenizer->rules;
    rules->clean_text = rules->ideographs = rules->lowercase = true;
    TANDEM_TRY(tandem_json_get_bool_or(part, "clean_text", source, &rules->clean_text));
    TANDEM_TRY(tandem_json_get_bool_or(part, "handle_chinese_chars", source, &rules->ideographs));
    TANDEM_TRY(tandem_json_get_bool_or(part, "lowercase", source, &rules->lowercase));
    rules->strip_accents = rules->lowercase; /* what null means */
    return tandem_json_get_bool_or(part, "strip_accents", source, &rules->strip_accents);
}

static const part_type normalizers[] = {{"BertNormalizer", read_bert_normalizer}, {NULL, read_nothing}};
static const part_type pre_tokenizers[] = {{"BertPreTokenizer", read_nothing}};

/* ---- model ------------------------------------------------------------------------------------ */
/* An id in a batch is a signed 32-bit number. */
static int read_id(const cJSON *value, const char *name, const char *source, uint32_t *id)
{
    double number = cJSON_IsNumber(value) ? value->valuedouble : -1;
    if (!(number >= 0 && number < INT32_MAX) || number != (double)(uint32_t)number) {
        return tandem_error("%s: \"%s\": expected an id, a whole number from 0 to %d", source, name, INT32_MAX - 1);
    }
    *id = (uint32_t)number;
    return TANDEM_OK;
}

static int read_wordpiece(tandem_tokenizer *tokenizer, const cJSON *part, const char *source)
{
    tandem_wordpiece_settings settings = {0};
    int64_t max_chars;
    TANDEM_TRY(tandem_json_get_string(part, "unk_token", source, &settings.unk));
    TANDEM_TRY(tandem_json_get_string(part, "continuing_subword_prefix", source, &settings.prefix));
    TANDEM_TRY(tandem_json_get_int(part, "max_input_chars_per_word", source, 0, TANDEM_WORD_CHARS_MAX, &max_chars));
    settings.max_chars = (size_t)max_chars;
    const cJSON *vocab = tandem_json_member(part, "vocab");
    if (!cJSON_IsObject(vocab)) {
        return tandem_error("%s: model.vocab: expected an object of tokens and ids", source);
    }
    size_t count = (size_t)cJSON_GetArraySize(vocab);
    tandem_vocab_entry *entries = tandem_alloc(count, sizeof *entries);
    int rc = entries ? TANDEM_OK : TANDEM_ERROR;
    size_t at = 0;
    for (const cJSON *item = vocab->child; item && rc == TANDEM_OK; item = item->next, at++) {
        entries[at] = (tandem_vocab_entry){.text = item->string, .length = strlen(item->string)};
        rc = read_id(item, item->string, source, &entries[at].id);
    }
    if (rc == TANDEM_OK) {
        rc = tandem_tokenizer_set_vocab(tokenizer, entries, count, &settings, source);
    }
    free(entries);
    return rc;
}

static const part_type models[] = {{"WordPiece", read_wordpiece}};

/* ---- added_tokens -------------------------------------------------------------------------------- */
/* The library gives ids itself and only warns where the file has others. */
static int read_added_token(tandem_tokenizer *tokenizer, const cJSON *item, const char *source)
{
    tandem_added_token flags = {0};
    bool special = false; /* says what decoding leaves out: nothing here depends on it */
    const char *content;
    uint32_t declared = 0, id;
    TANDEM_TRY(tandem_json_get_string(item, "content", source, &content));
    TANDEM_TRY(read_id(tandem_json_member(item, "id"), "id", source, &declared));
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

/* ---- post_processor -------------------------------------------------------------------------------- */
/* Without one the sides follow each other. */
static int read_plain_templates(tandem_tokenizer *tokenizer, const cJSON *part, const char *source)
{
    (void)part, (void)source;
    TANDEM_TRY(tandem_template_add(&tokenizer->single, TANDEM_PIECE_FIRST, 0, 0));
    TANDEM_TRY(tandem_template_add(&tokenizer->pair, TANDEM_PIECE_FIRST, 0, 0));
    return tandem_template_add(&tokenizer->pair, TANDEM_PIECE_SECOND, 0, 1);
}

/* ["[SEP]", 102]: a token and its id. */
static int read_named_id(const cJSON *part, const char *key, const char *source, uint32_t *id)
{
    const cJSON *named = tandem_json_member(part, key);
    if (!cJSON_IsArray(named) || cJSON_GetArraySize(named) != 2 || !cJSON_IsString(named->child)) {
        return tandem_error("%s: post_processor.%s: expected [token, id]", source, key);
    }
    return read_id(named->child->next, key, source, id);
}

static int read_bert_processing(tandem_tokenizer *tokenizer, const cJSON *part, const char *source)
{
    uint32_t cls, sep;
    TANDEM_TRY(read_named_id(part, "cls", source, &cls));
    TANDEM_TRY(read_named_id(part, "sep", source, &sep));
    return tandem_tokenizer_set_bert_templates(tokenizer, cls, sep);
}

/* A special token of a template may stand for several ids. */
static int read_template_special(tandem_template *out, const cJSON *part, const char *name, uint8_t type_id,
                                 const char *source)
{
    const cJSON *ids = tandem_json_member(tandem_json_member(tandem_json_member(part, "special_tokens"), name), "ids");
    if (!cJSON_IsArray(ids)) {
        return tandem_error("%s: post_processor.special_tokens: the ids of \"%s\" are missing", source, name);
    }
    for (const cJSON *item = ids->child; item; item = item->next) {
        uint32_t id = 0;
        TANDEM_TRY(read_id(item, name, source, &id));
        TANDEM_TRY(tandem_template_add(out, TANDEM_PIECE_SPECIAL, id, type_id));
    }
    return TANDEM_OK;
}

/* {"Sequence": {"id": "A", "type_id": 0}} or {"SpecialToken": {"id": "[CLS]", "type_id": 0}} */
static int read_template_piece(tandem_template *out, const cJSON *part, const cJSON *piece, const char *source)
{
    const cJSON *sequence = tandem_json_member(piece, "Sequence"), *special = tandem_json_member(piece, "SpecialToken");
    if (!sequence == !special) {
        return tandem_error("%s: post_processor: a piece is neither a Sequence nor a SpecialToken", source);
    }
    const char *name;
    int64_t type_id;
    TANDEM_TRY(tandem_json_get_string(sequence ? sequence : special, "id", source, &name));
    TANDEM_TRY(tandem_json_get_int(sequence ? sequence : special, "type_id", source, 0, UINT8_MAX, &type_id));
    if (special) {
        return read_template_special(out, part, name, (uint8_t)type_id, source);
    }
    if (strcmp(name, "A") != 0 && strcmp(name, "B") != 0) {
        return tandem_error("%s: post_processor: expected sequence \"A\" or \"B\", found \"%s\"", source, name);
    }
    tandem_piece_kind kind = *name == 'A' ? TANDEM_PIECE_FIRST : TANDEM_PIECE_SECOND;
    return tandem_template_add(out, kind, 0, (uint8_t)type_id);
}

static int read_template(tandem_template *out, const cJSON *part, const char *key, size_t seconds, const char *source)
{
    const cJSON *pieces = tandem_json_member(part, key);
    if (!cJSON_IsArray(pieces)) {
        return tandem_error("%s: post_processor.%s: expected an array", source, key);
    }
    for (const cJSON *piece = pieces->child; piece; piece = piece->next) {
        TANDEM_TRY(read_template_piece(out, part, piece, source));
    }
    size_t found[3] = {0};
    for (size_t i = 0; i < out->count; i++) {
        found[out->pieces[i].kind]++;
    }
    if (found[TANDEM_PIECE_FIRST] != 1 || found[TANDEM_PIECE_SECOND] != seconds) {
        return tandem_error("%s: post_processor.%s: expected sequence A once and B %s", source, key,
                            seconds ? "once" : "nowhere");
    }
    return TANDEM_OK;
}

static int read_template_processing(tandem_tokenizer *tokenizer, const cJSON *part, const char *source)
{
    TANDEM_TRY(read_template(&tokenizer->single, part, "single", 0, source));
    return read_template(&tokenizer->pair, part, "pair", 1, source);
}

static const part_type post_processors[] = {{"TemplateProcessing", read_template_processing},
                                            {"BertProcessing", read_bert_processing},
                                            {NULL, read_plain_templates}};

/* ---- truncation and padding ---------------------------------------------------------------------------- */
/* The member `key` of truncation or padding must have the one value that is implemented. */
static int expect_value(const cJSON *part, const char *name, const char *key, const char *expected, const char *source)
{
    const char *value = expected;
    TANDEM_TRY(tandem_json_get_string_or(part, key, source, &value));
    if (strcmp(value, expected) != 0) {
        return tandem_error("%s: %s.%s \"%s\" is not supported (known: %s)", source, name, key, value, expected);
    }
    return TANDEM_OK;
}

static int read_truncation(tandem_tokenizer *tokenizer, const cJSON *root, const char *source)
{
    const cJSON *part = tandem_json_member(root, "truncation");
    if (!part || cJSON_IsNull(part)) {
        return TANDEM_OK;
    }
    int64_t max_length;
    TANDEM_TRY(tandem_json_get_int(part, "max_length", source, 1, INT32_MAX, &max_length));
    tokenizer->truncation = (size_t)max_length;
    TANDEM_TRY(expect_value(part, "truncation", "direction", "Right", source));
    return expect_value(part, "truncation", "strategy", "LongestFirst", source);
}

static int read_padding(tandem_tokenizer *tokenizer, const cJSON *root, const char *source)
{
    const cJSON *part = tandem_json_member(root, "padding");
    if (!part || cJSON_IsNull(part)) {
        uint32_t id = tandem_tokenizer_find(tokenizer, "[PAD]", 5);
        tokenizer->pad_id = id == TANDEM_NO_TOKEN ? 0 : id;
        return TANDEM_OK;
    }
    int64_t id;
    TANDEM_TRY(expect_value(part, "padding", "direction", "Right", source));
    TANDEM_TRY(tandem_json_get_int(part, "pad_id", source, 0, INT32_MAX - 1, &id));
    tokenizer->pad_id = (uint32_t)id;
    return TANDEM_OK;
}

/* ---- the file ------------------------------------------------------------------------------------------------ */
#define READ_PART(key, known) read_part(tokenizer, root, key, known, sizeof(known) / sizeof(known)[0], source)

static int read_tokenizer(tandem_tokenizer *tokenizer, const cJSON *root, const char *source)
{
    const char *version = "1.0";
    TANDEM_TRY(tandem_json_get_string_or(root, "version", source, &version));
    if (strcmp(version, "1.0") != 0) {
        return tandem_error("%s: version \"%s\" is not supported (known: 1.0)", source, version);
    }
    TANDEM_TRY(READ_PART("model", models));
    TANDEM_TRY(READ_PART("normalizer", normalizers));
    TANDEM_TRY(READ_PART("pre_tokenizer", pre_tokenizers));
    TANDEM_TRY(READ_PART("post_processor", post_processors));
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
