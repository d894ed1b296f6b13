#include "base/hash.h"

#include <string.h>

#define PRIME_A 0x9e3779b97f4a7c15u
#define PRIME_B 0xd6e8feb86659fd93u

uint64_t hash_mix(uint64_t x) {
    x ^= x >> 32;
    x *= PRIME_B;
    x ^= x >> 32;
    x *= PRIME_B;
    x ^= x >> 32;
    return x;
}

uint64_t hash_bytes(uint64_t seed, const void *data, size_t size) {
    const uint8_t *at = data;
    uint64_t h = hash_mix(seed ^ (size * PRIME_A));
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word = 0;
        for (int i = 7; i >= 0; i--) {
            word = word << 8 | at[i];
        }
        h = (h ^ word) * PRIME_A;
        h ^= h >> 29;
    }
    uint64_t tail = 0;
    for (size_t i = size; i > 0; i--) {
        tail = tail << 8 | at[i - 1];
    }
    return hash_mix((h ^ tail) * PRIME_A);
}
