#include "base/thread.h"

#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>

#include "base/assert.h"

#define AHEAD_NICE 10 /* some nine times the share of another thread */

static _Thread_local bool ahead;
static _Thread_local int ordinary_nice; /* before it was ahead */

void thread_init_condition(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* On Linux PRIO_PROCESS with 0 is the calling thread alone. */
void thread_raise(void) {
    if (!ahead) {
        ordinary_nice = getpriority(PRIO_PROCESS, 0);
        ahead = setpriority(PRIO_PROCESS, 0, ordinary_nice - AHEAD_NICE) == 0;
    }
}

bool thread_lower(void) {
    bool was = ahead;
    if (ahead) {
        (void)setpriority(PRIO_PROCESS, 0, ordinary_nice);
    }
    ahead = false;
    return was;
}

void thread_start_brief(pthread_t *id, void *(*run)(void *context), void *context) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool was_ahead = thread_lower(); /* a thread begins with the nice of its maker */
    int failed = pthread_create(id, NULL, run, context);
    if (was_ahead) {
        thread_raise();
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    ASSERT(failed == 0);
}

void thread_start(struct thread *thread, void *(*run)(void *context), void *context) {
    pthread_mutex_init(&thread->mutex, NULL);
    thread_init_condition(&thread->wake);
    thread_init_condition(&thread->ended_changed);
    thread->ended = false;
    thread_start_brief(&thread->id, run, context);
}

void thread_end(struct thread *thread) {
    pthread_mutex_lock(&thread->mutex);
    thread->ended = true;
    pthread_cond_signal(&thread->ended_changed);
    pthread_mutex_unlock(&thread->mutex);
}

bool thread_join_within(struct thread *thread, uint64_t timeout_ms) {
    struct timespec at = thread_deadline(timeout_ms);
    int timed_out = 0;
    pthread_cond_broadcast(&thread->wake);
    while (!thread->ended && timed_out == 0) {
        timed_out = pthread_cond_timedwait(&thread->ended_changed, &thread->mutex, &at);
    }
    bool ended = thread->ended;
    pthread_mutex_unlock(&thread->mutex);
    if (!ended) {
        pthread_detach(thread->id);
        return false;
    }
    pthread_join(thread->id, NULL);
    pthread_cond_destroy(&thread->wake);
    pthread_cond_destroy(&thread->ended_changed);
    pthread_mutex_destroy(&thread->mutex);
    return true;
}

struct timespec thread_deadline(uint64_t ms) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(ms / 1000);
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}
