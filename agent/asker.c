#include "agent/asker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/carry.h"
#include "agent/internal.h"
#include "agent/mirrors.h"
#include "agent/pools.h"
#include "agent/servers.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/mem.h"
#include "proto/rpc.pb-c.h"

#define DIGEST_BYTES 16

struct asker {
    struct agent *agent;
    struct rpc *rpc; /* of an agent without -server; NULL: the servers' */
    /* Other datacenters that were told to the links. */
    char **datacenters;
    uint32_t datacenter_count;
    /* What the catalog has of this node. */
    struct links_request fetch;
    bool fetching, has_digest;
    uint8_t *question;
    uint8_t digest[DIGEST_BYTES]; /* of the answer that was found in sync */
};

/* ---- servers ---- */

static struct links_server *describe(const struct pools_server *servers, uint32_t count,
                                     const char *datacenter, uint32_t *ret_count) {
    struct links_server *all = mem_calloc(count + 1, sizeof *all);
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (datacenter != NULL && strcmp(servers[i].datacenter, datacenter) != 0) {
            continue;
        }
        all[used++] =
            (struct links_server){.node = servers[i].node,
                                  .addr = servers[i].addr,
                                  .name = servers[i].name,
                                  .distance_ms = -1,
                                  .state = servers[i].state == POOLS_SERVER_ALIVE  ? LINKS_ALIVE
                                           : servers[i].state == POOLS_SERVER_LEFT ? LINKS_LEFT
                                                                                   : LINKS_FAILED};
    }
    *ret_count = used;
    return all;
}

static void servers_changed(void *context, const struct pools_server *servers, uint32_t count) {
    struct asker *asker = context;
    uint32_t used = 0;
    struct links_server *all = describe(servers, count, NULL, &used);
    links_set_servers(asker->agent->links, "", all, used);
    free(all);
}

static void note_datacenter(struct asker *asker, const char *name) {
    for (uint32_t i = 0; i < asker->datacenter_count; i++) {
        if (strcmp(asker->datacenters[i], name) == 0) {
            return;
        }
    }
    asker->datacenters =
        mem_realloc(asker->datacenters, (asker->datacenter_count + 1) * sizeof *asker->datacenters);
    asker->datacenters[asker->datacenter_count++] = mem_strdup(name);
}

static void far_servers_changed(void *context, const struct pools_server *servers, uint32_t count) {
    struct asker *asker = context;
    struct agent *agent = asker->agent;
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(servers[i].datacenter, agent->config->datacenter) != 0) {
            mirrors_note_datacenter(agent, servers[i].datacenter);
            note_datacenter(asker, servers[i].datacenter);
        }
    }
    for (uint32_t i = 0; i < asker->datacenter_count; i++) {
        uint32_t used = 0;
        struct links_server *all = describe(servers, count, asker->datacenters[i], &used);
        links_set_servers(agent->links, asker->datacenters[i], all, used);
        free(all);
    }
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

/* Inside an epoch section. */
static bool compare(struct agent *agent, struct catalog *rows) {
    epoch_enter(agent->epoch);
    const struct catalog_view *view = catalog_view(rows);
    runners_adopt(agent, view);
    bool in_sync = sync_compare(agent->sync, view);
    epoch_exit(agent->epoch);
    return in_sync;
}

static enum err take_rows(struct asker *asker, const Pb__RpcNodeRowsAnswer *answer,
                          struct err_text *text) {
    struct agent *agent = asker->agent;
    struct catalog *rows = catalog_create(agent->epoch, NULL);
    enum err err = answer->digest.len == DIGEST_BYTES ? ERR_OK : ERR_CORRUPT;
    for (size_t i = 0; i < answer->n_commands && err == ERR_OK; i++) {
        err = catalog_apply(rows, i + 1, answer->commands[i].data, answer->commands[i].len, NULL,
                            text);
    }
    catalog_publish(rows);
    if (err == ERR_OK) {
        asker->has_digest = compare(agent, rows);
        memcpy(asker->digest, answer->digest.data, DIGEST_BYTES);
    }
    catalog_destroy(rows);
    return err;
}

static void fetched(struct links_request *request, enum err err, const struct err_text *text,
                    const uint8_t *body, size_t size) {
    struct asker *asker = CONTAINER_OF(request, struct asker, fetch);
    struct agent *agent = asker->agent;
    struct err_text odd = {"the server's answer cannot be read"};
    asker->fetching = false;
    free(asker->question);
    asker->question = NULL;
    if (err != ERR_OK) {
        sync_fetch_failed(agent->sync, text != NULL ? text->s : err_name(err));
        return;
    }
    Pb__RpcNodeRowsAnswer *answer = pb__rpc_node_rows_answer__unpack(NULL, size, body);
    if (answer != NULL && answer->unchanged && asker->has_digest) {
        sync_unchanged(agent->sync);
    } else if (answer == NULL || take_rows(asker, answer, &odd) != ERR_OK) {
        sync_fetch_failed(agent->sync, odd.s);
    }
    pb__rpc_node_rows_answer__free_unpacked(answer, NULL);
}

void asker_fetch(struct agent *agent) {
    struct asker *asker = agent->asker;
    Pb__RpcNodeRows message = PB__RPC_NODE_ROWS__INIT;
    if (asker == NULL || asker->fetching) {
        return;
    }
    message.node = (char *)(uintptr_t)agent->config->node_name;
    message.digest.data = asker->digest;
    message.digest.len = asker->has_digest ? DIGEST_BYTES : 0;
    size_t bytes = pb__rpc_node_rows__get_packed_size(&message);
    asker->question = mem_alloc(bytes + 1);
    pb__rpc_node_rows__pack(&message, asker->question);
    asker->fetching = true;
    asker->fetch = (struct links_request){.datacenter = "",
                                          .method = RPC_METHOD_NODE_ROWS,
                                          .body = asker->question,
                                          .size = bytes,
                                          .repeatable = true,
                                          .done = fetched};
    links_ask(agent->links, &asker->fetch);
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
    ASSERT(uuid_parse(agent->node_id, &links.self));
    ASSERT(getrandom(&links.seed, sizeof links.seed, 0) == (ssize_t)sizeof links.seed);
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
    links_destroy(agent->links); /* commands of anti-entropy are answered */
    agent->links = NULL;
    rpc_destroy(asker->rpc);
    for (uint32_t i = 0; i < asker->datacenter_count; i++) {
        free(asker->datacenters[i]);
    }
    free(asker->datacenters);
    free(asker);
    agent->asker = NULL;
}
