/* One place that the log's lines go to: a bounded queue, and a thread that writes them. The reader
 * of a pipe may stall, a disk may hang; whoever logs must not. For base/log.c. */
#ifndef BASE_LOG_OUTPUT_H
#define BASE_LOG_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/log.h"

struct log_output;

struct log_piece {
    enum log_level level;
    const char *text; /* NUL behind it */
    size_t size;
    struct timespec at;
};

/* write runs on the output's thread, and may block. */
struct log_output *log_output_create(void (*write)(void *context, const struct log_piece *piece),
                                     void *context);
/* Any thread; the text is copied. False: there is no room, and the line is lost. */
bool log_output_put(struct log_output *output, const struct log_piece *piece);
/* Nothing is written until the release, which writes first what it is given, or until the end. */
void log_output_hold(struct log_output *output);
void log_output_release(struct log_output *output, const struct log_piece *first);
/* Any thread. How many lines were lost since the last call, once there is room to tell it. */
uint64_t log_output_take_lost(struct log_output *output);
/* Since the start. */
uint64_t log_output_lost(struct log_output *output);
/* Waits until all is written. False: it hangs. */
bool log_output_flush(struct log_output *output, uint64_t timeout_ms);
/* Writes what is queued, as far as the timeout allows; nobody puts any more. False: it hangs, and
 * what write needs must stay. NULL is allowed. */
bool log_output_destroy(struct log_output *output, uint64_t timeout_ms);

#endif
