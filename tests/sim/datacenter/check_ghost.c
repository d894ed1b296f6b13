/* What is gone does not come back: a service or check that its steady agent has removed once the
 * catalog has shown that it is gone, and the node of a host that has left or was removed. */
#include "tests/sim/datacenter/datacenter.h"

static void check_thing(struct server *host, const struct catalog_view *view, uint32_t i) {
    struct thing *thing = host_thing(host, i);
    char id[24];
    if (thing->present) {
        return;
    }
    bool there = thing_is_there(view, host, i);
    if (thing->seen_gone && there && host_is_steady(host)) {
        thing_check_id(host, i, id);
        world_fail(host->world, "%s: %s is back, which its agent has removed", host->name, id);
    }
    thing->seen_gone = !there;
}

void check_ghost(struct world *world) {
    const struct catalog_view *view = group_truth_view(world);
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *host = &world->servers[i];
        if (host->fate == FATE_UP && host->up) {
            for (uint32_t k = 0; k <= SERVICES; k++) {
                check_thing(host, view, k);
            }
        } else if (host->fate == FATE_LEFT || host->fate == FATE_REMOVED) {
            bool there = view_get_node(view, host->name) != NULL;
            if (host->node_gone && there && host_is_steady(host)) {
                world_fail(world, "%s is back, which has %s", host->name,
                           host->fate == FATE_LEFT ? "left" : "been removed");
            }
            host->node_gone = !there;
        }
    }
}
