#include "tests/sim/pool_sim.h"

void check_pool_no_false_death(struct pool_world *world) {
    if (world->false_deaths > 0) {
        pool_fail(world, "healthy members were held dead, %u times", world->false_deaths);
    }
}
