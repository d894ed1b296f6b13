/* Entries on their way into this server's own log, and out of it. */
#include "base/assert.h"
#include "base/mutant.h"
#include "raft/internal.h"

void raft_disk_awaited(struct raft *raft, uint64_t now_ms) {
    if (raft->persisted == raft->log.last) {
        raft->disk_progress_at_ms = now_ms;
    }
}

void raft_append_entries(struct raft *raft, uint64_t now_ms, enum raft_entry_kind kind,
                         uint32_t count, const uint32_t *sizes, struct raft_output *output) {
    ASSERT(output->append.count == 0);
    raft_disk_awaited(raft, now_ms);
    output->append = (struct raft_append){.first = raft->log.last + 1,
                                          .count = count,
                                          .term = raft->hard_state.term,
                                          .cuts = raft->cuts,
                                          .kind = kind};
    for (uint32_t i = 0; i < count; i++) {
        raft_sizes_add(&raft->sizes, raft->log.last + 1 + i, sizes != NULL ? sizes[i] : 0);
    }
    raft_log_append(&raft->log, raft->hard_state.term, count);
    if (MUTANT(commit_unpersisted) && raft->role == RAFT_LEADER) {
        raft->persisted = raft->log.last;
    }
}

void raft_entries_persisted(struct raft *raft, uint64_t now_ms, const struct raft_event *event) {
    uint64_t index = event->persisted.index;
    bool known = raft_log_term(&raft->log, index) == event->persisted.term &&
                 event->persisted.cuts == raft->cuts;
    if (MUTANT(late_sync)) {
        known = index <= raft->log.last;
    }
    if (index <= raft->persisted || !known) {
        return; /* old news, or of entries that the log no longer holds */
    }
    raft->persisted = index;
    raft->disk_progress_at_ms = now_ms;
    if (raft->role != RAFT_LEADER && raft->leader_known && raft->acknowledged < raft->verified) {
        raft_answer_append(raft);
    }
}

void raft_truncate(struct raft *raft, uint64_t from, struct raft_output *output) {
    ASSERT(from > raft->commit);
    raft->cuts++;
    output->truncate_from = from;
    raft_log_truncate(&raft->log, from);
    raft_sizes_truncate(&raft->sizes, from);
    raft_truncate_configurations(raft, from);
    if (raft->persisted >= from) {
        raft->persisted = from - 1;
    }
}

uint64_t raft_disk_deadline(const struct raft *raft) {
    bool waiting = raft->role == RAFT_LEADER && raft->persisted < raft->log.last;
    if (MUTANT(frozen_disk_leader)) {
        waiting = false;
    }
    return waiting ? raft->disk_progress_at_ms + raft->options.disk_stall_ms : RAFT_NEVER;
}
