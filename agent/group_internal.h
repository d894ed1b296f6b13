/* What the files of the group's driver share. */
#ifndef AGENT_GROUP_INTERNAL_H
#define AGENT_GROUP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/group.h"
#include "agent/storage.h"
#include "base/rand.h"
#include "raft/raft.h"

#define MODULE "agent.server.raft"

/* One append: entries that go into one write. Lives until it is persisted and applied. */
struct batch {
    struct batch *next;
    struct loop_task task;
    struct group *group;
    struct store_entry *entries;         /* their payloads are the batch's */
    uint32_t count, applied;             /* entries in all, and of them applied */
    uint64_t appended_at_ns, sent_at_ns; /* sent: to the log thread, for the last time */
    struct group_proposal
        *proposals; /* of the commands not yet applied, in order; NULL for the core's own */
    enum err err;
    struct err_text text;
    bool persisted;
    bool refused; /* the disk was full: append again */
};

/* Series of contract 5.2; NULL ones record nothing. */
struct group_metrics {
    struct metric *apply, *commit_time, *commit_logs, *dispatch_log, *dispatch_logs;
    struct metric *fsm_apply, *take_snapshot;
    struct metric *leader, *candidate, *follower;
};

struct vote_write {
    struct loop_task task;
    struct group *group;
    struct raft_hard_state state;
    enum err err;
    struct err_text text;
};

struct group {
    struct group_config config;
    struct group_metrics metrics;
    struct raft *raft;
    struct storage *storage; /* NULL: in memory */
    struct raft_id self;
    struct raft_configuration bootstrap;
    struct rand rand;

    struct group_proposal *waiting, **waiting_last; /* not yet appended */
    size_t waiting_count;
    struct batch *batches, **batches_last;               /* appended, not yet applied, by index */
    struct group_proposal *applied_list, **applied_last; /* to answer: see queue_answer */
    unsigned appends_under_way;
    bool retrying;

    uint64_t applied, apply_to;
    uint64_t slice_end; /* catalog_touched() at which the slice is full */
    bool entry_begun;   /* the next entry is half applied */
    bool apply_posted, leader_ready, disk_failed, applying_failed, closing;
    struct loop_task apply_task;
    struct loop_timer raft_timer, retry_timer;

    bool snapshot_under_way; /* until the log is compacted: before, its bytes ask for one more */
    bool compacting;         /* the last step asked for it */
    int snapshot_pin;
    const struct catalog_view *snapshot_view;
    struct store_snapshot_info snapshot_info;
    uint64_t snapshot_begun_at_ns;
    uint64_t snapshot_bytes;      /* of the last one */
    int64_t snapshot_retry_at_ms; /* after a failed one */
    struct loop_task snapshot_task;
    enum err snapshot_err;
    struct err_text snapshot_text;

    _Atomic bool has_leader, had_leader;
    pthread_mutex_t status_mutex; /* a struct of numbers for people, copied whole */
    struct group_status status;
};

/* ---- group_metrics.c ---- */

void group_metrics_init(struct group_metrics *to, struct metrics *metrics);
void group_metrics_role(const struct group_metrics *metrics, enum raft_role role);

/* ---- group.c ---- */

void group_step(struct group *group, const struct raft_event *event);
/* This server leaves the quorum; what waits is answered ERR_IO. */
void group_fail_disk(struct group *group, const char *message);
/* Answers go out after a publish or at the end of the turn, never from within a call. */
void group_queue_answer(struct group *group, struct group_proposal *proposal, enum err err,
                        const struct err_text *text);
void group_answer_applied(struct group *group);
void group_judge_leadership(struct group *group);
void group_refresh_status(struct group *group);
void group_free_batch(struct batch *batch);

/* ---- group_apply.c ---- */

/* Applies up to group->apply_to, in slices over the next turns. */
void group_post_apply(struct group *group);

/* ---- group_snapshot.c ---- */

/* Takes one when the log has outgrown it or the disk is full. */
void group_maybe_snapshot(struct group *group);
/* Log thread. */
void group_compact_done(void *context, enum err result, const char *message);

#endif
