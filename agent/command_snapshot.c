/* `cairn snapshot save` and `restore` (contract 3.5). */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/archive.h"
#include "agent/command.h"
#include "agent/command_client.h"
#include "base/limits.h"
#include "store/file.h"
#include "store/replace.h"

static bool read_file(const char *path, struct buf *out) {
    char piece[64 * 1024];
    size_t size;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    while ((size = fread(piece, 1, sizeof piece, file)) > 0) {
        buf_append(out, piece, size);
    }
    bool whole = ferror(file) == 0 && !out->failed;
    fclose(file);
    return whole;
}

/* The archive's numbers; false: a sentence is out. */
static bool judge(const struct buf *bytes, struct archive *archive, const char *what) {
    struct err_text text = {""};
    struct catalog_image *image = NULL;
    enum err err = archive_read(bytes->data, bytes->count, archive, &text);
    struct archive_reader reader = {.archive = archive};
    if (err == ERR_OK) {
        err = catalog_read_image(archive_read_state, &reader, &image, &text);
    }
    catalog_drop_image(image);
    if (err != ERR_OK) {
        fprintf(stderr, "%s: %s\n", what, text.s);
    }
    return err == ERR_OK;
}

static int save(struct client *client, const char *path, struct arena *arena) {
    struct client_answer answer = {0};
    struct archive archive = {.index = 0};
    struct err_text text = {""};
    buf_init(&archive.tar, 0);
    enum err err = client_exchange(client, "GET", "/v1/snapshot", NULL, 0, NULL, 0, &answer, &text);
    err = err == ERR_OK && answer.status != 200 ? client_refusal(&answer, &text) : err;
    bool good = err == ERR_OK;
    if (!good) {
        fprintf(stderr, "Error saving snapshot: %s\n", text.s);
    }
    good = good && judge(&answer.body, &archive, "Error verifying snapshot file");
    if (good && (store_replace_file(arena_strdup(arena, path), answer.body.data, answer.body.count,
                                    &text) != ERR_OK)) {
        fprintf(stderr, "Error writing snapshot file: %s\n", text.s);
        good = false;
    }
    if (good) {
        printf("Saved and verified snapshot to index %" PRIu64 "\n", archive.index);
    }
    archive_clear(&archive);
    buf_clear(&answer.body);
    return good ? 0 : 1;
}

static int restore(struct client *client, const char *path, struct arena *arena) {
    struct client_answer answer = {0};
    struct err_text text = {""};
    struct buf bytes;
    (void)arena;
    buf_init(&bytes, LIMIT_HTTP_ANSWER_BYTES);
    if (!read_file(path, &bytes)) {
        fprintf(stderr, "Error opening snapshot file: %s\n", path);
        buf_clear(&bytes);
        return 1;
    }
    enum err err = client_exchange(client, "PUT", "/v1/snapshot", NULL, 0, bytes.data, bytes.count,
                                   &answer, &text);
    err = err == ERR_OK && answer.status != 200 ? client_refusal(&answer, &text) : err;
    if (err == ERR_OK) {
        printf("Restored snapshot\n");
    } else {
        fprintf(stderr, "Error restoring snapshot: %s\n", text.s);
    }
    buf_clear(&bytes);
    buf_clear(&answer.body);
    return err == ERR_OK ? 0 : 1;
}

static int run(const struct command_spec *spec, int argc, char **argv,
               int (*act)(struct client *client, const char *path, struct arena *arena)) {
    struct command_line line;
    struct arena arena;
    int code = 1;
    arena_init(&arena);
    if (command_parse(spec, argc, argv, &arena, &line, &code)) {
        code = 1;
        if (line.arg_count != 1) {
            fprintf(stderr, line.arg_count == 0 ? "Missing FILE argument\n"
                                                : "Too many arguments (expected 1)\n");
        } else {
            struct client *client = client_create(&line.options);
            code = client != NULL ? act(client, line.args[0], &arena) : 1;
            client_destroy(client);
        }
    }
    arena_clear(&arena);
    return code;
}

int command_snapshot_save(int argc, char **argv) {
    const struct command_spec spec = {"snapshot save [options] FILE",
                                      "  Saves everything that the servers hold to a file.", NULL,
                                      0, COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    return run(&spec, argc, argv, save);
}

int command_snapshot_restore(int argc, char **argv) {
    const struct command_spec spec = {
        "snapshot restore [options] FILE",
        "  Replaces everything that the servers hold by what the file has.", NULL, 0,
        COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    return run(&spec, argc, argv, restore);
}
