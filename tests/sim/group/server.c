/* A server: the parts of an agent around its group, wired as agent.c wires them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/assert.h"
#include "base/duration.h"
#include "base/mem.h"
#include "tests/sim/group/group.h"

struct server *here;

uint64_t server_now_ms(const struct server *server) {
    return 1000 + (server->world->now - server->clock_at) * server->rate / (1000 * 1000);
}

/* Until its clock shows that. */
uint64_t server_delay_us(const struct server *server, int64_t deadline_ms) {
    if ((uint64_t)deadline_ms <= server_now_ms(server)) {
        return 0;
    }
    uint64_t at =
        server->clock_at + ((uint64_t)deadline_ms - 1000) * 1000 * 1000 / server->rate + 1000;
    return at > server->world->now ? at - server->world->now : 0;
}

void server_enter(struct server *server) {
    here = server;
    disk_use(server->disk);
}

void server_leave(struct server *server) {
    if (server->up && !server->dying) {
        disk_use(server->disk);
        if (disk_has_crashed()) {
            nemesis_crash(server, true);
        }
    }
}

void server_turn_ended(struct server *server) {
    check_disk_progress(server);
}

uint64_t server_view_applied(const struct server *server) {
    return view_applied(catalog_view(server->catalog));
}

void log_write(struct log *log, enum log_level level, const char *module, const char *format, ...) {
    char line[256];
    (void)log;
    (void)module;
    if (here->world->trace && level >= LOG_DEBUG) {
        va_list args;
        va_start(args, format);
        vsnprintf(line, sizeof line, format, args);
        va_end(args);
        world_trace(here->world, "%c: %s", here->letter, line);
    }
}

/* ---- callbacks of the group ---- */

static void published(void *context) {
    struct server *server = context;
    check_view(server);
    check_newest(server);
    clocks_published(server->clocks);
}

static void leader_changed(void *context, bool leader) {
    struct server *server = context;
    server->leads = leader;
    if (leader) {
        server->world->led_at = server->world->now;
    }
    clocks_lead(server->clocks, leader);
}

static void leader_known(void *context, bool known) {
    (void)context;
    (void)known;
}

static void joined(void *context) {
    (void)context;
}

static void turn_end(void *context) {
    struct server *server = context;
    group_turn_end(server->group);
    watch_wake(server);
    check_no_session_late(server);
}

/* agent/servers.c */
static void on_renew(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                     const uint8_t *body, size_t size) {
    struct server *server = context;
    char id[40] = "";
    (void)from;
    memcpy(id, body, size < sizeof id ? size : sizeof id - 1);
    enum err err = clocks_renew(server->clocks, id);
    if (err == ERR_OK) {
        check_session_renewed(server, id);
    }
    rpc_answer(server->rpc, ticket, err, NULL, NULL, 0);
}

/* ---- the pool ---- */

static struct addr addr_of(const struct server *server) {
    struct addr addr = {.v4 = {.sin_family = AF_INET, .sin_port = (in_port_t)server->at}};
    return addr;
}

/* What gossip has told this server of the others. */
void server_tell_pool(struct server *server) {
    struct world *world = server->world;
    struct group_server servers[SERVERS_MAX];
    uint32_t count = 0;
    if (!server->up) {
        return;
    }
    for (uint32_t i = 0; i < world->server_count; i++) {
        const struct server *other = &world->servers[i];
        if (other == server || uuid_is_zero(&other->id.disk)) {
            continue;
        }
        struct group_server *to = &servers[count++];
        *to = (struct group_server){
            .id = other->id, .addr = addr_of(other), .learner = other->learner};
        memcpy(to->name, other->name, sizeof other->name);
        bool dead = !other->up && world->now >= other->known_dead_at;
        to->state = other->left ? GROUP_SERVER_LEFT
                    : dead      ? GROUP_SERVER_FAILED
                                : GROUP_SERVER_ALIVE;
    }
    server_enter(server);
    group_set_servers(server->group, servers, count);
    server_leave(server);
}

/* ---- a life ---- */

bool server_start(struct server *server) {
    struct world *world = server->world;
    struct err_text text = {""};
    server->life++;
    server->dying = server->leaving = server->left = server->stands_still = false;
    server->leads = false;
    server->rate = world_between(world, 900, 1100);
    server->clock_at = world->now - world_between(world, 0, world->now);
    server->hang_until = 0;
    server->output = (struct raft_output){0};
    server->applied = server->view_seen = 0;
    memset(server->written_term, 0, (INDEX_MAX + 1) * sizeof *server->written_term);
    server_enter(server);
    server->loop = sim_loop_create(server);
    loop_set_turn_end(server->loop, turn_end, server);
    server->epoch = epoch_create();
    server->watches = watches_create();
    server->catalog = catalog_create(server->epoch, server->watches);
    server->rpc = sim_rpc_create(server, &server->id.node);
    server->addr = addr_of(server);
    struct group_config config = {
        .loop = server->loop,
        .epoch = server->epoch,
        .catalog = server->catalog,
        .datacenter = DATACENTER,
        .data_dir = DATA,
        .node = server->id.node,
        .random_seed = server->disk_seed,
        .autopilot = {.cleanup_dead_servers = true,
                      .stabilization_ns = (int64_t)world_between(world, 0, 1000) * DURATION_MS},
        .name = server->name,
        .addr = &server->addr,
        .published = published,
        .leader_changed = leader_changed,
        .leader_known = leader_known,
        .joined = joined,
        .context = server,
    };
    /* The clocks are there before the group: a sole voter leads at once, as its START is stepped,
     * and an agent's own callbacks wait for its first turn. */
    struct clocks_config clocks = {.loop = server->loop, .catalog = server->catalog};
    server->clocks = NULL;
    server->up = true;
    server->group = group_create(&config, &text);
    if (server->group == NULL) {
        world_trace(world, "%c does not start: %s", server->letter, text.s);
        server->up = false;
        server->raft = NULL;
        sim_rpc_destroy(server->rpc);
        catalog_destroy(server->catalog);
        watches_destroy(server->watches);
        epoch_destroy(server->epoch);
        sim_loop_destroy(server->loop);
        server->life++;
        return false;
    }
    clocks.group = server->group;
    server->clocks = clocks_create(&clocks);
    server->id = *group_self(server->group);
    server->raft = server->group->raft;
    server->applied = server_view_applied(server);
    struct raft_status status;
    raft_get_status(server->raft, &status);
    server->damaged = server->damaged || status.repairing;
    world->repairs += status.repairing;
    check_restored(server);
    static const struct rpc_service renewals = {.request = on_renew};
    group_attach(server->group, server->rpc);
    rpc_serve(server->rpc, RPC_METHOD_RENEW_SESSION, &renewals, server);
    sim_loop_wake(server->loop, 10);
    for (uint32_t i = 0; i < world->server_count; i++) {
        server_tell_pool(&world->servers[i]);
    }
    return true;
}

static void take_down(struct server *server) {
    struct world *world = server->world;
    server_enter(server);
    server->dying = true;
    watch_server_gone(server);
    bool stopped = group_destroy(server->group);
    ASSERT(stopped);
    clocks_destroy(server->clocks);
    sim_rpc_destroy(server->rpc);
    loop_flush(server->loop);
    catalog_destroy(server->catalog);
    watches_destroy(server->watches);
    epoch_destroy(server->epoch);
    sim_loop_destroy(server->loop);
    server->group = NULL;
    server->raft = NULL;
    server->up = server->dying = false;
    server->known_dead_at = world->now + world_between(world, 100 * MS, 3000 * MS);
    server->life++;
}

void server_kill(struct server *server) {
    server_enter(server);
    disk_crash();
    take_down(server);
}

void server_stop(struct server *server) {
    take_down(server);
}
