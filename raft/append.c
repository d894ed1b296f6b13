/* Entries on their way into this server's own log. */
#include "base/assert.h"
#include "base/mutant.h"
#include "raft/internal.h"

void raft_append_entries(struct raft *raft, uint64_t now_ms, enum raft_entry_kind kind,
                         uint32_t count, struct raft_output *output) {
    ASSERT(output->append.count == 0);
    if (raft->persisted == raft->log.last) {
        raft->disk_progress_at_ms = now_ms;
    }
    output->append = (struct raft_append){
        .first = raft->log.last + 1, .count = count, .term = raft->hard_state.term, .kind = kind};
    raft_log_append(&raft->log, raft->hard_state.term, count);
    if (MUTANT(commit_unpersisted) && raft->role == RAFT_LEADER) {
        raft->match[raft->self_at] = raft->log.last;
        raft_advance_commit(raft);
    }
}

void raft_entries_persisted(struct raft *raft, uint64_t now_ms, uint64_t term, uint64_t index) {
    if (index <= raft->persisted || raft_log_term(&raft->log, index) != term) {
        return; /* old news, or of entries that the log no longer holds */
    }
    raft->persisted = index;
    raft->disk_progress_at_ms = now_ms;
    if (raft->role == RAFT_LEADER) {
        /* 10.2.1: the leader's own copy counts once it is durable, not when it is written. */
        raft->match[raft->self_at] = index;
        raft_advance_commit(raft);
    }
}

uint64_t raft_disk_deadline(const struct raft *raft) {
    bool waiting = raft->role == RAFT_LEADER && raft->persisted < raft->log.last;
    return waiting ? raft->disk_progress_at_ms + LIMIT_RAFT_DISK_STALL_MS : RAFT_NEVER;
}
