/* Once all is equal nothing is written any more, but that removals are over: no two agents repair
 * each other's repairs. */
#include "tests/sim/datacenter/datacenter.h"

#define REMOVAL_ENDS_MAX 8

void check_calm_command(struct world *world, const struct catalog_command *command) {
    if (!world->equal) {
        return;
    }
    if (command->kind == COMMAND_REMOVAL_END && ++world->removal_ends <= REMOVAL_ENDS_MAX) {
        return;
    }
    world_fail(world, "a command of kind %d for '%s' though all was equal", (int)command->kind,
               group_node_of(command));
}
