/* A lock or a semaphore over the HTTP API, by the recipes that other clients of it use too
 * (contract kv 12), so that they exclude each other. */
#ifndef AGENT_COMMAND_LOCK_H
#define AGENT_COMMAND_LOCK_H

#include <stdatomic.h>
#include <pthread.h>

#include "agent/command_kv.h"

struct lock_options {
    const char *prefix;
    const char *name;   /* of the session */
    int64_t holders;    /* 1: a lock; more: a semaphore */
    int64_t timeout_ms; /* 0: until it is there */
    int64_t monitor_retry;
    bool verbose;
};

struct lock {
    struct lock_options options;
    struct client *client; /* of whoever works with the lock now */
    struct client *renewer;
    struct arena arena;
    const char *session;
    const char *key; /* of the lock, or of this contender */
    const char *lock_key;
    _Atomic bool interrupted; /* by a signal: give up what is waited for */
    _Atomic bool lost;        /* session or lock are gone */
    _Atomic bool finished;    /* threads end */
    pthread_t renewing, monitoring;
    bool renew_runs, monitor_runs;
};

/* Makes the session and starts its renewal. */
enum err lock_open(struct lock *lock, const struct command_options *client, struct err_text *text);
/* Waits for the lock. ERR_TIMEOUT, ERR_CLOSED (interrupted), or what went wrong. */
enum err lock_acquire(struct lock *lock, struct err_text *text);
/* Starts to watch it; `lost` tells. */
void lock_monitor(struct lock *lock, const struct command_options *client);
/* Gives it back, removes what nobody uses, and ends the session. */
enum err lock_close(struct lock *lock, struct err_text *text);

#endif
