/* The course of a run. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "agent/group_internal.h"
#include "base/mem.h"
#include "tests/sim/group/group.h"

#define CALM_US (30000 * MS) /* after the faults: so long the group may take to be whole */

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
    case EVENT_THREAD:
        sim_thread_step(server, event);
        break;
    case EVENT_NET:
        sim_rpc_arrives(world, event);
        break;
    case EVENT_CONNECT:
        sim_rpc_connect(server, event);
        break;
    case EVENT_VIEW:
        client_view(server, event);
        break;
    case EVENT_TOO_EARLY:
        nemesis_too_early(server);
        break;
    case EVENT_STOPPED:
        nemesis_stopped(server, event->a == 1);
        break;
    default:
        ASSERT(!"an event of a server");
    }
}

static void run_event(struct world *world, struct event *event) {
    switch (event->kind) {
    case EVENT_RESTART:
        nemesis_restart(&world->servers[event->server]);
        break;
    case EVENT_REQUEST:
        client_request(world, event);
        break;
    case EVENT_RESPONSE:
        client_response(world, event);
        break;
    case EVENT_GIVE_UP:
        client_give_up(world, event);
        break;
    case EVENT_CLIENT:
        client_next(world, (uint32_t)event->a);
        break;
    case EVENT_LOCKER:
        locker_next(world, (uint32_t)event->a);
        break;
    case EVENT_RENEWED:
        locker_renewed(world, event);
        break;
    case EVENT_WATCH:
        watch_next(world, (uint32_t)event->a);
        break;
    case EVENT_WATCH_REGISTER:
        watch_register(world, event);
        break;
    case EVENT_NEMESIS:
        nemesis_strike(world, event);
        break;
    case EVENT_MEMBERS:
        members_tend(world);
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
        check_no_watch_lost(world);
        free(event->data);
        free(event);
    }
    world->now = world->now < end ? end : world->now;
}

/* ---- a run ---- */

static void make_group(struct world *world) {
    static const struct {
        uint32_t voters, learners;
    } shapes[] = {{3, 0}, {3, 0}, {3, 0}, {3, 0}, {3, 1}, {5, 0}, {5, 0}, {4, 1}, {2, 1}, {1, 2}};
    uint32_t shape = (uint32_t)rand_below(&world->rand, sizeof shapes / sizeof shapes[0]);
    world->voter_count = shapes[shape].voters;
    world->server_count = world->voter_count + shapes[shape].learners;
    world->damage_max = (world->voter_count - 1) / 2;
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        server->world = world;
        server->at = i;
        server->letter = (char)('A' + i);
        server->learner = i >= world->voter_count;
        server->name[0] = server->letter;
        server->disk = disk_create(&world->rand);
        server->disk_seed = rand_next(&world->rand);
        server->log = mem_calloc(INDEX_MAX + 2, sizeof *server->log);
        server->written_term = mem_calloc(INDEX_MAX + 1, sizeof *server->written_term);
        server->durable_term = mem_calloc(INDEX_MAX + 1, sizeof *server->durable_term);
        server->id.node.bytes[0] = (uint8_t)server->letter;
    }
    for (uint32_t i = 0; i < SERVERS_MAX * SERVERS_MAX; i++) {
        world->links[i / SERVERS_MAX][i % SERVERS_MAX] =
            (struct link){.delay_us = 300, .jitter_us = 700};
    }
    for (uint32_t i = 0; i < world->server_count; i++) {
        if (!server_start(&world->servers[i])) {
            world_fail(world, "server %c does not start", world->servers[i].letter);
        }
    }
    /* The first servers each make the group, from the same configuration. */
    struct raft_configuration configuration = {.count = world->voter_count};
    for (uint32_t i = 0; i < world->voter_count; i++) {
        configuration.servers[i] = (struct raft_server){.id = world->servers[i].id, .voter = true};
    }
    for (uint32_t i = 0; i < world->voter_count && !world->failed; i++) {
        struct err_text text;
        server_enter(&world->servers[i]);
        if (group_bootstrap(world->servers[i].group, &configuration, &text) != ERR_OK) {
            world_fail(world, "no group: %s", text.s);
        }
    }
}

static void begin_clients(struct world *world) {
    world->client_count = 3 + (uint32_t)rand_below(&world->rand, CLIENTS_MAX - 2);
    for (uint32_t i = 0; i < world->client_count; i++) {
        world_post(world, world_between(world, 1, 500 * MS), EVENT_CLIENT, NULL)->a = i;
    }
    for (uint32_t i = 0; i < LOCKERS; i++) {
        world_post(world, world_between(world, 1, 500 * MS), EVENT_LOCKER, NULL)->a = i;
    }
    for (uint32_t i = 0; i < WATCHERS; i++) {
        world_post(world, world_between(world, 1, 500 * MS), EVENT_WATCH, NULL)->a = i;
    }
    world_post(world, 300 * MS, EVENT_MEMBERS, NULL);
    world_post(world, world_between(world, 500 * MS, 2000 * MS), EVENT_NEMESIS, NULL);
}

/* What each server makes of it, for --trace. */
static void trace_servers(struct world *world) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        const struct server *server = &world->servers[i];
        struct raft_status status;
        char members[SERVERS_MAX + 2] = "";
        if (!server->up) {
            world_trace(world, "%c is down", server->letter);
            continue;
        }
        raft_get_status(server->raft, &status);
        const struct raft_configuration *configuration = raft_get_configuration(server->raft);
        for (uint32_t k = 0; k < configuration->count && k < SERVERS_MAX; k++) {
            uint8_t letter = configuration->servers[k].id.node.bytes[0];
            members[k] = (char)(configuration->servers[k].voter ? letter : letter + 'a' - 'A');
        }
        world_trace(world,
                    "%c: %s of term %lu, members %s, last %lu persisted %lu commit %lu%s%s%s",
                    server->letter, raft_role_name(status.role), status.hard_state.term, members,
                    status.last, status.persisted, status.commit,
                    server->group->disk_failed ? ", disk failed" : "",
                    status.repairing ? ", repairing" : "", server->damaged ? ", damaged" : "");
    }
}

/* Liveness: once the faults are over, the group is whole before long, and serves. */
static void end_run(struct world *world) {
    char why[160] = "";
    uint64_t end = world->now + CALM_US;
    nemesis_calm(world);
    bool live = false;
    while (!world->failed && !live && world->now < end) {
        run_until(world, world->now + 250 * MS);
        live = check_live(world, why, sizeof why);
    }
    if (!world->failed && !live) {
        trace_servers(world);
        world_fail(world, "the group is not whole again: %s", why);
    }
    if (!world->failed) {
        check_equal(world);
    }
}

static void clear(struct world *world) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        if (server->up) {
            server_kill(server);
        }
        disk_use(server->disk);
        disk_destroy();
        free(server->log);
        free(server->written_term);
        free(server->durable_term);
    }
    while (world->heap_count > 0) {
        struct event *event = world_take_first(world);
        free(event->data);
        free(event);
    }
    free(world->heap);
    world->heap = NULL;
    for (uint64_t i = 1; i <= world->op_count; i++) {
        free(world->ops[i].bytes);
    }
    model_clear(&world->model);
    check_matching_clear(world);
}

bool world_run(struct world *world, uint64_t seed, bool trace) {
    memset(world, 0, sizeof *world);
    world->seed = seed;
    world->trace = trace;
    rand_init(&world->rand, seed);
    make_group(world);
    begin_clients(world);
    run_until(world, world_between(world, 5000 * MS, 25000 * MS));
    if (!world->failed) {
        end_run(world);
    }
    clear(world);
    return !world->failed;
}
