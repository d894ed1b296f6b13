/* Questions that others answer: servers of this or another datacenter, to whom they are passed on
 * whole, and recursors (contract 1.7): names that are not ours, passed on and back, and
 * foreign names behind our aliases (contract 1.3.3). All of it happens on one thread of its own, so
 * that the threads that answer from the view never wait; at most LIMIT_DNS_RELAY_EXCHANGES
 * questions are with recursors at once. */
#ifndef DNS_RELAY_H
#define DNS_RELAY_H

#include "catalog/backend.h"
#include "dns/answer.h"
#include "dns/exchange.h"

struct dns_server;
struct relay;

/* A client's question on its way. */
struct relay_query {
    struct loop_task task; /* first; the client's thread may use it once `answered` runs */
    struct relay *relay;
    struct relay_query *older, *younger; /* those that the relay works on */

    /* The client's, set between create and submit. answered: on the relay's thread, once; the
     * answer is valid until it returns. It takes the query and destroys it, there or later. */
    void (*answered)(struct relay_query *query, const uint8_t *answer, size_t bytes);
    void *context;
    struct addr peer;
    int fd; /* UDP: what the answer leaves by */
    _Alignas(size_t) uint8_t control[64];
    size_t control_bytes;
    struct loop *tcp_loop;               /* TCP: where the connection is */
    struct relay_query *before, *behind; /* the others of it */
    uint8_t *answer;                     /* TCP: from malloc, freed with the query */
    size_t answer_bytes;

    void (*dropped)(
        struct relay_query *query); /* instead, when the relay ends before; may be NULL */

    bool tcp;
    const char *wan_for;      /* of one that was passed on; NULL: of a client's own */
    unsigned hops;            /* how often the question was passed on */
    struct backend_call call; /* to a server */
    struct loop_task call_task;
    bool call_under_way;
    struct dns_wanted wanted;
    struct addr recursors[LIMIT_DNS_RECURSORS];
    unsigned recursor_count;
    bool random_order, translate_wan;
    int64_t timeout_ms;
    struct exchange exchanges[LIMIT_DNS_RESOLVED_NAMES]; /* for the request, or for each name */
    unsigned exchange_count, pending;
    struct dns_resolved_name names[LIMIT_DNS_RESOLVED_NAMES];
    struct arena arena; /* of the records behind them */
    size_t request_bytes;
    uint8_t request[];
};

/* NULL and a sentence on failure. */
struct relay *relay_start(struct dns_server *server, uint64_t seed, struct err_text *text);
/* Joins the thread; what is under way stays unanswered. NULL is allowed. */
void relay_stop(struct relay *relay);
/* Once no thread submits any more, and the queries that it was given back are destroyed. */
void relay_destroy(struct relay *relay);

/* Any thread, inside an epoch section: what a request needs (not DNS_NEEDS_NOTHING), by the
 * recursors of the snapshot. NULL: too many are under way, or the request is too long. */
struct relay_query *relay_query_create(struct relay *relay, const struct dns_snapshot *snapshot,
                                       const struct dns_wanted *wanted, const uint8_t *request,
                                       size_t bytes, bool tcp);
/* Any thread. */
void relay_query_submit(struct relay_query *query);
/* Any thread. */
void relay_query_destroy(struct relay_query *query);
/* Any thread: questions that are with recursors. */
unsigned relay_under_way(const struct relay *relay);

#endif
