/* mask.h - dropout of one row of activations. */
#ifndef TANDEM_MODEL_KERNELS_MASK_H
#define TANDEM_MODEL_KERNELS_MASK_H

#include "model/kernels/kernels.h"

/* to = x * mask of the row; to may be x. */
static inline void mask_row(const float *x, tandem_mask mask, size_t row, size_t width, float *to) {
    uint64_t key = tandem_mask_row(mask.key, row);
#pragma omp simd
    for (size_t i = 0; i < width; i++) {
        to[i] = x[i] * tandem_mask_factor(&mask, key, (uint32_t)i);
    }
}

#endif
