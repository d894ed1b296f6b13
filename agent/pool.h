/* The driver of one gossip pool: brings the pure core (gossip/gossip.h) together with the loop, a
 * UDP socket and streams, which are RPC connections of the pool's own kind on the same port.
 * Everything here is for the core's thread. */
#ifndef AGENT_POOL_H
#define AGENT_POOL_H

#include "base/log.h"
#include "gossip/gossip.h"
#include "net/addr.h"
#include "net/cidr.h"
#include "net/keyring.h"
#include "net/rpc.h"
#include "net/seal.h"
#include "net/udp.h"

struct pool;

struct pool_config {
    struct loop *loop;
    struct log *log;
    const char *module; /* of its log lines */
    bool wan;
    const char *datacenter;
    struct gossip_config gossip;
    struct gossip_info self; /* borrowed for pool_create */
    uint32_t boot_epoch;
    struct gossip_descriptors *descriptors;
    struct addr bind;
    const struct keyring *keyring; /* borrowed */
    bool verify_incoming, verify_outgoing;
    const struct cidr *allowed; /* who may speak to it; borrowed */
    unsigned allowed_count;     /* 0: all */
    uint64_t seed;
    /* What happened, in order. Must not call back into the pool but to look. */
    void (*changed)(void *context, const struct gossip_change *change);
    /* A user event, told once. Must not call back into the pool. */
    void (*heard_event)(void *context, const struct uuid *id, uint64_t ltime, const uint8_t *data,
                        size_t size);
    /* The boot epoch to be stored before the next start. */
    void (*store_epoch)(void *context, uint32_t boot_epoch);
    void *context;
};

/* NULL and a sentence: the address cannot be bound, or the gossip's configuration is wrong. */
struct pool *pool_create(const struct pool_config *config, struct err_text *text);
/* Joins that wait are answered ERR_CLOSED. NULL is allowed. */
void pool_destroy(struct pool *pool);

/* To look at. */
const struct gossip *pool_gossip(const struct pool *pool);
/* Its connections, for requests to members. */
struct rpc *pool_rpc(const struct pool *pool);

/* One attempt to join at an address. Owned by the caller until done ran. */
struct pool_join {
    struct pool_join *next; /* private */
    struct addr addr;       /* private from pool_join on */
    struct err_text failure;
    bool finished;
    void (*done)(struct pool_join *join, enum err err, const struct err_text *text);
};

/* done runs later, never from within. */
void pool_join(struct pool *pool, struct pool_join *join, const struct addr *to);
/* done does not run any more. One that is not under way is fine. */
void pool_join_cancel(struct pool *pool, struct pool_join *join);

/* done runs once others know, never from within. Once. */
void pool_leave(struct pool *pool, void (*done)(void *context), void *context);
/* As GOSSIP_EVENT_FORCE_LEAVE. */
enum err pool_force_leave(struct pool *pool, const struct uuid *id, bool prune);
/* As GOSSIP_EVENT_TOMBSTONE. */
void pool_tombstone(struct pool *pool, const struct uuid *id, struct gossip_incarnation incarnation,
                    bool prune);
/* As GOSSIP_EVENT_FIRE. */
enum err pool_fire(struct pool *pool, const struct uuid *id, const uint8_t *data, size_t size);
/* A sign that the member is gone: it is probed at once. */
void pool_hint(struct pool *pool, const struct uuid *id);
/* Own name, address or tags. */
enum err pool_update_self(struct pool *pool, const struct gossip_info *self);

struct gossip_address pool_address(const struct addr *addr);
struct addr pool_addr(const struct gossip_address *address);

struct pool_counts {
    struct gossip_status status;
    struct udp_counts udp;
    struct rpc_counts rpc;
    uint64_t refused[SEAL_REFUSAL_COUNT]; /* packets */
    uint64_t not_allowed;                 /* packets from other addresses than allowed */
};
void pool_get_counts(const struct pool *pool, struct pool_counts *ret_counts);

#endif
