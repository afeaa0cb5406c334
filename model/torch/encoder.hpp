/* encoder.hpp - the encoder behind the handle: its arenas and parameter leaves. */
#ifndef TANDEM_MODEL_TORCH_ENCODER_HPP
#define TANDEM_MODEL_TORCH_ENCODER_HPP

#include <vector>

#include "model/torch/internal.hpp"
#include "model/torch/nodes.hpp"

namespace tandem {

struct Layer {
    at::Tensor qkv_weight, qkv_bias;
    at::Tensor out_weight, out_bias;
    at::Tensor attention_norm_weight, attention_norm_bias;
    at::Tensor up_weight, up_bias;
    at::Tensor down_weight, down_bias;
    at::Tensor output_norm_weight, output_norm_bias;
};

} // namespace tandem

struct tandem_encoder {
    tandem_encoder_spec spec;
    at::Tensor parameters; /* [arena_floats] */
    at::Tensor gradients;  /* the same, once asked for */

    /* Leaves of autograd: views of `parameters` whose grads are views of `gradients`. */
    at::Tensor word_embedding, position_embedding, type_embedding;
    at::Tensor embedding_norm_weight, embedding_norm_bias;
    std::vector<tandem::Layer> layers;
    at::Tensor head_weight, head_bias, classifier_weight, classifier_bias;

    struct Leaf {
        at::Tensor *tensor;
        tandem_place place;
    };
    std::vector<Leaf> leaves;
};

#endif
