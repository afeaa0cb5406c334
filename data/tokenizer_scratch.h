/* tokenizer_scratch.h - private to data/: what changes while a text is tokenized. */
#ifndef TANDEM_DATA_TOKENIZER_SCRATCH_H
#define TANDEM_DATA_TOKENIZER_SCRATCH_H

#include "data/tokenizer_parts.h"

struct tandem_token_scratch {
    uint64_t serial; /* of the tokenizer that all below is made for */
    size_t limit;    /* tokens beyond it are counted, but not kept */
    bool offsets, spaces;

    tandem_aligned word;         /* under construction in bert_text.c */
    tandem_word_cache wordpiece; /* of the tokenizer's kind of model */
    tandem_bpe_scratch *bpe;
    tandem_unigram_scratch *unigram;
    tandem_model_tokens model_tokens;

    tandem_normalizer_scratch normalizer;
    tandem_aligned *cuts; /* [cut_count] one for each pre-tokenizer */
    size_t cut_count;
    tandem_aligned repaired; /* a text that was not valid UTF-8 */
    tandem_aligned segment;  /* origins of the text between two added tokens */

    uint32_t *ids, *starts, *ends;
    tandem_token_spaces *token_spaces; /* where offsets are trimmed */
    size_t capacity, start_capacity, end_capacity, space_capacity;
    size_t count; /* tokens kept */
    size_t total; /* tokens of the text so far */
};

/* Makes room for `more` tokens. */
int tandem_token_scratch_reserve(tandem_token_scratch *scratch, size_t more);
/* Takes `more` tokens that were written after the last one, up to the limit. */
static inline void tandem_token_scratch_count(tandem_token_scratch *scratch, size_t more)
{
    scratch->total += more;
    scratch->count = scratch->count + more < scratch->limit ? scratch->count + more : scratch->limit;
}

/* ---- tokenizer_text.c ------------------------------------------------------------------ */
/* Tokens of the text into the scratch, offsets as they are before any trimming. */
int tandem_tokenizer_run(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                         size_t length, size_t limit, bool offsets);

/* ---- tokenizer_model.c: tokens of a word ----------------------------------------------- */
int tandem_token_model_word(const tandem_token_model *model, tandem_token_scratch *scratch,
                            const tandem_token_spaces *spaces, tandem_view word);

/* ---- bert_text.c ------------------------------------------------------------------------- */
/* Normalizes `length` bytes that begin at `position`, and adds the tokens of their words. */
int tandem_bert_tokenize(const tandem_tokenizer *tokenizer, tandem_token_scratch *scratch, const char *text,
                         size_t length, uint32_t position);

#endif
