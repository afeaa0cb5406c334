/* chunks.h - how rows are shared among threads where each share has a sum of its own:
 * by fixed borders, so that the sums do not depend on which thread ran first; and in blocks of rows. */
#ifndef TANDEM_MODEL_KERNELS_CHUNKS_H
#define TANDEM_MODEL_KERNELS_CHUNKS_H

#include <stddef.h>

/* Where chunk `chunk` of `chunks` begins; it ends where the next one begins. */
static inline size_t chunk_start(size_t rows, int chunk, int chunks) {
    return rows * (size_t)chunk / (size_t)chunks;
}

/* Rows of a block, about `most`, so that every thread has as many blocks as another, and no tile of registers is less than
 * half full but the last. */
static inline size_t block_rows(size_t rows, size_t most, int threads) {
    size_t blocks = (rows + most - 1) / most;
    blocks = (blocks + (size_t)threads - 1) / (size_t)threads * (size_t)threads;
    return ((rows + blocks - 1) / blocks + 3) / 4 * 4;
}

/* out[i] += partial[0][i] + partial[1][i] + ..., `stride` floats apart. */
static inline void add_partials(const float *partial, size_t stride, int count, size_t width, float *out) {
    for (int c = 0; c < count; c++) {
        for (size_t i = 0; i < width; i++) {
            out[i] += partial[(size_t)c * stride + i];
        }
    }
}

#endif
