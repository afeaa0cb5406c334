/* panels.h - the right matrix of a product as register tiles read it: panels of PANEL columns, the last of what is left
 * padded to whole vectors. */
#ifndef TANDEM_MODEL_KERNELS_PANELS_H
#define TANDEM_MODEL_KERNELS_PANELS_H

#include "model/kernels/simd.h"

/* One panel, to [depth, width rounded up to whole vectors] from [depth, width], rows `ld` apart. */
static inline void lay_out_rows(const float *from, size_t ld, size_t depth, size_t width, float *to) {
    size_t stride = round_up(width, LANES);
    for (size_t k = 0; k < depth; k++, from += ld, to += stride) {
        for (size_t i = 0; i < width; i += LANES) {
            vstore(to + i, vload_first(from + i, width - i));
        }
    }
}

/* The same from its transpose [width, depth], rows `ld` apart. */
static inline void lay_out_transposed(const float *from, size_t ld, size_t depth, size_t width, float *to) {
    size_t stride = round_up(width, LANES), i = 0;
    for (; i + 4 <= width; i += 4) {
        size_t k = 0;
        for (; k + 4 <= depth; k += 4) {
            transpose_4x4(from + i * ld + k, ld, to + k * stride + i, stride);
        }
        for (; k < depth; k++) {
            for (size_t j = i; j < i + 4; j++) {
                to[k * stride + j] = from[j * ld + k];
            }
        }
    }
    for (; i < stride; i++) {
        for (size_t k = 0; k < depth; k++) {
            to[k * stride + i] = i < width ? from[i * ld + k] : 0;
        }
    }
}

#endif
