#include <inttypes.h>

#include "tests/sim/pool_sim.h"

/* A leave that could be told to nobody is a death. */
static bool somebody_knows_it_left(const struct pool_world *world, uint32_t member) {
    struct gossip_member seen;
    for (uint32_t i = 0; i < world->count; i++) {
        if (pool_is_reachable(world, i) &&
            gossip_find_id(world->members[i].gossip, &world->members[member].id, &seen) &&
            seen.state == GOSSIP_LEFT) {
            return true;
        }
    }
    return false;
}

void check_pool_dead(struct pool_world *world) {
    for (uint32_t i = 0; i < world->count && !world->failed; i++) {
        for (uint32_t k = 0; k < world->count; k++) {
            const struct pool_member *m = &world->members[k];
            struct gossip_member seen;
            if (!pool_is_reachable(world, i) || m->life == POOL_UP ||
                !gossip_find_id(world->members[i].gossip, &m->id, &seen)) {
                continue;
            }
            if (seen.state == GOSSIP_ALIVE || (seen.state == GOSSIP_SUSPECT && !seen.frozen)) {
                pool_fail(world, "%s sees %s %s, and it is gone", world->members[i].name, m->name,
                          gossip_state_name(seen.state));
                return;
            }
            if (m->life == POOL_LEFT && seen.state == GOSSIP_DEAD &&
                somebody_knows_it_left(world, k)) {
                pool_fail(world, "%s holds %s dead, and it left", world->members[i].name, m->name);
                return;
            }
        }
    }
}

void check_pool_death_time(struct pool_world *world, uint32_t member, uint64_t at_most_ms) {
    const struct pool_member *m = &world->members[member];
    for (uint32_t i = 0; i < world->count && !world->failed; i++) {
        if (i == member || !pool_is_reachable(world, i)) {
            continue;
        }
        const struct pool_view *view = &world->views[i][member];
        if (view->state != GOSSIP_DEAD + 1 || view->failed_at_us < m->down_since_us) {
            pool_fail(world, "%s has not seen the death of %s", world->members[i].name, m->name);
        } else if (view->failed_at_us - m->down_since_us > at_most_ms * 1000) {
            pool_fail(world, "%s saw the death of %s after %" PRIu64 " ms, bound %" PRIu64,
                      world->members[i].name, m->name,
                      (view->failed_at_us - m->down_since_us) / 1000, at_most_ms);
        }
    }
}
