/* What goes wrong: links are cut, one way or both, slow, or lossy; connections break; servers die,
 * one or all of a datacenter; a datacenter loses its data; leaders change; processes stand still;
 * services fall sick, also for moments. */
#include "tests/sim/regions/regions.h"

void nemesis_link_init(struct world *world) {
    for (uint32_t i = 0; i < world->region_count; i++) {
        for (uint32_t j = 0; j <= i; j++) {
            uint64_t base_us = i == j ? 200 : world_between(world, 5 * MS, 120 * MS);
            struct link link = {
                .delay_us = base_us, .base_us = base_us, .jitter_us = base_us / 10 + 50};
            world->links[i][j] = world->links[j][i] = link;
        }
    }
}

static void heal_later(struct world *world, uint32_t from, uint32_t to, uint64_t delay_us) {
    struct event *event = world_post(world, delay_us, EVENT_HEAL, NULL);
    event->a = from * REGIONS_MAX + to;
    event->b = ++world->links[from][to].faults;
}

static void heal(struct link *link) {
    link->cut = false;
    link->drop_per_1000 = 0;
    link->bytes_per_s = 0;
    link->delay_us = link->base_us;
}

void nemesis_heal(struct world *world, const struct event *event) {
    struct link *link = &world->links[event->a / REGIONS_MAX][event->a % REGIONS_MAX];
    if (link->faults == event->b) {
        heal(link);
    }
}

static void harm_link(struct world *world, uint32_t from, uint32_t to, uint64_t kind,
                      uint64_t for_us) {
    struct link *link = &world->links[from][to];
    if (kind == 0) {
        link->cut = true;
    } else if (kind == 1) {
        link->bytes_per_s = world_between(world, 500, 20000);
        link->delay_us = world_between(world, 100 * MS, 1500 * MS);
    } else {
        link->drop_per_1000 = (uint32_t)world_between(world, 50, 300);
    }
    heal_later(world, from, to, for_us);
}

static void harm_links(struct world *world) {
    uint32_t from = (uint32_t)rand_below(&world->rand, world->region_count);
    uint32_t to = (from + 1 + (uint32_t)rand_below(&world->rand, world->region_count - 1)) %
                  world->region_count;
    uint64_t kind = rand_below(&world->rand, 3);
    uint64_t for_us =
        world_between(world, 50 * MS, world_one_in(world, 3) ? 15000 * MS : 3000 * MS);
    bool alone = world_one_in(world, 5); /* all links of one */
    world_trace(world, "links of %s: %s for %llu ms", world->regions[from].name,
                kind == 0   ? "cut"
                : kind == 1 ? "slow"
                            : "lossy",
                (unsigned long long)(for_us / MS));
    for (uint32_t i = 0; i < world->region_count; i++) {
        if (i != from && (alone || i == to)) {
            harm_link(world, from, i, kind, for_us);
            if (!world_one_in(world, 3)) {
                harm_link(world, i, from, kind, for_us);
            }
        }
    }
}

/* ---- servers ---- */

static void notice(struct world *world, const struct server *whom, bool dead) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        if (server->up && server->region != whom->region) {
            struct event *event =
                world_post(world, world_between(world, 200 * MS, dead ? 4000 * MS : 1000 * MS),
                           EVENT_POOL, server);
            event->a = whom->at;
        }
    }
}

static void kill_server(struct world *world, struct server *server, uint64_t for_us) {
    if (!server->up) {
        return;
    }
    world_trace(world, "%s dies", server->name);
    server_kill(server);
    world->kills++;
    notice(world, server, true);
    world_post(world, for_us, EVENT_RESTART, NULL)->a = server->at;
}

static void kill_region(struct world *world, struct region *region, bool wipe) {
    uint64_t for_us =
        world_between(world, 200 * MS, world_one_in(world, 2) ? 14000 * MS : 3000 * MS);
    for (uint32_t i = 0; i < SERVERS_EACH; i++) {
        struct server *server = &world->servers[region->at * SERVERS_EACH + i];
        if (server->up) {
            kill_server(world, server, for_us + world_between(world, 0, 1000 * MS));
        }
    }
    if (wipe) {
        world_trace(world, "%s loses its data", region->name);
        region_wipe(region, world);
        world->wipes++;
    }
}

static void make_sick(struct world *world, struct region *region) {
    uint32_t service = (uint32_t)rand_below(&world->rand, SERVICES);
    bool blink = world_one_in(world, 2);
    region_make_sick(region, world, service, true);
    struct event *event = world_post(world, world_between(world, 1, blink ? 200 * MS : 6000 * MS),
                                     EVENT_SERVICE, NULL);
    event->a = region->at;
    event->b = service;
}

void nemesis_strike(struct world *world) {
    struct server *server = &world->servers[rand_below(&world->rand, world->server_count)];
    struct region *region = server->region;
    if (world->calm) {
        return;
    }
    switch (rand_below(&world->rand, world->gentle ? 2 : 12)) {
    case 0:
    case 1:
        make_sick(world, region);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        harm_links(world);
        break;
    case 6:
        kill_server(world, server, world_between(world, 50 * MS, 6000 * MS));
        break;
    case 7:
        kill_region(world, region, world_one_in(world, 3));
        break;
    case 8:
    case 9:
        region_depose(region, world);
        break;
    case 10:
        if (server->up) {
            server_enter(server);
            sim_rpc_break_some(
                server, SERVERS_EACH * (uint32_t)rand_below(&world->rand, world->region_count),
                SERVERS_EACH);
        }
        break;
    default:
        server->stands_still = true;
    }
    world_post(world, world_between(world, 50 * MS, 1500 * MS), EVENT_NEMESIS, NULL);
}

void nemesis_calm(struct world *world) {
    world->calm = true;
    for (uint32_t i = 0; i < world->region_count; i++) {
        for (uint32_t j = 0; j < world->region_count; j++) {
            heal(&world->links[i][j]);
            world->links[i][j].faults++;
        }
        for (uint32_t j = 0; j < SERVICES; j++) {
            world->regions[i].sick[j] = false;
        }
    }
    for (uint32_t i = 0; i < world->server_count; i++) {
        nemesis_restart(world, i);
    }
}

void nemesis_restart(struct world *world, uint32_t at) {
    struct server *server = &world->servers[at];
    if (!server->up) {
        world_trace(world, "%s starts", server->name);
        server_start(server);
        notice(world, server, false);
    }
}
