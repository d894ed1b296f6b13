/* The course of a run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tests/sim/regions/regions.h"

#define LED_US (5000 * MS) /* once all servers are up each group has a leader */

static void run_server_event(struct world *world, struct event *event) {
    struct server *server = &world->servers[event->server];
    if (!server->up || server->life != event->life) {
        return;
    }
    server_enter(server);
    switch (event->kind) {
    case EVENT_TURN:
        sim_loop_turn(server, event);
        break;
    case EVENT_BODY:
        sim_loop_body(server);
        break;
    case EVENT_NET:
        sim_rpc_arrives(server, event);
        break;
    case EVENT_BROKEN:
        sim_rpc_broken(server, event);
        break;
    case EVENT_WORK:
        server_work(server);
        break;
    case EVENT_APPEND:
        server_append(server, event->a, event->b, false);
        break;
    case EVENT_KNOWS:
        server_know_leader(server, (int32_t)event->a - 1);
        break;
    case EVENT_CONNECT_LEADER:
        server_connect_leader(server);
        break;
    case EVENT_POOL:
        server->thinks_dead[event->a] = !world->servers[event->a].up;
        server_tell_pool(server, (uint32_t)event->a / SERVERS_EACH);
        break;
    case EVENT_LOOKUP:
        lookup_next(server);
        break;
    default:
        ASSERT(!"an event of a server");
    }
}

static void run_event(struct world *world, struct event *event) {
    struct region *region = &world->regions[event->a % REGIONS_MAX];
    bool once = event->a >= REGIONS_MAX;
    switch (event->kind) {
    case EVENT_WRITE:
        if (!world->quiet) {
            region_write(region, world);
            uint64_t most = world_one_in(world, 10) ? 1500 * MS : 150 * MS;
            world_post(world, world_between(world, 1, most), EVENT_WRITE, NULL)->a = event->a;
        }
        break;
    case EVENT_BEAT:
        region_beat(region, world);
        if (!once) {
            world_post(world, 100 * MS, EVENT_BEAT, NULL)->a = event->a;
        }
        break;
    case EVENT_ELECT:
        region_elect(region, world);
        world_post(world, world_between(world, 50 * MS, 250 * MS), EVENT_ELECT, NULL)->a = event->a;
        break;
    case EVENT_NEMESIS:
        nemesis_strike(world);
        break;
    case EVENT_HEAL:
        nemesis_heal(world, event);
        break;
    case EVENT_RESTART:
        nemesis_restart(world, (uint32_t)event->a);
        break;
    case EVENT_SERVICE:
        if (!world->quiet) {
            region_make_sick(region, world, (uint32_t)event->b, false);
        }
        break;
    default:
        run_server_event(world, event);
    }
}

static void run_until(struct world *world, uint64_t end) {
    while (!world->failed && world->heap_count > 0 && world->heap[0]->at <= end) {
        struct event *event = world_take_first(world);
        world->now = event->at;
        run_event(world, event);
        free(event->data);
        free(event);
    }
    world->now = world->now < end ? end : world->now;
}

/* ---- a run ---- */

static void begin(struct world *world, const struct shape *shape) {
    world->region_count = shape->regions;
    world->server_count = shape->regions * SERVERS_EACH;
    world->epoch = epoch_create();
    world->only_passing = world_one_in(world, 2);
    world->hold_down_us = world_between(world, 300, 4000) * MS;
    nemesis_link_init(world);
    for (uint32_t i = 0; i < world->region_count; i++) {
        struct region *region = &world->regions[i];
        region->at = i;
        snprintf(region->name, sizeof region->name, "dc%u", i + 1);
        region_begin(region, world);
    }
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        server->world = world;
        server->at = i;
        server->region = &world->regions[i / SERVERS_EACH];
        snprintf(server->name, sizeof server->name, "dc%u-s%u", i / SERVERS_EACH + 1,
                 i % SERVERS_EACH + 1);
        rand_bytes(&world->rand, server->node.bytes, sizeof server->node.bytes);
    }
    for (uint32_t i = 0; i < world->server_count; i++) {
        server_start(&world->servers[i]);
    }
    world_post(world, world_between(world, 1000 * MS, 4000 * MS), EVENT_NEMESIS, NULL);
}

static bool all_are_led(const struct world *world) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        const struct server *server = &world->servers[i];
        if (!server->up || !group_has_leader(server->agent->group)) {
            return false;
        }
    }
    return true;
}

/* Once there are no more faults and no more writes, all that mirrors is equal before long. */
static void end_run(struct world *world) {
    char why[160] = "";
    nemesis_calm(world);
    uint64_t end = world->now + LED_US;
    while (!world->failed && !all_are_led(world) && world->now < end) {
        run_until(world, world->now + 100 * MS);
    }
    world->quiet = true;
    run_until(world, world->now + 20 * MS);
    end = world->now + HEALED_US;
    bool equal = false;
    while (!world->failed && !equal && world->now < end) {
        run_until(world, world->now + 100 * MS);
        equal = check_converged(world, why, sizeof why);
    }
    if (!world->failed && !equal) {
        world_fail(world, "%llu s after healing: %s", (unsigned long long)(HEALED_US / (1000 * MS)),
                   why);
    }
}

static void clear(struct world *world) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        if (world->servers[i].up) {
            server_kill(&world->servers[i]);
        }
    }
    while (world->heap_count > 0) {
        struct event *event = world_take_first(world);
        free(event->data);
        free(event);
    }
    free(world->heap);
    for (uint32_t i = 0; i < world->region_count; i++) {
        region_clear(&world->regions[i]);
    }
    epoch_destroy(world->epoch);
}

bool world_run(struct world *world, uint64_t seed, const struct shape *shape) {
    memset(world, 0, sizeof *world);
    world->seed = seed;
    world->trace = shape->trace;
    world->gentle = shape->gentle;
    rand_init(&world->rand, seed);
    begin(world, shape);
    run_until(world, world_between(world, 8000 * MS, 30000 * MS));
    if (!world->failed) {
        end_run(world);
    }
    clear(world);
    return !world->failed;
}
