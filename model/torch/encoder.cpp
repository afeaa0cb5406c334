/* encoder.cpp - the encoder's settings checked, its arenas and leaves. */
#include "model/torch/encoder.hpp"

#include <algorithm>
#include <string>

#include <ATen/Functions.h>

#include "model/torch/positions.hpp"

using tandem::guarded;
using tandem::Layer;
using tandem::Matrix;
using tandem::Module;
using tandem::refuse;

namespace {

/* What the modules are given and give. */
void check_modules(const tandem_encoder_spec &spec) {
    for (int64_t i = 0; i < spec.modules; ++i) {
        const tandem_module_spec &module = spec.module[i];
        std::string name = "module " + std::to_string(i) + " ";
        if (module.in <= 0 || module.out <= 0 || (module.kind != TANDEM_MODULE_DENSE && module.in != module.out)) {
            refuse(name + "makes vectors of " + std::to_string(module.out) + " out of " + std::to_string(module.in));
        }
        if (i > 0 && module.in != spec.module[i - 1].out) {
            refuse(name + "takes vectors of " + std::to_string(module.in) + "; the one before it gives " + std::to_string(spec.module[i - 1].out));
        }
        if (module.kind != TANDEM_MODULE_NORMALIZE && module.weight == -1) {
            refuse(name + "lacks its weight");
        }
    }
}

void check_layer(const tandem_encoder_spec &spec, const tandem_layer_spec &layer) {
    if (layer.window < 0) {
        refuse("an attention window of " + std::to_string(layer.window));
    }
    if (layer.rope_theta != 0) {
        tandem::rotary_table(layer.rope_theta, spec.hidden / spec.heads, 1); /* throws when there can be none */
    }
}

void check_spec(const tandem_encoder_spec &spec) {
    if (spec.layers < 0 || spec.hidden <= 0 || spec.heads <= 0 || spec.intermediate <= 0 || spec.vocab <= 0 || spec.positions <= 0 || spec.embedding_size <= 0) {
        refuse("a size of the encoder is not positive");
    }
    if (spec.hidden % spec.heads != 0) {
        refuse("hidden size " + std::to_string(spec.hidden) + " is no multiple of " + std::to_string(spec.heads) + " heads");
    }
    if (spec.position_offset < (spec.position_pad_id == -1 ? 0 : 1) || spec.position_offset >= spec.positions) {
        refuse("position offset " + std::to_string(spec.position_offset) + " is outside the " + std::to_string(spec.positions) + " positions");
    }
    if (spec.embedding_size != spec.hidden && spec.projection_weight == -1) {
        refuse("embeddings of " + std::to_string(spec.embedding_size) + " need a projection to the hidden size " + std::to_string(spec.hidden));
    }
    for (double probability : {spec.embedding_dropout, spec.attention_out_dropout, spec.down_dropout, spec.attention_dropout, spec.inner_dropout, spec.classifier_dropout}) {
        if (!(probability >= 0 && probability < 1)) {
            refuse("dropout " + std::to_string(probability) + " is not in [0, 1)");
        }
    }
    if (spec.activation == TANDEM_ACTIVATION_TANH || spec.activation == TANDEM_ACTIVATION_IDENTITY) {
        refuse("the feed-forward part has none of the activations that it can have");
    }
    if (spec.relative_bias != -1) {
        tandem::relative_buckets(spec.relative_buckets, spec.relative_distance, 1); /* throws when there can be none */
    }
    for (int64_t i = 0; i < spec.layers; ++i) {
        check_layer(spec, spec.layer[i]);
    }
    check_modules(spec);
}

/* Makes `tensor` a view of the arena and remembers it; -1 leaves it undefined. */
void place_leaf(tandem_encoder &encoder, at::Tensor &tensor, tandem_place place, at::IntArrayRef shape) {
    if (place == -1) {
        return;
    }
    int64_t floats = 1;
    for (int64_t size : shape) {
        if (size <= 0 || __builtin_mul_overflow(floats, size, &floats)) {
            refuse("a parameter has a size of " + std::to_string(size));
        }
    }
    int64_t arena = encoder.parameters.numel();
    if (place < 0 || place % 16 != 0 || floats > arena || place > arena - floats) {
        refuse("a parameter of " + std::to_string(floats) + " floats at " + std::to_string(place) + " is misaligned or outside the arena of " + std::to_string(arena));
    }
    tensor = encoder.values.narrow(0, place, floats).view(shape).detach();
    encoder.leaves.push_back({&tensor, place});
}

void place_matrix(tandem_encoder &encoder, Matrix &matrix, tandem_place place, at::IntArrayRef shape) {
    place_leaf(encoder, matrix.leaf, place, shape);
    encoder.matrices.push_back(&matrix);
}

void place_layer(tandem_encoder &encoder, Layer &layer, const tandem_layer_spec &places) {
    int64_t h = encoder.spec.hidden, f = encoder.spec.intermediate, up = encoder.spec.gated ? 2 * f : f;
    layer.window = places.window;
    layer.rope_theta = places.rope_theta;
    place_matrix(encoder, layer.qkv_weight, places.qkv_weight, {3 * h, h});
    place_leaf(encoder, layer.qkv_bias, places.qkv_bias, {3 * h});
    place_matrix(encoder, layer.out_weight, places.attention_out_weight, {h, h});
    place_leaf(encoder, layer.out_bias, places.attention_out_bias, {h});
    place_leaf(encoder, layer.attention_norm_weight, places.attention_norm_weight, {h});
    place_leaf(encoder, layer.attention_norm_bias, places.attention_norm_bias, {h});
    place_matrix(encoder, layer.up_weight, places.up_weight, {up, h});
    place_leaf(encoder, layer.up_bias, places.up_bias, {up});
    place_matrix(encoder, layer.down_weight, places.down_weight, {h, f});
    place_leaf(encoder, layer.down_bias, places.down_bias, {h});
    place_leaf(encoder, layer.output_norm_weight, places.output_norm_weight, {h});
    place_leaf(encoder, layer.output_norm_bias, places.output_norm_bias, {h});
    for (const at::Tensor *needed : {&layer.qkv_weight.leaf, &layer.out_weight.leaf, &layer.up_weight.leaf, &layer.down_weight.leaf, &layer.output_norm_weight}) {
        if (!needed->defined()) {
            refuse("a layer lacks one of its weights");
        }
    }
    if (!layer.attention_norm_weight.defined() && !encoder.spec.pre_norm) {
        refuse("a layer lacks the norm after its attention");
    }
}

void place_embeddings(tandem_encoder &encoder) {
    const tandem_encoder_spec &spec = encoder.spec;
    int64_t e = spec.embedding_size;
    place_leaf(encoder, encoder.word_embedding, spec.word_embedding, {spec.vocab, e});
    place_leaf(encoder, encoder.position_embedding, spec.position_embedding, {spec.positions, e});
    if (spec.types > 0) {
        place_leaf(encoder, encoder.type_embedding, spec.type_embedding, {spec.types, e});
    }
    place_leaf(encoder, encoder.embedding_norm_weight, spec.embedding_norm_weight, {e});
    place_leaf(encoder, encoder.embedding_norm_bias, spec.embedding_norm_bias, {e});
    place_matrix(encoder, encoder.projection_weight, spec.projection_weight, {spec.hidden, e});
    place_leaf(encoder, encoder.projection_bias, spec.projection_bias, {spec.hidden});
    if (!encoder.word_embedding.defined() || !encoder.embedding_norm_weight.defined()) {
        refuse("the embeddings lack one of their weights");
    }
}

void place_head(tandem_encoder &encoder) {
    const tandem_encoder_spec &spec = encoder.spec;
    int64_t h = spec.hidden;
    place_leaf(encoder, encoder.head_weight, spec.head_weight, {h, h});
    place_leaf(encoder, encoder.head_bias, spec.head_bias, {h});
    place_leaf(encoder, encoder.head_norm_weight, spec.head_norm_weight, {h});
    place_leaf(encoder, encoder.head_norm_bias, spec.head_norm_bias, {h});
    place_leaf(encoder, encoder.classifier_weight, spec.classifier_weight, {spec.labels, h});
    place_leaf(encoder, encoder.classifier_bias, spec.classifier_bias, {spec.labels});
}

void place_module(tandem_encoder &encoder, Module &module, const tandem_module_spec &spec) {
    module.spec = spec;
    if (spec.kind == TANDEM_MODULE_DENSE) {
        place_leaf(encoder, module.weight, spec.weight, {spec.out, spec.in});
        place_leaf(encoder, module.bias, spec.bias, {spec.out});
    } else if (spec.kind == TANDEM_MODULE_LAYER_NORM) {
        place_leaf(encoder, module.weight, spec.weight, {spec.out});
        place_leaf(encoder, module.bias, spec.bias, {spec.out});
    }
}

void place_leaves(tandem_encoder &encoder) {
    const tandem_encoder_spec &spec = encoder.spec;
    place_embeddings(encoder);
    place_leaf(encoder, encoder.relative_bias, spec.relative_bias, {spec.relative_buckets, spec.heads});
    encoder.layers = std::vector<Layer>(static_cast<size_t>(spec.layers));
    for (size_t i = 0; i < encoder.layers.size(); ++i) {
        encoder.first_leaf.push_back(encoder.leaves.size());
        place_layer(encoder, encoder.layers[i], spec.layer[i]);
    }
    encoder.first_leaf.push_back(encoder.leaves.size());
    place_leaf(encoder, encoder.final_norm_weight, spec.final_norm_weight, {spec.hidden});
    place_leaf(encoder, encoder.final_norm_bias, spec.final_norm_bias, {spec.hidden});
    place_head(encoder);
    encoder.modules.resize(static_cast<size_t>(spec.modules));
    for (size_t i = 0; i < encoder.modules.size(); ++i) {
        place_module(encoder, encoder.modules[i], spec.module[i]);
    }
}

} // namespace

int tandem_encoder_new(tandem_encoder **out, const tandem_encoder_spec *spec, size_t arena_floats, tandem_device device) {
    return guarded(__func__, [&] {
        check_spec(*spec);
        auto encoder = std::make_unique<tandem_encoder>();
        encoder->spec = *spec;
        encoder->parameters = at::zeros({static_cast<int64_t>(arena_floats)}, at::kFloat);
        tandem::settle_device(*encoder, device);
        place_leaves(*encoder);
        encoder->spec.layer = nullptr;
        encoder->spec.module = nullptr;
        *out = encoder.release();
        return TANDEM_OK;
    });
}

void tandem_encoder_free(tandem_encoder *encoder) {
    delete encoder;
}

float *tandem_encoder_parameters(tandem_encoder *encoder) {
    return encoder->parameters.mutable_data_ptr<float>();
}

int tandem_encoder_set_precision(tandem_encoder *encoder, tandem_precision precision) {
    return guarded(__func__, [&] {
        tandem::check_precision(*encoder, precision);
        encoder->precision = precision;
        for (Matrix *matrix : encoder->matrices) {
            matrix->set_precision(encoder->precision);
            if (matrix->leaf.defined() && encoder->precision == TANDEM_INT8) {
                tandem::laid_out(*matrix); /* which may fail */
            }
        }
        return TANDEM_OK;
    });
}

void tandem_encoder_parameters_changed(tandem_encoder *encoder) {
    for (Matrix *matrix : encoder->matrices) {
        matrix->stale = true;
    }
    encoder->stale = !encoder->uses_kernels();
}

void tandem_encoder_freeze(tandem_encoder *encoder, int64_t layers) {
    size_t frozen = layers < 0 ? 0 : encoder->first_leaf[std::min(static_cast<size_t>(layers), encoder->layers.size())];
    for (size_t i = 0; i < encoder->leaves.size(); ++i) {
        encoder->leaves[i].tensor->set_requires_grad(i >= frozen);
    }
}

void tandem_encoder_set_checkpointing(tandem_encoder *encoder, bool on) {
    encoder->checkpointing = on;
}

float *tandem_encoder_gradients(tandem_encoder *encoder) {
    int rc = guarded(__func__, [&] {
        if (!encoder->gradients.defined()) {
            encoder->gradients = at::zeros_like(encoder->parameters);
            encoder->slopes = encoder->uses_kernels() ? encoder->gradients : at::zeros_like(encoder->values);
            for (Matrix *matrix : encoder->matrices) {
                if (matrix->leaf.defined() && encoder->uses_kernels()) {
                    tandem::laid_out(*matrix); /* so that its memory, which stays its own, lies together and not among activations */
                }
            }
            for (tandem_encoder::Leaf &leaf : encoder->leaves) {
                leaf.tensor->set_requires_grad(true);
                leaf.tensor->mutable_grad() = encoder->slopes.narrow(0, leaf.place, leaf.tensor->numel()).view(leaf.tensor->sizes()).detach();
            }
        }
        return TANDEM_OK;
    });
    return rc < 0 ? nullptr : encoder->gradients.mutable_data_ptr<float>();
}
