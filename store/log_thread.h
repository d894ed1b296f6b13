/* The log thread: writes log and hard state for a core that must not wait for a disk.
 *
 * Requests are done in the order in which they were queued. All appends that wait when the thread
 * comes round go into one write and one sync (group commit); a hard state between two appends
 * splits them. Each request gets its callback, exactly once, on the log thread: it should only post
 * to the caller's loop. After a failed write, sync or cut every request but a compaction is
 * answered ERR_IO, with nothing written: what comes later rests on what came before. */
#ifndef STORE_LOG_THREAD_H
#define STORE_LOG_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/hard_state.h"
#include "store/log.h"

/* message: a sentence for people if result is not ERR_OK, else NULL; borrowed for the call. */
typedef void (*store_done_fn)(void *context, enum err result, const char *message);

struct store_log_thread;

/* log and state are borrowed until stop returned true; only the "any thread" calls of log may be
 * used meanwhile. All signals are blocked in the thread. */
struct store_log_thread *store_log_thread_start(struct store_log *log,
                                                struct store_hard_state *state);

/* The array and the payloads are borrowed until the callback ran. ERR_OK: all durable.
 * ERR_NO_SPACE: nothing of this request is in the log, nor is any request after it (those that came
 * in meanwhile are refused the same way until one that follows the log's last entry comes). ERR_IO:
 * the log has failed; the entries may or may not be found at the next start. */
void store_log_thread_append(struct store_log_thread *thread, const struct store_entry *entries,
                             uint32_t count, store_done_fn done, void *context);
void store_log_thread_write_hard_state(struct store_log_thread *thread,
                                       const struct store_vote *vote, store_done_fn done,
                                       void *context);
/* As store_log_truncate and store_log_reset. An append that was refused for space is not waited
 * for: what it was to write is gone. */
void store_log_thread_truncate(struct store_log_thread *thread, uint64_t from, store_done_fn done,
                               void *context);
void store_log_thread_reset(struct store_log_thread *thread, store_done_fn done, void *context);
/* done may be NULL. */
void store_log_thread_compact(struct store_log_thread *thread, uint64_t index, store_done_fn done,
                              void *context);

/* Answers what is queued, for at most timeout_ms. True: the thread has ended and `thread` is freed;
 * close log and state now. False: a disk call hangs; the thread and all that it borrows must be
 * left alone until the process ends, and callbacks may still come. */
bool store_log_thread_stop(struct store_log_thread *thread, uint64_t timeout_ms);

#endif
