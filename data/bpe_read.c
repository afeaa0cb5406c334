/* bpe_read.c - reads a BPE model from its object of tokenizer.json. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe_private.h"
#include "tandem/json.h"

/* ---- alphabets of bytes -------------------------------------------------------------------- */
/* GPT-2's alphabet: a byte that Latin-1 shows is that character; the others are, in their
 * order, the characters from U+0100 on (openai/gpt-2, encoder.py, bytes_to_unicode). */
static void fill_visible(tandem_bpe *bpe)
{
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; byte++) {
        bool shown = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        uint32_t c = shown ? byte : next++;
        bpe_visible *visible = &bpe->visible[byte];
        if (c < 0x80) {
            *visible = (bpe_visible){.text = {(char)c}, .length = 1};
        } else {
            *visible = (bpe_visible){.text = {(char)(0xC0 | c >> 6), (char)(0x80 | (c & 0x3F))}, .length = 2};
        }
        visible->id = tandem_bpe_find(bpe, visible->text, visible->length);
    }
}

static void fill_fallback(tandem_bpe *bpe)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8];
        int length = snprintf(name, sizeof name, "<0x%02X>", byte);
        bpe->fallback[byte] = tandem_bpe_find(bpe, name, (size_t)length);
    }
}

/* ---- merges ------------------------------------------------------------------------------------ */
typedef struct {
    const char *left, *right;
    size_t left_length, right_length;
} merge_text;

/* Merges are arrays of two strings or, in older files, strings with a space between the two. */
static bool read_merge(merge_text *out, const cJSON *item, bool arrays)
{
    if (arrays && cJSON_GetArraySize(item) == 2 && cJSON_IsString(item->child) && cJSON_IsString(item->child->next)) {
        out->left = item->child->valuestring;
        out->right = item->child->next->valuestring;
        out->left_length = strlen(out->left);
    } else if (!arrays && cJSON_IsString(item)) {
        const char *space = strchr(item->valuestring, ' ');
        if (!space || strchr(space + 1, ' ')) {
            return false;
        }
        out->left = item->valuestring;
        out->right = space + 1;
        out->left_length = (size_t)(space - item->valuestring);
    } else {
        return false;
    }
    out->right_length = strlen(out->right);
    return true;
}

static int lacking(const char *token, size_t length, uint32_t rank, const char *source)
{
    return tandem_error("%s: model.merges[%u]: \"%.*s\" is not in the vocabulary", source, rank,
                        (int)(length < 200 ? length : 200), token);
}

/* True when U+2581, which stands for a space, comes after another character. */
static bool has_inner_space(const char *text, size_t length)
{
    for (size_t at = 1; at + BPE_SPACE_LENGTH <= length; at++) {
        bool first = at < BPE_SPACE_LENGTH || memcmp(text + at - BPE_SPACE_LENGTH, BPE_SPACE, BPE_SPACE_LENGTH) != 0;
        if (first && memcmp(text + at, BPE_SPACE, BPE_SPACE_LENGTH) == 0) {
            return true;
        }
    }
    return false;
}

/* The result of a merge is both texts, the second without the prefix of its place. */
static int add_merge(tandem_bpe *bpe, const merge_text *text, uint32_t rank, tandem_buffer *joined,
                     tandem_hasher *hasher, const char *source)
{
    uint32_t left = tandem_bpe_find(bpe, text->left, text->left_length);
    uint32_t right = tandem_bpe_find(bpe, text->right, text->right_length);
    if (left == TANDEM_NO_TOKEN) {
        return lacking(text->left, text->left_length, rank, source);
    }
    if (right == TANDEM_NO_TOKEN) {
        return lacking(text->right, text->right_length, rank, source);
    }
    if (text->right_length <= bpe->prefix_length) {
        return tandem_error("%s: model.merges[%u]: the second text is no longer than the prefix", source, rank);
    }
    tandem_buffer_clear(joined);
    TANDEM_TRY(tandem_buffer_append(joined, text->left, text->left_length));
    TANDEM_TRY(tandem_buffer_append(joined, text->right + bpe->prefix_length,
                                    text->right_length - bpe->prefix_length));
    uint32_t id = tandem_bpe_find(bpe, joined->data, joined->length);
    if (id == TANDEM_NO_TOKEN) {
        return lacking(joined->data, joined->length, rank, source);
    }
    bpe->apart = bpe->apart && !has_inner_space(joined->data, joined->length);
    *tandem_bpe_merge_slot(bpe, left, right) =
        (bpe_merge){.pair = (uint64_t)left << 32 | right, .rank = rank, .id = id}; /* a pair's last rank holds */
    tandem_hasher_int(hasher, left);
    tandem_hasher_int(hasher, right);
    return TANDEM_OK;
}

static int make_slots(tandem_bpe *bpe, size_t merges)
{
    size_t slots = 16; /* at most half of them are taken */
    while (slots < 2 * merges) {
        slots *= 2;
    }
    bpe->merges = tandem_alloc(slots, sizeof *bpe->merges);
    if (!bpe->merges) {
        return TANDEM_ERROR;
    }
    for (size_t i = 0; i < slots; i++) {
        bpe->merges[i].id = TANDEM_NO_TOKEN;
    }
    bpe->merge_mask = slots - 1;
    return TANDEM_OK;
}

static int read_merges(tandem_bpe *bpe, const cJSON *list, tandem_hasher *hasher, const char *source)
{
    if (!cJSON_IsArray(list)) {
        return tandem_error("%s: model.merges: expected an array", source);
    }
    TANDEM_TRY(make_slots(bpe, (size_t)cJSON_GetArraySize(list)));
    tandem_buffer joined = TANDEM_BUFFER_INIT;
    bool arrays = cJSON_IsArray(list->child);
    uint32_t rank = 0;
    int rc = TANDEM_OK;
    for (const cJSON *item = list->child; item && rc == TANDEM_OK; item = item->next) {
        static const char version[] = "#version"; /* the first line of merges.txt, left in */
        merge_text text;
        if (cJSON_IsString(item) && !arrays && strncmp(item->valuestring, version, sizeof version - 1) == 0) {
            continue;
        }
        rc = read_merge(&text, item, arrays) ? add_merge(bpe, &text, rank++, &joined, hasher, source)
                                             : tandem_error("%s: model.merges[%u]: expected two texts%s", source, rank,
                                                            arrays ? "" : " with a space between them");
    }
    tandem_buffer_free(&joined);
    return rc;
}

/* ---- the model ------------------------------------------------------------------------------------ */
/* An empty string is the same as none, which the library, too, makes no difference of. */
static int read_affix(const cJSON *model, const char *key, const char *source, char **out, size_t *length)
{
    const char *text = "";
    TANDEM_TRY(tandem_json_get_string_or(model, key, source, &text));
    *out = tandem_strdup(text);
    *length = strlen(text);
    return *out ? TANDEM_OK : TANDEM_ERROR;
}

static int read_options(tandem_bpe *bpe, const cJSON *model, const char *source)
{
    double dropout = 0;
    TANDEM_TRY(tandem_json_get_double_or(model, "dropout", source, &dropout));
    if (dropout != 0) {
        return tandem_error("%s: model.dropout: %g would make ids random; only 0 is supported", source, dropout);
    }
    const char *unk = NULL;
    TANDEM_TRY(tandem_json_get_string_or(model, "unk_token", source, &unk));
    bpe->unk_token = unk ? tandem_strdup(unk) : NULL;
    if (unk && !bpe->unk_token) {
        return TANDEM_ERROR;
    }
    TANDEM_TRY(read_affix(model, "continuing_subword_prefix", source, &bpe->prefix, &bpe->prefix_length));
    TANDEM_TRY(read_affix(model, "end_of_word_suffix", source, &bpe->suffix, &bpe->suffix_length));
    TANDEM_TRY(tandem_json_get_bool_or(model, "fuse_unk", source, &bpe->fuse_unk));
    TANDEM_TRY(tandem_json_get_bool_or(model, "byte_fallback", source, &bpe->byte_fallback));
    TANDEM_TRY(tandem_json_get_bool_or(model, "ignore_merges", source, &bpe->ignore_merges));
    if (bpe->byte_fallback && bpe->prefix_length + bpe->suffix_length > 0) {
        /* The library then counts bytes that no text has. */
        return tandem_error("%s: model.byte_fallback together with continuing_subword_prefix or end_of_word_suffix "
                            "is not supported", source);
    }
    return TANDEM_OK;
}

/* SentencePiece's models see a whole text as one word, in which spaces are U+2581. Where no
 * merge makes a token with a space inside, such a text may be cut before its spaces, provided
 * that a space is a token (it ends a run of unknown characters), that nothing depends on where
 * the word begins and ends, and that no character vanishes (it would shift all that follows). */
static bool may_be_cut(const tandem_bpe *bpe)
{
    return !bpe->byte_level && !bpe->ignore_merges && bpe->prefix_length + bpe->suffix_length == 0 &&
           bpe->unk_id != TANDEM_NO_TOKEN && tandem_bpe_find(bpe, BPE_SPACE, BPE_SPACE_LENGTH) != TANDEM_NO_TOKEN;
}

static int read_model(tandem_bpe *bpe, const cJSON *model, tandem_hasher *hasher, const char *source)
{
    TANDEM_TRY(read_options(bpe, model, source));
    TANDEM_TRY(tandem_token_ids_read(&bpe->vocab, tandem_json_member(model, "vocab"), hasher, source));
    bpe->unk_id = bpe->unk_token ? tandem_bpe_find(bpe, bpe->unk_token, strlen(bpe->unk_token)) : TANDEM_NO_TOKEN;
    bpe->apart = may_be_cut(bpe);
    TANDEM_TRY(read_merges(bpe, tandem_json_member(model, "merges"), hasher, source));
    fill_visible(bpe);
    fill_fallback(bpe);
    tandem_hasher_string(hasher, bpe->unk_token);
    tandem_hasher_string(hasher, bpe->prefix);
    tandem_hasher_string(hasher, bpe->suffix);
    tandem_hasher_int(hasher, bpe->byte_level << 3 | bpe->fuse_unk << 2 | bpe->byte_fallback << 1 | bpe->ignore_merges);
    return TANDEM_OK;
}

int tandem_bpe_new(tandem_bpe **out, const cJSON *model, bool byte_level, const char *source)
{
    tandem_bpe *bpe = tandem_alloc(1, sizeof *bpe);
    tandem_hasher *hasher = bpe ? tandem_hasher_new() : NULL;
    int rc = TANDEM_ERROR;
    if (hasher) {
        bpe->byte_level = byte_level;
        rc = read_model(bpe, model, hasher, source);
        bpe->hash = tandem_hasher_done(hasher);
    }
    if (rc < 0) {
        tandem_bpe_free(bpe);
        return rc;
    }
    *out = bpe;
    return TANDEM_OK;
}
