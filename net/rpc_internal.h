/* What the files of net/rpc_*.c share. */
#ifndef NET_RPC_INTERNAL_H
#define NET_RPC_INTERNAL_H

#include "base/buf.h"
#include "net/rpc.h"
#include "net/rpc_wire.h"
#include "net/tcp.h"

#define RPC_MAGIC_BYTES 8
#define RPC_BUCKETS 64

/* What is awaited next. */
enum rpc_state { RPC_WAIT_MAGIC, RPC_WAIT_HELLO, RPC_WAIT_WELCOME, RPC_WAIT_PROOF, RPC_OPEN };

/* Lives until the connection is open. */
struct rpc_handshake {
    struct buf transcript;                /* RpcHello, RpcWelcome: their payloads */
    uint8_t nonces[2 * WIRE_NONCE_BYTES]; /* the caller's, the callee's */
    struct keyring_key key;               /* size 0: none */
    struct uuid expected;
    bool has_expected;
};

/* Frames of one direction. */
struct rpc_direction {
    uint8_t key[KEYRING_KEY_BYTES_MAX];
    uint64_t count; /* frames sealed or opened so far */
};

struct rpc_connection {
    struct rpc *rpc;
    uint64_t serial;
    struct rpc_connection *chain;         /* of its bucket */
    struct rpc_connection *newer, *older; /* of all */
    struct tcp *tcp;                      /* NULL: closed */
    struct addr addr;
    bool caller;    /* this side connected */
    bool far;       /* the peer is, or says that it is, of another datacenter */
    bool told;      /* closed was told, or is not to be told */
    bool blocked;   /* somebody was refused for the full queue */
    bool finishing; /* closes once its queue is empty */
    bool resting;   /* reading rests: the peer does not take its answers */
    unsigned busy;  /* calls of ours on the stack; freed when none is left */
    enum rpc_state state;
    struct rpc_handshake *handshake;
    struct buf in; /* the part of a frame that has arrived */
    struct loop_timer timer;
    const struct rpc_events *events;
    void *context;
    struct rpc_identity peer;
    size_t key_size; /* 0: frames are plain */
    struct rpc_direction out_direction, in_direction;
    struct rpc_request *requests, **requests_last; /* of this side */
    unsigned request_count, asked_count;           /* asked: by the peer, not yet answered */
    uint64_t last_id;
};

struct rpc_served {
    const struct rpc_service *service;
    void *context;
};

struct rpc {
    struct rpc_config config;
    struct addr from;
    struct tcp_listener *listener;
    struct crypto_gcm *gcm;
    struct rpc_connection *buckets[RPC_BUCKETS]; /* by serial */
    struct rpc_connection *newest;
    struct rpc_client *clients;
    uint64_t last_serial;
    unsigned accepted_now;
    struct rpc_served methods[RPC_METHODS];
    struct rpc_counts counts;
    int64_t log_allowance, log_filled_at_ms; /* lines about refusals: a bucket that fills slowly */
};

/* ---- rpc.c ---- */

void rpc_log_refusal(struct rpc *rpc, const char *what, const struct addr *addr,
                     const struct err_text *text);
/* A frame of an open connection. False: malformed. */
bool rpc_take_frame(struct rpc_connection *connection, const uint8_t *payload, size_t size);
/* Answers all requests of this side. */
void rpc_fail_requests(struct rpc_connection *connection, enum err err,
                       const struct err_text *text);

/* ---- rpc_connection.c ---- */

struct rpc_connection *rpc_connection_create(struct rpc *rpc, const struct addr *addr, bool caller,
                                             const struct rpc_events *events, void *context);
void rpc_connection_start(struct rpc_connection *connection, struct tcp *tcp);
extern const struct tcp_events rpc_tcp_events;
/* Ends it and tells its user. */
void rpc_connection_end(struct rpc_connection *connection, enum err err,
                        const struct err_text *text);
/* This side refuses: told to the peer if it listens, logged, counted, ended. */
void rpc_connection_refuse(struct rpc_connection *connection, enum rpc_refusal why,
                           const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Takes block: length, payload bytes, room for a tag. */
void rpc_connection_write(struct rpc_connection *connection, uint8_t *block, size_t payload);
enum err rpc_refusal_err(enum rpc_refusal why);

/* ---- rpc_handshake.c ---- */

void rpc_handshake_begin(struct rpc_connection *connection, const struct uuid *expected);
void rpc_handshake_free(struct rpc_connection *connection);
/* The caller's first words, once connected. */
void rpc_handshake_greet(struct rpc_connection *connection);
void rpc_handshake_take_magic(struct rpc_connection *connection, const uint8_t *bytes);
void rpc_handshake_take(struct rpc_connection *connection, const uint8_t *payload, size_t size);
/* The frame in which this side would refuse now; NULL: the peer does not listen. */
uint8_t *rpc_handshake_refusal(struct rpc_connection *connection, enum rpc_refusal why,
                               const struct err_text *text, size_t *ret_payload);

#endif
