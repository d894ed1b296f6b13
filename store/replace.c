#include "store/replace.h"

#include <stdio.h>

#include "store/file.h"
#include "store/format.h"

enum err store_replace_file(const char *path, const void *data, size_t size,
                            struct err_text *text) {
    char temporary[FORMAT_PATH_BYTES];
    struct store_file *file = NULL;
    int used = snprintf(temporary, sizeof temporary, "%s" STORE_REPLACE_SUFFIX, path);
    if (used < 0 || (size_t)used >= sizeof temporary) {
        return err_set(text, ERR_TOO_LARGE, "the path %.64s... is too long", path);
    }
    enum err err = store_file_open(temporary, STORE_FILE_CREATE, &file, text);
    if (err == ERR_OK) {
        err = store_file_write(file, 0, data, size, text);
    }
    if (err == ERR_OK) {
        err = store_file_sync(file, text);
    }
    bool made = file != NULL;
    store_file_close(file);
    if (err == ERR_OK) {
        err = store_file_rename(temporary, path, text);
    }
    if (err != ERR_OK && made) {
        (void)store_file_unlink(temporary, NULL); /* on a full disk its room is wanted */
    }
    return err;
}

static enum err read_whole(const char *path, void *data, size_t size, size_t *ret_size,
                           struct err_text *text) {
    struct store_file *file = NULL;
    enum err err = store_file_open(path, STORE_FILE_READ, &file, text);
    if (err == ERR_OK && size > 0) {
        err = store_file_read(file, 0, data, size, ret_size, text);
        if (err == ERR_OK && *ret_size == size) {
            err = err_set(text, ERR_CORRUPT, "%s is too long", path);
        }
    }
    store_file_close(file);
    return err;
}

enum err store_replace_read(const char *directory, const char *name, void *data, size_t size,
                            bool *ret_found, size_t *ret_size, struct err_text *text) {
    char path[FORMAT_PATH_BYTES];
    *ret_size = 0;
    enum err err = format_path(path, directory, name, text);
    if (err == ERR_OK) {
        err = read_whole(path, data, size, ret_size, text);
    }
    *ret_found = err == ERR_OK;
    if (err == ERR_NOT_FOUND) {
        return ERR_OK;
    }
    return err == ERR_OK ? store_directory_sync(directory, text) : err;
}

enum err store_replace_clear(const char *directory, const char *name, struct err_text *text) {
    char path[FORMAT_PATH_BYTES];
    enum err err = format_path(path, directory, name, text);
    if (err == ERR_OK) {
        err = store_file_unlink(path, text);
    }
    err = err == ERR_NOT_FOUND ? ERR_OK : err;
    return err == ERR_OK ? store_directory_sync(directory, text) : err;
}
