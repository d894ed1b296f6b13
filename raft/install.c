/* A snapshot from the leader, piece by piece (5.3). */
#include "base/assert.h"
#include "base/mutant.h"
#include "raft/internal.h"

static void answer(struct raft *raft, const struct raft_message *m, uint64_t offset) {
    if (raft->hard_state_pending) {
        return; /* the leader sends the piece again */
    }
    struct raft_message *reply = raft_add_message(raft, RAFT_MESSAGE_SNAPSHOT_ANSWER, &m->from);
    reply->snapshot_answer.index = m->snapshot.index;
    reply->snapshot_answer.term = m->snapshot.term;
    reply->snapshot_answer.offset = offset;
}

static bool is_sound(const struct raft_message *m) {
    return m->term > 0 && m->snapshot.index > 0 && m->snapshot.term > 0 &&
           m->snapshot.term <= m->term && m->snapshot.configuration != NULL &&
           m->snapshot.configuration_index > 0 &&
           m->snapshot.configuration_index <= m->snapshot.index &&
           m->snapshot.index < UINT64_MAX / 2 &&
           raft_configuration_is_valid(m->snapshot.configuration) &&
           m->snapshot.bytes <= LIMIT_SNAPSHOT_PIECE_BYTES &&
           m->snapshot.offset <= LIMIT_RAFT_SNAPSHOT_BYTES &&
           (m->snapshot.bytes > 0 || m->snapshot.done);
}

static bool is_the_same(const struct raft *raft, const struct raft_message *m) {
    return raft->receiving.active && raft->receiving.index == m->snapshot.index &&
           raft->receiving.term == m->snapshot.term &&
           raft_id_equal(&raft->receiving.from, &m->from);
}

static void begin(struct raft *raft, const struct raft_message *m) {
    raft->receiving.active = true;
    raft->receiving.writing = false;
    raft->receiving.done = false;
    raft->receiving.from = m->from;
    raft->receiving.index = m->snapshot.index;
    raft->receiving.term = m->snapshot.term;
    raft->receiving.offset = 0;
    raft->receiving.configuration = (struct raft_configuration_at){
        .index = m->snapshot.configuration_index, .configuration = *m->snapshot.configuration};
}

void raft_receive_snapshot(struct raft *raft, uint64_t now_ms, const struct raft_message *m,
                           struct raft_output *output) {
    if (!is_sound(m) || (raft->role == RAFT_LEADER && m->term == raft->hard_state.term) ||
        !raft_follow(raft, now_ms, m, output) || raft->receiving.installing) {
        return;
    }
    if (m->snapshot.index <= raft->commit) {
        raft_answer_append(raft); /* the log has it all */
        return;
    }
    /* The file of a transfer that is given up may still be written to: wait for that piece. */
    if (raft->receiving.writing) {
        return;
    }
    if (!is_the_same(raft, m)) {
        if (m->snapshot.offset != 0) {
            answer(raft, m, 0);
            return;
        }
        begin(raft, m);
    }
    if (m->snapshot.offset != raft->receiving.offset) {
        answer(raft, m, raft->receiving.offset); /* here it resumes */
        return;
    }
    raft->receiving.writing = true;
    raft->receiving.done = m->snapshot.done;
    raft->receiving.offset += m->snapshot.bytes;
    output->snapshot_piece = true;
}

void raft_snapshot_written(struct raft *raft, const struct raft_event *event,
                           struct raft_output *output) {
    if (!raft->receiving.active || !raft->receiving.writing ||
        event->snapshot_written.index != raft->receiving.index ||
        event->snapshot_written.term != raft->receiving.term ||
        event->snapshot_written.offset != raft->receiving.offset) {
        return;
    }
    raft->receiving.writing = false;
    if (!raft->receiving.done) {
        struct raft_message to = {.from = raft->receiving.from};
        to.snapshot.index = raft->receiving.index;
        to.snapshot.term = raft->receiving.term;
        if (raft->leader_known && raft_id_equal(&raft->leader, &to.from)) {
            answer(raft, &to, raft->receiving.offset);
        }
        return;
    }
    if (raft->receiving.index <= raft->commit || raft->role != RAFT_FOLLOWER) {
        raft->receiving.active = false; /* the log was faster */
        return;
    }
    raft->receiving.installing = true;
    output->install = true;
    output->install_index = raft->receiving.index;
    output->install_term = raft->receiving.term;
    output->install_configuration = raft->receiving.configuration;
}

/* Entries behind the snapshot stay if they continue it (5.1), else the log begins anew. */
static void replace_log(struct raft *raft, uint64_t index, uint64_t term,
                        struct raft_output *output) {
    if (raft_log_term(&raft->log, index) == term) {
        uint64_t first = raft->log.first;
        raft_log_compact(&raft->log, index, term, index);
        raft_sizes_compact(&raft->sizes, index);
        output->compact_to = raft->log.first > first ? index : 0;
        if (raft->persisted < index) {
            raft->persisted = index;
        }
        return;
    }
    raft->cuts++;
    raft_log_reset(&raft->log, index, term);
    raft_truncate_configurations(raft, 0);
    raft->sizes.count = 0;
    raft->sizes.last = (struct raft_size_mark){.index = index};
    raft->persisted = index;
    output->reset = !MUTANT(log_not_reset);
    output->reset_to = index;
}

void raft_snapshot_installed(struct raft *raft, const struct raft_event *event,
                             struct raft_output *output) {
    uint64_t index = event->snapshot_installed.index;
    if (!raft->receiving.installing || index != raft->receiving.index ||
        event->snapshot_installed.term != raft->receiving.term) {
        return;
    }
    raft->receiving.installing = false;
    raft->receiving.active = false;
    replace_log(raft, index, event->snapshot_installed.term, output);
    if (raft_configuration_index(raft) < raft->receiving.configuration.index) {
        raft_push_configuration(raft, &raft->receiving.configuration.configuration,
                                raft->receiving.configuration.index);
    }
    raft_compact_configurations(raft, index);
    ASSERT(raft->commit < index);
    raft->commit = index;
    raft->applied = index;
    if (raft->verified < index) {
        raft->verified = index;
    }
    if (raft->leader_known && raft->role == RAFT_FOLLOWER) {
        raft_answer_append(raft);
    }
}

void raft_snapshot_failed(struct raft *raft) {
    raft->receiving.active = false;
    raft->receiving.installing = false;
    raft->receiving.writing = false;
}
