/* What is so: the services, checks and fate of each host, whatever its agent and the catalog make
 * of it; and the clients that change it, at agents and, for nodes without an agent, at servers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pools_internal.h"
#include "base/assert.h"
#include "base/mem.h"
#include "catalog/definition.h"
#include "tests/sim/datacenter/datacenter.h"
#include "tests/sim/rows.h"

static const char *const statuses[] = {"passing", "warning", "critical"};

void host_init(struct server *server) {
    struct world *world = server->world;
    rand_bytes(&world->rand, server->node.bytes, sizeof server->node.bytes);
    server->client = server->at >= SERVER_COUNT;
    snprintf(server->name, sizeof server->name, "%c%u", server->client ? 'c' : 's',
             server->client ? server->at - SERVER_COUNT + 1 : server->at + 1);
    server->rate = world_between(world, RATE - RATE / 5000, RATE + RATE / 5000);
    server->clock_at = 0 - world_between(world, 0, 10 * SECOND);
    server->fate_us = world->now;
    server->born_us = 1;
}

/* ---- faults ---- */

void host_disturb(struct server *server) {
    server->disturbed_us = server->world->now;
    if (!server->client) {
        world_disturb(server->world);
    }
}

void world_disturb(struct world *world) {
    world->disturbed_us = world->now;
}

bool host_is_steady(const struct server *server) {
    const struct world *world = server->world;
    return world->now >= server->disturbed_us + SETTLES_US &&
           world->now >= world->disturbed_us + SETTLES_US;
}

bool host_leave_is_known(const struct server *server) {
    const struct world *world = server->world;
    struct gossip_member member;
    for (uint32_t i = 0; i < world->server_count; i++) {
        const struct server *other = &world->servers[i];
        if (other != server && other->up &&
            gossip_find_id(pool_gossip(other->agent->pools->lan.pool), &server->node, &member) &&
            member.state == GOSSIP_LEFT) {
            return true;
        }
    }
    return false;
}

void host_note_deaths(struct world *world) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *host = &world->servers[i];
        bool there = view_get_node_by_id(group_truth_view(world), host->id) != NULL;
        if (host->fate == FATE_LEFT && there && !host_leave_is_known(host)) {
            host->fate = FATE_DOWN;
        }
    }
}

/* ---- things ---- */

void thing_id(const struct server *server, uint32_t i, char out[16]) {
    (void)server;
    snprintf(out, 16, "web-%u", i);
}

void thing_check_id(const struct server *server, uint32_t i, char out[24]) {
    (void)server;
    if (i == SERVICES) {
        snprintf(out, 24, "host");
    } else {
        snprintf(out, 24, "c-web-%u", i);
    }
}

struct thing *host_thing(struct server *server, uint32_t i) {
    return i == SERVICES ? &server->own_check : &server->things[i];
}

static const struct thing *thing_of(const struct server *server, uint32_t i) {
    return i == SERVICES ? &server->own_check : &server->things[i];
}

bool thing_is_there(const struct catalog_view *view, const struct server *server, uint32_t i) {
    char id[24];
    if (i == SERVICES) {
        thing_check_id(server, i, id);
        return view_get_check(view, server->name, id) != NULL;
    }
    thing_id(server, i, id);
    return view_get_service(view, server->name, id) != NULL;
}

bool thing_is_shown(const struct catalog_view *view, const struct server *server, uint32_t i) {
    const struct thing *thing = thing_of(server, i);
    char id[24], version[16];
    thing_check_id(server, i, id);
    const struct catalog_check *check = view_get_check(view, server->name, id);
    if (check == NULL || strcmp(check->status, statuses[thing->status]) != 0) {
        return false;
    }
    if (i == SERVICES) {
        return true;
    }
    thing_id(server, i, id);
    snprintf(version, sizeof version, "v%u", thing->version);
    const struct catalog_service *service = view_get_service(view, server->name, id);
    return service != NULL && service->port == thing->port && service->tags.count == 1 &&
           strcmp(service->tags.v[0], version) == 0;
}

/* ---- into the agent ---- */

static void set_service(struct server *server, uint32_t i) {
    const struct thing *thing = &server->things[i];
    struct service_definition definition;
    struct err_text text;
    struct arena arena;
    char id[24], check[24], json[256];
    thing_id(server, i, id);
    thing_check_id(server, i, check);
    int size = snprintf(json, sizeof json,
                        "{\"ID\":\"%s\",\"Name\":\"web\",\"Port\":%u,\"Tags\":[\"v%u\"],"
                        "\"Check\":{\"CheckID\":\"%s\",\"TTL\":\"24h\",\"Status\":\"%s\"}}",
                        id, thing->port, thing->version, check, statuses[thing->status]);
    arena_init(&arena);
    enum err err = definition_parse_service(json, (size_t)size, &arena, &definition, &text);
    ASSERT(err == ERR_OK);
    local_set_service(server->agent->local, &definition, true);
    arena_clear(&arena);
    /* A check that was there keeps its status; this client tells it at once. */
    (void)local_update_check(server->agent->local, check, statuses[thing->status], "");
}

static void set_own_check(struct server *server) {
    struct check_definition definition;
    struct err_text text;
    struct arena arena;
    char id[24], json[160];
    thing_check_id(server, SERVICES, id);
    int size = snprintf(json, sizeof json,
                        "{\"ID\":\"%s\",\"Name\":\"%s\",\"TTL\":\"24h\",\"Status\":\"%s\"}", id, id,
                        statuses[server->own_check.status]);
    arena_init(&arena);
    enum err err = definition_parse_check(json, (size_t)size, &arena, &definition, &text);
    ASSERT(err == ERR_OK);
    err = local_set_check(server->agent->local, &definition, true);
    ASSERT(err == ERR_OK);
    arena_clear(&arena);
    (void)local_update_check(server->agent->local, id, statuses[server->own_check.status], "");
}

static void put(struct server *server, uint32_t i) {
    if (i == SERVICES) {
        set_own_check(server);
    } else {
        set_service(server, i);
    }
}

static void take_away(struct server *server, uint32_t i) {
    char id[24];
    if (i == SERVICES) {
        thing_check_id(server, i, id);
        (void)local_remove_check(server->agent->local, id);
    } else {
        thing_id(server, i, id);
        (void)local_remove_service(server->agent->local, id);
    }
}

static void follow(const char *id, const struct check_definition *definition, void *context) {
    (void)id;
    (void)definition;
    (void)context;
}

/* Checks are run elsewhere: there are no runners to be changed. */
static void publish(struct server *server) {
    local_take_changed_checks(server->agent->local, follow, NULL);
    local_publish(server->agent->local);
}

void host_load(struct server *server) {
    for (uint32_t i = 0; i <= SERVICES; i++) {
        if (host_thing(server, i)->present) {
            put(server, i);
        }
    }
    publish(server);
}

/* Its disk is a new one. */
void host_wipe(struct server *server) {
    server->born_us = 0;
    rand_bytes(&server->world->rand, server->node.bytes, sizeof server->node.bytes);
    memset(server->things, 0, sizeof server->things);
    server->own_check = (struct thing){.present = false};
    server->known_count = 0;
    server->boot_epoch = 0;
    server->node_seen = server->ever_registered = server->told_seen = false;
}

/* ---- clients ---- */

enum call { CALL_SET, CALL_REMOVE, CALL_STATUS };

/* What is so has changed once the agent has it. */
static void call(struct server *server, uint64_t kind, uint64_t i) {
    struct world *world = server->world;
    struct thing *thing = host_thing(server, (uint32_t)i);
    char id[24];
    if (server->agent->leaving || (kind == CALL_STATUS && !thing->present)) {
        return;
    }
    world->calls++;
    thing->seen = thing->seen_gone = false;
    thing->changed_us = world->now;
    if (kind == CALL_REMOVE) {
        thing->present = false;
        thing->removed_us = world->now;
        take_away(server, (uint32_t)i);
    } else if (kind == CALL_STATUS) {
        thing->status = (uint32_t)rand_below(&world->rand, 3);
        thing_check_id(server, (uint32_t)i, id);
        (void)local_update_check(server->agent->local, id, statuses[thing->status], "");
    } else {
        thing->present = true;
        thing->port = (uint32_t)world_between(world, 1, 3);
        thing->version = (uint32_t)world_between(world, 1, 2);
        thing->status = (uint32_t)rand_below(&world->rand, 3);
        put(server, (uint32_t)i);
    }
    thing_check_id(server, (uint32_t)i, id);
    world_trace(world, "%s: a client %s %s", server->name,
                kind == CALL_SET      ? "sets"
                : kind == CALL_REMOVE ? "removes"
                                      : "changes the status of",
                id);
    publish(server);
    sync_run(server->agent->sync, NULL);
}

void host_call(struct server *server, const struct event *event) {
    server_do(server, call, event->a, event->b);
}

void external_name(uint32_t i, char out[16]) {
    snprintf(out, 16, "ext-%u", i);
}

/* At a server: there is no agent on that node. */
static void call_external(struct server *server, uint64_t i, uint64_t unused) {
    struct world *world = server->world;
    char name[16], check[16], id[UUID_TEXT_BYTES];
    struct uuid uuid = {.bytes = {[0] = 0xee, [15] = (uint8_t)i}};
    (void)unused;
    external_name((uint32_t)i, name);
    struct catalog_command command = {.kind = COMMAND_REGISTER, .reg.node = row_node(name, "")};
    struct catalog_service service = row_service("router", (uint32_t)world_between(world, 1, 4));
    snprintf(check, sizeof check, "c-router");
    struct catalog_check row =
        row_check("", check, "router", statuses[rand_below(&world->rand, 3)]);
    uuid_format(&uuid, id);
    command.reg.node.address = "10.200.0.1";
    command.reg.node.id = i % 2 == 0 ? id : "";
    command.reg.service = &service;
    command.reg.checks = &row;
    command.reg.check_count = 1;
    if (world_one_in(world, 6)) {
        command = (struct catalog_command){
            .kind = COMMAND_DEREGISTER,
            .dereg = {.node = name, .service_id = "router", .check_id = ""}};
    }
    group_write(server, &command);
}

void host_client(struct world *world) {
    struct server *server = &world->servers[rand_below(&world->rand, world->server_count)];
    uint64_t i = rand_below(&world->rand, SERVICES + 1), choice = rand_below(&world->rand, 10);
    if (server->up && !server->client && choice < 3) {
        server_do(server, call_external, rand_below(&world->rand, EXTERNALS), 0);
    } else if (server->up) {
        enum call kind = choice < 3 ? CALL_REMOVE : choice < 7 ? CALL_STATUS : CALL_SET;
        server_do(server, call, kind, i);
        if (world_one_in(world, 3)) { /* another one, while the first is told */
            struct event *event =
                world_post(world, world_between(world, 100, 5 * MS), EVENT_CALL, server);
            event->a = world_one_in(world, 2) ? CALL_SET : CALL_STATUS;
            event->b = i;
        }
    }
}
