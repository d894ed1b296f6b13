#include <stdlib.h>

#include "tests/sim/pool_sim.h"

void check_pool_seen(struct pool_world *world) {
    for (uint32_t i = 0; i < world->count && !world->failed; i++) {
        for (uint32_t k = 0; k < world->count; k++) {
            if (!pool_is_reachable(world, i) || !pool_is_reachable(world, k)) {
                continue;
            }
            struct gossip_member seen;
            const char *viewer = world->members[i].name;
            const char *name = world->members[k].name;
            if (!gossip_find_id(world->members[i].gossip, &world->members[k].id, &seen)) {
                pool_fail(world, "%s does not see %s, which lives", viewer, name);
                return;
            }
            const char *version = str_map_get(&seen.descriptor->info.tags, "version");
            if (seen.state != GOSSIP_ALIVE || seen.frozen) {
                pool_fail(world, "%s sees %s %s, and it lives", viewer, name,
                          gossip_state_name(seen.state));
                return;
            }
            if (version == NULL || strtoul(version, NULL, 10) != world->members[k].version) {
                pool_fail(world, "%s sees %s with tags of old", viewer, name);
                return;
            }
        }
    }
}
