/* nodes.hpp - the encoder's differentiable steps over packed activations.
 *
 * There are two sets of them, `Steps` below. by_kernels (nodes.cpp): each step is one
 * autograd node around CPU kernels: its forward computes outside of autograd and,
 * when gradients are recorded, leaves a node that knows the backward pass. Gradients of
 * parameters are added straight into the gradient arena (the leaves' grad), so no step
 * makes a temporary of a weight's size. by_operations (operations.cpp): libtorch's own
 * operations, for any device. Undefined tensors stand for parameters that a model lacks.
 */
#ifndef TANDEM_MODEL_TORCH_NODES_HPP
#define TANDEM_MODEL_TORCH_NODES_HPP

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/kernels/kernels.h"

namespace tandem {

struct Places;

/* A checked copy of a batch's shape: the caller's memory may be gone when backward
 * comes. */
struct Packed {
    int64_t count = 0;
    int64_t total = 0;
    std::vector<int32_t> offsets; /* [count + 1] */
    mutable std::shared_ptr<const Places> places; /* of by_operations */

    int64_t start(int64_t sequence) const {
        return offsets[static_cast<size_t>(sequence)];
    }
    int64_t length(int64_t sequence) const {
        return start(sequence + 1) - start(sequence);
    }
};
using PackedPtr = std::shared_ptr<const Packed>;

/* An embedding table, and the row of it that each token takes. */
struct Lookup {
    at::Tensor table;           /* [rows, hidden] */
    std::vector<int32_t> index; /* [total], inside the table */
    int64_t frozen;             /* a row that gets no gradient, or -1 */
};

/* A weight of the layers, [out, in], and its transpose as the kernels read it, laid out when it is first needed. */
struct Matrix {
    at::Tensor leaf;
    tandem_precision precision = TANDEM_FP32;
    std::unique_ptr<std::mutex> lock = std::make_unique<std::mutex>(); /* threads may run one model */
    mutable at::Tensor laid_out;
    mutable bool stale = true; /* it is not of the weight as it is now: its memory is for the next one */
    mutable at::Tensor scales; /* int8: [2, out], the columns' scales and sums */

    void set_precision(tandem_precision to) {
        precision = to;
        laid_out.reset();
        stale = true;
    }
};

/* The transpose of the weight as it is now; the memory is the weight's own. */
tandem_laid_out laid_out(const Matrix &weight);

/* Rows and the threads that share them, where the work on each is that of a layer; and memory for these threads. */
tandem_extent row_extent(int64_t rows, int64_t width);
at::Tensor row_workspace(tandem_extent extent, tandem_row_scratch size);

/* run(x), of which x alone is kept: backward runs it again. `parameter` is one that it reads. */
at::Tensor checkpoint(const at::Tensor &x, const at::Tensor &parameter, std::function<at::Tensor(const at::Tensor &)> run);

/* A learned bias of the attention scores by the distance of query and key, shared by
 * the layers of a forward. */
struct Relative {
    at::Tensor table;            /* [buckets, heads]: the parameter */
    std::vector<int32_t> bucket; /* [2 * span]: of the offset i - j at span + i - j */
    at::Tensor rows;             /* [heads, 2 * span]: the table by offset, as the kernel reads it */

    int64_t span() const {
        return rows.size(1) / 2;
    }
};

/* What attention does, besides its inputs. */
struct Attention {
    int64_t heads = 1;
    int64_t window = 0; /* 0: none */
    at::Tensor rotary;  /* rotary_table() of the longest sequence, or undefined */
    std::shared_ptr<const Relative> relative;
    tandem_mask mask = {};
    tandem_queries queries = TANDEM_QUERIES_ALL;
    bool bf16 = false; /* when nothing is recorded */
};

struct Steps {
    /* Sum of the looked-up rows of all tables: [total, hidden]. */
    at::Tensor (*embed)(std::vector<Lookup> lookups);

    /* x [total, in] * weight [out, in]^T. The bias is left to the step that follows,
     * which reads the product anyway. In int8 no gradients are recorded. */
    at::Tensor (*product)(const at::Tensor &x, const Matrix &weight);

    /* Softmax attention within each sequence: qkv [total, 3 * hidden] -> [total or, of one query a sequence, count, hidden]. */
    at::Tensor (*attention)(const at::Tensor &qkv, const at::Tensor &bias, const PackedPtr &packed, const Attention &setting);

    /* LayerNorm(residual + dropout(x + bias)); may take the memory of x for itself, unless there
     * is neither bias, residual nor dropout. */
    at::Tensor (*residual_norm)(const at::Tensor &x, const at::Tensor &bias, const at::Tensor &residual, tandem_mask mask, const at::Tensor &weight, const at::Tensor &shift, double eps);

    /* added + dropout(x + bias). */
    at::Tensor (*residual)(const at::Tensor &x, const at::Tensor &bias, const at::Tensor &added, tandem_mask mask);

    /* dropout(activation(x + bias)); gated: dropout(activation(a) * b), a the left and b the
     * right half of x + bias. */
    at::Tensor (*activation)(const at::Tensor &x, const at::Tensor &bias, tandem_activation kind, bool gated, tandem_mask mask);

    at::Tensor (*dropout)(const at::Tensor &x, tandem_mask mask);

    /* out[s] = scale[s] * sum of the sequence's rows, the i-th counted i times if `ramp`. */
    at::Tensor (*segment_sum)(const at::Tensor &x, const PackedPtr &packed, std::vector<double> scale, bool ramp);

    /* The greatest value of each column of a sequence's rows; the gradient goes to one row that has it. */
    at::Tensor (*segment_max)(const at::Tensor &x, const PackedPtr &packed);
};

/* Without rounding it to anything narrower than x is. */
at::Tensor activate(const at::Tensor &x, tandem_activation activation);

extern const Steps by_kernels, by_operations;

} // namespace tandem

#endif
