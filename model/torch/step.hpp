/* step.hpp - one autograd function for all steps whose backward pass is written by hand. */
#ifndef TANDEM_MODEL_TORCH_STEP_HPP
#define TANDEM_MODEL_TORCH_STEP_HPP

#include <initializer_list>

#include <torch/csrc/autograd/custom_function.h>

namespace tandem {

/* What a forward leaves for its backward. Tensors kept here are detached or leaves,
 * so that none refers back to the graph that owns them. */
struct Step : torch::CustomClassHolder {
    /* The gradients of the activations among the inputs, which come first there.
     * Parameters' are not returned but added into their arena. */
    virtual torch::autograd::variable_list backward(const at::Tensor &d_out, bool needs_d_x) = 0;
    virtual void forget() = 0; /* drops what was kept, as soon as backward is done */
};

/* True when autograd records and one of the inputs asks for its gradient. */
bool recorded(std::initializer_list<at::Tensor> inputs);

/* The output of `step`, which knows its way back to the inputs (those defined). */
at::Tensor attach(at::Tensor out, c10::intrusive_ptr<Step> step, torch::autograd::variable_list inputs);

} // namespace tandem

#endif
