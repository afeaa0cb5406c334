/* rows.cpp - the layers of an encoder that records nothing. */
#include "model/torch/rows.hpp"

#include <ATen/Functions.h>

namespace tandem {
namespace {

const float *read(const at::Tensor &tensor) {
    return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

tandem_row_norm norm_of(const at::Tensor &weight, const at::Tensor &shift) {
    return {read(weight), read(shift)};
}

/* A layer as the kernel reads it, with the next one's first product and, pre-norm, its first norm. */
tandem_row_layer row_layer(const tandem_encoder &encoder, size_t index) {
    const Layer &layer = encoder.layers[index], *next = index + 1 < encoder.layers.size() ? &encoder.layers[index + 1] : nullptr;
    tandem_row_layer row = {};
    row.out = laid_out(layer.out_weight);
    row.up = laid_out(layer.up_weight);
    row.down = laid_out(layer.down_weight);
    row.out_bias = read(layer.out_bias);
    row.up_bias = read(layer.up_bias);
    row.down_bias = read(layer.down_bias);
    row.pre_norm = encoder.spec.pre_norm;
    row.gated = encoder.spec.gated;
    row.activation = encoder.spec.activation;
    row.eps = static_cast<float>(encoder.spec.norm_eps);
    tandem_row_norm first = norm_of(layer.attention_norm_weight, layer.attention_norm_bias), second = norm_of(layer.output_norm_weight, layer.output_norm_bias);
    row.middle_norm = row.pre_norm ? second : first;
    row.last_norm = row.pre_norm ? tandem_row_norm{} : second;
    if (next != nullptr) {
        row.next = laid_out(next->qkv_weight);
        if (row.pre_norm) {
            row.last_norm = norm_of(next->attention_norm_weight, next->attention_norm_bias);
        }
    }
    return row;
}

} // namespace

at::Tensor run_rows(const tandem_encoder &encoder, at::Tensor x, const at::Tensor &in, const at::Tensor &rows, const Attend &attend) {
    at::Tensor qkv = by_kernels.product(in, encoder.layers[0].qkv_weight);
    for (size_t index = 0; index < encoder.layers.size(); ++index) {
        tandem_row_layer layer = row_layer(encoder, index);
        bool last = index + 1 == encoder.layers.size();
        at::Tensor context = attend(index, qkv);
        if (last && rows.defined()) {
            x = at::index_select(x, 0, rows);
        }
        tandem_extent extent = row_extent(x.size(0), x.size(1));
        at::Tensor workspace = row_workspace(extent, tandem_row_scratch_of(&layer));
        tandem_kernels_best()->rows_layer(extent, &layer, read(context), x.mutable_data_ptr<float>(), last ? nullptr : qkv.mutable_data_ptr<float>(), workspace.mutable_data_ptr<float>());
    }
    return x;
}

} // namespace tandem
