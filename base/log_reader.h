/* Readers of the log: whoever wants its lines as they are written, with a level of their own
 * (contract 10.12). A reader that does not keep up loses lines, which are counted; the log never
 * waits for it. */
#ifndef BASE_LOG_READER_H
#define BASE_LOG_READER_H

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

struct log_reader;

/* ready is called, on the thread that logs, for the first line after log_reader_arm; it must be
 * quick and must not log. NULL: there are LIMIT_LOG_READERS of them. */
struct log_reader *log_reader_create(struct log *log, enum log_level level, bool json,
                                     void (*ready)(void *context), void *context);
/* Returns the number of lines that were dropped. No ready runs any more. */
uint64_t log_reader_destroy(struct log_reader *reader);

/* Any thread. Moves up to size bytes of the lines that wait into out; 0: none wait. A line may come
 * in two pieces. */
size_t log_reader_take(struct log_reader *reader, char *out, size_t size);
/* Any thread. False: lines wait already, and ready will not be called. */
bool log_reader_arm(struct log_reader *reader);
/* Any thread. False: it was not armed any more, so ready has been called since. */
bool log_reader_disarm(struct log_reader *reader);

#endif
