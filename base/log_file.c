#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log_sinks.h"
#include "base/mem.h"
#include "base/str.h"

#define PATH_BYTES 4096
#define RENAMED_MAX 4096 /* more old files than this are not looked at */
#define NS_PER_S INT64_C(1000000000)

struct log_file {
    struct log_file_config config; /* path is unset */
    char folder[PATH_BYTES], base[256], extension[256];
    int fd;
    int64_t bytes, opened_ns;
    pthread_mutex_t mutex; /* held for a write, and for the renaming now and then */
};

static int64_t to_ns(const struct timespec *now) {
    return now->tv_sec * NS_PER_S + now->tv_nsec;
}

static void name_of(const struct log_file *file, const char *middle, char out[2 * PATH_BYTES]) {
    snprintf(out, (size_t)2 * PATH_BYTES, "%s%s%s%s", file->folder, file->base, middle,
             file->extension);
}

static bool open_file(struct log_file *file, int64_t now_ns) {
    char path[2 * PATH_BYTES];
    struct stat info;
    name_of(file, "", path);
    file->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    file->bytes = file->fd >= 0 && fstat(file->fd, &info) == 0 ? info.st_size : 0;
    file->opened_ns = now_ns;
    return file->fd >= 0;
}

struct log_file *log_file_open(const struct log_file_config *config, struct err_text *text) {
    struct log_file *file = mem_calloc(1, sizeof *file);
    const char *slash = strrchr(config->path, '/');
    const char *name = slash != NULL ? slash + 1 : config->path;
    if (*name == '\0') {
        name = "consul.log";
    }
    const char *dot = strrchr(name, '.');
    size_t base = dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name);
    file->config = *config;
    snprintf(file->folder, sizeof file->folder, "%.*s",
             slash != NULL ? (int)(slash + 1 - config->path) : 0, config->path);
    snprintf(file->base, sizeof file->base, "%.*s", (int)base, name);
    snprintf(file->extension, sizeof file->extension, "%s",
             name[base] != '\0' ? name + base : ".log");
    pthread_mutex_init(&file->mutex, NULL);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!open_file(file, to_ns(&now))) {
        err_set_errno(text, errno, "Failed to setup logging: log_file %.300s", config->path);
        log_file_close(file);
        return NULL;
    }
    return file;
}

void log_file_close(struct log_file *file) {
    if (file != NULL) {
        if (file->fd >= 0) {
            close(file->fd);
        }
        pthread_mutex_destroy(&file->mutex);
        free(file);
    }
}

/* ---- renaming ---- */

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Whether it is one of this log's renamed files. */
static bool is_renamed(const struct log_file *file, const char *name) {
    size_t base = strlen(file->base), extension = strlen(file->extension), size = strlen(name);
    return size > base + 1 + extension && strncmp(name, file->base, base) == 0 &&
           name[base] == '-' && strcmp(name + size - extension, file->extension) == 0 &&
           strspn(name + base + 1, "0123456789") == size - base - 1 - extension;
}

/* Names of equal length: their order is that of time. */
static void remove_oldest(const struct log_file *file) {
    DIR *dir = opendir(file->folder[0] != '\0' ? file->folder : ".");
    char *names[RENAMED_MAX];
    size_t count = 0;
    struct dirent *at;
    while (dir != NULL && count < RENAMED_MAX && (at = readdir(dir)) != NULL) {
        if (is_renamed(file, at->d_name)) {
            names[count++] = mem_strdup(at->d_name);
        }
    }
    qsort(names, count, sizeof names[0], compare);
    size_t keep = file->config.files_max > 0 ? (size_t)file->config.files_max : 0;
    for (size_t i = 0; i < count; i++) {
        if (i + keep < count) {
            unlinkat(dirfd(dir), names[i], 0);
        }
        free(names[i]);
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

static void turn_over(struct log_file *file, int64_t now_ns) {
    char path[2 * PATH_BYTES], renamed[2 * PATH_BYTES], middle[32];
    snprintf(middle, sizeof middle, "-%lld", (long long)now_ns);
    name_of(file, "", path);
    name_of(file, middle, renamed);
    int old = file->fd;
    if (rename(path, renamed) != 0 || !open_file(file, now_ns)) {
        file->fd = old; /* better a long file than none */
        file->opened_ns = now_ns;
        return;
    }
    close(old);
    if (file->config.files_max != 0) {
        remove_oldest(file);
    }
}

void log_file_write(struct log_file *file, const char *line, size_t size,
                    const struct timespec *now) {
    const struct log_file_config *config = &file->config;
    int64_t now_ns = to_ns(now);
    pthread_mutex_lock(&file->mutex);
    bool full = config->bytes_max > 0 && file->bytes >= config->bytes_max;
    bool old = config->age_max_ns > 0 && now_ns - file->opened_ns >= config->age_max_ns;
    if (full || old) {
        turn_over(file, now_ns);
    }
    ssize_t written = write(file->fd, line, size); /* a full disk must not stop the agent */
    file->bytes += written > 0 ? written : 0;
    pthread_mutex_unlock(&file->mutex);
}
