/* model_private.h - what the files of model/ know of a model. */
#ifndef TANDEM_MODEL_MODEL_PRIVATE_H
#define TANDEM_MODEL_MODEL_PRIVATE_H

#include "model/families.h"
#include "tandem/memory.h"
#include "tandem/model.h"
#include "tandem/safetensors.h"

struct cJSON;

/* What sentence-transformers calls the pooling modes, indexed by tandem_pooling: before
 * version 5.4 one bool a mode, since then the value of pooling_mode. */
typedef struct {
    const char *flag, *name;
} tandem_pooling_name;

#define TANDEM_POOLING_MODES 6
extern const tandem_pooling_name tandem_pooling_names[TANDEM_POOLING_MODES]; /* modules.c */

/* A weight that no forward pass reads (a bi-encoder's pooler), kept for saving. */
typedef struct {
    tandem_parameter parameter; /* offset: 0 */
    float *data;
} tandem_spare_weight;

struct tandem_model {
    tandem_model_info info;
    tandem_arena *arena; /* of the strings of info and the parameters, and the arrays below */
    const tandem_family *family;
    const char *root; /* folder of config.json, weights and tokenizer: the directory, or its first module's */
    tandem_encoder_spec spec;
    tandem_layer_spec *layers; /* [spec.layers] */
    tandem_parameter *parameters; /* [parameter_count], in arena order */
    size_t parameter_count;
    size_t arena_floats;
    tandem_spare_weight *spare; /* [spare_count] */
    size_t spare_count;
    tandem_encoder *encoder;
    tandem_tokenizer *tokenizer;
    bool new_head; /* its classifier was not in the directory */
    double initializer_range;
    /* The directory's own files, kept so that what tandem does not read survives; NULL
     * where there is none. */
    struct cJSON *config;                /* config.json */
    struct cJSON *sentence_transformers; /* config_sentence_transformers.json */
    struct cJSON *tokenizer_config;      /* tokenizer_config.json */
};

/* config.c: reads config.json of model->root into family, spec (sizes) and info. */
int tandem_model_read_config(tandem_model *model);

/* modules.c: reads what sentence-transformers adds to a directory into root, pooling,
 * normalize, cosine, prompts; `limit` gets max_seq_length, or 0. */
int tandem_model_read_modules(tandem_model *model, const char *directory);
/* The limit that the directory states, not capped; 0 when it states none. */
int tandem_model_stated_length(tandem_model *model, size_t *length);

/* weights.c: opens model.safetensors, settles the number of labels, lays the arena out,
 * makes the encoder and fills it. */
int tandem_model_read_weights(tandem_model *model, const tandem_model_options *options);
int tandem_model_write_weights(const tandem_model *model, const char *path);

/* save.c: writes all files of a model into a directory that exists. */
int tandem_model_write_files(const tandem_model *model, const char *directory);

#endif
