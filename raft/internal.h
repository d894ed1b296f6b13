/* The state of one server and what the files of this folder offer each other. */
#ifndef RAFT_INTERNAL_H
#define RAFT_INTERNAL_H

#include "base/rand.h"
#include "raft/raft.h"

/* Index and term of the entries, as runs of one term. */
struct raft_log {
    struct raft_run *runs; /* first rises, term rises; covers first .. last without a hole */
    uint32_t run_count;    /* 0 if and only if the log is empty */
    uint32_t run_capacity;
    uint64_t first;          /* <= last + 1 */
    uint64_t last;           /* >= snapshot_index */
    uint64_t snapshot_index; /* >= first - 1 */
    uint64_t snapshot_term;
};

void raft_log_clear(struct raft_log *log);
/* False: the pieces do not fit; the log is then empty. *ret_reset: the entries were of another
 * branch than the snapshot, or end before it, and are dropped. */
bool raft_log_load(struct raft_log *log, const struct raft_event *start, bool *ret_reset);
/* Entries last + 1 .. last + count, of a term not below the last one. */
void raft_log_append(struct raft_log *log, uint64_t term, uint32_t count);
/* Drops entries from index on; index is above the snapshot. */
void raft_log_truncate(struct raft_log *log, uint64_t index);
/* Empty behind a snapshot. */
void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term);
/* 0: not held. */
uint64_t raft_log_term(const struct raft_log *log, uint64_t index);
/* Can entries behind index be sent: is its term known? That of 0, before the first entry, is. */
bool raft_log_knows(const struct raft_log *log, uint64_t index);
/* The last index at or before `index` whose term is not above `term`; first - 1 if there is none.
 */
uint64_t raft_log_find(const struct raft_log *log, uint64_t index, uint64_t term);
/* The last index of the run that holds index. */
uint64_t raft_log_run_end(const struct raft_log *log, uint64_t index);
/* A snapshot of index was taken; entries up to `to` (<= index) are forgotten. */
void raft_log_compact(struct raft_log *log, uint64_t index, uint64_t term, uint64_t to);

/* sizes.c */
void raft_sizes_copy(struct raft_sizes *to, const struct raft_sizes *from);
void raft_sizes_truncate(struct raft_sizes *sizes, uint64_t index);
void raft_sizes_compact(struct raft_sizes *sizes, uint64_t index);
/* Payload bytes of after + 1 .. to, roughly. */
uint64_t raft_sizes_between(const struct raft_sizes *sizes, uint64_t after, uint64_t to);
/* The highest index up to `max` so that after + 1 .. index are at most so many bytes. */
uint64_t raft_sizes_reach(const struct raft_sizes *sizes, uint64_t after, uint64_t max,
                          uint64_t bytes);

/* A server of the newest configuration: peers[i] is servers[i]. */
struct raft_peer {
    bool granted; /* the vote, or pre-vote, of hard_state.term */
    /* The leader's view. */
    uint64_t match; /* surely on its disk; own: persisted */
    uint64_t next;  /* > match: the entry to be sent next */
    uint64_t from;  /* <= next: where the present pipeline began */
    bool probing;   /* silent: only heartbeats until it answers */
    bool stepping;  /* it refused: no entries until it is known where its log ends */
    bool step_sent;
    uint64_t commit_sent;
    uint64_t round; /* the highest it answered */
    uint64_t round_sent_at_ms;
    uint64_t contact_at_ms; /* of its last answer; at first the start of the term */
    bool answered;
    /* A repair of its log (see raft.h). */
    uint64_t repair_to; /* 0: none */
    uint64_t repair_life;
    uint64_t repair_round; /* answers to rounds up to this one may be of before */
    /* A snapshot on its way to it. */
    struct raft_configuration_at *snapshot; /* NULL: none; owned */
    uint64_t snapshot_index;
    uint64_t snapshot_term;
    uint64_t snapshot_offset;     /* of the piece that it is to get next */
    uint64_t snapshot_sent_at_ms; /* 0: the piece is to be sent */
};

struct raft_waiting_read {
    uint64_t ticket;
    uint64_t index;
    uint64_t round; /* confirmed once a quorum has answered it */
};

struct raft {
    struct raft_options options;
    struct raft_id self;
    struct rand rand;
    uint64_t life;
    bool started;
    bool disk_failed;
    bool may_lead;
    enum raft_role role;
    struct raft_hard_state hard_state; /* as last asked to be written */
    bool hard_state_pending;           /* asked, not yet persisted */
    struct raft_id leader;
    bool leader_known; /* leader is the one of hard_state.term */

    struct raft_log log;
    struct raft_sizes sizes;
    uint64_t cuts;
    uint64_t commit;              /* snapshot_index <= commit <= last */
    uint64_t applied;             /* handed out for apply; <= commit, <= persisted */
    uint64_t persisted;           /* own entries on stable storage; <= log.last */
    uint64_t disk_progress_at_ms; /* when persisted last moved, or had to begin to */

    struct raft_configuration_at *configurations; /* indexes rise; the first may be a snapshot's */
    uint32_t configuration_count;
    uint32_t configuration_capacity;
    uint32_t self_at;        /* in the newest one; == count: not a member */
    struct raft_peer *peers; /* LIMIT_RAFT_SERVERS of them, those of the newest */

    /* Elections. */
    bool pre_voting;
    bool transfer_asked; /* the candidacy was ordered by the leader */
    uint64_t election_at_ms;
    uint64_t vote_allowed_at_ms;
    uint64_t leader_contact_at_ms; /* of hard_state.term's leader */
    bool leader_contacted;
    struct raft_id vote_answer_to; /* a vote that waits to be durable */
    bool vote_answer_due;

    /* Follower. */
    uint64_t verified;         /* equal to the leader's log up to here */
    uint64_t acknowledged;     /* the match last told */
    uint64_t round_seen;       /* of the leader */
    uint64_t round_seen_at_ms; /* its send time, by the leader's clock */
    bool answer_due;           /* once the hard state is durable */
    bool repairing;
    uint64_t repair_to; /* 0: the leader has not told yet */
    struct {
        bool active;
        bool writing; /* a piece is with the driver */
        bool installing;
        bool done; /* the piece that is being written is the last one */
        struct raft_id from;
        uint64_t index;
        uint64_t term;
        uint64_t offset;
        struct raft_configuration_at configuration;
    } receiving;

    /* Leader. */
    uint64_t term_start; /* index of its no-op; the commit of it makes it ready */
    uint64_t heartbeat_at_ms;
    uint64_t round;
    uint64_t round_at_ms;
    bool round_due;
    struct raft_waiting_read *reads; /* rounds rise */
    uint32_t read_count;
    uint32_t read_capacity;
    bool transferring;
    bool transfer_sent;
    struct raft_id transfer_to;
    uint64_t transfer_until_ms;
    bool lease_lost; /* for the rest of the term */

    /* What this step puts out. */
    struct raft_message *messages;
    uint32_t message_count;
    uint32_t message_capacity;
    struct raft_read *answered_reads;
    uint32_t answered_read_count;
    uint32_t answered_read_capacity;
};

/* raft.c */
/* A zeroed message to a server, to be filled in. The pointer holds until the next call. */
struct raft_message *raft_add_message(struct raft *raft, enum raft_message_kind kind,
                                      const struct raft_id *to);
void raft_write_hard_state(struct raft *raft, struct raft_output *output);

/* configuration.c */
bool raft_configuration_is_valid(const struct raft_configuration *configuration);
uint32_t raft_configuration_voters(const struct raft_configuration *configuration);
/* The newest one; count 0: none. */
const struct raft_configuration *raft_configuration(const struct raft *raft);
uint64_t raft_configuration_index(const struct raft *raft);
/* Takes one that is newer than all. */
void raft_push_configuration(struct raft *raft, const struct raft_configuration *configuration,
                             uint64_t index);
/* Forgets those from index on. */
void raft_truncate_configurations(struct raft *raft, uint64_t index);
/* Forgets those that are not in force at or above index. */
void raft_compact_configurations(struct raft *raft, uint64_t index);
void raft_clear_configurations(struct raft *raft);
/* NULL: not in the newest configuration. */
struct raft_peer *raft_find_peer(struct raft *raft, const struct raft_id *id);
bool raft_is_voter(const struct raft *raft);
bool raft_is_sole_voter(const struct raft *raft);
/* A voter; or one that is about to be none, and may be needed until that is committed: it alone may
 * have the entry (4.2.2, end). */
bool raft_is_electable(const struct raft *raft);
/* No configuration that this server knows has another voter, so nobody else may hold a lease. */
bool raft_was_always_alone(const struct raft *raft);
void raft_clear_peer(struct raft_peer *peer);

/* change.c */
enum err raft_change(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                     struct raft_output *output);

/* election.c */
void raft_campaign_if_alone(struct raft *raft, uint64_t now_ms, struct raft_output *output);
void raft_vote_persisted(struct raft *raft, uint64_t now_ms, struct raft_output *output);
/* Back to a follower that knows no leader, in the same term. */
void raft_step_down(struct raft *raft, uint64_t now_ms);
void raft_enter_term(struct raft *raft, uint64_t now_ms, uint64_t term, struct raft_output *output);
void raft_rest_election(struct raft *raft, uint64_t now_ms);
void raft_election_timer(struct raft *raft, uint64_t now_ms, struct raft_output *output);
/* A candidacy without a pre-vote. */
void raft_campaign(struct raft *raft, uint64_t now_ms, bool transfer, struct raft_output *output);
bool raft_may_campaign(const struct raft *raft);

/* vote.c */
void raft_request_votes(struct raft *raft, bool pre_vote);
void raft_receive_vote_request(struct raft *raft, uint64_t now_ms, const struct raft_message *m,
                               struct raft_output *output);
void raft_receive_vote_answer(struct raft *raft, uint64_t now_ms, const struct raft_message *m,
                              struct raft_output *output);
void raft_answer_vote(struct raft *raft);

/* append.c: the own log */
/* Takes the leader's own entries into the log and asks the driver to store them. */
void raft_append_entries(struct raft *raft, uint64_t now_ms, enum raft_entry_kind kind,
                         uint32_t count, const uint32_t *sizes, struct raft_output *output);
void raft_entries_persisted(struct raft *raft, uint64_t now_ms, const struct raft_event *event);
void raft_truncate(struct raft *raft, uint64_t from, struct raft_output *output);
void raft_disk_awaited(struct raft *raft, uint64_t now_ms);
/* When a leader whose disk makes no progress gives up; RAFT_NEVER: nothing is under way. */
uint64_t raft_disk_deadline(const struct raft *raft);

/* receive.c: a follower */
void raft_receive_append(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                         struct raft_output *output);
/* Follows the sender of a message of the present or a later term. False: it is an older leader's.
 */
bool raft_follow(struct raft *raft, uint64_t now_ms, const struct raft_message *m,
                 struct raft_output *output);
void raft_answer_append(struct raft *raft);
void raft_judge_repair(struct raft *raft, struct raft_output *output);

/* replicate.c: a leader */
void raft_start_peers(struct raft *raft, uint64_t now_ms);
/* Whose answer in this leader's term it is, and that it was heard; NULL: it counts for nothing. */
struct raft_peer *raft_hear_peer(struct raft *raft, uint64_t now_ms, const struct raft_message *m);
void raft_receive_append_answer(struct raft *raft, uint64_t now_ms, const struct raft_message *m);
/* Sends what there is to send, to everybody. */
void raft_replicate(struct raft *raft, uint64_t now_ms);
void raft_unreachable(struct raft *raft, const struct raft_id *id);
/* When the leader steps down because no majority answers. */
uint64_t raft_quorum_deadline(const struct raft *raft);

/* commit.c */
/* The highest value that a majority of the voters has reached: values[i] is of servers[i]. */
uint64_t raft_quorum_match(const struct raft_configuration *configuration, const uint64_t *values);
void raft_advance_commit(struct raft *raft);

/* read.c */
enum err raft_read(struct raft *raft, uint64_t ticket);
/* Reads whose round a quorum has answered. */
void raft_answer_reads(struct raft *raft);
uint64_t raft_lease_until(const struct raft *raft, uint64_t now_ms);
bool raft_is_ready(const struct raft *raft);

/* transfer.c */
enum err raft_transfer(struct raft *raft, uint64_t now_ms, const struct raft_event *event);
/* Lets the target begin as soon as it has everything. */
void raft_push_transfer(struct raft *raft);
void raft_end_transfer(struct raft *raft);
void raft_receive_timeout_now(struct raft *raft, uint64_t now_ms, const struct raft_message *m,
                              struct raft_output *output);

/* snapshot.c */
void raft_snapshot_taken(struct raft *raft, uint64_t index, uint64_t term,
                         struct raft_output *output);
void raft_send_snapshot(struct raft *raft, uint64_t now_ms, struct raft_peer *peer,
                        const struct raft_id *to);
void raft_receive_snapshot_answer(struct raft *raft, uint64_t now_ms, const struct raft_message *m);
void raft_snapshot_gone(struct raft *raft, const struct raft_id *id);

/* install.c */
void raft_receive_snapshot(struct raft *raft, uint64_t now_ms, const struct raft_message *m,
                           struct raft_output *output);
void raft_snapshot_written(struct raft *raft, const struct raft_event *event,
                           struct raft_output *output);
void raft_snapshot_installed(struct raft *raft, const struct raft_event *event,
                             struct raft_output *output);
void raft_snapshot_failed(struct raft *raft);

#endif
