/* The DNS front end (contract 1; RFC 1035, 2782, 6891, 7766): answers over UDP and TCP from the
 * published view of the catalog, on threads of its own, whether there is a leader or not.
 *
 *   UDP   `threads` threads; each has a socket of its own on every address (SO_REUSEPORT) and takes
 *         and sends datagrams in batches. One epoch section a batch.
 *   relay one thread for what recursors answer, see dns/relay.h
 *   TCP   one thread for all connections; at most LIMIT_DNS_TCP_CONNECTIONS of them, the one that
 *         has been idle for longest gives way to a new one. */
#ifndef DNS_SERVER_H
#define DNS_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/err.h"
#include "base/log.h"
#include "base/metrics.h"
#include "catalog/backend.h"
#include "catalog/catalog.h"
#include "dns/config.h"
#include "net/addr.h"

struct dns_server;

struct dns_server_config {
    const struct addr *listen; /* copied; port 0 takes a free one, the same for UDP and TCP */
    unsigned listen_count;     /* 1 to LIMIT_DNS_LISTEN */
    unsigned threads;          /* for UDP; 0 = 2, at most LIMIT_DNS_THREADS */
    uint64_t seed;             /* of the shuffling; draw it from the system */
    struct dns_config answers; /* copied */

    /* Borrowed until dns_server_stop returns. */
    struct epoch *epoch;
    const struct catalog *catalog;
    /* Whether the catalog has content to answer from: the agent has had a leader since its start.
     * Until then lookups get SERVFAIL. Any thread; NULL = always. */
    bool (*ready)(void *context);
    /* Asked instead while allow_stale is off: whether there is a leader now. NULL = always. */
    bool (*has_leader)(void *context);
    void *ready_context; /* of both */
    /* Passes on what servers answer (BACKEND_QUESTION). NULL: asks_servers and asks_far are off. */
    const struct backend *backend;
    /* With asks_servers: this agent's own rows, which are answered from while no server is there
     * (has_leader). */
    const struct catalog *own;
    struct metrics *metrics; /* NULL: nothing is recorded */
};

/* Numbers for metrics, counted since the start. */
struct dns_server_stats {
    uint64_t udp_queries, tcp_queries;
    uint64_t udp_dropped; /* answers that the system refused to send, and messages never answered */
    uint64_t tcp_connections; /* open at present */
    uint64_t relayed;         /* questions that are with recursors at present */
};

/* Listens before it returns. log may be NULL. NULL and a sentence that names address and port on
 * failure; nothing is left open then. */
struct dns_server *dns_server_start(const struct dns_server_config *config, struct log *log,
                                    struct err_text *text);

/* The catalog's writer thread only; the old configuration is freed after a later publish. Answers
 * begun before keep it. domain, alt_domain and datacenter must be those of the start: they were
 * found to be DNS names then. */
void dns_server_reload(struct dns_server *server, const struct dns_config *answers);

/* Any thread but its own. Closes the sockets and joins the threads, within milliseconds. NULL is
 * allowed. */
void dns_server_stop(struct dns_server *server);

/* A question that another agent has passed on. Its caller owns it and the request until answered
 * ran. */
struct dns_carried {
    const void *request;
    size_t size;
    bool tcp;
    unsigned hops;       /* how often it has been passed on */
    const char *wan_for; /* the datacenter that sees WAN addresses; "": none */
    /* Any thread, once; 0 bytes: it deserves no answer. Borrowed until it returns. */
    void (*answered)(struct dns_carried *carried, const uint8_t *answer, size_t bytes);
};

/* A thread that may take its time, and that the stop waits for before it begins. */
void dns_server_ask(struct dns_server *server, struct dns_carried *carried);

/* The port of listen[index], for port 0. */
uint16_t dns_server_port(const struct dns_server *server, unsigned index);
/* Any thread. */
void dns_server_get_stats(const struct dns_server *server, struct dns_server_stats *ret_stats);

#endif
