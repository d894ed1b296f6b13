#include "store/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/format.h"
#include "store/replace.h"

#define MAGIC "cairndir"
#define NAME "identity"
#define TEMPORARY NAME STORE_REPLACE_SUFFIX
#define LOCK "lock"
/* header (cluster id zero while it is not known) | disk id (16) | CRC32C of it */
#define FILE_BYTES (FORMAT_HEADER_BYTES + 20)

struct store_identity {
    char *directory;
    struct store_file *lock;
    struct uuid disk;
    struct uuid cluster; /* zero: not known */
};

static enum err write_file(const struct store_identity *identity, const struct uuid *cluster,
                           struct err_text *text) {
    char path[FORMAT_PATH_BYTES];
    uint8_t bytes[FILE_BYTES];
    format_encode_header(bytes, MAGIC, cluster, 0);
    memcpy(bytes + FORMAT_HEADER_BYTES, identity->disk.bytes, 16);
    put_u32(bytes + FORMAT_HEADER_BYTES + 16, crc32c(0, identity->disk.bytes, 16));
    enum err err = format_path(path, identity->directory, NAME, text);
    if (err == ERR_OK) {
        err = store_replace_file(path, bytes, sizeof bytes, text);
    }
    if (err == ERR_OK) {
        err = store_directory_sync(identity->directory, text);
    }
    return err;
}

struct contents {
    char other[128]; /* a name that is not ours, "" if there is none */
    bool identity;
};

static void look_at_name(void *context, const char *name) {
    struct contents *contents = context;
    if (strcmp(name, NAME) == 0) {
        contents->identity = true;
    } else if (strcmp(name, LOCK) != 0 && strcmp(name, TEMPORARY) != 0 &&
               strcmp(name, "lost+found") != 0) {
        snprintf(contents->other, sizeof contents->other, "%s", name);
    }
}

static enum err take_lock(struct store_identity *identity, struct err_text *text) {
    char path[FORMAT_PATH_BYTES];
    enum err err = format_path(path, identity->directory, LOCK, text);
    if (err != ERR_OK) {
        return err;
    }
    /* Not emptied: it tells who holds it. */
    err = store_file_open(path, STORE_FILE_WRITE, &identity->lock, text);
    if (err == ERR_NOT_FOUND) {
        err = store_file_open(path, STORE_FILE_CREATE, &identity->lock, text);
    }
    if (err != ERR_OK) {
        err_prefix(text,
                   "data_dir %s cannot be written: give the user that runs the agent write "
                   "permission, or choose another directory",
                   identity->directory);
        return err;
    }
    char pid[24] = "";
    size_t size = 0;
    err = store_file_lock(identity->lock, text);
    if (err == ERR_EXISTS) {
        (void)store_file_read(identity->lock, 0, pid, sizeof pid - 1, &size, NULL);
        pid[strcspn(pid, " \n")] = '\0';
        return err_set(
            text, ERR_EXISTS,
            "data_dir %s is in use by another agent (process %s): stop that one, or give "
            "this one a data_dir of its own",
            identity->directory, pid[0] != '\0' ? pid : "unknown");
    }
    if (err == ERR_OK) {
        int n = snprintf(pid, sizeof pid, "%-20ld\n", (long)getpid());
        err = store_file_write(identity->lock, 0, pid, (size_t)n, text);
    }
    return err;
}

static enum err load(struct store_identity *identity, struct err_text *text) {
    char path[FORMAT_PATH_BYTES];
    uint8_t bytes[FILE_BYTES];
    struct store_file *file = NULL;
    size_t size = 0;
    uint64_t unused;
    enum err err = format_path(path, identity->directory, NAME, text);
    if (err == ERR_OK) {
        err = store_file_open(path, STORE_FILE_READ, &file, text);
    }
    if (err == ERR_OK) {
        err = store_file_read(file, 0, bytes, sizeof bytes, &size, text);
    }
    store_file_close(file);
    if (err == ERR_OK && size < FORMAT_HEADER_BYTES) {
        err = err_set(text, ERR_CORRUPT, "%s is cut off", path);
    }
    if (err == ERR_OK) {
        err = format_check_header(bytes, MAGIC, NULL, path, &unused, text);
    }
    const uint8_t *disk = bytes + FORMAT_HEADER_BYTES;
    if (err == ERR_OK && (size < FILE_BYTES || get_u32(disk + 16) != crc32c(0, disk, 16))) {
        err = err_set(text, ERR_CORRUPT, "%s fails its checksum", path);
    }
    if (err == ERR_OK) {
        memcpy(identity->cluster.bytes, bytes + 16, 16);
        memcpy(identity->disk.bytes, disk, 16);
    } else if (err == ERR_CORRUPT || err == ERR_FOREIGN) {
        err_prefix(text,
                   "data_dir %s cannot be trusted: move it away and let the agent join again "
                   "with an empty one",
                   identity->directory);
    }
    return err;
}

static enum err open_directory(struct store_identity *identity, struct err_text *text) {
    struct contents contents = {.other = ""};
    enum err err = store_directory_make(identity->directory, text);
    if (err == ERR_OK) {
        err = store_directory_list(identity->directory, look_at_name, &contents, text);
    }
    if (err != ERR_OK) {
        err_prefix(text,
                   "data_dir %s cannot be used: create it for the user that runs the agent, "
                   "or choose another directory",
                   identity->directory);
        return err == ERR_NO_SPACE ? err : ERR_IO;
    }
    if (!contents.identity && contents.other[0] != '\0') {
        return err_set(text, ERR_FOREIGN,
                       "data_dir %s holds files of another program (%s): choose an empty directory",
                       identity->directory, contents.other);
    }
    err = take_lock(identity, text);
    if (err != ERR_OK) {
        return err;
    }
    if (contents.identity) {
        err = load(identity, text);
        /* Whoever made it may have died before its name was durable. */
        return err == ERR_OK ? store_directory_sync(identity->directory, text) : err;
    }
    err = write_file(identity, &identity->cluster, text);
    if (err != ERR_OK) {
        err_prefix(text, "data_dir %s cannot be written", identity->directory);
    }
    return err;
}

enum err store_identity_open(const char *directory, const struct uuid *disk,
                             struct store_identity **ret_identity, struct err_text *text) {
    struct store_identity *identity = mem_calloc(1, sizeof *identity);
    identity->directory = mem_strdup(directory);
    identity->disk = *disk;
    enum err err = open_directory(identity, text);
    if (err != ERR_OK) {
        store_identity_close(identity);
        return err;
    }
    *ret_identity = identity;
    return ERR_OK;
}

void store_identity_close(struct store_identity *identity) {
    if (identity != NULL) {
        store_file_close(identity->lock);
        free(identity->directory);
        free(identity);
    }
}

struct uuid store_identity_disk(const struct store_identity *identity) {
    return identity->disk;
}

bool store_identity_cluster(const struct store_identity *identity, struct uuid *ret_cluster) {
    *ret_cluster = identity->cluster;
    return !format_is_zero(identity->cluster.bytes, 16);
}

enum err store_identity_set_cluster(struct store_identity *identity, const struct uuid *cluster,
                                    struct err_text *text) {
    struct uuid present;
    if (store_identity_cluster(identity, &present)) {
        return memcmp(&present, cluster, sizeof present) == 0
                   ? ERR_OK
                   : err_set(text, ERR_EXISTS, "data_dir %s belongs to another cluster",
                             identity->directory);
    }
    enum err err = write_file(identity, cluster, text);
    if (err == ERR_OK) {
        identity->cluster = *cluster;
    }
    return err;
}
