/* Sources of configuration: files, folders, texts of the command line (contract 2.1). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config_table.h"
#include "base/hcl.h"
#include "base/limits.h"

static enum err fail_errno(struct config_load *load, const char *what, const char *path) {
    return config_fail(load, "config: %s %s: %s", what, path, strerror(errno));
}

static enum err read_all(struct config_load *load, const char *path, struct buf *out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fail_errno(load, "Open failed on", path);
    }
    ssize_t n;
    do {
        char *to = buf_reserve(out, 65536);
        n = to != NULL ? read(fd, to, 65536) : 0;
        out->count += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    enum err err = n < 0         ? fail_errno(load, "ReadAll failed on", path)
                   : out->failed ? config_fail(load, "config: %s is too large", path)
                                 : ERR_OK;
    close(fd);
    return err;
}

static enum err parsed(struct config_load *load, const char *name, enum err err) {
    if (err != ERR_OK) {
        load->error = arena_format(load->arena, "failed to parse %s: %s", name, load->error);
    }
    return err;
}

/* HCL that begins with a brace is JSON, as for others. */
static bool looks_like_json(const char *text, size_t size) {
    size_t at = 0;
    while (at < size &&
           (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n')) {
        at++;
    }
    return at < size && text[at] == '{';
}

enum err config_read_text(struct config_load *load, const char *name, bool hcl, const char *text,
                          size_t size) {
    if (!hcl || looks_like_json(text, size)) {
        return parsed(load, name, config_decode(load, text, size));
    }
    struct buf json;
    struct err_text reason = {""};
    buf_init(&json, LIMIT_CONFIG_JSON_BYTES);
    enum err err = hcl_to_json(text, size, &json, &reason);
    if (err != ERR_OK) {
        load->error = arena_strdup(load->arena, reason.s);
    } else {
        err = config_decode(load, json.data, json.count);
    }
    buf_clear(&json);
    return parsed(load, name, err);
}

static bool ends_with(const char *s, const char *end) {
    size_t size = strlen(s), end_size = strlen(end);
    return size >= end_size && strcmp(s + size - end_size, end) == 0;
}

static bool has_format(const char *path, const char *format) {
    return *format != '\0' || ends_with(path, ".json") || ends_with(path, ".hcl");
}

static enum err read_file(struct config_load *load, const char *path, const char *format) {
    struct buf content;
    bool hcl = *format != '\0' ? strcmp(format, "hcl") == 0 : ends_with(path, ".hcl");
    buf_init(&content, LIMIT_CONFIG_FILE_BYTES);
    enum err err = read_all(load, path, &content);
    if (err == ERR_OK && content.count > 0) {
        err = config_read_text(load, path, hcl, content.data, content.count);
    }
    buf_clear(&content);
    return err;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum err list_folder(struct config_load *load, const char *path, const char ***ret_names,
                            size_t *ret_count) {
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return fail_errno(load, "Readdir failed on", path);
    }
    const char **names = NULL;
    size_t count = 0, capacity = 0;
    struct dirent *at;
    while ((at = readdir(dir)) != NULL) {
        if (strcmp(at->d_name, ".") == 0 || strcmp(at->d_name, "..") == 0) {
            continue;
        }
        if (count == capacity) {
            capacity = capacity == 0 ? 16 : capacity * 2;
            const char **more = arena_alloc(load->arena, capacity * sizeof *more);
            if (count > 0) {
                memcpy(more, names, count * sizeof *more);
            }
            names = more;
        }
        names[count++] = arena_strdup(load->arena, at->d_name);
    }
    closedir(dir);
    if (count > 0) {
        qsort(names, count, sizeof *names, compare_names);
    }
    *ret_names = names;
    *ret_count = count;
    return ERR_OK;
}

static enum err read_folder(struct config_load *load, const char *path, const char *format) {
    const char **names = NULL;
    size_t count = 0;
    enum err err = list_folder(load, path, &names, &count);
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        bool slash = ends_with(path, "/");
        const char *file = arena_format(load->arena, "%s%s%s", path, slash ? "" : "/", names[i]);
        struct stat info;
        if (stat(file, &info) != 0) {
            return fail_errno(load, "Stat failed on", file);
        }
        if (S_ISDIR(info.st_mode)) {
            continue;
        }
        if (!has_format(file, format)) {
            config_warn(load,
                        "skipping file %s, extension must be .hcl or .json, or config format must "
                        "be set",
                        file);
            continue;
        }
        err = read_file(load, file, format);
    }
    return err;
}

enum err config_read_path(struct config_load *load, const char *path, const char *format) {
    struct stat info;
    if (stat(path, &info) != 0) {
        return fail_errno(load, "Open failed on", path);
    }
    if (S_ISDIR(info.st_mode)) {
        return read_folder(load, path, format);
    }
    if (!has_format(path, format)) {
        return config_fail(load,
                           "file %s has unknown extension; must be .hcl or .json, or config format "
                           "must be set",
                           path);
    }
    return read_file(load, path, format);
}
