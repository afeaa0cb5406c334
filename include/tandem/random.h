/* random.h - seeded random numbers. One seed a run; every consumer derives its own
 * stream from the seed and a name, so that no consumer's draws move another's. */
#ifndef TANDEM_RANDOM_H
#define TANDEM_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* xoshiro256** (Blackman & Vigna 2018), plain data: copying it saves its state. */
typedef struct {
    uint64_t state[4];
} tandem_random;

/* The stream of (seed, name, index); the same triple gives the same numbers on
 * every machine. */
tandem_random tandem_random_stream(uint64_t seed, const char *name, uint64_t index);
uint64_t tandem_random_next(tandem_random *random);
/* Uniform in [0, bound), without bias; bound > 0. */
uint64_t tandem_random_below(tandem_random *random, uint64_t bound);
/* Uniform in [0, 1), 53 bits. */
double tandem_random_double(tandem_random *random);
/* Standard normal (polar method). */
double tandem_random_normal(tandem_random *random);
/* Fisher-Yates over `count` indices. */
void tandem_random_shuffle(tandem_random *random, uint32_t *items, size_t count);

#ifdef __cplusplus
}
#endif
#endif
