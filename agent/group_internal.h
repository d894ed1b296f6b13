/* What the files of the group's driver share. */
#ifndef AGENT_GROUP_INTERNAL_H
#define AGENT_GROUP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/group.h"
#include "agent/storage.h"
#include "agent/log_tail.h"
#include "base/rand.h"
#include "raft/raft.h"

#define MODULE "agent.server.raft"

/* Series of contract 5.2; NULL ones record nothing. */
struct group_metrics {
    struct metric *apply, *commit_time, *commit_logs, *dispatch_log, *dispatch_logs;
    struct metric *fsm_apply, *take_snapshot, *diverged;
    struct metric *fsm_register, *fsm_deregister, *fsm_kvs, *fsm_session, *fsm_txn, *fsm_tombstone,
        *fsm_autopilot, *fsm_query, *fsm_coordinates;
    struct metric *leader, *candidate, *follower, *heartbeat_timeout;
    struct metric *last_contact, *verify_leader;
    struct metric *append, *heartbeat, *request_vote, *install_snapshot; /* that came */
};

struct vote_write {
    struct loop_task task;
    struct group *group;
    struct raft_hard_state state;
    enum err err;
    struct err_text text;
};

/* A message on its way to a peer. Messages of one peer leave in the order in which the core made
 * them, so one that needs the disk holds up those behind it. */
struct outgoing {
    struct outgoing *next;
    struct raft_message message;
    struct raft_configuration configuration; /* of a SNAPSHOT, which points here */
};

/* Another server of the datacenter, as the pool knows it. */
struct peer {
    struct group *group;
    struct group_server server;
    struct rpc_client *client;
    struct outgoing *outgoing, **outgoing_last;
    uint32_t outgoing_count;
    struct feed *feed;      /* one is being read for, before all that wait; NULL: none */
    int64_t alive_since_ms; /* 0: is not */
    bool gone;              /* the pool knows it no longer: freed once its feed is back */
};

/* Snapshot pieces that arrive, and the last step of an install. */
struct install {
    struct storage_job job;
    struct group *group;
    bool busy;                            /* the job is under way */
    struct store_snapshot_writer *writer; /* the job's while it is busy; NULL: no file is open */
    struct store_snapshot_info info;
    uint64_t offset; /* behind what was written */
    uint8_t *piece;
    uint32_t piece_bytes;
    bool begins;                 /* a new file */
    struct catalog_image *image; /* what the whole file holds */
    enum err err;
    struct err_text text;
    uint64_t bytes; /* of the file */
};

/* The note that the log has lost entries is taken away. */
struct repair {
    struct storage_job job;
    struct group *group;
    bool busy;
    enum err err;
    struct err_text text;
};

struct group {
    struct group_config config;
    struct group_metrics metrics;
    struct raft *raft;
    struct rpc *rpc;         /* NULL: not attached yet */
    struct storage *storage; /* NULL: in memory */
    struct raft_id self;
    struct rand rand;

    struct group_proposal *waiting, **waiting_last; /* not yet appended */
    size_t waiting_count;
    struct log_tail tail;
    struct group_proposal *applied_list, **applied_last; /* to answer: see queue_answer */
    unsigned appends_under_way;
    bool retrying, full_told;

    uint64_t applied, apply_to;
    uint64_t slice_end; /* catalog_touched() at which the slice is full */
    bool entry_begun;   /* the next entry is half applied */
    bool apply_posted, leader_ready, disk_failed, applying_failed, closing;
    enum raft_role role;
    uint64_t lease_until_ms, commit; /* as in raft_output */
    uint64_t lead_from;              /* applied, this leader's catalog is current */
    bool leader_known;
    struct raft_id leader, logged_leader;
    bool sweep_posted;
    struct loop_task apply_task, sweep_task;
    struct loop_timer raft_timer, retry_timer;

    bool snapshot_writing; /* one of this server's own */
    unsigned compactions;  /* of the log, under way: before they end its bytes ask for a snapshot */
    int snapshot_pin;
    const struct catalog_view *snapshot_view;
    struct store_snapshot_info snapshot_info;
    uint64_t snapshot_begun_at_ns;
    uint64_t snapshot_bytes;      /* of the last one */
    int64_t snapshot_retry_at_ms; /* after a failed one */
    struct loop_task snapshot_task;
    enum err snapshot_err;
    struct err_text snapshot_text;

    /* Peers: group_peers.c, group_feed.c, group_install.c. */
    struct peer **peers;
    uint32_t peer_count;
    const struct raft_decoded *received; /* the message that is being stepped */
    struct install install;
    struct repair repair;
    uint64_t messages_dropped;

    /* Requests to the leader: group_forward.c. */
    struct group_proposal *held, **held_last; /* wait for a leader */
    size_t held_count;
    struct forward *forwards;    /* with the leader */
    struct group_request *asked; /* other questions, with the leader */
    size_t forward_count;
    struct group_read *reads[2], **reads_last[2]; /* of this turn: default, consistent */
    struct read_round *rounds;                    /* asked for, by ticket */
    struct group_read *reads_applying;            /* have an index, wait until it is applied */
    uint64_t next_ticket;
    struct loop_timer hold_timer;
    bool holding;        /* the timer is started */
    bool leader_refused; /* until the timer's next tick */
    bool leader_moved;   /* another leads than did, or none; until the end of the turn */

    struct check *check;  /* group_check.c */
    struct heal *heal;    /* group_heal.c */
    bool fenced;          /* the rows have diverged: see group_check.c */
    bool snapshot_wanted; /* whatever the log's size */

    struct loop_timer members_timer;                      /* group_members.c */
    struct group_peer_status members[LIMIT_RAFT_SERVERS]; /* under status_mutex */
    uint32_t member_count;
    int64_t leave_until_ms; /* 0: stays */
    void (*left)(void *context);
    void *left_context;

    _Atomic bool has_leader, had_leader, leads;
    _Atomic bool view_is_newest;   /* sole voter, and no other server can show more */
    _Atomic int64_t lease_at_ms;   /* reads of this server's view are current until then */
    int64_t led_until_ms;          /* this server, as far as is sure; 0: never */
    _Atomic int64_t contact_at_ms; /* when the leader was last heard; INT64_MAX: leads */
    pthread_mutex_t status_mutex;  /* a struct of numbers for people, copied whole */
    struct group_status status;
};

/* ---- group_metrics.c ---- */

void group_metrics_init(struct group_metrics *to, struct metrics *metrics);
void group_metrics_role(const struct group_metrics *metrics, enum raft_role role);
/* A command was applied, but for what of it is left to later turns. */
void group_metrics_command(const struct group_metrics *metrics, enum catalog_command_kind kind,
                           double ms);
/* A message of a peer was followed. */
void group_metrics_message(const struct group_metrics *metrics, const struct raft_message *message,
                           uint64_t begun_at_ns);

/* ---- group.c ---- */

/* On an error nothing has happened; see raft.h. */
enum err group_step(struct group *group, const struct raft_event *event);
/* Does what an output asks for. proposals: of the commands that it appends. */
void group_follow(struct group *group, const struct raft_output *output,
                  struct group_proposal *proposals);
/* A server without a group joins one: from now on it writes. */
enum err group_join_cluster(struct group *group, const struct uuid *cluster, struct err_text *text);
/* This server leaves the quorum; what waits is answered ERR_IO. */
void group_fail_disk(struct group *group, const char *message);
void group_judge_leadership(struct group *group);
/* A peer, or a majority, that has not been heard for so long is not there: 6.2. */
int64_t group_silence_ms(const struct group *group);
void group_refresh_status(struct group *group);

/* ---- group_append.c: proposals and what the log thread writes ---- */

/* Answers go out after a publish or at the end of the turn, never from within a call. */
void group_queue_answer(struct group *group, struct group_proposal *proposal, enum err err,
                        const struct err_text *text);
void group_answer_list(struct group *group, struct group_proposal *list, enum err err,
                       const struct err_text *text);
void group_answer_applied(struct group *group);
void group_clear_waiting(struct group *group, enum err err, const struct err_text *text);
/* What is in the log and not applied: nobody can say what becomes of it. */
void group_answer_appended(struct group *group, enum err err, const struct err_text *text);
/* Entries of the output, the core's own or those of group->received. */
void group_append(struct group *group, const struct raft_append *append,
                  struct group_proposal *proposals);
void group_cut(struct group *group, const struct raft_output *output);
void group_retry_refused(struct loop_timer *timer);
/* Proposes what waits. */
void group_propose_waiting(struct group *group);
void group_trim(struct group *group);

/* ---- group_apply.c ---- */

/* Applies up to group->apply_to, in slices over the next turns. */
void group_post_apply(struct group *group);

/* Entries up to the index count as applied, because what took the catalog's place holds them. */
void group_skip_to(struct group *group, uint64_t index);

/* ---- group_check.c: whether all have the same rows ---- */

void group_check_init(struct group *group);
void group_check_serve(struct group *group);
/* An entry is applied. */
void group_check_applied(struct group *group, uint64_t index);
/* The catalog's place was taken by another server's: what was summed up before does not count. */
void group_check_reset(struct group *group);
void group_check_clear(struct group *group);

/* ---- group_heal.c: the rows of one that has diverged are replaced ---- */

void group_heal_init(struct group *group);
void group_heal_serve(struct group *group);
/* Until it is done, or another snapshot was installed. */
void group_heal_start(struct group *group);
/* More entries may be applied. */
void group_heal_look(struct group *group);
/* The core's own snapshot has taken the catalog's place. */
void group_heal_installed(struct group *group);
/* Before the threads end. */
void group_heal_stop(struct group *group);
void group_heal_clear(struct group *group);

/* ---- group_snapshot.c ---- */

/* Takes one when the log has outgrown it or the disk is full. */
void group_maybe_snapshot(struct group *group);
/* The log may lose entries up to index. After a snapshot of its own, or one that came. */
void group_compact(struct group *group, uint64_t index);

/* ---- group_peers.c: connections and messages ---- */

/* Takes the other servers' messages and requests. */
void group_peers_serve(struct group *group);
void group_send(struct group *group, const struct raft_output *output);
/* Greets all anew: what the greeting tells has changed. */
void group_peers_reconnect(struct group *group);
/* Whether this identity of a connection is a server of this datacenter. */
bool group_is_ours(const struct group *group, const struct rpc_identity *identity);
struct peer *group_find_peer(const struct group *group, const struct raft_id *id);
/* NULL: unknown, or not connected. */
struct rpc_connection *group_connection(const struct group *group, const struct raft_id *id);
void group_peers_clear(struct group *group);
/* Sends what waits for the peer, up to what needs the disk. */
void group_pump(struct peer *peer);

/* ---- group_feed.c: entries and snapshot pieces that must be read for a peer ---- */

/* Reads what the message needs and sends it; takes it. */
void group_feed(struct peer *peer, struct outgoing *outgoing);

/* ---- group_install.c ---- */

void group_install_piece(struct group *group);
void group_install(struct group *group, const struct raft_output *output);
void group_install_clear(struct group *group);

/* ---- group_forward.c: writes and reads of a server that does not lead ---- */

void group_forward_init(struct group *group);
/* Takes those of other servers. */
void group_forward_serve(struct group *group);
/* Back to wait for a leader, for as long as it may. */
void group_hold(struct group *group, struct group_proposal *proposal);
/* Passes on what waits, if a leader is known. */
void group_forward_turn_end(struct group *group);
/* Answers of the core; see raft_output. */
void group_take_reads(struct group *group, const struct raft_output *output);
/* Entries were applied and published. */
void group_reads_applied(struct group *group);
void group_forward_clear(struct group *group, const struct err_text *text);

/* While the rows have diverged no read is answered: those that have waited long enough end. */
void group_expire_reads(struct group *group);

/* ---- group_wire.c ---- */

#define GROUP_READ_BYTES_MAX 32
size_t group_wire_pack_read(bool consistent, uint64_t index, uint8_t out[GROUP_READ_BYTES_MAX]);
bool group_wire_unpack_read(const uint8_t *data, size_t size, bool *ret_consistent,
                            uint64_t *ret_index);

/* The sum over all rows after the entry at index. */
struct group_sample {
    uint64_t index, hash;
};

struct group_wire_check {
    uint32_t level;
    bool diverged;
    struct group_sample sample;
};
#define GROUP_SAMPLES_TOLD 9
struct group_wire_samples {
    uint32_t level, count;
    struct group_sample v[GROUP_SAMPLES_TOLD]; /* rising */
};
struct group_wire_image {
    uint64_t least, index, offset;
};
struct group_wire_piece {
    uint64_t index;
    bool done;
    const uint8_t *data; /* borrowed from the message */
    size_t size;
};
void group_wire_pack_check(const struct group_wire_check *check, struct buf *out);
bool group_wire_unpack_check(const uint8_t *data, size_t size, struct group_wire_check *ret);
void group_wire_pack_samples(const struct group_wire_samples *samples, struct buf *out);
bool group_wire_unpack_samples(const uint8_t *data, size_t size, struct group_wire_samples *ret);
void group_wire_pack_image(const struct group_wire_image *image, struct buf *out);
bool group_wire_unpack_image(const uint8_t *data, size_t size, struct group_wire_image *ret);
void group_wire_pack_piece(const struct group_wire_piece *piece, struct buf *out);
/* take gets the piece; false: not one, it was not called. */
bool group_wire_unpack_piece(const uint8_t *data, size_t size,
                             void (*take)(void *context, const struct group_wire_piece *piece),
                             void *context);

/* ---- group_members.c: who belongs to the group ---- */

void group_members_note(struct group *group);
void group_members_clear(struct group *group);

#endif
