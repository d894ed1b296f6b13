/* The state of one server and what the files of this folder offer each other. */
#ifndef RAFT_INTERNAL_H
#define RAFT_INTERNAL_H

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
/* False: the pieces do not fit; the log is then empty. */
bool raft_log_load(struct raft_log *log, const struct raft_event *start);
/* Entries last + 1 .. last + count, of a term not below the last one. */
void raft_log_append(struct raft_log *log, uint64_t term, uint32_t count);
/* 0: not held. */
uint64_t raft_log_term(const struct raft_log *log, uint64_t index);
/* Forgets entries up to index, which the snapshot of this index replaces. */
void raft_log_compact(struct raft_log *log, uint64_t index, uint64_t term);

struct raft {
    struct raft_id self;
    bool started;
    bool disk_failed;
    enum raft_role role;
    struct raft_hard_state hard_state; /* as last asked to be written */
    bool hard_state_pending;           /* asked, not yet persisted */
    struct raft_id leader;
    bool leader_known; /* leader is the one of hard_state.term */

    struct raft_log log;
    uint64_t commit;     /* snapshot_index <= commit <= last */
    uint64_t applied;    /* handed out for apply; <= commit, equal after each step */
    uint64_t term_start; /* leader: index of its no-op; the commit of it makes it ready */

    struct raft_configuration configuration;
    uint64_t configuration_index;
    struct raft_configuration_at configuration_at;
    uint32_t self_at;                 /* in configuration.servers; == count: not a member */
    bool granted[LIMIT_RAFT_SERVERS]; /* candidate: votes of hard_state.term */
    uint64_t
        match[LIMIT_RAFT_SERVERS]; /* leader: what each server surely holds; own: see persisted */
    uint64_t persisted;            /* own entries on stable storage; <= log.last */
    uint64_t disk_progress_at_ms;  /* when persisted last moved, or had to begin to */
};

/* configuration.c */
bool raft_configuration_is_valid(const struct raft_configuration *configuration);
void raft_use_configuration(struct raft *raft, const struct raft_configuration *configuration,
                            uint64_t index);
uint32_t raft_configuration_voters(const struct raft_configuration *configuration);
bool raft_is_sole_voter(const struct raft *raft);

/* election.c */
void raft_campaign_if_alone(struct raft *raft, uint64_t now_ms, struct raft_output *output);
void raft_vote_persisted(struct raft *raft, uint64_t now_ms, struct raft_output *output);
void raft_step_down(struct raft *raft);

/* append.c */
/* Takes the entries into the log and asks the driver to store them. */
void raft_append_entries(struct raft *raft, uint64_t now_ms, enum raft_entry_kind kind,
                         uint32_t count, struct raft_output *output);
void raft_entries_persisted(struct raft *raft, uint64_t now_ms, uint64_t term, uint64_t index);
/* When a leader whose disk makes no progress gives up; RAFT_NEVER: nothing is under way. */
uint64_t raft_disk_deadline(const struct raft *raft);

/* commit.c */
/* The highest index that a majority of the voters holds: match[i] is of servers[i]. */
uint64_t raft_quorum_match(const struct raft_configuration *configuration, const uint64_t *match);
void raft_advance_commit(struct raft *raft);

#endif
