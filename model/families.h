/* families.h - the table of encoder families: what a checkpoint of each calls its
 * weights and settings, and where it differs from the others.
 *
 * Adding a family, three things to do (docs/adding-a-model.md walks through them):
 *  1. Write its weight rows and its tandem_family row in families.c. Where its forward
 *     pass differs in a way that no field here says, add the field, and the case in
 *     model/torch/encoder.cpp.
 *  2. Add its tokenizer's parts to data/tokenizer_json.c if they are not there yet.
 *  3. Add its configurations to tests/parity/test_model.py, and see them pass.
 */
#ifndef TANDEM_MODEL_FAMILIES_H
#define TANDEM_MODEL_FAMILIES_H

#include <stddef.h>
#include <stdint.h>

/* The sizes that a shape is made of. */
typedef enum {
    TANDEM_DIM_NONE, /* the weight has one dimension less */
    TANDEM_DIM_HIDDEN,
    TANDEM_DIM_INTERMEDIATE,
    TANDEM_DIM_VOCAB,
    TANDEM_DIM_POSITIONS,
    TANDEM_DIM_TYPES,
    TANDEM_DIM_LABELS
} tandem_dim;

typedef enum {
    TANDEM_WEIGHT_EMBEDDING, /* in the encoder, once */
    TANDEM_WEIGHT_LAYER,     /* in the encoder, once a layer; '*' in its name is the layer's number */
    TANDEM_WEIGHT_POOLER,    /* in the encoder, but only a cross-encoder reads it */
    TANDEM_WEIGHT_HEAD       /* beside the encoder, in cross-encoders: its name has no prefix */
} tandem_weight_group;

/* One weight. `place` is the offset of its tandem_place in tandem_encoder_spec, or in
 * tandem_layer_spec for TANDEM_WEIGHT_LAYER. Rows with one place, one after the
 * other, are parts of one matrix or vector (query, key, value). */
typedef struct {
    const char *name; /* without the family's prefix */
    tandem_weight_group group;
    size_t place;
    tandem_dim rows, columns;
} tandem_weight_row;

/* What config.json of a family calls the sizes. */
typedef struct {
    const char *hidden, *layers, *heads, *intermediate, *vocab, *positions, *types;
    const char *norm_eps, *activation, *hidden_dropout, *attention_dropout, *classifier_dropout;
    double norm_eps_default; /* of transformers' configuration class, for a config.json without it */
    int64_t types_default;
} tandem_config_keys;

typedef struct {
    const char *model_type;   /* config.json's, and tandem_model_info.family */
    const char *prefix;       /* of encoder weights in a checkpoint with a head: "bert." */
    const char *architecture; /* class of the bare encoder, for config.json: "BertModel" */
    const char *classifier;   /* class with a classification head */
    const char *tokenizer;    /* class, for a tokenizer_config.json that has to be made */
    const tandem_weight_row *weights;
    size_t weight_count;
    /* Weights of a checkpoint that say nothing (a NULL-terminated list); a name that
     * ends in '.' stands for all that begin with it, and their absence is logged. */
    const char *const *ignored;
    tandem_config_keys keys;
    int64_t position_offset; /* position of a text's first token */
} tandem_family;

/* NULL, with a message that lists the known ones, for an unknown model_type. */
const tandem_family *tandem_family_find(const char *model_type, const char *source);

#endif
