/* ops.cpp - tensors in and out of C, and the operations that losses are made of. */
#include "model/torch/internal.hpp"

#include <cstring>
#include <tuple>
#include <vector>

#include <ATen/Functions.h>

using tandem::give;
using tandem::guarded;
using tandem::ref;

namespace {

at::IntArrayRef checked_shape(const int64_t *shape, int dims) {
    if (dims < 0 || dims > 4) {
        throw std::invalid_argument("a tensor has 0 to 4 dimensions, not " + std::to_string(dims));
    }
    for (int i = 0; i < dims; ++i) {
        if (shape[i] < 0) {
            throw std::invalid_argument("dimension " + std::to_string(i) + " has the size " + std::to_string(shape[i]));
        }
    }
    return at::IntArrayRef(shape, static_cast<size_t>(dims));
}

/* A copy of the caller's memory, which is only read. */
template <class T>
at::Tensor copy_in(const T *data, const int64_t *shape, int dims, at::ScalarType type) {
    at::Tensor copy = at::empty(checked_shape(shape, dims), type);
    if (copy.numel() > 0) {
        if (data == nullptr) {
            throw std::invalid_argument("no data given");
        }
        std::memcpy(copy.mutable_data_ptr(), data, copy.nbytes());
    }
    return copy;
}

/* Runs one operation and hands out its result. */
template <class Operation>
int apply(const char *entry, tandem_tensor **out, Operation &&operation) {
    return guarded(entry, [&] {
        give(out, operation());
        return TANDEM_OK;
    });
}

} // namespace

at::Tensor tandem::unit_rows(const at::Tensor &x) {
    return at::div(x, at::linalg_vector_norm(x, 2, -1, true).clamp_min(1e-12));
}

/* ---- tensors ------------------------------------------------------------------ */

int tandem_tensor_from(tandem_tensor **out, const float *data, const int64_t *shape, int dims) {
    return apply(__func__, out, [&] { return copy_in(data, shape, dims, at::kFloat); });
}

int tandem_tensor_from_int64(tandem_tensor **out, const int64_t *data, const int64_t *shape, int dims) {
    return apply(__func__, out, [&] { return copy_in(data, shape, dims, at::kLong); });
}

int tandem_tensor_from_bool(tandem_tensor **out, const bool *data, const int64_t *shape, int dims) {
    return apply(__func__, out, [&] { return copy_in(data, shape, dims, at::kBool); });
}

int tandem_tensor_dims(const tandem_tensor *tensor) {
    return tensor == nullptr ? 0 : static_cast<int>(tensor->tensor.dim());
}

int64_t tandem_tensor_size(const tandem_tensor *tensor, int dim) {
    int dims = tandem_tensor_dims(tensor);
    return dim < 0 || dim >= dims ? 0 : tensor->tensor.sizes()[static_cast<size_t>(dim)];
}

int tandem_tensor_read(const tandem_tensor *tensor, float *out) {
    return guarded(__func__, [&] {
        at::Tensor values = ref(tensor).detach().to(at::kFloat).contiguous();
        if (values.numel() > 0) {
            std::memcpy(out, values.const_data_ptr<float>(), values.nbytes());
        }
        return TANDEM_OK;
    });
}

int tandem_tensor_item(const tandem_tensor *tensor, double *out) {
    return guarded(__func__, [&] {
        *out = ref(tensor).item().toDouble();
        return TANDEM_OK;
    });
}

/* ---- arithmetic ----------------------------------------------------------------- */

int tandem_op_matmul(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b, bool transpose_b) {
    return apply(__func__, out, [&] {
        return at::matmul(ref(a), transpose_b ? ref(b).transpose(-2, -1) : ref(b));
    });
}

int tandem_op_add(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b) {
    return apply(__func__, out, [&] { return at::add(ref(a), ref(b)); });
}

int tandem_op_sub(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b) {
    return apply(__func__, out, [&] { return at::sub(ref(a), ref(b)); });
}

int tandem_op_mul(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b) {
    return apply(__func__, out, [&] { return at::mul(ref(a), ref(b)); });
}

int tandem_op_div(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b) {
    return apply(__func__, out, [&] { return at::div(ref(a), ref(b)); });
}

int tandem_op_scale(tandem_tensor **out, const tandem_tensor *a, double factor) {
    return apply(__func__, out, [&] { return at::mul(ref(a), factor); });
}

int tandem_op_shift(tandem_tensor **out, const tandem_tensor *a, double addend) {
    return apply(__func__, out, [&] { return at::add(ref(a), addend); });
}

int tandem_op_exp(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return at::exp(ref(a)); });
}

int tandem_op_log(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return at::log(ref(a)); });
}

int tandem_op_sigmoid(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return at::sigmoid(ref(a)); });
}

int tandem_op_softplus(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return at::softplus(ref(a)); });
}

int tandem_op_relu(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return at::relu(ref(a)); });
}

int tandem_op_abs(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return at::abs(ref(a)); });
}

/* ---- reductions -------------------------------------------------------------------- */

int tandem_op_softmax(tandem_tensor **out, const tandem_tensor *a, int dim) {
    return apply(__func__, out, [&] { return at::softmax(ref(a), dim); });
}

int tandem_op_log_softmax(tandem_tensor **out, const tandem_tensor *a, int dim) {
    return apply(__func__, out, [&] { return at::log_softmax(ref(a), dim); });
}

int tandem_op_logsumexp(tandem_tensor **out, const tandem_tensor *a, int dim) {
    return apply(__func__, out, [&] { return at::logsumexp(ref(a), dim); });
}

int tandem_op_sum(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return at::sum(ref(a)); });
}

int tandem_op_mean(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return at::mean(ref(a)); });
}

int tandem_op_sum_dim(tandem_tensor **out, const tandem_tensor *a, int dim) {
    return apply(__func__, out, [&] { return at::sum(ref(a), dim); });
}

int tandem_op_norm(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return at::linalg_vector_norm(ref(a), 2, -1); });
}

int tandem_op_logcumsumexp(tandem_tensor **out, const tandem_tensor *a, int dim) {
    return apply(__func__, out, [&] { return at::logcumsumexp(ref(a), dim); });
}

int tandem_op_distances(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b) {
    return apply(__func__, out, [&] {
        constexpr int64_t from_differences = 2; /* not |a|^2 - 2ab + |b|^2 */
        return at::cdist(ref(a), ref(b), 2.0, from_differences);
    });
}

int tandem_op_greater(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *b) {
    return apply(__func__, out, [&] { return at::gt(ref(a), ref(b)); });
}

int tandem_op_normalize(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return tandem::unit_rows(ref(a)); });
}

int tandem_op_cross_entropy(tandem_tensor **out, const tandem_tensor *logits, const tandem_tensor *labels) {
    return apply(__func__, out, [&] { return at::cross_entropy_loss(ref(logits), ref(labels)); });
}

/* ---- shape --------------------------------------------------------------------------- */

int tandem_op_cat(tandem_tensor **out, const tandem_tensor *const *parts, size_t count, int dim) {
    return apply(__func__, out, [&] {
        std::vector<at::Tensor> tensors;
        tensors.reserve(count);
        for (size_t i = 0; i < count; ++i) {
            tensors.push_back(ref(parts[i]));
        }
        return at::cat(tensors, dim);
    });
}

int tandem_op_narrow(tandem_tensor **out, const tandem_tensor *a, int dim, int64_t start, int64_t length) {
    return apply(__func__, out, [&] { return at::narrow(ref(a), dim, start, length); });
}

int tandem_op_index_select(tandem_tensor **out, const tandem_tensor *a, int dim, const int64_t *index, size_t count) {
    return apply(__func__, out, [&] {
        int64_t shape[1] = {static_cast<int64_t>(count)};
        return at::index_select(ref(a), dim, copy_in(index, shape, 1, at::kLong));
    });
}

int tandem_op_reshape(tandem_tensor **out, const tandem_tensor *a, const int64_t *shape, int dims) {
    return apply(__func__, out, [&] { return at::reshape(ref(a), at::IntArrayRef(shape, static_cast<size_t>(dims))); });
}

int tandem_op_transpose(tandem_tensor **out, const tandem_tensor *a, int dim0, int dim1) {
    return apply(__func__, out, [&] { return at::transpose(ref(a), dim0, dim1); });
}

int tandem_op_masked_fill(tandem_tensor **out, const tandem_tensor *a, const tandem_tensor *mask, double value) {
    return apply(__func__, out, [&] { return at::masked_fill(ref(a), ref(mask), value); });
}

/* ---- gradients ------------------------------------------------------------------------- */

int tandem_op_detach(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return ref(a).detach(); });
}

int tandem_op_leaf(tandem_tensor **out, const tandem_tensor *a) {
    return apply(__func__, out, [&] { return ref(a).detach().clone().set_requires_grad(true); });
}

int tandem_tensor_grad(tandem_tensor **out, const tandem_tensor *leaf) {
    return apply(__func__, out, [&] {
        const at::Tensor &grad = ref(leaf).grad();
        return grad.defined() ? grad.detach().clone() : at::zeros_like(ref(leaf));
    });
}
