#include "store/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

struct store_file {
    int fd;
    char *path;
};

static enum err fail(struct err_text *text, const char *verb, const char *path) {
    int number = errno;
    enum err err = err_set_errno(text, number, "cannot %s %s", verb, path);
    return number == ENOENT ? ERR_NOT_FOUND : err;
}

enum err store_file_open(const char *path, enum store_file_mode mode, struct store_file **ret_file,
                         struct err_text *text) {
    static const int flags[] = {[STORE_FILE_READ] = O_RDONLY,
                                [STORE_FILE_WRITE] = O_RDWR,
                                [STORE_FILE_CREATE] = O_RDWR | O_CREAT | O_TRUNC};
    int fd = open(path, flags[mode] | O_CLOEXEC, 0600);
    if (fd < 0) {
        bool later = errno == EMFILE || errno == ENFILE; /* nothing is lost, and it may pass */
        enum err err = fail(text, mode == STORE_FILE_CREATE ? "create" : "open", path);
        return later ? ERR_NO_SPACE : err;
    }
    struct store_file *file = mem_alloc(sizeof *file);
    *file = (struct store_file){.fd = fd, .path = mem_strdup(path)};
    *ret_file = file;
    return ERR_OK;
}

void store_file_close(struct store_file *file) {
    if (file != NULL) {
        close(file->fd);
        free(file->path);
        free(file);
    }
}

enum err store_file_size(struct store_file *file, uint64_t *ret_size, struct err_text *text) {
    struct stat stat;
    if (fstat(file->fd, &stat) != 0) {
        return fail(text, "look at", file->path);
    }
    *ret_size = (uint64_t)stat.st_size;
    return ERR_OK;
}

enum err store_file_read(struct store_file *file, uint64_t offset, void *data, size_t size,
                         size_t *ret_size, struct err_text *text) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(file->fd, (char *)data + done, size - done, (off_t)(offset + done));
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            return fail(text, "read", file->path);
        }
        done += n > 0 ? (size_t)n : 0;
    }
    *ret_size = done;
    return ERR_OK;
}

enum err store_file_write(struct store_file *file, uint64_t offset, const void *data, size_t size,
                          struct err_text *text) {
    size_t done = 0;
    while (done < size) {
        ssize_t n =
            pwrite(file->fd, (const char *)data + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno != EINTR) {
            return fail(text, "write", file->path);
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return ERR_OK;
}

enum err store_file_sync(struct store_file *file, struct err_text *text) {
    return fdatasync(file->fd) == 0 ? ERR_OK : fail(text, "sync", file->path);
}

enum err store_file_lock(struct store_file *file, struct err_text *text) {
    if (flock(file->fd, LOCK_EX | LOCK_NB) == 0) {
        return ERR_OK;
    }
    if (errno == EWOULDBLOCK) {
        return err_set(text, ERR_EXISTS, "%s is locked by another process", file->path);
    }
    return fail(text, "lock", file->path);
}

enum err store_file_rename(const char *from, const char *to, struct err_text *text) {
    return rename(from, to) == 0 ? ERR_OK : fail(text, "rename", from);
}

enum err store_file_unlink(const char *path, struct err_text *text) {
    return unlink(path) == 0 ? ERR_OK : fail(text, "remove", path);
}

/* Makes one directory and its name durable, if it can be: the parent of one that was there may be
 * none of ours. */
static enum err make_one(char *path, mode_t mode, struct err_text *text) {
    bool made = mkdir(path, mode) == 0;
    if (!made && errno != EEXIST) {
        return fail(text, "create the directory", path);
    }
    char *slash = strrchr(path, '/');
    enum err err;
    if (slash == NULL || slash == path) {
        err = store_directory_sync(slash == NULL ? "." : "/", text);
    } else {
        *slash = '\0';
        err = store_directory_sync(path, text);
        *slash = '/';
    }
    return made ? err : ERR_OK;
}

enum err store_directory_make(const char *path, struct err_text *text) {
    char *copy = mem_strdup(path);
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--) {
        copy[n - 1] = '\0';
    }
    enum err err = ERR_OK;
    for (char *at = copy + 1; *copy != '\0' && *at != '\0' && err == ERR_OK; at++) {
        if (*at == '/') {
            *at = '\0';
            err = make_one(copy, 0755, text);
            *at = '/';
        }
    }
    if (err == ERR_OK) {
        err = make_one(copy, 0700, text);
    }
    if (err == ERR_OK) {
        struct stat stat_buf;
        if (stat(copy, &stat_buf) != 0 || !S_ISDIR(stat_buf.st_mode)) {
            err = err_set(text, ERR_IO, "%s is not a directory", path);
        }
    }
    free(copy);
    return err;
}

enum err store_directory_sync(const char *path, struct err_text *text) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail(text, "open", path);
    }
    enum err err = fsync(fd) == 0 ? ERR_OK : fail(text, "sync", path);
    close(fd);
    return err;
}

enum err store_directory_list(const char *path, void (*visit)(void *context, const char *name),
                              void *context, struct err_text *text) {
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return fail(text, "list", path);
    }
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            visit(context, entry->d_name);
        }
        errno = 0;
    }
    enum err err = errno == 0 ? ERR_OK : fail(text, "list", path);
    closedir(dir);
    return err;
}
