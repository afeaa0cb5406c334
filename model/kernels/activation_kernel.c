/* activation_kernel.c - bias, activation, gate and dropout in one pass, and their
 * backward pass. */
#include <string.h>

#include "model/kernels/chunks.h"
#include "model/kernels/kernels.h"
#include "model/kernels/mask.h"
#include "model/kernels/simd.h"

tandem_activation_forward_fn TANDEM_KERNEL(activation_forward);
tandem_activation_backward_fn TANDEM_KERNEL(activation_backward);

/* The upper tail of the standard normal distribution at z >= 0, divided by e^(-z^2/2):
 * a polynomial in 1 / (1 + z/4), minimax-fitted so that the tail itself is within 3e-9. */
ALWAYS_INLINE vfloat normal_tail(vfloat z) {
    vfloat t = 1.0f / (1.0f + 0.25f * z);
    vfloat p = -9.328052428e-02f * t + 3.489942415e-01f;
    p = p * t - 2.801821494e-01f;
    p = p * t + 2.933309152e-01f;
    p = p * t + 1.875052670e-02f;
    p = p * t + 1.137138894e-01f;
    p = p * t + 9.867309275e-02f;
    return p * t;
}

ALWAYS_INLINE vfloat vsigmoid(vfloat x) {
    /* -x is kept below what vexp takes: the result is then 0 within 1e-38. */
    return 1.0f / (1.0f + vexp(-vmax(vsplat(-87.0f), x)));
}

/* 2 sqrt(2 / pi) (x + 0.044715 x^3): gelu's tanh form is x * sigmoid of it. */
ALWAYS_INLINE vfloat gelu_tanh_argument(vfloat x) {
    return x * (1.5957691216057308f + 0.07135481282567156f * (x * x));
}

/* With z = |x|: x * Phi(x) = max(x, 0) - z * tail(z), on both sides of 0. */
ALWAYS_INLINE vfloat activate(tandem_activation activation, vfloat x) {
    switch (activation) {
    case TANDEM_ACTIVATION_GELU: {
        vfloat z = vmax(x, -x);
        return vmax(vsplat(0), x) - z * (normal_tail(z) * vexp(-0.5f * (z * z)));
    }
    case TANDEM_ACTIVATION_GELU_TANH:
        return x * vsigmoid(gelu_tanh_argument(x));
    case TANDEM_ACTIVATION_SILU:
        return x * vsigmoid(x);
    case TANDEM_ACTIVATION_RELU:
    default:
        return vmax(vsplat(0), x);
    }
}

ALWAYS_INLINE vfloat slope(tandem_activation activation, vfloat x) {
    /* All slopes are 0 or 1 beyond 30; further out their factors would overflow. */
    x = vmax(vsplat(-30), x);
    x = -vmax(vsplat(-30), -x);
    switch (activation) {
    case TANDEM_ACTIVATION_GELU: {
        vfloat z = vmax(x, -x), e = vexp(-0.5f * (z * z));
        vfloat tail = normal_tail(z) * e;
        return vselect(x > 0, 1.0f - tail, tail) + x * (e * 0.3989422804014327f);
    }
    case TANDEM_ACTIVATION_GELU_TANH: {
        vfloat s = vsigmoid(gelu_tanh_argument(x));
        return s + x * s * (1.0f - s) * (1.5957691216057308f + 3 * 0.07135481282567156f * (x * x));
    }
    case TANDEM_ACTIVATION_SILU: {
        vfloat s = vsigmoid(x);
        return s + x * s * (1.0f - s);
    }
    case TANDEM_ACTIVATION_RELU:
    default:
        return vselect(x > 0, vsplat(1), vsplat(0));
    }
}

/* `left` elements, or a whole vector, of x + bias. */
ALWAYS_INLINE vfloat biased(const float *x, const float *bias, size_t left) {
    vfloat v = vload_first(x, left);
    if (bias != NULL) {
        v += vload_first(bias, left);
    }
    return v;
}

/* `left` elements of a row, or a whole vector; `activation` and `gated` are constants
 * after inlining, and `left` is but for the end of the row. */
ALWAYS_INLINE void forward_step(tandem_activation activation, bool gated, const float *x, const float *bias, size_t width, size_t i, size_t left, float *out) {
    vfloat v = activate(activation, biased(x + i, bias == NULL ? NULL : bias + i, left));
    if (gated) {
        v *= biased(x + width + i, bias == NULL ? NULL : bias + width + i, left);
    }
    vstore_first(out + i, v, left);
}

ALWAYS_INLINE void forward_row(tandem_activation activation, bool gated, const float *x, const float *bias, size_t width, float *out) {
    size_t i = 0;
    for (; i + LANES <= width; i += LANES) {
        forward_step(activation, gated, x, bias, width, i, LANES, out);
    }
    if (i < width) {
        forward_step(activation, gated, x, bias, width, i, width - i, out);
    }
}

ALWAYS_INLINE void backward_step(tandem_activation activation, bool gated, const float *d_out, const float *x, const float *bias, size_t width, size_t i, size_t left, float *d_x) {
    vfloat a = biased(x + i, bias == NULL ? NULL : bias + i, left), d = biased(d_out + i, NULL, left);
    if (gated) {
        vstore_first(d_x + width + i, d * activate(activation, a), left);
        d *= biased(x + width + i, bias == NULL ? NULL : bias + width + i, left);
    }
    vstore_first(d_x + i, d * slope(activation, a), left);
}

/* d_out may be the row's last part of d_x. */
ALWAYS_INLINE void backward_row(tandem_activation activation, bool gated, const float *d_out, const float *x, const float *bias, size_t width, float *d_x) {
    size_t i = 0;
    for (; i + LANES <= width; i += LANES) {
        backward_step(activation, gated, d_out, x, bias, width, i, LANES, d_x);
    }
    if (i < width) {
        backward_step(activation, gated, d_out, x, bias, width, i, width - i, d_x);
    }
}

/* Calls `row_function` with its activation and gate as constants, so that each gets a
 * loop of its own. */
#define WITH_GATE(activation, gated, row_function, ...)  \
    if (gated) {                                         \
        row_function(activation, true, __VA_ARGS__);     \
    } else {                                             \
        row_function(activation, false, __VA_ARGS__);    \
    }
#define WITH_ACTIVATION(activation, gated, row_function, ...)                        \
    switch (activation) {                                                            \
    case TANDEM_ACTIVATION_GELU:                                                     \
        WITH_GATE(TANDEM_ACTIVATION_GELU, gated, row_function, __VA_ARGS__)          \
        break;                                                                       \
    case TANDEM_ACTIVATION_GELU_TANH:                                                \
        WITH_GATE(TANDEM_ACTIVATION_GELU_TANH, gated, row_function, __VA_ARGS__)     \
        break;                                                                       \
    case TANDEM_ACTIVATION_RELU:                                                     \
        WITH_GATE(TANDEM_ACTIVATION_RELU, gated, row_function, __VA_ARGS__)          \
        break;                                                                       \
    case TANDEM_ACTIVATION_SILU:                                                     \
        WITH_GATE(TANDEM_ACTIVATION_SILU, gated, row_function, __VA_ARGS__)          \
        break;                                                                       \
    case TANDEM_ACTIVATION_TANH: /* encoder.cpp lets only heads have these */        \
    case TANDEM_ACTIVATION_IDENTITY:                                                 \
        break;                                                                       \
    }

void TANDEM_KERNEL(activation_forward)(tandem_extent extent, tandem_activation activation, bool gated, const float *x, const float *bias, tandem_mask mask, float *out) {
    size_t width = extent.width, in = gated ? 2 * width : width;
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (size_t row = 0; row < extent.rows; row++) {
        float *to = out + row * width;
        WITH_ACTIVATION(activation, gated, forward_row, x + row * in, bias, width, to)
        if (mask.threshold != 0) {
            mask_row(to, mask, row, width, to);
        }
    }
}

void TANDEM_KERNEL(activation_backward)(tandem_extent extent, tandem_activation activation, bool gated, const float *d_out, const float *x, const float *bias, tandem_mask mask,
                                        float *partial, float *d_x, float *d_bias) {
    size_t width = extent.width, in = gated ? 2 * width : width;
    memset(partial, 0, (size_t)extent.threads * in * sizeof *partial);
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (int chunk = 0; chunk < extent.threads; chunk++) {
        float *sums = partial + (size_t)chunk * in;
        size_t end = chunk_start(extent.rows, chunk + 1, extent.threads);
        for (size_t row = chunk_start(extent.rows, chunk, extent.threads); row < end; row++) {
            const float *d = d_out + row * width;
            float *to = d_x + row * in;
            if (mask.threshold != 0) { /* the end of the row of d_x holds the masked gradient until it is overwritten */
                mask_row(d, mask, row, width, to + in - width);
                d = to + in - width;
            }
            WITH_ACTIVATION(activation, gated, backward_row, d, x + row * in, bias, width, to)
            if (d_bias != NULL) {
                for (size_t i = 0; i < in; i++) {
                    sums[i] += to[i];
                }
            }
        }
    }
    if (d_bias != NULL) {
        add_partials(partial, in, extent.threads, in, d_bias);
    }
}
