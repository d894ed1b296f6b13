/* A 64-bit non-cryptographic hash, the same on every machine: FNV-1a-style lanes over 8-byte words
 * with a strong finish. Used for hash tables and for the catalog's row hash. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(uint64_t seed, const void *data, size_t size);
uint64_t hash_mix(uint64_t x);

#endif
