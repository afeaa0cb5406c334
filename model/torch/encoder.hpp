/* encoder.hpp - the encoder behind the handle: its arenas and parameter leaves. */
#ifndef TANDEM_MODEL_TORCH_ENCODER_HPP
#define TANDEM_MODEL_TORCH_ENCODER_HPP

#include <vector>

#include "model/torch/internal.hpp"
#include "model/torch/nodes.hpp"

namespace tandem {

struct Layer {
    int64_t window;
    double rope_theta;
    Matrix qkv_weight, out_weight, up_weight, down_weight;
    at::Tensor qkv_bias, out_bias, up_bias, down_bias;
    at::Tensor attention_norm_weight, attention_norm_bias;
    at::Tensor output_norm_weight, output_norm_bias;
};

/* A module that follows pooling. */
struct Module {
    tandem_module_spec spec;
    at::Tensor weight, bias;
};

} // namespace tandem

struct tandem_encoder {
    tandem_encoder_spec spec; /* without its layers and modules, which are below */
    at::Tensor parameters; /* [arena_floats] */
    at::Tensor gradients;  /* the same, once asked for */

    /* Leaves of autograd: views of `parameters` whose grads are views of `gradients`. */
    at::Tensor word_embedding, position_embedding, type_embedding;
    at::Tensor embedding_norm_weight, embedding_norm_bias;
    tandem::Matrix projection_weight;
    at::Tensor projection_bias;
    at::Tensor relative_bias;
    std::vector<tandem::Layer> layers;
    at::Tensor final_norm_weight, final_norm_bias;
    at::Tensor head_weight, head_bias, head_norm_weight, head_norm_bias, classifier_weight, classifier_bias;
    std::vector<tandem::Module> modules;

    struct Leaf {
        at::Tensor *tensor;
        tandem_place place;
    };
    std::vector<Leaf> leaves;       /* embeddings, layers, what follows */
    std::vector<size_t> first_leaf; /* of each layer, and of what follows */
    std::vector<tandem::Matrix *> matrices; /* all of them */
    tandem_precision precision = TANDEM_FP32;
    bool checkpointing = false;
};

#endif
