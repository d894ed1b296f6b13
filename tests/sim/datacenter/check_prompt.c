/* What a client has changed at an agent that was steady then, and still is, the catalog shows
 * within seconds, without waiting for a full comparison. */
#include "tests/sim/datacenter/datacenter.h"

#define PROMPT_US (5 * SECOND + 2 * SIM_STILL_US) /* the agent, and its server */

void check_prompt(struct world *world) {
    const struct catalog_view *view = group_truth_view(world);
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *host = &world->servers[i];
        for (uint32_t k = 0; k <= SERVICES && host->up && host->fate == FATE_UP; k++) {
            const struct thing *thing = host_thing(host, k);
            bool right =
                thing->present ? thing_is_shown(view, host, k) : !thing_is_there(view, host, k);
            uint64_t last_us =
                host->disturbed_us > world->disturbed_us ? host->disturbed_us : world->disturbed_us;
            if (!right && thing->changed_us >= last_us + SETTLES_US &&
                world->now >= thing->changed_us + PROMPT_US && !host->agent->leaving) {
                char id[24];
                thing_check_id(host, k, id);
                world_fail(world, "%s of %s was changed %u s ago, and the catalog does not show it",
                           id, host->name, (unsigned)((world->now - thing->changed_us) / SECOND));
            }
        }
    }
}
