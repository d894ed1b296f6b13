/* Between server.c, udp.c and tcp.c. */
#ifndef DNS_SERVER_INTERNAL_H
#define DNS_SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/limits.h"
#include "dns/answer.h"
#include "dns/server.h"

struct udp_thread;
struct tcp;
struct relay;

#define DNS_TIMED_TYPES 11 /* those of contract 1.3, and all others as one */

struct dns_timings {
    struct metric *types[DNS_TIMED_TYPES];
    struct metric *domain, *ptr;
};

struct dns_server {
    struct dns_server_config config; /* `listen` with the real ports, `answers` unset */
    struct addr listen[LIMIT_DNS_LISTEN];
    struct log *log;
    struct dns_timings timings;
    struct dns_snapshot *_Atomic snapshot; /* read inside an epoch section */
    int stop_fd;                           /* an eventfd, readable once the threads have to end */
    struct udp_thread *udp[LIMIT_DNS_THREADS];
    struct tcp *tcp;
    struct relay *relay;
    pthread_mutex_t ask_lock; /* of the scratch and the room for questions of other agents */
    struct dns_scratch *ask_scratch;
    uint8_t *ask_out;
    pthread_mutex_t told_lock;
    uint64_t told[LIMIT_DNS_NODES_TOLD]; /* hashes of names that were warned about */
    unsigned told_count;
    _Atomic uint64_t udp_queries, udp_dropped, tcp_queries, tcp_connections;
};

/* What a batch answers from: taken and dropped inside one epoch section. */
struct dns_source {
    const struct dns_snapshot *snapshot;
    const struct catalog_view *view; /* NULL: not ready */
    bool partial;                    /* it holds this agent's own rows */
    int64_t wall_s;
};

void dns_source_enter(struct dns_server *server, struct dns_source *ret_source);
void dns_source_exit(struct dns_server *server);
/* Any thread: warns, once for each name, of a node that NS records leave out. NULL: of none. */
void dns_server_note_skipped(struct dns_server *server, const char *node);

/* metrics may be NULL: nothing is recorded then. */
void dns_timings_init(struct dns_timings *timings, struct metrics *metrics, const char *node_name);
/* Any thread. */
void dns_timings_note(const struct dns_timings *timings, const struct dns_asked *asked, double ms);

/* The thread runs at the return; it takes the sockets (one for each address) in any case. */
struct udp_thread *udp_start(struct dns_server *server, const int *fds, uint64_t seed);
/* After stop_fd has become readable: joins and frees. NULL is allowed. */
void udp_stop(struct udp_thread *thread);

/* The same for all TCP sockets; NULL and a sentence on failure. */
struct tcp *dns_tcp_start(struct dns_server *server, const int *fds, uint64_t seed,
                          struct err_text *text);
/* The relay has stopped. */
void dns_tcp_stop(struct tcp *tcp);

#endif
