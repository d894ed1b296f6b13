#include "agent/servers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/carry.h"
#include "agent/internal.h"
#include "agent/operator.h"
#include "agent/pools.h"
#include "base/container.h"
#include "base/mem.h"

#define MODULE "agent.server"
/* So long the set of servers must stand still before a group begins: all of them should see the
 * same. */
#define SETTLE_MS 300

struct servers {
    struct agent *agent;
    struct rpc *rpc;
    struct carried *carried; /* what it answers in other agents' place */
    struct loop_timer settle_timer;
    struct raft_configuration first; /* of the group that would begin now; count 0: none */
};

/* ---- bootstrap_expect ---- */

static int compare_ids(const void *a, const void *b) {
    const struct raft_server *x = a, *y = b;
    return memcmp(&x->id, &y->id, sizeof x->id);
}

/* The same on every server that sees the same ones. */
static void choose_first(struct servers *servers, const struct pools_server *others,
                         uint32_t count) {
    uint32_t expect = (uint32_t)servers->agent->config->bootstrap_expect;
    struct raft_configuration all = {.count = 1};
    struct err_text text = {""};
    servers->first.count = 0;
    if (!pools_may_bootstrap(others, count, expect, &text)) {
        if (text.s[0] != '\0') {
            log_write(servers->agent->log, LOG_ERROR, MODULE, "no group can begin: %s", text.s);
        }
        return;
    }
    all.servers[0] = (struct raft_server){.id = *group_self(servers->agent->group), .voter = true};
    for (uint32_t i = 0; i < count && all.count < LIMIT_RAFT_SERVERS; i++) {
        if (others[i].state == POOLS_SERVER_ALIVE && others[i].expect == expect) {
            all.servers[all.count++] = (struct raft_server){
                .id = {.node = others[i].node, .disk = others[i].disk}, .voter = true};
        }
    }
    qsort(all.servers, all.count, sizeof all.servers[0], compare_ids);
    all.count = all.count < expect ? all.count : expect;
    for (uint32_t i = 0; i < all.count; i++) {
        if (raft_id_equal(&all.servers[i].id, group_self(servers->agent->group))) {
            servers->first = all;
        }
    }
}

static void begin_group(struct loop_timer *timer) {
    struct servers *servers = CONTAINER_OF(timer, struct servers, settle_timer);
    struct agent *agent = servers->agent;
    struct err_text text;
    if (servers->first.count == 0 || agent->stopping || group_has_cluster(agent->group)) {
        return;
    }
    log_write(agent->log, LOG_INFO, MODULE,
              "found expected number of peers, attempting bootstrap: servers=%u",
              (unsigned)servers->first.count);
    if (group_bootstrap(agent->group, &servers->first, &text) != ERR_OK) {
        log_write(agent->log, LOG_ERROR, MODULE, "failed to bootstrap: error=\"%s\"", text.s);
    }
}

static void consider_first(struct servers *servers, const struct pools_server *others,
                           uint32_t count) {
    struct agent *agent = servers->agent;
    if (agent->config->bootstrap_expect <= 1 || group_has_cluster(agent->group)) {
        return;
    }
    choose_first(servers, others, count);
    if (servers->first.count > 0) {
        loop_timer_start(agent->loop, &servers->settle_timer, loop_now_ms(agent->loop) + SETTLE_MS);
    } else {
        loop_timer_stop(agent->loop, &servers->settle_timer);
    }
}

/* ---- the pool's servers ---- */

static void changed(void *context, const struct pools_server *others, uint32_t count) {
    struct servers *servers = context;
    struct group_server *all = mem_calloc(count + 1, sizeof *all);
    for (uint32_t i = 0; i < count; i++) {
        all[i] = (struct group_server){
            .id = {.node = others[i].node, .disk = others[i].disk},
            .addr = others[i].addr,
            .state = others[i].state == POOLS_SERVER_ALIVE  ? GROUP_SERVER_ALIVE
                     : others[i].state == POOLS_SERVER_LEFT ? GROUP_SERVER_LEFT
                                                            : GROUP_SERVER_FAILED};
        snprintf(all[i].name, sizeof all[i].name, "%s", others[i].name);
    }
    group_set_servers(servers->agent->group, all, count);
    free(all);
    consider_first(servers, others, count);
}

void servers_note_cluster(struct agent *agent) {
    struct uuid cluster;
    if (agent->pools != NULL && group_get_cluster(agent->group, &cluster)) {
        pools_set_cluster(agent, &cluster);
    }
}

/* ---- sessions ---- */

static void renew(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                  const uint8_t *body, size_t size) {
    struct servers *servers = context;
    struct agent *agent = servers->agent;
    struct err_text text = {"No cluster leader"};
    char id[UUID_TEXT_BYTES] = "";
    enum err err = ERR_NO_LEADER;
    (void)from;
    memcpy(id, body, size < sizeof id ? size : sizeof id - 1);
    if (group_leads(agent->group)) {
        err = clocks_renew(agent->clocks, id);
    }
    rpc_answer(servers->rpc, ticket, err, &text, NULL, 0);
}

/* ---- life ---- */

bool servers_create(struct agent *agent, struct err_text *text) {
    const struct config *config = agent->config;
    if (!config->server) {
        return true;
    }
    struct servers *servers = mem_calloc(1, sizeof *servers);
    servers->agent = agent;
    servers->settle_timer.run = begin_group;
    agent->servers = servers;
    struct rpc_config rpc = {.loop = agent->loop,
                             .log = agent->log,
                             .module = "agent.server.rpc",
                             .kind = RPC_KIND_SERVER,
                             .self = {.server = true},
                             .keyring = pools_keyring(agent),
                             .far_keyring = pools_far_keyring(agent),
                             .verify_incoming = config->gossip.verify_incoming,
                             .verify_outgoing = config->gossip.verify_outgoing};
    snprintf(rpc.self.name, sizeof rpc.self.name, "%s", config->node_name);
    snprintf(rpc.self.datacenter, sizeof rpc.self.datacenter, "%s", config->datacenter);
    static const struct rpc_service renewals = {.request = renew};
    servers->carried = carried_create(agent);
    rpc.accepted = &carried_events;
    rpc.accepted_context = servers->carried;
    servers->rpc = rpc_create(&rpc);
    carried_serve(servers->carried, servers->rpc);
    rpc_serve(servers->rpc, RPC_METHOD_RENEW_SESSION, &renewals, servers);
    group_attach(agent->group, servers->rpc);
    operator_serve(agent, servers->rpc);
    struct addr bind = config->bind;
    addr_set_port(&bind, (uint16_t)config->server_port);
    if (rpc_listen(servers->rpc, &bind, text) != ERR_OK) {
        return false;
    }
    servers_note_cluster(agent);
    pools_watch_servers(agent, changed, servers);
    return true;
}

struct rpc *servers_rpc(const struct agent *agent) {
    return agent->servers->rpc;
}

void servers_stop(struct agent *agent) {
    if (agent->servers != NULL) {
        loop_timer_stop(agent->loop, &agent->servers->settle_timer);
        pools_watch_servers(agent, NULL, NULL);
    }
}

void servers_destroy(struct agent *agent) {
    if (agent->servers != NULL) {
        rpc_destroy(agent->servers->rpc);
        carried_destroy(agent->servers->carried);
        free(agent->servers);
        agent->servers = NULL;
    }
}
