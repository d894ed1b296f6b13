/* Whole groups on a virtual clock: real cores, codec and store; network, disk, clock and clients
 * are simulated. One seed, one run. The world outside, struct world, remembers what was promised;
 * the checkers (check_*.c) compare every step of every server with it. */
#ifndef SIM_GROUP_GROUP_H
#define SIM_GROUP_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rand.h"
#include "raft/raft.h"
#include "store/file.h"
#include "store/hard_state.h"
#include "store/identity.h"
#include "store/log.h"
#include "store/snapshot.h"
#include "tests/sim/disk.h"

#define DIRECTORY "/data/raft"
#define SEGMENT_BYTES (16 * 1024)
#define SERVERS_MAX 5
#define KEYS 6
#define INDEX_MAX 16384
#define OPS_MAX 16384
#define TERMS_MAX 4096
#define CLIENTS_MAX 8
#define WATCHERS 4
#define PIECE_BYTES 256
#define MS 1000ull /* the virtual clock counts microseconds */

struct world;
struct server;

/* ---- commands and the state machine (kv.c) ---- */

enum command_kind { COMMAND_PUT = 1, COMMAND_CAS, COMMAND_DELETE };

struct command {
    uint64_t op;
    uint64_t expect; /* COMMAND_CAS: the version */
    uint32_t key;
    uint32_t kind;
    uint64_t filling[8]; /* as much of it as the op's size says */
};

struct kv {
    uint64_t applied;
    uint64_t applied_term;
    uint64_t chain; /* a hash over everything applied */
    uint64_t version[KEYS];
    uint64_t value[KEYS]; /* the op that wrote it; 0: none */
};

/* What a command does; true: it changed its key. */
bool kv_apply(struct kv *kv, uint64_t index, const struct command *command);

/* ---- what the world remembers ---- */

/* An entry that some server has committed. */
struct fact {
    bool known;
    uint64_t term;
    uint64_t content; /* hash of kind and payload */
    uint64_t seen_in; /* the term of the server that first said so */
    /* Once applied somewhere: */
    bool applied;
    uint64_t chain;
    uint64_t op;
    uint32_t key;
    bool changed;
    uint64_t value, version; /* of the key, after it */
};

enum op_state { OP_NONE, OP_OPEN, OP_DONE, OP_UNKNOWN, OP_REFUSED };
enum op_kind { OP_WRITE, OP_READ, OP_CONSISTENT_READ, OP_STALE_READ };

struct op {
    enum op_state state;
    enum op_kind kind;
    struct command command;
    uint64_t floor; /* the key's version that somebody had seen before it began */
    uint64_t index; /* where it was applied; 0: nowhere yet */
    uint32_t client;
    uint32_t server;
};

struct client {
    uint64_t op; /* open one; 0: none */
    uint32_t target;
    uint64_t stale_seen[SERVERS_MAX];
    uint32_t stale_life[SERVERS_MAX];
};

/* A blocking query that is repeated with what it told last. */
struct watcher {
    uint32_t key;
    uint32_t server;
    uint32_t life;    /* of the server */
    uint64_t version; /* seen */
    uint64_t number;  /* of the query that is open; 0: none */
};

/* An entry as a server's driver has it. */
struct held {
    uint64_t term;
    uint8_t kind;
    uint32_t size;
    uint8_t *payload;
    uint64_t chain; /* over all before it, as far as known */
};

/* ---- a server ---- */

enum disk_op_kind {
    DISK_HARD_STATE,
    DISK_APPEND,
    DISK_TRUNCATE,
    DISK_RESET,
    DISK_COMPACT,
    DISK_SNAPSHOT,
    DISK_PIECE,
    DISK_INSTALL,
    DISK_CLEAR_NOTE,
};

struct disk_op {
    enum disk_op_kind kind;
    struct disk_op *next;
    uint64_t asked_at;
    struct raft_hard_state hard_state;
    struct raft_append append;
    struct store_entry *entries; /* with payloads of its own */
    uint64_t index, term, offset;
    struct kv kv;
    struct raft_configuration_at configuration;
};

struct waiting_read {
    uint64_t ticket, op, index; /* index 0: not confirmed */
};

struct watch {
    uint64_t number;
    uint32_t key, watcher;
    uint64_t version;
};

struct server {
    struct world *world;
    uint32_t at;
    char letter;
    struct raft_id id;
    struct disk *disk;
    bool up;
    bool learner; /* shall never be a voter */
    bool damaged; /* lost data that it has not got back */
    uint32_t life;
    uint64_t rate;     /* its clock runs at rate / 1000 */
    uint64_t clock_at; /* virtual time at the start of its life */

    struct raft *raft;
    struct raft_output output; /* state of the last step; pointers are void */
    struct store_identity *identity;
    struct store_hard_state *hard_state;
    struct store_log *log;
    struct kv kv;
    struct held *held; /* INDEX_MAX + 1 of them */
    uint64_t held_first, held_last;
    uint64_t ready_at; /* leader: reads need this applied */

    struct disk_op *queue, **queue_end;
    bool disk_busy, disk_failed;
    uint64_t hang_until;
    uint64_t piece_bytes;
    bool snapshotting;
    bool note_clearing;
    uint64_t snapshot_distance;
    uint8_t *received; /* pieces of a snapshot */
    size_t received_bytes;

    uint64_t proposals[INDEX_MAX + 1]; /* op whose entry this server appended as the leader */
    uint64_t waiting_ops[64];
    uint32_t waiting_count;
    bool flush_posted;
    struct waiting_read reads[128];
    uint32_t read_count;
    struct watch watches[WATCHERS * 4];
    uint32_t watch_count;
    uint64_t timer_at; /* virtual; of the timer that counts */

    /* For the checkers. */
    uint64_t durable; /* entries up to here have been synced in some life, with these terms: */
    uint64_t *durable_term;
    uint64_t durable_snapshot;
    uint64_t synced_to, mark_certain; /* what the mark on the disk says at least */
    uint64_t started_at_ms;           /* by its own clock */
    bool blank;                       /* at its start */
    uint64_t votes_term;
    struct raft_id votes_for;
    bool votes_any;
};

/* ---- events ---- */

enum event_kind {
    EVENT_MESSAGE,
    EVENT_TIMER,
    EVENT_DISK,
    EVENT_REPORT,
    EVENT_FLUSH,
    EVENT_RESTART,
    EVENT_UNREACHABLE,
    EVENT_REQUEST,  /* a client's op reaches its server */
    EVENT_RESPONSE, /* and its answer the client */
    EVENT_GIVE_UP,
    EVENT_CLIENT,
    EVENT_WATCH,
    EVENT_WATCH_REGISTER,
    EVENT_NEMESIS,
    EVENT_MEMBERS,
};

struct event {
    uint64_t at, number;
    enum event_kind kind;
    uint32_t server, life;
    uint64_t a, b, c;
    void *data; /* freed with the event */
    size_t size;
    struct raft_event report;
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

    struct fact facts[INDEX_MAX + 1];
    uint64_t committed;
    struct op ops[OPS_MAX];
    uint64_t op_count;
    struct client clients[CLIENTS_MAX];
    uint32_t client_count;
    struct watcher watchers[WATCHERS];
    uint64_t watch_numbers;
    uint64_t floor[KEYS];
    struct raft_id leaders[TERMS_MAX];
    bool term_led[TERMS_MAX];
    void *matching; /* check_log_matching.c */
    uint64_t tickets;

    /* For the summary. */
    uint64_t acked, reads, elections, crashes, installs, repairs, wipes, watch_wakes, messages;
    uint64_t changes, transfers, truncations, lease_reads;
};

void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool world_one_in(struct world *world, uint64_t n);
uint64_t world_between(struct world *world, uint64_t low, uint64_t high);
void world_trace(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* run.c */
struct event *world_post(struct world *world, uint64_t delay_us, enum event_kind kind,
                         const struct server *server);
bool world_run(struct world *world, uint64_t seed, bool trace);

/* server.c */
bool server_start(struct server *server);
void server_stop(struct server *server);
uint64_t server_now_ms(const struct server *server);
/* False: the core refused it. */
bool server_step(struct server *server, const struct raft_event *event);
void server_fail_disk(struct server *server);
void server_free_op(struct disk_op *op);
void server_flush(struct server *server);
/* entries first .. last in memory go. */
void server_drop_held(struct server *server, uint64_t first, uint64_t last);
void server_hold(struct server *server, const struct store_entry *entry);
void server_arm_timer(struct server *server);

/* storage.c */
bool storage_open(struct server *server, struct raft_event *ret_start,
                  struct store_log_found *found);
void storage_close(struct server *server);
void storage_queue(struct server *server, struct disk_op *op);
void storage_work(struct server *server);
/* A piece of the newest snapshot. False: it is another one. */
bool storage_read_piece(struct server *server, uint64_t index, uint64_t offset, uint8_t *out,
                        uint32_t *ret_bytes, bool *ret_done);

/* net.c */
void net_send(struct server *server, const struct raft_message *message);
void net_deliver(struct world *world, const struct event *event);

/* client.c */
void client_next(struct world *world, uint32_t client);
void client_request(struct world *world, const struct event *event);
void client_response(struct world *world, const struct event *event);
void client_give_up(struct world *world, const struct event *event);
void client_answer(struct server *server, uint64_t op, enum err err, uint64_t version,
                   uint64_t value);
void client_applied(struct server *server, uint64_t index, uint64_t op, bool changed);
void client_reads_confirmed(struct server *server, const struct raft_output *output);
void client_reads_applied(struct server *server);
/* The server leads no more, or is gone. */
void client_lost_leader(struct server *server);

/* watch.c */
void watch_next(struct world *world, uint32_t watcher);
void watch_register(struct world *world, const struct event *event);
void watch_wake(struct server *server);

/* nemesis.c */
void nemesis_strike(struct world *world, const struct event *event);
void nemesis_calm(struct world *world);
void nemesis_crash(struct server *server, bool power_lost);
void nemesis_restart(struct server *server);

/* members.c: what an operator or an autopilot does, so that the group gets whole again. */
void members_tend(struct world *world);
struct server *members_leader(struct world *world);

/* The checkers, a file each. */
void check_leader_elected(struct server *server);                     /* election safety */
void check_vote(struct server *server, const struct raft_message *m); /* one vote a term */
void check_entry_held(struct server *server, uint64_t index);         /* log matching */
void check_matching_clear(struct world *world);
void check_complete(struct server *server); /* leader completeness */
/* 4.1 and the fix of 2015; before output becomes the server's. */
void check_change(struct server *server, const struct raft_output *output,
                  const struct raft_event *event);
void check_persisted(struct server *server);
void check_committed(struct server *server, uint64_t before);
void check_applied(struct server *server, uint64_t index, uint64_t term, const struct held *held,
                   const struct command *command, bool changed); /* state-machine safety */
void check_restored(struct server *server);
void check_response(struct world *world, uint64_t op, enum err err, uint64_t version,
                    uint64_t value); /* linearizability */
void check_watch(struct world *world, uint32_t watcher, uint64_t number, uint64_t version,
                 uint64_t value);
void check_no_watch_lost(struct world *world);
void check_disk_progress(struct server *server); /* a leader whose disk hangs */
bool check_live(struct world *world, char *why, size_t size);
void check_equal(struct world *world);
uint64_t content_of(const struct held *held);

#endif
