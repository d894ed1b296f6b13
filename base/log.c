#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log_output.h"
#include "base/log_readers.h"
#include "base/log_sinks.h"
#include "base/mem.h"
#include "base/str.h"

#define LINE_BYTES LOG_LINE_BYTES
#define JSON_LINE_BYTES LOG_JSON_LINE_BYTES

#define STOP_MS 1000

struct log {
    int fd;
    _Atomic int level;
    bool json;
    struct log_file *file;                      /* NULL: none */
    struct log_output *console, *copy, *syslog; /* the last two may be NULL */
    struct log_readers *readers;
};

/* ---- outputs; on threads of their own ---- */

static void write_console(void *context, const struct log_piece *piece) {
    const struct log *log = context;
    for (size_t done = 0; done < piece->size;) {
        ssize_t n = write(log->fd, piece->text + done, piece->size - done);
        if (n < 0 && errno != EINTR) {
            return;
        }
        done += n > 0 ? (size_t)n : 0;
    }
}

static void write_copy(void *context, const struct log_piece *piece) {
    struct log *log = context;
    log_file_write(log->file, piece->text, piece->size, &piece->at);
}

static void write_syslog(void *context, const struct log_piece *piece) {
    (void)context;
    log_syslog_write((int)piece->level, piece->text);
}

struct log *log_create(int fd, enum log_level level) {
    struct log *log = mem_calloc(1, sizeof *log);
    log->fd = fd;
    atomic_init(&log->level, (int)level);
    log->readers = log_readers_create();
    log->console = log_output_create(write_console, log);
    return log;
}

void log_flush(struct log *log, uint64_t timeout_ms) {
    struct log_output *outputs[] = {log->console, log->copy, log->syslog};
    for (size_t i = 0; i < 3; i++) {
        if (outputs[i] != NULL) {
            log_output_flush(outputs[i], timeout_ms);
        }
    }
}

uint64_t log_lost_lines(struct log *log) {
    struct log_output *outputs[] = {log->console, log->copy, log->syslog};
    uint64_t lost = 0;
    for (size_t i = 0; i < 3; i++) {
        lost += outputs[i] != NULL ? log_output_lost(outputs[i]) : 0;
    }
    return lost;
}

void log_destroy(struct log *log) {
    if (log == NULL) {
        return;
    }
    bool syslog = log->syslog != NULL;
    bool ended = log_output_destroy(log->console, STOP_MS);
    bool copied = log_output_destroy(log->copy, STOP_MS);
    ended = log_output_destroy(log->syslog, STOP_MS) && copied && ended;
    log_readers_destroy(log->readers);
    if (ended) { /* else a thread hangs in what it uses */
        log_file_close(log->file);
        if (syslog) {
            log_syslog_close();
        }
        free(log);
    }
}

void log_hold(struct log *log) {
    log_output_hold(log->console);
}

void log_release(struct log *log, const char *first, size_t size) {
    log_output_release(log->console, &(struct log_piece){.text = first, .size = size});
}

void log_set_json(struct log *log, bool json) {
    log->json = json;
}

enum err log_add_file(struct log *log, const struct log_file_config *config,
                      struct err_text *text) {
    log->file = log_file_open(config, text);
    if (log->file == NULL) {
        return ERR_IO;
    }
    log->copy = log_output_create(write_copy, log);
    return ERR_OK;
}

void log_add_syslog(struct log *log, int facility) {
    log_syslog_open(facility);
    log->syslog = log_output_create(write_syslog, log);
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

/* ---- lines ---- */

static const char *const level_marks[] = {"[TRACE]", "[DEBUG]", "[INFO] ", "[WARN] ", "[ERROR]"};
static const char *const level_names[] = {"trace", "debug", "info", "warn", "error"};

/* Where the pairs of `message: key=value key="a value"` begin, NULL when there are none. */
static const char *find_pairs(const char *message) {
    for (const char *at = strstr(message, ": "); at != NULL; at = strstr(at + 2, ": ")) {
        size_t key = strspn(at + 2, "abcdefghijklmnopqrstuvwxyz_0123456789");
        if (key > 0 && at[2 + key] == '=') {
            return at + 2;
        }
    }
    return NULL;
}

/* The next pair, cut out of a copy; the end of it. */
static char *take_pair(char *at, const char **ret_key, const char **ret_value) {
    size_t key = strcspn(at, "= ");
    if (key == 0 || at[key] != '=') {
        return NULL;
    }
    char *value = at + key + 1, *end;
    at[key] = '\0';
    if (*value == '"' && (end = strchr(value + 1, '"')) != NULL) {
        value++;
    } else {
        end = value + strcspn(value, " ");
    }
    char *next = *end == '\0' ? end : end + 1;
    *end = '\0';
    *ret_key = at;
    *ret_value = value;
    return next + strspn(next, " ");
}

#define ZONE_BYTES 16

/* "Z" for UTC, else +hhmm or +hh:mm. */
static void put_zone(const struct tm *tm, const char *between, char out[ZONE_BYTES]) {
    long minutes = tm->tm_gmtoff / 60, size = labs(minutes);
    if (minutes == 0) {
        strcpy(out, "Z");
        return;
    }
    snprintf(out, ZONE_BYTES, "%c%02ld%s%02ld", minutes < 0 ? '-' : '+', size / 60 % 100, between,
             size % 60);
}

static size_t format_json(char line[JSON_LINE_BYTES], enum log_level level, const char *module,
                          char *message, const struct timespec *now, const struct tm *tm) {
    struct buf out;
    struct json json;
    char time[64];
    const char *pairs = find_pairs(message), *key, *value;
    size_t used = strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", tm);
    used += (size_t)snprintf(time + used, sizeof time - used, ".%06ld", now->tv_nsec / 1000);
    put_zone(tm, ":", time + used);
    buf_init(&out, JSON_LINE_BYTES - 1);
    json_init(&json, &out, false);
    json_object_begin(&json);
    json_member_str(&json, "@level", level_names[level]);
    if (pairs != NULL) {
        message[pairs - message - 2] = '\0';
    }
    json_member_str(&json, "@message", message);
    json_member_str(&json, "@module", module);
    json_member_str(&json, "@timestamp", time);
    for (char *at = (char *)(uintptr_t)pairs; at != NULL && *at != '\0';) {
        at = take_pair(at, &key, &value);
        if (at != NULL) {
            json_member_str(&json, key, value);
        }
    }
    json_object_end(&json);
    used = out.failed ? 0 : out.count;
    if (used > 0) {
        memcpy(line, out.data, used);
    }
    buf_clear(&out);
    return used;
}

static size_t format_text(char line[LINE_BYTES], enum log_level level, const char *module,
                          const char *message, const struct timespec *now, const struct tm *tm) {
    size_t used = strftime(line, LINE_BYTES, "%Y-%m-%dT%H:%M:%S", tm);
    char zone[ZONE_BYTES];
    put_zone(tm, "", zone);
    int size = snprintf(line + used, LINE_BYTES - used, ".%03d%s %s %.64s: %s",
                        (int)(now->tv_nsec / 1000000), zone, level_marks[level], module, message);
    used += size < 0 ? 0 : (size_t)size;
    return used > LINE_BYTES - 2 ? LINE_BYTES - 2 : used;
}

/* A line on its way to readers that want it as JSON. */
struct json_line {
    enum log_level level;
    const char *module, *message;
    const struct timespec *now;
    const struct tm *tm;
};

static size_t format_json_line(void *context, char out[LOG_JSON_LINE_BYTES]) {
    const struct json_line *line = context;
    char message[LINE_BYTES];
    memcpy(message, line->message, strlen(line->message) + 1); /* the formatting cuts it up */
    size_t used = format_json(out, line->level, line->module, message, line->now, line->tm);
    out[used++] = '\n';
    return used;
}

struct log_readers *log_get_readers(struct log *log) {
    return log->readers;
}

/* One line for console and file; may cut up the message. */
static size_t format_own(const struct log *log, enum log_level level, const char *module,
                         char *message, const struct timespec *now, const struct tm *tm,
                         char line[JSON_LINE_BYTES]) {
    size_t used = log->json ? format_json(line, level, module, message, now, tm)
                            : format_text(line, level, module, message, now, tm);
    line[used++] = '\n';
    return used;
}

static void put(const struct log *log, struct log_output *output, const struct log_piece *piece,
                const struct tm *tm) {
    uint64_t lost = log_output_take_lost(output);
    if (lost > 0) {
        char line[JSON_LINE_BYTES], message[128];
        snprintf(message, sizeof message, "lines of the log were lost here: count=%llu",
                 (unsigned long long)lost);
        size_t used = format_own(log, LOG_WARN, "agent", message, &piece->at, tm, line);
        log_output_put(output, &(struct log_piece){LOG_WARN, line, used, piece->at});
    }
    log_output_put(output, piece);
}

/* May cut up the message. */
static void write_own(struct log *log, enum log_level level, const char *module, char *message,
                      const struct timespec *now, const struct tm *tm) {
    char line[JSON_LINE_BYTES];
    if (log->syslog != NULL) {
        int used = snprintf(line, LINE_BYTES, "%.64s: %s", module, message);
        size_t size = used < 0 ? 0 : used < LINE_BYTES ? (size_t)used : LINE_BYTES - 1;
        put(log, log->syslog, &(struct log_piece){level, line, size, *now}, tm);
    }
    size_t used = format_own(log, level, module, message, now, tm, line);
    struct log_piece piece = {level, line, used, *now};
    put(log, log->console, &piece, tm);
    if (log->copy != NULL) {
        put(log, log->copy, &piece, tm);
    }
}

static void offer(struct log *log, enum log_level level, const char *module, const char *message,
                  const struct timespec *now, const struct tm *tm) {
    char line[LINE_BYTES];
    struct json_line json = {level, module, message, now, tm};
    size_t used = format_text(line, level, module, message, now, tm);
    line[used++] = '\n';
    log_readers_offer(log->readers, &(struct log_line){level, line, used, format_json_line, &json});
}

void log_write(struct log *log, enum log_level level, const char *module, const char *format, ...) {
    if (log == NULL) {
        return;
    }
    bool own = (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed);
    bool read = (int)level >= log_readers_level(log->readers);
    if (!own && !read) {
        return;
    }
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    char message[LINE_BYTES];
    va_list args;
    va_start(args, format);
    if (vsnprintf(message, sizeof message, format, args) < 0) {
        message[0] = '\0';
    }
    va_end(args);
    for (char *at = message; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            *at = '?';
        }
    }
    if (read) {
        offer(log, level, module, message, &now, &tm);
    }
    if (own) {
        write_own(log, level, module, message, &now, &tm);
    }
}
