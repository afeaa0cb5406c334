/* fma.h - the function of fma.c, by instruction set. */
#ifndef TANDEM_BENCH_FMA_H
#define TANDEM_BENCH_FMA_H

#include <stddef.h>

/* Does `rounds` multiply-adds in each lane of each of its registers; returns the number of floating-point operations,
 * two of each. */
typedef double bench_fma_fn(size_t rounds, volatile float *result);
bench_fma_fn bench_fma_portable, bench_fma_avx2, bench_fma_avx512;

#endif
