/* An agent: the parts that matter here, wired as agent.c wires them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/asker.h"
#include "agent/carry.h"
#include "agent/pools_internal.h"
#include "agent/removals.h"
#include "agent/servers.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/mem.h"
#include "tests/sim/datacenter/datacenter.h"

#define FORGET_NS (75 * DURATION_S) /* where dead members are soon forgotten */

static struct server *server_of(const struct agent *agent) {
    return CONTAINER_OF(agent->config, struct server, config);
}

/* ---- work in a turn ---- */

struct doing {
    struct loop_task task;
    struct server *server;
    void (*what)(struct server *server, uint64_t a, uint64_t b);
    uint64_t a, b;
};

static void do_it(struct loop_task *task) {
    struct doing doing = *CONTAINER_OF(task, struct doing, task);
    free(CONTAINER_OF(task, struct doing, task));
    if (!doing.server->dying) {
        doing.what(doing.server, doing.a, doing.b);
    }
}

void server_do(struct server *server, void (*what)(struct server *server, uint64_t a, uint64_t b),
               uint64_t a, uint64_t b) {
    struct doing *doing = mem_calloc(1, sizeof *doing);
    *doing = (struct doing){{.run = do_it}, server, what, a, b};
    server_enter(server);
    loop_post(server->loop, &doing->task);
}

/* ---- where anti-entropy tells what it has to tell ---- */

static bool sync_ready(void *context) {
    struct agent *agent = context;
    return agent->group != NULL   ? group_has_leader(agent->group)
           : agent->links != NULL ? links_connected(agent->links)
                                  : false;
}

static bool leads(void *context) {
    const struct agent *agent = context;
    return agent->group != NULL && group_leads(agent->group);
}

void agent_propose(void *context, struct group_proposal *proposal) {
    struct agent *agent = context;
    if (agent->group != NULL) {
        group_propose(agent->group, proposal);
    } else {
        carry_propose(agent, proposal);
    }
}

static void sync_fetch(void *context) {
    asker_fetch(context);
}

static void taken(void *context, const char *service_id) {
    (void)service_id;
    ((struct agent *)context)->local_changed = true;
}

/* ---- its servers ---- */

struct rpc *servers_rpc(const struct agent *agent) {
    return server_of(agent)->answers;
}

struct rpc *server_rpc(const struct server *server) {
    return server->answers;
}

static void answer_others(struct server *server) {
    struct rpc_config config = {.loop = server->loop, .kind = RPC_KIND_SERVER};
    server->answers = rpc_create(&config);
    server->carried = carried_create(server->agent);
    carried_serve(server->carried, server->answers);
    group_serve(server);
}

/* ---- turns ---- */

static void turn_end(void *context) {
    struct agent *agent = context;
    struct server *server = server_of(agent);
    server->turned_us = server->world->now;
    if (agent->local_changed) {
        agent->local_changed = false;
        local_publish(agent->local);
    }
    if (agent->group != NULL) {
        group_turn_end(agent->group);
        removals_turn_end(agent);
    }
    pools_turn_end(agent);
    if (agent->pools->lan.snapshot_due && !agent->pools->leaving) {
        agent->pools->lan.snapshot_due = false;
        pool_state_save(&agent->pools->lan, false);
    }
    if (agent->reconcile != NULL) {
        reconcile_turn_end(agent->reconcile);
    }
    sync_set_members(agent->sync, agent->backend.lan->count);
    if (agent->left) {
        agent->left = false;
        world_post(server->world, world_between(server->world, 0, 5 * MS), EVENT_END, server);
    }
}

static void part_left(struct agent *agent) {
    agent->left = true;
}

static void begin_leave(struct server *server, uint64_t a, uint64_t b) {
    struct agent *agent = server->agent;
    (void)a;
    (void)b;
    if (!agent->leaving) {
        agent->leaving = true;
        sync_leave(agent->sync);
        pools_leave(agent, part_left);
    }
}

void server_begin_leave(struct server *server) {
    server_do(server, begin_leave, 0, 0);
}

/* ---- a life ---- */

static void describe(struct server *server) {
    struct world *world = server->world;
    struct agent *agent = server->agent;
    struct config *config = &server->config;
    char ip[32];
    host_ip(server, ip);
    uuid_format(&server->node, server->id);
    *config = (struct config){.dev = true,
                              .server = !server->client,
                              .node_name = server->name,
                              .datacenter = "dc1",
                              .server_port = 8300,
                              .serf_lan_port = 8301,
                              .region = "",
                              .zone = ""};
    (void)addr_parse(ip, 0, &config->advertise);
    config->gossip.lan_addr = config->advertise;
    addr_set_port(&config->gossip.lan_addr, 8301);
    config->gossip.reconnect_ns = world->forgets ? FORGET_NS : 72 * 3600 * DURATION_S;
    config->gossip.retry_ns = 30 * DURATION_S;
    const char **join = arena_alloc(&agent->arena, SERVER_COUNT * sizeof *join);
    for (uint32_t i = 0; i < SERVER_COUNT; i++) {
        host_ip(&world->servers[i], ip);
        join[i] = arena_strdup(&agent->arena, ip);
    }
    config->gossip.join = (struct str_list){.v = join, .count = SERVER_COUNT};
    host_ip(server, ip);
    memcpy(agent->node_id, server->id, sizeof agent->node_id);
    agent->facts = (struct backend_facts){.node_name = config->node_name,
                                          .node_id = agent->node_id,
                                          .datacenter = config->datacenter,
                                          .version = "1",
                                          .advertise_ip = arena_strdup(&agent->arena, ip),
                                          .server = config->server};
    struct str_pair *meta = arena_alloc(&agent->arena, sizeof *meta);
    *meta = (struct str_pair){"host", config->node_name};
    agent->node = (struct catalog_node){.id = agent->node_id,
                                        .name = config->node_name,
                                        .address = agent->facts.advertise_ip,
                                        .meta = {meta, 1, true},
                                        .region = "",
                                        .zone = ""};
}

static struct sync *create_sync(struct server *server) {
    struct agent *agent = server->agent;
    struct sync_config sync = {.loop = agent->loop,
                               .epoch = agent->epoch,
                               .local = agent->local,
                               .catalog = agent->catalog,
                               .fetch = sync_fetch,
                               .ready = sync_ready,
                               .leads = leads,
                               .propose = agent_propose,
                               .facts = &agent->facts,
                               .node = &agent->node,
                               .server_port = 8300,
                               .output_ms = 5 * 60 * 1000,
                               .seed = rand_next(&server->world->rand),
                               .taken = taken,
                               .context = agent};
    return sync_create(&sync);
}

static void create_duties(struct agent *agent) {
    struct reconcile_config reconcile = {
        .loop = agent->loop,
        .group = agent->group,
        .backend = &agent->backend,
        .keep_removals_ms = agent->config->gossip.reconnect_ns / DURATION_MS + 600 * 1000};
    agent->reconcile = reconcile_create(&reconcile);
}

void server_start(struct server *server) {
    struct agent *agent = mem_calloc(1, sizeof *agent);
    struct err_text text;
    server->life++;
    server->up = true;
    server->dying = server->stands_still = false;
    server->turned_us = server->world->now;
    server_enter(server);
    server->agent = agent;
    arena_init(&agent->arena);
    describe(server);
    agent->config = agent->live = &server->config;
    server->loop = agent->loop = sim_loop_create(server);
    server->epoch = agent->epoch = epoch_create();
    server->rpc = sim_rpc_create(server);
    agent->catalog = server->client ? NULL : catalog_create(agent->epoch, NULL);
    agent->group = server->client ? NULL : group_start(server);
    removals_init(agent);
    agent->local = local_create(agent->epoch, server->name);
    host_load(server);
    agent->sync = create_sync(server);
    agent->backend = (struct backend){.context = agent,
                                      .epoch = agent->epoch,
                                      .catalog = agent->catalog,
                                      .local = agent->local,
                                      .facts = &agent->facts};
    agent->http = (struct http_server *)(void *)server;
    bool created = pools_create(agent, &text);
    ASSERT(created);
    if (!server->client) {
        answer_others(server);
        create_duties(agent);
    }
    created = asker_create(agent, &text);
    ASSERT(created);
    loop_set_turn_end(agent->loop, turn_end, agent);
    agent->local_changed = true;
    pools_start(agent);
    sim_loop_wake(server->loop, 10);
}

void server_kill(struct server *server) {
    struct agent *agent = server->agent;
    server_enter(server);
    server->dying = true;
    agent->stopping = true;
    pools_end_calls(agent);
    asker_end_calls(agent);
    parts_work_all(server);
    asker_destroy(agent);
    removals_stop(agent);
    loop_flush(server->loop);
    group_stop(server);
    rpc_destroy(server->answers);
    carried_destroy(server->carried);
    server->answers = NULL;
    server->carried = NULL;
    pools_destroy(agent);
    reconcile_destroy(agent->reconcile);
    sync_destroy(agent->sync);
    local_destroy(agent->local);
    catalog_destroy(agent->catalog);
    free((void *)(uintptr_t)agent->backend.lan);
    loop_flush(server->loop);
    epoch_destroy(server->epoch);
    sim_rpc_destroy(server->rpc);
    server->rpc = NULL;
    sim_loop_destroy(server->loop);
    arena_clear(&agent->arena);
    free(agent);
    server->agent = NULL;
    server->up = server->dying = false;
    server->life++;
}
