/* What a steady agent has registered, and the catalog has shown, stays there: its services and
 * checks; and its node, whatever befalls the servers meanwhile. What any agent has told of its node
 * stays while the node does. A service that was changed may be as it was before for a moment. */
#include "tests/sim/datacenter/datacenter.h"

#define CALM_NODE_US (20 * SECOND)

/* Whatever befalls the servers. */
static bool is_calm(const struct server *host) {
    return host->world->now >= host->disturbed_us + CALM_NODE_US;
}

/* own: the node of its name is its own, and not that of the machine before it was wiped. */
static void check_thing(struct server *host, const struct catalog_view *view, bool own,
                        uint32_t i) {
    struct thing *thing = host_thing(host, i);
    char id[24];
    if (!thing->present) {
        return;
    }
    bool there = own && thing_is_there(view, host, i);
    if (thing->seen && !there && host_is_steady(host)) {
        thing_check_id(host, i, id);
        world_fail(host->world, "%s lost %s: its agent lives and has it", host->name, id);
    }
    /* Until then it may be the row from before a removal that is under way. */
    bool again = host->world->now >= thing->removed_us + SECOND;
    thing->seen = there && (thing->seen || (again && thing_is_shown(view, host, i)));
}

static void check_host(struct server *host, const struct catalog_view *view) {
    const struct catalog_node *node = view_get_node_by_id(view, host->id);
    bool own = node != NULL && node == view_get_node(view, host->name);
    for (uint32_t i = 0; i <= SERVICES; i++) {
        check_thing(host, view, own, i);
    }
    bool there = node != NULL, told = there && str_map_get(&node->meta, "host") != NULL;
    if (there && host->told_seen && !told) {
        world_fail(host->world, "what %s told of its node is overwritten", host->name);
    }
    host->told_seen = told;
    if (host->node_seen && !there && is_calm(host)) {
        world_fail(host->world, "%s lost its node: its agent lives", host->name);
    }
    host->node_seen = there;
    host->ever_registered = host->ever_registered || there;
}

void check_lost(struct world *world) {
    const struct catalog_view *view = group_truth_view(world);
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *host = &world->servers[i];
        if (host->fate == FATE_UP && host->up) {
            check_host(host, view);
        } else {
            host->told_seen = false;
        }
    }
}
