/* Connections that come back. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/rpc_internal.h"

struct rpc_client {
    struct rpc *rpc;
    struct rpc_client *next;
    struct addr addr;
    struct uuid expected;
    bool has_expected;
    const struct rpc_events *events;
    void *context;
    struct rpc_connection *connection; /* NULL between two tries */
    struct loop_timer timer;
    int64_t backoff_ms;
};

static void try_now(struct rpc_client *client);

static void opened(void *context, struct rpc_connection *connection) {
    struct rpc_client *client = context;
    client->backoff_ms = LIMIT_RPC_BACKOFF_MIN_MS;
    if (client->events != NULL && client->events->opened != NULL) {
        client->events->opened(client->context, connection);
    }
}

static void writable(void *context, struct rpc_connection *connection) {
    struct rpc_client *client = context;
    if (client->events != NULL && client->events->writable != NULL) {
        client->events->writable(client->context, connection);
    }
}

/* Half to all of the backoff, so that many do not come at once (Brooker, 2015). */
static int64_t jittered(int64_t backoff_ms) {
    uint32_t random;
    crypto_random(&random, sizeof random);
    return backoff_ms / 2 + (int64_t)(random % (uint64_t)(backoff_ms / 2 + 1));
}

static void closed(void *context, struct rpc_connection *connection, enum err err,
                   const struct err_text *text) {
    struct rpc_client *client = context;
    struct loop *loop = client->rpc->config.loop;
    client->connection = NULL;
    loop_timer_start(loop, &client->timer, loop_now_ms(loop) + jittered(client->backoff_ms));
    client->backoff_ms = 2 * client->backoff_ms < LIMIT_RPC_BACKOFF_MAX_MS
                             ? 2 * client->backoff_ms
                             : LIMIT_RPC_BACKOFF_MAX_MS;
    if (client->events != NULL && client->events->closed != NULL) {
        client->events->closed(client->context, connection, err, text);
    }
}

static const struct rpc_events client_events = {opened, writable, closed};

static void try_now(struct rpc_client *client) {
    loop_timer_stop(client->rpc->config.loop, &client->timer);
    client->connection =
        rpc_connect(client->rpc, &client->addr, client->has_expected ? &client->expected : NULL,
                    &client_events, client);
}

static void timer_fired(struct loop_timer *timer) {
    try_now(CONTAINER_OF(timer, struct rpc_client, timer));
}

struct rpc_client *rpc_client_create(struct rpc *rpc, const struct addr *to,
                                     const struct uuid *expected, const struct rpc_events *events,
                                     void *context) {
    struct rpc_client *client = mem_calloc(1, sizeof *client);
    client->rpc = rpc;
    client->next = rpc->clients;
    rpc->clients = client;
    client->addr = *to;
    client->has_expected = expected != NULL;
    if (expected != NULL) {
        client->expected = *expected;
    }
    client->events = events;
    client->context = context;
    client->backoff_ms = LIMIT_RPC_BACKOFF_MIN_MS;
    client->timer.run = timer_fired;
    try_now(client);
    return client;
}

void rpc_client_destroy(struct rpc_client *client) {
    if (client == NULL) {
        return;
    }
    struct rpc_client **at = &client->rpc->clients;
    while (*at != client) {
        at = &(*at)->next;
    }
    *at = client->next;
    loop_timer_stop(client->rpc->config.loop, &client->timer);
    rpc_close(client->connection);
    free(client);
}

void rpc_client_set_addr(struct rpc_client *client, const struct addr *to) {
    if (addr_size(&client->addr) == addr_size(to) &&
        memcmp(&client->addr, to, addr_size(to)) == 0) {
        return;
    }
    struct rpc_connection *old = client->connection;
    client->addr = *to;
    client->backoff_ms = LIMIT_RPC_BACKOFF_MIN_MS;
    if (old != NULL) {
        static const struct err_text text = {"the server has another address"};
        rpc_connection_end(old, ERR_CLOSED, &text);
    } else {
        try_now(client);
    }
}

void rpc_client_retry(struct rpc_client *client) {
    client->backoff_ms = LIMIT_RPC_BACKOFF_MIN_MS;
    if (client->connection == NULL) {
        try_now(client);
    }
}

struct rpc_connection *rpc_client_connection(const struct rpc_client *client) {
    return client->connection != NULL && rpc_is_open(client->connection) ? client->connection
                                                                         : NULL;
}
