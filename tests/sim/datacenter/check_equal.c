/* At the end the catalog of each server is what is so: of each host that runs its node, with its
 * address and id, alive, and exactly its services and checks; of one that died at most what it
 * had, and that it is not alive; nothing of one that has left or was removed. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/datacenter/datacenter.h"

#define LIFE_US (10 * SECOND) /* within this no leader may have looked */

struct comparing {
    struct world *world;
    const struct server *host;
    const struct catalog_view *view;
    char *why;
    size_t size;
    bool equal;
};

static bool differs(struct comparing *comparing, const char *what, const char *which) {
    snprintf(comparing->why, comparing->size, "at %s: %s %s", here->name, what, which);
    comparing->equal = false;
    return false;
}

static bool is_of_host(const char *id, const struct server *host, bool service) {
    char mine[24];
    for (uint32_t i = 0; i <= SERVICES; i++) {
        const struct thing *thing = i == SERVICES ? &host->own_check : &host->things[i];
        if (service) {
            thing_id(host, i, mine);
        } else {
            thing_check_id(host, i, mine);
        }
        if (thing->present && strcmp(mine, id) == 0 && !(service && i == SERVICES)) {
            return true;
        }
    }
    return service ? !host->client && strcmp(id, "consul") == 0
                   : strcmp(id, CATALOG_AGENT_CHECK) == 0;
}

static bool judge_service(const struct catalog_service *service, void *context) {
    struct comparing *comparing = context;
    return is_of_host(service->id, comparing->host, true) ||
           differs(comparing, "a ghost service of", comparing->host->name);
}

static bool judge_check(const struct catalog_check *check, void *context) {
    struct comparing *comparing = context;
    return is_of_host(check->id, comparing->host, false) ||
           differs(comparing, "a ghost check of", comparing->host->name);
}

static bool is_alive_there(const struct catalog_view *view, const char *name) {
    const struct catalog_check *check = view_get_check(view, name, CATALOG_AGENT_CHECK);
    return check != NULL && strcmp(check->status, "passing") == 0;
}

static void compare_running(struct comparing *comparing) {
    const struct server *host = comparing->host;
    const struct catalog_view *view = comparing->view;
    const struct catalog_node *node = view_get_node(view, host->name);
    char ip[32];
    host_ip(host, ip);
    if (node == NULL) {
        differs(comparing, "no node", host->name);
    } else if (strcmp(node->address, ip) != 0) {
        differs(comparing, "an old address of", host->name);
    } else if (strcmp(node->id, host->id) != 0) {
        differs(comparing, "an old id of", host->name);
    } else if (str_map_get(&node->meta, "host") == NULL) {
        differs(comparing, "without what its agent told:", host->name);
    } else if (!is_alive_there(view, host->name)) {
        differs(comparing, "serfHealth is not passing of", host->name);
    } else if (!host->client && view_get_service(view, host->name, "consul") == NULL) {
        differs(comparing, "the service consul is not there of", host->name);
    }
    for (uint32_t i = 0; i <= SERVICES && comparing->equal; i++) {
        const struct thing *thing = i == SERVICES ? &host->own_check : &host->things[i];
        if (thing->present && !thing_is_shown(view, host, i)) {
            char id[24];
            thing_check_id(host, i, id);
            differs(comparing, thing_is_there(view, host, i) ? "other than it is:" : "lost:", id);
            snprintf(comparing->why + strlen(comparing->why),
                     comparing->size - strlen(comparing->why), " of %s", host->name);
        }
    }
    if (comparing->equal) {
        view_walk_node_services(view, host->name, judge_service, comparing);
    }
    if (comparing->equal) {
        view_walk_node_checks(view, host->name, judge_check, comparing);
    }
}

/* Or nothing. A machine that was wiped and left before it ever was in the catalog leaves the one
 * behind that it was before, which died and did not leave: until it is reaped or removed. */
static bool is_earlier_life(const struct catalog_view *view, const struct server *host) {
    const struct catalog_node *node = view_get_node(view, host->name);
    return node == NULL ||
           (host->fate == FATE_LEFT && !host->world->forgets && !host->ever_registered &&
            (host->fate_us - host->born_us < LIFE_US || host->left_amid) &&
            strcmp(node->id, host->id) != 0 && !is_alive_there(view, host->name));
}

static void compare_host(struct comparing *comparing) {
    const struct server *host = comparing->host;
    if (host->fate == FATE_UP) {
        compare_running(comparing);
    } else if (host->fate == FATE_DOWN && !comparing->world->forgets) {
        if (is_alive_there(comparing->view, host->name)) {
            differs(comparing, "alive though it is dead:", host->name);
        }
    } else if (!is_earlier_life(comparing->view, host)) {
        differs(comparing, "still there:", host->name);
    }
}

static bool judge_node(const struct catalog_node *node, void *context) {
    struct comparing *comparing = context;
    const struct world *world = comparing->world;
    char name[16];
    for (uint32_t i = 0; i < world->server_count; i++) {
        if (strcmp(world->servers[i].name, node->name) == 0) {
            return true;
        }
    }
    for (uint32_t i = 0; i < EXTERNALS; i++) {
        external_name(i, name);
        if (strcmp(name, node->name) == 0) {
            return true;
        }
    }
    return differs(comparing, "a ghost:", node->name);
}

static bool compare_view(struct world *world, const struct catalog_view *view, char *why,
                         size_t size) {
    struct comparing comparing = {world, NULL, view, why, size, true};
    if (view_row_hash(view) != view_row_hash(group_truth_view(world))) {
        return differs(&comparing, "not all is applied", "");
    }
    view_walk_nodes(view, judge_node, &comparing);
    for (uint32_t i = 0; i < world->server_count && comparing.equal; i++) {
        comparing.host = &world->servers[i];
        compare_host(&comparing);
    }
    return comparing.equal;
}

bool check_equal(struct world *world, char *why, size_t size) {
    for (uint32_t i = 0; i < SERVER_COUNT; i++) {
        struct server *server = &world->servers[i];
        if (!server->up) {
            snprintf(why, size, "%s does not run", server->name);
            return false;
        }
        server_enter(server);
        if (!compare_view(world, catalog_view(server->agent->catalog), why, size)) {
            return false;
        }
    }
    return true;
}
