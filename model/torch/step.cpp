/* step.cpp - one autograd function for all steps whose backward pass is written by hand. */
#include "model/torch/step.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <ATen/core/grad_mode.h>

namespace tandem {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct StepFunction : torch::autograd::Function<StepFunction> {
    static constexpr size_t PLAIN_ARGUMENTS = 2; /* before the inputs */

    static at::Tensor forward(AutogradContext *context, const c10::intrusive_ptr<Step> &step, at::Tensor *out, at::TensorList inputs) {
        context->set_materialize_grads(false);
        context->saved_data["step"] = c10::IValue::make_capsule(step);
        context->saved_data["inputs"] = static_cast<int64_t>(inputs.size());
        return std::move(*out);
    }

    static variable_list backward(AutogradContext *context, const variable_list &gradients) {
        c10::IValue &slot = context->saved_data["step"];
        if (slot.isNone()) {
            throw std::runtime_error("backward went through the same forward twice");
        }
        variable_list inputs(PLAIN_ARGUMENTS + static_cast<size_t>(context->saved_data["inputs"].toInt()));
        if (gradients[0].defined()) {
            auto holder = slot.toCapsule();
            Step &step = static_cast<Step &>(*holder);
            variable_list activations = step.backward(gradients[0].contiguous(), context->needs_input_grad(0));
            std::move(activations.begin(), activations.end(), inputs.begin() + PLAIN_ARGUMENTS);
            step.forget();
            slot = c10::IValue();
        }
        return inputs;
    }
};

} // namespace

bool recorded(std::initializer_list<at::Tensor> inputs) {
    return at::GradMode::is_enabled() && std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor &input) { return input.defined() && input.requires_grad(); });
}

at::Tensor attach(at::Tensor out, c10::intrusive_ptr<Step> step, variable_list inputs) {
    inputs.erase(std::remove_if(inputs.begin(), inputs.end(), [](const at::Tensor &input) { return !input.defined(); }), inputs.end());
    return StepFunction::apply(step, &out, at::TensorList(inputs));
}

} // namespace tandem
