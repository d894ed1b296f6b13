#include "tests/sim/pool_sim.h"

void check_pool_counts(struct pool_world *world) {
    for (uint32_t i = 0; i < world->count; i++) {
        const struct gossip *gossip = world->members[i].gossip;
        if (gossip == NULL) {
            continue;
        }
        uint32_t counts[GOSSIP_REMOVED + 1] = {0};
        uint32_t clients = 0, frozen = 0;
        struct gossip_member seen;
        for (uint32_t slot = 0; slot < gossip_member_slots(gossip); slot++) {
            if (gossip_member_at(gossip, slot, &seen)) {
                counts[seen.state]++;
                frozen += seen.frozen;
                clients += !seen.descriptor->info.server &&
                           (seen.state == GOSSIP_ALIVE || seen.state == GOSSIP_SUSPECT);
            }
        }
        struct gossip_status status;
        gossip_get_status(gossip, &status);
        if (status.alive != counts[GOSSIP_ALIVE] || status.suspect != counts[GOSSIP_SUSPECT] ||
            status.dead != counts[GOSSIP_DEAD] || status.left != counts[GOSSIP_LEFT] ||
            status.clients != clients || status.frozen != frozen) {
            pool_fail(world, "%s counts other members than it has", world->members[i].name);
        }
    }
}
