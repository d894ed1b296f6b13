/* What the group's driver records (contract 5.2). */
#include "agent/group_internal.h"

void group_metrics_init(struct group_metrics *to, struct metrics *metrics) {
    const struct {
        struct metric **to;
        enum metric_kind kind;
        const char *name, *help;
    } rows[] = {
        {&to->apply, METRIC_COUNTER, "raft.apply", "Writes that were started."},
        {&to->commit_time, METRIC_SAMPLE, "raft.commitTime", "From the append to the commit."},
        {&to->commit_logs, METRIC_GAUGE, "raft.commitNumLogs", "Entries committed at once."},
        {&to->dispatch_log, METRIC_SAMPLE, "raft.leader.dispatchLog",
         "Writing entries to the disk."},
        {&to->dispatch_logs, METRIC_GAUGE, "raft.leader.dispatchNumLogs",
         "Entries written at once."},
        {&to->fsm_apply, METRIC_SAMPLE, "raft.fsm.apply", "Applying an entry to the catalog."},
        {&to->take_snapshot, METRIC_SAMPLE, "raft.snapshot.takeSnapshot", "Taking a snapshot."},
        {&to->diverged, METRIC_COUNTER, "raft.diverged",
         "Times this server's rows were not those of most servers."},
        {&to->leader, METRIC_COUNTER, "raft.state.leader", "Times this server became leader."},
        {&to->candidate, METRIC_COUNTER, "raft.state.candidate",
         "Times this server became candidate."},
        {&to->follower, METRIC_COUNTER, "raft.state.follower",
         "Times this server became follower."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        *rows[i].to = metrics_add(metrics, rows[i].kind, rows[i].name, rows[i].help, NULL, 0);
    }
}

void group_metrics_role(const struct group_metrics *metrics, enum raft_role role) {
    metric_count(role == RAFT_LEADER     ? metrics->leader
                 : role == RAFT_FOLLOWER ? metrics->follower
                                         : metrics->candidate,
                 1);
}
