/* An event loop: one thread, its inbox, timers, watched descriptors and signals. The one place that
 * includes libuv; a simulator puts another implementation behind this header. Unless a function
 * says otherwise it is for the loop's own thread. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/timer.h"

struct loop;

/* NULL and a sentence on failure. */
struct loop *loop_create(struct err_text *text);
/* After loop_run returned. Tasks still in the inbox are not run. NULL is allowed. */
void loop_destroy(struct loop *loop);

/* Runs on the calling thread until loop_stop; may be called again. */
void loop_run(struct loop *loop);
/* Any thread. The present turn ends first. */
void loop_stop(struct loop *loop);

/* One thing to do on the loop's thread. Embedded in what it belongs to; the loop borrows it until
 * run is called, and does not touch it afterwards. */
struct loop_task {
    struct loop_task *next;
    void (*run)(struct loop_task *task);
};

/* Any thread. Tasks of one thread run in their order. Never blocks, never fails. */
void loop_post(struct loop *loop, struct loop_task *task);

/* After loop_run returned, when no other thread posts any more: runs what is left in the inbox, and
 * what that posts, so that nothing in it leaks. */
void loop_flush(struct loop *loop);

/* Monotonic milliseconds, taken once at the start of the turn. */
int64_t loop_now_ms(const struct loop *loop);

/* Called at the end of each turn, before the loop waits: where batches close. */
void loop_set_turn_end(struct loop *loop, void (*turn_end)(void *context), void *context);

struct loop_timer {
    struct timer timer; /* first: the loop casts back */
    void (*run)(struct loop_timer *timer);
};

/* Runs once, at or after the deadline, behind what has arrived by then; starting a started timer
 * moves it. */
void loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t deadline_ms);
void loop_timer_stop(struct loop *loop, struct loop_timer *timer);

#define LOOP_READABLE 1
#define LOOP_WRITABLE 2

struct loop_poll;

/* Watches a descriptor that the caller owns; events is 0 at first. */
struct loop_poll *loop_poll_create(struct loop *loop, int fd,
                                   void (*ready)(void *context, int events), void *context);
/* events: LOOP_READABLE | LOOP_WRITABLE; 0 rests. An error or hang-up is told as readable and
 * writable. */
void loop_poll_set(struct loop_poll *poll, int events);
/* Before the descriptor is closed. Allowed inside `ready`. */
void loop_poll_destroy(struct loop_poll *poll);

/* Reads signals that all threads block (signalfd). Call before other threads start: it blocks them.
 */
enum err loop_watch_signals(struct loop *loop, const int *signals, size_t count,
                            void (*arrived)(void *context, int signal), void *context,
                            struct err_text *text);

/* Any thread, no loop needed. */
int64_t clock_monotonic_ms(void);
int64_t clock_wall_ms(void); /* Unix time, for what people read */

#endif
