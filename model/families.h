/* families.h - the table of encoder families: what a checkpoint of each calls its
 * weights and settings, and where it differs from the others.
 *
 * Adding a family, three things to do (docs/adding-a-model.md walks through them):
 *  1. Write its weight rows, its tandem_family row and what its config.json says beyond the
 *     common keys in families.c. Where its forward pass differs in a way that
 *     tandem_encoder_spec cannot say, add the field there, its case in
 *     model/torch/encoder.cpp, and the same case in model/onnx_encoder.c.
 *  2. Add its tokenizer's parts to data/ if they are not there yet.
 *  3. Add its configurations to tests/parity/test_model_families.py, and see them pass.
 */
#ifndef TANDEM_MODEL_FAMILIES_H
#define TANDEM_MODEL_FAMILIES_H

#include <stddef.h>
#include <stdint.h>

#include "model/torch/shim.h"

struct cJSON;

/* The sizes that a shape is made of. */
typedef enum {
    TANDEM_DIM_NONE, /* the weight has one dimension less */
    TANDEM_DIM_HIDDEN,
    TANDEM_DIM_EMBEDDING, /* width of the embedding tables */
    TANDEM_DIM_QKV,       /* 3 * hidden: query, key and value in one weight */
    TANDEM_DIM_INTERMEDIATE,
    TANDEM_DIM_GATED, /* 2 * intermediate: both halves of a gated feed-forward part in one weight */
    TANDEM_DIM_VOCAB,
    TANDEM_DIM_POSITIONS,
    TANDEM_DIM_TYPES,
    TANDEM_DIM_BUCKETS,
    TANDEM_DIM_HEADS,
    TANDEM_DIM_LABELS
} tandem_dim;

typedef enum {
    TANDEM_WEIGHT_ENCODER, /* in the encoder, once */
    TANDEM_WEIGHT_LAYER,   /* in the encoder, once a layer; '*' in its name is the layer's number */
    TANDEM_WEIGHT_POOLER,  /* in the encoder, but only a cross-encoder reads it: a bi-encoder's is a spare */
    TANDEM_WEIGHT_SPARE,   /* in a bare encoder, read by nothing: a bi-encoder keeps it for saving */
    TANDEM_WEIGHT_HEAD     /* beside the encoder, in cross-encoders: its name has no prefix */
} tandem_weight_group;

/* What a configuration may lack, and with it the weights of rows that need it (bits). */
enum {
    TANDEM_NEEDS_NORM_BIAS = 1,
    TANDEM_NEEDS_ATTENTION_BIAS = 2,
    TANDEM_NEEDS_MLP_BIAS = 4,
    TANDEM_NEEDS_HEAD_BIAS = 8,
    TANDEM_NEEDS_PROJECTION = 16,   /* embedding tables that are not `hidden` wide */
    TANDEM_NEEDS_EARLIER_LAYER = 32 /* not in the first layer */
};

/* One weight. `place` is the offset of its tandem_place in tandem_encoder_spec, or in
 * tandem_layer_spec for TANDEM_WEIGHT_LAYER. Rows with one place, one after the
 * other, are parts of one matrix or vector (query, key, value). */
typedef struct {
    const char *name; /* without the family's prefix; NULL ends a list */
    tandem_weight_group group;
    size_t place;
    tandem_dim rows, columns;
    unsigned needs;
} tandem_weight_row;

/* What config.json of a family calls the sizes; NULL where it says nothing. */
typedef struct {
    const char *hidden, *layers, *heads, *intermediate, *vocab, *positions, *types;
    const char *norm_eps, *activation, *hidden_dropout, *attention_dropout, *classifier_dropout;
    double norm_eps_default, dropout_default; /* of transformers' configuration class, for a config.json without them */
    int64_t types_default;
} tandem_config_keys;

/* A config.json while it is read. The family's `read` finds the spec filled from the keys above,
 * with no weight placed, and every `has` bit set. */
typedef struct {
    const struct cJSON *json;
    const char *path;
    tandem_encoder_spec *spec;
    tandem_layer_spec *layers; /* [spec->layers] */
    unsigned has;              /* TANDEM_NEEDS_... bits of what the configuration has */
} tandem_family_config;

typedef struct {
    const char *model_type;   /* config.json's, and tandem_model_info.family */
    const char *prefix;       /* of encoder weights in a checkpoint with a head: "bert." */
    const char *architecture; /* class of the bare encoder, for config.json: "BertModel" */
    const char *classifier;   /* class with a classification head */
    const char *tokenizer;    /* class, for a tokenizer_config.json that has to be made */
    const tandem_weight_row *encoder, *head;
    /* Weights of a checkpoint that say nothing (a NULL-terminated list); a name that
     * ends in '.' stands for all that begin with it, and their presence is logged. */
    const char *const *ignored;
    tandem_config_keys keys;
    tandem_activation head_activation;
    bool head_dropout_first;
    bool reads_types;                          /* its tokenizer's class gives token type ids (model_input_names) */
    int (*read)(tandem_family_config *config); /* what the keys do not say; NULL: nothing */
} tandem_family;

/* NULL, with a message that lists the known ones, for an unknown model_type. */
const tandem_family *tandem_family_find(const char *model_type, const char *source);

/* ---- for the `read` functions (config.c) ------------------------------------------------- */
/* Members of config.json; where one is absent or null, *out stays as it is. */
int tandem_config_probability(const tandem_family_config *config, const char *key, double *out);
int tandem_config_head_activation(const tandem_family_config *config, const char *key, tandem_activation *out);
/* Clears `bit` of config->has where the bool `key` is false (`otherwise`: where it is absent). */
int tandem_config_trait(tandem_family_config *config, const char *key, bool otherwise, unsigned bit);

#endif
