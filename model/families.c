#include "model/families.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "tandem/error.h"
#include "tandem/json.h"
#include "tandem/memory.h"

/* A weight of the encoder, of each layer, or of the head, with its place and shape. */
#define ROW(name, group, place, rows, columns, needs) \
    {name, TANDEM_WEIGHT_##group, place, TANDEM_DIM_##rows, TANDEM_DIM_##columns, needs}
#define ONCE_IF(needs, name, field, rows, columns) \
    ROW(name, ENCODER, offsetof(tandem_encoder_spec, field), rows, columns, TANDEM_NEEDS_##needs)
#define ONCE(name, field, rows, columns) ROW(name, ENCODER, offsetof(tandem_encoder_spec, field), rows, columns, 0)
#define EACH_IF(needs, name, field, rows, columns) \
    ROW(name, LAYER, offsetof(tandem_layer_spec, field), rows, columns, needs)
#define EACH(name, field, rows, columns) EACH_IF(0, name, field, rows, columns)
#define POOLER(name, field, rows, columns) ROW(name, POOLER, offsetof(tandem_encoder_spec, field), rows, columns, 0)
#define SPARE(name, rows, columns) ROW(name, SPARE, 0, rows, columns, 0)
#define HEAD_IF(needs, name, field, rows, columns) \
    ROW(name, HEAD, offsetof(tandem_encoder_spec, field), rows, columns, needs)
#define HEAD(name, field, rows, columns) HEAD_IF(0, name, field, rows, columns)
#define END {NULL, TANDEM_WEIGHT_ENCODER, 0, TANDEM_DIM_NONE, TANDEM_DIM_NONE, 0}

/* ---- BERT (Devlin et al. 2018) and those that keep its names ------------------------- */
static const tandem_weight_row bert_encoder[] = {
    ONCE("embeddings.word_embeddings.weight", word_embedding, VOCAB, EMBEDDING),
    ONCE("embeddings.position_embeddings.weight", position_embedding, POSITIONS, EMBEDDING),
    ONCE("embeddings.token_type_embeddings.weight", type_embedding, TYPES, EMBEDDING),
    ONCE("embeddings.LayerNorm.weight", embedding_norm_weight, EMBEDDING, NONE),
    ONCE("embeddings.LayerNorm.bias", embedding_norm_bias, EMBEDDING, NONE),
    ONCE_IF(PROJECTION, "embeddings_project.weight", projection_weight, HIDDEN, EMBEDDING),
    ONCE_IF(PROJECTION, "embeddings_project.bias", projection_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.attention.self.query.weight", qkv_weight, HIDDEN, HIDDEN),
    EACH("encoder.layer.*.attention.self.key.weight", qkv_weight, HIDDEN, HIDDEN),
    EACH("encoder.layer.*.attention.self.value.weight", qkv_weight, HIDDEN, HIDDEN),
    EACH("encoder.layer.*.attention.self.query.bias", qkv_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.attention.self.key.bias", qkv_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.attention.self.value.bias", qkv_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.attention.output.dense.weight", attention_out_weight, HIDDEN, HIDDEN),
    EACH("encoder.layer.*.attention.output.dense.bias", attention_out_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.attention.output.LayerNorm.weight", attention_norm_weight, HIDDEN, NONE),
    EACH("encoder.layer.*.attention.output.LayerNorm.bias", attention_norm_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.intermediate.dense.weight", up_weight, INTERMEDIATE, HIDDEN),
    EACH("encoder.layer.*.intermediate.dense.bias", up_bias, INTERMEDIATE, NONE),
    EACH("encoder.layer.*.output.dense.weight", down_weight, HIDDEN, INTERMEDIATE),
    EACH("encoder.layer.*.output.dense.bias", down_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.output.LayerNorm.weight", output_norm_weight, HIDDEN, NONE),
    EACH("encoder.layer.*.output.LayerNorm.bias", output_norm_bias, HIDDEN, NONE),
    END,
};

static const tandem_weight_row bert_head[] = {
    POOLER("pooler.dense.weight", head_weight, HIDDEN, HIDDEN),
    POOLER("pooler.dense.bias", head_bias, HIDDEN, NONE),
    HEAD("classifier.weight", classifier_weight, LABELS, HIDDEN),
    HEAD("classifier.bias", classifier_bias, LABELS, NONE),
    END,
};

/* RoBERTa and those after it have a head of their own, and leave the pooler unread. */
static const tandem_weight_row roberta_head[] = {
    SPARE("pooler.dense.weight", HIDDEN, HIDDEN),
    SPARE("pooler.dense.bias", HIDDEN, NONE),
    HEAD("classifier.dense.weight", head_weight, HIDDEN, HIDDEN),
    HEAD("classifier.dense.bias", head_bias, HIDDEN, NONE),
    HEAD("classifier.out_proj.weight", classifier_weight, LABELS, HIDDEN),
    HEAD("classifier.out_proj.bias", classifier_bias, LABELS, NONE),
    END,
};

/* ---- DistilBERT (Sanh et al. 2019) ------------------------------------------------------ */
static const tandem_weight_row distilbert_encoder[] = {
    ONCE("embeddings.word_embeddings.weight", word_embedding, VOCAB, EMBEDDING),
    ONCE("embeddings.position_embeddings.weight", position_embedding, POSITIONS, EMBEDDING),
    ONCE("embeddings.LayerNorm.weight", embedding_norm_weight, EMBEDDING, NONE),
    ONCE("embeddings.LayerNorm.bias", embedding_norm_bias, EMBEDDING, NONE),
    EACH("transformer.layer.*.attention.q_lin.weight", qkv_weight, HIDDEN, HIDDEN),
    EACH("transformer.layer.*.attention.k_lin.weight", qkv_weight, HIDDEN, HIDDEN),
    EACH("transformer.layer.*.attention.v_lin.weight", qkv_weight, HIDDEN, HIDDEN),
    EACH("transformer.layer.*.attention.q_lin.bias", qkv_bias, HIDDEN, NONE),
    EACH("transformer.layer.*.attention.k_lin.bias", qkv_bias, HIDDEN, NONE),
    EACH("transformer.layer.*.attention.v_lin.bias", qkv_bias, HIDDEN, NONE),
    EACH("transformer.layer.*.attention.out_lin.weight", attention_out_weight, HIDDEN, HIDDEN),
    EACH("transformer.layer.*.attention.out_lin.bias", attention_out_bias, HIDDEN, NONE),
    EACH("transformer.layer.*.sa_layer_norm.weight", attention_norm_weight, HIDDEN, NONE),
    EACH("transformer.layer.*.sa_layer_norm.bias", attention_norm_bias, HIDDEN, NONE),
    EACH("transformer.layer.*.ffn.lin1.weight", up_weight, INTERMEDIATE, HIDDEN),
    EACH("transformer.layer.*.ffn.lin1.bias", up_bias, INTERMEDIATE, NONE),
    EACH("transformer.layer.*.ffn.lin2.weight", down_weight, HIDDEN, INTERMEDIATE),
    EACH("transformer.layer.*.ffn.lin2.bias", down_bias, HIDDEN, NONE),
    EACH("transformer.layer.*.output_layer_norm.weight", output_norm_weight, HIDDEN, NONE),
    EACH("transformer.layer.*.output_layer_norm.bias", output_norm_bias, HIDDEN, NONE),
    END,
};

static const tandem_weight_row distilbert_head[] = {
    HEAD("pre_classifier.weight", head_weight, HIDDEN, HIDDEN),
    HEAD("pre_classifier.bias", head_bias, HIDDEN, NONE),
    HEAD("classifier.weight", classifier_weight, LABELS, HIDDEN),
    HEAD("classifier.bias", classifier_bias, LABELS, NONE),
    END,
};

/* ---- MPNet (Song et al. 2020) ------------------------------------------------------------- */
static const tandem_weight_row mpnet_encoder[] = {
    ONCE("embeddings.word_embeddings.weight", word_embedding, VOCAB, EMBEDDING),
    ONCE("embeddings.position_embeddings.weight", position_embedding, POSITIONS, EMBEDDING),
    ONCE("embeddings.LayerNorm.weight", embedding_norm_weight, EMBEDDING, NONE),
    ONCE("embeddings.LayerNorm.bias", embedding_norm_bias, EMBEDDING, NONE),
    ONCE("encoder.relative_attention_bias.weight", relative_bias, BUCKETS, HEADS),
    EACH("encoder.layer.*.attention.attn.q.weight", qkv_weight, HIDDEN, HIDDEN),
    EACH("encoder.layer.*.attention.attn.k.weight", qkv_weight, HIDDEN, HIDDEN),
    EACH("encoder.layer.*.attention.attn.v.weight", qkv_weight, HIDDEN, HIDDEN),
    EACH("encoder.layer.*.attention.attn.q.bias", qkv_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.attention.attn.k.bias", qkv_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.attention.attn.v.bias", qkv_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.attention.attn.o.weight", attention_out_weight, HIDDEN, HIDDEN),
    EACH("encoder.layer.*.attention.attn.o.bias", attention_out_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.attention.LayerNorm.weight", attention_norm_weight, HIDDEN, NONE),
    EACH("encoder.layer.*.attention.LayerNorm.bias", attention_norm_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.intermediate.dense.weight", up_weight, INTERMEDIATE, HIDDEN),
    EACH("encoder.layer.*.intermediate.dense.bias", up_bias, INTERMEDIATE, NONE),
    EACH("encoder.layer.*.output.dense.weight", down_weight, HIDDEN, INTERMEDIATE),
    EACH("encoder.layer.*.output.dense.bias", down_bias, HIDDEN, NONE),
    EACH("encoder.layer.*.output.LayerNorm.weight", output_norm_weight, HIDDEN, NONE),
    EACH("encoder.layer.*.output.LayerNorm.bias", output_norm_bias, HIDDEN, NONE),
    END,
};

/* ---- ModernBERT (Warner et al. 2024) -------------------------------------------------------- */
static const tandem_weight_row modernbert_encoder[] = {
    ONCE("embeddings.tok_embeddings.weight", word_embedding, VOCAB, EMBEDDING),
    ONCE("embeddings.norm.weight", embedding_norm_weight, EMBEDDING, NONE),
    ONCE_IF(NORM_BIAS, "embeddings.norm.bias", embedding_norm_bias, EMBEDDING, NONE),
    EACH_IF(TANDEM_NEEDS_EARLIER_LAYER, "layers.*.attn_norm.weight", attention_norm_weight, HIDDEN, NONE),
    EACH_IF(TANDEM_NEEDS_EARLIER_LAYER | TANDEM_NEEDS_NORM_BIAS, "layers.*.attn_norm.bias", attention_norm_bias, HIDDEN,
            NONE),
    EACH("layers.*.attn.Wqkv.weight", qkv_weight, QKV, HIDDEN),
    EACH_IF(TANDEM_NEEDS_ATTENTION_BIAS, "layers.*.attn.Wqkv.bias", qkv_bias, QKV, NONE),
    EACH("layers.*.attn.Wo.weight", attention_out_weight, HIDDEN, HIDDEN),
    EACH_IF(TANDEM_NEEDS_ATTENTION_BIAS, "layers.*.attn.Wo.bias", attention_out_bias, HIDDEN, NONE),
    EACH("layers.*.mlp_norm.weight", output_norm_weight, HIDDEN, NONE),
    EACH_IF(TANDEM_NEEDS_NORM_BIAS, "layers.*.mlp_norm.bias", output_norm_bias, HIDDEN, NONE),
    EACH("layers.*.mlp.Wi.weight", up_weight, GATED, HIDDEN),
    EACH_IF(TANDEM_NEEDS_MLP_BIAS, "layers.*.mlp.Wi.bias", up_bias, GATED, NONE),
    EACH("layers.*.mlp.Wo.weight", down_weight, HIDDEN, INTERMEDIATE),
    EACH_IF(TANDEM_NEEDS_MLP_BIAS, "layers.*.mlp.Wo.bias", down_bias, HIDDEN, NONE),
    ONCE("final_norm.weight", final_norm_weight, HIDDEN, NONE),
    ONCE_IF(NORM_BIAS, "final_norm.bias", final_norm_bias, HIDDEN, NONE),
    END,
};

static const tandem_weight_row modernbert_head[] = {
    HEAD("head.dense.weight", head_weight, HIDDEN, HIDDEN),
    HEAD_IF(TANDEM_NEEDS_HEAD_BIAS, "head.dense.bias", head_bias, HIDDEN, NONE),
    HEAD("head.norm.weight", head_norm_weight, HIDDEN, NONE),
    HEAD_IF(TANDEM_NEEDS_NORM_BIAS, "head.norm.bias", head_norm_bias, HIDDEN, NONE),
    HEAD("classifier.weight", classifier_weight, LABELS, HIDDEN),
    HEAD("classifier.bias", classifier_bias, LABELS, NONE),
    END,
};

/* ---- what config.json says beyond the common keys ------------------------------------------- */

/* Positions count from pad_token_id + 1, over the tokens that are not padding. */
static int read_roberta(tandem_family_config *config)
{
    tandem_encoder_spec *spec = config->spec;
    spec->position_pad_id = 1;
    TANDEM_TRY(
        tandem_json_get_int_or(config->json, "pad_token_id", config->path, 0, spec->vocab - 1, &spec->position_pad_id));
    spec->position_offset = spec->position_pad_id + 1;
    if (spec->position_offset >= spec->positions) {
        return tandem_error("%s: max_position_embeddings %lld leaves no position after pad_token_id %lld", config->path,
                            (long long)spec->positions, (long long)spec->position_pad_id);
    }
    return 0;
}

static int read_distilbert(tandem_family_config *config)
{
    config->spec->attention_out_dropout = 0; /* DistilBERT has none there */
    config->spec->classifier_dropout = 0.2;
    return tandem_config_probability(config, "seq_classif_dropout", &config->spec->classifier_dropout);
}

/* transformers' MPNet reads neither the padding id nor the number of buckets nor their
 * greatest distance from its configuration. */
static int read_mpnet(tandem_family_config *config)
{
    tandem_encoder_spec *spec = config->spec;
    spec->position_pad_id = 1;
    spec->position_offset = 2;
    spec->relative_buckets = 32;
    spec->relative_distance = 128;
    int64_t buckets = spec->relative_buckets;
    TANDEM_TRY(
        tandem_json_get_int_or(config->json, "relative_attention_num_buckets", config->path, 1, INT32_MAX, &buckets));
    if (buckets != spec->relative_buckets) {
        return tandem_error("%s: relative_attention_num_buckets %lld is not supported (known: 32)", config->path,
                            (long long)buckets);
    }
    if (spec->position_offset >= spec->positions) {
        return tandem_error("%s: max_position_embeddings %lld leaves no position after the first two", config->path,
                            (long long)spec->positions);
    }
    return 0;
}

static int read_electra(tandem_family_config *config)
{
    tandem_encoder_spec *spec = config->spec;
    spec->embedding_size = 128;
    return tandem_json_get_int_or(config->json, "embedding_size", config->path, 1, 1 << 20, &spec->embedding_size);
}

/* Whether each layer's attention is local: layer_types says it a layer, else every
 * global_attn_every_n_layers-th is global. */
static int read_layer_types(const tandem_family_config *config, int64_t window)
{
    const tandem_encoder_spec *spec = config->spec;
    const cJSON *types = tandem_json_member(config->json, "layer_types");
    int64_t every = 3;
    TANDEM_TRY(tandem_json_get_int_or(config->json, "global_attn_every_n_layers", config->path, 1, INT32_MAX, &every));
    for (int64_t i = 0; i < spec->layers; i++) {
        config->layers[i].window = i % every != 0 ? window : 0;
    }
    if (types == NULL || cJSON_IsNull(types)) {
        return 0;
    }
    if (!cJSON_IsArray(types) || cJSON_GetArraySize(types) != spec->layers) {
        return tandem_error("%s: layer_types must be an array of %lld names", config->path, (long long)spec->layers);
    }
    tandem_layer_spec *layer = config->layers;
    for (const cJSON *type = types->child; type != NULL; type = type->next, layer++) {
        const char *name = cJSON_IsString(type) ? type->valuestring : "";
        if (strcmp(name, "full_attention") != 0 && strcmp(name, "sliding_attention") != 0) {
            return tandem_error("%s: layer_types: \"%s\" is not supported (known: full_attention, sliding_attention)",
                                config->path, name);
        }
        layer->window = name[0] == 's' ? window : 0;
    }
    return 0;
}

/* The base of a kind of layer's rotary positions: rope_parameters since transformers 5, before
 * that a key of its own. */
static int read_theta(const tandem_family_config *config, const char *kind, const char *older, double *theta)
{
    const cJSON *rope = tandem_json_member(tandem_json_member(config->json, "rope_parameters"), kind);
    const char *type = "default";
    TANDEM_TRY(tandem_json_get_double_or(config->json, older, config->path, theta));
    if (cJSON_IsObject(rope)) {
        TANDEM_TRY(tandem_json_get_string_or(rope, "rope_type", config->path, &type));
        TANDEM_TRY(tandem_json_get_double_or(rope, "rope_theta", config->path, theta));
    }
    if (strcmp(type, "default") != 0) {
        return tandem_error("%s: rope_parameters: rope_type \"%s\" is not supported (known: default)", config->path,
                            type);
    }
    if (!(*theta >= 1 && *theta <= 1e12)) {
        return tandem_error("%s: the base of the rotary positions is %g, expected a number from 1 to 1e12",
                            config->path, *theta);
    }
    return 0;
}

static int read_rotary(const tandem_family_config *config)
{
    const cJSON *scaling = tandem_json_member(config->json, "rope_scaling"),
                *local_theta = tandem_json_member(config->json, "local_rope_theta");
    if (scaling != NULL && !cJSON_IsNull(scaling)) {
        return tandem_error("%s: rope_scaling is not supported", config->path);
    }
    double global = 160000, local = 10000;
    TANDEM_TRY(read_theta(config, "full_attention", "global_rope_theta", &global));
    if (local_theta != NULL && cJSON_IsNull(local_theta)) {
        local = global; /* as transformers 4 read it */
    }
    TANDEM_TRY(read_theta(config, "sliding_attention", "local_rope_theta", &local));
    for (int64_t i = 0; i < config->spec->layers; i++) {
        config->layers[i].rope_theta = config->layers[i].window > 0 ? local : global;
    }
    return 0;
}

static int read_modernbert(tandem_family_config *config)
{
    tandem_encoder_spec *spec = config->spec;
    spec->pre_norm = spec->gated = true;
    int64_t window = 128; /* both sides together */
    TANDEM_TRY(tandem_json_get_int_or(config->json, "local_attention", config->path, 2, INT32_MAX, &window));
    TANDEM_TRY(read_layer_types(config, window / 2));
    TANDEM_TRY(read_rotary(config));
    TANDEM_TRY(tandem_config_trait(config, "norm_bias", false, TANDEM_NEEDS_NORM_BIAS));
    TANDEM_TRY(tandem_config_trait(config, "attention_bias", false, TANDEM_NEEDS_ATTENTION_BIAS));
    TANDEM_TRY(tandem_config_trait(config, "mlp_bias", false, TANDEM_NEEDS_MLP_BIAS));
    TANDEM_TRY(tandem_config_trait(config, "classifier_bias", false, TANDEM_NEEDS_HEAD_BIAS));
    TANDEM_TRY(tandem_config_probability(config, "embedding_dropout", &spec->embedding_dropout));
    TANDEM_TRY(tandem_config_probability(config, "mlp_dropout", &spec->inner_dropout));
    spec->attention_out_dropout = spec->attention_dropout; /* one setting for both */
    TANDEM_TRY(tandem_config_head_activation(config, "classifier_activation", &spec->head_activation));
    const char *pooling = "cls";
    TANDEM_TRY(tandem_json_get_string_or(config->json, "classifier_pooling", config->path, &pooling));
    if (strcmp(pooling, "cls") != 0 && strcmp(pooling, "mean") != 0) {
        return tandem_error("%s: classifier_pooling \"%s\" is not supported (known: cls, mean)", config->path, pooling);
    }
    spec->head_pooling = pooling[0] == 'm' ? TANDEM_POOL_MEAN : TANDEM_POOL_CLS;
    return 0;
}

/* ---- the table ---------------------------------------------------------------------------------- */

/* Older checkpoints store the position numbers; the others are heads of pretraining. */
static const char *const bert_ignored[] = {"embeddings.position_ids", "cls.", NULL};
static const char *const roberta_ignored[] = {"embeddings.position_ids", "lm_head.", NULL};
static const char *const distilbert_ignored[] = {"embeddings.position_ids", "vocab_transform.", "vocab_layer_norm.",
                                                 "vocab_projector.", NULL};
static const char *const electra_ignored[] = {"embeddings.position_ids", "discriminator_predictions.",
                                              "generator_predictions.", "generator_lm_head.", NULL};
/* The first layer has no norm before its attention; transformers leaves unread what is stored for it. */
static const char *const modernbert_ignored[] = {"head.", "decoder.", "layers.0.attn_norm.weight", NULL};

#define BERT_KEYS                                                                                       \
    .hidden = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",             \
    .intermediate = "intermediate_size", .vocab = "vocab_size", .positions = "max_position_embeddings", \
    .norm_eps = "layer_norm_eps", .activation = "hidden_act", .hidden_dropout = "hidden_dropout_prob",  \
    .attention_dropout = "attention_probs_dropout_prob", .norm_eps_default = 1e-12, .dropout_default = 0.1
#define TYPE_KEYS .types = "type_vocab_size", .types_default = 2, .classifier_dropout = "classifier_dropout"

static const tandem_family families[] = {
    {
        .model_type = "bert",
        .prefix = "bert.",
        .architecture = "BertModel",
        .classifier = "BertForSequenceClassification",
        .tokenizer = "BertTokenizer",
        .encoder = bert_encoder,
        .head = bert_head,
        .ignored = bert_ignored,
        .keys = {BERT_KEYS, TYPE_KEYS},
        .reads_types = true,
        .head_activation = TANDEM_ACTIVATION_TANH,
    },
    {
        .model_type = "roberta",
        .prefix = "roberta.",
        .architecture = "RobertaModel",
        .classifier = "RobertaForSequenceClassification",
        .tokenizer = "RobertaTokenizer",
        .encoder = bert_encoder,
        .head = roberta_head,
        .ignored = roberta_ignored,
        .keys = {BERT_KEYS, TYPE_KEYS},
        .head_activation = TANDEM_ACTIVATION_TANH,
        .head_dropout_first = true,
        .read = read_roberta,
    },
    {
        .model_type = "xlm-roberta",
        .prefix = "roberta.",
        .architecture = "XLMRobertaModel",
        .classifier = "XLMRobertaForSequenceClassification",
        .tokenizer = "XLMRobertaTokenizer",
        .encoder = bert_encoder,
        .head = roberta_head,
        .ignored = roberta_ignored,
        .keys = {BERT_KEYS, TYPE_KEYS},
        .head_activation = TANDEM_ACTIVATION_TANH,
        .head_dropout_first = true,
        .read = read_roberta,
    },
    {
        .model_type = "camembert",
        .prefix = "roberta.",
        .architecture = "CamembertModel",
        .classifier = "CamembertForSequenceClassification",
        .tokenizer = "CamembertTokenizer",
        .encoder = bert_encoder,
        .head = roberta_head,
        .ignored = roberta_ignored,
        .keys = {BERT_KEYS, TYPE_KEYS},
        .head_activation = TANDEM_ACTIVATION_TANH,
        .head_dropout_first = true,
        .read = read_roberta,
    },
    {
        .model_type = "distilbert",
        .prefix = "distilbert.",
        .architecture = "DistilBertModel",
        .classifier = "DistilBertForSequenceClassification",
        .tokenizer = "DistilBertTokenizer",
        .encoder = distilbert_encoder,
        .head = distilbert_head,
        .ignored = distilbert_ignored,
        .keys = {.hidden = "dim",
                 .layers = "n_layers",
                 .heads = "n_heads",
                 .intermediate = "hidden_dim",
                 .vocab = "vocab_size",
                 .positions = "max_position_embeddings",
                 .activation = "activation",
                 .hidden_dropout = "dropout",
                 .attention_dropout = "attention_dropout",
                 .norm_eps_default = 1e-12,
                 .dropout_default = 0.1},
        .head_activation = TANDEM_ACTIVATION_RELU,
        .read = read_distilbert,
    },
    {
        .model_type = "mpnet",
        .prefix = "mpnet.",
        .architecture = "MPNetModel",
        .classifier = "MPNetForSequenceClassification",
        .tokenizer = "MPNetTokenizer",
        .encoder = mpnet_encoder,
        .head = roberta_head,
        .ignored = roberta_ignored,
        .keys = {BERT_KEYS},
        .head_activation = TANDEM_ACTIVATION_TANH,
        .head_dropout_first = true,
        .read = read_mpnet,
    },
    {
        .model_type = "electra",
        .prefix = "electra.",
        .architecture = "ElectraModel",
        .classifier = "ElectraForSequenceClassification",
        .tokenizer = "ElectraTokenizer",
        .encoder = bert_encoder,
        .head = roberta_head,
        .ignored = electra_ignored,
        .keys = {BERT_KEYS, TYPE_KEYS},
        .reads_types = true,
        .head_activation = TANDEM_ACTIVATION_GELU,
        .head_dropout_first = true,
        .read = read_electra,
    },
    {
        .model_type = "modernbert",
        .prefix = "model.",
        .architecture = "ModernBertModel",
        .classifier = "ModernBertForSequenceClassification",
        .tokenizer = "PreTrainedTokenizerFast",
        .encoder = modernbert_encoder,
        .head = modernbert_head,
        .ignored = modernbert_ignored,
        .keys = {.hidden = "hidden_size",
                 .layers = "num_hidden_layers",
                 .heads = "num_attention_heads",
                 .intermediate = "intermediate_size",
                 .vocab = "vocab_size",
                 .positions = "max_position_embeddings",
                 .norm_eps = "norm_eps",
                 .activation = "hidden_activation",
                 .attention_dropout = "attention_dropout",
                 .classifier_dropout = "classifier_dropout",
                 .norm_eps_default = 1e-5},
        .head_activation = TANDEM_ACTIVATION_GELU,
        .read = read_modernbert,
    },
};

const tandem_family *tandem_family_find(const char *model_type, const char *source)
{
    tandem_buffer known = TANDEM_BUFFER_INIT;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].model_type, model_type) == 0) {
            tandem_buffer_free(&known);
            return &families[i];
        }
        if (tandem_buffer_printf(&known, "%s%s", i > 0 ? ", " : "", families[i].model_type) < 0) {
            break;
        }
    }
    tandem_error("%s: model_type \"%s\" is not supported (known: %s)", source, model_type,
                 known.data != NULL ? known.data : "");
    tandem_buffer_free(&known);
    return NULL;
}
