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
#include "agent/command_snapshot.h"
#include "base/limits.h"
#include "store/file.h"

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

bool snapshot_file_open(const char *path, struct archive *ret_archive) {
    struct buf bytes;
    *ret_archive = (struct archive){.index = 0};
    buf_init(&ret_archive->tar, 0);
    buf_init(&bytes, LIMIT_HTTP_ANSWER_BYTES);
    bool good = read_file(path, &bytes);
    if (!good) {
        fprintf(stderr, "Error opening snapshot file: %s\n", path);
    }
    good = good && judge(&bytes, ret_archive, "Error reading snapshot");
    buf_clear(&bytes);
    return good;
}

/* ---- save ---- */

struct self {
    const char *version, *datacenter;
};

static const struct decode_field self_config_fields[] = {
    DECODE_FIELD(struct self, version, "Version", DECODE_STR),
    DECODE_FIELD(struct self, datacenter, "Datacenter", DECODE_STR),
};
static const struct decode_spec self_config_spec = {"Config", sizeof(struct self),
                                                    self_config_fields, 2, true};
static const struct decode_field self_fields[] = {
    {.name = "Config", .kind = DECODE_INLINE, .offset = 0, .spec = &self_config_spec}};
static const struct decode_spec self_spec = {"Self", sizeof(struct self), self_fields, 1, true};

/* What is asked for goes before the file's extension, the version first. NULL: a sentence is out.
 */
static const char *name_file(struct client *client, const char *path, const char *append,
                             struct arena *arena) {
    struct self self = {.version = "", .datacenter = ""};
    struct err_text text = {""};
    bool version = false, dc = false;
    for (const char *at = append; *at != '\0'; at += *at == ',') {
        size_t size = strcspn(at, ",");
        if (size == 7 && strncmp(at, "version", 7) == 0) {
            version = true;
        } else if (size == 2 && strncmp(at, "dc", 2) == 0) {
            dc = true;
        } else {
            fprintf(stderr, "Error: -append-filename takes version and dc, not \"%.*s\"\n",
                    (int)size, at);
            return NULL;
        }
        at += size;
    }
    if (!version && !dc) {
        return path;
    }
    if (client_get(client, "/v1/agent/self", NULL, 0, &self_spec, false, arena, &self, &text) !=
        ERR_OK) {
        fprintf(stderr, "Error querying the agent for -append-filename: %s\n", text.s);
        return NULL;
    }
    const char *base = strrchr(path, '/'), *end = strrchr(path, '.');
    base = base != NULL ? base + 1 : path;
    if (end == NULL || end <= base) {
        end = path + strlen(path);
    }
    return arena_format(arena, "%.*s%s%s%s%s%s", (int)(end - path), path, version ? "-" : "",
                        version ? self.version : "", dc ? "-" : "", dc ? self.datacenter : "", end);
}

/* Written under another name, read back and judged, then renamed. */
static bool write_file(const char *path, const struct buf *bytes, struct archive *ret_archive,
                       struct arena *arena) {
    const char *unverified = arena_format(arena, "%s.unverified", path);
    struct store_file *file = NULL;
    struct err_text text = {""};
    enum err err = store_file_open(unverified, STORE_FILE_CREATE, &file, &text);
    if (err == ERR_OK) {
        err = store_file_write(file, 0, bytes->data, bytes->count, &text);
    }
    if (err == ERR_OK) {
        err = store_file_sync(file, &text);
    }
    store_file_close(file);
    if (err == ERR_OK && !snapshot_file_open(unverified, ret_archive)) {
        return false;
    }
    if (err == ERR_OK) {
        err = store_file_rename(unverified, path, &text);
    }
    if (err != ERR_OK) {
        fprintf(stderr, "Error writing snapshot file: %s\n", text.s);
    }
    return err == ERR_OK;
}

static int save(struct client *client, const char *path, const char *append, struct arena *arena) {
    struct client_answer answer = {0};
    struct archive archive = {.index = 0};
    struct err_text text = {""};
    path = name_file(client, path, append, arena);
    if (path == NULL) {
        return 1;
    }
    enum err err = client_exchange(client, "GET", "/v1/snapshot", NULL, 0, NULL, 0, &answer, &text);
    err = err == ERR_OK && answer.status != 200 ? client_refusal(&answer, &text) : err;
    bool good = err == ERR_OK;
    if (!good) {
        fprintf(stderr, "Error saving snapshot: %s\n", text.s);
    }
    good = good && write_file(path, &answer.body, &archive, arena);
    if (good) {
        printf("Saved and verified snapshot to index %" PRIu64 "\n", archive.index);
    }
    archive_clear(&archive);
    buf_clear(&answer.body);
    return good ? 0 : 1;
}

/* ---- restore ---- */

static int restore(struct client *client, const char *path, const char *append,
                   struct arena *arena) {
    struct client_answer answer = {0};
    struct err_text text = {""};
    struct buf bytes;
    (void)append;
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

static int run(const struct command_spec *spec, int argc, char **argv, const char *const *append,
               int (*act)(struct client *client, const char *path, const char *append,
                          struct arena *arena)) {
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
            code = client != NULL ? act(client, line.args[0], *append, &arena) : 1;
            client_destroy(client);
        }
    }
    arena_clear(&arena);
    return code;
}

int command_snapshot_save(int argc, char **argv) {
    const char *append = "";
    const struct command_flag flags[] = {{"append-filename", COMMAND_FLAG_STR, &append,
                                          "version, dc or both: goes into the file's name."}};
    const struct command_spec spec = {"snapshot save [options] FILE",
                                      "  Saves everything that the servers hold to a file.", flags,
                                      1, COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    return run(&spec, argc, argv, &append, save);
}

int command_snapshot_restore(int argc, char **argv) {
    const struct command_spec spec = {
        "snapshot restore [options] FILE",
        "  Replaces everything that the servers hold by what the file has.", NULL, 0,
        COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    const char *append = "";
    return run(&spec, argc, argv, &append, restore);
}
