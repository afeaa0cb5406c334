/* machine.h - what the process runs on, and the wish to stop it. */
#ifndef TANDEM_MACHINE_H
#define TANDEM_MACHINE_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of tandem, e.g. "0.1.0". */
const char *tandem_version(void);

/* Instruction sets that kernels are compiled for, weakest first. The last one is AVX512_BF16 on AMD's Zen 4, which adds
 * vectors in other units than it multiplies them in. */
typedef enum {
    TANDEM_ISA_PORTABLE, TANDEM_ISA_AVX2, TANDEM_ISA_AVX512, TANDEM_ISA_AVX512_VNNI, TANDEM_ISA_AVX512_BF16, TANDEM_ISA_ZEN4
} tandem_isa;

/* The best set that this CPU and operating system support; TANDEM_ISA=portable|
 * avx2|avx512|avx512_vnni|avx512_bf16|zen4 in the environment lowers it (for tests), never raises it. */
tandem_isa tandem_machine_isa(void);
const char *tandem_isa_name(tandem_isa isa);
bool tandem_machine_has_bf16(void); /* the set multiplies matrices in bfloat16, faster than in float32 */

/* "AMD EPYC ..., avx2 avx512f avx512_bf16 ..."; borrowed. */
const char *tandem_machine_cpu(void);
size_t tandem_machine_cores(void);     /* physical cores this process may use */
size_t tandem_machine_memory(void);    /* bytes of main memory */
size_t tandem_machine_peak_rss(void);  /* bytes, of this process so far */
/* Threads for OpenMP and libtorch; 0 means tandem_machine_cores(). Process-wide,
 * to be called before the first parallel work. */
void tandem_machine_set_threads(size_t threads);
size_t tandem_machine_threads(void);
/* From now on this thread's work takes `threads` threads whatever the process has (0: again what the process
 * has), and leaves the process as it is: libtandem, whose process is not its own. Returns what held before. */
size_t tandem_machine_be_guest(size_t threads);
bool tandem_machine_is_guest(void);

/* Where models compute: on the CPU by kernels of our own; on the first GPU by libtorch's operations; by the same
 * operations on the CPU, which is how what runs on a GPU is tested where there is none. */
typedef enum { TANDEM_DEVICE_CPU, TANDEM_DEVICE_CUDA, TANDEM_DEVICE_LIBTORCH } tandem_device;

/* Of the models that are loaded from now on; process-wide, TANDEM_DEVICE_CPU until it is set. */
void tandem_machine_set_device(tandem_device device);
tandem_device tandem_machine_device(void);
const char *tandem_device_name(tandem_device device); /* "cpu" */

/* ---- interrupts ------------------------------------------------------------- */
/* Makes SIGINT and SIGTERM set a flag; a second one ends the process at once with
 * exit code 130. cli/ calls it for commands with state to save. */
void tandem_interrupt_install(void);
/* True once a signal came. Long loops ask between two steps, and return
 * tandem_error_code(TANDEM_INTERRUPTED, ...) when they have saved their state. */
bool tandem_interrupted(void);

#ifdef __cplusplus
}
#endif
#endif
