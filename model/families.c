#include "model/families.h"

#include <string.h>

#include "model/torch/shim.h"
#include "tandem/error.h"
#include "tandem/memory.h"

#define SPEC(field) offsetof(tandem_encoder_spec, field)
#define LAYER(field) offsetof(tandem_layer_spec, field)

/* ---- BERT (Devlin et al. 2018) ------------------------------------------------------ */
static const tandem_weight_row bert_weights[] = {
    {"embeddings.word_embeddings.weight", TANDEM_WEIGHT_EMBEDDING, SPEC(word_embedding), TANDEM_DIM_VOCAB, TANDEM_DIM_HIDDEN},
    {"embeddings.position_embeddings.weight", TANDEM_WEIGHT_EMBEDDING, SPEC(position_embedding), TANDEM_DIM_POSITIONS, TANDEM_DIM_HIDDEN},
    {"embeddings.token_type_embeddings.weight", TANDEM_WEIGHT_EMBEDDING, SPEC(type_embedding), TANDEM_DIM_TYPES, TANDEM_DIM_HIDDEN},
    {"embeddings.LayerNorm.weight", TANDEM_WEIGHT_EMBEDDING, SPEC(embedding_norm_weight), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"embeddings.LayerNorm.bias", TANDEM_WEIGHT_EMBEDDING, SPEC(embedding_norm_bias), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"encoder.layer.*.attention.self.query.weight", TANDEM_WEIGHT_LAYER, LAYER(qkv_weight), TANDEM_DIM_HIDDEN, TANDEM_DIM_HIDDEN},
    {"encoder.layer.*.attention.self.key.weight", TANDEM_WEIGHT_LAYER, LAYER(qkv_weight), TANDEM_DIM_HIDDEN, TANDEM_DIM_HIDDEN},
    {"encoder.layer.*.attention.self.value.weight", TANDEM_WEIGHT_LAYER, LAYER(qkv_weight), TANDEM_DIM_HIDDEN, TANDEM_DIM_HIDDEN},
    {"encoder.layer.*.attention.self.query.bias", TANDEM_WEIGHT_LAYER, LAYER(qkv_bias), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"encoder.layer.*.attention.self.key.bias", TANDEM_WEIGHT_LAYER, LAYER(qkv_bias), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"encoder.layer.*.attention.self.value.bias", TANDEM_WEIGHT_LAYER, LAYER(qkv_bias), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"encoder.layer.*.attention.output.dense.weight", TANDEM_WEIGHT_LAYER, LAYER(attention_out_weight), TANDEM_DIM_HIDDEN, TANDEM_DIM_HIDDEN},
    {"encoder.layer.*.attention.output.dense.bias", TANDEM_WEIGHT_LAYER, LAYER(attention_out_bias), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"encoder.layer.*.attention.output.LayerNorm.weight", TANDEM_WEIGHT_LAYER, LAYER(attention_norm_weight), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"encoder.layer.*.attention.output.LayerNorm.bias", TANDEM_WEIGHT_LAYER, LAYER(attention_norm_bias), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"encoder.layer.*.intermediate.dense.weight", TANDEM_WEIGHT_LAYER, LAYER(up_weight), TANDEM_DIM_INTERMEDIATE, TANDEM_DIM_HIDDEN},
    {"encoder.layer.*.intermediate.dense.bias", TANDEM_WEIGHT_LAYER, LAYER(up_bias), TANDEM_DIM_INTERMEDIATE, TANDEM_DIM_NONE},
    {"encoder.layer.*.output.dense.weight", TANDEM_WEIGHT_LAYER, LAYER(down_weight), TANDEM_DIM_HIDDEN, TANDEM_DIM_INTERMEDIATE},
    {"encoder.layer.*.output.dense.bias", TANDEM_WEIGHT_LAYER, LAYER(down_bias), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"encoder.layer.*.output.LayerNorm.weight", TANDEM_WEIGHT_LAYER, LAYER(output_norm_weight), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"encoder.layer.*.output.LayerNorm.bias", TANDEM_WEIGHT_LAYER, LAYER(output_norm_bias), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"pooler.dense.weight", TANDEM_WEIGHT_POOLER, SPEC(head_weight), TANDEM_DIM_HIDDEN, TANDEM_DIM_HIDDEN},
    {"pooler.dense.bias", TANDEM_WEIGHT_POOLER, SPEC(head_bias), TANDEM_DIM_HIDDEN, TANDEM_DIM_NONE},
    {"classifier.weight", TANDEM_WEIGHT_HEAD, SPEC(classifier_weight), TANDEM_DIM_LABELS, TANDEM_DIM_HIDDEN},
    {"classifier.bias", TANDEM_WEIGHT_HEAD, SPEC(classifier_bias), TANDEM_DIM_LABELS, TANDEM_DIM_NONE},
};

/* Older checkpoints store the position numbers; "cls." holds the heads of pretraining. */
static const char *const bert_ignored[] = {"embeddings.position_ids", "cls.", NULL};

static const tandem_family families[] = {
    {
        .model_type = "bert",
        .prefix = "bert.",
        .architecture = "BertModel",
        .classifier = "BertForSequenceClassification",
        .tokenizer = "BertTokenizer",
        .weights = bert_weights,
        .weight_count = sizeof bert_weights / sizeof *bert_weights,
        .ignored = bert_ignored,
        .keys = {
            .hidden = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
            .intermediate = "intermediate_size", .vocab = "vocab_size", .positions = "max_position_embeddings",
            .types = "type_vocab_size", .norm_eps = "layer_norm_eps", .activation = "hidden_act",
            .hidden_dropout = "hidden_dropout_prob", .attention_dropout = "attention_probs_dropout_prob",
            .classifier_dropout = "classifier_dropout", .norm_eps_default = 1e-12, .types_default = 2,
        },
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
    tandem_error("%s: model_type \"%s\" is not supported (known: %s)", source, model_type, known.data != NULL ? known.data : "");
    tandem_buffer_free(&known);
    return NULL;
}
