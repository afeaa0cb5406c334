/* fma.c - fused multiply-adds in registers. Compiled once an instruction set, as the kernels of the encoder are:
 * bench/CMakeLists.txt. */
#include "bench/fma.h"

#include "model/kernels/simd.h"

/* Independent sums: enough to hide the latency (4 cycles at 2 instructions a cycle need 8), and with the two other
 * operands still within 16 registers. */
enum { CHAINS = 12 };

double BENCH_FMA(size_t rounds, volatile float *result)
{
    const vfloat factor = vsplat(0.999F), addend = vsplat(0.001F);
    vfloat chain[CHAINS], sum = vsplat(0);
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
        chain[i] = vsplat((float)(i + 2)); /* no 1, which would stay 1 */
    }
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            chain[i] = chain[i] * factor + addend;
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
        sum += chain[i];
    }
    *result = vsum(sum);
    return 2.0 * (double)rounds * CHAINS * LANES;
}
