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

/* Where a module after pooling came from. */
typedef struct {
    const char *folder;     /* in the directory: "2_Dense" */
    const char *prefix;     /* of its parameters' names: "2_Dense." */
    const char *activation; /* of a Dense module: the class that its config.json names */
} tandem_module_file;

struct tandem_model {
    tandem_model_info info;
    tandem_arena *arena; /* of the strings of info and the parameters, and the arrays below */
    const tandem_family *family;
    const char *root; /* folder of config.json, weights and tokenizer: the directory, or its first module's */
    tandem_encoder_spec spec;
    tandem_layer_spec *layers;        /* [spec.layers] */
    unsigned has;                     /* TANDEM_NEEDS_... bits of its configuration */
    tandem_module_spec *modules;      /* [spec.modules] */
    tandem_module_file *module_files; /* [spec.modules] */
    const char *pooling_folder;       /* in the directory: "1_Pooling" */
    tandem_parameter *parameters;     /* [parameter_count], in arena order */
    size_t parameter_count, first_module_parameter;
    size_t arena_floats;
    tandem_spare_weight *spare; /* [spare_count] */
    size_t spare_count;
    tandem_encoder *encoder;
    tandem_tokenizer *tokenizer;
    bool lower_case;         /* sentence-transformers lower-cases texts before the tokenizer */
    char *prompts[2];        /* by tandem_side: those in use */
    size_t prompt_tokens[2]; /* by tandem_side: tokens at a text's front that pooling leaves out */
    bool new_head;           /* its classifier was not in the directory */
    bool shared;             /* all but the prompts is another model's */
    double initializer_range;
    /* The directory's own files, kept so that what tandem does not read survives; NULL
     * where there is none. */
    struct cJSON *config;                /* config.json */
    struct cJSON *sentence_transformers; /* config_sentence_transformers.json */
    struct cJSON *tokenizer_config;      /* tokenizer_config.json */
};

/* config.c: reads config.json of model->root into family, spec (without places) and layers. */
int tandem_model_read_config(tandem_model *model);

/* modules.c: reads modules.json and the modules' own files into root, spec.modules and the
 * pooling of info. */
int tandem_model_read_modules(tandem_model *model);

/* settings.c: prompts, similarity and truncate_dim of config_sentence_transformers.json. */
int tandem_model_read_settings(tandem_model *model);
bool tandem_model_is_cross_directory(const tandem_model *model); /* it says so itself, as since 5.4 */
/* The limit that the directory states, at most spec.positions; 0 when it states none.
 * Also settles lower_case. */
int tandem_model_stated_length(tandem_model *model, size_t *length);

/* layout.c: gives every weight its place in spec and its parameter. */
int tandem_model_lay_out(tandem_model *model);
int tandem_model_describe_weight(tandem_model *model, const tandem_weight_row *row, int64_t layer,
                                 tandem_parameter *out);

/* weights.c: opens the checkpoint, settles the number of labels, lays the arena out,
 * makes the encoder and fills it. */
int tandem_model_read_weights(tandem_model *model, const tandem_model_options *options);
int tandem_model_write_weights(const tandem_model *model, const char *path); /* without those of modules */
int tandem_model_write_module_weights(const tandem_model *model, int64_t module, const char *path);

/* model.c: reads `folder`/`name` if it is there: *out is NULL when it is not. The caller frees *path. */
int tandem_model_read_optional(struct cJSON **out, char **path, const char *folder, const char *name);

/* pool.c: the encoder's forward, pooled: [count, hidden * poolings]. `sides` as for tandem_model_embed_sides. */
int tandem_model_pool(tandem_tensor **out, const tandem_model *model, const tandem_batch *batch,
                      const tandem_side *sides, tandem_dropout dropout);

/* save.c: writes all files of a model into a directory that exists. `external`, of an ONNX directory: an object
 * whose keys are the graphs with a second file of weights; NULL: a model's directory. */
int tandem_model_write_files(const tandem_model *model, const char *directory, const struct cJSON *external);
/* The class of the activation that a cross-encoder's directory names for its scores, or that a new head gets;
 * NULL: none is named. */
const char *tandem_model_score_activation(const tandem_model *model);

#endif
