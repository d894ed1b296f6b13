/* Messages between agents over TCP: requests with answers, and one-way messages, in both directions
 * and many at once on one connection. Server RPC speaks it on the server port; gossip's exchanges
 * over a stream speak it on the serf ports, with another kind in the handshake.
 *
 * On the wire, numbers big-endian. First 8 bytes: "cairn" | kind | 0 | 0, from either side. Then
 * frames: 4 bytes length | payload. The handshake is four frames of proto/rpc.proto:
 *   caller -> RpcHello     versions, who it is, a nonce, the id of its primary key if it seals
 *   callee -> RpcWelcome   the version chosen, who it is, a nonce; or why it refuses
 *   callee -> RpcProof     its proof, empty without a key
 *   caller -> RpcProof     its proof; or why it refuses
 * A proof is HMAC-SHA256, under a key that HKDF derives from the pool's key, over the side's name
 * and all bytes of the first two, so neither side can be someone else's echo. From then on each
 * frame is an RpcFrame; with a key it is sealed: AES-GCM, a key for each direction from pool key
 * and both nonces, the frame's number as nonce, the length authenticated.
 *
 * Who is refused hears why and both sides log it: garbage, a frame too large, no common version,
 * another cluster of the same datacenter, a key that is wrong, missing or not expected, another
 * server than expected at an address.
 *
 * All of it is one loop's; a worker that has an answer posts a task. */
#ifndef NET_RPC_H
#define NET_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "base/uuid.h"
#include "net/addr.h"
#include "net/keyring.h"
#include "net/loop.h"

#define RPC_VERSION_MIN 1
#define RPC_VERSION_MAX 1
#define RPC_NAME_BYTES 256 /* of a name in the handshake, with the NUL */
#define RPC_METHODS 64     /* method numbers are 1..63; enum RpcMethod of proto/rpc.proto */

/* As in proto/rpc.proto, where each is told. */
enum rpc_method {
    RPC_METHOD_RAFT = 1,
    RPC_METHOD_PROPOSE = 3,
    RPC_METHOD_KEYRING = 5,
    RPC_METHOD_READ_INDEX = 6,
    RPC_METHOD_RENEW_SESSION = 7,
    RPC_METHOD_OPERATOR = 8,
    RPC_METHOD_HTTP = 16,
    RPC_METHOD_HTTP_MORE = 17,
    RPC_METHOD_HTTP_CANCEL = 18,
    RPC_METHOD_QUESTION = 19,
    RPC_METHOD_COMMAND = 20,
    RPC_METHOD_NODE_ROWS = 21,
    RPC_METHOD_PING = 22,
    RPC_METHOD_CHECK = 24,
    RPC_METHOD_IMAGE = 25,
    RPC_METHOD_MIRROR = 28,
    RPC_METHOD_GOSSIP = 32,
};

enum rpc_kind { RPC_KIND_SERVER = 'r', RPC_KIND_GOSSIP_LAN = 'l', RPC_KIND_GOSSIP_WAN = 'w' };

/* One end, as the handshake tells it. */
struct rpc_identity {
    struct uuid node;
    struct uuid disk;    /* zero: not a server */
    struct uuid cluster; /* zero: not known yet */
    bool server;
    char name[RPC_NAME_BYTES], datacenter[RPC_NAME_BYTES];
};

struct rpc;            /* this agent's end: listener, connections, methods */
struct rpc_connection; /* one connection */

/* What one connection's user hears. Functions may be NULL. */
struct rpc_events {
    /* The handshake is done: messages may be sent. */
    void (*opened)(void *context, struct rpc_connection *connection);
    /* There is room again after ERR_OVERLOADED. */
    void (*writable)(void *context, struct rpc_connection *connection);
    /* The last event, of one that was open or never got so; its requests were answered ERR_CLOSED
     * before. ERR_NOT_FOUND: nothing listens there. The connection is gone when it returns. Not
     * told after rpc_close. */
    void (*closed)(void *context, struct rpc_connection *connection, enum err err,
                   const struct err_text *text);
};

struct rpc_config {
    struct loop *loop;
    struct log *log;
    const char *module; /* of its log lines */
    enum rpc_kind kind;
    struct rpc_identity self;              /* copied */
    const struct keyring *keyring;         /* borrowed; NULL or empty: no key */
    const struct keyring *far_keyring;     /* the same, for peers of other datacenters */
    bool verify_incoming, verify_outgoing; /* as in net/seal.h */
    const struct addr *from; /* local address of own connections, copied; NULL = any */
    size_t frame_bytes_max;  /* 0 = LIMIT_RPC_FRAME_BYTES */
    size_t queue_bytes_max;  /* 0 = LIMIT_RPC_QUEUE_BYTES; outgoing, of one connection */
    unsigned accepted_max;   /* 0 = LIMIT_RPC_ACCEPTED; above, the one that arrives is closed */
    const struct rpc_events *accepted; /* of connections that arrive; borrowed, NULL = none */
    void *accepted_context;
    /* Whether connections from this address are let in; NULL: all are. */
    bool (*allows)(void *context, const struct addr *from);
};

struct rpc *rpc_create(const struct rpc_config *config);
/* Closes all connections: requests are answered ERR_CLOSED, closed is told. NULL is allowed. */
void rpc_destroy(struct rpc *rpc);
/* ERR_IO and a sentence when the address cannot be bound. */
enum err rpc_listen(struct rpc *rpc, const struct addr *bind, struct err_text *text);
/* Once they are known; they count for new connections. */
void rpc_set_server(struct rpc *rpc, const struct uuid *node, const struct uuid *disk);
void rpc_set_cluster(struct rpc *rpc, const struct uuid *cluster);

/* ---- methods ---- */

/* Names a request that is to be answered, whatever has become of its connection. */
struct rpc_ticket {
    uint64_t connection, request;
};

struct rpc_service {
    /* A request, to be answered once by rpc_answer, now or later. body is borrowed until it
     * returns. NULL: requests are refused ERR_UNSUPPORTED. */
    void (*request)(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                    const uint8_t *body, size_t size);
    /* A one-way message. NULL: dropped and counted. */
    void (*message)(void *context, struct rpc_connection *from, const uint8_t *body, size_t size);
};

/* service is borrowed. */
void rpc_serve(struct rpc *rpc, unsigned method, const struct rpc_service *service, void *context);

/* err ERR_OK: body is the answer. Else text is told, which may be NULL. Nothing happens if the
 * connection is gone. An answer above the frame's bound becomes ERR_TOO_LARGE; answers are not
 * refused for a full queue, because who asks bounds their number. */
void rpc_answer(struct rpc *rpc, struct rpc_ticket ticket, enum err err,
                const struct err_text *text, const void *body, size_t size);

/* ---- connections ---- */

/* Connects and greets. expected, which may be NULL, is the node that must answer. events may be
 * NULL and is borrowed. Never NULL; failure is told by closed, never from within this call. */
struct rpc_connection *rpc_connect(struct rpc *rpc, const struct addr *to,
                                   const struct uuid *expected, const struct rpc_events *events,
                                   void *context);
/* Right after rpc_connect: the peer is of another datacenter, whose keys are other ones. */
void rpc_expect_far(struct rpc_connection *connection);
/* Requests under way are answered ERR_CLOSED. Allowed inside events and services. */
void rpc_close(struct rpc_connection *connection);
/* Closes once all that was sent has gone out; no event and no message comes any more. */
void rpc_finish(struct rpc_connection *connection);
bool rpc_is_open(const struct rpc_connection *connection);
/* Of one that arrived: its own events and context from now on. */
void rpc_set_events(struct rpc_connection *connection, const struct rpc_events *events,
                    void *context);
void *rpc_context(const struct rpc_connection *connection);
/* Who is at the other end, once it is open; borrowed. */
const struct rpc_identity *rpc_peer(const struct rpc_connection *connection);
const struct addr *rpc_peer_addr(const struct rpc_connection *connection);
/* Outgoing bytes that wait. */
size_t rpc_queued_bytes(const struct rpc_connection *connection);

/* body is copied. ERR_OVERLOADED: the queue is full, nothing is queued, `writable` will tell.
 * ERR_TOO_LARGE; ERR_CLOSED: not open. */
enum err rpc_send(struct rpc_connection *connection, unsigned method, const void *body,
                  size_t size);

/* One request. Owned by the caller until done ran. */
struct rpc_request {
    /* ERR_OK: body is the answer, borrowed until it returns. ERR_TIMEOUT, ERR_CLOSED: nobody knows
     * whether it was carried out. Else the error of the other side and its sentence. */
    void (*done)(struct rpc_request *request, enum err err, const struct err_text *text,
                 const uint8_t *body, size_t size);
    /* Private. */
    struct rpc_request *next;
    struct rpc_connection *connection; /* NULL: not under way */
    uint64_t id;
    struct loop_timer timer;
};

/* As rpc_send; with another result than ERR_OK, done does not run. */
enum err rpc_request(struct rpc_connection *connection, struct rpc_request *request,
                     unsigned method, const void *body, size_t size, int timeout_ms);
/* done does not run any more. One that is not under way is fine. */
void rpc_request_cancel(struct rpc_request *request);

/* ---- clients: a connection that comes back ---- */

struct rpc_client;

/* Connects to one server again and again, LIMIT_RPC_BACKOFF_MIN_MS to _MAX_MS apart, doubling, with
 * jitter. events as for rpc_connect: opened and closed may alternate. expected may be NULL. */
struct rpc_client *rpc_client_create(struct rpc *rpc, const struct addr *to,
                                     const struct uuid *expected, const struct rpc_events *events,
                                     void *context);
/* Its connection is closed without an event. NULL is allowed. Allowed inside events. */
void rpc_client_destroy(struct rpc_client *client);
/* The server has moved: the old connection, if any, is closed. The same address changes nothing. */
void rpc_client_set_addr(struct rpc_client *client, const struct addr *to);
/* The server is known to be there: try now. */
void rpc_client_retry(struct rpc_client *client);
/* NULL: not open. Borrowed until the next turn. */
struct rpc_connection *rpc_client_connection(const struct rpc_client *client);

/* ---- counts ---- */

enum rpc_refusal {
    RPC_REFUSED_GARBAGE,   /* not this protocol, or broken within it */
    RPC_REFUSED_TOO_LARGE, /* a frame */
    RPC_REFUSED_VERSION,
    RPC_REFUSED_CLUSTER,
    RPC_REFUSED_KEY,      /* wrong, missing or not expected; a frame that does not open */
    RPC_REFUSED_IDENTITY, /* another node than expected, or this node itself */
    RPC_REFUSED_SLOW,     /* the handshake took too long */
    RPC_REFUSED_FULL,     /* too many connections, or requests of one */
    RPC_REFUSAL_COUNT
};

struct rpc_counts {
    uint64_t accepted, connected, opened; /* since the start */
    uint64_t sent_bytes, received_bytes, dropped_messages;
    uint64_t refused[RPC_REFUSAL_COUNT]; /* by this side */
    unsigned connections;                /* now */
};
void rpc_get_counts(const struct rpc *rpc, struct rpc_counts *ret_counts);
/* "wrong key", for logs and metrics. */
const char *rpc_refusal_name(enum rpc_refusal why);

#endif
