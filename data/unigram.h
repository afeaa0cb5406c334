/* unigram.h - private to data/: the Unigram model: of all ways to cut a word into tokens,
 * the one whose scores have the largest sum (Kudo 2018; ties and unknown characters as in
 * Hugging Face tokenizers, models/unigram, encode_optimized).
 */
#ifndef TANDEM_DATA_UNIGRAM_H
#define TANDEM_DATA_UNIGRAM_H

#include "data/token_model.h"

typedef struct tandem_unigram tandem_unigram;
typedef struct tandem_unigram_scratch tandem_unigram_scratch;

/* Reads the object "model" of a tokenizer.json. Scores must be finite. A token that comes
 * twice has its last id and score. */
int tandem_unigram_new(tandem_unigram **out, const struct cJSON *model, const char *source);
void tandem_unigram_free(tandem_unigram *unigram); /* NULL is fine */

uint32_t tandem_unigram_find(const tandem_unigram *unigram, const char *token, size_t length);
size_t tandem_unigram_count(const tandem_unigram *unigram);        /* entries, repeated ones included */
uint32_t tandem_unigram_largest_id(const tandem_unigram *unigram); /* 0 for an empty vocabulary */
void tandem_unigram_hash(const tandem_unigram *unigram, tandem_hasher *hasher);

/* What changes while words are cut; one a thread, and for one model only. */
tandem_unigram_scratch *tandem_unigram_scratch_new(void); /* NULL with the message set */
void tandem_unigram_scratch_free(tandem_unigram_scratch *scratch);

/* Appends the tokens of a word, which is valid UTF-8 and may be a whole text: time and memory
 * are linear in its length. Fails where an unknown character is met and there is no unk_id. */
int tandem_unigram_word(const tandem_unigram *unigram, tandem_unigram_scratch *scratch, const char *word,
                        size_t length, tandem_model_tokens *out);

#endif
