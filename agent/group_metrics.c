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
        {&to->fsm_register, METRIC_SAMPLE, "fsm.register", "Applying a registration."},
        {&to->fsm_deregister, METRIC_SAMPLE, "fsm.deregister", "Applying a removal."},
        {&to->fsm_kvs, METRIC_SAMPLE, "fsm.kvs", "Applying a write to a key."},
        {&to->fsm_session, METRIC_SAMPLE, "fsm.session", "Applying a session's begin or end."},
        {&to->fsm_txn, METRIC_SAMPLE, "fsm.txn", "Applying a transaction."},
        {&to->fsm_tombstone, METRIC_SAMPLE, "fsm.tombstone", "Forgetting deleted keys."},
        {&to->fsm_autopilot, METRIC_SAMPLE, "fsm.autopilot",
         "Applying what autopilot is to go by."},
        {&to->fsm_query, METRIC_SAMPLE, "fsm.prepared-query", "Applying a prepared query."},
        {&to->fsm_coordinates, METRIC_SAMPLE, "fsm.coordinate.batch-update",
         "Applying coordinates."},
        {&to->take_snapshot, METRIC_SAMPLE, "raft.snapshot.takeSnapshot", "Taking a snapshot."},
        {&to->diverged, METRIC_COUNTER, "raft.diverged",
         "Times this server's rows were not those of most servers."},
        {&to->heartbeat_timeout, METRIC_COUNTER, "raft.transition.heartbeat_timeout",
         "Times this server began an election because it heard no leader."},
        {&to->last_contact, METRIC_SAMPLE, "raft.leader.lastContact",
         "How long ago a follower answered this leader."},
        {&to->verify_leader, METRIC_COUNTER, "raft.verify_leader",
         "Rounds by which this leader made sure that it leads."},
        {&to->append, METRIC_SAMPLE, "raft.rpc.appendEntries", "Following a leader's entries."},
        {&to->heartbeat, METRIC_SAMPLE, "raft.rpc.processHeartbeat",
         "Following a leader's heartbeat."},
        {&to->request_vote, METRIC_SAMPLE, "raft.rpc.requestVote", "Judging a candidate."},
        {&to->install_snapshot, METRIC_SAMPLE, "raft.rpc.installSnapshot",
         "Taking a piece of a snapshot."},
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
    if (role != RAFT_LEADER && role != RAFT_FOLLOWER) {
        metric_count(metrics->heartbeat_timeout, 1);
    }
}

static struct metric *of_command(const struct group_metrics *metrics,
                                 enum catalog_command_kind kind) {
    switch ((int)kind) { /* others have no series */
    case COMMAND_REGISTER:
        return metrics->fsm_register;
    case COMMAND_DEREGISTER:
        return metrics->fsm_deregister;
    case COMMAND_KV:
        return metrics->fsm_kvs;
    case COMMAND_SESSION:
    case COMMAND_SESSION_END:
        return metrics->fsm_session;
    case COMMAND_TRANSACTION:
        return metrics->fsm_txn;
    case COMMAND_REAP:
        return metrics->fsm_tombstone;
    case COMMAND_AUTOPILOT:
        return metrics->fsm_autopilot;
    case COMMAND_QUERY:
        return metrics->fsm_query;
    case COMMAND_COORDINATES:
        return metrics->fsm_coordinates;
    default:
        return NULL;
    }
}

void group_metrics_command(const struct group_metrics *metrics, enum catalog_command_kind kind,
                           double ms) {
    metric_sample(of_command(metrics, kind), ms);
}

void group_metrics_message(const struct group_metrics *metrics, const struct raft_message *message,
                           uint64_t begun_at_ns) {
    struct metric *to = message->kind == RAFT_MESSAGE_VOTE_REQUEST ? metrics->request_vote
                        : message->kind == RAFT_MESSAGE_SNAPSHOT   ? metrics->install_snapshot
                        : message->kind != RAFT_MESSAGE_APPEND     ? NULL
                        : message->append.count > 0                ? metrics->append
                                                                   : metrics->heartbeat;
    if (to != NULL) {
        metric_sample(to, metrics_ms_since(begun_at_ns, metrics_clock_ns()));
    }
}
