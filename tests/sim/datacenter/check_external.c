/* The rows of a node without an agent change by the commands of its own clients alone. */
#include "base/hash.h"
#include "catalog/row.h"
#include "tests/sim/datacenter/datacenter.h"

static bool add_service(const struct catalog_service *service, void *context) {
    *(uint64_t *)context += hash_mix(row_hash_service(service));
    return true;
}

static bool add_check(const struct catalog_check *check, void *context) {
    *(uint64_t *)context += hash_mix(row_hash_check(check) + 1);
    return true;
}

static uint64_t hash_of(const struct catalog_view *view) {
    uint64_t hash = 0;
    char name[16];
    for (uint32_t i = 0; i < EXTERNALS; i++) {
        external_name(i, name);
        const struct catalog_node *node = view_get_node(view, name);
        hash += node != NULL ? hash_mix(row_hash_node(node) + 2) : 0;
        view_walk_node_services(view, name, add_service, &hash);
        view_walk_node_checks(view, name, add_check, &hash);
    }
    return hash;
}

void check_external(struct world *world, const struct entry *entry) {
    uint64_t hash = hash_of(group_truth_view(world));
    if (hash != world->external_hash && !entry->external) {
        world_fail(world, "a node without an agent was changed by an agent");
    }
    world->external_hash = hash;
}
