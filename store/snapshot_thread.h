/* The snapshot thread: encodes a state into a snapshot file, apart from the log, whose sync must
 * not queue behind it. One snapshot at a time. */
#ifndef STORE_SNAPSHOT_THREAD_H
#define STORE_SNAPSHOT_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/uuid.h"
#include "store/snapshot.h"

struct store_snapshot_job {
    struct store_snapshot_info info;
    /* Writes the whole state with store_snapshot_writer_write; runs on the snapshot thread. */
    enum err (*encode)(void *context, struct store_snapshot_writer *writer, struct err_text *text);
    /* Runs on the snapshot thread, exactly once, after encode: durable (ERR_OK, size of the file)
     * or failed (message: a sentence, borrowed for the call). */
    void (*done)(void *context, enum err result, uint64_t bytes, const char *message);
    void *context;
};

struct store_snapshot_thread;

/* directory is copied. All signals are blocked in the thread. */
struct store_snapshot_thread *store_snapshot_thread_start(const char *directory,
                                                          const struct uuid *cluster);
/* The job is copied. ERR_OVERLOADED: one is still being written; done will not run for this one. */
enum err store_snapshot_thread_take(struct store_snapshot_thread *thread,
                                    const struct store_snapshot_job *job);
/* Gives up the snapshot being written (its write calls then fail with ERR_CLOSED). True: ended and
 * freed. False: a disk call or the encoder hangs; leave alone what the job uses. */
bool store_snapshot_thread_stop(struct store_snapshot_thread *thread, uint64_t timeout_ms);

#endif
