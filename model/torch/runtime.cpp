/* runtime.cpp - libtorch's start, handles and scopes, backward, plain matrices. */
#include "model/torch/internal.hpp"

#include <malloc.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include "tandem/machine.h"
#include "tandem/openmp.h"

/* Of MKL, where libtorch has it: threads of the calling thread's products, 0: as the process has; returns
 * what held before. */
extern "C" int MKL_Set_Num_Threads_Local(int threads) __attribute__((weak));

namespace {

/* Owns its handles: freed with the scope, or with a thread that forgot to end it. */
using Scope = std::vector<std::unique_ptr<tandem_tensor>>;

thread_local std::vector<Scope> scopes;
thread_local bool grad_on = false;

/* Activations of a step are freed and needed again in the next. By default malloc
 * maps each of these large blocks afresh and the kernel clears every page, which
 * halves the speed of the matrix products that write them. */
void keep_freed_memory() {
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
    mallopt(M_TOP_PAD, 64 << 20);
    mallopt(M_ARENA_MAX, 1);
}

/* Removes the handle from its scope; the caller owns what is returned. */
tandem_tensor *release(tandem_tensor *handle) {
    if (handle->scope != 0) {
        (void)scopes[handle->scope - 1][handle->slot].release();
        handle->scope = 0;
    }
    return handle;
}

} // namespace

namespace tandem {

bool grad_enabled() {
    return grad_on;
}

void give(tandem_tensor **out, at::Tensor tensor) {
    auto handle = std::make_unique<tandem_tensor>();
    handle->tensor = std::move(tensor);
    if (scopes.empty()) {
        *out = handle.release();
        return;
    }
    Scope &scope = scopes.back();
    handle->scope = scopes.size();
    handle->slot = scope.size();
    scope.push_back(std::move(handle));
    *out = scope.back().get();
}

} // namespace tandem

using tandem::give;
using tandem::guarded;
using tandem::ref;

int tandem_torch_own(void) {
    return guarded(__func__, [] {
        keep_freed_memory();
        at::set_num_threads(static_cast<int>(tandem_machine_threads()));
        at::set_num_interop_threads(1);
        at::globalContext().setDeterministicAlgorithms(true, false);
        /* Uninitialized memory is never read here; filling it would cost a pass. */
        at::globalContext().setDeterministicFillUninitializedMemory(false);
        return TANDEM_OK;
    });
}

tandem_team tandem_torch_set_team(tandem_team team) {
    (void)guarded(__func__, [] {
        at::get_num_threads(); /* a thread's first question sets its OpenMP threads */
        return TANDEM_OK;
    });
    tandem_team before = {omp_get_max_threads(), 0};
    omp_set_num_threads(team.openmp);
    if (MKL_Set_Num_Threads_Local != nullptr) {
        before.blas = MKL_Set_Num_Threads_Local(team.blas);
    }
    return before;
}

const char *tandem_torch_version(void) {
    return TORCH_VERSION;
}

size_t tandem_torch_gpus(void) {
    return at::getNumGPUs();
}

int tandem_scope_begin(void) {
    return guarded(__func__, [&] {
        scopes.emplace_back();
        return TANDEM_OK;
    });
}

void tandem_scope_end(void) {
    if (!scopes.empty()) {
        scopes.pop_back();
    }
}

void tandem_tensor_free(tandem_tensor *tensor) {
    if (tensor != nullptr) {
        delete release(tensor);
    }
}

void tandem_scope_keep(tandem_tensor *tensor) {
    if (tensor != nullptr) {
        (void)release(tensor);
    }
}

int tandem_grad_enable(int on) {
    int previous = grad_on ? 1 : 0;
    grad_on = on != 0;
    return previous;
}

int tandem_backward(const tandem_tensor *loss) {
    return guarded(__func__, [&] {
        ref(loss).backward();
        return TANDEM_OK;
    });
}

int tandem_backward_with(const tandem_tensor *output, const tandem_tensor *gradient) {
    return guarded(__func__, [&] {
        ref(output).backward(ref(gradient));
        return TANDEM_OK;
    });
}

int tandem_sgemm_nt(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc) {
    return guarded(__func__, [&] {
        if (m < 0 || n < 0 || k < 0 || lda < k || ldb < k || ldc < n) {
            throw std::invalid_argument("a size is negative or a leading dimension below its row");
        }
        at::NoGradGuard no_grad;
        /* from_blob takes no const pointer; a and b are only read. */
        at::Tensor left = at::from_blob(const_cast<float *>(a), {m, k}, {lda, 1}, at::kFloat);
        at::Tensor right = at::from_blob(const_cast<float *>(b), {n, k}, {ldb, 1}, at::kFloat);
        at::Tensor product = at::from_blob(c, {m, n}, {ldc, 1}, at::kFloat);
        at::mm_out(product, left, right.t());
        return TANDEM_OK;
    });
}
