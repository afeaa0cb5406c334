/* float32.h - products of matrices of floats: what products and attention in float32 share. */
#ifndef TANDEM_MODEL_KERNELS_FLOAT32_H
#define TANDEM_MODEL_KERNELS_FLOAT32_H

#define TILE(name) float_##name
#define TILE_WORD float
#define TILE_VECTOR vfloat
#define TILE_STEP(sum, word, line) ((sum) + (word) * (line))
#include "model/kernels/tile.h"

#endif
