/* tokenizer_model.c - the four models behind one face: find a token, cut a word. */
#include <stdlib.h>

#include "data/tokenizer_scratch.h"

void tandem_token_model_clear(tandem_token_model *model)
{
    tandem_wordpiece_free(model->wordpiece);
    tandem_bpe_free(model->bpe);
    tandem_unigram_free(model->unigram);
    tandem_wordlevel_free(model->wordlevel);
}

uint32_t tandem_token_model_find(const tandem_token_model *model, const char *token, size_t length)
{
    switch (model->kind) {
    case TANDEM_BPE: return tandem_bpe_find(model->bpe, token, length);
    case TANDEM_UNIGRAM: return tandem_unigram_find(model->unigram, token, length);
    case TANDEM_WORDLEVEL: return tandem_wordlevel_find(model->wordlevel, token, length);
    case TANDEM_WORDPIECE: break;
    }
    return tandem_wordpiece_find(model->wordpiece, token, length);
}

size_t tandem_token_model_count(const tandem_token_model *model)
{
    switch (model->kind) {
    case TANDEM_BPE: return tandem_bpe_count(model->bpe);
    case TANDEM_UNIGRAM: return tandem_unigram_count(model->unigram);
    case TANDEM_WORDLEVEL: return tandem_wordlevel_count(model->wordlevel);
    case TANDEM_WORDPIECE: break;
    }
    return tandem_wordpiece_count(model->wordpiece);
}

size_t tandem_token_model_ids(const tandem_token_model *model)
{
    size_t largest = 0;
    switch (model->kind) {
    case TANDEM_BPE: largest = tandem_bpe_largest_id(model->bpe); break;
    case TANDEM_UNIGRAM: largest = tandem_unigram_largest_id(model->unigram); break;
    case TANDEM_WORDLEVEL: largest = tandem_wordlevel_largest_id(model->wordlevel); break;
    case TANDEM_WORDPIECE: largest = tandem_wordpiece_largest_id(model->wordpiece); break;
    }
    return tandem_token_model_count(model) > 0 ? largest + 1 : 0;
}

/* ---- words ----------------------------------------------------------------------------- */
static int cut_word(const tandem_token_model *model, tandem_token_scratch *scratch, tandem_view word)
{
    tandem_model_tokens *out = &scratch->model_tokens;
    out->count = 0;
    switch (model->kind) {
    case TANDEM_BPE: return tandem_bpe_word(model->bpe, scratch->bpe, word.text, word.length, out);
    case TANDEM_UNIGRAM: return tandem_unigram_word(model->unigram, scratch->unigram, word.text, word.length, out);
    case TANDEM_WORDLEVEL: return tandem_wordlevel_word(model->wordlevel, word.text, word.length, out);
    case TANDEM_WORDPIECE: break;
    }
    return tandem_wordpiece_word(model->wordpiece, &scratch->wordpiece, word.text, word.length, out);
}

/* Of the vocabulary's own text of a token; a Unigram token's is what it covers. */
static tandem_token_spaces spaces_of(const tandem_token_spaces *spaces, tandem_view word,
                                     const tandem_model_token *token)
{
    return spaces ? spaces[token->id] : tandem_count_spaces(word.text + token->begin, token->end - token->begin);
}

int tandem_token_model_word(const tandem_token_model *model, tandem_token_scratch *scratch,
                            const tandem_token_spaces *spaces, tandem_view word)
{
    if (word.length >= UINT32_MAX) {
        return tandem_error("a word of %zu bytes is too long", word.length);
    }
    TANDEM_TRY(cut_word(model, scratch, word));
    const tandem_model_token *tokens = scratch->model_tokens.items;
    size_t count = scratch->model_tokens.count, first = scratch->count;
    TANDEM_TRY(tandem_token_scratch_reserve(scratch, count));
    for (size_t i = 0; i < count; i++) {
        scratch->ids[first + i] = tokens[i].id;
    }
    for (size_t i = 0; scratch->offsets && i < count; i++) {
        scratch->starts[first + i] = word.origins[tokens[i].begin];
        scratch->ends[first + i] = word.origins[tokens[i].end - 1] + 1;
    }
    for (size_t i = 0; scratch->spaces && i < count; i++) {
        scratch->token_spaces[first + i] = spaces_of(spaces, word, &tokens[i]);
    }
    tandem_token_scratch_count(scratch, count);
    return TANDEM_OK;
}
