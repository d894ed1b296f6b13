#include "store/replace.h"

#include <stdbool.h>
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

enum err store_replace_clear(const char *directory, const char *name, struct err_text *text) {
    char path[FORMAT_PATH_BYTES];
    enum err err = format_path(path, directory, name, text);
    if (err == ERR_OK) {
        err = store_file_unlink(path, text);
    }
    err = err == ERR_NOT_FOUND ? ERR_OK : err;
    return err == ERR_OK ? store_directory_sync(directory, text) : err;
}
