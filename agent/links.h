/* Connections to servers that answer in this agent's place: those of its own datacenter if it is no
 * server itself, and those of others. One connection a datacenter, to the server that
 * agent/choice.h chooses; when that one is lost, another. Core's thread.
 *
 * The rule of a retry: a request goes to a second server if it surely was not carried out, or if it
 * may be repeated. A server that keeps its connection and says nothing is noticed by pings, which
 * are sent only while something is under way. Whoever finds no server waits LIMIT_LINK_WAIT_MS for
 * one. */
#ifndef AGENT_LINKS_H
#define AGENT_LINKS_H

#include "base/err.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "net/addr.h"
#include "net/rpc.h"

struct links;

struct links_config {
    struct loop *loop;
    struct log *log;
    struct rpc *rpc; /* borrowed, outlives the links */
    struct uuid self;
    const char *datacenter; /* this agent's */
    bool wanted;            /* there is always a connection to a server of it */
    uint64_t seed;
    /* Such a connection is there, or gone. */
    void (*connected)(void *context, bool connected);
    /* A server of this agent's datacenter, or of another, has closed its connection. */
    void (*lost)(void *context, bool own, const struct uuid *node);
    void *context;
    struct metric *asked, *asked_far, *failed; /* requests that were sent; lost */
};

struct links *links_create(const struct links_config *config);
/* Requests are answered ERR_CLOSED. NULL is allowed. */
void links_destroy(struct links *links);

struct links_server {
    struct uuid node;
    struct addr addr;
    const char *name;
    const char *datacenter; /* for links_set_far_servers */
    double distance_ms;     /* below 0: not known */
    enum { LINKS_ALIVE, LINKS_FAILED, LINKS_LEFT } state;
};

/* All that are known of a datacenter; copied. A distance counts as changed once it is twice, or
 * half, of what it was, and by some milliseconds: no agent changes its server for less. */
void links_set_servers(struct links *links, const char *datacenter,
                       const struct links_server *servers, uint32_t count);
/* The same of all other datacenters at once: one that has no server any more is forgotten. */
void links_set_far_servers(struct links *links, const struct links_server *servers, uint32_t count);

/* One request. Owned by the caller, with all that it points to, until done ran. */
struct links_request {
    const char *datacenter; /* "" = this agent's */
    unsigned method;        /* enum rpc_method */
    const void *body;
    size_t size;
    bool repeatable;
    bool patient;      /* whoever asks watches for silence itself: it is no reason for pings */
    int64_t answer_ms; /* how long a server that is there may take */
    /* Whoever asks has something else to answer with, and waits no longer than this and what the
     * last connection there took: ERR_TIMEOUT. 0: waits for all. */
    int64_t hurry_ms;
    /* As of rpc_request; `connection` is where the answer came from. ERR_NO_LEADER: no server
     * answers, and surely none has carried it out. ERR_NOT_FOUND: no server of the datacenter is
     * known. ERR_TIMEOUT: nobody knows whether it was carried out. */
    void (*done)(struct links_request *request, enum err err, const struct err_text *text,
                 const uint8_t *body, size_t size);
    struct rpc_connection *connection;
    /* Private. */
    struct rpc_request rpc;
    struct link *link; /* under way on it; NULL: waits */
    struct path *path;
    struct links_request *next, **back;
    int64_t sent_at_ms, give_up_at_ms;
    int64_t hurry_at_ms; /* 0: there is no hurry */
    unsigned tries;
};

/* done may run before it returns. */
void links_ask(struct links *links, struct links_request *request);
/* done does not run any more. ret_connection: where it was under way; NULL: nowhere. */
void links_cancel(struct links_request *request, struct rpc_connection **ret_connection);

/* Any thread: a server of this datacenter is connected. */
bool links_connected(const struct links *links);

#endif
