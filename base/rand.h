/* Pseudo-random numbers from a seed: xoshiro256** (Blackman and Vigna, 2018), seeded by splitmix64.
 * Not for keys. The caller brings the seed, so a core that uses this stays pure. */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

struct rand {
    uint64_t s[4]; /* never all zero */
};

void rand_init(struct rand *rand, uint64_t seed);
uint64_t rand_next(struct rand *rand);
/* Uniform in [0, bound); bound > 0. */
uint64_t rand_below(struct rand *rand, uint64_t bound);
void rand_bytes(struct rand *rand, void *bytes, size_t size);

#endif
