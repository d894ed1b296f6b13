/* Where lines of the log go beside the console; for base/log.c. */
#ifndef BASE_LOG_SINKS_H
#define BASE_LOG_SINKS_H

#include <stddef.h>
#include <time.h>

#include "base/log.h"

struct log_file;

struct log_file *log_file_open(const struct log_file_config *config, struct err_text *text);
void log_file_close(struct log_file *file); /* NULL is allowed */
/* Any thread. */
void log_file_write(struct log_file *file, const char *line, size_t size,
                    const struct timespec *now);

void log_syslog_open(int facility);
void log_syslog_close(void);
void log_syslog_write(int level, const char *text);

#endif
