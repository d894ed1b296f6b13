#include "tests/sim/pool_sim.h"

/* Called after a mass failure of `died` of the clients: servers that died are dead to all, clients
 * are dead up to the guard's part and frozen beyond it. */
void check_pool_guard(struct pool_world *world, uint32_t died, uint32_t clients) {
    uint32_t held_leaves = 0;
    uint32_t bound = clients * world->config.guard_percent / 100 + 1;
    for (uint32_t i = 0; i < world->count && !world->failed; i++) {
        if (!pool_is_reachable(world, i)) {
            continue;
        }
        uint32_t evicted = 0, frozen = 0;
        for (uint32_t k = 0; k < world->count; k++) {
            struct gossip_member seen;
            const struct pool_member *m = &world->members[k];
            if (!gossip_find_id(world->members[i].gossip, &m->id, &seen)) {
                continue;
            }
            evicted += !m->server && seen.state == GOSSIP_DEAD;
            frozen += !m->server && seen.frozen;
            if (m->server && m->life == POOL_DOWN && seen.state != GOSSIP_DEAD) {
                pool_fail(world, "%s holds back the death of the server %s", world->members[i].name,
                          m->name);
            }
            held_leaves += m->life == POOL_LEFT && seen.state != GOSSIP_LEFT;
        }
        if (evicted > bound) {
            pool_fail(world, "%s evicted %u of %u clients", world->members[i].name, evicted,
                      clients);
        }
        if (evicted + frozen < died) {
            pool_fail(world, "%s knows of %u dead and %u frozen, but %u died",
                      world->members[i].name, evicted, frozen, died);
        }
        struct gossip_status status;
        gossip_get_status(world->members[i].gossip, &status);
        if (status.guard_on != (frozen > 0) || status.frozen != frozen) {
            pool_fail(world, "%s: the status hides the guard", world->members[i].name);
        }
    }
    /* One or another may have missed it: the next push/pull tells. */
    if (held_leaves > world->count / 8) {
        pool_fail(world, "%u members hold back a leave", held_leaves);
    }
}
