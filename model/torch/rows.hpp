/* rows.hpp - the layers of an encoder that records nothing, over weights that are laid out: between two
 * attentions blocks of rows go through all steps together (model/kernels/layer_kernel.c). */
#ifndef TANDEM_MODEL_TORCH_ROWS_HPP
#define TANDEM_MODEL_TORCH_ROWS_HPP

#include <functional>

#include "model/torch/encoder.hpp"

namespace tandem {

/* A layer's attention over the product of its query, key and value weights, without their bias; the last layer's gives
 * those rows alone that are needed. */
using Attend = std::function<at::Tensor(size_t layer, const at::Tensor &qkv)>;

/* x [total, hidden], which it may change, to the last layer's output; `in` is what the first layer's attention reads: x, or
 * x normed. `rows` (int64, or undefined: all): those that the last layer's attention gives; [rows, hidden]. */
at::Tensor run_rows(const tandem_encoder &encoder, at::Tensor x, const at::Tensor &in, const at::Tensor &rows, const Attend &attend);

} // namespace tandem

#endif
