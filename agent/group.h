/* The driver of a datacenter's Raft group: brings the pure core together with disk, loop, catalog
 * and the other servers. Everything here is for the core's thread unless it says otherwise.
 *
 * A turn of the loop: proposals gather -> at its end one append for all of them -> the log thread
 * writes and syncs, beside it the peers -> commit -> apply in slices -> one publish -> proposals
 * answered.
 *
 * A server that does not lead passes commands on to the one that does, and answers reads from its
 * own view once that holds what the leader had committed when it was asked. While no leader is
 * known both wait, for LIMIT_LEADER_HOLD_MS: an election is shorter. */
#ifndef AGENT_GROUP_H
#define AGENT_GROUP_H

#include "base/err.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "catalog/catalog.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/rpc.h"
#include "raft/raft.h"

struct group;

struct group_config {
    struct loop *loop;
    struct log *log;
    struct epoch *epoch;
    struct catalog *catalog;
    const char *datacenter;
    const char *data_dir; /* NULL: everything in memory, as in -dev */
    struct uuid node;
    uint64_t random_seed;     /* of ids made here */
    bool bootstrap;           /* a blank server makes itself the first of a new group */
    uint32_t raft_multiplier; /* of heartbeat and election timeout; 0 = 1 */
    /* What autopilot goes by until it is set in the catalog (contract, operator): how long a new
     * server must have been healthy before it votes, once there are three voters; whether failed
     * ones are removed, and how many voters stay; which are healthy. */
    struct catalog_autopilot autopilot;
    const char *name;        /* of this server, and where others reach it */
    const struct addr *addr; /* NULL: not known */
    /* The catalog has a new published view. */
    void (*published)(void *context);
    /* This server's leadership, once its catalog is current, has begun or ended. */
    void (*leader_changed)(void *context, bool leader);
    /* A leader is known now, this server or another; or none is any more. */
    void (*leader_known)(void *context, bool known);
    /* This server is in a group now, and was in none before; see group_get_cluster. */
    void (*joined)(void *context);
    void *context;
    struct metrics *metrics; /* NULL: nothing is recorded */
};

/* Opens the disk, restores the newest snapshot and starts the core; what the log holds is applied
 * by the loop once it runs. NULL and one sentence that says what to do. */
struct group *group_create(const struct group_config *config, struct err_text *text);

/* Takes the RPC of the servers, which outlives the group: from now on others are heard. */
void group_attach(struct group *group, struct rpc *rpc);

/* False: no group yet. */
bool group_get_cluster(const struct group *group, struct uuid *ret_cluster);
bool group_has_cluster(const struct group *group);

/* Who this server is in the group: node and disk as its configuration on this disk has them. */
const struct raft_id *group_self(const struct group *group);

/* ---- writes ---- */

/* One command on its way through the log. Owned by the caller until done ran; the bytes are from
 * malloc and the group's from group_propose on, because the log thread may outlive the answer. */
struct group_proposal {
    struct group_proposal *next;
    uint8_t *data; /* NULL: the command did not fit into an entry; answered ERR_TOO_LARGE */
    size_t size;
    struct catalog_result *outcome; /* the caller's, filled by its apply; NULL: not wanted */
    enum err result;                /* of its apply, until the view that shows it is published */
    struct err_text *text;          /* NULL: nothing to say; the group's */
    struct metric *timing;          /* samples the time until the answer; NULL: nothing does */
    uint64_t proposed_at_ns;
    int64_t hold_until_ms; /* the group's: waits for a leader until then */
    bool repeatable;       /* applied twice is applied once: goes to the next leader, too */
    /* ERR_OK: applied. ERR_REFUSED: applied, and the catalog said no. ERR_NO_LEADER and
     * ERR_OVERLOADED, ERR_NO_SPACE, ERR_TOO_LARGE: surely not appended. ERR_IO, ERR_TIMEOUT,
     * ERR_CLOSED: outcome unknown. */
    void (*done)(struct group_proposal *proposal, enum err err, const struct err_text *text);
};

void group_propose(struct group *group, struct group_proposal *proposal);

/* ---- reads ---- */

/* Owned by the caller until done ran. */
struct group_read {
    struct group_read *next;
    uint64_t index; /* the group's */
    int64_t hold_until_ms;
    /* ERR_OK: a view taken from now on holds everything that was acknowledged before the call.
     * ERR_NO_LEADER, ERR_TIMEOUT, ERR_CLOSED. */
    void (*done)(struct group_read *read, enum err err);
};

/* consistent: by a round of the group, whatever the clocks; else by the leader's lease (Ongaro
 * 6.4). */
void group_read(struct group *group, struct group_read *read, bool consistent);

/* Any thread: this server's view is current by its lease, as seen from now; consistent: whatever
 * the clocks, which only a sole voter can say, while its view holds all that is committed. */
bool group_may_read(const struct group *group, bool consistent);
/* Any thread: whether a leader is known, and whether one ever was. */
bool group_has_leader(const struct group *group);
bool group_had_leader(const struct group *group);
/* Any thread: this server leads, and its catalog is current. */
bool group_leads(const struct group *group);
/* Any thread: milliseconds since the leader was last heard; 0 on the leader, -1: never. */
int64_t group_contact_ms(const struct group *group);

/* ---- other questions ---- */

/* Owned by the caller until done ran. */
struct group_request {
    /* ERR_CLOSED: the leader was lost, or another one is known by now. */
    void (*done)(struct group_request *request, enum err err, const struct err_text *text);
    /* private */
    struct rpc_request rpc;
    struct group *group;
    struct group_request *next, **link;
    struct raft_id leader;
};

/* False: no other server is known to lead, or it cannot be asked; done does not run. */
bool group_ask_leader(struct group *group, struct group_request *request, unsigned method,
                      const void *body, size_t size);

/* ---- servers ---- */

/* A server of this datacenter, as the pool knows it. */
enum group_server_state { GROUP_SERVER_ALIVE, GROUP_SERVER_FAILED, GROUP_SERVER_LEFT };

#define GROUP_SERVER_NAME_BYTES 256

struct group_server {
    struct raft_id id;
    char name[GROUP_SERVER_NAME_BYTES];
    struct addr addr; /* of its RPC */
    enum group_server_state state;
    bool learner; /* does not want to vote */
};

/* All that are known, without this one; copied. Connections follow; on the leader the group's
 * members do, too. */
void group_set_servers(struct group *group, const struct group_server *servers, uint32_t count);

/* A blank server becomes one of the first of a group that all of `servers` are told of alike.
 * ERR_EXISTS: it is in a group already. */
enum err group_bootstrap(struct group *group, const struct raft_configuration *configuration,
                         struct err_text *text);

/* What autopilot goes by now: the catalog's, or this server's own. */
struct catalog_autopilot group_get_autopilot(const struct group *group);
/* Membership by hand or by autopilot. done may be NULL: ERR_OK once the entry is in the leader's
 * log; else as RAFT_EVENT_CHANGE. */
enum err group_change(struct group *group, enum raft_change_kind kind, const struct raft_id *id,
                      struct err_text *text);
/* Hands leadership to a server, or to the one that is furthest along if id is NULL. */
enum err group_transfer(struct group *group, const struct raft_id *id, struct err_text *text);
/* Before a graceful end: this server hands its leadership over and has itself removed, if the rest
 * can go on without it. done runs once that is so, or cannot be. */
void group_leave(struct group *group, void (*done)(void *context), void *context);

/* To the server that leads; NULL: this one does, none is known, or it is not connected. */
struct rpc_connection *group_leader_connection(const struct group *group);

/* At the end of each turn. */
void group_turn_end(struct group *group);

struct group_status {
    uint64_t term, last_index, last_term, commit_index, applied_index, snapshot_index,
        snapshot_term;
    uint64_t configuration_index;
    int64_t contact_ms; /* since the leader was last heard; 0: leads; -1: never */
    enum raft_role role;
    bool leader; /* this server leads, and its catalog is current */
    bool leader_known;
    struct raft_id leader_id;
};

/* One server of the group's configuration. */
struct group_peer_status {
    struct raft_id id;
    char name[GROUP_SERVER_NAME_BYTES]; /* "": neither this server nor known to the pool */
    struct addr addr;                   /* of its RPC; of family 0 if not known */
    enum group_server_state state;
    bool known, self, leader, voter;
    uint64_t match; /* as the leader knows it, and its term; else 0 */
    uint64_t match_term;
    int64_t contact_at_ms; /* when it last answered the leader; 0: not known */
    int64_t stable_since_ms;
};

/* Brings what group_get_peers tells up to date. */
void group_refresh_peers(struct group *group);
/* Any thread: a recent state, for people. */
void group_get_status(const struct group *group, struct group_status *ret_status);
/* Any thread: the servers of the newest configuration; returns their number. */
uint32_t group_get_peers(const struct group *group,
                         struct group_peer_status ret_peers[LIMIT_RAFT_SERVERS]);

/* Answers what waits with ERR_CLOSED and stops the threads, within 2 s. False: the disk hangs,
 * threads still use the loop, the epoch and the catalog, and the process must end without taking
 * those down. NULL is allowed. */
bool group_destroy(struct group *group);

#endif
