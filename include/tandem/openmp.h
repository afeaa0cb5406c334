/* openmp.h - OpenMP's few functions that tandem calls, or their meaning for one thread
 * where the code is built without OpenMP (the presets fuzz and tsan). */
#ifndef TANDEM_OPENMP_H
#define TANDEM_OPENMP_H

#ifdef _OPENMP
#include <omp.h>
#else
static inline void omp_set_num_threads(int threads)
{
    (void)threads;
}
static inline int omp_get_max_threads(void)
{
    return 1;
}
static inline int omp_get_thread_num(void)
{
    return 0;
}
static inline int omp_get_num_threads(void)
{
    return 1;
}
typedef char omp_lock_t;
static inline void omp_init_lock(omp_lock_t *lock)
{
    *lock = 0;
}
static inline void omp_destroy_lock(omp_lock_t *lock)
{
    *lock = 0;
}
static inline void omp_set_lock(omp_lock_t *lock)
{
    *lock = 1;
}
static inline void omp_unset_lock(omp_lock_t *lock)
{
    *lock = 0;
}
#endif

#endif
