/* pre_tokenizers.h - private to data/: the pre-tokenizers that a tokenizer.json may name
 * (Hugging Face tokenizers, src/pre_tokenizers). Each cuts every piece that the one before it
 * made, so a text runs through all of them piece by piece, and nothing is stored between them.
 */
#ifndef TANDEM_DATA_PRE_TOKENIZERS_H
#define TANDEM_DATA_PRE_TOKENIZERS_H

#include "data/aligned_text.h"
#include "data/split_pattern.h"
#include "tandem/hash.h"

struct cJSON;

typedef enum {
    TANDEM_CUT_BERT,
    TANDEM_CUT_WHITESPACE,
    TANDEM_CUT_WHITESPACE_SPLIT,
    TANDEM_CUT_BYTE_LEVEL,
    TANDEM_CUT_METASPACE,
    TANDEM_CUT_PUNCTUATION,
    TANDEM_CUT_DIGITS,
    TANDEM_CUT_SPLIT,
    TANDEM_CUT_DELIMITER,
    TANDEM_CUT_FIXED_LENGTH
} tandem_cut_kind;

/* What becomes of the separators. */
typedef enum {
    TANDEM_CUT_REMOVED,
    TANDEM_CUT_ISOLATED,
    TANDEM_CUT_MERGED_WITH_PREVIOUS,
    TANDEM_CUT_MERGED_WITH_NEXT,
    TANDEM_CUT_CONTIGUOUS
} tandem_cut_behavior;

typedef enum { TANDEM_PREPEND_ALWAYS, TANDEM_PREPEND_FIRST, TANDEM_PREPEND_NEVER } tandem_prepend_scheme;

typedef struct {
    tandem_cut_kind kind;
    tandem_cut_behavior behavior;
    tandem_pattern *pattern; /* Split */
    bool invert;             /* Split: the pattern is of what lies between separators */
    bool split;              /* ByteLevel's use_regex, Metaspace's split */
    bool raw;                /* ByteLevel: the model takes bytes as they are */
    tandem_prepend_scheme prepend; /* Metaspace; ByteLevel's add_prefix_space: always or never */
    char replacement[4];           /* Metaspace */
    size_t replacement_length;
    uint32_t delimiter; /* CharDelimiterSplit */
    size_t length;      /* FixedLength, in code points */
} tandem_cut;

typedef struct {
    tandem_cut *items;
    size_t count, capacity;
} tandem_pre_tokenizers;

/* Reads the part "pre_tokenizer" of a tokenizer.json (NULL or null: none), and feeds the
 * hasher all that decides what it does. */
int tandem_pre_tokenizers_read(tandem_pre_tokenizers *chain, const struct cJSON *part, tandem_hasher *hasher,
                               const char *source);
int tandem_pre_tokenizers_add_bert(tandem_pre_tokenizers *chain, tandem_hasher *hasher);
void tandem_pre_tokenizers_clear(tandem_pre_tokenizers *chain);
/* Whether a part asks if a piece begins where the text does (Metaspace, "first"). */
bool tandem_pre_tokenizers_ask_origin(const tandem_pre_tokenizers *chain);

/* Takes a word; negative stops. */
typedef int (*tandem_word_fn)(void *context, tandem_view word);

/* Gives each word of `view` to `word`. `buffers` has one for each part of the chain; `start`
 * is what an origin of TANDEM_ORIGIN_NONE stands for. */
int tandem_pre_tokenize(const tandem_pre_tokenizers *chain, tandem_aligned *buffers, uint32_t start, tandem_view view,
                        tandem_word_fn word, void *context);

#endif
