/* device.cpp - encoders that compute elsewhere than by the kernels: their copies of the
 * arenas, and AdamW over them. */
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

#include <ATen/Context.h>
#include <ATen/Functions.h>

#include "model/torch/encoder.hpp"

using tandem::guarded;
using tandem::refuse;

namespace {

at::Device device_of(tandem_device device) {
    if (device != TANDEM_DEVICE_CUDA) {
        return at::kCPU;
    }
    if (!at::globalContext().hasCUDART()) {
        refuse("the device cuda needs a libtorch with CUDA; this one has none");
    }
    if (tandem_torch_gpus() == 0) {
        refuse("CUDA finds no GPU");
    }
    /* Without it cuBLAS has no deterministic products; read when CUDA starts. */
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
    return at::Device(at::kCUDA, 0);
}

/* A tensor over the caller's memory, [floats]. */
at::Tensor view_of(const float *data, const at::Tensor &like) {
    return at::from_blob(const_cast<float *>(data), like.sizes(), at::kFloat);
}

/* The moments, zeros at first. */
void settle_moments(tandem_encoder &encoder) {
    if (!encoder.mean.defined()) {
        encoder.mean = at::zeros_like(encoder.values);
        encoder.variance = at::zeros_like(encoder.values);
    }
}

/* Runs that learn alike, those that follow one another joined. */
using Runs = std::vector<std::pair<int64_t, int64_t>>; /* place and floats */
std::map<std::pair<double, double>, Runs> runs_by_rate(const tandem_update *runs, size_t count) {
    std::map<std::pair<double, double>, Runs> groups;
    for (size_t i = 0; i < count; ++i) {
        Runs &group = groups[{runs[i].learning_rate, runs[i].weight_decay}];
        if (!group.empty() && group.back().first + group.back().second == runs[i].place) {
            group.back().second += runs[i].count;
        } else {
            group.emplace_back(runs[i].place, runs[i].count);
        }
    }
    return groups;
}

std::vector<at::Tensor> pieces(const at::Tensor &arena, const Runs &runs) {
    std::vector<at::Tensor> all;
    for (const auto &[place, floats] : runs) {
        all.push_back(arena.narrow(0, place, floats));
    }
    return all;
}

} // namespace

void tandem::settle_device(tandem_encoder &encoder, tandem_device device) {
    encoder.device = device;
    encoder.steps = device == TANDEM_DEVICE_CPU ? &tandem::by_kernels : &tandem::by_operations;
    encoder.values = encoder.uses_kernels() ? encoder.parameters : at::zeros_like(encoder.parameters, device_of(device));
    encoder.stale = !encoder.uses_kernels();
}

void tandem::check_precision(const tandem_encoder &encoder, tandem_precision precision) {
    if (precision == TANDEM_INT8 && !encoder.uses_kernels()) {
        refuse("int8 is computed by the CPU's kernels alone");
    }
    if (precision == TANDEM_TF32 && encoder.device != TANDEM_DEVICE_CUDA) {
        refuse("tf32 is of GPUs: it needs the device cuda");
    }
    if (encoder.device == TANDEM_DEVICE_CUDA) {
        at::globalContext().setFloat32MatmulPrecision(precision == TANDEM_TF32 ? "high" : "highest");
    }
}

void tandem::bring_parameters(tandem_encoder &encoder) {
    if (!encoder.stale) {
        return;
    }
    std::lock_guard<std::mutex> guard(encoder.lock);
    if (encoder.stale) {
        at::NoGradGuard no_gradients;
        encoder.values.copy_(encoder.parameters);
        encoder.stale = false;
    }
}

tandem_device tandem_encoder_device(const tandem_encoder *encoder) {
    return encoder->device;
}

int tandem_encoder_fetch_parameters(tandem_encoder *encoder) {
    return guarded(__func__, [&] {
        if (!encoder->uses_kernels() && !encoder->stale) {
            encoder->parameters.copy_(encoder->values);
        }
        return TANDEM_OK;
    });
}

int tandem_encoder_fetch_gradients(tandem_encoder *encoder) {
    return guarded(__func__, [&] {
        if (!encoder->uses_kernels()) {
            encoder->gradients.copy_(encoder->slopes);
        }
        return TANDEM_OK;
    });
}

int tandem_encoder_zero_gradients(tandem_encoder *encoder) {
    return guarded(__func__, [&] {
        encoder->slopes.zero_();
        return TANDEM_OK;
    });
}

int tandem_encoder_gradient_norm(double *out, tandem_encoder *encoder) {
    return guarded(__func__, [&] {
        *out = at::linalg_vector_norm(encoder->slopes, 2, std::nullopt, false, at::kDouble).item<double>();
        return TANDEM_OK;
    });
}

int tandem_encoder_fetch_moments(tandem_encoder *encoder, float *mean, float *variance) {
    return guarded(__func__, [&] {
        settle_moments(*encoder);
        view_of(mean, encoder->mean).copy_(encoder->mean);
        view_of(variance, encoder->variance).copy_(encoder->variance);
        return TANDEM_OK;
    });
}

int tandem_encoder_send_moments(tandem_encoder *encoder, const float *mean, const float *variance) {
    return guarded(__func__, [&] {
        settle_moments(*encoder);
        encoder->mean.copy_(view_of(mean, encoder->mean));
        encoder->variance.copy_(view_of(variance, encoder->variance));
        return TANDEM_OK;
    });
}

int tandem_encoder_update(tandem_encoder *encoder, const tandem_update *runs, size_t count, uint64_t number, double beta1, double beta2, double epsilon, double scale) {
    return guarded(__func__, [&] {
        tandem::bring_parameters(*encoder);
        settle_moments(*encoder);
        encoder->slopes.mul_(scale);
        at::Tensor step = at::full({}, static_cast<double>(number), encoder->values.options());
        for (const auto &[rates, group] : runs_by_rate(runs, count)) {
            std::vector<at::Tensor> values = pieces(encoder->values, group), slopes = pieces(encoder->slopes, group), mean = pieces(encoder->mean, group), variance = pieces(encoder->variance, group);
            std::vector<at::Tensor> steps(values.size(), step);
            at::_fused_adamw_(values, slopes, mean, variance, {}, steps, rates.first, beta1, beta2, rates.second, epsilon, false, false);
        }
        return TANDEM_OK;
    });
}
