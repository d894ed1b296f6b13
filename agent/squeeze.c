#include "agent/squeeze.h"

#include <zlib.h>

#include "base/assert.h"
#include "base/mem.h"

uint8_t *squeeze(const void *data, size_t size, size_t *ret_size) {
    uLongf packed = compressBound((uLong)size);
    uint8_t *out = mem_alloc(packed);
    ASSERT(compress2(out, &packed, data, (uLong)size, Z_BEST_SPEED) ==
           Z_OK); /* the room is there */
    *ret_size = packed;
    return out;
}

bool unsqueeze(const uint8_t *packed, size_t packed_size, void *out, size_t size) {
    uLongf got = (uLongf)size;
    return uncompress(out, &got, packed, (uLong)packed_size) == Z_OK && got == size;
}
