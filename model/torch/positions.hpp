/* positions.hpp - where tokens stand, for the attention: rotary angles and the buckets
 * of relative positions. */
#ifndef TANDEM_MODEL_TORCH_POSITIONS_HPP
#define TANDEM_MODEL_TORCH_POSITIONS_HPP

#include <ATen/core/Tensor.h>

namespace tandem {

/* As tandem_rotary_table: [positions, head_size]. */
at::Tensor rotary_table(double theta, int64_t head_size, int64_t positions);

/* As tandem_relative_buckets: int64 [2 * span - 1]. */
at::Tensor relative_buckets(int64_t buckets, int64_t distance, int64_t span);

} // namespace tandem

#endif
