/* What clients ask: names that fail over, and the rows of other datacenters. Other threads ask them
 * in an agent, so they come between any two turns. */
#include "base/arena.h"
#include "tests/sim/regions/regions.h"

static bool is_good(const struct catalog_instance *instance, void *context) {
    const struct world *world = ((const struct world *const *)context)[0];
    bool good = instance->health <= (world->only_passing ? HEALTH_PASSING : HEALTH_WARNING);
    *((bool **)context)[1] = good;
    return !good;
}

bool is_usable(const struct world *world, const struct catalog_view *view, uint32_t service) {
    bool good = false;
    const void *both[] = {world, &good};
    view_walk_instances(view, service_name(service), is_good, both);
    return good;
}

struct asking {
    const struct world *world;
    uint32_t service;
};

static bool usable(const struct catalog_view *view, void *context) {
    const struct asking *asking = context;
    return is_usable(asking->world, view, asking->service);
}

static void ask_service(struct server *server, uint32_t service) {
    struct world *world = server->world;
    struct asking asking = {world, service};
    struct arena arena;
    arena_init(&arena);
    struct failover_place place =
        failover_find(&server->agent->failover_source, catalog_view(server->agent->catalog),
                      service_name(service), usable, &asking, &arena);
    world->lookups++;
    world->away += place.datacenter != NULL;
    world_note(world, server->at * SERVICES + service + (place.datacenter != NULL ? 1000 : 0));
    check_local(server, service, &place);
    check_failover(server, service, &place);
    arena_clear(&arena);
}

static void look_at_mirror(struct server *server, const struct region *region) {
    struct world *world = server->world;
    struct mirror_face face;
    if (region == server->region || !mirrors_look(server->agent, region->name, &face)) {
        return;
    }
    world->looks++;
    world->stale += face.age_ms > LIMIT_MIRROR_LOST_MS;
    world->oldest_ms =
        world->oldest_ms > (uint64_t)face.age_ms ? world->oldest_ms : (uint64_t)face.age_ms;
    world_note(world, (uint64_t)face.age_ms);
    check_age(server, region, &face);
    check_mirror(server, region, &face);
}

void lookup_next(struct server *server) {
    struct world *world = server->world;
    server_enter(server);
    ask_service(server, (uint32_t)rand_below(&world->rand, SERVICES));
    look_at_mirror(server, &world->regions[rand_below(&world->rand, world->region_count)]);
    world_post(world, world_between(world, 5 * MS, 100 * MS), EVENT_LOOKUP, server);
}

/* ---- what the checkers remember of home ---- */

void lookup_published(struct server *server) {
    struct world *world = server->world;
    const struct catalog_view *view = catalog_view(server->agent->catalog);
    for (uint32_t i = 0; i < SERVICES; i++) {
        struct service_seen *seen = &server->seen[i];
        bool healthy = is_usable(world, view, i);
        if (healthy && seen->broken) {
            seen->healthy_us = world->now;
            seen->broken = false;
        }
        seen->healthy = healthy;
    }
}

void lookup_stepped(struct server *server) {
    for (uint32_t i = 0; i < SERVICES; i++) {
        server->seen[i].broken = server->seen[i].broken || !server->seen[i].healthy;
    }
}
