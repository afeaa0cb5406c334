/* normalizers.h - private to data/: the normalizers that a tokenizer.json may name, one after
 * the other (Hugging Face tokenizers, src/normalizers).
 */
#ifndef TANDEM_DATA_NORMALIZERS_H
#define TANDEM_DATA_NORMALIZERS_H

#include "data/aligned_text.h"
#include "data/normal_forms.h"
#include "data/precompiled.h"
#include "data/split_pattern.h"
#include "tandem/hash.h"

struct cJSON;

/* ---- BertNormalizer, whose rules bert_text.c applies in one pass --------------------- */
typedef struct {
    bool clean_text, ideographs, strip_accents, lowercase;
    /* What the rules above make of an ASCII byte: 1 to 127, a byte of a word; 0xA0, a
     * space; another with the high bit, that punctuation; 0, ask the tables. */
    uint8_t ascii[256];
} tandem_bert_rules;

void tandem_bert_rules_finish(tandem_bert_rules *rules); /* fills ascii[] from the flags */

/* A combining mark that waits for the end of its run, to be put in canonical order. */
typedef struct {
    uint32_t code_point; /* or TANDEM_MARK_DROPPED */
    uint32_t place;      /* in the run */
    uint8_t combining;
    bool first; /* it took the place of a code point, rather than following another */
} tandem_mark;

#define TANDEM_MARK_DROPPED UINT32_MAX

typedef struct {
    tandem_mark *items;
    size_t count, capacity;
    uint32_t *origins;
    size_t origin_count, origin_capacity;
    uint32_t base; /* origin of the code point before the run */
} tandem_marks;

void tandem_marks_free(tandem_marks *marks);
/* Appends what the rules make of `view`; tracked where that is. */
int tandem_bert_normalize(const tandem_bert_rules *rules, tandem_marks *marks, tandem_view view, tandem_aligned *out);

/* ---- all of them ------------------------------------------------------------------------ */
typedef enum {
    TANDEM_NORMALIZE_BERT,
    TANDEM_NORMALIZE_FORM,
    TANDEM_NORMALIZE_LOWERCASE,
    TANDEM_NORMALIZE_STRIP_ACCENTS,
    TANDEM_NORMALIZE_STRIP,
    TANDEM_NORMALIZE_REPLACE,
    TANDEM_NORMALIZE_PREPEND,
    TANDEM_NORMALIZE_PRECOMPILED,
    TANDEM_NORMALIZE_BYTE_LEVEL,
    TANDEM_NORMALIZE_NMT
} tandem_normalizer_kind;

typedef struct {
    tandem_normalizer_kind kind;
    tandem_bert_rules bert;
    tandem_normal_form form;
    bool left, right; /* Strip */
    tandem_pattern *pattern;
    char *content; /* of Replace and Prepend */
    size_t content_length;
    tandem_precompiled *precompiled;
} tandem_normalizer;

typedef struct {
    tandem_normalizer *items;
    size_t count, capacity;
} tandem_normalizers;

/* Reads the part "normalizer" of a tokenizer.json (NULL or null: none), and feeds the hasher
 * all that decides what it does. */
int tandem_normalizers_read(tandem_normalizers *chain, const struct cJSON *part, tandem_hasher *hasher,
                            const char *source);
/* Appends BertNormalizer; finishes its rules. */
int tandem_normalizers_add_bert(tandem_normalizers *chain, tandem_bert_rules rules, tandem_hasher *hasher);
void tandem_normalizers_clear(tandem_normalizers *chain);

/* What changes while text is normalized; zeroed at first. */
typedef struct {
    tandem_aligned buffers[2];
    uint32_t *chars;
    size_t char_capacity;
    tandem_changes changes;
    tandem_marks marks;
} tandem_normalizer_scratch;

void tandem_normalizer_scratch_clear(tandem_normalizer_scratch *scratch);
/* *view becomes the normalized text, in the scratch unless nothing had to change. */
int tandem_normalizers_apply(const tandem_normalizers *chain, tandem_normalizer_scratch *scratch, tandem_view *view);

/* The visible character in which the library's ByteLevel parts write a byte. */
uint32_t tandem_byte_level_char(unsigned char byte);
int tandem_byte_level_append(tandem_aligned *out, tandem_view view);

#endif
