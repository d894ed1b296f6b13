/* The program's log: one line an event, in the format that operators' scripts parse (contract, log
 * format): `2006-01-02T15:04:05.000Z [INFO]  agent.http: message: key=value`. Pure cores never log.
 * All functions are safe from any thread, and none of them waits for an output: lines are handed to
 * a thread for each (base/log_output.h). If one stalls, lines are lost there and counted. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LOG_LINE_BYTES 4096
#define LOG_JSON_LINE_BYTES (7 * LOG_LINE_BYTES) /* a byte may become six */

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log;

/* fd is borrowed and never closed. */
struct log *log_create(int fd, enum log_level level);
/* Writes what is handed over, unless an output hangs. */
void log_destroy(struct log *log);
/* Waits until all lines are written, at most timeout_ms. Before an end without log_destroy. */
void log_flush(struct log *log, uint64_t timeout_ms);
/* Lines that found no room, of all outputs, since the start. */
uint64_t log_lost_lines(struct log *log);
/* One JSON object a line: @level, @message, @module, @timestamp and the message's own pairs. Before
 * other threads log. */
void log_set_json(struct log *log, bool json);
/* From here on the console's lines wait, until log_release: what is printed goes before them. Lines
 * that still wait at log_destroy are printed. */
void log_hold(struct log *log);
void log_release(struct log *log, const char *first, size_t size);
void log_set_level(struct log *log, enum log_level level);
/* TRACE DEBUG INFO WARN ERR ERROR in any case; false: none of these. */
bool log_parse_level(const char *s, enum log_level *ret_level);

/* A copy of every line into a file that is renamed to `<name>-<Unix nanoseconds><extension>` when
 * it is too large or too old. */
struct log_file_config {
    const char *path;  /* one that ends in '/' is a folder: consul.log in it */
    int64_t bytes_max; /* 0 = any */
    int64_t age_max_ns;
    int64_t files_max; /* renamed ones that are kept; 0 = all, -1 = none */
};

/* Both before other threads log. ERR_IO: the file cannot be opened. */
enum err log_add_file(struct log *log, const struct log_file_config *config, struct err_text *text);
void log_add_syslog(struct log *log, int facility);
/* "LOCAL0", "DAEMON", ... in any case, to syslog's number; false: none of these. */
bool log_parse_facility(const char *s, int *ret_facility);

/* module as in "agent.server.raft"; the message carries its own `: key=value` tail. Lines over 4
 * KiB are cut; control characters are shown as '?'. log may be NULL: nothing happens. */
void log_write(struct log *log, enum log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
