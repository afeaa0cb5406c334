/* tokenizer_parts.h - private to data/: what a tokenizer is made of, in the order in
 * which text meets it.
 *
 *   added_tokens.c      finds the added tokens ([SEP], ...) in raw or normalized text
 *   bert_text.c         BertNormalizer and BertPreTokenizer in one pass: text to words
 *   wordpiece.c         a word to token ids
 *   tokenizer.c         drives the three over a text; hash, life and properties
 *   tokenizer_template.c    truncation, special tokens and type ids
 *   tokenizer_json.c    reads tokenizer.json; tokenizer_vocab.c a directory with vocab.txt
 *
 * Adding a part that tokenizer.json may name: a row in the table of its kind in
 * tokenizer_json.c, a file like those above, and a case in tests/parity/test_tokenizer.py.
 */
#ifndef TANDEM_DATA_TOKENIZER_PARTS_H
#define TANDEM_DATA_TOKENIZER_PARTS_H

#include "tandem/tokenizer.h"

enum { TANDEM_WORD_CHARS_MAX = 65535 }; /* largest max_input_chars_per_word that is accepted */

/* ---- added tokens ------------------------------------------------------------- */
typedef struct {
    char *content; /* as tokenizer.json has it */
    size_t length;
    char *pattern; /* what is looked for: the content, normalized where `normalized` says so */
    size_t pattern_length;
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized;
} tandem_added_token;

/* Added tokens that are looked for in one kind of text, sorted by the first byte of
 * their patterns, the longest first; those of first byte b are first[b] .. first[b + 1]. */
typedef struct {
    const tandem_added_token **tokens;
    size_t count;
    size_t first[257];
    int only; /* the first byte of all patterns, or -1 */
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

/* ---- normalizer and pre-tokenizer ------------------------------------------------ */
typedef struct {
    bool clean_text, ideographs, strip_accents, lowercase;
    /* What the rules above make of an ASCII byte: 1 to 127, a byte of a word; 0xA0, a
     * space; another with the high bit, that punctuation; 0, ask the tables. */
    uint8_t ascii[256];
} tandem_bert_rules;

void tandem_bert_rules_finish(tandem_bert_rules *rules); /* fills ascii[] from the flags */

/* ---- model ------------------------------------------------------------------------- */
typedef struct {
    uint32_t key;   /* node and byte of the edge */
    uint32_t child; /* 0: no edge here */
} tandem_trie_edge;

/* All tokens in one trie, whose edges lie in a hash table. A continuing piece is
 * looked up from the node that the prefix ("##") leads to. */
typedef struct {
    tandem_trie_edge *edges; /* open addressing */
    size_t edge_capacity;    /* a power of two */
    size_t nodes;            /* edges + 1 */
    uint32_t *ids;           /* [nodes] the token that ends at a node, or NO_TOKEN */
    size_t ids_capacity;
    uint32_t continuing; /* the node of the prefix */
    bool has_continuing;
    uint32_t unk_id;
    size_t max_chars; /* a longer word is one unk */
    size_t count;     /* tokens */
} tandem_wordpiece;

#define TANDEM_NO_TOKEN UINT32_MAX

int tandem_wordpiece_init(tandem_wordpiece *model);
void tandem_wordpiece_clear(tandem_wordpiece *model);
/* Adds a token, or changes its id (TANDEM_OK both times). */
int tandem_wordpiece_put(tandem_wordpiece *model, const char *token, size_t length, uint32_t id);
uint32_t tandem_wordpiece_find(const tandem_wordpiece *model, const char *token, size_t length);
/* To be called when all tokens are in. */
void tandem_wordpiece_set_prefix(tandem_wordpiece *model, const char *prefix, size_t length);

/* ---- post-processor ------------------------------------------------------------------ */
typedef enum { TANDEM_PIECE_FIRST, TANDEM_PIECE_SECOND, TANDEM_PIECE_SPECIAL } tandem_piece_kind;

typedef struct {
    tandem_piece_kind kind;
    uint32_t id; /* of a special token */
    uint8_t type_id;
} tandem_template_piece;

typedef struct {
    tandem_template_piece *pieces;
    size_t count, capacity;
    size_t specials;
} tandem_template;

int tandem_template_add(tandem_template *out, tandem_piece_kind kind, uint32_t id, uint8_t type_id);

/* ---- the whole -------------------------------------------------------------------------- */
struct tandem_tokenizer {
    char *path;
    uint64_t serial; /* different for every tokenizer of the process; keys the caches */
    tandem_bert_rules rules;
    tandem_wordpiece model;
    tandem_added_token *added;
    size_t added_count, added_capacity;
    size_t added_next; /* largest id of an added token + 1 */
    tandem_added_finder raw, normalized;
    tandem_template single, pair;
    size_t vocab_size, truncation;
    uint32_t pad_id;
    tandem_hasher *hasher; /* until the tokenizer is finished */
    tandem_hash hash;
};

/* An empty tokenizer to be filled; NULL with the message set. */
tandem_tokenizer *tandem_tokenizer_new(const char *path);

typedef struct {
    const char *text; /* borrowed */
    size_t length;
    uint32_t id;
} tandem_vocab_entry;

typedef struct {
    const char *unk, *prefix;
    size_t max_chars;
} tandem_wordpiece_settings;

/* Sorts the entries by id, refuses an id that comes twice, and fills the model. */
int tandem_tokenizer_set_vocab(tandem_tokenizer *tokenizer, tandem_vocab_entry *entries, size_t count,
                               const tandem_wordpiece_settings *settings, const char *source);
/* Adds a token with the flags of `flags`, and gives in *id what Hugging Face would give
 * it: the id it has in the model, or the next free one. */
int tandem_tokenizer_add_token(tandem_tokenizer *tokenizer, const char *content, const tandem_added_token *flags,
                               const char *source, uint32_t *id);
/* The id of an added token or of the model's, or TANDEM_NO_TOKEN. */
uint32_t tandem_tokenizer_find(const tandem_tokenizer *tokenizer, const char *token, size_t length);
/* [CLS] A [SEP], and [CLS] A [SEP] B [SEP] with type 1 from B on. */
int tandem_tokenizer_set_bert_templates(tandem_tokenizer *tokenizer, uint32_t cls, uint32_t sep);
/* Derives all that follows from what was filled in. */
int tandem_tokenizer_finish(tandem_tokenizer *tokenizer, const char *source);

/* Reads directory/vocab.txt, and tokenizer_config.json where there is one. */
int tandem_tokenizer_read_vocab(tandem_tokenizer **out, const char *directory, const char *vocab_path);

#endif
