/* positions.cpp - rotary angles and relative buckets, made of the tensor operations that
 * transformers makes them of, so that both round alike. */
#include "model/torch/positions.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "model/torch/internal.hpp"

using tandem::guarded;

at::Tensor tandem::rotary_table(double theta, int64_t head_size, int64_t positions) {
    if (!(theta > 0) || head_size <= 0 || head_size % 2 != 0) {
        tandem::refuse("rotary positions need an even head size and a positive base, not " + std::to_string(head_size) + " and " + std::to_string(theta));
    }
    at::NoGradGuard no_gradients;
    at::Tensor frequency = at::reciprocal(at::pow(theta, at::arange(0, head_size, 2, at::kFloat) / static_cast<double>(head_size)));
    at::Tensor angle = at::arange(positions, at::kFloat).unsqueeze(1) * frequency;
    return at::cat({at::cos(angle), at::sin(angle)}, 1);
}

at::Tensor tandem::relative_buckets(int64_t buckets, int64_t distance, int64_t span) {
    int64_t half = buckets / 2, exact = half / 2;
    if (buckets <= 0 || buckets % 4 != 0 || distance <= exact) {
        tandem::refuse("relative positions need a multiple of four buckets and a distance beyond a quarter of them, not " + std::to_string(buckets) + " and " + std::to_string(distance));
    }
    at::NoGradGuard no_gradients;
    at::Tensor offset = at::arange(1 - span, span, at::kLong), far = at::abs(offset);
    double unit = std::log(static_cast<double>(distance) / static_cast<double>(exact));
    at::Tensor large = (at::log(far.to(at::kFloat) / exact) / unit * (half - exact)).to(at::kLong) + exact;
    at::Tensor bucket = at::where(far < exact, far, at::clamp_max(large, half - 1));
    return bucket + (offset > 0).to(at::kLong) * half;
}

int tandem_rotary_table(float *out, double theta, int64_t head_size, int64_t positions) {
    return guarded(__func__, [&] {
        at::Tensor table = tandem::rotary_table(theta, head_size, positions);
        std::copy_n(table.const_data_ptr<float>(), table.numel(), out);
        return TANDEM_OK;
    });
}

int tandem_relative_buckets(int32_t *out, int64_t buckets, int64_t distance, int64_t span) {
    return guarded(__func__, [&] {
        at::Tensor bucket = tandem::relative_buckets(buckets, distance, span);
        std::copy_n(bucket.const_data_ptr<int64_t>(), bucket.numel(), out);
        return TANDEM_OK;
    });
}
