/* host.h - what the module of libtorch calls of the program that loads it: the module holds no copy of these, so
 * that a message, a number of threads or a kernel is the same on both sides. */
#ifndef TANDEM_MODEL_TORCH_HOST_H
#define TANDEM_MODEL_TORCH_HOST_H

#include "model/kernels/kernels.h"
#include "tandem/error.h"
#include "tandem/machine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The functions of the same names, with "tandem_" before them. */
typedef struct {
    int (*error)(const char *format, ...);
    size_t (*machine_threads)(void);
    bool (*machine_has_bf16)(void);
    const tandem_kernels *(*kernels_best)(void);
    tandem_mask (*mask_make)(uint64_t seed, uint64_t step, uint64_t site, double probability);
    size_t (*attention_workspace)(const tandem_attention *attention);
} tandem_torch_host;

#ifdef __cplusplus
}
#endif
#endif
