/* unigram.c - the Unigram model: reads it, and cuts words with it. */
#include "data/unigram.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/token_trie.h"
#include "tandem/json.h"

#define NOWHERE UINT32_MAX

enum { LONGEST_WORD = 1 << 30, POWERS = 309 };

struct tandem_unigram {
    tandem_token_trie trie;
    double *scores; /* [count] */
    size_t count;
    double unk_score;
    uint32_t unk_id; /* or TANDEM_NO_TOKEN */
    bool byte_fallback;
    uint32_t fallback[256]; /* of the tokens <0x00> to <0xFF> */
    tandem_hash hash;
};

/* The best way to cut the word up to here. */
typedef struct {
    double score;
    uint32_t start; /* of its last token, or NOWHERE */
    uint32_t id;
} node;

struct tandem_unigram_scratch {
    tandem_word_cache cache;
    node *nodes; /* one a byte of the word, and one more */
    size_t capacity;
};

/* ---- reading -------------------------------------------------------------------------------- */
/* The library's reader of JSON scales the digits of a number, as an integer, by a power of
 * ten: two roundings, of which a quarter of all scores come out next to the nearest double
 * (serde_json without float_roundtrip, de.rs, f64_from_parts). It matters where two ways to
 * cut a word are equally good. The digits are those of the shortest form, in which the
 * library and Python write scores. */
static double as_the_library_reads(double value, const double powers[POWERS])
{
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits - 1, fabs(value));
        if (strtod(text, NULL) == fabs(value)) {
            break;
        }
    }
    const char *at = text;
    uint64_t digits = 0;
    int exponent = 1;
    for (; *at != 'e'; at++) {
        if (*at != '.') {
            digits = digits * 10 + (uint64_t)(*at - '0');
            exponent--;
        }
    }
    exponent += (int)strtol(at + 1, NULL, 10);
    for (; digits > 0 && digits % 10 == 0; exponent++) {
        digits /= 10;
    }
    double result = (double)digits;
    for (; exponent <= -POWERS; exponent += POWERS - 1) {
        result /= powers[POWERS - 1];
    }
    result = exponent < 0 ? result / powers[-exponent] : result * powers[exponent];
    return value < 0 ? -result : result;
}

static void fill_powers(double powers[POWERS])
{
    for (int i = 0; i < POWERS; i++) {
        char text[16];
        snprintf(text, sizeof text, "1e%d", i);
        powers[i] = strtod(text, NULL);
    }
}

/* [token, score] */
static int read_entry(tandem_unigram *unigram, const cJSON *item, const double powers[POWERS], tandem_hasher *hasher,
                      const char *source)
{
    const cJSON *token = cJSON_IsArray(item) ? item->child : NULL, *score = token ? token->next : NULL;
    if (!cJSON_IsString(token) || !cJSON_IsNumber(score) || score->next) {
        return tandem_error("%s: model.vocab[%zu]: expected a token and its score", source, unigram->count);
    }
    size_t length = strlen(token->valuestring);
    unigram->scores[unigram->count] = as_the_library_reads(score->valuedouble, powers);
    TANDEM_TRY(tandem_token_trie_put(&unigram->trie, token->valuestring, length, (uint32_t)unigram->count));
    tandem_hasher_field(hasher, token->valuestring, length);
    tandem_hasher_field(hasher, &unigram->scores[unigram->count++], sizeof *unigram->scores);
    return TANDEM_OK;
}

static int read_vocab(tandem_unigram *unigram, const cJSON *list, tandem_hasher *hasher, const char *source)
{
    if (!cJSON_IsArray(list)) {
        return tandem_error("%s: model.vocab: expected an array of tokens and scores", source);
    }
    size_t count = (size_t)cJSON_GetArraySize(list);
    unigram->scores = tandem_alloc(count, sizeof *unigram->scores);
    if (!unigram->scores) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(tandem_token_trie_init(&unigram->trie));
    double powers[POWERS], lowest = INFINITY;
    fill_powers(powers);
    for (const cJSON *item = list->child; item; item = item->next) {
        TANDEM_TRY(read_entry(unigram, item, powers, hasher, source));
        lowest = fmin(lowest, unigram->scores[unigram->count - 1]);
    }
    unigram->unk_score = lowest - 10.0; /* what the library takes off */
    return TANDEM_OK;
}

static void fill_fallback(tandem_unigram *unigram)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8];
        int length = snprintf(name, sizeof name, "<0x%02X>", byte);
        unigram->fallback[byte] = tandem_unigram_find(unigram, name, (size_t)length);
    }
}

static int read_model(tandem_unigram *unigram, const cJSON *model, tandem_hasher *hasher, const char *source)
{
    TANDEM_TRY(read_vocab(unigram, tandem_json_member(model, "vocab"), hasher, source));
    int64_t unk_id = -1;
    TANDEM_TRY(tandem_json_get_int_or(model, "unk_id", source, 0, INT32_MAX, &unk_id));
    if (unk_id >= (int64_t)unigram->count) {
        return tandem_error("%s: model.unk_id: %lld, but there are %zu tokens", source, (long long)unk_id,
                            unigram->count);
    }
    unigram->unk_id = unk_id < 0 ? TANDEM_NO_TOKEN : (uint32_t)unk_id;
    TANDEM_TRY(tandem_json_get_bool_or(model, "byte_fallback", source, &unigram->byte_fallback));
    fill_fallback(unigram);
    tandem_hasher_int(hasher, unk_id);
    tandem_hasher_int(hasher, unigram->byte_fallback);
    return TANDEM_OK;
}

int tandem_unigram_new(tandem_unigram **out, const cJSON *model, const char *source)
{
    tandem_unigram *unigram = tandem_alloc(1, sizeof *unigram);
    tandem_hasher *hasher = unigram ? tandem_hasher_new() : NULL;
    int rc = TANDEM_ERROR;
    if (hasher) {
        rc = read_model(unigram, model, hasher, source);
        unigram->hash = tandem_hasher_done(hasher);
    }
    if (rc < 0) {
        tandem_unigram_free(unigram);
        return rc;
    }
    *out = unigram;
    return TANDEM_OK;
}

void tandem_unigram_free(tandem_unigram *unigram)
{
    if (unigram) {
        tandem_token_trie_clear(&unigram->trie);
        free(unigram->scores);
        free(unigram);
    }
}

uint32_t tandem_unigram_find(const tandem_unigram *unigram, const char *token, size_t length)
{
    return tandem_token_trie_find(&unigram->trie, token, length);
}

size_t tandem_unigram_count(const tandem_unigram *unigram)
{
    return unigram->count;
}

uint32_t tandem_unigram_largest_id(const tandem_unigram *unigram)
{
    return unigram->count > 0 ? (uint32_t)unigram->count - 1 : 0;
}

void tandem_unigram_hash(const tandem_unigram *unigram, tandem_hasher *hasher)
{
    tandem_hasher_string(hasher, "Unigram");
    tandem_hasher_hash(hasher, unigram->hash);
}

/* ---- scratch ----------------------------------------------------------------------------------- */
tandem_unigram_scratch *tandem_unigram_scratch_new(void)
{
    tandem_unigram_scratch *scratch = tandem_alloc(1, sizeof *scratch);
    if (scratch && tandem_word_cache_init(&scratch->cache) < 0) {
        free(scratch);
        return NULL;
    }
    return scratch;
}

void tandem_unigram_scratch_free(tandem_unigram_scratch *scratch)
{
    if (scratch) {
        tandem_word_cache_clear(&scratch->cache);
        free(scratch->nodes);
        free(scratch);
    }
}

/* ---- a word ---------------------------------------------------------------------------------------- */
static size_t utf8_length(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* Of equally good ways the first that is found remains: the one whose last token begins first. */
static bool improves(const node *end, double score)
{
    return end->start == NOWHERE || score > end->score;
}

/* Tries all tokens that begin at a character; true when one of them is just this character. */
static bool extend(const tandem_unigram *unigram, node *nodes, const char *word, size_t length, size_t at)
{
    const tandem_token_trie *trie = &unigram->trie;
    double score = nodes[at].score;
    size_t single = at + utf8_length((unsigned char)word[at]);
    uint32_t place = TANDEM_TRIE_ROOT;
    bool found = false;
    for (size_t i = at; i < length; i++) {
        place = tandem_token_trie_step(trie, place, (unsigned char)word[i]);
        if (place == TANDEM_TRIE_ROOT) {
            break;
        }
        uint32_t id = trie->ids[place];
        if (id != TANDEM_NO_TOKEN) {
            node *end = &nodes[i + 1];
            double candidate = unigram->scores[id] + score;
            if (improves(end, candidate)) {
                *end = (node){.score = candidate, .start = (uint32_t)at, .id = id};
            }
            found = found || i + 1 == single;
        }
    }
    return found;
}

/* A character that is no token may be unknown. */
static int add_unknown(const tandem_unigram *unigram, node *nodes, const char *word, size_t at)
{
    size_t size = utf8_length((unsigned char)word[at]);
    node *end = &nodes[at + size];
    double candidate = unigram->unk_score + nodes[at].score;
    if (improves(end, candidate)) {
        if (unigram->unk_id == TANDEM_NO_TOKEN) {
            return tandem_error("\"%.*s\" is not in the vocabulary of the Unigram model, which has no unknown token",
                                (int)size, word + at);
        }
        *end = (node){.score = candidate, .start = (uint32_t)at, .id = unigram->unk_id};
    }
    return TANDEM_OK;
}

/* The tokens of text that is unknown: itself if it is a token, or its bytes, last one first. */
static void put_unknown(const tandem_unigram *unigram, const char *word, uint32_t begin, uint32_t end,
                        tandem_model_tokens *out)
{
    uint32_t id = tandem_unigram_find(unigram, word + begin, end - begin);
    bool bytes = unigram->byte_fallback && id == TANDEM_NO_TOKEN;
    for (uint32_t i = begin; bytes && i < end; i++) {
        bytes = unigram->fallback[(unsigned char)word[i]] != TANDEM_NO_TOKEN;
    }
    if (!bytes) {
        id = id == TANDEM_NO_TOKEN ? unigram->unk_id : id;
        out->items[out->count++] = (tandem_model_token){.id = id, .begin = begin, .end = end};
    }
    for (uint32_t i = end; bytes && i > begin; i--) {
        id = unigram->fallback[(unsigned char)word[i - 1]];
        out->items[out->count++] = (tandem_model_token){.id = id, .begin = begin, .end = end};
    }
}

/* Follows the best way from its end. Unknown neighbours are one. */
static void put_tokens(const tandem_unigram *unigram, const node *nodes, const char *word, uint32_t length,
                       tandem_model_tokens *out)
{
    size_t from = out->count;
    for (uint32_t end = length; end > 0;) {
        uint32_t start = nodes[end].start;
        if (nodes[end].id == unigram->unk_id) {
            while (start > 0 && nodes[start].id == unigram->unk_id) {
                start = nodes[start].start;
            }
            put_unknown(unigram, word, start, end, out);
        } else {
            out->items[out->count++] = (tandem_model_token){.id = nodes[end].id, .begin = start, .end = end};
        }
        end = start;
    }
    for (size_t i = from, k = out->count; i + 1 < k; i++) {
        tandem_model_token swapped = out->items[i];
        out->items[i] = out->items[--k];
        out->items[k] = swapped;
    }
}

static int cut_word(const tandem_unigram *unigram, tandem_unigram_scratch *scratch, const char *word, size_t length,
                    tandem_model_tokens *out)
{
    void *grown = scratch->nodes;
    int rc = tandem_grow(&grown, &scratch->capacity, length + 1, sizeof *scratch->nodes);
    scratch->nodes = grown;
    TANDEM_TRY(rc);
    node *nodes = scratch->nodes;
    for (size_t i = 0; i <= length; i++) {
        nodes[i] = (node){.start = NOWHERE};
    }
    for (size_t at = 0; at < length; at += utf8_length((unsigned char)word[at])) {
        if (!extend(unigram, nodes, word, length, at)) {
            TANDEM_TRY(add_unknown(unigram, nodes, word, at));
        }
    }
    put_tokens(unigram, nodes, word, (uint32_t)length, out);
    return TANDEM_OK;
}

int tandem_unigram_word(const tandem_unigram *unigram, tandem_unigram_scratch *scratch, const char *word,
                        size_t length, tandem_model_tokens *out)
{
    if (length > LONGEST_WORD) {
        return tandem_error("a word of %zu bytes is too long for the Unigram model (at most %d)", length,
                            LONGEST_WORD);
    }
    TANDEM_TRY(tandem_model_tokens_reserve(out, length > TANDEM_WORD_CACHE_TOKENS ? length : TANDEM_WORD_CACHE_TOKENS));
    if (length == 0 || tandem_word_cache_get(&scratch->cache, word, length, out)) {
        return TANDEM_OK;
    }
    size_t from = out->count;
    TANDEM_TRY(cut_word(unigram, scratch, word, length, out));
    tandem_word_cache_put(&scratch->cache, word, length, out, from);
    return TANDEM_OK;
}
