/* single_query.cpp - attention of a layer of which one token a sequence is read. */
#include "model/torch/single_query.hpp"

#include <cmath>

#include <ATen/Functions.h>

namespace tandem {
namespace {

/* Query, key and value of `both`, of the given shape each; undefined where there are none. */
std::vector<at::Tensor> parts_of(const at::Tensor &both, std::vector<int64_t> shape) {
    shape.insert(shape.begin(), 3);
    return both.defined() ? both.view(shape).unbind(0) : std::vector<at::Tensor>(3);
}

/* What a head's tokens come to, and the sum of their probabilities, which dropout leaves near 1. */
struct Found {
    std::vector<at::Tensor> sums;   /* of each sequence, [heads, hidden] */
    std::vector<at::Tensor> shares; /* [heads] */
};

/* seen [count, heads, hidden]: what each head looks for in a token. */
Found look(const at::Tensor &x, const at::Tensor &seen, const Packed &packed, tandem_mask mask) {
    std::vector<int64_t> lengths;
    for (int64_t s = 0; s < packed.count; ++s) {
        lengths.push_back(packed.length(s));
    }
    std::vector<at::Tensor> tokens = x.split_with_sizes(lengths), vectors = seen.unbind(0);
    Found found;
    for (size_t s = 0; s < tokens.size(); ++s) {
        at::Tensor probabilities = at::softmax(at::mm(vectors[s], tokens[s].t()), 1);
        probabilities = by_kernels.dropout(probabilities, tandem_mask_from(mask, s * static_cast<uint64_t>(seen.size(1))));
        found.sums.push_back(at::mm(probabilities, tokens[s]));
        found.shares.push_back(probabilities.sum(1));
    }
    return found;
}

} // namespace

at::Tensor single_query_attention(const at::Tensor &x, const at::Tensor &asked, const at::Tensor &weight, const at::Tensor &bias, const Packed &packed, int64_t heads, tandem_mask mask) {
    int64_t hidden = x.size(1), size = hidden / heads;
    std::vector<at::Tensor> weights = parts_of(weight, {hidden, hidden}), biases = parts_of(bias, {hidden});
    at::Tensor query = at::linear(asked, weights[0], biases[0]).view({-1, heads, size});
    at::Tensor seen = at::bmm(query.transpose(0, 1), weights[1].view({heads, size, hidden})).transpose(0, 1);
    Found found = look(x, at::div(seen, std::sqrt(static_cast<double>(size))), packed, mask);
    at::Tensor out = at::bmm(at::stack(found.sums, 1), weights[2].view({heads, size, hidden}).transpose(1, 2)).transpose(0, 1);
    if (bias.defined()) {
        out = at::addcmul(out, at::stack(found.shares).unsqueeze(2), biases[2].view({heads, size}));
    }
    return out.reshape({-1, hidden});
}

} // namespace tandem
