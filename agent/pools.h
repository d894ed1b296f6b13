/* The pools of this agent: the LAN pool of its datacenter, and on servers the WAN pool of all
 * datacenters' servers. Everything here is for the core's thread.
 *
 * On disk, in <data_dir>/serf: boot-epoch; local.keyring and remote.keyring, JSON lists of keys
 * with the primary one first; local.snapshot and remote.snapshot, the members that a start joins.
 */
#ifndef AGENT_POOLS_H
#define AGENT_POOLS_H

#include "agent/pool.h"
#include "catalog/backend.h"

struct agent;
struct pools;

/* Of the LAN pool, also for RPC between its servers; borrowed while the pools live. */
const struct keyring *pools_keyring(const struct agent *agent);
/* Of the WAN pool, also for RPC between datacenters; NULL: there is none. */
const struct keyring *pools_far_keyring(const struct agent *agent);
/* Listens and takes part, alone at first. False and a sentence on failure. */
bool pools_create(struct agent *agent, struct err_text *text);
/* Begins to join: what the configuration names, and who was known before. */
void pools_start(struct agent *agent);
/* At the end of each turn: publishes what has changed. */
void pools_turn_end(struct agent *agent);
/* done runs once the others know, never from within. */
void pools_leave(struct agent *agent, void (*done)(struct agent *agent));
/* Nobody who asked for something waits any longer. */
void pools_end_calls(struct agent *agent);
/* False: the disk hangs, see saver_destroy. */
bool pools_destroy(struct agent *agent);

/* BACKEND_JOIN, BACKEND_FORCE_LEAVE, BACKEND_KEYRING: done runs once, with call's result set. */
void pools_run_call(struct agent *agent, struct backend_call *call, void (*done)(void *context),
                    void *context);

/* Any thread: as of a second ago. */
void pools_get_stats(struct pools *pools, bool wan, struct backend_pool_stats *ret_stats);

/* The same: see struct backend. */
bool pools_find_coordinate(struct pools *pools, bool wan, const char *member,
                           struct coordinate *ret_coordinate);

/* ---- servers ---- */

enum pools_server_state { POOLS_SERVER_ALIVE, POOLS_SERVER_FAILED, POOLS_SERVER_LEFT };

/* A server, as its tags tell. */
struct pools_server {
    struct uuid node, disk; /* together the Raft id */
    const char *name;
    struct addr addr; /* of its RPC */
    enum pools_server_state state;
    const char *datacenter;
    double distance_ms;  /* of a round trip; below 0: not known */
    uint32_t expect;     /* bootstrap_expect; 0 = none */
    bool bootstrap;      /* begins a group alone */
    bool has_group;      /* is in one, */
    struct uuid cluster; /* this one */
};

/* changed runs at the end of a turn in which the set has changed, and now and then for the
 * distances, with all servers but this one; borrowed for the call. NULL: nobody. */
void pools_watch_servers(struct agent *agent,
                         void (*changed)(void *context, const struct pools_server *servers,
                                         uint32_t count),
                         void *context);
/* The same of all servers of the WAN pool. */
void pools_watch_far_servers(struct agent *agent,
                             void (*changed)(void *context, const struct pools_server *servers,
                                             uint32_t count),
                             void *context);
/* A sign that a member of the LAN pool, or the WAN pool, is gone: it is probed at once. */
void pools_hint(struct agent *agent, bool wan, const struct uuid *node);
/* Whether the servers, which are all but this one, and this one, which expects `expect`, may begin
 * a group now: so many are alive, each expects the same, and none is in a group. One that expects
 * something else, or begins alone, is named in text. */
bool pools_may_bootstrap(const struct pools_server *servers, uint32_t count, uint32_t expect,
                         struct err_text *text);
/* This server is in a group: told to all by a tag. */
void pools_set_cluster(struct agent *agent, const struct uuid *cluster);

#endif
