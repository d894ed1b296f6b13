#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#define LINE_BYTES 4096

struct log {
    int fd;
    _Atomic int level;
};

struct log *log_create(int fd, enum log_level level) {
    struct log *log = mem_calloc(1, sizeof *log);
    log->fd = fd;
    atomic_init(&log->level, (int)level);
    return log;
}

void log_destroy(struct log *log) {
    free(log);
}

void log_set_level(struct log *log, enum log_level level) {
    atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

bool log_parse_level(const char *s, enum log_level *ret_level) {
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {{"TRACE", LOG_TRACE}, {"DEBUG", LOG_DEBUG}, {"INFO", LOG_INFO},
                  {"WARN", LOG_WARN},   {"ERR", LOG_ERROR},   {"ERROR", LOG_ERROR}};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (str_equal_fold(s, levels[i].name)) {
            *ret_level = levels[i].level;
            return true;
        }
    }
    return false;
}

void log_write(struct log *log, enum log_level level, const char *module, const char *format, ...) {
    static const char *const marks[] = {"[TRACE]", "[DEBUG]", "[INFO] ", "[WARN] ", "[ERROR]"};
    if (log == NULL || (int)level < atomic_load_explicit(&log->level, memory_order_relaxed)) {
        return;
    }
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    char line[LINE_BYTES];
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    used +=
        (size_t)snprintf(line + used, sizeof line - used,
                         ".%03dZ %s %.64s: ", (int)(now.tv_nsec / 1000000), marks[level], module);
    size_t message = used;
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line + used, sizeof line - used - 1, format, args);
    va_end(args);
    used += size < 0 ? 0 : (size_t)size;
    if (used > sizeof line - 2) {
        used = sizeof line - 2;
    }
    for (size_t i = message; i < used; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    line[used++] = '\n';
    for (size_t done = 0; done < used;) {
        ssize_t n = write(log->fd, line + done, used - done);
        if (n < 0 && errno != EINTR) {
            return;
        }
        done += n > 0 ? (size_t)n : 0;
    }
}
