/* precision.c - names of precisions, and which one is the faster here. */
#include "tandem/precision.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "model/kernels/kernels.h"
#include "tandem/log.h"
#include "tandem/machine.h"
#include "tandem/memory.h"

/* A product as a layer has them: rows that fit the first cache, a weight that fits the second. Rounds enough that one of
 * each side finds the core to itself. */
enum { ROWS = 64, DEPTH = 384, WIDTH = 384, ROUNDS = 9 };

static tandem_precision faster = TANDEM_FP32;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static double seconds_of(tandem_float_multiply_fn *multiply, const tandem_laid_out *weight, const float *x, float *out)
{
    double start = tandem_seconds();

    multiply(ROWS, weight, tandem_all_columns(weight), x, out);
    return tandem_seconds() - start;
}

static void measure(const float *x, const float *laid_out, float *out)
{
    const tandem_kernels *kernels = tandem_kernels_best();
    const tandem_laid_out full = {TANDEM_FP32, DEPTH, WIDTH, laid_out, NULL, NULL};
    const tandem_laid_out half = {TANDEM_BF16, DEPTH, WIDTH, laid_out, NULL, NULL};
    double full_seconds = INFINITY, half_seconds = INFINITY;

    for (int round = 0; round < ROUNDS; round++) {
        full_seconds = fmin(full_seconds, seconds_of(kernels->float_multiply, &full, x, out));
        half_seconds = fmin(half_seconds, seconds_of(kernels->bf16_multiply, &half, x, out));
    }
    faster = half_seconds < full_seconds ? TANDEM_BF16 : TANDEM_FP32;
    tandem_log_info("products in bf16 take %.2f of the time of those in fp32 here: auto is %s", half_seconds / full_seconds,
                    tandem_precision_name(faster));
}

/* Zeros take as long as other numbers, and are the same in both forms of a weight. */
static void probe(void)
{
    float *memory = tandem_machine_has_bf16() ? tandem_alloc(ROWS * DEPTH + ROWS * WIDTH + tandem_float_words(DEPTH, WIDTH), sizeof *memory) : NULL;

    if (memory != NULL) {
        measure(memory, memory + ROWS * (DEPTH + WIDTH), memory + ROWS * DEPTH);
    }
    free(memory);
}

tandem_precision tandem_precision_settle(tandem_precision asked)
{
    if (asked != TANDEM_AUTO) {
        return asked;
    }
    if (tandem_machine_device() != TANDEM_DEVICE_CPU) {
        return tandem_machine_device() == TANDEM_DEVICE_CUDA ? TANDEM_BF16 : TANDEM_FP32;
    }
    pthread_once(&once, probe);
    return faster;
}

const char *tandem_precision_name(tandem_precision precision)
{
    static const char *const names[] = {"fp32", "bf16", "auto", "tf32", "int8"};

    return names[precision];
}
