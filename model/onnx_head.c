/* onnx_head.c - what follows the encoder in a graph: pooling and the modules after it, or a
 * classification head. */
#include <string.h>

#include "model/model_private.h"
#include "model/onnx_build.h"
#include "tandem/log.h"

static const char prompt_length[] = "prompt_length";

/* ---- pooling ------------------------------------------------------------------------------ */

/* The hidden state of the first or last token of the mask, [batch, hidden]. */
static onnx_value token(onnx_builder *b, onnx_value hidden, onnx_value mask, bool last)
{
    const onnx_attribute which[] = {{.name = "axis", .type = ONNX_ATTRIBUTE_INT, .i = 1},
                                    {.name = "keepdims", .type = ONNX_ATTRIBUTE_INT, .i = 1},
                                    {.name = "select_last_index", .type = ONNX_ATTRIBUTE_INT, .i = last},
                                    {.name = NULL}};
    onnx_value index = onnx_node(&b->graph, "ArgMax", &mask, 1, which, NULL);
    return onnx_with_int(b, "GatherND", (onnx_value[]){hidden, index}, 2, "batch_dims", 1);
}

/* Sum over tokens of weight * hidden, [batch, hidden]; weights are [batch, sequence]. */
static onnx_value weighted_sum(onnx_builder *b, onnx_value hidden, onnx_value weights)
{
    return onnx_reduce(b, onnx_binary(b, "Mul", hidden, onnx_unsqueeze(b, weights, 2)), 1, false);
}

static onnx_value at_least(onnx_builder *b, onnx_value x, float floor)
{
    return onnx_binary(b, "Max", x, onnx_real(b, floor));
}

static onnx_value greatest(onnx_builder *b, onnx_value hidden, onnx_value mask)
{
    static const int64_t axis[] = {1};
    const onnx_attribute attributes[] = {{.name = "axes", .type = ONNX_ATTRIBUTE_INTS, .ints = axis, .count = 1},
                                         {.name = "keepdims", .type = ONNX_ATTRIBUTE_INT, .i = 0},
                                         {.name = NULL}};
    onnx_value masked = onnx_binary(b, "Add", hidden, onnx_unsqueeze(b, onnx_masked_by(b, mask), 2));
    return onnx_node(&b->graph, "ReduceMax", &masked, 1, attributes, NULL);
}

/* The six modes, as sentence-transformers' Pooling computes them, over the tokens of `mask`. */
static onnx_value pool(onnx_builder *b, onnx_value hidden, onnx_value mask, tandem_pooling pooling)
{
    switch (pooling) {
    case TANDEM_POOL_CLS:
        return token(b, hidden, mask, false);
    case TANDEM_POOL_LAST:
        return token(b, hidden, mask, true);
    case TANDEM_POOL_MAX:
        return greatest(b, hidden, mask);
    case TANDEM_POOL_WEIGHTED_MEAN: { /* token i of the sequence weighs i, from 1 */
        onnx_value weights = onnx_binary(b, "Mul", onnx_binary(b, "CumSum", b->mask, onnx_integer(b, 1)), mask);
        return onnx_binary(b, "Div", weighted_sum(b, hidden, weights),
                           at_least(b, onnx_reduce(b, weights, 1, true), 1e-9F));
    }
    case TANDEM_POOL_MEAN:
    case TANDEM_POOL_MEAN_SQRT_LEN:
        break;
    }
    onnx_value total = at_least(b, onnx_reduce(b, mask, 1, true), 1e-9F);
    if (pooling == TANDEM_POOL_MEAN_SQRT_LEN) {
        total = onnx_unary(b, "Sqrt", total);
    }
    return onnx_binary(b, "Div", weighted_sum(b, hidden, mask), total);
}

/* Of a model that pools without prompts, the mask without the first prompt_length tokens. The caller
 * says how many they are; 0, if it does not. */
static onnx_value pooling_mask(onnx_builder *b)
{
    if (tandem_model_describe(b->model)->include_prompt) {
        return b->mask;
    }
    onnx_graph_option(&b->graph, prompt_length, 0);
    onnx_value limit = onnx_cast(b, onnx_named(prompt_length), ONNX_FLOAT);
    onnx_value after = onnx_binary(b, "Greater", onnx_binary(b, "CumSum", b->mask, onnx_integer(b, 1)), limit);
    return onnx_binary(b, "Mul", b->mask, onnx_cast(b, after, ONNX_FLOAT));
}

static onnx_value pool_all(onnx_builder *b, onnx_value hidden)
{
    const tandem_model_info *info = tandem_model_describe(b->model);
    onnx_value parts[sizeof info->pooling / sizeof *info->pooling], mask = pooling_mask(b);
    for (size_t i = 0; i < info->poolings; i++) {
        parts[i] = pool(b, hidden, mask, info->pooling[i]);
    }
    return info->poolings == 1 ? parts[0] : onnx_with_int(b, "Concat", parts, info->poolings, "axis", 1);
}

/* ---- modules --------------------------------------------------------------------------------- */

static onnx_value normalize(onnx_builder *b, onnx_value x)
{
    static const int64_t axis[] = {-1};
    const onnx_attribute attributes[] = {{.name = "axes", .type = ONNX_ATTRIBUTE_INTS, .ints = axis, .count = 1},
                                         {.name = "keepdims", .type = ONNX_ATTRIBUTE_INT, .i = 1},
                                         {.name = NULL}};
    onnx_value length = onnx_node(&b->graph, "ReduceL2", &x, 1, attributes, NULL);
    return onnx_binary(b, "Div", x, at_least(b, length, 1e-12F));
}

static onnx_value run_module(onnx_builder *b, onnx_value x, const tandem_module_spec *module)
{
    switch (module->kind) {
    case TANDEM_MODULE_DENSE:
        return onnx_activation(b, module->activation,
                               onnx_linear(b, x, module->weight, module->bias, module->out, module->in));
    case TANDEM_MODULE_LAYER_NORM:
        return onnx_layer_norm(b, x, module->weight, module->bias, module->out, module->eps, NULL);
    case TANDEM_MODULE_NORMALIZE:
        break;
    }
    return normalize(b, x);
}

void onnx_embedding_head(onnx_builder *b, onnx_value hidden)
{
    const tandem_model_info *info = tandem_model_describe(b->model);
    onnx_value x = pool_all(b, hidden);
    for (int64_t i = 0; i < b->spec->modules; i++) {
        x = run_module(b, x, &b->spec->module[i]);
    }
    if (info->dim < info->width) {
        x = onnx_slice(b, x, onnx_integer(b, 0), onnx_integer(b, (int64_t)info->dim), 1);
    }
    onnx_node(&b->graph, "Identity", &x, 1, NULL, "sentence_embedding");
}

/* ---- classification ---------------------------------------------------------------------------- */

/* The operator of the activation that sentence-transformers gives a cross-encoder's scores, by what
 * the directory states, else a sigmoid for one label and nothing for many; NULL: not known here. */
static const char *score_activation(const tandem_model *model)
{
    static const char *const known[][2] = {{"torch.nn.modules.activation.Sigmoid", "Sigmoid"},
                                           {"torch.nn.modules.linear.Identity", "Identity"},
                                           {"torch.nn.modules.activation.Tanh", "Tanh"}};
    const char *stated = tandem_model_score_activation(model);
    if (stated == NULL) {
        return tandem_model_describe(model)->labels == 1 ? "Sigmoid" : "Identity";
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(stated, known[i][0]) == 0) {
            return known[i][1];
        }
    }
    tandem_log_warn("%s: activation \"%s\" is not known to the export: the graph gives logits alone",
                    tandem_model_describe(model)->directory, stated);
    return NULL;
}

bool onnx_classification_head(onnx_builder *b, onnx_value hidden)
{
    const tandem_encoder_spec *s = b->spec;
    onnx_value x;
    if (s->head_pooling == TANDEM_POOL_CLS) {
        /* Index 0 of axis 1: the first token, whatever the mask, as transformers does. */
        onnx_value first = onnx_with_int(b, "Gather", (onnx_value[]){hidden, onnx_integer(b, 0)}, 2, "axis", 1);
        x = onnx_binary(b, "Squeeze", first, onnx_integer(b, 1));
    } else {
        x = pool(b, hidden, b->mask, s->head_pooling);
    }
    if (s->head_weight >= 0) {
        x = onnx_activation(b, s->head_activation,
                            onnx_linear(b, x, s->head_weight, s->head_bias, s->hidden, s->hidden));
    }
    if (s->head_norm_weight >= 0) {
        x = onnx_layer_norm(b, x, s->head_norm_weight, s->head_norm_bias, s->hidden, s->norm_eps, NULL);
    }
    onnx_value logits = onnx_linear(b, x, s->classifier_weight, s->classifier_bias, s->labels, s->hidden);
    onnx_node(&b->graph, "Identity", &logits, 1, NULL, "logits");
    const char *activation = score_activation(b->model);
    if (activation != NULL) {
        onnx_node(&b->graph, activation, &logits, 1, NULL, "scores");
    }
    return activation != NULL;
}
