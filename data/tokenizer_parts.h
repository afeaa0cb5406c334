/* tokenizer_parts.h - private to data/: what a tokenizer is made of, in the order in
 * which text meets it.
 *
 *   added_tokens.c      finds the added tokens ([SEP], ...) in raw or normalized text
 *   normalizers.c       rewrites what lies between them
 *   pre_tokenizers.c    cuts that into words
 *   tokenizer_model.c   a word to token ids: wordpiece.c, bpe.c, unigram.c, wordlevel.c
 *   bert_text.c         BertNormalizer and BertPreTokenizer in one pass, for WordPiece
 *   tokenizer_text.c    drives all of them over a text
 *   post_processors.c   special tokens, type ids, trimmed offsets
 *   truncation.c        what of a text or pair remains; overflowing windows
 *   aligned_text.c      what they hand on: text, and where each byte of it comes from
 *   tokenizer.c         life and properties
 *   tokenizer_json.c    reads tokenizer.json; tokenizer_vocab.c a directory with vocab.txt;
 *                       tokenizer_part.c what the readers of parts share
 *
 * Adding a part that tokenizer.json may name: a row in the table of its kind in the file
 * above (models: tokenizer_json.c), and a case in tests/parity/test_tokenizer_parts.py.
 */
#ifndef TANDEM_DATA_TOKENIZER_PARTS_H
#define TANDEM_DATA_TOKENIZER_PARTS_H

#include "data/bpe.h"
#include "data/normalizers.h"
#include "data/pre_tokenizers.h"
#include "data/token_trie.h"
#include "data/unigram.h"
#include "data/wordlevel.h"
#include "data/wordpiece.h"
#include "tandem/tokenizer.h"

struct cJSON;

enum {
    TANDEM_PARTS_MAX = 64, /* parts of a chain, and depth of a Sequence */
    TANDEM_TRIMS_MAX = 4   /* post-processors that trim offsets */
};

/* The index in names[] (each a type; NULL ends it) of the type of `part`, or a message that
 * refuses it by name. */
int tandem_part_type(const struct cJSON *part, const char *key, const char *const *names, const char *source,
                     size_t *index);
/* Calls `read` with each part of a Sequence, whose array is `member`. */
typedef int (*tandem_part_fn)(void *context, const struct cJSON *part, size_t depth);
int tandem_part_each(const struct cJSON *part, const char *key, const char *member, const char *source, size_t depth,
                     tandem_part_fn read, void *context);
/* An id; `name` says whose it is. */
int tandem_part_id(const struct cJSON *value, const char *name, const char *source, uint32_t *id);
/* A member that is "String" or "Regex", as of Split and Replace. */
int tandem_part_pattern(const struct cJSON *part, const char *key, const char *source, tandem_hasher *hasher,
                        tandem_pattern **out);

/* ---- added tokens ------------------------------------------------------------- */
typedef struct {
    char *content; /* as tokenizer.json has it */
    size_t length;
    char *pattern; /* what is looked for: the content, normalized where `normalized` says so */
    size_t pattern_length;
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized;
} tandem_added_token;

/* Added tokens that are looked for in one kind of text. */
typedef struct {
    const tandem_added_token *tokens; /* borrowed */
    tandem_token_trie patterns;       /* to indices of them */
    size_t count;
    bool begins[256]; /* the bytes that patterns begin with, */
    int only;         /* and that byte where there is but one; else -1 */
} tandem_added_finder;

typedef struct {
    size_t start, end; /* with the spaces that lstrip and rstrip take */
    const tandem_added_token *token;
} tandem_added_match;

/* Fails where two patterns are the same or one is empty. */
int tandem_added_finder_make(tandem_added_finder *finder, const tandem_added_token *tokens, size_t count,
                             bool normalized, const char *source);
void tandem_added_finder_clear(tandem_added_finder *finder);
/* The next match at or after *cursor, which is moved past it. Text before `covered`
 * belongs to the match before. False when there is none. */
bool tandem_added_next(const tandem_added_finder *finder, const char *text, size_t length, size_t *cursor,
                       size_t covered, tandem_added_match *out);

/* ---- model ------------------------------------------------------------------------- */
typedef enum { TANDEM_WORDPIECE, TANDEM_BPE, TANDEM_UNIGRAM, TANDEM_WORDLEVEL } tandem_model_kind;

typedef struct {
    tandem_model_kind kind; /* and its member below */
    tandem_wordpiece *wordpiece;
    tandem_bpe *bpe;
    tandem_unigram *unigram;
    tandem_wordlevel *wordlevel;
} tandem_token_model;

void tandem_token_model_clear(tandem_token_model *model);
uint32_t tandem_token_model_find(const tandem_token_model *model, const char *token, size_t length);
size_t tandem_token_model_count(const tandem_token_model *model); /* tokens */
size_t tandem_token_model_ids(const tandem_token_model *model);   /* largest id + 1 */

/* ---- post-processor ------------------------------------------------------------------ */
typedef enum { TANDEM_PIECE_FIRST, TANDEM_PIECE_SECOND, TANDEM_PIECE_SPECIAL } tandem_piece_kind;

typedef struct {
    tandem_piece_kind kind;
    uint32_t id; /* of a special token */
    uint8_t type_id;
    uint8_t overflow_type_id; /* where the piece comes from an overflowing window */
} tandem_template_piece;

typedef struct {
    tandem_template_piece *pieces;
    size_t count, capacity;
    size_t specials;
} tandem_template;

/* White space at the ends of a token, in characters, which trimmed offsets leave out. */
typedef struct {
    uint32_t lead, trail;
} tandem_token_spaces;

typedef struct {
    tandem_template single, pair;
    bool made; /* by a part that adds special tokens */
    /* Offsets are trimmed `trims` times; a first token keeps the space that a
     * pre-tokenizer's add_prefix_space gave it. */
    bool add_prefix_space[TANDEM_TRIMS_MAX];
    size_t trims;
    tandem_token_spaces *spaces; /* [ids of the model] when trims > 0 and the model is not Unigram */
} tandem_post_processor;

/* Reads the part "post_processor" of a tokenizer.json (NULL or null: the sides follow each
 * other). */
int tandem_post_processor_read(tandem_post_processor *out, const struct cJSON *part, const char *source);
/* [CLS] A [SEP], and [CLS] A [SEP] B [SEP] with type 1 from B on. */
int tandem_post_processor_set_bert(tandem_post_processor *out, uint32_t cls, uint32_t sep);
void tandem_post_processor_clear(tandem_post_processor *processor);
void tandem_post_processor_hash(const tandem_post_processor *processor, tandem_hasher *hasher);
/* Fills `spaces` from the model's vocabulary, an object of tokens and ids below `ids`. */
int tandem_post_processor_set_spaces(tandem_post_processor *processor, const struct cJSON *vocab, size_t ids);
tandem_token_spaces tandem_count_spaces(const char *text, size_t length);
/* Trims the offsets of a token; `first` says that it is the first of its encoding. */
void tandem_trim_offsets(const tandem_post_processor *processor, tandem_token_spaces spaces, bool first,
                         uint32_t *start, uint32_t *end);

/* ---- the whole -------------------------------------------------------------------------- */
struct tandem_tokenizer {
    char *path;
    uint64_t serial; /* different for every tokenizer of the process; keys the caches */
    tandem_normalizers normalizers;
    tandem_pre_tokenizers pre_tokenizers;
    tandem_token_model model;
    bool fused;              /* BERT's own parts and no more: bert_text.c does it all, */
    tandem_bert_rules rules; /* by these rules */
    bool ask_origin;         /* words depend on where the text begins */
    tandem_added_token *added;
    size_t added_count, added_capacity;
    size_t added_new; /* added tokens that the model does not have */
    tandem_added_finder raw, normalized;
    tandem_post_processor processor;
    tandem_truncation truncation;
    size_t vocab_size;
    uint32_t pad_id;
    tandem_hasher *hasher; /* until the tokenizer is finished */
    tandem_hash hash;
};

/* An empty tokenizer to be filled; NULL with the message set. */
tandem_tokenizer *tandem_tokenizer_new(const char *path);

/* Adds a token with the flags of `flags`, and gives in *id what Hugging Face would give
 * it: the id it has in the model, or the next free one. */
int tandem_tokenizer_add_token(tandem_tokenizer *tokenizer, const char *content, const tandem_added_token *flags,
                               const char *source, uint32_t *id);
/* The id of an added token or of the model's, or TANDEM_NO_TOKEN. */
uint32_t tandem_tokenizer_find(const tandem_tokenizer *tokenizer, const char *token, size_t length);
/* Derives all that follows from what was filled in. */
int tandem_tokenizer_finish(tandem_tokenizer *tokenizer, const char *source);

/* Reads directory/vocab.txt, and tokenizer_config.json where there is one. */
int tandem_tokenizer_read_vocab(tandem_tokenizer **out, const char *directory, const char *vocab_path);

#endif
