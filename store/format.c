#include "store/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"

void format_encode_header(uint8_t out[FORMAT_HEADER_BYTES], const char *magic,
                          const struct uuid *cluster, uint64_t value) {
    ASSERT(strlen(magic) == 8);
    memset(out, 0, FORMAT_HEADER_BYTES);
    memcpy(out, magic, 8);
    put_u32(out + 8, FORMAT_CURRENT);
    put_u32(out + 12, FORMAT_READER);
    memcpy(out + 16, cluster->bytes, 16);
    put_u64(out + 32, value);
    put_u32(out + 60, crc32c(0, out, 60));
}

enum err format_check_header(const uint8_t in[FORMAT_HEADER_BYTES], const char *magic,
                             const struct uuid *cluster, const char *path, uint64_t *ret_value,
                             struct err_text *text) {
    if (memcmp(in, magic, 8) != 0) {
        return err_set(text, ERR_FOREIGN, "%s was not written by this program or has lost its head",
                       path);
    }
    if (get_u32(in + 60) != crc32c(0, in, 60)) {
        return err_set(text, ERR_CORRUPT, "%s: the header fails its checksum", path);
    }
    if (get_u32(in + 12) > FORMAT_CURRENT) {
        return err_set(text, ERR_VERSION,
                       "%s was written by a newer program (format %u, this one reads up to %u): "
                       "start that one, or use another data_dir",
                       path, get_u32(in + 8), (unsigned)FORMAT_CURRENT);
    }
    if (cluster != NULL && memcmp(in + 16, cluster->bytes, 16) != 0) {
        return err_set(text, ERR_FOREIGN, "%s belongs to another cluster", path);
    }
    *ret_value = get_u64(in + 32);
    return ERR_OK;
}

enum err format_path(char out[FORMAT_PATH_BYTES], const char *directory, const char *name,
                     struct err_text *text) {
    int n = snprintf(out, FORMAT_PATH_BYTES, "%s/%s", directory, name);
    if (n < 0 || n >= FORMAT_PATH_BYTES) {
        return err_set(text, ERR_TOO_LARGE, "the path %.100s... is too long", directory);
    }
    return ERR_OK;
}

bool format_parse_name(const char *name, const char *prefix, uint64_t *ret_number) {
    size_t skip = strlen(prefix);
    if (strncmp(name, prefix, skip) != 0 || strlen(name) != skip + 16) {
        return false;
    }
    uint64_t number = 0;
    for (const char *at = name + skip; *at != '\0'; at++) {
        bool digit = *at >= '0' && *at <= '9';
        if (!digit && !(*at >= 'a' && *at <= 'f')) {
            return false;
        }
        number = number << 4 | (uint64_t)(digit ? *at - '0' : *at - 'a' + 10);
    }
    *ret_number = number;
    return true;
}

void format_number_name(char out[FORMAT_NAME_BYTES], const char *prefix, uint64_t number) {
    snprintf(out, FORMAT_NAME_BYTES, "%s%016" PRIx64, prefix, number);
}

bool format_is_zero(const uint8_t *data, size_t size) {
    /* Overlapping compare: every byte equals the one before it, and the first is zero. */
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

enum err format_zero_fill(struct store_file *file, uint64_t from, uint64_t to,
                          struct err_text *text) {
    static const uint8_t zeros[256 * 1024];
    while (from < to) {
        size_t size = to - from < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
        enum err err = store_file_write(file, from, zeros, size, text);
        if (err != ERR_OK) {
            return err;
        }
        from += size;
    }
    return ERR_OK;
}
