#include <string.h>

#include "tests/sim/pool_sim.h"

/* a was there first; b has its name, or (with equal ids) claims to be it. */
void check_pool_identity(struct pool_world *world, uint32_t a, uint32_t b) {
    bool clone = memcmp(&world->members[a].id, &world->members[b].id, sizeof(struct uuid)) == 0;
    if (clone ? world->id_clashes == 0 : world->name_clashes == 0) {
        pool_fail(world, "nobody was told of the clash");
    }
    for (uint32_t i = 0; i < world->count && !world->failed; i++) {
        if (world->members[i].gossip == NULL || i == b) {
            continue;
        }
        struct gossip_member seen;
        if (!gossip_find_id(world->members[i].gossip, &world->members[a].id, &seen) ||
            seen.state != GOSSIP_ALIVE ||
            !gossip_address_equal(&seen.descriptor->info.address, &world->members[a].address)) {
            pool_fail(world, "%s lost %s to its double", world->members[i].name,
                      world->members[a].name);
        }
        if (!clone && (!gossip_find_id(world->members[i].gossip, &world->members[b].id, &seen) ||
                       seen.state != GOSSIP_ALIVE)) {
            pool_fail(world, "%s does not see the second %s", world->members[i].name,
                      world->members[b].name);
        }
    }
}
