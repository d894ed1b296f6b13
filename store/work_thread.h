/* A thread for whatever reads or writes the disk outside the log and the snapshots of this server's
 * own state, such as feeding a peer that lags: none of these may wait for the others' syncs. */
#ifndef STORE_WORK_THREAD_H
#define STORE_WORK_THREAD_H

#include <stdbool.h>
#include <stdint.h>

/* Embedded in what it works on, which the thread borrows until run returns. */
struct store_work {
    struct store_work *next;
    void (*run)(struct store_work *work, void *context);
    void *context;
};

struct store_work_thread;

struct store_work_thread *store_work_thread_start(void);
/* Done in the order of the calls. */
void store_work_thread_run(struct store_work_thread *thread, struct store_work *work);
/* Does what waits, within timeout_ms. True: ended and freed. False: a disk call hangs; leave alone
 * what the work uses. */
bool store_work_thread_stop(struct store_work_thread *thread, uint64_t timeout_ms);

#endif
