/* bpe.c - the BPE model: reads it, and cuts words with it. */
#include "data/bpe.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe_private.h"
#include "tandem/json.h"

void tandem_bpe_free(tandem_bpe *bpe)
{
    if (bpe) {
        tandem_token_ids_clear(&bpe->vocab);
        free(bpe->merges);
        free(bpe->unk_token);
        free(bpe->prefix);
        free(bpe->suffix);
        free(bpe);
    }
}

uint32_t tandem_bpe_find(const tandem_bpe *bpe, const char *token, size_t length)
{
    return tandem_token_ids_find(&bpe->vocab, token, length);
}

size_t tandem_bpe_count(const tandem_bpe *bpe)
{
    return tandem_token_ids_count(&bpe->vocab);
}

uint32_t tandem_bpe_largest_id(const tandem_bpe *bpe)
{
    return bpe->vocab.largest;
}

void tandem_bpe_hash(const tandem_bpe *bpe, tandem_hasher *hasher)
{
    tandem_hasher_string(hasher, "BPE");
    tandem_hasher_hash(hasher, bpe->hash);
}

/* ---- scratch ------------------------------------------------------------------------------ */
tandem_bpe_scratch *tandem_bpe_scratch_new(void)
{
    tandem_bpe_scratch *scratch = tandem_alloc(1, sizeof *scratch);
    if (scratch && tandem_word_cache_init(&scratch->cache) < 0) {
        free(scratch);
        return NULL;
    }
    return scratch;
}

void tandem_bpe_scratch_free(tandem_bpe_scratch *scratch)
{
    if (scratch) {
        tandem_word_cache_clear(&scratch->cache);
        tandem_buffer_free(&scratch->spelled);
        free(scratch->symbols);
        free(scratch->links);
        free(scratch->queue);
        free(scratch);
    }
}

/* ---- characters to symbols ------------------------------------------------------------------ */
typedef struct {
    const tandem_bpe *bpe;
    tandem_bpe_scratch *scratch;
    uint32_t unknown; /* bytes of unknown characters that wait to become a symbol */
} speller;

static void add_symbol(speller *s, uint32_t id, uint32_t length)
{
    s->scratch->symbols[s->scratch->count++] = (bpe_symbol){.id = id, .length = length};
}

static void end_unknown(speller *s)
{
    if (s->unknown > 0) {
        add_symbol(s, s->bpe->unk_id, s->unknown);
        s->unknown = 0;
    }
}

/* True where there is a token for each byte. A pending unknown stays pending, and so comes
 * after these, as it does in the library. */
static bool fall_back(speller *s, const char *character, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (s->bpe->fallback[(unsigned char)character[i]] == TANDEM_NO_TOKEN) {
            return false;
        }
    }
    for (size_t i = 0; i < length; i++) {
        add_symbol(s, s->bpe->fallback[(unsigned char)character[i]], 1);
    }
    return true;
}

static int add_unknown(speller *s, size_t length)
{
    const tandem_bpe *bpe = s->bpe;
    if (!bpe->unk_token) {
        return TANDEM_OK; /* the character vanishes */
    }
    if (bpe->unk_id == TANDEM_NO_TOKEN) {
        return tandem_error("a character is not in the vocabulary of the BPE model, nor is its unknown token \"%s\"",
                            bpe->unk_token);
    }
    if (!bpe->fuse_unk) {
        end_unknown(s);
    }
    s->unknown += (uint32_t)length;
    return TANDEM_OK;
}

/* The id of a character with what its place in the word adds to it. */
static int character_id(speller *s, const char *character, size_t length, bool first, bool last, uint32_t *id)
{
    const tandem_bpe *bpe = s->bpe;
    bool prefixed = !first && bpe->prefix_length > 0, suffixed = last && bpe->suffix_length > 0;
    if (prefixed || suffixed) {
        tandem_buffer *spelled = &s->scratch->spelled;
        tandem_buffer_clear(spelled);
        TANDEM_TRY(prefixed ? tandem_buffer_append(spelled, bpe->prefix, bpe->prefix_length) : TANDEM_OK);
        TANDEM_TRY(tandem_buffer_append(spelled, character, length));
        TANDEM_TRY(suffixed ? tandem_buffer_append(spelled, bpe->suffix, bpe->suffix_length) : TANDEM_OK);
        *id = tandem_bpe_find(bpe, spelled->data, spelled->length);
    } else {
        *id = tandem_bpe_find(bpe, character, length);
    }
    return TANDEM_OK;
}

static int add_character(speller *s, const char *character, size_t length, bool first, bool last)
{
    uint32_t id;
    TANDEM_TRY(character_id(s, character, length, first, last, &id));
    if (id != TANDEM_NO_TOKEN) {
        end_unknown(s);
        add_symbol(s, id, (uint32_t)length);
        return TANDEM_OK;
    }
    if (s->bpe->byte_fallback && fall_back(s, character, length)) {
        return TANDEM_OK;
    }
    return add_unknown(s, length);
}

static size_t utf8_length(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

static int spell_text(speller *s, const char *word, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t size = utf8_length((unsigned char)word[at]);
        TANDEM_TRY(add_character(s, word + at, size, at == 0, at + size == length));
        at += size;
    }
    return TANDEM_OK;
}

static int spell_bytes(speller *s, const char *word, size_t length)
{
    const tandem_bpe *bpe = s->bpe;
    bool plain = bpe->prefix_length == 0 && bpe->suffix_length == 0;
    for (size_t at = 0; at < length; at++) {
        const bpe_visible *visible = &bpe->visible[(unsigned char)word[at]];
        if (plain && visible->id != TANDEM_NO_TOKEN) {
            end_unknown(s);
            add_symbol(s, visible->id, visible->length);
        } else {
            TANDEM_TRY(add_character(s, visible->text, visible->length, at == 0, at + 1 == length));
        }
    }
    return TANDEM_OK;
}

/* ---- a word ------------------------------------------------------------------------------------ */
/* Symbols cover text one after the other, whatever vanished. With byte_level their lengths
 * are those of visible characters, two bytes for some; a token covers the raw bytes in
 * whose visible characters it begins and ends. */
static void put_tokens(const tandem_bpe *bpe, const tandem_bpe_scratch *scratch, const char *word,
                       tandem_model_tokens *out)
{
    uint32_t at = 0, byte = 0, byte_end = bpe->byte_level ? bpe->visible[(unsigned char)word[0]].length : 0;
    for (size_t i = 0; i < scratch->count; i++) {
        const bpe_symbol *symbol = &scratch->symbols[i];
        tandem_model_token token = {.id = symbol->id, .begin = at, .end = at + symbol->length};
        if (bpe->byte_level) {
            while (byte_end <= at) {
                byte_end += bpe->visible[(unsigned char)word[++byte]].length;
            }
            token.begin = byte;
            while (byte_end < at + symbol->length) {
                byte_end += bpe->visible[(unsigned char)word[++byte]].length;
            }
            token.end = byte + 1;
        }
        at += symbol->length;
        out->items[out->count++] = token;
    }
}

static int find_whole(const tandem_bpe *bpe, tandem_bpe_scratch *scratch, const char *word, size_t length,
                      uint32_t *id)
{
    if (!bpe->byte_level) {
        *id = tandem_bpe_find(bpe, word, length);
        return TANDEM_OK;
    }
    tandem_buffer_clear(&scratch->spelled);
    for (size_t i = 0; i < length; i++) {
        const bpe_visible *visible = &bpe->visible[(unsigned char)word[i]];
        TANDEM_TRY(tandem_buffer_append(&scratch->spelled, visible->text, visible->length));
    }
    *id = tandem_bpe_find(bpe, scratch->spelled.data, scratch->spelled.length);
    return TANDEM_OK;
}

static int cut_word(const tandem_bpe *bpe, tandem_bpe_scratch *scratch, const char *word, size_t length,
                    tandem_model_tokens *out)
{
    uint32_t whole = TANDEM_NO_TOKEN;
    if (bpe->ignore_merges) {
        TANDEM_TRY(find_whole(bpe, scratch, word, length, &whole));
    }
    if (whole != TANDEM_NO_TOKEN) {
        out->items[out->count++] = (tandem_model_token){.id = whole, .begin = 0, .end = (uint32_t)length};
        return TANDEM_OK;
    }
    void *symbols = scratch->symbols;
    int rc = tandem_grow(&symbols, &scratch->capacity, 2 * length, sizeof *scratch->symbols);
    scratch->symbols = symbols;
    TANDEM_TRY(rc);
    scratch->count = 0;
    speller s = {.bpe = bpe, .scratch = scratch};
    TANDEM_TRY(bpe->byte_level ? spell_bytes(&s, word, length) : spell_text(&s, word, length));
    end_unknown(&s);
    TANDEM_TRY(tandem_bpe_merge(bpe, scratch));
    put_tokens(bpe, scratch, word, out);
    return TANDEM_OK;
}

/* A word that was seen before, or not. */
static int add_word(const tandem_bpe *bpe, tandem_bpe_scratch *scratch, const char *word, size_t length,
                    tandem_model_tokens *out)
{
    size_t from = out->count;
    if (tandem_word_cache_get(&scratch->cache, word, length, out)) {
        return TANDEM_OK;
    }
    TANDEM_TRY(cut_word(bpe, scratch, word, length, out));
    tandem_word_cache_put(&scratch->cache, word, length, out, from);
    return TANDEM_OK;
}

/* Length of the text up to the next space that comes after another character. */
static size_t part_length(const char *text, size_t length)
{
    size_t at = 0;
    while (length - at >= BPE_SPACE_LENGTH && memcmp(text + at, BPE_SPACE, BPE_SPACE_LENGTH) == 0) {
        at += BPE_SPACE_LENGTH;
    }
    const char *next = memmem(text + at, length - at, BPE_SPACE, BPE_SPACE_LENGTH);
    return next ? (size_t)(next - text) : length;
}

static int add_parts(const tandem_bpe *bpe, tandem_bpe_scratch *scratch, const char *word, size_t length,
                     tandem_model_tokens *out)
{
    for (size_t at = 0; at < length;) {
        size_t part = part_length(word + at, length - at), from = out->count;
        TANDEM_TRY(add_word(bpe, scratch, word + at, part, out));
        for (size_t i = from; i < out->count; i++) {
            out->items[i].begin += (uint32_t)at;
            out->items[i].end += (uint32_t)at;
        }
        at += part;
    }
    return TANDEM_OK;
}

int tandem_bpe_word(const tandem_bpe *bpe, tandem_bpe_scratch *scratch, const char *word, size_t length,
                    tandem_model_tokens *out)
{
    if (length > BPE_LONGEST_WORD) {
        return tandem_error("a word of %zu bytes is too long for the BPE model (at most %d)", length, BPE_LONGEST_WORD);
    }
    /* A byte makes two tokens at most, those of the two bytes of its visible character; and
     * a word of the cache has some at once. */
    TANDEM_TRY(tandem_model_tokens_reserve(out, 2 * length + TANDEM_WORD_CACHE_TOKENS));
    if (bpe->apart) {
        return add_parts(bpe, scratch, word, length, out);
    }
    return length > 0 ? add_word(bpe, scratch, word, length, out) : TANDEM_OK;
}
