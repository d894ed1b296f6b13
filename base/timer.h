/* Timers as data: a heap of deadlines that the owner asks and feeds with `now`. No clock inside. */
#ifndef BASE_TIMER_H
#define BASE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in what waits. Owned by the embedder; in at most one heap. */
struct timer {
    int64_t deadline_ms;
    size_t slot; /* place in the heap + 1; 0 = not started */
};

struct timers {
    struct timer **heap; /* heap[0] has the nearest deadline; 4-ary */
    size_t count;
    size_t capacity;
};

void timers_init(struct timers *timers);
/* Frees the heap; timers that were in it must not be used with it again. */
void timers_clear(struct timers *timers);

/* Starts, or moves a started timer. */
void timer_start(struct timers *timers, struct timer *timer, int64_t deadline_ms);
/* Does nothing when it is not started. */
void timer_stop(struct timers *timers, struct timer *timer);
static inline bool timer_started(const struct timer *timer) {
    return timer->slot != 0;
}

/* The nearest deadline, INT64_MAX when there is none. */
int64_t timers_next_ms(const struct timers *timers);
/* Stops and returns a timer whose deadline is <= now_ms, nearest first; NULL when there is none. */
struct timer *timers_take_due(struct timers *timers, int64_t now_ms);

#endif
