/* internal.hpp - what the shim's sources share: handles, and the wall that no
 * exception passes. */
#ifndef TANDEM_MODEL_TORCH_INTERNAL_HPP
#define TANDEM_MODEL_TORCH_INTERNAL_HPP

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include "model/torch/shim.h"

/* A handle. `scope` is 1 + the index of the scope that owns it, 0: the caller does. */
struct tandem_tensor {
    at::Tensor tensor;
    size_t scope = 0;
    size_t slot = 0;
};

namespace tandem {

/* What tandem_grad_enable set on this thread. */
bool grad_enabled();

/* Ends the entry that runs, with a message. */
[[noreturn]] inline void refuse(const std::string &message) {
    throw std::invalid_argument(message);
}

/* Makes a handle, of the innermost scope if there is one. */
void give(tandem_tensor **out, at::Tensor tensor);

/* The tensor behind a handle; throws when the handle is NULL. */
inline const at::Tensor &ref(const tandem_tensor *handle) {
    if (handle == nullptr) {
        throw std::invalid_argument("a tensor handle is NULL");
    }
    return handle->tensor;
}

/* As tandem_op_normalize. */
at::Tensor unit_rows(const at::Tensor &x);

/* Every entry of the shim runs its body through this: gradients are recorded as the
 * thread asked, and whatever is thrown becomes a message that starts with the entry's
 * name. */
template <class Body>
int guarded(const char *entry, Body &&body) noexcept {
    try {
        at::AutoGradMode mode(grad_enabled());
        return body();
    } catch (const c10::Error &error) {
        return tandem_error("%s: %s", entry, error.what_without_backtrace());
    } catch (const std::exception &error) {
        return tandem_error("%s: %s", entry, error.what());
    } catch (...) {
        return tandem_error("%s: unknown C++ exception", entry);
    }
}

} // namespace tandem

#endif
