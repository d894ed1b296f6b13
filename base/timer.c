#include "base/timer.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

#define FANOUT 4

void timers_init(struct timers *timers) {
    *timers = (struct timers){0};
}

void timers_clear(struct timers *timers) {
    free(timers->heap);
    timers_init(timers);
}

static void place(struct timers *timers, struct timer *timer, size_t at) {
    timers->heap[at] = timer;
    timer->slot = at + 1;
}

static void sift_up(struct timers *timers, struct timer *timer, size_t at) {
    while (at > 0) {
        size_t parent = (at - 1) / FANOUT;
        if (timers->heap[parent]->deadline_ms <= timer->deadline_ms) {
            break;
        }
        place(timers, timers->heap[parent], at);
        at = parent;
    }
    place(timers, timer, at);
}

static void sift_down(struct timers *timers, struct timer *timer, size_t at) {
    for (;;) {
        size_t first = at * FANOUT + 1;
        if (first >= timers->count) {
            break;
        }
        size_t least = first;
        for (size_t i = first + 1; i < first + FANOUT && i < timers->count; i++) {
            if (timers->heap[i]->deadline_ms < timers->heap[least]->deadline_ms) {
                least = i;
            }
        }
        if (timers->heap[least]->deadline_ms >= timer->deadline_ms) {
            break;
        }
        place(timers, timers->heap[least], at);
        at = least;
    }
    place(timers, timer, at);
}

void timer_start(struct timers *timers, struct timer *timer, int64_t deadline_ms) {
    timer_stop(timers, timer);
    timer->deadline_ms = deadline_ms;
    if (timers->count == timers->capacity) {
        timers->capacity = timers->capacity == 0 ? 16 : timers->capacity * 2;
        timers->heap = mem_realloc(timers->heap, timers->capacity * sizeof(struct timer *));
    }
    sift_up(timers, timer, timers->count++);
}

void timer_stop(struct timers *timers, struct timer *timer) {
    if (timer->slot == 0) {
        return;
    }
    size_t at = timer->slot - 1;
    ASSERT(at < timers->count && timers->heap[at] == timer);
    timer->slot = 0;
    struct timer *last = timers->heap[--timers->count];
    if (last != timer) {
        sift_down(timers, last, at);
        sift_up(timers, last, last->slot - 1);
    }
}

int64_t timers_next_ms(const struct timers *timers) {
    return timers->count > 0 ? timers->heap[0]->deadline_ms : INT64_MAX;
}

struct timer *timers_take_due(struct timers *timers, int64_t now_ms) {
    if (timers_next_ms(timers) > now_ms) {
        return NULL;
    }
    struct timer *timer = timers->heap[0];
    timer_stop(timers, timer);
    return timer;
}
