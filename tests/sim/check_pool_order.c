#include <string.h>

#include "tests/sim/pool_sim.h"

static bool is_end(uint8_t state) {
    return state == GOSSIP_DEAD + 1 || state == GOSSIP_LEFT + 1 || state == GOSSIP_REMOVED + 1;
}

void check_pool_change(struct pool_world *world, uint32_t viewer,
                       const struct gossip_change *change, uint32_t subject) {
    if (world->views == NULL || viewer == subject || change->kind >= GOSSIP_CHANGE_FROZEN) {
        return;
    }
    static const uint8_t states[] = {
        [GOSSIP_CHANGE_JOINED] = GOSSIP_ALIVE + 1, [GOSSIP_CHANGE_SUSPECT] = GOSSIP_SUSPECT + 1,
        [GOSSIP_CHANGE_ALIVE] = GOSSIP_ALIVE + 1,  [GOSSIP_CHANGE_FAILED] = GOSSIP_DEAD + 1,
        [GOSSIP_CHANGE_LEFT] = GOSSIP_LEFT + 1,    [GOSSIP_CHANGE_REAPED] = GOSSIP_REMOVED + 1,
    };
    /* Only the one whose id it is: a clone shares it. */
    if (memcmp(&change->descriptor->info.id, &world->members[subject].id,
               sizeof change->descriptor->info.id) != 0) {
        return;
    }
    struct pool_view *view = &world->views[viewer][subject];
    int order = gossip_incarnation_compare(change->incarnation, view->incarnation);
    const char *kind = gossip_change_name(change->kind);
    if (order < 0) {
        pool_fail(world, "%s sees %s at incarnation %u.%u after %u.%u (%s)",
                  world->members[viewer].name, world->members[subject].name,
                  change->incarnation.boot_epoch, change->incarnation.counter,
                  view->incarnation.boot_epoch, view->incarnation.counter, kind);
    }
    if (change->kind == GOSSIP_CHANGE_JOINED && order == 0 && is_end(view->state)) {
        pool_fail(world, "%s sees %s back from %s at the same incarnation",
                  world->members[viewer].name, world->members[subject].name,
                  gossip_state_name((enum gossip_state)(view->state - 1)));
    }
    if (change->kind == GOSSIP_CHANGE_SUSPECT && is_end(view->state)) {
        pool_fail(world, "%s suspects %s, which is %s", world->members[viewer].name,
                  world->members[subject].name,
                  gossip_state_name((enum gossip_state)(view->state - 1)));
    }
    view->incarnation = change->incarnation;
    if (states[change->kind] != 0) {
        view->state = states[change->kind];
    }
    if (change->kind == GOSSIP_CHANGE_FAILED) {
        view->failed_at_us = world->now_us;
    }
}
