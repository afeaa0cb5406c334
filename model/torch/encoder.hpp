/* encoder.hpp - the encoder behind the handle: its arenas and parameter leaves. */
#ifndef TANDEM_MODEL_TORCH_ENCODER_HPP
#define TANDEM_MODEL_TORCH_ENCODER_HPP

#include <atomic>
#include <mutex>
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
    tandem_device device = TANDEM_DEVICE_CPU;
    const tandem::Steps *steps = &tandem::by_kernels;
    at::Tensor parameters, gradients; /* [arena_floats] on the CPU, as C knows them; gradients once asked for */
    /* Those that the encoder computes with: by the kernels the same memory, else copies on their device (device.cpp). */
    at::Tensor values, slopes;
    std::atomic<bool> stale = false; /* `values` are not those of `parameters` */
    std::mutex lock;                 /* of bringing them: threads may run one model */
    at::Tensor mean, variance;       /* AdamW's moments, where it updates `values` */

    /* Leaves of autograd: views of `values` whose grads are views of `slopes`. */
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

    bool uses_kernels() const {
        return steps == &tandem::by_kernels;
    }
};

namespace tandem {

/* Makes `values` of `parameters`. Throws where there is no such device. */
void settle_device(tandem_encoder &encoder, tandem_device device);
/* Throws where the encoder's device does not have it. */
void check_precision(const tandem_encoder &encoder, tandem_precision precision);
/* Brings changed parameters to where the encoder computes. */
void bring_parameters(tandem_encoder &encoder);

} // namespace tandem

#endif
