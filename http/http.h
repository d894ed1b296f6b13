/* The HTTP front end (contract http-core): takes requests on the threads of libmicrohttpd, answers
 * reads from a published view, hands writes to the backend, and parks what must wait.
 *
 * Life of a request: URI parsed -> body read -> route found -> one of
 *   read    evaluated on the HTTP thread; a blocking query that has to wait is suspended first,
 * then registered with the core, with the index and answer it has seen, so nothing falls between
 *   call    suspended, then submitted to the backend; resumed when its done ran
 *   local   answered at once from this agent's own state
 * Only the core's thread resumes, once per turn. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "catalog/backend.h"
#include "catalog/watch.h"
#include "http/rate.h"
#include "net/addr.h"
#include "net/cidr.h"
#include "net/loop.h"
#include "net/path_socket.h"

struct http_server;

struct http_config {
    const struct addr *listen;
    unsigned listen_count;
    const struct path_socket *paths;
    unsigned path_count;
    struct str_list block_endpoints; /* paths that begin so: 403 */
    const struct cidr *write_from;   /* who may use other methods than GET; none = all */
    unsigned write_from_count;
    struct str_map response_headers; /* of every answer; pointers of all these are kept */
    unsigned threads;                /* a listen address; >= 1 */
    int64_t connections_per_client;  /* 0 = no limit; above: 429 */
    enum http_rate_mode rate_mode;
    double read_rate, write_rate; /* a second; below 0: no limit */
    int64_t query_wait_default_ms, query_wait_max_ms;
    int64_t discovery_stale_ms; /* reads of catalog and health may be so old by default; 0 = not */
    bool pretty_always;         /* -dev */
    bool translate_wan;         /* answers of other datacenters show WAN addresses */
    bool use_cache;             /* ?cached is heeded */
    bool judge_paths;           /* 400 for characters in paths that have no picture */
    uint64_t seed;              /* of the jitter of waits */
    struct metrics *metrics;    /* NULL: nothing is recorded */
};

/* All pointers but config are borrowed until the stop, those within config too; config is copied.
 * Call it on the core's thread. NULL and a sentence that names the address on failure. */
struct http_server *http_server_start(const struct http_config *config,
                                      const struct backend *backend, struct watches *watches,
                                      struct loop *core, struct log *log, struct err_text *text);

/* Core's thread, after each publish of the catalog: wakes the groups whose key has changed. */
void http_server_wake(struct http_server *server);
/* Core's thread, after metrics_tick: streams of metrics go on. */
void http_server_interval_end(struct http_server *server);
/* Core's thread, at the end of each turn: resumes what has become ready. */
void http_server_turn_end(struct http_server *server);

/* Core's thread, in this order: refuse and release, run the loop until drained, then destroy. */
void http_server_drain(struct http_server *server);
bool http_server_drained(const struct http_server *server);
/* Answers of requests that were released are still on their way to clients. */
bool http_server_has_unsent(const struct http_server *server);
/* Drained, or never run; joins its threads. NULL is allowed. */
void http_server_destroy(struct http_server *server);

/* Something for the workers, which are there for what takes longer than a turn of the core may. */
struct http_work {
    struct http_work *next; /* private */
    void (*run)(struct http_work *work);
};

/* Any thread. */
void http_server_work(struct http_server *server, struct http_work *work);

/* A request that another agent has passed on. All that it points to is borrowed until done. */
struct http_carried {
    const char *method, *target, *node; /* node: the agent that the client asked */
    struct str_map headers;             /* names as they are usually written */
    const void *body;
    size_t body_size;
    unsigned hops; /* how often it has been passed on */
    /* Core's thread, once. What was answered is borrowed until it returns. status 0: nothing,
     * because the server stops or nobody waits any more. */
    void (*done)(struct http_carried *carried, int status, const struct str_map *headers,
                 const char *body, size_t body_size);
    struct http_exchange *exchange; /* private */
};

/* Core's thread: answers it like one that came over HTTP, on the workers. */
void http_server_carry(struct http_server *server, struct http_carried *carried);
/* Core's thread: nobody waits for it any more; done runs soon, whatever it says. */
void http_carried_give_up(struct http_carried *carried);

/* Any thread; connections that are open keep on. */
void http_server_set_connections_per_client(struct http_server *server, int64_t limit);

#endif
