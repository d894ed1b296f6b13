/* Whole groups on a virtual clock: the agent's own driver (agent/group*.c with its storage, its
 * threads and the leader's clocks), Raft core, store and catalog, object code and all. Loop,
 * network, threads and disk below them are simulated. One seed, one run, the same every time.
 *
 *   threads.c   the store's threads as coroutines that take turns at each disk call
 *   ../loop.c   net/loop.h: one loop a server, its turns events of the virtual clock
 *   rpc.c       net/rpc.h: connections that break, messages that get lost
 *   observe.c   what the driver asks core and store for, seen by the checkers
 *   model.c     what the commands mean, written once more, and what was true at which index
 *
 * The world outside, struct world, remembers what was promised; the checkers (check_*.c) compare
 * every step of every server with it. */
#ifndef SIM_GROUP_GROUP_H
#define SIM_GROUP_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/clocks.h"
#include "agent/group.h"
#include "base/rand.h"
#include "net/loop.h"
#include "raft/raft.h"
#include "store/log.h"
#include "tests/sim/disk.h"

#define DATA "/data"
#define DIRECTORY "/data/raft"
#define DATACENTER "dc1"
#define SERVERS_MAX 5
#define DATA_KEYS 5
#define LOCKS 2
#define KEYS (DATA_KEYS + LOCKS)
#define INDEX_MAX 16384
#define OPS_MAX 16384
#define TERMS_MAX 4096
#define CLIENTS_MAX 8
#define LOCKERS 3
#define SESSIONS_MAX 512
#define WATCHERS 4
#define MS 1000ull                  /* the virtual clock counts microseconds */
#define CLIENTS_STOP_US (3000 * MS) /* so long after the faults */

struct world;
struct server;

/* ---- the model ---- */

/* A key from one index on. */
struct version {
    uint64_t from; /* index */
    bool present;
    uint64_t modify, create;
    uint64_t op;      /* that wrote it: its flags */
    uint32_t session; /* that holds it; 0: nobody */
};

struct session {
    char id[40];
    uint64_t op;
    int64_t ttl_ms, delay_ms;
    bool deletes;
    uint64_t made_at, ended_at; /* indexes; 0: not yet */
    uint64_t alive_us;          /* made, or renewed with success: virtual time */
    bool alive_at_all;
};

struct model {
    uint64_t applied;
    bool node_is_there;            /* the one that sessions are on */
    struct version *history[KEYS]; /* rising */
    uint32_t history_count[KEYS], history_capacity[KEYS];
    struct session sessions[SESSIONS_MAX]; /* from 1 on */
    uint32_t session_count;
    struct {
        uint64_t index; /* of the end of a session; 0: none */
        int64_t ms;
        uint64_t since_us;
    } delay[KEYS];
    uint64_t fence[KEYS]; /* of the last grant */
};

/* ---- what the world remembers ---- */

/* An entry that some server has committed. */
struct fact {
    bool known;
    uint64_t term;
    uint64_t content; /* hash of kind and payload; 0: not seen yet */
    uint64_t seen_in; /* the term of the server that first said so */
    bool applied;
    uint64_t op;
    bool judged; /* the catalog's answer: */
    enum err answer;
    bool viewed; /* some server has published exactly this: */
    uint64_t row_hash;
};

enum op_state { OP_NONE, OP_OPEN, OP_DONE, OP_UNKNOWN, OP_REFUSED };
enum op_kind { OP_WRITE, OP_READ, OP_CONSISTENT_READ, OP_STALE_READ };

struct op {
    enum op_state state;
    enum op_kind kind;
    uint32_t key; /* of a read */
    uint8_t *bytes;
    size_t size;
    uint64_t floor; /* index that somebody had seen before it began */
    /* By the model, once it was applied: */
    uint64_t index; /* 0: nowhere yet */
    bool unchanged;
    bool refused;
    uint64_t fence; /* of a lock that was granted */
    uint32_t client;
    uint32_t server;
};

/* What a server answers. */
struct answer {
    enum err err;
    bool unchanged;
    uint64_t fence;
    uint64_t applied; /* of the view that a read was answered from */
    bool present;
    uint64_t modify, op;
    uint32_t session_size;
};

struct client {
    uint64_t op; /* open one; 0: none */
    uint32_t target;
    uint64_t stale_seen[SERVERS_MAX];
    uint32_t stale_life[SERVERS_MAX];
};

/* Makes a session, takes a lock with it, renews it, writes what the lock protects. */
struct locker {
    uint32_t number;  /* its client's */
    uint32_t session; /* index into the model's, 0: none made yet */
    uint32_t asked;   /* of the session that is being made */
    uint32_t key;
    uint64_t fence;    /* 0: does not hold the lock */
    uint64_t until_us; /* believes in it until then */
    bool renewing, unlocking;
    uint64_t renewed_us;
    uint64_t idle; /* lets the session run out */
};

/* A blocking query that is repeated with what it told last. */
struct watcher {
    struct waiter waiter;
    bool waiting;
    uint32_t number;
    uint32_t key; /* DATA_KEYS and above: all of those */
    uint32_t server;
    uint32_t life; /* of the server */
    bool known;
    uint64_t index; /* of the key, seen */
};

/* ---- a server ---- */

struct entry_seen {
    uint64_t term; /* 0: none */
    uint64_t content;
    uint64_t pushed_at;
};

struct server {
    struct world *world;
    uint32_t at;
    char letter;
    char name[2];
    struct addr addr;
    struct raft_id id;
    uint64_t disk_seed; /* its disk's id comes from it */
    struct disk *disk;
    bool up, dying;
    bool learner;       /* shall never be a voter */
    bool damaged;       /* lost data that it has not got back */
    bool leaving, left; /* gracefully */
    uint32_t life;
    uint64_t rate;     /* its clock runs at rate / 1000 */
    uint64_t clock_at; /* virtual time at the start of its life */
    uint64_t hang_until;
    bool stands_still; /* in its next turn, for a while */

    struct loop *loop;
    struct epoch *epoch;
    struct watches *watches;
    struct catalog *catalog;
    struct group *group;
    struct clocks *clocks;
    struct rpc *rpc;
    struct raft *raft;
    struct raft_output output; /* state of the last step; pointers are void */

    /* For the checkers. */
    struct entry_seen *log; /* INDEX_MAX + 1: what the driver has put into its log */
    uint64_t log_last;
    uint64_t *written_term, *durable_term; /* INDEX_MAX + 1 each */
    uint64_t durable_snapshot;
    uint64_t synced_to, mark_certain; /* what the mark on the disk says at least */
    uint64_t applied;                 /* by catalog_begin and catalog_skip */
    uint64_t view_seen;
    uint64_t reported_at;   /* when the disk's last report came */
    uint64_t started_at_ms; /* by its own clock */
    uint64_t known_dead_at; /* when others notice */
    bool blank;             /* at its start */
    bool leads;             /* as leader_changed has told */
    bool repairing;         /* its log: noted, and not yet given back */
    uint64_t votes_term;
    struct raft_id votes_for, votes_by;
    bool votes_any;
};

/* ---- events ---- */

enum event_kind {
    EVENT_TURN,   /* of a server's loop */
    EVENT_BODY,   /* the turn goes on, after its process stood still */
    EVENT_THREAD, /* one of its threads goes on */
    EVENT_NET,    /* something arrives: rpc.c */
    EVENT_CONNECT,
    EVENT_RESTART,
    EVENT_REQUEST,  /* a client's op reaches its server */
    EVENT_VIEW,     /* a read's HTTP thread takes its view */
    EVENT_RESPONSE, /* and its answer the client */
    EVENT_GIVE_UP,
    EVENT_CLIENT,
    EVENT_LOCKER,
    EVENT_RENEWED,
    EVENT_WATCH,
    EVENT_WATCH_REGISTER,
    EVENT_NEMESIS,
    EVENT_STOPPED,   /* a graceful end */
    EVENT_TOO_EARLY, /* a change is asked of a new leader */
    EVENT_MEMBERS,
};

struct event {
    uint64_t at, number;
    enum event_kind kind;
    uint32_t server, life;
    uint64_t a, b;
    struct answer answer;
    void *data; /* freed with the event */
    size_t size;
};

struct link {
    bool cut;
    uint32_t drop_per_1000, duplicate_per_1000;
    uint64_t delay_us, jitter_us;
};

struct world {
    uint64_t seed;
    struct rand rand;
    bool failed;
    char message[256];
    bool trace;
    uint64_t hash; /* of all that happened */

    uint64_t now; /* microseconds */
    struct event **heap;
    uint32_t heap_count, heap_capacity;
    uint64_t event_numbers;

    struct server servers[SERVERS_MAX];
    uint32_t server_count, voter_count; /* the first ones shall be voters */
    uint32_t damage_max;
    struct link links[SERVERS_MAX][SERVERS_MAX];
    bool calm; /* the end: no faults any more */
    uint64_t calm_at, acked_in_calm;
    uint64_t led_at; /* virtual time of the last change of leader */

    struct fact facts[INDEX_MAX + 1];
    uint64_t committed;
    struct model model;
    struct op ops[OPS_MAX];
    uint64_t op_count;
    uint64_t floor;   /* index that somebody outside has seen */
    uint64_t written; /* of the newest write that was acknowledged */
    struct client clients[CLIENTS_MAX + LOCKERS];
    uint32_t client_count;
    struct locker lockers[LOCKERS];
    uint64_t protected_fence[KEYS]; /* the highest that what a lock protects has seen */
    struct watcher watchers[WATCHERS];
    struct raft_id leaders[TERMS_MAX];
    bool term_led[TERMS_MAX];
    uint64_t term_led_last;
    void *matching; /* check_log_matching.c */

    /* For the summary. */
    uint64_t acked, reads, elections, crashes, installs, repairs, wipes, watch_wakes, messages;
    uint64_t changes, transfers, truncations, lease_reads, grants, expiries, leaves, forwards;
};

#include "tests/sim/world.h"

/* run.c */
bool world_run(struct world *world, uint64_t seed, bool trace);

/* server.c: the agent around its group, and its process: its disk is the one in use from
 * server_enter on. */
bool server_start(struct server *server);
/* Without a word to anybody: its process dies. */
void server_kill(struct server *server);
/* As at a signal. */
void server_stop(struct server *server);
void server_tell_pool(struct server *server);
uint64_t server_view_applied(const struct server *server);

/* rpc.c */
struct rpc *sim_rpc_create(struct server *server, const struct uuid *node);
void sim_rpc_destroy(struct rpc *rpc);
void sim_rpc_arrives(struct world *world, struct event *event);
void sim_rpc_connect(struct server *server, const struct event *event);
/* In a turn: what has arrived. */
void sim_rpc_run(struct rpc *rpc);
bool sim_rpc_waits(const struct rpc *rpc);

/* threads.c */
void sim_thread_step(struct server *server, const struct event *event);

/* model.c */
void model_apply(struct world *world, uint64_t index, const uint8_t *bytes, size_t size);
void model_clear(struct model *model);
/* The key as it was once that index was applied. */
const struct version *model_at(const struct model *model, uint32_t key, uint64_t index);
const char *model_key(uint32_t key);
uint32_t model_find_session(const struct model *model, const char *id);

/* client.c */
/* The end: some time into the calm, and something was written there. */
bool client_is_over(const struct world *world);
void client_next(struct world *world, uint32_t client);
void client_request(struct world *world, const struct event *event);
void client_view(struct server *server, const struct event *event);
void client_response(struct world *world, const struct event *event);
void client_give_up(struct world *world, const struct event *event);
/* Sends a write to the client's target; the op's number, 0: the run is too long. */
uint64_t client_write(struct world *world, uint32_t client, const struct catalog_command *command);
uint64_t client_number(const struct world *world);

/* locker.c */
void locker_next(struct world *world, uint32_t locker);
void locker_answered(struct world *world, uint32_t client, const struct answer *answer);
void locker_renewed(struct world *world, const struct event *event);

/* watch.c */
void watch_next(struct world *world, uint32_t watcher);
void watch_register(struct world *world, const struct event *event);
/* At the end of a turn. */
void watch_wake(struct server *server);
void watch_server_gone(struct server *server);

/* nemesis.c */
void nemesis_strike(struct world *world, const struct event *event);
void nemesis_calm(struct world *world);
/* Once calm: restarts who says that its disk has failed. */
void nemesis_operator(struct world *world);
void nemesis_crash(struct server *server, bool power_lost);
void nemesis_restart(struct server *server);
void nemesis_too_early(struct server *server);
void nemesis_stopped(struct server *server, bool left_group);

/* members.c: what the pool tells, and who has got back what was lost. */
void members_tend(struct world *world);
struct server *members_leader(struct world *world);

/* The checkers, a file each. */
void check_leader_elected(struct server *server);                     /* election safety */
void check_vote(struct server *server, const struct raft_message *m); /* one vote a term */
void check_identity(struct server *server, const struct raft_id *self);
void check_vote_kept(struct server *server, uint64_t term);
void check_entry_held(struct server *server, uint64_t index); /* log matching */
void check_matching_clear(struct world *world);
void check_complete(struct server *server); /* leader completeness */
/* 4.1 and the fix of 2015; before output becomes the server's. */
void check_change(struct server *server, const struct raft_output *output,
                  const struct raft_event *event);
void check_persisted(struct server *server);
void check_opened(struct server *server, const struct store_log_found *found, bool cut_rot);
void check_repair_kept(struct server *server, bool needs_repair);
void check_committed(struct server *server, uint64_t before);
void check_content(struct server *server, uint64_t index);
void check_applied(struct server *server, uint64_t index, uint64_t content); /* state machine */
void check_answered(struct server *server, uint64_t index, enum err err);
void check_view(struct server *server);
void check_restored(struct server *server);
void check_equal(struct world *world);
/* Linearizability: writes, cas, transactions and reads. */
void check_response(struct world *world, uint64_t op, const struct answer *answer);
void check_newest(struct server *server);
void check_watch(struct world *world, struct watcher *watcher, uint64_t index, uint64_t applied);
void check_index_kept(struct world *world, const struct watcher *watcher, uint64_t index);
void check_no_watch_lost(struct world *world);
void check_disk_progress(struct server *server); /* a leader whose disk hangs */
bool check_live(struct world *world, char *why, size_t size);
/* Locks: mutual exclusion by fencing index. */
void check_grant(struct world *world, uint32_t key, uint64_t fence);
void check_protected(struct world *world, const struct locker *locker);
/* Sessions and delays of locks by time. */
void check_session_renewed(struct server *server, const char *id);
void check_session_ended(struct world *world, const struct session *session);
void check_delay_ended(struct world *world, uint32_t key);
void check_no_session_late(struct server *server);
uint64_t content_of(uint8_t kind, const void *payload, size_t size);

#endif
