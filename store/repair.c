#include "store/repair.h"

#include "base/mutant.h"
#include "store/format.h"
#include "store/replace.h"

#define NAME "log-in-repair"

enum err store_repair_is_noted(const char *directory, bool *ret_noted, struct err_text *text) {
    size_t size;
    return store_replace_read(directory, NAME, NULL, 0, ret_noted, &size, text);
}

enum err store_repair_note(const char *directory, struct err_text *text) {
    char path[FORMAT_PATH_BYTES];
    struct store_file *file;
    if (MUTANT(repair_not_noted)) {
        return ERR_OK;
    }
    enum err err = format_path(path, directory, NAME, text);
    if (err == ERR_OK) {
        err = store_file_open(path, STORE_FILE_CREATE, &file, text);
    }
    if (err == ERR_OK) {
        err = store_file_sync(file, text);
        store_file_close(file);
    }
    return err == ERR_OK ? store_directory_sync(directory, text) : err;
}

enum err store_repair_clear(const char *directory, struct err_text *text) {
    return store_replace_clear(directory, NAME, text);
}
