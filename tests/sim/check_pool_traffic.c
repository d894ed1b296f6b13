#include <inttypes.h>

#include "tests/sim/pool_sim.h"

void pool_traffic_reset(struct pool_world *world) {
    for (uint32_t i = 0; i < world->count; i++) {
        world->members[i].packets = 0;
        world->members[i].bytes = 0;
    }
}

void check_pool_traffic(struct pool_world *world, uint64_t since_us, uint64_t packets_max,
                        uint64_t bytes_max) {
    uint64_t ms = (world->now_us - since_us) / 1000;
    for (uint32_t i = 0; i < world->count; i++) {
        const struct pool_member *m = &world->members[i];
        if (m->life == POOL_UP &&
            (m->packets * 1000 > packets_max * ms || m->bytes * 1000 > bytes_max * ms)) {
            pool_fail(world, "%s sends %" PRIu64 " packets and %" PRIu64 " bytes a second", m->name,
                      m->packets * 1000 / ms, m->bytes * 1000 / ms);
        }
    }
}
