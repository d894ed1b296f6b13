/* The program's log: one line an event, in the format that operators' scripts parse (contract, log
 * format): `2006-01-02T15:04:05.000Z [INFO]  agent.http: message: key=value`. Pure cores never log.
 * All functions are safe from any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#define LOG_LINE_BYTES 4096

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log;

/* fd is borrowed and never closed. */
struct log *log_create(int fd, enum log_level level);
void log_destroy(struct log *log);
void log_set_level(struct log *log, enum log_level level);
/* TRACE DEBUG INFO WARN ERR ERROR in any case; false: none of these. */
bool log_parse_level(const char *s, enum log_level *ret_level);

/* module as in "agent.server.raft"; the message carries its own `: key=value` tail. Lines over 4
 * KiB are cut; control characters are shown as '?'. log may be NULL: nothing happens. */
void log_write(struct log *log, enum log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
