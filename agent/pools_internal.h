/* What the files of the pools share. */
#ifndef AGENT_POOLS_INTERNAL_H
#define AGENT_POOLS_INTERNAL_H

#include <pthread.h>

#include "agent/internal.h"
#include "agent/pools.h"
#include "agent/save.h"
#include "base/limits.h"
#include "net/resolve.h"

#define POOL_PATH_BYTES 4200

struct join; /* an attempt at a list of targets */

/* One of the two. */
struct member_pool {
    struct agent *agent;
    bool wan;
    struct pool *pool; /* NULL: there is none */
    struct keyring *ring;
    const char *module;
    struct cidr *allowed;
    bool changed;         /* publish */
    bool servers_changed; /* tell */
    bool keeps_distances; /* to servers */
    bool snapshot_due;
    int64_t snapshot_next_ms; /* not before */
    int64_t published_at_ms;
    uint64_t version; /* of what is published */
    struct loop_timer publish_timer, snapshot_timer;
    /* retry_join */
    struct loop_timer retry_timer;
    int64_t tries;
    struct join *retry, *rejoin;
    struct str_list known; /* addresses of the snapshot; in the agent's arena */
    struct metric *joins, *leaves, *fails, *flaps;
    struct pool_metrics *metrics;
};

struct pools {
    struct member_pool lan, wan;
    struct gossip_descriptors *descriptors;
    struct resolver *resolver;
    struct saver *saver; /* NULL: nothing is kept */
    uint32_t boot_epoch;
    bool closing;
    struct loop_timer flood_timer; /* servers of the datacenter into the WAN pool */
    struct join *flood, *joins;    /* joins: all that are under way */
    void (*servers_changed)(void *context, const struct pools_server *servers, uint32_t count);
    void *servers_context;
    void (*far_servers_changed)(void *context, const struct pools_server *servers, uint32_t count);
    void *far_servers_context;
    struct uuid cluster;
    bool has_cluster, leaving;
    unsigned leaves_waited; /* pools that still tell it */
    void (*left)(struct agent *agent);
    pthread_mutex_t mutex; /* of the numbers below, which any thread reads */
    struct pool_counts lan_counts, wan_counts;
    struct coordinate lan_coordinate, wan_coordinate;
    struct located *located; /* members of the WAN pool, this one among them */
    uint32_t located_count;
    struct loop_timer counts_timer;
    uint32_t counted;
};

/* ---- pools.c ---- */

void pools_path(const struct agent *agent, const char *name, char path[POOL_PATH_BYTES]);
/* NULL: this agent is not in the WAN pool, and the call says so; sentence is a client's. */
struct member_pool *pools_pool_of(struct agent *agent, struct backend_call *call, bool wan,
                                  const char *sentence);
/* In any letter case; in the WAN pool without its datacenter too. */
bool pools_has_name(const struct agent *agent, const struct member_pool *pool,
                    const struct gossip_member *member, const char *name);

/* ---- pool_state.c: what is kept from one start to the next ---- */

/* Decides on this start's boot epoch and stores it. */
enum err pool_state_begin(struct agent *agent, struct err_text *text);
void pool_state_store_epoch(struct agent *agent, uint32_t boot_epoch);
/* The members known before, if this start is to join them. */
void pool_state_load(struct member_pool *pool);
/* Some time later. */
void pool_state_note(struct member_pool *pool);
/* left: a start does not join unless rejoin_after_leave. */
void pool_state_save(struct member_pool *pool, bool left);

/* ---- pool_members.c: what people and the catalog see ---- */

/* Own tags, in the arena. */
struct str_map pool_members_tags(const struct agent *agent, struct arena *arena);
void pool_members_publish(struct member_pool *pool);
void pool_members_tell_servers(struct agent *agent);
void pool_members_refresh_counts(struct agent *agent);

/* A member that has told where it is. */
struct located {
    char name[LIMIT_GOSSIP_NAME_BYTES + 1];
    struct coordinate at;
};

/* ---- pool_metrics.c ---- */

struct pool_metrics *pool_metrics_create(struct metrics *metrics, bool wan);
void pool_metrics_destroy(struct pool_metrics *metrics); /* NULL is allowed */
void pool_metrics_update(struct pool_metrics *metrics, const struct pool_counts *counts);

/* ---- pool_join.c ---- */

/* Resolves the targets, and joins at all their addresses at once. Targets are copied. done runs
 * later, once; contacted > 0: it is joined; else text says why not. */
struct join *join_start(struct member_pool *pool, const char *const *targets, uint32_t count,
                        void (*done)(void *context, unsigned contacted, const char *text),
                        void *context);
/* All are told that it is over. */
void join_end_all(struct pools *pools);
/* done does not run any more. NULL is allowed. */
void join_cancel(struct join *join);
void join_retry_start(struct member_pool *pool);
void join_retry_stop(struct member_pool *pool);

/* ---- pool_keys.c ---- */

/* The ring of a pool from its file, else from the configuration. */
enum err pool_keys_load(struct member_pool *pool, struct err_text *text);
/* Answers members' questions about their keys. */
void pool_keys_serve(struct member_pool *pool);
void pool_keys_run(struct agent *agent, struct backend_call *call, void (*done)(void *context),
                   void *context);

#endif
