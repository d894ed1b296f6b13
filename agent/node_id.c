#include "agent/node_id.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "net/crypto.h"
#include "store/file.h"
#include "store/replace.h"

#define PATH_BYTES 4096
#define LINE_BYTES 64

/* The first word of a file; "" if there is none. */
static void read_word(const char *path, char out[LINE_BYTES]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, LINE_BYTES - 1) : 0;
    if (fd >= 0) {
        close(fd);
    }
    out[n > 0 ? (size_t)n : 0] = '\0';
    out[strcspn(out, "\r\n ")] = '\0';
}

struct uuid node_id_of_machine(const char *machine) {
    unsigned char digest[SHA512_DIGEST_LENGTH];
    char lower[LINE_BYTES];
    struct uuid id;
    size_t size = strlen(machine);
    ASSERT(size < sizeof lower);
    for (size_t i = 0; i < size; i++) {
        lower[i] = str_lower_char(machine[i]);
    }
    SHA512((const unsigned char *)lower, size, digest);
    memcpy(id.bytes, digest, sizeof id.bytes);
    return id;
}

/* The board's UUID, which root alone may read, else the system's, else that of this boot. */
static struct uuid of_host(void) {
    char machine[LINE_BYTES];
    struct uuid ignored;
    read_word("/sys/class/dmi/id/product_uuid", machine);
    if (!uuid_parse(machine, &ignored)) {
        char digits[LINE_BYTES];
        read_word("/etc/machine-id", digits);
        machine[0] = '\0';
        if (strlen(digits) == 32) {
            snprintf(machine, sizeof machine, "%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8,
                     digits + 12, digits + 16, digits + 20);
        }
    }
    if (!uuid_parse(machine, &ignored)) {
        read_word("/proc/sys/kernel/random/boot_id", machine);
    }
    return node_id_of_machine(machine);
}

static void file_path(const struct config *config, char path[PATH_BYTES]) {
    snprintf(path, PATH_BYTES, "%.4000s/node-id", config->data_dir);
}

enum err node_id_find(const struct config *config, struct uuid *ret_id, bool *ret_known,
                      struct err_text *text) {
    char path[PATH_BYTES], line[LINE_BYTES] = "";
    *ret_known = true;
    if (*config->node_id != '\0') {
        ASSERT(uuid_parse(config->node_id, ret_id)); /* judged with the configuration */
        return ERR_OK;
    }
    file_path(config, path);
    if (!config->dev) {
        read_word(path, line);
    }
    if (line[0] != '\0') {
        return uuid_parse(line, ret_id)
                   ? ERR_OK
                   : err_set(text, ERR_CORRUPT,
                             "%.200s does not hold a UUID; remove the file or set node_id", path);
    }
    if (!config->disable_host_node_id) {
        *ret_id = of_host();
        return ERR_OK;
    }
    uint8_t random[16];
    crypto_random(random, sizeof random);
    *ret_id = uuid_from_random(random);
    *ret_known = false;
    return ERR_OK;
}

enum err node_id_keep(const struct config *config, const char *id, struct err_text *text) {
    char path[PATH_BYTES], line[LINE_BYTES];
    file_path(config, path);
    read_word(path, line);
    if (strcmp(line, id) == 0) {
        return ERR_OK;
    }
    enum err err = store_replace_file(path, id, strlen(id), text);
    return err == ERR_OK ? store_directory_sync(config->data_dir, text) : err;
}
