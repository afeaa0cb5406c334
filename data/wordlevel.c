/* wordlevel.c - the WordLevel model. */
#include "data/wordlevel.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/json.h"

struct tandem_wordlevel {
    tandem_token_ids vocab;
    char *unk_token;
    uint32_t unk_id; /* or TANDEM_NO_TOKEN */
    tandem_hash hash;
};

static int read_model(tandem_wordlevel *wordlevel, const cJSON *model, tandem_hasher *hasher, const char *source)
{
    const char *unk;
    TANDEM_TRY(tandem_json_get_string(model, "unk_token", source, &unk));
    TANDEM_TRY(tandem_token_ids_read(&wordlevel->vocab, tandem_json_member(model, "vocab"), hasher, source));
    tandem_hasher_string(hasher, unk);
    wordlevel->unk_id = tandem_token_ids_find(&wordlevel->vocab, unk, strlen(unk));
    wordlevel->unk_token = tandem_strdup(unk);
    return wordlevel->unk_token ? TANDEM_OK : TANDEM_ERROR;
}

int tandem_wordlevel_new(tandem_wordlevel **out, const cJSON *model, const char *source)
{
    tandem_wordlevel *wordlevel = tandem_alloc(1, sizeof *wordlevel);
    tandem_hasher *hasher = wordlevel ? tandem_hasher_new() : NULL;
    int rc = TANDEM_ERROR;
    if (hasher) {
        rc = read_model(wordlevel, model, hasher, source);
        wordlevel->hash = tandem_hasher_done(hasher);
    }
    if (rc < 0) {
        tandem_wordlevel_free(wordlevel);
        return rc;
    }
    *out = wordlevel;
    return TANDEM_OK;
}

void tandem_wordlevel_free(tandem_wordlevel *wordlevel)
{
    if (wordlevel) {
        tandem_token_ids_clear(&wordlevel->vocab);
        free(wordlevel->unk_token);
        free(wordlevel);
    }
}

uint32_t tandem_wordlevel_find(const tandem_wordlevel *wordlevel, const char *token, size_t length)
{
    return tandem_token_ids_find(&wordlevel->vocab, token, length);
}

size_t tandem_wordlevel_count(const tandem_wordlevel *wordlevel)
{
    return tandem_token_ids_count(&wordlevel->vocab);
}

uint32_t tandem_wordlevel_largest_id(const tandem_wordlevel *wordlevel)
{
    return wordlevel->vocab.largest;
}

void tandem_wordlevel_hash(const tandem_wordlevel *wordlevel, tandem_hasher *hasher)
{
    tandem_hasher_string(hasher, "WordLevel");
    tandem_hasher_hash(hasher, wordlevel->hash);
}

int tandem_wordlevel_word(const tandem_wordlevel *wordlevel, const char *word, size_t length, tandem_model_tokens *out)
{
    TANDEM_TRY(tandem_model_tokens_reserve(out, 1));
    uint32_t id = tandem_token_ids_find(&wordlevel->vocab, word, length);
    if (id == TANDEM_NO_TOKEN) {
        id = wordlevel->unk_id;
    }
    if (id == TANDEM_NO_TOKEN) {
        return tandem_error("\"%.*s\" is not in the vocabulary of the WordLevel model, nor is its unknown token \"%s\"",
                            (int)(length < 100 ? length : 100), word, wordlevel->unk_token);
    }
    out->items[out->count++] = (tandem_model_token){.id = id, .begin = 0, .end = (uint32_t)length};
    return TANDEM_OK;
}
