/* `cairn -autocomplete-install` and `-autocomplete-uninstall`: the script of bash, in the folder
 * where bash-completion looks for those of a user. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/command.h"
#include "base/arena.h"
#include "store/file.h"
#include "store/replace.h"

static const unsigned char script[] = {
#include "agent/completion_script.inc" /* of deploy/cairn.bash-completion, by CMake */
};

/* NULL: there is no home. */
static const char *folder_of(struct arena *arena) {
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (data != NULL && *data == '/') {
        return arena_format(arena, "%s/bash-completion/completions", data);
    }
    return home != NULL && *home != '\0'
               ? arena_format(arena, "%s/.local/share/bash-completion/completions", home)
               : NULL;
}

static int change(bool install) {
    struct arena arena;
    struct err_text text = {""};
    enum err err = ERR_OK;
    arena_init(&arena);
    const char *folder = folder_of(&arena);
    if (folder == NULL) {
        err = err_set(&text, ERR_NOT_FOUND, "HOME is not set");
    } else if (install) {
        err = store_directory_make(folder, &text);
        if (err == ERR_OK) {
            err = store_replace_file(arena_format(&arena, "%s/cairn", folder), script,
                                     sizeof script, &text);
        }
    } else {
        err = store_file_unlink(arena_format(&arena, "%s/cairn", folder), &text);
        err = err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    if (err != ERR_OK) {
        fprintf(stderr, "Error %s completion: %s\n", install ? "installing" : "removing", text.s);
    }
    arena_clear(&arena);
    return err == ERR_OK ? 0 : 1;
}

int command_completion_install(int argc, char **argv) {
    (void)argc;
    (void)argv;
    return change(true);
}

int command_completion_uninstall(int argc, char **argv) {
    (void)argc;
    (void)argv;
    return change(false);
}
