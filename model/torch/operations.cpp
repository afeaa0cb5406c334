/* operations.cpp - the encoder's steps as libtorch's own operations, on whatever device
 * their tensors are: what CUDA runs. In bf16, products and attention compute in bf16 and
 * everything else in float32, as torch's autocast has it.
 *
 * Dropout draws from the device's generator, which is seeded for every site with the
 * key of its mask: a forward can be replayed, but parts of a batch do not draw the masks
 * of the whole, and the masks are others than those of the kernels.
 */
#include "model/torch/nodes.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <utility>

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "model/torch/internal.hpp"
#include "model/torch/step.hpp"

namespace tandem {

at::Tensor activate(const at::Tensor &x, tandem_activation activation) {
    switch (activation) {
    case TANDEM_ACTIVATION_GELU:
        return at::gelu(x);
    case TANDEM_ACTIVATION_GELU_TANH:
        return at::gelu(x, "tanh");
    case TANDEM_ACTIVATION_RELU:
        return at::relu(x);
    case TANDEM_ACTIVATION_SILU:
        return at::silu(x);
    case TANDEM_ACTIVATION_TANH:
        return at::tanh(x);
    case TANDEM_ACTIVATION_IDENTITY:
        return x;
    }
    refuse("there is no activation " + std::to_string(static_cast<int>(activation)));
}

/* Where the tokens of a batch are, on a device. */
struct Places {
    int64_t longest = 0;
    at::Tensor borders;  /* int32 [count + 1] */
    at::Tensor length;   /* int64 [count] */
    at::Tensor sequence; /* int64 [total]: of each token */
    at::Tensor position; /* int64 [total]: in its sequence */
    at::Tensor slot;     /* int64 [total]: sequence * longest + position */
};

namespace {

/* A copy on the device. A GPU fetches it from pinned memory in its own time: nobody waits for what it was asked to do before. */
template <class T>
at::Tensor upload(const std::vector<T> &values, at::Device device, at::ScalarType type) {
    at::Tensor view = at::from_blob(const_cast<T *>(values.data()), {static_cast<int64_t>(values.size())}, c10::CppTypeToScalarType<T>::value);
    if (!device.is_cuda()) {
        return view.to(type, false, true);
    }
    return view.pin_memory().to(device, view.scalar_type(), true).to(type);
}

/* Made by the first step that asks and kept with the batch, which goes to one device. */
const Places &places_of(const Packed &packed, at::Device device) {
    if (!packed.places) {
        auto places = std::make_shared<Places>();
        std::vector<int32_t> sequence, position;
        for (int64_t s = 0; s < packed.count; ++s) {
            places->longest = std::max(places->longest, packed.length(s));
            for (int64_t i = 0; i < packed.length(s); ++i) {
                sequence.push_back(static_cast<int32_t>(s));
                position.push_back(static_cast<int32_t>(i));
            }
        }
        places->borders = upload(packed.offsets, device, at::kInt);
        places->length = places->borders.diff().to(at::kLong);
        places->sequence = upload(sequence, device, at::kLong);
        places->position = upload(position, device, at::kLong);
        places->slot = places->sequence * places->longest + places->position;
        packed.places = std::move(places);
    }
    return *packed.places;
}

at::Tensor plus(const at::Tensor &x, const at::Tensor &bias) {
    return bias.defined() ? x + bias.to(x.scalar_type()) : x;
}

double probability_of(const tandem_mask &mask) {
    return static_cast<double>(mask.threshold) / 4294967296.0;
}

/* The generator that the next operation on the device draws from begins at the mask's key. */
void begin_mask(at::Device device, const tandem_mask &mask) {
    at::Generator generator = at::globalContext().defaultGenerator(device);
    std::lock_guard<std::mutex> guard(generator.mutex());
    generator.set_current_seed(mask.key);
}

/* ---- embeddings and products ---------------------------------------------------------------- */

/* Gradients go to the rows that were read: a table has many that were not. */
struct RowsStep : Step {
    struct Rows {
        at::Tensor table, index;
        int64_t frozen;
    };
    std::vector<Rows> all;

    torch::autograd::variable_list backward(const at::Tensor &d_out, bool) override {
        for (const Rows &rows : all) {
            at::Tensor d_rows = rows.frozen < 0 ? d_out : d_out.masked_fill(rows.index.eq(rows.frozen).unsqueeze(1), 0);
            rows.table.mutable_grad().index_add_(0, rows.index, d_rows);
        }
        return {};
    }
    void forget() override {
        all.clear();
    }
};

at::Tensor embed(std::vector<Lookup> lookups) {
    auto step = c10::make_intrusive<RowsStep>();
    torch::autograd::variable_list tables;
    at::Tensor out;
    for (const Lookup &lookup : lookups) {
        at::Tensor index = upload(lookup.index, lookup.table.device(), at::kLong), rows = at::index_select(lookup.table.detach(), 0, index);
        out = out.defined() ? out.add_(rows) : rows;
        step->all.push_back({lookup.table, index, lookup.frozen});
        tables.push_back(lookup.table);
    }
    return recorded({tables[0]}) ? attach(std::move(out), step, tables) : out;
}

at::Tensor product(const at::Tensor &x, const Matrix &weight) {
    if (weight.precision == TANDEM_BF16) {
        return at::linear(x.to(at::kBFloat16), weight.leaf.to(at::kBFloat16));
    }
    return at::linear(x, weight.leaf);
}

/* ---- attention --------------------------------------------------------------------------------- */

/* x [total, heads, size] with the second half of each head's numbers turned against the first
 * (transformers' rotate_half); `table` [longest, size] holds cosines, then sines. */
at::Tensor rotated(const at::Tensor &x, const at::Tensor &table, const at::Tensor &position) {
    at::Tensor angles = table.index_select(0, position).unsqueeze(1);
    std::vector<at::Tensor> halves = x.chunk(2, 2), turn = angles.chunk(2, 2);
    return at::cat({halves[0] * turn[0] - halves[1] * turn[1], halves[1] * turn[0] + halves[0] * turn[1]}, 2).to(x.scalar_type());
}

/* [total, heads, size] -> [count, heads, longest, size], zeros behind each sequence. */
at::Tensor padded(const at::Tensor &x, const Places &places) {
    at::Tensor rows = at::zeros({places.length.size(0) * places.longest, x.size(1), x.size(2)}, x.options());
    return rows.index_copy(0, places.slot, x).view({places.length.size(0), places.longest, x.size(1), x.size(2)}).transpose(1, 2);
}

/* Position of each query, [1 or count, queries, 1]. */
at::Tensor query_positions(const Places &places, tandem_queries queries) {
    if (queries == TANDEM_QUERIES_ALL) {
        return at::arange(places.longest, places.length.options()).view({1, -1, 1});
    }
    return (queries == TANDEM_QUERIES_LAST ? places.length - 1 : at::zeros_like(places.length)).view({-1, 1, 1});
}

/* What is added to the scores, broadcast to [count, heads, queries, longest]: nothing (undefined), a learned bias, a
 * very low number where a query does not see a key. Lower still would leave nothing to see behind a sequence's end,
 * and no number, where softmax divides by its sum. */
at::Tensor score_bias(const Packed &packed, const Places &places, const Attention &setting) {
    constexpr double unseen = -1e30;
    if (!setting.relative && setting.window == 0 && packed.total == packed.count * places.longest) {
        return {};
    }
    at::Tensor key = at::arange(places.longest, places.length.options()).view({1, 1, -1});
    at::Tensor away = query_positions(places, setting.queries) - key; /* [1 or count, queries, longest] */
    at::Tensor hidden = key >= places.length.view({-1, 1, 1}), bias = at::zeros({}, places.length.options().dtype(at::kFloat));
    if (setting.window > 0) {
        hidden = hidden.logical_or(away.abs() > setting.window);
    }
    if (setting.relative) {
        at::Tensor bucket = upload(setting.relative->bucket, places.length.device(), at::kLong).index_select(0, (away + setting.relative->span()).flatten());
        bias = setting.relative->table.index_select(0, bucket).view({away.size(0), away.size(1), away.size(2), -1}).permute({0, 3, 1, 2});
    }
    return at::masked_fill(bias, hidden.unsqueeze(1), unseen);
}

/* The rows that ask, of x [total, ...]. */
at::Tensor asking(const at::Tensor &x, const Places &places, tandem_queries queries) {
    if (queries == TANDEM_QUERIES_ALL) {
        return x;
    }
    at::Tensor borders = places.borders.to(at::kLong);
    return x.index_select(0, queries == TANDEM_QUERIES_LAST ? borders.slice(0, 1) - 1 : borders.slice(0, 0, -1));
}

/* Over packed rows, where there is such a kernel: bf16 on CUDA. */
bool can_be_packed(const at::Tensor &x, const Attention &setting) {
    return x.is_cuda() && x.scalar_type() == at::kBFloat16 && !setting.relative && x.size(2) % 8 == 0 && x.size(2) <= 256;
}

at::Tensor packed_attention(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, const Places &places, const Attention &setting) {
    bool all = setting.queries == TANDEM_QUERIES_ALL;
    at::Tensor borders = all ? places.borders : at::arange(places.borders.size(0), places.borders.options());
    std::optional<int64_t> window = setting.window > 0 && all ? std::optional<int64_t>(setting.window) : std::nullopt;
    return std::get<0>(at::_flash_attention_forward(query, key, value, borders, places.borders, all ? places.longest : 1, places.longest, probability_of(setting.mask), false, false, std::nullopt,
                                                    window, window));
}

at::Tensor padded_attention(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, const Packed &packed, const Places &places, const Attention &setting) {
    bool all = setting.queries == TANDEM_QUERIES_ALL;
    at::Tensor bias = score_bias(packed, places, setting);
    std::optional<at::Tensor> mask = bias.defined() ? std::optional<at::Tensor>(bias.to(query.scalar_type())) : std::nullopt;
    at::Tensor out = at::scaled_dot_product_attention(all ? padded(query, places) : query.unsqueeze(2), padded(key, places), padded(value, places), mask, probability_of(setting.mask));
    out = out.transpose(1, 2).reshape({-1, query.size(1), query.size(2)});
    return all ? out.index_select(0, places.slot) : out;
}

at::Tensor attention(const at::Tensor &qkv, const at::Tensor &bias, const PackedPtr &packed, const Attention &setting) {
    const Places &places = places_of(*packed, qkv.device());
    int64_t hidden = qkv.size(1) / 3;
    std::vector<at::Tensor> parts = plus(qkv, bias).view({packed->total, 3, setting.heads, hidden / setting.heads}).unbind(1);
    if (setting.rotary.defined()) {
        parts[0] = rotated(parts[0], setting.rotary, places.position);
        parts[1] = rotated(parts[1], setting.rotary, places.position);
    }
    at::Tensor query = asking(parts[0], places, setting.queries);
    if (setting.mask.threshold != 0) {
        begin_mask(qkv.device(), setting.mask);
    }
    bool last_in_window = setting.window > 0 && setting.queries != TANDEM_QUERIES_ALL; /* the kernel counts from a sequence's end */
    at::Tensor out = can_be_packed(query, setting) && !last_in_window ? packed_attention(query, parts[1], parts[2], places, setting)
                                                                      : padded_attention(query, parts[1], parts[2], *packed, places, setting);
    return out.reshape({-1, hidden});
}

/* ---- the rest --------------------------------------------------------------------------------------- */

at::Tensor dropout(const at::Tensor &x, tandem_mask mask) {
    if (mask.threshold == 0) {
        return x;
    }
    begin_mask(x.device(), mask);
    return std::get<0>(at::native_dropout(x, probability_of(mask), true));
}

at::Tensor residual(const at::Tensor &x, const at::Tensor &bias, const at::Tensor &added, tandem_mask mask) {
    at::Tensor out = dropout(plus(x.to(at::kFloat), bias), mask);
    return added.defined() ? added + out : out;
}

at::Tensor residual_norm(const at::Tensor &x, const at::Tensor &bias, const at::Tensor &added, tandem_mask mask, const at::Tensor &weight, const at::Tensor &shift, double eps) {
    return at::layer_norm(residual(x, bias, added, mask), {x.size(1)}, weight, shift, eps);
}

at::Tensor activation(const at::Tensor &x, const at::Tensor &bias, tandem_activation kind, bool gated, tandem_mask mask) {
    at::Tensor in = plus(x, bias);
    if (!gated) {
        return dropout(activate(in, kind), mask);
    }
    std::vector<at::Tensor> halves = in.chunk(2, 1);
    return dropout(activate(halves[0], kind) * halves[1], mask);
}

at::Tensor segment_sum(const at::Tensor &x, const PackedPtr &packed, std::vector<double> scale, bool ramp) {
    const Places &places = places_of(*packed, x.device());
    at::Tensor factor = upload(scale, x.device(), at::kFloat).index_select(0, places.sequence);
    if (ramp) {
        factor = factor * (places.position + 1);
    }
    return at::zeros({packed->count, x.size(1)}, x.options()).index_add(0, places.sequence, x * factor.unsqueeze(1));
}

at::Tensor segment_max(const at::Tensor &x, const PackedPtr &packed) {
    const Places &places = places_of(*packed, x.device());
    at::Tensor rows = at::full({packed->count * places.longest, x.size(1)}, -std::numeric_limits<float>::infinity(), x.options());
    return std::get<0>(at::max(rows.index_copy(0, places.slot, x).view({packed->count, places.longest, x.size(1)}), 1));
}

} // namespace

const Steps by_operations = {embed, product, attention, residual_norm, residual, activation, dropout, segment_sum, segment_max};

} // namespace tandem
