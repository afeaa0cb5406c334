/* wordpiece.c - the WordPiece model: a trie of all tokens, greedy longest match, and a
 * cache of whole words in front of it. */
#include "data/wordpiece.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "data/token_trie.h"
#include "data/tokenizer_parts.h"
#include "tandem/json.h"

struct tandem_wordpiece {
    tandem_token_trie trie;
    uint32_t continuing; /* the node of the prefix, from which a continuing piece is looked up */
    bool has_continuing;
    uint32_t unk_id, largest;
    size_t max_chars, count;
    tandem_hash hash;
};

/* ---- building ---------------------------------------------------------------------------- */
static int by_id(const void *left, const void *right)
{
    const tandem_vocab_entry *a = left, *b = right;
    return a->id < b->id ? -1 : a->id > b->id;
}

static int add_entries(tandem_wordpiece *model, tandem_vocab_entry *entries, size_t count, tandem_hasher *hasher,
                       const char *source)
{
    if (count > 0) {
        qsort(entries, count, sizeof *entries, by_id);
    }
    for (size_t i = 0; i < count; i++) {
        const tandem_vocab_entry *entry = &entries[i];
        if (i > 0 && entry[-1].id == entry->id) {
            return tandem_error("%s: \"%.*s\" and \"%.*s\" have the same id %u", source, (int)entry[-1].length,
                                entry[-1].text, (int)entry->length, entry->text, entry->id);
        }
        TANDEM_TRY(tandem_token_trie_put(&model->trie, entry->text, entry->length, entry->id));
        tandem_hasher_field(hasher, entry->text, entry->length);
        tandem_hasher_int(hasher, entry->id);
        model->largest = entry->id;
    }
    model->count = count;
    return TANDEM_OK;
}

static int fill(tandem_wordpiece *model, tandem_vocab_entry *entries, size_t count,
                const tandem_wordpiece_settings *settings, tandem_hasher *hasher, const char *source)
{
    const char *prefix = settings->prefix, *unk = settings->unk;
    TANDEM_TRY(tandem_token_trie_init(&model->trie));
    TANDEM_TRY(add_entries(model, entries, count, hasher, source));
    tandem_hasher_string(hasher, unk);
    tandem_hasher_string(hasher, prefix);
    tandem_hasher_int(hasher, (int64_t)settings->max_chars);
    model->has_continuing = tandem_token_trie_walk(&model->trie, prefix, strlen(prefix), &model->continuing);
    model->max_chars = settings->max_chars;
    model->unk_id = tandem_wordpiece_find(model, unk, strlen(unk));
    return model->unk_id != TANDEM_NO_TOKEN
               ? TANDEM_OK
               : tandem_error("%s: the unknown token \"%s\" is not in the vocabulary", source, unk);
}

int tandem_wordpiece_from(tandem_wordpiece **out, tandem_vocab_entry *entries, size_t count,
                          const tandem_wordpiece_settings *settings, const char *source)
{
    *out = tandem_alloc(1, sizeof **out);
    tandem_hasher *hasher = *out ? tandem_hasher_new() : NULL;
    if (!hasher) {
        free(*out);
        *out = NULL;
        return TANDEM_ERROR;
    }
    int rc = fill(*out, entries, count, settings, hasher, source);
    (*out)->hash = tandem_hasher_done(hasher);
    if (rc < 0) {
        tandem_wordpiece_free(*out);
        *out = NULL;
    }
    return rc;
}

int tandem_wordpiece_new(tandem_wordpiece **out, const cJSON *model, const char *source)
{
    *out = NULL;
    tandem_wordpiece_settings settings = {0};
    int64_t max_chars;
    TANDEM_TRY(tandem_json_get_string(model, "unk_token", source, &settings.unk));
    TANDEM_TRY(tandem_json_get_string(model, "continuing_subword_prefix", source, &settings.prefix));
    TANDEM_TRY(tandem_json_get_int(model, "max_input_chars_per_word", source, 0, INT32_MAX, &max_chars));
    settings.max_chars = (size_t)max_chars;
    const cJSON *vocab = tandem_json_member(model, "vocab");
    if (!cJSON_IsObject(vocab)) {
        return tandem_error("%s: model.vocab: expected an object of tokens and ids", source);
    }
    size_t count = (size_t)cJSON_GetArraySize(vocab), at = 0;
    tandem_vocab_entry *entries = tandem_alloc(count, sizeof *entries);
    int rc = entries ? TANDEM_OK : TANDEM_ERROR;
    for (const cJSON *item = vocab->child; item && rc == TANDEM_OK; item = item->next, at++) {
        entries[at] = (tandem_vocab_entry){.text = item->string, .length = strlen(item->string)};
        rc = tandem_part_id(item, item->string, source, &entries[at].id);
    }
    if (rc == TANDEM_OK) {
        rc = tandem_wordpiece_from(out, entries, count, &settings, source);
    }
    free(entries);
    return rc;
}

void tandem_wordpiece_free(tandem_wordpiece *model)
{
    if (model) {
        tandem_token_trie_clear(&model->trie);
        free(model);
    }
}

uint32_t tandem_wordpiece_find(const tandem_wordpiece *model, const char *token, size_t length)
{
    return tandem_token_trie_find(&model->trie, token, length);
}

size_t tandem_wordpiece_count(const tandem_wordpiece *model)
{
    return model->count;
}

uint32_t tandem_wordpiece_largest_id(const tandem_wordpiece *model)
{
    return model->largest;
}

void tandem_wordpiece_hash(const tandem_wordpiece *model, tandem_hasher *hasher)
{
    tandem_hasher_hash(hasher, model->hash);
}

/* ---- words --------------------------------------------------------------------------------- */
static bool is_too_long(const tandem_wordpiece *model, const char *word, size_t length)
{
    size_t chars = 0;
    for (size_t i = 0; length > model->max_chars && i < length; i++) {
        chars += (word[i] & 0xC0) != 0x80 ? 1 : 0;
    }
    return chars > model->max_chars;
}

/* The longest token that begins `text`, from `node` on; its end is 0 when there is none. */
static tandem_model_token longest_piece(const tandem_wordpiece *model, uint32_t node, const char *text, size_t length)
{
    tandem_model_token best = {0};
    for (size_t i = 0; i < length; i++) {
        node = tandem_token_trie_step(&model->trie, node, (unsigned char)text[i]);
        if (node == TANDEM_TRIE_ROOT) {
            break;
        }
        if (model->trie.ids[node] != TANDEM_NO_TOKEN) {
            best = (tandem_model_token){.id = model->trie.ids[node], .end = (uint32_t)i + 1};
        }
    }
    return best;
}

/* Appends the pieces, for which there is room; false, with nothing appended, where the word
 * cannot be cut. */
static bool cut_word(const tandem_wordpiece *model, const char *word, size_t length, tandem_model_tokens *out)
{
    size_t from = out->count;
    for (uint32_t at = 0; at < length;) {
        uint32_t node = at == 0 ? TANDEM_TRIE_ROOT : model->continuing;
        tandem_model_token piece = {0};
        if (at == 0 || model->has_continuing) {
            piece = longest_piece(model, node, word + at, length - at);
        }
        if (piece.end == 0) {
            out->count = from;
            return false;
        }
        piece.begin = at;
        piece.end += at;
        at = piece.end;
        out->items[out->count++] = piece;
    }
    return true;
}

int tandem_wordpiece_word(const tandem_wordpiece *model, tandem_word_cache *cache, const char *word, size_t length,
                          tandem_model_tokens *out)
{
    bool too_long = is_too_long(model, word, length);
    size_t most = too_long ? 1 : length, from = out->count;
    TANDEM_TRY(tandem_model_tokens_reserve(out, most > TANDEM_WORD_CACHE_TOKENS ? most : TANDEM_WORD_CACHE_TOKENS));
    if (!too_long && tandem_word_cache_get(cache, word, length, out)) {
        return TANDEM_OK;
    }
    if (too_long || !cut_word(model, word, length, out)) {
        out->items[out->count++] = (tandem_model_token){.id = model->unk_id, .end = (uint32_t)length};
    }
    tandem_word_cache_put(cache, word, length, out, from);
    return TANDEM_OK;
}
