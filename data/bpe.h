/* bpe.h - private to data/: the BPE model: a word's characters are merged, pair by pair, in
 * the order in which the merges were learned (Sennrich et al. 2016, with the options of
 * Hugging Face tokenizers, models/bpe).
 */
#ifndef TANDEM_DATA_BPE_H
#define TANDEM_DATA_BPE_H

#include "data/token_model.h"

typedef struct tandem_bpe tandem_bpe;
typedef struct tandem_bpe_scratch tandem_bpe_scratch;

/* Reads the object "model" of a tokenizer.json. With `byte_level`, words are given as raw
 * bytes: the vocabulary is written in the alphabet of the ByteLevel pre-tokenizer, where
 * each byte is a visible character, and the model sees to the difference. Refused: dropout,
 * a merge of or to a token that the vocabulary lacks, and byte_fallback together with a
 * prefix or suffix. */
int tandem_bpe_new(tandem_bpe **out, const struct cJSON *model, bool byte_level, const char *source);
void tandem_bpe_free(tandem_bpe *bpe); /* NULL is fine */

/* A token as tokenizer.json writes it; its id, or TANDEM_NO_TOKEN. */
uint32_t tandem_bpe_find(const tandem_bpe *bpe, const char *token, size_t length);
size_t tandem_bpe_count(const tandem_bpe *bpe);
uint32_t tandem_bpe_largest_id(const tandem_bpe *bpe); /* 0 for an empty vocabulary */
/* Feeds everything that decides ids. */
void tandem_bpe_hash(const tandem_bpe *bpe, tandem_hasher *hasher);

/* What changes while words are cut; one a thread, and for one model only. */
tandem_bpe_scratch *tandem_bpe_scratch_new(void); /* NULL with the message set */
void tandem_bpe_scratch_free(tandem_bpe_scratch *scratch);

/* Appends the tokens of a word: valid UTF-8, or any bytes with byte_level. Fails where an
 * unknown character is met and the unknown token is not in the vocabulary. Without an
 * unknown token such characters vanish, and the spans of what follows begin that much
 * earlier, as the library has it. */
int tandem_bpe_word(const tandem_bpe *bpe, tandem_bpe_scratch *scratch, const char *word, size_t length,
                    tandem_model_tokens *out);

#endif
