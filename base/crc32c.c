#include "base/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_sse(uint32_t crc, const uint8_t *at,
                                                          size_t size) {
    uint64_t x = crc;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        x = _mm_crc32_u64(x, word);
    }
    for (; size > 0; at++, size--) {
        x = _mm_crc32_u8((uint32_t)x, *at);
    }
    return (uint32_t)x;
}
#endif

static uint32_t crc_bits(uint32_t crc, const uint8_t *at, size_t size) {
    for (; size > 0; at++, size--) {
        crc ^= *at;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
        }
    }
    return crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        return ~crc_sse(~crc, data, size);
    }
#endif
    return ~crc_bits(~crc, data, size);
}
