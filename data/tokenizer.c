/* tokenizer.c - the life of a tokenizer, and text to token ids. */
#include "tandem/tokenizer.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_scratch.h"
#include "data/unicode.h"
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
    if (!tokenizer->path || !tokenizer->hasher || tandem_wordpiece_init(&tokenizer->model) < 0) {
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
    tandem_wordpiece_clear(&tokenizer->model);
    free(tokenizer->single.pieces);
    free(tokenizer->pair.pieces);
    free(tokenizer->path);
    free(tokenizer);
}

static int by_id(const void *left, const void *right)
{
    const tandem_vocab_entry *a = left, *b = right;
    return a->id < b->id ? -1 : a->id > b->id;
}

static void cover_id(tandem_tokenizer *tokenizer, uint32_t id)
{
    tokenizer->vocab_size = id >= tokenizer->vocab_size ? (size_t)id + 1 : tokenizer->vocab_size;
}

int tandem_tokenizer_set_vocab(tandem_tokenizer *tokenizer, tandem_vocab_entry *entries, size_t count,
                               const tandem_wordpiece_settings *settings, const char *source)
{
    tandem_wordpiece *model = &tokenizer->model;
    tandem_hasher *hasher = tokenizer->hasher;
    if (count > 0) {
        qsort(entries, count, sizeof *entries, by_id);
    }
    tandem_hasher_string(hasher, "WordPiece");
    tandem_hasher_string(hasher, settings->unk);
    tandem_hasher_string(hasher, settings->prefix);
    tandem_hasher_int(hasher, (int64_t)settings->max_chars);
    for (size_t i = 0; i < count; i++) {
        const tandem_vocab_entry *entry = &entries[i];
        if (i > 0 && entry[-1].id == entry->id) {
            return tandem_error("%s: \"%.*s\" and \"%.*s\" have the same id %u", source, (int)entry[-1].length,
                                entry[-1].text, (int)entry->length, entry->text, entry->id);
        }
        TANDEM_TRY(tandem_wordpiece_put(model, entry->text, entry->length, entry->id));
        tandem_hasher_field(hasher, entry->text, entry->length);
        tandem_hasher_int(hasher, entry->id);
        cover_id(tokenizer, entry->id);
    }
    tandem_wordpiece_set_prefix(model, settings->prefix, strlen(settings->prefix));
    model->max_chars = settings->max_chars;
    model->unk_id = tandem_wordpiece_find(model, settings->unk, strlen(settings->unk));
    if (model->unk_id == TANDEM_NO_TOKEN) {
        return tandem_error("%s: the unknown token \"%s\" is not in the vocabulary", source, settings->unk);
    }
    return TANDEM_OK;
}

uint32_t tandem_tokenizer_find(const tandem_tokenizer *tokenizer, const char *token, size_t length)
{
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        const tandem_added_token *added = &tokenizer->added[i];
        if (added->length == length && memcmp(added->content, token, length) == 0) {
            return added->id;
        }
    }
    return tandem_wordpiece_find(&tokenizer->model, token, length);
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
    *id = tandem_wordpiece_find(&tokenizer->model, content, length);
    if (*id == TANDEM_NO_TOKEN) { /* after the model's tokens, whose number counts, not their largest id */
        size_t count = tokenizer->model.count;
        *id = (uint32_t)(tokenizer->added_next > count ? tokenizer->added_next : count);
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
    tokenizer->added_next = *id >= tokenizer->added_next ? (size_t)*id + 1 : tokenizer->added_next;
    cover_id(tokenizer, *id);
    return TANDEM_OK;
}

/* What each added token is looked for as. */
static int set_patterns(tandem_tokenizer *tokenizer)
{
    tandem_token_scratch *scratch = tandem_token_scratch_new();
    int rc = scratch ? TANDEM_OK : TANDEM_ERROR;
    for (size_t i = 0; i < tokenizer->added_count && rc == TANDEM_OK; i++) {
        tandem_added_token *token = &tokenizer->added[i];
        const char *pattern = token->content;
        token->pattern_length = token->length;
        if (token->normalized) {
            rc = tandem_bert_normalize(tokenizer, scratch, token->content, token->length, 0);
            pattern = scratch->normal_length > 0 ? scratch->normal : "";
            token->pattern_length = scratch->normal_length;
        }
        token->pattern = rc == TANDEM_OK ? tandem_strndup(pattern, token->pattern_length) : NULL;
        rc = token->pattern ? TANDEM_OK : TANDEM_ERROR;
    }
    tandem_token_scratch_free(scratch);
    return rc;
}

static void hash_template(tandem_hasher *hasher, const tandem_template *template)
{
    tandem_hasher_int(hasher, (int64_t)template->count);
    for (size_t i = 0; i < template->count; i++) {
        tandem_hasher_int(hasher, template->pieces[i].kind);
        tandem_hasher_int(hasher, template->pieces[i].id);
        tandem_hasher_int(hasher, template->pieces[i].type_id);
    }
}

/* Adds all but the vocabulary to the hash. */
static void finish_hash(tandem_tokenizer *tokenizer)
{
    tandem_hasher *hasher = tokenizer->hasher;
    const tandem_bert_rules *rules = &tokenizer->rules;
    tandem_hasher_string(hasher, "tandem tokenizer 1"); /* to be counted up when ids change */
    tandem_hasher_int(hasher, rules->clean_text | rules->ideographs << 1 | rules->strip_accents << 2 |
                                  rules->lowercase << 3);
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        const tandem_added_token *token = &tokenizer->added[i];
        tandem_hasher_field(hasher, token->content, token->length);
        tandem_hasher_int(hasher, token->id);
        tandem_hasher_int(hasher, token->single_word | token->lstrip << 1 | token->rstrip << 2 |
                                      token->normalized << 3);
    }
    hash_template(hasher, &tokenizer->single);
    hash_template(hasher, &tokenizer->pair);
    tokenizer->hash = tandem_hasher_done(hasher);
    tokenizer->hasher = NULL;
}

int tandem_tokenizer_finish(tandem_tokenizer *tokenizer, const char *source)
{
    tandem_bert_rules_finish(&tokenizer->rules);
    TANDEM_TRY(set_patterns(tokenizer));
    TANDEM_TRY(tandem_added_finder_make(&tokenizer->raw, tokenizer->added, tokenizer->added_count, false, source));
    TANDEM_TRY(tandem_added_finder_make(&tokenizer->normalized, tokenizer->added, tokenizer->added_count, true,
                                        source));
    const tandem_template *templates[] = {&tokenizer->single, &tokenizer->pair};
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

int tandem_tokenizer_load(tandem_tokenizer **out, const char *path)
{
    *out = NULL;
    if (!tandem_dir_exists(path)) {
        return load_file(out, path);
    }
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

/* ---- properties ------------------------------------------------------------------------ */
tandem_hash tandem_tokenizer_hash(const tandem_tokenizer *tokenizer)
{
    return tokenizer->hash;
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
    return tokenizer->truncation;
}

const char *tandem_tokenizer_path(const tandem_tokenizer *tokenizer)
{
    return tokenizer->path;
}

/* ---- scratch ----------------------------------------------------------------------------- */
tandem_token_scratch *tandem_token_scratch_new(void)
{
    tandem_token_scratch *scratch = tandem_alloc(1, sizeof *scratch);
    if (scratch && !(scratch->cache = tandem_alloc(TANDEM_CACHE_ROWS, sizeof *scratch->cache))) {
        free(scratch);
        return NULL;
    }
    return scratch;
}

void tandem_token_scratch_free(tandem_token_scratch *scratch)
{
    if (!scratch) {
        return;
    }
    free(scratch->word.bytes);
    free(scratch->word.origins);
    free(scratch->piece_ends);
    free(scratch->cache);
    free(scratch->marks);
    free(scratch->mark_origins);
    free(scratch->normal);
    free(scratch->normal_origins);
    free(scratch->ids);
    free(scratch->starts);
    free(scratch->ends);
    free(scratch);
}

static int grow_tokens(uint32_t **array, size_t *capacity, size_t needed)
{
    void *items = *array;
    int rc = tandem_grow(&items, capacity, needed, sizeof **array);
    *array = items;
    return rc;
}

int tandem_token_scratch_reserve(tandem_token_scratch *scratch, size_t more)
{
    size_t needed = scratch->count + more;
    TANDEM_TRY(grow_tokens(&scratch->ids, &scratch->capacity, needed));
    if (scratch->offsets) {
        TANDEM_TRY(grow_tokens(&scratch->starts, &scratch->start_capacity, needed));
        TANDEM_TRY(grow_tokens(&scratch->ends, &scratch->end_capacity, needed));
    }
    return TANDEM_OK;
}

static int resize(uint32_t **array, size_t count)
{
    void *items = *array;
    int rc = tandem_realloc(&items, count, sizeof **array);
    *array = items;
    return rc;
}

/* Makes the word buffers large enough for the tokenizer, and forgets cached words of
 * another. */
static int adopt(tandem_token_scratch *scratch, const tandem_tokenizer *tokenizer)
{
    if (scratch->serial == tokenizer->serial) {
        return TANDEM_OK;
    }
    size_t chars = tokenizer->model.max_chars + 1;
    void *bytes = scratch->word.bytes;
    scratch->serial = 0;
    int rc = tandem_realloc(&bytes, chars * 4 + TANDEM_CACHE_KEY, 1);
    scratch->word.bytes = bytes;
    TANDEM_TRY(rc);
    TANDEM_TRY(resize(&scratch->word.origins, chars));
    TANDEM_TRY(resize(&scratch->piece_ends, chars));
    memset(scratch->cache, 0, TANDEM_CACHE_ROWS * sizeof *scratch->cache);
    scratch->max_chars = tokenizer->model.max_chars;
    scratch->serial = tokenizer->serial;
    return TANDEM_OK;
}

/* ---- text to ids ---------------------------------------------------------------------------- */
static int add_token(tandem_token_scratch *scratch, uint32_t id, uint32_t start, uint32_t end)
{
    TANDEM_TRY(tandem_token_scratch_reserve(scratch, 1));
    scratch->ids[scratch->count] = id;
    if (scratch->offsets) {
        scratch->starts[scratch->count] = start;
        scratch->ends[scratch->count] = end;
    }
    tandem_token_scratch_count(scratch, 1);
    return TANDEM_OK;
}

/* Added tokens of the normalized text, and the words between them. */
static int tokenize_normal(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch)
{
    size_t cursor = 0, covered = 0, length = scratch->normal_length;
    tandem_added_match match;
    while (tandem_added_next(&tokenizer->normalized, scratch->normal, length, &cursor, covered, &match)) {
        TANDEM_TRY(tandem_bert_tokenize_normal(tokenizer, scratch, covered, match.start));
        TANDEM_TRY(add_token(scratch, match.token->id, scratch->normal_origins[match.start],
                             scratch->normal_origins[match.end - 1] + 1));
        covered = match.end;
    }
    return tandem_bert_tokenize_normal(tokenizer, scratch, covered, length);
}

static int tokenize_between(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                            size_t length, uint32_t position)
{
    if (tokenizer->normalized.count == 0) {
        return tandem_bert_tokenize(tokenizer, scratch, text, length, position);
    }
    TANDEM_TRY(tandem_bert_normalize(tokenizer, scratch, text, length, position));
    return tokenize_normal(tokenizer, scratch);
}

/* The position of text[to], where that of text[from] is `position`. */
static uint32_t position_of(const char *text, size_t from, uint32_t position, size_t to)
{
    size_t begin = from < to ? from : to, end = from < to ? to : from;
    uint32_t count = 0, c;
    for (size_t at = begin; at < end; count++) {
        at += tandem_unicode_decode(text + at, end - at, &c);
    }
    return from < to ? position + count : position - count;
}

static int tokenize_raw(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                        size_t length)
{
    size_t cursor = 0, covered = 0;
    uint32_t position = 0; /* of text[covered]; counted only for offsets */
    tandem_added_match match;
    while (tandem_added_next(&tokenizer->raw, text, length, &cursor, covered, &match)) {
        /* Less than `covered` after a token that took the white space another begins with. */
        size_t before = match.start > covered ? match.start - covered : 0;
        TANDEM_TRY(tokenize_between(tokenizer, scratch, text + covered, before, position));
        uint32_t start = scratch->offsets ? position_of(text, covered, position, match.start) : 0;
        position = scratch->offsets ? position_of(text, match.start, start, match.end) : 0;
        TANDEM_TRY(add_token(scratch, match.token->id, start, position));
        covered = match.end;
    }
    return tokenize_between(tokenizer, scratch, text + covered, length - covered, position);
}

int tandem_tokenizer_bare(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                          size_t length, size_t limit, bool offsets, tandem_tokens *out)
{
    if (length >= UINT32_MAX) {
        return tandem_error("a text of %zu bytes is too long: at most 4294967294 can be tokenized", length);
    }
    TANDEM_TRY(adopt(scratch, tokenizer));
    scratch->limit = limit > 0 ? limit : SIZE_MAX;
    scratch->offsets = offsets;
    scratch->count = scratch->total = 0;
    scratch->word.length = scratch->word.chars = 0;
    scratch->mark_count = scratch->mark_origin_count = 0;
    scratch->mark_base = 0;
    TANDEM_TRY(tandem_token_scratch_reserve(scratch, 1)); /* so that no array is NULL */
    TANDEM_TRY(tokenize_raw(tokenizer, scratch, text, length));
    *out = (tandem_tokens){.ids = scratch->ids,
                           .starts = offsets ? scratch->starts : NULL,
                           .ends = offsets ? scratch->ends : NULL,
                           .count = scratch->count,
                           .total = scratch->total};
    return TANDEM_OK;
}
