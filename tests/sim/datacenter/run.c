/* The course of a run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tests/sim/datacenter/datacenter.h"

static void end_life(struct server *server) {
    if (server->agent->leaving) {
        server->fate = host_leave_is_known(server) ? FATE_LEFT : FATE_DOWN;
        server->fate_us = server->world->now;
        server->node_gone = false;
    }
    host_disturb(server);
    server_kill(server);
}

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
        parts_work(server);
        break;
    case EVENT_CALL:
        host_call(server, event);
        break;
    case EVENT_END:
        end_life(server);
        break;
    case EVENT_APPEND:
        group_append(server, event);
        break;
    case EVENT_KNOWS:
        group_forget_leader(server);
        break;
    case EVENT_CONNECT_LEADER:
        group_connect_leader(server);
        break;
    default:
        ASSERT(!"an event of a server");
    }
}

static void run_event(struct world *world, struct event *event) {
    switch (event->kind) {
    case EVENT_DATAGRAM:
        net_datagram_arrives(world, event);
        break;
    case EVENT_REFUSED:
        net_refused(world, event);
        break;
    case EVENT_COMMIT:
        group_commit(world);
        break;
    case EVENT_BEAT:
        group_beat(world);
        break;
    case EVENT_ELECT:
        group_elect(world);
        check_prompt(world);
        break;
    case EVENT_CLIENT:
        if (!world->quiet) {
            uint64_t most = world_one_in(world, 10) ? 3 * SECOND : 400 * MS;
            host_client(world);
            world_post(world, world_between(world, 1, most), EVENT_CLIENT, NULL);
        }
        break;
    case EVENT_NEMESIS:
        nemesis_strike(world);
        break;
    case EVENT_HEAL:
        nemesis_heal(world, event);
        break;
    case EVENT_START:
        if (!world->calm) {
            nemesis_start(world, (uint32_t)event->a);
        }
        break;
    case EVENT_FORCE_LEAVE:
        nemesis_force_leave(world, (uint32_t)event->a);
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
    uint64_t clients = shape->clients > 0 ? shape->clients : world_between(world, 6, CLIENTS_MAX);
    world->server_count = SERVER_COUNT + (uint32_t)clients;
    world->epoch = epoch_create();
    world->forgets = world_one_in(world, 4);
    world->tormented = world_one_in(world, 3) ? world->server_count - 3 : 0;
    nemesis_init(world);
    for (uint32_t i = 0; i < world->server_count; i++) {
        world->servers[i].world = world;
        world->servers[i].at = i;
        host_init(&world->servers[i]);
    }
    group_begin(world);
    for (uint32_t i = 0; i < world->server_count; i++) {
        server_start(&world->servers[i]);
    }
    world_post(world, world_between(world, 1, 500 * MS), EVENT_CLIENT, NULL);
    if (!world->gentle) {
        world_post(world, world_between(world, 1 * SECOND, 8 * SECOND), EVENT_NEMESIS, NULL);
    }
}

/* A seldom hit is not enough: what was under way when all healed is over by then. */
static void end_run(struct world *world) {
    char why[160] = "";
    nemesis_calm(world);
    world->quiet = true;
    uint64_t healed_us = world->now, end = world->now + HEALED_US;
    run_until(world, world->now + 30 * SECOND);
    bool equal = false;
    while (!world->failed && !equal && world->now < end) {
        run_until(world, world->now + 1 * SECOND);
        equal = check_equal(world, why, sizeof why);
    }
    if (!world->failed && !equal) {
        world_fail(world, "%llu s after healing: %s", (unsigned long long)(HEALED_US / SECOND),
                   why);
    }
    world->healed_us = world->now - healed_us;
    world->equal = equal;
    run_until(world, world->now + CALM_US);
    if (!world->failed && !check_equal(world, why, sizeof why)) {
        world_fail(world, "equal, and then not: %s", why);
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
    group_clear(world);
    epoch_destroy(world->epoch);
}

bool world_run(struct world *world, uint64_t seed, const struct shape *shape) {
    memset(world, 0, sizeof *world);
    world->seed = seed;
    world->trace = shape->trace;
    world->gentle = shape->gentle;
    rand_init(&world->rand, seed);
    begin(world, shape);
    run_until(world, world_between(world, 20 * SECOND, 90 * SECOND));
    if (!world->failed) {
        end_run(world);
    }
    clear(world);
    return !world->failed;
}
