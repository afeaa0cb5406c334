/* host.cpp - the functions that the module has of its host. */
#include "model/torch/host.h"

#include <cstdarg>
#include <cstdio>

#include "model/torch/internal.hpp"

static tandem_torch_host host;

extern "C" __attribute__((visibility("default"))) void tandem_torch_start(const tandem_torch_host *of) {
    host = *of;
}

int tandem_error(const char *format, ...) {
    char message[4096]; /* as long as base/error.c keeps it */
    va_list arguments;
    va_start(arguments, format);
    int length = std::vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return host.error("%s", length < 0 ? "" : message);
}

size_t tandem_machine_threads(void) {
    return host.machine_threads();
}

bool tandem_machine_has_bf16(void) {
    return host.machine_has_bf16();
}

const tandem_kernels *tandem_kernels_best(void) {
    return host.kernels_best();
}

tandem_mask tandem_mask_make(uint64_t seed, uint64_t step, uint64_t site, double probability) {
    return host.mask_make(seed, step, site, probability);
}

size_t tandem_attention_workspace(const tandem_attention *attention) {
    return host.attention_workspace(attention);
}
