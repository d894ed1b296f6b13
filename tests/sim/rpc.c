/* net/rpc.h on the virtual clock, built as world.c is. A connection keeps the order of its
 * messages, as TCP does: a link that is cut or loses a packet holds up all behind it, and what was
 * held arrives when the link is back, unless the connection was closed before. Links may have a
 * bandwidth. A process that died is noticed once the link lets its host say so. Other than in the
 * simulator of groups, where messages overtake each other and a request that is lost breaks its
 * connection.
 *
 * A server has one root, whose inbox its loop runs, and below it the RPC of each port that its
 * agent opens (rpc_create); an agent that needs but one has the root itself. Who was called knows
 * of a connection once a one-way message has come over it. */
#include "net/rpc.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include SIM_WORLD

#define STUCK_US (15000 * MS) /* a connection on which nothing goes any more ends */
#define AGAIN_US (200 * MS)   /* a lost packet is sent again */
#define QUEUE_US (2000 * MS)  /* what waits for a slow link waits no longer */
#define FRAME_BYTES 80        /* of the layers below a message */

enum kind { KIND_HELLO, KIND_WELCOME, KIND_REQUEST, KIND_ANSWER, KIND_MESSAGE, KIND_END };

/* On its way, and then what waits for the turn of its server. */
struct message {
    struct message *next;
    enum kind kind;
    uint64_t ready_us;
    uint64_t connection; /* as in tickets */
    uint64_t request;
    unsigned method;
    enum rpc_kind port;
    enum err err;
    struct err_text text;
    size_t size;
    uint8_t body[];
};

struct queue {
    struct message *first, **last;
};

/* A direction of a connection. */
struct way {
    struct queue queue;
    bool planned;
    uint64_t last_us;  /* when the newest message is there at the earliest */
    uint64_t stuck_us; /* since; 0: it is not */
};

/* The caller's; or what the one who was called has of it, with the same number. */
struct rpc_connection {
    struct rpc *rpc;
    struct rpc_connection *next;
    uint64_t number;
    uint32_t to;
    bool accepted;    /* `to` is the caller then, */
    struct addr from; /* at this address */
    bool finishing;   /* nobody hears of it any more */
    struct uuid expected;
    bool expects;
    uint32_t to_life; /* of whom has answered; 0: nobody yet */
    bool open, ending, told_end, closed;
    const struct rpc_events *events;
    void *context;
    struct way out, back;
    struct rpc_request *requests;
};

struct rpc {
    struct server *server;
    struct rpc *root, *next; /* root: itself; next: of a root's */
    enum rpc_kind port;
    const struct rpc_events *accepted_events;
    void *accepted_context;
    const struct rpc_service *services[RPC_METHODS];
    void *contexts[RPC_METHODS];
    struct rpc_connection *connections; /* of the root, as is the inbox */
    struct queue inbox;
};

static void init_queue(struct queue *queue) {
    queue->first = NULL;
    queue->last = &queue->first;
}

static void put(struct queue *queue, struct message *message) {
    message->next = NULL;
    *queue->last = message;
    queue->last = &message->next;
}

static struct message *take(struct queue *queue) {
    struct message *message = queue->first;
    if (message != NULL) {
        queue->first = message->next;
        queue->last = queue->first != NULL ? queue->last : &queue->first;
    }
    return message;
}

static void clear_queue(struct queue *queue) {
    struct message *message;
    while ((message = take(queue)) != NULL) {
        free(message);
    }
}

static struct message *new_message(enum kind kind, uint64_t request, const void *body,
                                   size_t size) {
    struct message *message = mem_calloc(1, sizeof *message + size + 1);
    message->kind = kind;
    message->request = request;
    message->size = size;
    if (size > 0) {
        memcpy(message->body, body, size);
    }
    return message;
}

static void pong(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                 const uint8_t *body, size_t size) {
    (void)from;
    (void)body;
    (void)size;
    rpc_answer(context, ticket, ERR_OK, NULL, NULL, 0);
}

struct rpc *sim_rpc_create(struct server *server) {
    static const struct rpc_service ping = {.request = pong};
    struct rpc *rpc = mem_calloc(1, sizeof *rpc);
    rpc->server = server;
    rpc->root = rpc;
    rpc->port = RPC_KIND_SERVER;
    init_queue(&rpc->inbox);
    rpc_serve(rpc, RPC_METHOD_PING, &ping, rpc);
    return rpc;
}

static void free_connection(struct rpc_connection *connection) {
    clear_queue(&connection->out.queue);
    clear_queue(&connection->back.queue);
    free(connection);
}

void sim_rpc_destroy(struct rpc *rpc) {
    ASSERT(rpc->connections == NULL);
    clear_queue(&rpc->inbox);
    free(rpc);
}

void rpc_serve(struct rpc *rpc, unsigned method, const struct rpc_service *service, void *context) {
    rpc->services[method] = service;
    rpc->contexts[method] = context;
}

static struct rpc_connection *find_connection(const struct rpc *rpc, uint64_t number) {
    struct rpc_connection *connection = rpc->root->connections;
    while (connection != NULL && (connection->number != number || connection->accepted)) {
        connection = connection->next;
    }
    return connection;
}

static struct rpc_connection *find_accepted(const struct rpc *rpc, uint64_t number) {
    struct rpc_connection *connection = rpc->root->connections;
    while (connection != NULL && (connection->number != number || !connection->accepted)) {
        connection = connection->next;
    }
    return connection;
}

/* ---- on the way ---- */

static void plan(struct rpc_connection *connection, bool back, uint64_t delay_us) {
    struct way *way = back ? &connection->back : &connection->out;
    struct event *event =
        world_post(connection->rpc->server->world, delay_us, EVENT_NET, connection->rpc->server);
    event->a = connection->number;
    event->b = back;
    way->planned = true;
}

static void send_message(struct rpc_connection *connection, bool back, struct message *message) {
    struct server *caller = connection->rpc->server;
    struct world *world = caller->world;
    struct server *callee = &world->servers[connection->to];
    struct way *way = back ? &connection->back : &connection->out;
    struct link *link =
        back ? sim_rpc_link(world, callee, caller) : sim_rpc_link(world, caller, callee);
    uint64_t at = world->now, bytes = message->size + FRAME_BYTES;
    if (link->bytes_per_s > 0) {
        at = at > link->free_us ? at : link->free_us;
        at += bytes * 1000000 / link->bytes_per_s;
        at = at < world->now + QUEUE_US ? at : world->now + QUEUE_US;
        link->free_us = at;
    }
    at += link->delay_us + rand_below(&world->rand, link->jitter_us + 1);
    way->last_us = at > way->last_us ? at : way->last_us + 1;
    message->ready_us = way->last_us;
    message->connection = connection->number * SERVERS_MAX + caller->at;
    message->port = connection->rpc->port;
    put(&way->queue, message);
    sim_rpc_sent(caller, callee, bytes);
    if (!way->planned) {
        plan(connection, back, message->ready_us - world->now);
    }
}

/* The caller hears after a while that its connection is gone. */
static void break_later(struct rpc_connection *connection, enum err err, uint64_t delay_us) {
    if (connection->ending) {
        return;
    }
    connection->ending = true;
    struct server *caller = connection->rpc->server;
    struct event *event = world_post(caller->world, delay_us, EVENT_BROKEN, caller);
    event->a = connection->number;
    event->b = (uint64_t)err;
}

static void deliver(struct server *to, struct message *message) {
    put(&to->rpc->inbox, message);
    sim_loop_wake(to->loop, world_between(to->world, 1, 100));
}

static bool is_gone(const struct rpc_connection *connection) {
    const struct server *to = &connection->rpc->server->world->servers[connection->to];
    return !to->up || (connection->to_life > 0 && to->life != connection->to_life);
}

void sim_rpc_arrives(struct server *server, const struct event *event) {
    struct world *world = server->world;
    struct rpc_connection *connection = find_connection(server->rpc, event->a);
    bool back = event->b == 1;
    if (connection == NULL || connection->ending) {
        return;
    }
    struct server *callee = &world->servers[connection->to];
    struct way *way = back ? &connection->back : &connection->out;
    struct link *link =
        back ? sim_rpc_link(world, callee, server) : sim_rpc_link(world, server, callee);
    way->planned = false;
    if (link->cut || rand_below(&world->rand, 1000) < link->drop_per_1000) {
        way->stuck_us = way->stuck_us > 0 ? way->stuck_us : world->now;
        if (world->now - way->stuck_us > STUCK_US) {
            break_later(connection, ERR_CLOSED, 1);
        } else {
            plan(connection, back, world_between(world, AGAIN_US / 2, 2 * AGAIN_US));
        }
        return;
    }
    way->stuck_us = 0;
    if (!back && is_gone(connection)) {
        break_later(connection, connection->open ? ERR_CLOSED : ERR_NOT_FOUND, link->delay_us + 1);
        return;
    }
    struct message *message = take(&way->queue);
    if (message->kind == KIND_HELLO) {
        connection->to_life = callee->life;
    }
    if (connection->finishing && !back && way->queue.first == NULL) {
        break_later(connection, ERR_CLOSED, 1);
    }
    if (way->queue.first != NULL) {
        uint64_t ready_us = way->queue.first->ready_us;
        plan(connection, back, ready_us > world->now ? ready_us - world->now : 1);
    }
    deliver(back ? server : callee, message);
}

void sim_rpc_broken(struct server *server, const struct event *event) {
    struct message *message = new_message(KIND_END, 0, NULL, 0);
    message->connection = event->a * SERVERS_MAX + server->at;
    message->err = (enum err)event->b;
    deliver(server, message);
}

void sim_rpc_break_some(struct server *server, uint32_t first, uint32_t count) {
    struct world *world = server->world;
    for (struct rpc_connection *at = server->rpc->connections; at != NULL; at = at->next) {
        if (!at->accepted && at->to - first < count && world_one_in(world, 2)) {
            break_later(at, ERR_CLOSED, world_between(world, 1, 50 * MS));
        }
    }
}

/* ---- connections ---- */

struct rpc_connection *rpc_connect(struct rpc *rpc, const struct addr *to,
                                   const struct uuid *expected, const struct rpc_events *events,
                                   void *context) {
    struct rpc_connection *connection = mem_calloc(1, sizeof *connection);
    struct world *world = rpc->server->world;
    const struct server *there = sim_rpc_at(world, to);
    connection->rpc = rpc;
    connection->next = rpc->root->connections;
    rpc->root->connections = connection;
    connection->number = ++world->rpc_numbers;
    connection->expects = expected != NULL;
    connection->expected = expected != NULL ? *expected : connection->expected;
    connection->events = events;
    connection->context = context;
    init_queue(&connection->out.queue);
    init_queue(&connection->back.queue);
    if (there == NULL) { /* no host has this address */
        connection->to = rpc->server->at;
        break_later(connection, ERR_IO, world_between(world, 500 * MS, 3000 * MS));
        return connection;
    }
    connection->to = there->at;
    connection->from = *to;
    send_message(connection, false, new_message(KIND_HELLO, 0, NULL, 0));
    return connection;
}

void rpc_expect_far(struct rpc_connection *connection) {
    (void)connection;
}

static void answer_all(struct rpc_connection *connection) {
    static const struct err_text text = {"the connection was closed"};
    while (connection->requests != NULL) {
        struct rpc_request *request = connection->requests;
        connection->requests = request->next;
        request->connection = NULL;
        loop_timer_stop(connection->rpc->server->loop, &request->timer);
        request->done(request, ERR_CLOSED, &text, NULL, 0);
    }
}

static void unlink_connection(struct rpc_connection *connection) {
    struct rpc_connection **at = &connection->rpc->root->connections;
    while (*at != connection) {
        at = &(*at)->next;
    }
    *at = connection->next;
}

static void send_back(const struct rpc_connection *accepted, struct message *message);

void rpc_close(struct rpc_connection *connection) {
    if (connection->accepted) {
        struct message *end = new_message(KIND_END, 0, NULL, 0);
        end->err = ERR_CLOSED;
        send_back(connection, end);
        unlink_connection(connection);
        free(connection);
        return;
    }
    if (connection->told_end) {
        connection->closed = true; /* inside its end */
        return;
    }
    connection->told_end = true;
    connection->open = false;
    unlink_connection(connection);
    answer_all(connection);
    free_connection(connection);
}

static void end_connection(struct rpc_connection *connection, enum err err) {
    static const struct err_text text = {"the connection was closed"};
    connection->told_end = true;
    connection->open = false;
    unlink_connection(connection);
    answer_all(connection);
    if (!connection->closed && !connection->finishing && connection->events->closed != NULL) {
        connection->events->closed(connection->context, connection, err, &text);
    }
    free_connection(connection);
}

/* ---- requests ---- */

static void timed_out(struct loop_timer *timer) {
    struct rpc_request *request =
        (struct rpc_request *)(void *)((char *)timer - offsetof(struct rpc_request, timer));
    static const struct err_text text = {"timeout"};
    rpc_request_cancel(request);
    request->done(request, ERR_TIMEOUT, &text, NULL, 0);
}

enum err rpc_request(struct rpc_connection *connection, struct rpc_request *request,
                     unsigned method, const void *body, size_t size, int timeout_ms) {
    if (!connection->open) {
        return ERR_CLOSED;
    }
    struct loop *loop = connection->rpc->server->loop;
    request->connection = connection;
    request->id = ++connection->rpc->server->world->rpc_numbers;
    request->next = connection->requests;
    connection->requests = request;
    request->timer = (struct loop_timer){.run = timed_out};
    loop_timer_start(loop, &request->timer, loop_now_ms(loop) + timeout_ms);
    struct message *message = new_message(KIND_REQUEST, request->id, body, size);
    message->method = method;
    send_message(connection, false, message);
    return ERR_OK;
}

void rpc_request_cancel(struct rpc_request *request) {
    if (request->connection == NULL) {
        return;
    }
    struct rpc_request **at = &request->connection->requests;
    while (*at != request) {
        at = &(*at)->next;
    }
    *at = request->next;
    loop_timer_stop(request->connection->rpc->server->loop, &request->timer);
    request->connection = NULL;
}

void rpc_answer(struct rpc *rpc, struct rpc_ticket ticket, enum err err,
                const struct err_text *text, const void *body, size_t size) {
    struct server *self = rpc->server;
    struct server *caller = &self->world->servers[ticket.connection % SERVERS_MAX];
    struct rpc_connection *connection =
        caller->up ? find_connection(caller->rpc, ticket.connection / SERVERS_MAX) : NULL;
    if (connection == NULL || connection->ending || self->dying || connection->to != self->at ||
        connection->to_life != self->life) {
        return;
    }
    struct message *message = new_message(KIND_ANSWER, ticket.request, body, size);
    message->err = err;
    if (text != NULL) {
        message->text = *text;
    }
    send_message(connection, true, message);
}

/* ---- one-way messages, and several ports ---- */

static void send_back(const struct rpc_connection *accepted, struct message *message) {
    struct server *caller = &accepted->rpc->server->world->servers[accepted->to];
    struct rpc_connection *connection = caller->up && caller->life == accepted->to_life
                                            ? find_connection(caller->rpc, accepted->number)
                                            : NULL;
    if (connection == NULL || connection->ending || accepted->rpc->server->dying) {
        free(message);
    } else {
        send_message(connection, true, message);
    }
}

enum err rpc_send(struct rpc_connection *connection, unsigned method, const void *body,
                  size_t size) {
    struct message *message = new_message(KIND_MESSAGE, 0, body, size);
    message->method = method;
    if (connection->accepted) {
        send_back(connection, message);
    } else {
        send_message(connection, false, message);
    }
    return ERR_OK;
}

void rpc_finish(struct rpc_connection *connection) {
    if (connection->accepted || connection->out.queue.first == NULL) {
        rpc_close(connection);
    } else {
        connection->finishing = true;
    }
}

void rpc_set_events(struct rpc_connection *connection, const struct rpc_events *events,
                    void *context) {
    connection->events = events;
    connection->context = context;
}

void *rpc_context(const struct rpc_connection *connection) {
    return connection->context;
}

const struct rpc_identity *rpc_peer(const struct rpc_connection *connection) {
    static const struct rpc_identity somebody = {.name = "a peer"};
    (void)connection;
    return &somebody;
}

const struct addr *rpc_peer_addr(const struct rpc_connection *connection) {
    return &connection->from;
}

struct rpc *rpc_create(const struct rpc_config *config) {
    struct rpc *root = here->rpc, *rpc = sim_rpc_create(here);
    rpc->root = root;
    rpc->port = config->kind;
    rpc->accepted_events = config->accepted;
    rpc->accepted_context = config->accepted_context;
    rpc->next = root->next;
    root->next = rpc;
    return rpc;
}

void rpc_destroy(struct rpc *rpc) {
    if (rpc == NULL) {
        return;
    }
    struct rpc *before = rpc->root;
    struct rpc_connection *next;
    for (struct rpc_connection *at = rpc->root->connections; at != NULL; at = next) {
        next = at->next;
        if (at->rpc == rpc) {
            ASSERT(at->requests == NULL);
            unlink_connection(at);
            if (at->accepted) {
                free(at);
            } else {
                free_connection(at);
            }
        }
    }
    while (before->next != rpc) {
        before = before->next;
    }
    before->next = rpc->next;
    free(rpc);
}

enum err rpc_listen(struct rpc *rpc, const struct addr *bind, struct err_text *text) {
    (void)rpc;
    (void)bind;
    (void)text;
    return ERR_OK;
}

void rpc_set_cluster(struct rpc *rpc, const struct uuid *cluster) {
    (void)rpc;
    (void)cluster;
}

void rpc_get_counts(const struct rpc *rpc, struct rpc_counts *ret_counts) {
    (void)rpc;
    memset(ret_counts, 0, sizeof *ret_counts);
}

const char *rpc_refusal_name(enum rpc_refusal why) {
    (void)why;
    return "";
}

/* ---- in a turn ---- */

static void take_answer(struct rpc_connection *connection, const struct message *message) {
    struct rpc_request *request = connection->requests;
    while (request != NULL && request->id != message->request) {
        request = request->next;
    }
    if (request != NULL) {
        rpc_request_cancel(request);
        request->done(request, message->err, &message->text, message->body, message->size);
    }
}

static struct rpc_connection *take_in(struct rpc *rpc, const struct server *caller,
                                      uint64_t number) {
    struct rpc_connection *connection = mem_calloc(1, sizeof *connection);
    *connection = (struct rpc_connection){.rpc = rpc,
                                          .next = rpc->root->connections,
                                          .number = number,
                                          .to = caller->at,
                                          .to_life = caller->life,
                                          .accepted = true,
                                          .open = true,
                                          .from = sim_rpc_addr(caller),
                                          .events = rpc->accepted_events,
                                          .context = rpc->accepted_context};
    rpc->root->connections = connection;
    return connection;
}

static void hear(struct rpc *rpc, struct rpc_connection *from, const struct message *message) {
    const struct rpc_service *service = rpc->services[message->method];
    if (service != NULL && service->message != NULL) {
        service->message(rpc->contexts[message->method], from, message->body, message->size);
    }
}

/* As its callee. */
static void serve(struct rpc *rpc, const struct message *message) {
    struct world *world = rpc->server->world;
    struct server *caller = &world->servers[message->connection % SERVERS_MAX];
    uint64_t number = message->connection / SERVERS_MAX;
    if (message->kind == KIND_HELLO) {
        struct rpc_connection *connection =
            caller->up ? find_connection(caller->rpc, number) : NULL;
        if (connection != NULL && !connection->ending) {
            bool foreign = connection->expects && memcmp(&connection->expected, &rpc->server->node,
                                                         sizeof connection->expected) != 0;
            struct message *answer = new_message(foreign ? KIND_END : KIND_WELCOME, 0, NULL, 0);
            answer->err = ERR_FOREIGN;
            send_message(connection, true, answer);
        }
    } else if (message->kind == KIND_MESSAGE) {
        struct rpc_connection *from = find_accepted(rpc, number);
        hear(rpc, from != NULL ? from : take_in(rpc, caller, number), message);
    } else if (rpc->services[message->method] != NULL) {
        struct rpc_ticket ticket = {message->connection, message->request};
        rpc->services[message->method]->request(rpc->contexts[message->method], NULL, ticket,
                                                message->body, message->size);
    }
}

/* The port that is called. NULL: it is closed by now. */
static struct rpc *port_of(struct rpc *root, const struct message *message) {
    struct rpc *rpc = root->next != NULL ? root->next : root;
    while (rpc != NULL && rpc->port != message->port) {
        rpc = rpc->next;
    }
    return rpc;
}

static void run(struct rpc *rpc, const struct message *message) {
    struct rpc_connection *connection = find_connection(rpc, message->connection / SERVERS_MAX);
    bool own = message->connection % SERVERS_MAX == rpc->server->at;
    if (!own) {
        struct rpc *called = port_of(rpc, message);
        if (called != NULL) {
            serve(called, message);
        }
        return;
    }
    if (connection == NULL) {
        return;
    }
    if (message->kind == KIND_END) {
        end_connection(connection, message->err);
    } else if (message->kind == KIND_WELCOME) {
        connection->open = true;
        connection->events->opened(connection->context, connection);
    } else if (message->kind == KIND_MESSAGE) {
        if (!connection->finishing) {
            hear(connection->rpc, connection, message);
        }
    } else {
        take_answer(connection, message);
    }
}

bool sim_rpc_waits(const struct rpc *rpc) {
    return rpc->inbox.first != NULL;
}

void sim_rpc_run(struct rpc *rpc) {
    struct message *message;
    while (!rpc->server->dying && (message = take(&rpc->inbox)) != NULL) {
        run(rpc, message);
        free(message);
    }
}
