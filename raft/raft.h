/* Raft as one pure function: an event goes in, what the driver has to do comes out. No clock, file,
 * socket, thread or random device; the same seed and events give the same outputs.
 *
 * Source: D. Ongaro, "Consensus: Bridging Theory and Practice", 2014; cited below by section.
 *
 * The core knows of each entry only its index and term (as runs of one term, so memory does not
 * grow with the log) and, roughly, its size. The driver owns the bytes: it stores them, keeps them
 * for apply, attaches them to messages, and matches them to the index ranges it is handed here.
 *
 * The durable order of steps. After each raft_step the driver does what the output asks for, in
 * this order; a later step may be queued behind an earlier one, never before it:
 *
 *   1. hard state   `write_hard_state`: term and vote to stable storage, then the event
 *                   HARD_STATE_PERSISTED. Until then nothing counts that rests on them: the
 *                   server's own vote (3.6.1), and entries of that term. What rests on them and
 *                   goes to peers, the core holds back itself.
 *   2. cut          `reset`, `truncate_from`: entries leave the log (5.1; 3.5). Durable before
 *                   anything that is appended later. Entries that are still on their way to the
 *                   disk are cut, too; a late report about them does no harm, because PERSISTED
 *                   says of which append it is. Proposals in them: lost, surely not applied if
 * their index was committed with another term, else unknown.
 *   3. entries      `append`: into the log, behind every write that was asked for earlier, then the
 *                   event PERSISTED once all entries up to an index are on stable storage. Only
 *                   then does the server's own copy count toward a commit (10.2.1), and only then
 *                   does a follower acknowledge them.
 *   4. messages     `messages`, to be sent in order, at once: a leader's entries travel while its
 *                   own disk writes them (10.2.1).
 *   5. commit       decided by the core; never written.
 *   6. apply        `apply_first` .. `apply_last`: committed entries, on the own disk too, each
 *                   exactly once, in index order, to the state machine. An answer to a client
 *                   follows its apply.
 *   7. snapshot     of the applied state at some index, taken whenever the driver likes; the event
 *                   SNAPSHOT_TAKEN once the file and its name are on stable storage.
 *   8. compact      `compact_to`: only now may the log lose entries, up to and including it.
 *
 * A restart goes: read hard state, snapshot and log; restore the snapshot; START. Entries above the
 * snapshot are applied again as they are handed out in `apply`, once their commit is known.
 *
 * A snapshot from the leader comes in pieces: `snapshot_piece` says that the piece of the message
 * just stepped belongs to the file (at the message's offset; offset 0 begins a new one); written
 * (it needs no sync), SNAPSHOT_WRITTEN asks for the next. After the last piece comes `install`: the
 * driver makes the file durable under its name, restores the state machine from it, and
 * steps SNAPSHOT_INSTALLED (or _FAILED, and the leader begins anew). That output may ask for
 * `reset`. Between the two the core hands out nothing to append or apply. A crash anywhere leaves
 * either the older state, or a snapshot with a log that START knows to reset.
 *
 * Rot (entries that were acknowledged and cannot be read any more): the driver notes durably that
 * the log is in repair, cuts the log before the first bad entry, and starts with needs_repair. The
 * server then grants no vote and does not campaign, and its answers say so, upon which the leader
 * forgets what it believed this server to hold. Once it again holds all that the leader held at
 * that moment, `repaired` asks the driver to remove the note and to step REPAIR_NOTED.
 *
 * Roles: a server that is in no configuration, or is a learner, stays a quiet follower (it does
 * vote: whoever asks may know a newer configuration, 4.2.1). A sole voter elects itself as soon as
 * all its entries are durable. Others wait for an election timeout, ask for a pre-vote (9.6; the
 * role is still RAFT_FOLLOWER), and become candidates once a majority would vote for them. */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include "raft/message.h"
#include "raft/types.h"

enum raft_event_kind {
    /* First event, exactly once: what the disk holds. */
    RAFT_EVENT_START,
    /* Makes a blank server the first of a new group; each first server gets the same configuration.
     * Appends it as entry 1 of term 1. */
    RAFT_EVENT_BOOTSTRAP,
    /* Commands from clients; the leader appends them. */
    RAFT_EVENT_PROPOSE,
    /* The hard state of an earlier output is on stable storage. */
    RAFT_EVENT_HARD_STATE_PERSISTED,
    /* All entries up to one are on stable storage. */
    RAFT_EVENT_PERSISTED,
    /* A snapshot of the applied state is on stable storage. */
    RAFT_EVENT_SNAPSHOT_TAKEN,
    /* deadline_at_ms has come. Early or needless ones do no harm. */
    RAFT_EVENT_TIMER,
    /* Log or hard state can no longer be written. The server never leads or votes again in this
     * process; what it has committed stays valid. */
    RAFT_EVENT_DISK_FAILED,
    /* From a peer. One that is not for this server, or makes no sense, changes nothing. */
    RAFT_EVENT_MESSAGE,
    /* Consistent reads (6.4): the answer is a `read` in the output of this or a later step. */
    RAFT_EVENT_READ,
    /* Changes the configuration by one server (4.1). */
    RAFT_EVENT_CHANGE,
    /* Hands leadership over (3.10). Proposals are refused until the target leads, or an election
     * timeout has passed. */
    RAFT_EVENT_TRANSFER,
    /* May this server lead? From the start it may. If not, it steps down and does not campaign, but
     * votes: for a driver whose state machine must not serve. */
    RAFT_EVENT_MAY_LEAD,
    /* The link to a peer broke: what was sent and not acknowledged may be lost. A hint. */
    RAFT_EVENT_UNREACHABLE,
    RAFT_EVENT_SNAPSHOT_WRITTEN,
    RAFT_EVENT_SNAPSHOT_INSTALLED,
    RAFT_EVENT_SNAPSHOT_FAILED,
    /* Sending: the driver can no longer read the snapshot that it was to send to a peer; the core
     * goes on with the newest one. */
    RAFT_EVENT_SNAPSHOT_GONE,
    RAFT_EVENT_REPAIR_NOTED,
};

enum raft_change_kind {
    RAFT_CHANGE_ADD_LEARNER, /* a new server, or a voter that shall be one no more */
    RAFT_CHANGE_PROMOTE,     /* a learner to a voter */
    RAFT_CHANGE_REMOVE,
};

struct raft_event {
    enum raft_event_kind kind;
    union {
        struct {
            struct raft_hard_state hard_state;
            uint64_t snapshot_index; /* 0: no snapshot */
            uint64_t snapshot_term;
            uint64_t log_first; /* first index that the log still holds; last + 1 if none */
            uint64_t log_last;  /* an empty log: snapshot_index */
            /* Terms of log_first .. log_last; borrowed for the call. runs[0].first == log_first. */
            const struct raft_run *runs;
            uint32_t run_count;
            /* The snapshot's and all in the log, indexes rising; borrowed for the call. */
            const struct raft_configuration_at *configurations;
            uint32_t configuration_count;
            const struct raft_sizes *sizes; /* of the log's entries; NULL: not known; borrowed */
            bool needs_repair;
        } start;
        struct {
            struct raft_configuration configuration;
        } bootstrap;
        struct {
            uint32_t count;        /* > 0 */
            const uint32_t *sizes; /* of the payloads, count of them; NULL: not known */
        } propose;
        struct {
            struct raft_hard_state hard_state; /* as it was in the output */
        } hard_state_persisted;
        struct {
            /* A report about entries that have been cut meanwhile is told by the term of the entry
             * at index, and by cuts, both as they were in the append. */
            uint64_t term;
            uint64_t index;
            uint64_t cuts;
        } persisted;
        struct {
            uint64_t index; /* <= applied */
            uint64_t term;
        } snapshot_taken;
        struct {
            const struct raft_message *message; /* borrowed for the call, as all below */
            /* APPEND: append.count heads, and the configurations among the entries. */
            const struct raft_entry_head *entries;
            const struct raft_configuration_at *configurations;
            uint32_t configuration_count;
        } message;
        struct {
            uint64_t ticket; /* the driver's name for these reads; comes back */
        } read;
        struct {
            enum raft_change_kind kind;
            struct raft_id id;
        } change;
        struct {
            bool any; /* to the voter that is furthest along; else: */
            struct raft_id to;
        } transfer;
        struct {
            bool may;
        } may_lead;
        struct {
            struct raft_id id;
        } unreachable, snapshot_gone;
        struct {
            uint64_t index; /* of the snapshot */
            uint64_t term;
            uint64_t offset; /* behind the piece */
        } snapshot_written;
        struct {
            uint64_t index;
            uint64_t term;
        } snapshot_installed, snapshot_failed;
    };
};

/* Entries to append, all of one term: first .. first + count - 1. */
struct raft_append {
    uint64_t first;
    uint32_t count; /* 0: nothing to append */
    uint64_t term;
    uint64_t cuts; /* resets and truncations so far */
    /* Of the APPEND message just stepped: its entries from number `skip` on, with their kinds.
     * Else the leader's own, all of `kind`: commands in the order of the proposal, or the newest
     * configuration (raft_get_configuration), or a no-op without payload. */
    bool received;
    uint32_t skip;
    enum raft_entry_kind kind;
};

struct raft_read {
    uint64_t ticket;
    uint64_t index; /* answer from a state machine that has applied this, no earlier */
};

struct raft_output {
    /* To do, in the order told above. */
    bool write_hard_state;
    struct raft_hard_state hard_state; /* if write_hard_state */
    bool reset;                        /* all entries go; the next one is reset_to + 1 */
    uint64_t reset_to;
    uint64_t truncate_from; /* entries from here on go; 0: none */
    struct raft_append append;
    const struct raft_message *messages; /* borrowed until the next step */
    uint32_t message_count;
    uint64_t apply_first; /* apply apply_first .. apply_last; nothing if first > last */
    uint64_t apply_last;
    uint64_t compact_to; /* 0: nothing to compact */

    bool snapshot_piece; /* write the piece of the message just stepped */
    bool install;        /* install what was received: */
    uint64_t install_index;
    uint64_t install_term;
    struct raft_configuration_at install_configuration; /* goes into the snapshot's header */
    bool repaired; /* remove the note durably, then REPAIR_NOTED; comes again until then */

    /* Reads that may now be answered; borrowed until the next step. With role_changed all older
     * tickets that are not among them are void: ask anew, or the new leader. */
    const struct raft_read *reads;
    uint32_t read_count;

    /* The state after the step, always filled in. */
    bool role_changed; /* role or leader differ from before the step. Proposals that a leader
                        * appended and had not committed when it lost the role: outcome unknown. */
    enum raft_role role;
    uint64_t term;
    bool leader_known;
    struct raft_id leader; /* if leader_known */
    bool leader_ready;     /* leader, and an entry of its term is committed: its state machine, once
                            * it has applied up to commit, is current (6.4) */
    bool transferring;     /* leader, and proposals are refused for now */
    uint64_t commit;
    /* Leader and ready: its state machine may serve reads without a round while now_ms is below
     * this (6.4.1: the lease; clock rates within 10 %); 0: no lease. RAFT_NEVER: a sole voter.
     * Readers must know of a shorter one before the messages of the same output leave. */
    uint64_t lease_until_ms;
    uint64_t deadline_at_ms; /* step with TIMER then; RAFT_NEVER: no need */
};

struct raft_status {
    struct raft_id self;
    enum raft_role role;
    struct raft_hard_state hard_state;
    uint64_t snapshot_index;
    uint64_t snapshot_term;
    uint64_t first;     /* of the log */
    uint64_t last;      /* end of the log, durable or not */
    uint64_t persisted; /* own match: end of the durable part */
    uint64_t commit;
    uint64_t configuration_index; /* of the newest, committed or not; 0: no configuration */
    bool leader_known;
    struct raft_id leader;
    uint64_t leader_contact_at_ms; /* when a leader was last heard; 0: never. Leader: its own now */
    bool voter;                    /* in the newest configuration */
    bool disk_failed;
    bool repairing;
};

/* A peer as the leader sees it. */
struct raft_peer_status {
    struct raft_id id;
    bool voter;
    uint64_t match;
    uint64_t next;
    uint64_t contact_at_ms; /* when it last answered; 0: not in this term */
    bool snapshot;          /* is being sent one */
    bool repairing;         /* has lost entries; neither votes nor leads */
};

struct raft_options {
    struct raft_id self;
    uint64_t seed; /* of the election timeouts; differs from server to server and start to start */
    /* 0: those of base/limits.h. */
    uint32_t heartbeat_ms;
    uint32_t election_ms; /* the minimum; drawn below twice that */
    uint32_t disk_stall_ms;
    uint32_t append_bytes;
    uint32_t inflight_bytes;
    uint32_t trailing_bytes;
};

struct raft;

struct raft *raft_create(const struct raft_options *options);
void raft_destroy(struct raft *raft);

/* clang-format off */
/* now_ms is monotonic and never goes back. On an error the state and *ret_output (which then asks
 * for nothing) are as if the event had not happened:
 *   START      ERR_CORRUPT    the pieces do not fit: a hole between snapshot and log, terms that
 *                             fall, a term above the hard state's
 *   BOOTSTRAP  ERR_EXISTS     the server has a log, a snapshot, a configuration or a vote
 *              ERR_INVALID    no voter, a server twice, or this server is not in it
 *              ERR_IO         after DISK_FAILED
 *   PROPOSE    ERR_NO_LEADER  not the leader
 *              ERR_OVERLOADED leadership is being transferred: ask the next leader
 *   READ       ERR_NO_LEADER  not the leader, or not ready yet
 *              ERR_OVERLOADED LIMIT_RAFT_READS wait
 *   CHANGE     ERR_NO_LEADER  not the leader
 *              ERR_OVERLOADED an earlier change, or the first entry of the leader's term (the fix
 *                             of 2015), is not committed yet, or leadership is being transferred
 *              ERR_EXISTS     it is so already
 *              ERR_NOT_FOUND  no such server
 *              ERR_REFUSED    the last voter; or a learner that lags too far behind
 *              ERR_TOO_LARGE  LIMIT_RAFT_SERVERS
 *   TRANSFER   ERR_NO_LEADER  not the leader
 *              ERR_OVERLOADED a transfer is under way
 *              ERR_NOT_FOUND  no such voter, or no other one */
/* clang-format on */
enum err raft_step(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                   struct raft_output *ret_output);

void raft_get_status(const struct raft *raft, struct raft_status *ret_status);
/* The newest configuration, committed or not; count 0 if none. Borrowed until the next step. */
const struct raft_configuration *raft_get_configuration(const struct raft *raft);
/* The one that was in force at an index that is not below the snapshot's: for a snapshot's header.
 * NULL: none. Borrowed until the next step. */
const struct raft_configuration_at *raft_get_configuration_at(const struct raft *raft,
                                                              uint64_t index);
/* The term of an entry that the log holds, or of the snapshot's last; 0 for any other index. */
uint64_t raft_get_term(const struct raft *raft, uint64_t index);
/* The server number i of the newest configuration. False: no such, not the leader, or itself. */
bool raft_get_peer(const struct raft *raft, uint32_t i, struct raft_peer_status *ret_peer);

#endif
