/* random.c - xoshiro256** (Blackman & Vigna 2018), one stream a consumer. */
#include "tandem/random.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

static uint64_t rotate_left(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

/* SplitMix64 (Steele, Lea & Flood 2014): what the authors of xoshiro fill its state
 * with. */
static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

tandem_random tandem_random_stream(uint64_t seed, const char *name, uint64_t index)
{
    uint64_t parts[3] = {seed, XXH3_64bits(name, strlen(name)), index};
    unsigned char bytes[sizeof parts]; /* little-endian on every machine */
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(parts[i / 8] >> (8 * (i % 8)));
    }
    XXH128_hash_t hash = XXH3_128bits(bytes, sizeof bytes);
    tandem_random random;
    for (int i = 0; i < 4; i++) {
        random.state[i] = splitmix(i < 2 ? &hash.low64 : &hash.high64);
    }
    return random;
}

uint64_t tandem_random_next(tandem_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t tandem_random_below(tandem_random *random, uint64_t bound)
{
    /* Drops the 2^64 mod bound lowest values: the rest is a multiple of bound. */
    uint64_t dropped = (UINT64_MAX - bound + 1) % bound;
    uint64_t value;
    do {
        value = tandem_random_next(random);
    } while (value < dropped);
    return value % bound;
}

double tandem_random_double(tandem_random *random)
{
    return (double)(tandem_random_next(random) >> 11) * 0x1p-53;
}

double tandem_random_normal(tandem_random *random)
{
    /* Marsaglia & Bray 1964. The second number is dropped: the state stays plain. */
    double x, y, square;
    do {
        x = 2 * tandem_random_double(random) - 1;
        y = 2 * tandem_random_double(random) - 1;
        square = x * x + y * y;
    } while (square >= 1 || square == 0);
    return x * sqrt(-2 * log(square) / square);
}

void tandem_random_shuffle(tandem_random *random, uint32_t *items, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)tandem_random_below(random, i);
        uint32_t item = items[i - 1];
        items[i - 1] = items[j];
        items[j] = item;
    }
}
