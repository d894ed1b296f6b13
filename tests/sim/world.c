/* The virtual clock of a simulator whose servers have loops: chance, and the queue of events by
 * time. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include SIM_WORLD

void world_fail(struct world *world, const char *format, ...) {
    if (world->failed) {
        return;
    }
    world->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(world->message, sizeof world->message, format, args);
    va_end(args);
}

void world_trace(struct world *world, const char *format, ...) {
    if (!world->trace) {
        return;
    }
    va_list args;
    va_start(args, format);
    printf("%9.3f ", (double)world->now / 1e6);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void world_note(struct world *world, uint64_t what) {
    world->hash = hash_mix(world->hash ^ what ^ world->now);
}

bool world_one_in(struct world *world, uint64_t n) {
    return rand_below(&world->rand, n) == 0;
}

uint64_t world_between(struct world *world, uint64_t low, uint64_t high) {
    return low + rand_below(&world->rand, high - low + 1);
}

/* ---- events, a heap by time and number ---- */

static bool before(const struct event *a, const struct event *b) {
    return a->at != b->at ? a->at < b->at : a->number < b->number;
}

struct event *world_post(struct world *world, uint64_t delay_us, enum event_kind kind,
                         const struct server *server) {
    struct event *event = mem_calloc(1, sizeof *event);
    event->at = world->now + delay_us;
    event->number = ++world->event_numbers;
    event->kind = kind;
    event->server = server != NULL ? server->at : 0;
    event->life = server != NULL ? server->life : 0;
    if (world->heap_count == world->heap_capacity) {
        world->heap_capacity += world->heap_capacity + 64;
        world->heap = mem_realloc(world->heap, world->heap_capacity * sizeof(struct event *));
    }
    uint32_t at = world->heap_count++;
    for (; at > 0 && before(event, world->heap[(at - 1) / 2]); at = (at - 1) / 2) {
        world->heap[at] = world->heap[(at - 1) / 2];
    }
    world->heap[at] = event;
    return event;
}

struct event *world_take_first(struct world *world) {
    struct event *first = world->heap[0], *last = world->heap[--world->heap_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= world->heap_count) {
            break;
        }
        if (child + 1 < world->heap_count && before(world->heap[child + 1], world->heap[child])) {
            child++;
        }
        if (!before(world->heap[child], last)) {
            break;
        }
        world->heap[at] = world->heap[child];
        at = child;
    }
    world->heap[at] = last;
    return first;
}
