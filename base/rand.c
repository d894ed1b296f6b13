#include "base/rand.h"

#include <string.h>

#include "base/assert.h"

static uint64_t splitmix(uint64_t *x) {
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

void rand_init(struct rand *rand, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        rand->s[i] = splitmix(&seed);
    }
}

uint64_t rand_next(struct rand *rand) {
    uint64_t *s = rand->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t rand_below(struct rand *rand, uint64_t bound) {
    ASSERT(bound > 0);
    /* Lemire 2019: the high half of a 128-bit product; redrawn where the low half is biased. */
    __uint128_t product = (__uint128_t)rand_next(rand) * bound;
    if ((uint64_t)product < bound) {
        uint64_t floor = -bound % bound;
        while ((uint64_t)product < floor) {
            product = (__uint128_t)rand_next(rand) * bound;
        }
    }
    return (uint64_t)(product >> 64);
}

void rand_bytes(struct rand *rand, void *bytes, size_t size) {
    char *at = bytes;
    while (size > 0) {
        uint64_t x = rand_next(rand);
        size_t n = size < sizeof x ? size : sizeof x;
        memcpy(at, &x, n);
        at += n;
        size -= n;
    }
}
