/* What base/log.c needs of its readers. */
#ifndef BASE_LOG_READERS_H
#define BASE_LOG_READERS_H

#include "base/log_reader.h"

struct log_readers;

struct log_readers *log_readers_create(void);
void log_readers_destroy(struct log_readers *readers);

/* Least level that a reader wants; above LOG_ERROR without readers. One relaxed load. */
int log_readers_level(const struct log_readers *readers);
/* Gives a line to all who want it. json formats it anew, once, if one wants that. */
struct log_line {
    enum log_level level;
    const char *text;
    size_t size;
    size_t (*format_json)(void *context, char out[LOG_JSON_LINE_BYTES]);
    void *context;
};
void log_readers_offer(struct log_readers *readers, const struct log_line *line);

/* The log's own, in log.c. */
struct log_readers *log_get_readers(struct log *log);

#endif
