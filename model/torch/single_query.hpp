/* single_query.hpp - attention of a layer of which one token a sequence is read. */
#ifndef TANDEM_MODEL_TORCH_SINGLE_QUERY_HPP
#define TANDEM_MODEL_TORCH_SINGLE_QUERY_HPP

#include "model/torch/nodes.hpp"

namespace tandem {

/* Softmax attention of one query a sequence, differentiable: x [total, hidden], of which `asked` [count, hidden] are the
 * rows that ask; weight [3 * hidden, hidden] and bias [3 * hidden] (or undefined) of query, key and value
 * -> [count, hidden]. It computes neither keys nor values: a score is q W_k x = (W_k' q) x, where what the bias of the keys
 * adds is the same for all tokens and nothing to softmax; and the sum of p (W_v x + b) is W_v (sum of p x) +
 * b (sum of p). So two products of all tokens with a matrix become two with a vector for each head. */
at::Tensor single_query_attention(const at::Tensor &x, const at::Tensor &asked, const at::Tensor &weight, const at::Tensor &bias, const Packed &packed, int64_t heads, tandem_mask mask);

} // namespace tandem

#endif
