/* net/rpc.h between simulated servers. A connection is a caller's; both sides speak on it. Raft's
 * messages may be lost, repeated, late and overtaken. A request is not repeated: what loses it, or
 * its answer, breaks the connection before long, and the caller does not know. */
#include "net/rpc.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "tests/sim/group/group.h"

enum arrival_kind { ARRIVES_MESSAGE, ARRIVES_REQUEST, ARRIVES_ANSWER, ARRIVES_END };

/* On its way, and then what waits for the turn of its server. */
struct arrival {
    struct arrival *next;
    enum arrival_kind kind;
    struct rpc_identity from; /* as it greeted */
    uint32_t caller;          /* server */
    uint64_t connection, request;
    unsigned method;
    enum err err;
    struct err_text text;
    uint8_t *body;
    size_t size;
};

struct rpc_connection {
    struct rpc_client *client;
    uint64_t number;
    struct rpc_identity self, peer; /* as they greeted */
    uint32_t to;
    uint32_t to_life;
    bool ending; /* its end is on its way */
};

struct rpc_client {
    struct rpc *rpc;
    struct rpc_client *next;
    uint32_t to; /* server */
    struct uuid expected;
    bool has_expected;
    const struct rpc_events *events;
    void *context;
    struct rpc_connection *connection;
    uint64_t tries; /* the last one counts */
    uint64_t backoff_us;
};

struct rpc {
    struct server *server;
    struct rpc_identity self;
    const struct rpc_service *services[RPC_METHODS];
    void *contexts[RPC_METHODS];
    struct rpc_client *clients;
    struct rpc_request *requests; /* under way */
    struct arrival *first, **last;
};

static uint64_t numbers; /* of connections, and of requests */

struct rpc *sim_rpc_create(struct server *server, const struct uuid *node) {
    struct rpc *rpc = mem_calloc(1, sizeof *rpc);
    rpc->server = server;
    rpc->last = &rpc->first;
    rpc->self.node = *node;
    rpc->self.server = true;
    memcpy(rpc->self.name, server->name, sizeof server->name);
    memcpy(rpc->self.datacenter, DATACENTER, sizeof DATACENTER);
    return rpc;
}

static void free_arrival(struct arrival *arrival) {
    free(arrival->body);
    free(arrival);
}

void sim_rpc_destroy(struct rpc *rpc) {
    ASSERT(rpc->clients == NULL && rpc->requests == NULL);
    while (rpc->first != NULL) {
        struct arrival *arrival = rpc->first;
        rpc->first = arrival->next;
        free_arrival(arrival);
    }
    free(rpc);
}

void rpc_set_server(struct rpc *rpc, const struct uuid *node, const struct uuid *disk) {
    rpc->self.node = *node;
    rpc->self.disk = *disk;
}

void rpc_set_cluster(struct rpc *rpc, const struct uuid *cluster) {
    rpc->self.cluster = *cluster;
}

void rpc_serve(struct rpc *rpc, unsigned method, const struct rpc_service *service, void *context) {
    rpc->services[method] = service;
    rpc->contexts[method] = context;
}

const struct rpc_identity *rpc_peer(const struct rpc_connection *connection) {
    return &connection->peer;
}

/* ---- on the way ---- */

/* `to_caller`: an answer. Event: a = connection, data = struct arrival without its body. */
static void send_later(struct server *from, uint32_t to, uint64_t extra_us,
                       const struct arrival *arrival) {
    struct world *world = from->world;
    const struct link *link = &world->links[from->at][to];
    uint64_t delay = link->delay_us + rand_below(&world->rand, link->jitter_us + 1) + extra_us;
    struct event *event = world_post(world, delay, EVENT_NET, &world->servers[to]);
    event->size = sizeof *arrival + arrival->size;
    uint8_t *data = mem_alloc(event->size);
    memcpy(data, arrival, sizeof *arrival);
    if (arrival->size > 0) {
        memcpy(data + sizeof *arrival, arrival->body, arrival->size);
    }
    event->data = data;
    world->messages++;
}

static bool is_lost(struct server *from, uint32_t to) {
    struct world *world = from->world;
    const struct link *link = &world->links[from->at][to];
    return link->cut || !world->servers[to].up ||
           rand_below(&world->rand, 1000) < link->drop_per_1000;
}

/* The caller hears some time later that its connection is gone. */
static void break_later(struct rpc_connection *connection) {
    struct server *caller = connection->client->rpc->server;
    struct world *world = caller->world;
    if (connection->ending) {
        return;
    }
    connection->ending = true;
    uint64_t most = world_one_in(world, 3) ? 2000 * MS : 100 * MS;
    struct arrival end = {
        .kind = ARRIVES_END, .connection = connection->number, .caller = caller->at};
    struct event *event = world_post(world, world_between(world, 1 * MS, most), EVENT_NET, caller);
    event->data = mem_memdup(&end, sizeof end);
    event->size = sizeof end;
}

static struct rpc_connection *find_connection(struct rpc *rpc, uint64_t number) {
    for (struct rpc_client *client = rpc->clients; client != NULL; client = client->next) {
        if (client->connection != NULL && client->connection->number == number) {
            return client->connection;
        }
    }
    return NULL;
}

void sim_rpc_arrives(struct world *world, struct event *event) {
    struct server *server = &world->servers[event->server];
    struct arrival *arrival = mem_memdup(event->data, sizeof *arrival);
    arrival->size = event->size - sizeof *arrival;
    arrival->body = mem_alloc(arrival->size + 1);
    memcpy(arrival->body, (uint8_t *)event->data + sizeof *arrival, arrival->size);
    arrival->next = NULL;
    *server->rpc->last = arrival;
    server->rpc->last = &arrival->next;
    sim_loop_wake(server->loop, world_between(world, 1, 100));
}

/* ---- connections ---- */

static void plan_connect(struct rpc_client *client, uint64_t delay_us) {
    struct event *event =
        world_post(client->rpc->server->world, delay_us, EVENT_CONNECT, client->rpc->server);
    client->tries = event->a = ++numbers;
}

static void answer_all(struct rpc *rpc, const struct rpc_connection *connection) {
    static const struct err_text text = {"the connection was closed"};
    struct rpc_request **at = &rpc->requests;
    while (*at != NULL) {
        struct rpc_request *request = *at;
        if (request->connection != connection) {
            at = &request->next;
            continue;
        }
        *at = request->next;
        request->connection = NULL;
        request->done(request, ERR_CLOSED, &text, NULL, 0);
        at = &rpc->requests; /* done may have made others */
    }
}

static void drop_connection(struct rpc_client *client, bool tell) {
    static const struct err_text text = {"the connection was closed"};
    struct rpc_connection *connection = client->connection;
    client->connection = NULL;
    answer_all(client->rpc, connection);
    uint64_t half = client->backoff_us / 2;
    plan_connect(client, half + rand_below(&client->rpc->server->world->rand, half + 1));
    client->backoff_us = 2 * client->backoff_us < LIMIT_RPC_BACKOFF_MAX_MS * MS
                             ? 2 * client->backoff_us
                             : LIMIT_RPC_BACKOFF_MAX_MS * MS;
    if (tell && client->events != NULL && client->events->closed != NULL) {
        client->events->closed(client->context, connection, ERR_CLOSED, &text);
    }
    free(connection);
}

/* Both greet; who is refused tries again. */
void sim_rpc_connect(struct server *server, const struct event *event) {
    struct world *world = server->world;
    struct rpc_client *client = server->rpc->clients;
    while (client != NULL && client->tries != event->a) {
        client = client->next;
    }
    if (client == NULL || client->connection != NULL) {
        return;
    }
    struct server *to = &world->servers[client->to];
    bool reached =
        to->up && !world->links[server->at][to->at].cut && !world->links[to->at][server->at].cut;
    bool welcome = reached && (!client->has_expected ||
                               memcmp(&client->expected, &to->rpc->self.node, 16) == 0);
    if (welcome && !uuid_is_zero(&server->rpc->self.cluster) &&
        !uuid_is_zero(&to->rpc->self.cluster)) {
        welcome = memcmp(&server->rpc->self.cluster, &to->rpc->self.cluster, 16) == 0;
    }
    if (!welcome) {
        uint64_t half = client->backoff_us / 2;
        plan_connect(client, half + rand_below(&world->rand, half + 1));
        client->backoff_us = 2 * client->backoff_us < LIMIT_RPC_BACKOFF_MAX_MS * MS
                                 ? 2 * client->backoff_us
                                 : LIMIT_RPC_BACKOFF_MAX_MS * MS;
        return;
    }
    client->backoff_us = LIMIT_RPC_BACKOFF_MIN_MS * MS;
    client->connection = mem_calloc(1, sizeof *client->connection);
    *client->connection = (struct rpc_connection){.client = client,
                                                  .number = ++numbers,
                                                  .self = server->rpc->self,
                                                  .peer = to->rpc->self,
                                                  .to = to->at,
                                                  .to_life = to->life};
    if (client->events != NULL && client->events->opened != NULL) {
        server_enter(server);
        client->events->opened(client->context, client->connection);
        server_leave(server);
    }
}

struct rpc_client *rpc_client_create(struct rpc *rpc, const struct addr *to,
                                     const struct uuid *expected, const struct rpc_events *events,
                                     void *context) {
    struct rpc_client *client = mem_calloc(1, sizeof *client);
    client->rpc = rpc;
    client->next = rpc->clients;
    rpc->clients = client;
    client->to = ((const struct sockaddr_in *)&to->any)->sin_port;
    client->has_expected = expected != NULL;
    if (expected != NULL) {
        client->expected = *expected;
    }
    client->events = events;
    client->context = context;
    client->backoff_us = LIMIT_RPC_BACKOFF_MIN_MS * MS;
    plan_connect(client, world_between(rpc->server->world, 100, 5 * MS));
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
    if (client->connection != NULL) {
        answer_all(client->rpc, client->connection);
        free(client->connection);
    }
    free(client);
}

void rpc_client_set_addr(struct rpc_client *client, const struct addr *to) {
    ASSERT(client->to == ((const struct sockaddr_in *)&to->any)->sin_port);
}

void rpc_client_retry(struct rpc_client *client) {
    client->backoff_us = LIMIT_RPC_BACKOFF_MIN_MS * MS;
    if (client->connection == NULL) {
        plan_connect(client, world_between(client->rpc->server->world, 100, 5 * MS));
    }
}

struct rpc_connection *rpc_client_connection(const struct rpc_client *client) {
    return client->connection;
}

void rpc_close(struct rpc_connection *connection) {
    ASSERT(connection == NULL); /* the driver closes by its clients */
}

/* ---- messages ---- */

static bool peer_is_another(const struct rpc_connection *connection) {
    const struct server *to = &connection->client->rpc->server->world->servers[connection->to];
    return !to->up || to->life != connection->to_life;
}

enum err rpc_send(struct rpc_connection *connection, unsigned method, const void *body,
                  size_t size) {
    struct server *from = connection->client->rpc->server;
    struct world *world = from->world;
    struct arrival arrival = {.kind = ARRIVES_MESSAGE,
                              .from = connection->self,
                              .method = method,
                              .body = (uint8_t *)(uintptr_t)body,
                              .size = size};
    if (peer_is_another(connection)) {
        break_later(connection);
        return ERR_OK;
    }
    if (!is_lost(from, connection->to)) {
        send_later(from, connection->to, 0, &arrival);
    } else if (world_one_in(world, 20)) {
        break_later(connection);
    }
    const struct link *link = &world->links[from->at][connection->to];
    if (rand_below(&world->rand, 1000) < link->duplicate_per_1000 &&
        !is_lost(from, connection->to)) {
        send_later(from, connection->to, 0, &arrival);
    }
    return ERR_OK;
}

enum err rpc_request(struct rpc_connection *connection, struct rpc_request *request,
                     unsigned method, const void *body, size_t size, int timeout_ms) {
    struct rpc *rpc = connection->client->rpc;
    (void)timeout_ms; /* a connection breaks sooner */
    request->connection = connection;
    request->id = ++numbers;
    request->next = rpc->requests;
    rpc->requests = request;
    rpc->server->world->forwards++;
    struct arrival arrival = {.kind = ARRIVES_REQUEST,
                              .from = connection->self,
                              .caller = rpc->server->at,
                              .connection = connection->number,
                              .request = request->id,
                              .method = method,
                              .body = (uint8_t *)(uintptr_t)body,
                              .size = size};
    if (peer_is_another(connection) || is_lost(rpc->server, connection->to)) {
        break_later(connection);
    } else {
        send_later(rpc->server, connection->to, 0, &arrival);
    }
    return ERR_OK;
}

void rpc_request_cancel(struct rpc_request *request) {
    if (request->connection == NULL) {
        return;
    }
    struct rpc_request **at = &request->connection->client->rpc->requests;
    while (*at != request) {
        at = &(*at)->next;
    }
    *at = request->next;
    request->connection = NULL;
}

/* The ticket's connection names caller and connection: numbers are the world's. */
void rpc_answer(struct rpc *rpc, struct rpc_ticket ticket, enum err err,
                const struct err_text *text, const void *body, size_t size) {
    struct world *world = rpc->server->world;
    uint32_t caller = (uint32_t)(ticket.connection % SERVERS_MAX);
    struct server *to = &world->servers[caller];
    uint64_t number = ticket.connection / SERVERS_MAX;
    struct rpc_connection *connection = to->up ? find_connection(to->rpc, number) : NULL;
    struct arrival arrival = {.kind = ARRIVES_ANSWER,
                              .connection = number,
                              .request = ticket.request,
                              .err = err,
                              .body = (uint8_t *)(uintptr_t)body,
                              .size = err == ERR_OK ? size : 0};
    if (err != ERR_OK && text != NULL) {
        arrival.text = *text;
    }
    if (connection == NULL || rpc->server->dying) {
        if (connection != NULL) {
            break_later(connection);
        }
        return;
    }
    if (is_lost(rpc->server, caller)) {
        break_later(connection);
    } else {
        send_later(rpc->server, caller, 0, &arrival);
    }
}

/* ---- in a turn ---- */

static void take_answer(struct rpc *rpc, const struct arrival *arrival) {
    for (struct rpc_request **at = &rpc->requests; *at != NULL; at = &(*at)->next) {
        struct rpc_request *request = *at;
        if (request->id == arrival->request) {
            *at = request->next;
            request->connection = NULL;
            request->done(request, arrival->err, &arrival->text, arrival->body, arrival->size);
            return;
        }
    }
}

static void take(struct rpc *rpc, const struct arrival *arrival) {
    const struct rpc_service *service = rpc->services[arrival->method];
    void *context = rpc->contexts[arrival->method];
    struct rpc_connection from = {.peer = arrival->from};
    struct rpc_connection *ended;
    switch (arrival->kind) {
    case ARRIVES_MESSAGE:
        if (service != NULL && service->message != NULL) {
            service->message(context, &from, arrival->body, arrival->size);
        }
        break;
    case ARRIVES_REQUEST:
        if (service != NULL && service->request != NULL) {
            struct rpc_ticket ticket = {.connection =
                                            arrival->connection * SERVERS_MAX + arrival->caller,
                                        .request = arrival->request};
            service->request(context, &from, ticket, arrival->body, arrival->size);
        }
        break;
    case ARRIVES_ANSWER:
        take_answer(rpc, arrival);
        break;
    case ARRIVES_END:
        ended = find_connection(rpc, arrival->connection);
        if (ended != NULL) {
            drop_connection(ended->client, true);
        }
        break;
    }
}

bool sim_rpc_waits(const struct rpc *rpc) {
    return rpc->first != NULL;
}

void sim_rpc_run(struct rpc *rpc) {
    while (rpc->first != NULL && !rpc->server->dying) {
        struct arrival *arrival = rpc->first;
        rpc->first = arrival->next;
        if (rpc->first == NULL) {
            rpc->last = &rpc->first;
        }
        take(rpc, arrival);
        free_arrival(arrival);
    }
}
