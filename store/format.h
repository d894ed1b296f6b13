/* What the files of the store have in common. Internal to the folder.
 *
 * Every file begins with a header: magic (8 bytes) | format, minimum reader (u32 each) | cluster id
 * (16) | a value of the file's own (u64) | zeros | CRC32C (u32 at 60). Numbers are little-endian.
 */
#ifndef STORE_FORMAT_H
#define STORE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/uuid.h"
#include "store/file.h"

#define FORMAT_HEADER_BYTES 64
#define FORMAT_PATH_BYTES 4096
#define FORMAT_PAGE_BYTES 4096
/* What a disk writes whole or not at all. */
#define FORMAT_SECTOR_BYTES 512

/* Raise FORMAT_READER only when an older program could not read the files any more. */
#define FORMAT_CURRENT 1
#define FORMAT_READER 1

static inline void put_u32(uint8_t *out, uint32_t x) {
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(x >> (8 * i));
    }
}

static inline void put_u64(uint8_t *out, uint64_t x) {
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(x >> (8 * i));
    }
}

static inline uint32_t get_u32(const uint8_t *in) {
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static inline uint64_t get_u64(const uint8_t *in) {
    return (uint64_t)get_u32(in) | (uint64_t)get_u32(in + 4) << 32;
}

/* magic: 8 characters. */
void format_encode_header(uint8_t out[FORMAT_HEADER_BYTES], const char *magic,
                          const struct uuid *cluster, uint64_t value);
/* cluster may be NULL: not compared. ERR_FOREIGN, ERR_CORRUPT, ERR_VERSION, with a sentence. */
enum err format_check_header(const uint8_t in[FORMAT_HEADER_BYTES], const char *magic,
                             const struct uuid *cluster, const char *path, uint64_t *ret_value,
                             struct err_text *text);

/* directory/name; ERR_TOO_LARGE when it does not fit. */
enum err format_path(char out[FORMAT_PATH_BYTES], const char *directory, const char *name,
                     struct err_text *text);
/* "<prefix><16 hex digits>" to a number; false if the name is of another form. */
bool format_parse_name(const char *name, const char *prefix, uint64_t *ret_number);
#define FORMAT_NAME_BYTES 40
void format_number_name(char out[FORMAT_NAME_BYTES], const char *prefix, uint64_t number);

bool format_is_zero(const uint8_t *data, size_t size);
/* Writes zeros from .. to - 1. */
enum err format_zero_fill(struct store_file *file, uint64_t from, uint64_t to,
                          struct err_text *text);

#endif
