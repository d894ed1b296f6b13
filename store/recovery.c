#include "store/recovery.h"

#include <string.h>

#include "base/crc32c.h"
#include "store/format.h"
#include "store/replace.h"

#define MAGIC "cairnrec"
#define NAME "recovery"
#define HEAD_BYTES (FORMAT_HEADER_BYTES + 4)
#define FILE_BYTES_MAX (HEAD_BYTES + STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX + 4)

/* header, whose value is the term | size of the configuration (u32) | its bytes | CRC32C of all */

static enum err decode(const uint8_t *bytes, size_t size, const struct uuid *cluster,
                       const char *path, struct store_recovery *ret, struct err_text *text) {
    uint64_t term;
    enum err err = size < HEAD_BYTES + 4
                       ? err_set(text, ERR_CORRUPT, "%s is too short", path)
                       : format_check_header(bytes, MAGIC, cluster, path, &term, text);
    if (err != ERR_OK) {
        return err;
    }
    uint32_t bytes_of = get_u32(bytes + FORMAT_HEADER_BYTES);
    if (bytes_of != size - HEAD_BYTES - 4 ||
        get_u32(bytes + size - 4) != crc32c(0, bytes, size - 4) || term == 0) {
        return err_set(text, ERR_CORRUPT, "%s is damaged", path);
    }
    ret->term = term;
    ret->configuration_size = bytes_of;
    memcpy(ret->configuration, bytes + HEAD_BYTES, bytes_of);
    return ERR_OK;
}

enum err store_recovery_read(const char *directory, const struct uuid *cluster,
                             struct store_recovery *ret_recovery, struct err_text *text) {
    char path[FORMAT_PATH_BYTES];
    uint8_t bytes[FILE_BYTES_MAX + 1];
    size_t size;
    bool found;
    *ret_recovery = (struct store_recovery){.term = 0};
    enum err err = store_replace_read(directory, NAME, bytes, sizeof bytes, &found, &size, text);
    if (err == ERR_OK && found) {
        err = format_path(path, directory, NAME, text);
    }
    return err == ERR_OK && found ? decode(bytes, size, cluster, path, ret_recovery, text) : err;
}

enum err store_recovery_write(const char *directory, const struct uuid *cluster,
                              const struct store_recovery *recovery, struct err_text *text) {
    char path[FORMAT_PATH_BYTES];
    uint8_t bytes[FILE_BYTES_MAX];
    size_t size = HEAD_BYTES + recovery->configuration_size;
    format_encode_header(bytes, MAGIC, cluster, recovery->term);
    put_u32(bytes + FORMAT_HEADER_BYTES, recovery->configuration_size);
    memcpy(bytes + HEAD_BYTES, recovery->configuration, recovery->configuration_size);
    put_u32(bytes + size, crc32c(0, bytes, size));
    enum err err = format_path(path, directory, NAME, text);
    if (err == ERR_OK) {
        err = store_replace_file(path, bytes, size + 4, text);
    }
    return err == ERR_OK ? store_directory_sync(directory, text) : err;
}

enum err store_recovery_clear(const char *directory, struct err_text *text) {
    return store_replace_clear(directory, NAME, text);
}
