#include <string.h>

#include "base/mem.h"
#include "tests/sim/pool_sim.h"

#define EVENTS_MAX 256
#define TRANSIT_US 200000 /* ages do not count the time on the way */

struct pool_events {
    uint32_t count;
    struct {
        uint64_t at_us;
        uint8_t told[POOL_VIEWS_MAX];
    } v[EVENTS_MAX];
};

void pool_fire(struct pool_world *world, uint32_t member) {
    if (world->events == NULL) {
        world->events = mem_calloc(1, sizeof *world->events);
    }
    if (world->members[member].gossip == NULL || world->events->count == EVENTS_MAX) {
        return;
    }
    uint32_t number = world->events->count++;
    uint8_t body = (uint8_t)number;
    struct gossip_event event = {.kind = GOSSIP_EVENT_FIRE, .fire = {.data = &body, .size = 1}};
    memcpy(event.fire.id.bytes, &number, sizeof number);
    world->events->v[number].at_us = world->now_us;
    pool_step(world, member, &event);
}

void check_pool_told(struct pool_world *world, uint32_t viewer,
                     const struct gossip_change *change) {
    const struct pool_member *member = &world->members[viewer];
    uint32_t number;
    memcpy(&number, change->event_id.bytes, sizeof number);
    if (world->events == NULL || number >= world->events->count) {
        pool_fail(world, "%s is told an event that nobody has fired", member->name);
        return;
    }
    if (world->events->v[number].told[viewer]++ > 0) {
        pool_fail(world, "%s is told event %u twice", member->name, number);
    }
    if (world->events->v[number].at_us + TRANSIT_US < member->started_at_us) {
        pool_fail(world, "%s is told event %u, from before its start", member->name, number);
    }
}

void check_pool_events(struct pool_world *world) {
    for (uint32_t i = 0; i < world->count && !world->failed; i++) {
        const struct pool_member *member = &world->members[i];
        for (uint32_t k = 0; k < world->events->count && member->gossip != NULL; k++) {
            if (world->events->v[k].at_us > member->started_at_us &&
                world->events->v[k].told[i] == 0) {
                pool_fail(world, "%s was not told event %u", member->name, k);
            }
        }
    }
}
