/* Threads that somebody waits for, but not for ever: what they wait on may hang. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Embedded in what the thread works on. */
struct thread {
    pthread_t id;
    pthread_mutex_t mutex; /* of `ended`, and of what the owner puts under it */
    pthread_cond_t wake;   /* for the owner's use */
    pthread_cond_t ended_changed;
    bool ended;
};

/* Starts it with all signals blocked; aborts if there is none to be had. Conditions are on the
 * monotonic clock. */
void thread_start(struct thread *thread, void *(*run)(void *context), void *context);
/* The same for one that ends by itself, or that its owner has a way of its own to end: to be joined
 * with pthread_join. */
void thread_start_brief(pthread_t *id, void *(*run)(void *context), void *context);
/* The thread's last act; without the mutex. */
void thread_end(struct thread *thread);
/* Waits for thread_end. Called with the mutex, once the owner has told the thread to end; gives the
 * mutex back. True: joined and cleared. False: it hangs and is detached; what it works on must stay
 * as it is. */
bool thread_join_within(struct thread *thread, uint64_t timeout_ms);

/* Puts the calling thread ahead of others of the machine, as far as the system allows it
 * (CAP_SYS_NICE or RLIMIT_NICE). Raft's timers are short: a server must not lose its leadership
 * because everything else of a busy machine had its turn first. What these two start is not
 * ahead; a process is, unless it is started between thread_lower and, if that says so,
 * thread_raise. */
void thread_raise(void);
/* Puts it back. True: it was ahead. */
bool thread_lower(void);

/* A condition on the monotonic clock. */
void thread_init_condition(pthread_cond_t *condition);
/* CLOCK_MONOTONIC, ms from now. */
struct timespec thread_deadline(uint64_t ms);

#endif
