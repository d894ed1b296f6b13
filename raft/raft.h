/* Raft as one pure function: an event goes in, what the driver has to do comes out. No clock, file,
 * socket, thread or random device; the same events give the same outputs.
 *
 * Source: D. Ongaro, "Consensus: Bridging Theory and Practice", 2014; cited below by section.
 *
 * The core knows of each entry only its index and term (as runs of one term, so memory does not
 * grow with the log). The driver owns the bytes: it stores them, keeps them for apply, and matches
 * them to the index ranges it is handed here.
 *
 * The durable order of steps. After each raft_step the driver does what the output asks for, in
 * this order; a later step may be queued behind an earlier one, never before it:
 *
 *   1. hard state   `write_hard_state`: term and vote to stable storage, then the event
 *                   HARD_STATE_PERSISTED. Until then nothing counts that rests on them: the
 *                   server's own vote (3.6.1), and entries of that term.
 *   2. entries      `append`: into the log, behind every write that was asked for earlier, then the
 *                   event PERSISTED once all entries up to an index are on stable storage. Only
 *                   then does the server's own copy count toward a commit (10.2.1).
 *   3. commit       decided by the core, from PERSISTED alone; never written.
 *   4. apply        `apply`: committed entries, each exactly once, in index order, to the state
 *                   machine. An answer to a client follows its apply.
 *   5. snapshot     of the applied state at some index, taken whenever the driver likes; the event
 *                   SNAPSHOT_TAKEN once the file and its name are on stable storage.
 *   6. compact      `compact_to`: only now may the log lose entries, up to and including it.
 *
 * A restart goes: read hard state, snapshot and log; restore the snapshot; START. Entries above the
 * snapshot are applied again as they are handed out in `apply`, once their commit is known.
 *
 * Roles: a server that is in no configuration, or is a learner, stays a quiet follower. A sole
 * voter elects itself as soon as all its entries are durable. */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/uuid.h"

#define RAFT_NEVER UINT64_MAX

/* Who a server is. The disk's part is made with the data directory: a machine that lost its disk
 * is a new server, because it may have forgotten a vote. */
struct raft_id {
    struct uuid node;
    struct uuid disk;
};

bool raft_id_equal(const struct raft_id *a, const struct raft_id *b);

enum raft_role { RAFT_FOLLOWER, RAFT_CANDIDATE, RAFT_LEADER };

/* "follower", "candidate", "leader". */
const char *raft_role_name(enum raft_role role);

struct raft_server {
    struct raft_id id;
    bool voter; /* false: a learner (4.2.1), which receives entries and counts for nothing */
};

struct raft_configuration {
    uint32_t count; /* <= LIMIT_RAFT_SERVERS; 0 means that none is known */
    struct raft_server servers[LIMIT_RAFT_SERVERS];
};

/* The bytes of a CONFIGURATION entry's payload, also kept in a snapshot's header. */
#define RAFT_CONFIGURATION_BYTES_MAX (3 + LIMIT_RAFT_SERVERS * 33)
void raft_configuration_encode(const struct raft_configuration *configuration, struct buf *out);
/* ERR_VERSION: of a newer program. ERR_CORRUPT: not such bytes, or a server twice. */
enum err raft_configuration_decode(const void *data, size_t size,
                                   struct raft_configuration *ret_configuration);

/* What a server may never forget (3.8: currentTerm and votedFor). All zero on a blank server. */
struct raft_hard_state {
    uint64_t term;
    bool voted; /* vote holds whom this server voted for in term */
    struct raft_id vote;
};

/* Values are stored in the log: never renumber. */
enum raft_entry_kind {
    RAFT_ENTRY_NO_OP = 1, /* empty; a new leader's first entry (6.4) */
    RAFT_ENTRY_CONFIGURATION =
        2,                  /* raft_configuration_encode; takes effect once in the log (4.1) */
    RAFT_ENTRY_COMMAND = 3, /* the state machine's */
};

/* Entries from `first` up to the next run (or the log's end) are all of `term`. */
struct raft_run {
    uint64_t first;
    uint64_t term;
};

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
            /* The newest configuration in the log, else the snapshot's; count 0: none. */
            struct raft_configuration configuration;
            uint64_t configuration_index; /* the index of its entry */
        } start;
        struct {
            struct raft_configuration configuration;
        } bootstrap;
        struct {
            uint32_t count; /* > 0 */
        } propose;
        struct {
            struct raft_hard_state hard_state; /* as it was in the output */
        } hard_state_persisted;
        struct {
            uint64_t term; /* of the entry at index: tells a report on truncated entries */
            uint64_t index;
        } persisted;
        struct {
            uint64_t index; /* <= applied */
            uint64_t term;
        } snapshot_taken;
    };
};

/* Entries to append, all of one term and kind: first .. first + count - 1. For commands, in the
 * order of the proposal; a configuration entry holds the one of the BOOTSTRAP event. */
struct raft_append {
    uint64_t first;
    uint32_t count; /* 0: nothing to append */
    uint64_t term;
    enum raft_entry_kind kind;
};

struct raft_output {
    /* To do, in the order told above. */
    bool write_hard_state;
    struct raft_hard_state hard_state; /* if write_hard_state */
    struct raft_append append;
    uint64_t apply_first; /* apply apply_first .. apply_last; nothing if first > last */
    uint64_t apply_last;
    uint64_t compact_to; /* 0: nothing to compact */

    /* The state after the step, always filled in. */
    bool role_changed; /* role or leader_known differs from before the step. Proposals that a leader
                        * appended and had not committed when it lost the role: outcome unknown. */
    enum raft_role role;
    uint64_t term;
    bool leader_known;
    struct raft_id leader; /* if leader_known */
    bool leader_ready;     /* leader, and an entry of its term is committed: its state machine, once
                            * it has applied up to commit, is current (6.4) */
    uint64_t commit;
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
    uint64_t configuration_index; /* 0: no configuration */
    bool disk_failed;
};

struct raft;

struct raft *raft_create(const struct raft_id *self);
void raft_destroy(struct raft *raft);

/* clang-format off */
/* now_ms is monotonic and never goes back. On an error the state and *ret_output (which then asks
 * for nothing) are as if the event had not happened:
 *   START      ERR_CORRUPT    the pieces do not fit: a hole between snapshot and log, terms that
 *                             fall, a term above the hard state's
 *   BOOTSTRAP  ERR_EXISTS     the server has a log, a snapshot, a configuration or a vote
 *              ERR_INVALID    no voter, a server twice, or this server is not in it
 *              ERR_IO         after DISK_FAILED
 *   PROPOSE    ERR_NO_LEADER  not the leader */
/* clang-format on */
enum err raft_step(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                   struct raft_output *ret_output);

void raft_get_status(const struct raft *raft, struct raft_status *ret_status);
/* The newest configuration, committed or not; count 0 if none. Borrowed until the next step. */
const struct raft_configuration *raft_get_configuration(const struct raft *raft);
/* The term of an entry that the log holds, or of the snapshot's last; 0 for any other index. */
uint64_t raft_get_term(const struct raft *raft, uint64_t index);

#endif
