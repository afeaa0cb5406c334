/* nodes.cpp - the encoder's differentiable steps: kernels as autograd nodes. */
#include "model/torch/nodes.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include "model/torch/step.hpp"
#include "tandem/machine.h"

namespace tandem {
namespace {

using torch::autograd::variable_list;

const tandem_kernels &kernels() {
    return *tandem_kernels_best();
}

/* Threads for work on so many floats: waking them costs more than a few pages do. */
int threads_for(int64_t count) {
    return count < 32768 ? 1 : static_cast<int>(tandem_machine_threads());
}

tandem_extent extent_of(int64_t rows, int64_t width) {
    return {static_cast<size_t>(rows), static_cast<size_t>(width), threads_for(rows * width)};
}

tandem_extent extent_of(const at::Tensor &matrix) {
    return extent_of(matrix.size(0), matrix.size(1));
}

at::Tensor floats(at::IntArrayRef shape) {
    return at::empty(shape, at::kFloat);
}

/* Scratch for the per-thread sums of `vectors` rows of the matrix's width. */
at::Tensor scratch(tandem_extent extent, int64_t vectors = 1) {
    return floats({extent.threads, vectors, static_cast<int64_t>(extent.width)});
}

const float *read(const at::Tensor &tensor) {
    return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

float *write(const at::Tensor &tensor) {
    return tensor.mutable_data_ptr<float>();
}

uint32_t *words(const at::Tensor &tensor) {
    return reinterpret_cast<uint32_t *>(tensor.mutable_data_ptr<int32_t>());
}

/* Where a parameter's gradient is added; NULL when there is no parameter. */
float *gradient_of(const at::Tensor &leaf) {
    return leaf.defined() ? write(leaf.mutable_grad()) : nullptr;
}

/* ---- embeddings -------------------------------------------------------------------- */

struct EmbedStep : Step {
    std::vector<Lookup> lookups;

    variable_list backward(const at::Tensor &d_out, bool) override {
        for (const Lookup &lookup : lookups) {
            kernels().rows_scatter(extent_of(d_out), read(d_out), lookup.index.data(), gradient_of(lookup.table));
        }
        return {};
    }
    void forget() override {
        lookups.clear();
    }
};

} // namespace

static at::Tensor embed(std::vector<Lookup> lookups) {
    at::Tensor out = floats({static_cast<int64_t>(lookups[0].index.size()), lookups[0].table.size(1)});
    bool add = false;
    variable_list tables;
    for (const Lookup &lookup : lookups) {
        kernels().rows_gather(extent_of(out), read(lookup.table), lookup.index.data(), add, write(out));
        tables.push_back(lookup.table);
        add = true;
    }
    if (!recorded({tables[0]})) {
        return out;
    }
    for (Lookup &lookup : lookups) {
        std::replace(lookup.index.begin(), lookup.index.end(), static_cast<int32_t>(lookup.frozen), -1);
    }
    auto step = c10::make_intrusive<EmbedStep>();
    step->lookups = std::move(lookups);
    return attach(std::move(out), step, tables);
}

/* ---- matrix product ------------------------------------------------------------------ */

namespace {

/* Memory for what is laid out: that which it has, or new. */
void make_room(at::Tensor &data, int64_t count, at::ScalarType type) {
    if (!data.defined()) {
        data = at::empty({count}, type);
    }
}

/* Of the weight, or with `transposed` of its transpose; in the memory of `data`, if there is some. */
void lay_out(at::Tensor &data, const at::Tensor &weight, tandem_precision precision, bool transposed) {
    int64_t depth = weight.size(transposed ? 1 : 0), width = weight.size(transposed ? 0 : 1);
    if (precision == TANDEM_BF16) {
        make_room(data, static_cast<int64_t>(tandem_bf16_words(static_cast<size_t>(depth), static_cast<size_t>(width))), at::kInt);
        kernels().bf16_lay_out(extent_of(depth, width), read(weight), transposed, words(data));
    } else {
        make_room(data, static_cast<int64_t>(tandem_float_words(static_cast<size_t>(depth), static_cast<size_t>(width))), at::kFloat);
        kernels().float_lay_out(extent_of(depth, width), read(weight), transposed, write(data));
    }
}

void lay_out_int8(const Matrix &weight) {
    int64_t depth = weight.leaf.size(1), width = weight.leaf.size(0);
    if (depth > TANDEM_INT8_DEPTH) {
        throw std::invalid_argument("a product of depth " + std::to_string(depth) + " is too deep for int8, which sums at most " + std::to_string(TANDEM_INT8_DEPTH));
    }
    int64_t column = static_cast<int64_t>(kernels().int8_words(static_cast<size_t>(depth)));
    make_room(weight.laid_out, (width + 15) / 16 * 16 * column, at::kInt);
    weight.scales = floats({2, width});
    kernels().int8_lay_out(extent_of(depth, width), read(weight.leaf), words(weight.laid_out), write(weight.scales), write(weight.scales) + width);
}

/* x [rows, depth] * what is laid out. */
at::Tensor product_of(const at::Tensor &x, const tandem_laid_out &matrix) {
    at::Tensor out = floats({x.size(0), static_cast<int64_t>(matrix.width)});
    tandem_extent extent = row_extent(out.size(0), out.size(1));
    kernels().rows_product(extent, &matrix, read(x), write(out), write(row_workspace(extent, {0, 0, matrix.depth})));
    return out;
}

/* sum += a^T * b. */
void add_gradient(const at::Tensor &sum, tandem_precision precision, const at::Tensor &a, const at::Tensor &b) {
    size_t width = static_cast<size_t>(b.size(1));
    if (precision == TANDEM_BF16) {
        at::Tensor scratch = at::empty({static_cast<int64_t>(tandem_bf16_words(TANDEM_BF16_DEPTH, width))}, at::kInt);
        kernels().bf16_gradient(extent_of(sum), static_cast<size_t>(a.size(0)), read(a), read(b), words(scratch), write(sum));
    } else {
        at::Tensor scratch = floats({static_cast<int64_t>(tandem_float_words(TANDEM_FLOAT_DEPTH, width))});
        kernels().float_gradient(extent_of(sum), static_cast<size_t>(a.size(0)), read(a), read(b), write(scratch), write(sum));
    }
}

struct ProductStep : Step {
    at::Tensor x, weight;
    tandem_precision precision = TANDEM_FP32;

    variable_list backward(const at::Tensor &d_out, bool needs_d_x) override {
        add_gradient(weight.mutable_grad(), precision, d_out, x);
        if (!needs_d_x) {
            return {at::Tensor()};
        }
        at::Tensor laid_out; /* of the weight itself: for this product alone, since in the next step it is another one */
        lay_out(laid_out, weight, precision, false);
        return {product_of(d_out, {precision, static_cast<size_t>(weight.size(0)), static_cast<size_t>(weight.size(1)), laid_out.const_data_ptr(), nullptr, nullptr})};
    }
    void forget() override {
        x.reset();
        weight.reset();
    }
};

} // namespace

tandem_laid_out laid_out(const Matrix &weight) {
    size_t depth = static_cast<size_t>(weight.leaf.size(1)), width = static_cast<size_t>(weight.leaf.size(0));
    std::lock_guard<std::mutex> guard(*weight.lock);
    if (weight.stale) {
        if (weight.precision == TANDEM_INT8) {
            lay_out_int8(weight);
        } else {
            lay_out(weight.laid_out, weight.leaf, weight.precision, true);
        }
        weight.stale = false;
    }
    const float *scales = weight.precision == TANDEM_INT8 ? read(weight.scales) : nullptr;
    return {weight.precision, depth, width, weight.laid_out.const_data_ptr(), scales, scales == nullptr ? nullptr : scales + width};
}

tandem_extent row_extent(int64_t rows, int64_t width) {
    int64_t threads = static_cast<int64_t>(tandem_machine_threads());
    if (rows > TANDEM_FEW_ROWS) {
        threads = std::min(threads, (rows + 7) / 8); /* one for each tile of registers at most */
    }
    return {static_cast<size_t>(rows), static_cast<size_t>(width), static_cast<int>(threads)};
}

at::Tensor row_workspace(tandem_extent extent, tandem_row_scratch size) {
    return floats({extent.threads, static_cast<int64_t>(tandem_row_scratch_floats(size))});
}

static at::Tensor product(const at::Tensor &x, const Matrix &weight) {
    bool record = recorded({x, weight.leaf});
    if (record && weight.precision == TANDEM_INT8) {
        throw std::invalid_argument("int8 is for reading texts: no gradients are recorded in it");
    }
    at::Tensor out = product_of(x, laid_out(weight));
    if (!record) {
        return out;
    }
    auto step = c10::make_intrusive<ProductStep>();
    step->x = x.detach();
    step->weight = weight.leaf;
    step->precision = weight.precision;
    return attach(std::move(out), step, {x, weight.leaf});
}

/* ---- running again ----------------------------------------------------------------------- */

namespace {

struct CheckpointStep : Step {
    at::Tensor x;
    std::function<at::Tensor(const at::Tensor &)> run;

    variable_list backward(const at::Tensor &d_out, bool needs_d_x) override {
        at::AutoGradMode record(true);
        at::Tensor again = x.detach().set_requires_grad(needs_d_x);
        run(again).backward(d_out);
        return {again.grad()};
    }
    void forget() override {
        x.reset();
        run = nullptr;
    }
};

} // namespace

at::Tensor checkpoint(const at::Tensor &x, const at::Tensor &parameter, std::function<at::Tensor(const at::Tensor &)> run) {
    if (!recorded({x, parameter})) {
        return run(x);
    }
    auto step = c10::make_intrusive<CheckpointStep>();
    at::Tensor out;
    {
        at::NoGradGuard no_gradients;
        out = run(x);
    }
    step->x = x.detach();
    step->run = std::move(run);
    return attach(std::move(out), step, {x, parameter});
}

/* ---- attention -------------------------------------------------------------------------- */

namespace {

/* Runs `call` with the kernels' description of an attention and memory for it. */
template <class Call>
void with_attention(const Packed &packed, const Attention &attention, int64_t hidden, Call &&call) {
    tandem_attention description = {
        static_cast<size_t>(packed.count),
        static_cast<size_t>(attention.heads),
        static_cast<size_t>(hidden / attention.heads),
        packed.offsets.data(),
        attention.queries,
        static_cast<size_t>(attention.window),
        read(attention.rotary),
        attention.relative ? read(attention.relative->rows) : nullptr,
        attention.relative ? static_cast<size_t>(attention.relative->span()) : 0,
        attention.mask,
        attention.bf16,
        threads_for(packed.total * hidden),
        nullptr,
    };
    at::Tensor workspace = floats({static_cast<int64_t>(tandem_attention_workspace(&description))});
    description.workspace = write(workspace);
    call(&description);
}

/* Adds the gradients of the offsets into those of their buckets, in double. */
void add_to_buckets(const Relative &relative, const at::Tensor &d_rows) {
    int64_t heads = d_rows.size(0), width = d_rows.size(1);
    const float *from = read(d_rows);
    float *to = gradient_of(relative.table);
    std::vector<double> sum(static_cast<size_t>(relative.table.numel()), 0);
    for (int64_t head = 0; head < heads; ++head) {
        for (int64_t i = 0; i < width; ++i) {
            sum[static_cast<size_t>(relative.bucket[static_cast<size_t>(i)] * heads + head)] += static_cast<double>(from[head * width + i]);
        }
    }
    for (size_t i = 0; i < sum.size(); ++i) {
        to[i] += static_cast<float>(sum[i]);
    }
}

struct AttentionStep : Step {
    at::Tensor qkv, bias, out, lse;
    PackedPtr packed;
    Attention attention;

    variable_list backward(const at::Tensor &d_out, bool) override {
        at::Tensor d_qkv = at::empty_like(qkv), d_rows = attention.relative ? at::empty_like(attention.relative->rows) : at::Tensor();
        with_attention(*packed, attention, d_out.size(1), [&](const tandem_attention *description) {
            kernels().attention_backward(description, read(qkv), read(bias), read(out), read(lse), read(d_out), write(d_qkv), d_rows.defined() ? write(d_rows) : nullptr);
        });
        if (bias.defined()) {
            tandem_extent extent = extent_of(d_qkv);
            kernels().column_sum(extent, read(d_qkv), write(scratch(extent)), gradient_of(bias));
        }
        if (attention.relative && attention.relative->table.requires_grad()) {
            add_to_buckets(*attention.relative, d_rows);
        }
        return {d_qkv};
    }
    void forget() override {
        for (at::Tensor *tensor : {&qkv, &bias, &out, &lse}) {
            tensor->reset();
        }
        attention = {};
    }
};

} // namespace

static at::Tensor attention(const at::Tensor &qkv, const at::Tensor &bias, const PackedPtr &packed, const Attention &setting) {
    int64_t hidden = qkv.size(1) / 3;
    at::Tensor table = setting.relative ? setting.relative->table : at::Tensor();
    bool record = recorded({qkv, bias, table});
    int64_t rows = setting.queries == TANDEM_QUERIES_ALL ? packed->total : packed->count;
    at::Tensor out = floats({rows, hidden}), lse = record ? floats({setting.heads, rows}) : at::Tensor();
    with_attention(*packed, setting, hidden, [&](const tandem_attention *description) {
        kernels().attention_forward(description, read(qkv), read(bias), write(out), record ? write(lse) : nullptr);
    });
    if (!record) {
        return out;
    }
    auto step = c10::make_intrusive<AttentionStep>();
    step->qkv = qkv.detach();
    step->bias = bias;
    step->out = out.detach();
    step->lse = lse;
    step->packed = packed;
    step->attention = setting;
    return attach(std::move(out), step, {qkv, bias, table});
}

/* ---- residual and LayerNorm ----------------------------------------------------------------- */

namespace {

struct NormStep : Step {
    at::Tensor sum, stats, bias, weight, shift;
    tandem_mask mask = {};
    bool has_residual = false;

    variable_list backward(const at::Tensor &d_out, bool) override {
        tandem_extent extent = extent_of(d_out);
        at::Tensor d_sum = at::empty_like(sum), d_x = mask.threshold == 0 ? d_sum : at::empty_like(sum);
        kernels().residual_norm_backward(extent, read(d_out), read(sum), read(stats), read(weight), mask, write(scratch(extent, 3)), write(d_sum), write(d_x), gradient_of(weight),
                                         gradient_of(shift), gradient_of(bias));
        return has_residual ? variable_list{d_x, d_sum} : variable_list{d_x};
    }
    void forget() override {
        for (at::Tensor *tensor : {&sum, &stats, &bias, &weight, &shift}) {
            tensor->reset();
        }
    }
};

} // namespace

static at::Tensor residual_norm(const at::Tensor &x, const at::Tensor &bias, const at::Tensor &residual, tandem_mask mask, const at::Tensor &weight, const at::Tensor &shift, double eps) {
    at::Tensor sum = x.detach(), out = floats(x.sizes()), stats = floats({x.size(0), 2});
    kernels().residual_norm_forward(extent_of(x), read(x), read(bias), read(residual), mask, read(weight), read(shift), static_cast<float>(eps), write(sum), write(out), write(stats));
    if (!recorded({x, residual, weight})) {
        return out;
    }
    auto step = c10::make_intrusive<NormStep>();
    step->sum = sum;
    step->stats = stats;
    step->bias = bias;
    step->weight = weight;
    step->shift = shift;
    step->mask = mask;
    step->has_residual = residual.defined();
    return attach(std::move(out), step, {x, residual, bias, weight, shift});
}

namespace {

struct ResidualStep : Step {
    at::Tensor bias;
    tandem_mask mask = {};
    bool has_residual = false;

    variable_list backward(const at::Tensor &d_out, bool) override {
        tandem_extent extent = extent_of(d_out);
        at::Tensor d_x = d_out;
        if (mask.threshold != 0) {
            d_x = at::empty_like(d_out);
            kernels().dropout(extent, read(d_out), mask, write(d_x));
        }
        if (bias.defined()) {
            kernels().column_sum(extent, read(d_x), write(scratch(extent)), gradient_of(bias));
        }
        return has_residual ? variable_list{d_x, d_out} : variable_list{d_x};
    }
    void forget() override {
        bias.reset();
    }
};

} // namespace

static at::Tensor residual(const at::Tensor &x, const at::Tensor &bias, const at::Tensor &added, tandem_mask mask) {
    at::Tensor out = floats(x.sizes());
    kernels().residual_norm_forward(extent_of(x), read(x), read(bias), read(added), mask, nullptr, nullptr, 0, write(out), nullptr, nullptr);
    if (!recorded({x, bias, added})) {
        return out;
    }
    auto step = c10::make_intrusive<ResidualStep>();
    step->bias = bias;
    step->mask = mask;
    step->has_residual = added.defined();
    return attach(std::move(out), step, {x, added, bias});
}

/* ---- activation and dropout -------------------------------------------------------------------- */

namespace {

struct ActivationStep : Step {
    at::Tensor x, bias;
    tandem_activation kind = TANDEM_ACTIVATION_GELU;
    bool gated = false;
    tandem_mask mask = {};

    variable_list backward(const at::Tensor &d_out, bool) override {
        at::Tensor d_x = at::empty_like(x);
        kernels().activation_backward(extent_of(d_out), kind, gated, read(d_out), read(x), read(bias), mask, write(scratch(extent_of(x))), write(d_x), gradient_of(bias));
        return {d_x};
    }
    void forget() override {
        x.reset();
        bias.reset();
    }
};

struct DropoutStep : Step {
    tandem_mask mask = {};

    variable_list backward(const at::Tensor &d_out, bool) override {
        at::Tensor d_x = at::empty_like(d_out);
        kernels().dropout(extent_of(d_out), read(d_out), mask, write(d_x));
        return {d_x};
    }
    void forget() override {
    }
};

} // namespace

static at::Tensor activation(const at::Tensor &x, const at::Tensor &bias, tandem_activation kind, bool gated, tandem_mask mask) {
    at::Tensor out = floats({x.size(0), gated ? x.size(1) / 2 : x.size(1)});
    kernels().activation_forward(extent_of(out), kind, gated, read(x), read(bias), mask, write(out));
    if (!recorded({x, bias})) {
        return out;
    }
    auto step = c10::make_intrusive<ActivationStep>();
    step->x = x.detach();
    step->bias = bias;
    step->kind = kind;
    step->gated = gated;
    step->mask = mask;
    return attach(std::move(out), step, {x, bias});
}

static at::Tensor dropout(const at::Tensor &x, tandem_mask mask) {
    if (mask.threshold == 0) {
        return x;
    }
    at::Tensor out = floats(x.sizes());
    kernels().dropout(extent_of(x), read(x), mask, write(out));
    if (!recorded({x})) {
        return out;
    }
    auto step = c10::make_intrusive<DropoutStep>();
    step->mask = mask;
    return attach(std::move(out), step, {x});
}

/* ---- pooling ------------------------------------------------------------------------------------- */

namespace {

/* One row a sequence; the work is that on their tokens. */
tandem_extent extent_of_segments(const Packed &packed, int64_t width) {
    return {static_cast<size_t>(packed.count), static_cast<size_t>(width), threads_for(packed.total * width)};
}

struct SegmentStep : Step {
    PackedPtr packed;
    std::vector<double> scale;
    bool ramp = false;

    variable_list backward(const at::Tensor &d_out, bool) override {
        at::Tensor d_x = floats({packed->total, d_out.size(1)});
        kernels().segment_spread(extent_of_segments(*packed, d_out.size(1)), read(d_out), packed->offsets.data(), scale.data(), ramp, write(d_x));
        return {d_x};
    }
    void forget() override {
        packed.reset();
    }
};

} // namespace

static at::Tensor segment_sum(const at::Tensor &x, const PackedPtr &packed, std::vector<double> scale, bool ramp) {
    at::Tensor out = floats({packed->count, x.size(1)});
    kernels().segment_sum(extent_of_segments(*packed, x.size(1)), read(x), packed->offsets.data(), scale.data(), ramp, write(out));
    if (!recorded({x})) {
        return out;
    }
    auto step = c10::make_intrusive<SegmentStep>();
    step->packed = packed;
    step->scale = std::move(scale);
    step->ramp = ramp;
    return attach(std::move(out), step, {x});
}

static at::Tensor segment_max(const at::Tensor &x, const PackedPtr &packed) {
    int64_t width = x.size(1);
    at::Tensor rows = at::empty({packed->count, width}, at::kLong);
    int64_t *row = rows.mutable_data_ptr<int64_t>();
    const float *values = read(x);
    for (int64_t s = 0; s < packed->count; ++s) {
        std::fill(row + s * width, row + (s + 1) * width, packed->start(s));
        for (int64_t i = packed->start(s) + 1; i < packed->start(s + 1); ++i) {
            for (int64_t c = 0; c < width; ++c) {
                int64_t &best = row[s * width + c];
                best = values[i * width + c] > values[best * width + c] ? i : best;
            }
        }
    }
    return at::gather(x, 0, rows);
}

const Steps by_kernels = {embed, product, attention, residual_norm, residual, activation, dropout, segment_sum, segment_max};

} // namespace tandem
