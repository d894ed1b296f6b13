/* Included before everything else in the code under test: what is replaced at compile time. Threads
 * take turns instead of running at once (threads.c), and bounds are small, so that much happens in
 * little time. */
#ifndef SIM_GROUP_REPLACED_H
#define SIM_GROUP_REPLACED_H

#include <pthread.h>
#include <time.h>

#include "base/limits.h"
#include "base/mutant.h"

int sim_mutex_lock(pthread_mutex_t *mutex);
int sim_mutex_unlock(pthread_mutex_t *mutex);
int sim_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int sim_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                       const struct timespec *at);
int sim_cond_signal(pthread_cond_t *condition);

#ifndef SIM_GROUP_REAL
#define pthread_mutex_lock sim_mutex_lock
#define pthread_mutex_unlock sim_mutex_unlock
#define pthread_cond_wait sim_cond_wait
#define pthread_cond_timedwait sim_cond_timedwait
#define pthread_cond_signal sim_cond_signal
#endif

#undef LIMIT_SNAPSHOT_TRIGGER_BYTES
#define LIMIT_SNAPSHOT_TRIGGER_BYTES (48 * 1024)
#undef LIMIT_SNAPSHOT_PIECE_BYTES
#define LIMIT_SNAPSHOT_PIECE_BYTES 512
#undef LIMIT_APPLY_ROWS
#define LIMIT_APPLY_ROWS 6
#undef LIMIT_APPLY_ENTRIES
#define LIMIT_APPLY_ENTRIES 16
#undef LIMIT_TOMBSTONE_MS
#define LIMIT_TOMBSTONE_MS 2000
#undef LIMIT_TOMBSTONE_BIN_MS
#define LIMIT_TOMBSTONE_BIN_MS 250
#undef LIMIT_LOG_TAIL_BYTES
#define LIMIT_LOG_TAIL_BYTES (4 * 1024)

#endif
