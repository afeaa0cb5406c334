/* tokenizer.c - the life of a tokenizer, and what it tells about itself. */
#include "tandem/tokenizer.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_parts.h"
#include "tandem/file.h"
#include "tandem/json.h"
#include "tandem/memory.h"

/* ---- building ---------------------------------------------------------------------- */
tandem_tokenizer *tandem_tokenizer_new(const char *path)
{
    static atomic_uint_fast64_t serials = 0;
    tandem_tokenizer *tokenizer = tandem_alloc(1, sizeof *tokenizer);
    if (!tokenizer) {
        return NULL;
    }
    tokenizer->serial = atomic_fetch_add(&serials, 1) + 1; /* a new scratch has 0 */
    tokenizer->path = tandem_strdup(path);
    tokenizer->hasher = tandem_hasher_new();
    if (!tokenizer->path || !tokenizer->hasher) {
        tandem_tokenizer_free(tokenizer);
        return NULL;
    }
    return tokenizer;
}

void tandem_tokenizer_free(tandem_tokenizer *tokenizer)
{
    if (!tokenizer) {
        return;
    }
    if (tokenizer->hasher) {
        tandem_hasher_done(tokenizer->hasher);
    }
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        free(tokenizer->added[i].content);
        free(tokenizer->added[i].pattern);
    }
    free(tokenizer->added);
    tandem_added_finder_clear(&tokenizer->raw);
    tandem_added_finder_clear(&tokenizer->normalized);
    tandem_normalizers_clear(&tokenizer->normalizers);
    tandem_pre_tokenizers_clear(&tokenizer->pre_tokenizers);
    tandem_token_model_clear(&tokenizer->model);
    tandem_post_processor_clear(&tokenizer->processor);
    free(tokenizer->path);
    free(tokenizer);
}

static void cover_id(tandem_tokenizer *tokenizer, uint32_t id)
{
    tokenizer->vocab_size = id >= tokenizer->vocab_size ? (size_t)id + 1 : tokenizer->vocab_size;
}

uint32_t tandem_tokenizer_find(const tandem_tokenizer *tokenizer, const char *token, size_t length)
{
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        const tandem_added_token *added = &tokenizer->added[i];
        if (added->length == length && memcmp(added->content, token, length) == 0) {
            return added->id;
        }
    }
    return tandem_token_model_find(&tokenizer->model, token, length);
}

int tandem_tokenizer_add_token(tandem_tokenizer *tokenizer, const char *content, const tandem_added_token *flags,
                               const char *source, uint32_t *id)
{
    size_t length = strlen(content);
    if (length == 0) {
        return tandem_error("%s: added_tokens: a token is empty", source);
    }
    void *added = tokenizer->added;
    int rc = tandem_grow(&added, &tokenizer->added_capacity, tokenizer->added_count + 1, sizeof *tokenizer->added);
    tokenizer->added = added;
    TANDEM_TRY(rc);
    *id = tandem_token_model_find(&tokenizer->model, content, length);
    if (*id == TANDEM_NO_TOKEN) { /* after the model's tokens, whose number counts, not their largest id */
        *id = (uint32_t)(tandem_token_model_count(&tokenizer->model) + tokenizer->added_new++);
    }
    tandem_added_token token = *flags;
    token.id = *id;
    token.length = length;
    token.pattern = NULL;
    token.content = tandem_strndup(content, length);
    if (!token.content) {
        return TANDEM_ERROR;
    }
    tokenizer->added[tokenizer->added_count++] = token;
    cover_id(tokenizer, *id);
    return TANDEM_OK;
}

/* What each added token is looked for as. */
static int set_pattern(const tandem_tokenizer *tokenizer, tandem_normalizer_scratch *scratch,
                       tandem_added_token *token)
{
    tandem_view view = {token->content, NULL, token->length};
    TANDEM_TRY(token->normalized ? tandem_normalizers_apply(&tokenizer->normalizers, scratch, &view) : TANDEM_OK);
    token->pattern_length = view.length;
    token->pattern = tandem_strndup(view.length > 0 ? view.text : "", view.length);
    return token->pattern ? TANDEM_OK : TANDEM_ERROR;
}

static int set_patterns(tandem_tokenizer *tokenizer)
{
    tandem_normalizer_scratch scratch = {0};
    int rc = TANDEM_OK;
    for (size_t i = 0; i < tokenizer->added_count && rc == TANDEM_OK; i++) {
        rc = set_pattern(tokenizer, &scratch, &tokenizer->added[i]);
    }
    tandem_normalizer_scratch_clear(&scratch);
    return rc;
}

/* Adds all that no reader of a part has. */
static void finish_hash(tandem_tokenizer *tokenizer)
{
    tandem_hasher *hasher = tokenizer->hasher;
    tandem_hasher_string(hasher, "tandem tokenizer 2"); /* to be counted up when ids change */
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        const tandem_added_token *token = &tokenizer->added[i];
        tandem_hasher_field(hasher, token->content, token->length);
        tandem_hasher_int(hasher, token->id);
        tandem_hasher_int(hasher, token->single_word | token->lstrip << 1 | token->rstrip << 2 |
                                      token->normalized << 3);
    }
    tandem_post_processor_hash(&tokenizer->processor, hasher);
    tokenizer->hash = tandem_hasher_done(hasher);
    tokenizer->hasher = NULL;
}

/* BERT's own parts, and nothing that needs them one by one. */
static void find_fused(tandem_tokenizer *tokenizer)
{
    const tandem_normalizers *normalizers = &tokenizer->normalizers;
    const tandem_pre_tokenizers *cuts = &tokenizer->pre_tokenizers;
    bool bert = normalizers->count == 0 ||
                (normalizers->count == 1 && normalizers->items[0].kind == TANDEM_NORMALIZE_BERT);
    tokenizer->fused = bert && cuts->count == 1 && cuts->items[0].kind == TANDEM_CUT_BERT &&
                       tokenizer->model.kind == TANDEM_WORDPIECE && tokenizer->normalized.count == 0 &&
                       tokenizer->processor.trims == 0;
    if (tokenizer->fused && normalizers->count == 1) {
        tokenizer->rules = normalizers->items[0].bert;
    }
    tandem_bert_rules_finish(&tokenizer->rules);
}

int tandem_tokenizer_finish(tandem_tokenizer *tokenizer, const char *source)
{
    TANDEM_TRY(set_patterns(tokenizer));
    TANDEM_TRY(tandem_added_finder_make(&tokenizer->raw, tokenizer->added, tokenizer->added_count, false, source));
    TANDEM_TRY(tandem_added_finder_make(&tokenizer->normalized, tokenizer->added, tokenizer->added_count, true,
                                        source));
    find_fused(tokenizer);
    tokenizer->ask_origin = tandem_pre_tokenizers_ask_origin(&tokenizer->pre_tokenizers);
    size_t ids = tandem_token_model_ids(&tokenizer->model);
    tokenizer->vocab_size = ids > tokenizer->vocab_size ? ids : tokenizer->vocab_size;
    const tandem_template *templates[] = {&tokenizer->processor.single, &tokenizer->processor.pair};
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; i < templates[t]->count; i++) {
            cover_id(tokenizer, templates[t]->pieces[i].id);
        }
    }
    finish_hash(tokenizer);
    return TANDEM_OK;
}

/* ---- loading --------------------------------------------------------------------------- */
static int load_file(tandem_tokenizer **out, const char *path)
{
    char *text = NULL;
    size_t length;
    TANDEM_TRY(tandem_file_read(&text, &length, path));
    int rc = tandem_tokenizer_parse(out, text, length, path);
    free(text);
    return rc;
}

/* transformers lets tokenizer_config.json's truncation_side, where there is one, overrule
 * tokenizer.json's direction. */
static int read_truncation_side(tandem_tokenizer *tokenizer, const char *directory)
{
    char *path = tandem_path_join(directory, "tokenizer_config.json");
    struct cJSON *config = NULL;
    const char *side = tokenizer->truncation.left ? "left" : "right";
    int rc = path ? tandem_json_read(&config, path) : TANDEM_ERROR;
    if (rc == TANDEM_OK) {
        TANDEM_TRY_GOTO(rc, done, tandem_json_get_string_or(config, "truncation_side", path, &side));
        tokenizer->truncation.left = strcmp(side, "left") == 0;
        if (!tokenizer->truncation.left && strcmp(side, "right") != 0) {
            rc = tandem_error("%s: truncation_side: expected \"left\" or \"right\", found \"%s\"", path, side);
        }
    }
done:
    tandem_json_free(config);
    free(path);
    return rc == TANDEM_NOT_FOUND ? TANDEM_OK : rc;
}

static int load_directory(tandem_tokenizer **out, const char *path)
{
    char *json = tandem_path_join(path, "tokenizer.json");
    char *vocab = tandem_path_join(path, "vocab.txt");
    int rc = TANDEM_ERROR;
    if (json && vocab && tandem_file_exists(json)) {
        rc = load_file(out, json);
    } else if (json && vocab && tandem_file_exists(vocab)) {
        rc = tandem_tokenizer_read_vocab(out, path, vocab);
    } else if (json && vocab) {
        rc = tandem_error_code(TANDEM_NOT_FOUND, "%s: expected tokenizer.json or vocab.txt in it", path);
    }
    free(json);
    free(vocab);
    return rc;
}

int tandem_tokenizer_load(tandem_tokenizer **out, const char *path)
{
    *out = NULL;
    if (!tandem_dir_exists(path)) {
        return load_file(out, path);
    }
    TANDEM_TRY(load_directory(out, path));
    int rc = read_truncation_side(*out, path);
    if (rc < 0) {
        tandem_tokenizer_free(*out);
        *out = NULL;
    }
    return rc;
}

/* ---- properties ------------------------------------------------------------------------ */
tandem_hash tandem_tokenizer_hash(const tandem_tokenizer *tokenizer)
{
    tandem_hash hash = tokenizer->hash;
    hash.low ^= tokenizer->truncation.left ? 1 : 0; /* bare ids are then the other way round */
    return hash;
}

size_t tandem_tokenizer_vocab_size(const tandem_tokenizer *tokenizer)
{
    return tokenizer->vocab_size;
}

uint32_t tandem_tokenizer_pad_id(const tandem_tokenizer *tokenizer)
{
    return tokenizer->pad_id;
}

size_t tandem_tokenizer_truncation(const tandem_tokenizer *tokenizer)
{
    return tokenizer->truncation.max_length;
}

tandem_truncation tandem_tokenizer_truncation_settings(const tandem_tokenizer *tokenizer)
{
    return tokenizer->truncation;
}

const char *tandem_tokenizer_path(const tandem_tokenizer *tokenizer)
{
    return tokenizer->path;
}

