/* Hosts at addresses, the links between them, and what goes over those beside RPC: datagrams, which
 * are lost, late and out of order. What is sent to a port where nobody listens comes back refused.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/mem.h"
#include "net/resolve.h"
#include "net/seal.h"
#include "tests/sim/datacenter/datacenter.h"

/* ---- addresses ---- */

void host_ip(const struct server *server, char out[32]) {
    snprintf(out, 32, "10.0.%u.%u", server->address, server->at + 1);
}

struct addr sim_rpc_addr(const struct server *server) {
    struct addr addr;
    char ip[32];
    host_ip(server, ip);
    (void)addr_parse(ip, 0, &addr);
    return addr;
}

struct server *sim_rpc_at(struct world *world, const struct addr *addr) {
    uint32_t ip = ntohl(addr->v4.sin_addr.s_addr);
    uint32_t at = (ip & 255) - 1, generation = (ip >> 8) & 255;
    bool there = at < world->server_count && world->servers[at].address == generation;
    return there ? &world->servers[at] : NULL;
}

struct link *sim_rpc_link(struct world *world, const struct server *from, const struct server *to) {
    return &world->links[from->at][to->at];
}

void sim_rpc_sent(const struct server *from, const struct server *to, uint64_t bytes) {
    (void)from;
    (void)to;
    (void)bytes;
}

bool net_is_linked(const struct world *world, uint32_t from, uint32_t to) {
    return !world->links[from][to].cut && !world->links[to][from].cut;
}

/* ---- datagrams ---- */

struct udp {
    struct server *server;
    const struct udp_events *events;
    void *context;
};

/* On its way, and then in the inbox of its process. */
struct datagram {
    struct loop_task task;
    struct server *server;
    struct addr from, to;
    bool refused;
    size_t size;
    uint8_t bytes[];
};

struct udp *udp_open(struct loop *loop, const struct addr *bind, const struct udp_events *events,
                     void *context, struct err_text *text) {
    struct udp *udp = mem_calloc(1, sizeof *udp);
    (void)loop;
    (void)bind;
    (void)text;
    *udp = (struct udp){here, events, context};
    here->udp = udp;
    return udp;
}

void udp_close(struct udp *udp) {
    if (udp != NULL) {
        udp->server->udp = NULL;
        free(udp);
    }
}

void udp_get_counts(const struct udp *udp, struct udp_counts *ret_counts) {
    (void)udp;
    memset(ret_counts, 0, sizeof *ret_counts);
}

static bool is_lost(struct world *world, const struct link *link) {
    return link->cut || rand_below(&world->rand, 1000) < link->drop_per_1000;
}

enum err udp_send(struct udp *udp, const struct addr *to, const void *data, size_t size) {
    struct server *from = udp->server;
    struct world *world = from->world;
    const struct server *there = sim_rpc_at(world, to);
    const struct link *link = there != NULL ? sim_rpc_link(world, from, there) : NULL;
    if (link == NULL || from->dying || is_lost(world, link)) {
        return ERR_OK;
    }
    uint64_t delay_us = link->delay_us + rand_below(&world->rand, link->jitter_us + 1);
    struct event *event = world_post(world, delay_us, EVENT_DATAGRAM, NULL);
    struct datagram *datagram = mem_calloc(1, sizeof *datagram + size);
    datagram->from = sim_rpc_addr(from);
    datagram->to = *to;
    datagram->size = size;
    memcpy(datagram->bytes, data, size);
    event->data = datagram;
    return ERR_OK;
}

static void received(struct loop_task *task) {
    struct datagram *datagram = CONTAINER_OF(task, struct datagram, task);
    struct server *server = datagram->server;
    struct udp *udp = server->udp;
    if (udp != NULL && !server->dying && datagram->refused) {
        udp->events->refused(udp->context, &datagram->to);
    } else if (udp != NULL && !server->dying) {
        udp->events->received(udp->context, &datagram->from, datagram->bytes, datagram->size);
    }
    free(datagram);
}

static void into_inbox(struct server *server, const struct datagram *from, bool refused) {
    size_t size = refused ? 0 : from->size;
    struct datagram *datagram = mem_memdup(from, sizeof *from + size);
    datagram->task.run = received;
    datagram->server = server;
    datagram->refused = refused;
    datagram->from = from->from;
    addr_set_port(&datagram->from, 8301);
    server_enter(server);
    loop_post(server->loop, &datagram->task);
}

void net_datagram_arrives(struct world *world, const struct event *event) {
    const struct datagram *datagram = event->data;
    struct server *to = sim_rpc_at(world, &datagram->to);
    struct server *from = sim_rpc_at(world, &datagram->from);
    if (to != NULL && to->up && to->udp != NULL) {
        into_inbox(to, datagram, false);
    } else if (to != NULL && from != NULL && !is_lost(world, sim_rpc_link(world, to, from))) {
        struct event *back = world_post(world, 200, EVENT_REFUSED, NULL);
        back->data = mem_memdup(datagram, sizeof *datagram);
    }
}

void net_refused(struct world *world, const struct event *event) {
    struct server *from = sim_rpc_at(world, &((const struct datagram *)event->data)->from);
    if (from != NULL && from->up && from->udp != NULL) {
        into_inbox(from, event->data, true);
    }
}

/* ---- what seals them: nothing ---- */

struct seal *seal_create(const struct seal_config *config) {
    (void)config;
    return NULL;
}

void seal_destroy(struct seal *seal) {
    (void)seal;
}

size_t seal_packet(struct seal *seal, const void *message, size_t size, uint8_t *out) {
    (void)seal;
    memcpy(out, message, size);
    return size;
}

enum err seal_open(struct seal *seal, uint8_t *packet, size_t size, uint8_t **ret_message,
                   size_t *ret_size, enum seal_refusal *ret_why) {
    (void)seal;
    (void)ret_why;
    *ret_message = packet;
    *ret_size = size;
    return ERR_OK;
}

uint64_t seal_refused(const struct seal *seal, enum seal_refusal why) {
    (void)seal;
    (void)why;
    return 0;
}

const char *seal_refusal_name(enum seal_refusal why) {
    (void)why;
    return "";
}

/* ---- names: all are addresses ---- */

struct resolve_query {
    struct loop_task task;
    struct resolve_wait *wait; /* NULL: cancelled */
    struct addr addr;
};

struct resolver *resolver_create(struct loop *loop) {
    return (struct resolver *)(void *)loop;
}

void resolver_destroy(struct resolver *resolver) {
    (void)resolver;
}

static void resolved(struct loop_task *task) {
    struct resolve_query *query = CONTAINER_OF(task, struct resolve_query, task);
    struct resolve_wait *wait = query->wait;
    if (wait != NULL) {
        wait->query = NULL;
        wait->done(wait, ERR_OK, &query->addr, 1, NULL);
    }
    free(query);
}

void resolver_ask(struct resolver *resolver, struct resolve_wait *wait, const char *name,
                  uint16_t port, int timeout_ms) {
    struct resolve_query *query = mem_calloc(1, sizeof *query);
    (void)timeout_ms;
    query->task.run = resolved;
    query->wait = wait;
    wait->query = query;
    (void)addr_parse(name, port, &query->addr);
    loop_post((struct loop *)(void *)resolver, &query->task);
}

void resolver_cancel(struct resolver *resolver, struct resolve_wait *wait) {
    (void)resolver;
    if (wait->query != NULL) {
        wait->query->wait = NULL;
        wait->query = NULL;
    }
}

bool resolve_split(const char *text, uint16_t default_port, char *host, size_t host_bytes,
                   uint16_t *ret_port) {
    const char *colon = strchr(text, ':');
    size_t size = colon != NULL ? (size_t)(colon - text) : strlen(text);
    *ret_port = colon != NULL ? (uint16_t)atoi(colon + 1) : default_port;
    snprintf(host, host_bytes, "%.*s", (int)size, text);
    return true;
}
