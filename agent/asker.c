#include "agent/asker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/carry.h"
#include "agent/internal.h"
#include "agent/mirrors.h"
#include "agent/node_rows.h"
#include "agent/pools.h"
#include "agent/servers.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/mem.h"
#include "net/crypto.h"

struct asker {
    struct agent *agent;
    struct rpc *rpc;       /* of an agent without -server; NULL: the servers' */
    struct node_rows rows; /* what the catalog has of this node */
};

/* ---- servers ---- */

/* The caller frees it. */
static struct links_server *describe(const struct pools_server *servers, uint32_t count) {
    struct links_server *all = mem_calloc(count + 1, sizeof *all);
    for (uint32_t i = 0; i < count; i++) {
        all[i] =
            (struct links_server){.node = servers[i].node,
                                  .addr = servers[i].addr,
                                  .name = servers[i].name,
                                  .datacenter = servers[i].datacenter,
                                  .distance_ms = servers[i].distance_ms,
                                  .state = servers[i].state == POOLS_SERVER_ALIVE  ? LINKS_ALIVE
                                           : servers[i].state == POOLS_SERVER_LEFT ? LINKS_LEFT
                                                                                   : LINKS_FAILED};
    }
    return all;
}

static void servers_changed(void *context, const struct pools_server *servers, uint32_t count) {
    struct asker *asker = context;
    struct links_server *all = describe(servers, count);
    links_set_servers(asker->agent->links, "", all, count);
    free(all);
}

static void far_servers_changed(void *context, const struct pools_server *servers, uint32_t count) {
    struct asker *asker = context;
    struct agent *agent = asker->agent;
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(servers[i].datacenter, agent->config->datacenter) != 0) {
            mirrors_note_datacenter(agent, servers[i].datacenter);
        }
    }
    struct links_server *all = describe(servers, count);
    links_set_far_servers(agent->links, all, count);
    free(all);
}

static void connected(void *context, bool connected) {
    struct asker *asker = context;
    if (connected) {
        sync_server_came(asker->agent->sync);
    }
}

static void lost(void *context, bool own, const struct uuid *node) {
    struct asker *asker = context;
    pools_hint(asker->agent, !own, node);
}

/* ---- anti-entropy ---- */

static void fetched(struct node_rows *rows, enum err err, const char *why, struct catalog *answer) {
    struct asker *asker = CONTAINER_OF(rows, struct asker, rows);
    struct agent *agent = asker->agent;
    if (err != ERR_OK) {
        sync_fetch_failed(agent->sync, why);
        return;
    }
    if (answer == NULL) {
        sync_unchanged(agent->sync);
        return;
    }
    epoch_enter(agent->epoch);
    const struct catalog_view *view = catalog_view(answer);
    runners_adopt(agent, view);
    sync_compare(agent->sync, view);
    epoch_exit(agent->epoch);
    catalog_destroy(answer);
}

void asker_fetch(struct agent *agent) {
    if (agent->asker != NULL) {
        agent->asker->rows.node = agent->config->node_name;
        agent->asker->rows.done = fetched;
        agent->asker->rows.has_digest &= sync_is_as_compared(agent->sync);
        node_rows_ask(agent, &agent->asker->rows);
    }
}

/* ---- life ---- */

static struct rpc *open_rpc(struct agent *agent) {
    const struct config *config = agent->config;
    struct rpc_config made = {.loop = agent->loop,
                              .log = agent->log,
                              .module = "agent.client.rpc",
                              .kind = RPC_KIND_SERVER,
                              .keyring = pools_keyring(agent),
                              .verify_incoming = config->gossip.verify_incoming,
                              .verify_outgoing = config->gossip.verify_outgoing};
    snprintf(made.self.name, sizeof made.self.name, "%s", config->node_name);
    snprintf(made.self.datacenter, sizeof made.self.datacenter, "%s", config->datacenter);
    ASSERT(uuid_parse(agent->node_id, &made.self.node));
    return rpc_create(&made);
}

bool asker_create(struct agent *agent, struct err_text *text) {
    bool server = agent->config->server;
    struct asker *asker = mem_calloc(1, sizeof *asker);
    (void)text;
    agent->asker = asker;
    asker->agent = agent;
    asker->rpc = server ? NULL : open_rpc(agent);
    struct links_config links = {.loop = agent->loop,
                                 .log = agent->log,
                                 .rpc = server ? servers_rpc(agent) : asker->rpc,
                                 .datacenter = agent->config->datacenter,
                                 .wanted = !server,
                                 .connected = connected,
                                 .lost = lost,
                                 .context = asker};
    struct metrics *metrics = agent->telemetry.metrics;
    links.asked = metrics_add(metrics, METRIC_COUNTER, "client.rpc",
                              "Requests to servers of this datacenter.", NULL, 0);
    links.failed = metrics_add(metrics, METRIC_COUNTER, "client.rpc.failed",
                               "Requests to servers that were lost.", NULL, 0);
    links.asked_far = metrics_add(metrics, METRIC_COUNTER, "rpc.cross-dc",
                                  "Requests to servers of other datacenters.", NULL, 0);
    ASSERT(uuid_parse(agent->node_id, &links.self));
    links.seed = crypto_random_u64();
    agent->links = links_create(&links);
    if (server) {
        pools_watch_far_servers(agent, far_servers_changed, asker);
    } else {
        pools_watch_servers(agent, servers_changed, asker);
    }
    return true;
}

void asker_end_calls(struct agent *agent) {
    if (agent->asker != NULL) {
        carry_end_all(agent);
    }
}

void asker_destroy(struct agent *agent) {
    struct asker *asker = agent->asker;
    if (asker == NULL) {
        return;
    }
    if (!agent->config->server) {
        pools_watch_servers(agent, NULL, NULL);
    }
    pools_watch_far_servers(agent, NULL, NULL);
    carry_end_all(agent);
    node_rows_forget_all(agent);
    node_rows_clear(&asker->rows);
    links_destroy(agent->links); /* commands of anti-entropy are answered */
    agent->links = NULL;
    rpc_destroy(asker->rpc);
    free(asker);
    agent->asker = NULL;
}
