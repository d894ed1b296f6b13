/* Bytes of records and marks. */
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mutant.h"
#include "store/log_internal.h"

/* A record that ends up elsewhere, by a misdirected write or as the remains of a file, does not
 * pass for the one that belongs there. */
static uint32_t record_seed(uint64_t segment_number, uint64_t index) {
    if (MUTANT(crc_not_seeded)) {
        return 0;
    }
    uint8_t place[16];
    put_u64(place, segment_number);
    put_u64(place + 8, index);
    return crc32c(0, place, sizeof place);
}

void record_encode(uint8_t *out, uint64_t segment_number, const struct store_entry *entry) {
    ASSERT(entry->kind != 0 && entry->index != 0);
    memset(out, 0, RECORD_HEADER_BYTES);
    put_u32(out + 4, entry->size);
    put_u64(out + 8, entry->index);
    put_u64(out + 16, entry->term);
    out[24] = entry->kind;
    if (entry->size > 0) {
        memcpy(out + RECORD_HEADER_BYTES, entry->payload, entry->size);
    }
    uint64_t used = RECORD_HEADER_BYTES + (uint64_t)entry->size;
    memset(out + used, 0, record_bytes(entry->size) - used);
    put_u32(out, crc32c(record_seed(segment_number, entry->index), out + 4, used - 4));
}

enum record_state record_decode(const uint8_t *in, uint64_t size, uint64_t segment_number,
                                uint64_t expected, struct store_entry *ret_entry) {
    if (size < RECORD_HEADER_BYTES || format_is_zero(in, RECORD_HEADER_BYTES)) {
        return RECORD_NONE;
    }
    uint32_t payload_bytes = get_u32(in + 4);
    uint64_t index = get_u64(in + 8);
    if (payload_bytes > LIMIT_ENTRY_BYTES || record_bytes(payload_bytes) > size || in[24] == 0 ||
        index == 0) {
        return RECORD_BAD;
    }
    uint32_t seed = record_seed(segment_number, expected != 0 ? expected : index);
    if (get_u32(in) != crc32c(seed, in + 4, RECORD_HEADER_BYTES - 4 + (size_t)payload_bytes)) {
        return RECORD_BAD;
    }
    *ret_entry = (struct store_entry){.index = index,
                                      .term = get_u64(in + 16),
                                      .kind = in[24],
                                      .payload = in + RECORD_HEADER_BYTES,
                                      .size = payload_bytes};
    return RECORD_VALID;
}

void mark_encode(uint8_t out[LOG_MARK_BYTES], uint64_t segment_number, uint64_t synced_to) {
    memset(out, 0, LOG_MARK_BYTES);
    put_u64(out, synced_to);
    put_u32(out + 12, crc32c((uint32_t)segment_number, out, 12));
}

enum record_state mark_decode(const uint8_t in[LOG_MARK_BYTES], uint64_t segment_number,
                              uint64_t *ret_synced_to) {
    if (format_is_zero(in, LOG_MARK_BYTES)) {
        return RECORD_NONE;
    }
    if (get_u32(in + 12) != crc32c((uint32_t)segment_number, in, 12)) {
        return RECORD_BAD;
    }
    *ret_synced_to = get_u64(in);
    return RECORD_VALID;
}
