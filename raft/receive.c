/* AppendEntries as a follower takes it (3.5). */
#include "base/assert.h"
#include "base/mutant.h"
#include "raft/internal.h"

bool raft_follow(struct raft *raft, uint64_t now_ms, const struct raft_message *m,
                 struct raft_output *output) {
    if (m->term < raft->hard_state.term) {
        return false;
    }
    if (m->term > raft->hard_state.term) {
        raft_enter_term(raft, now_ms, m->term, output);
    } else if (raft->role == RAFT_CANDIDATE || !raft->leader_known) {
        raft_step_down(raft, now_ms);
    }
    raft->leader = m->from;
    raft->leader_known = true;
    raft->leader_contacted = true;
    raft->leader_contact_at_ms = now_ms;
    raft->pre_voting = false;
    raft_rest_election(raft, now_ms);
    return true;
}

static struct raft_message *begin_answer(struct raft *raft, const struct raft_id *to) {
    struct raft_message *m = raft_add_message(raft, RAFT_MESSAGE_APPEND_ANSWER, to);
    m->append_answer.repairing = raft->repairing;
    m->append_answer.life = raft->life;
    m->append_answer.round = raft->round_seen;
    m->append_answer.sent_at_ms = raft->round_seen_at_ms;
    return m;
}

/* 10.2.1: only what is on the disk is acknowledged. */
void raft_answer_append(struct raft *raft) {
    if (raft->hard_state_pending) {
        raft->answer_due = true; /* the term must not be forgotten */
        return;
    }
    uint64_t stored = MUTANT(ack_before_persisted) ? raft->log.last : raft->persisted;
    uint64_t match = stored < raft->verified ? stored : raft->verified;
    struct raft_message *m = begin_answer(raft, &raft->leader);
    m->append_answer.success = true;
    m->append_answer.match = match;
    raft->acknowledged = match;
    raft->answer_due = false;
}

/* 3.5, end: the hint spares the leader most steps back. */
static void refuse(struct raft *raft, const struct raft_message *m) {
    if (raft->hard_state_pending) {
        return; /* the leader will ask again */
    }
    uint64_t index = raft_log_find(&raft->log, m->append.prev_index - 1, m->append.prev_term);
    index = index < raft->commit ? raft->commit : index;
    struct raft_message *answer = begin_answer(raft, &m->from);
    answer->append_answer.rejected = m->append.prev_index;
    answer->append_answer.hint_index = index;
    answer->append_answer.hint_term = raft_log_term(&raft->log, index);
}

static bool is_sound(const struct raft_event *event) {
    const struct raft_message *m = event->message.message;
    if (m->term == 0 || m->append.count > LIMIT_RAFT_APPEND_ENTRIES ||
        m->append.prev_index > UINT64_MAX / 2 ||
        (m->append.prev_index == 0) != (m->append.prev_term == 0) ||
        m->append.prev_term > m->term) {
        return false;
    }
    if (m->append.count == 0) {
        return event->message.configuration_count == 0;
    }
    if (m->append.entry_term == 0 || m->append.entry_term > m->term ||
        m->append.entry_term < m->append.prev_term || event->message.entries == NULL) {
        return false;
    }
    uint64_t before = m->append.prev_index;
    for (uint32_t i = 0; i < event->message.configuration_count; i++) {
        const struct raft_configuration_at *at = &event->message.configurations[i];
        if (at->index <= before || at->index > m->append.prev_index + m->append.count ||
            !raft_configuration_is_valid(&at->configuration)) {
            return false;
        }
        before = at->index;
    }
    return true;
}

/* Takes entries from..to, numbers of the message, into the log. */
static void take(struct raft *raft, uint64_t now_ms, const struct raft_event *event, uint32_t skip,
                 struct raft_output *output) {
    const struct raft_message *m = event->message.message;
    uint64_t first = m->append.prev_index + 1 + skip;
    uint32_t count = m->append.count - skip;
    raft_disk_awaited(raft, now_ms);
    output->append = (struct raft_append){.first = first,
                                          .count = count,
                                          .term = m->append.entry_term,
                                          .cuts = raft->cuts,
                                          .received = true,
                                          .skip = skip,
                                          .kind = event->message.entries[skip].kind};
    for (uint32_t i = skip; i < m->append.count; i++) {
        raft_sizes_add(&raft->sizes, m->append.prev_index + 1 + i, event->message.entries[i].size);
    }
    raft_log_append(&raft->log, m->append.entry_term, count);
    for (uint32_t i = 0; i < event->message.configuration_count; i++) {
        const struct raft_configuration_at *at = &event->message.configurations[i];
        if (at->index >= first) {
            raft_push_configuration(raft, &at->configuration, at->index);
        }
    }
}

/* The number of the first entry that is not in the log already; count: all are. */
static uint32_t count_known(const struct raft *raft, const struct raft_message *m) {
    uint64_t end = m->append.prev_index + m->append.count;
    uint64_t index = m->append.prev_index + 1;
    if (index <= raft->commit) {
        index = raft->commit + 1;
    }
    while (index <= end && index <= raft->log.last &&
           raft_log_term(&raft->log, index) == m->append.entry_term) {
        index = raft_log_run_end(&raft->log, index) + 1; /* equal terms: equal entries (3.5) */
    }
    return index > end ? m->append.count : (uint32_t)(index - m->append.prev_index - 1);
}

static void take_commit(struct raft *raft, uint64_t commit) {
    uint64_t index = commit < raft->verified ? commit : raft->verified;
    if (MUTANT(follower_commit_unverified)) {
        index = commit < raft->log.last ? commit : raft->log.last;
    }
    if (index > raft->commit) {
        raft->commit = index;
    }
}

static void take_round(struct raft *raft, const struct raft_message *m, bool *ret_new) {
    *ret_new = m->append.round > raft->round_seen;
    if (*ret_new) {
        raft->round_seen = m->append.round;
        raft->round_seen_at_ms = m->append.sent_at_ms;
    }
    if (m->append.repair_to > 0 && m->append.repair_life == raft->life && raft->repair_to == 0) {
        raft->repair_to = m->append.repair_to;
    }
}

void raft_receive_append(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                         struct raft_output *output) {
    const struct raft_message *m = event->message.message;
    if (!is_sound(event) || (raft->role == RAFT_LEADER && m->term == raft->hard_state.term)) {
        return;
    }
    if (!raft_follow(raft, now_ms, m, output)) {
        begin_answer(raft, &m->from); /* its term makes the old leader step down */
        return;
    }
    bool new_round;
    take_round(raft, m, &new_round);
    if (raft->receiving.installing) {
        raft_answer_append(raft);
        return;
    }
    bool matches = m->append.prev_index <= raft->commit ||
                   raft_log_term(&raft->log, m->append.prev_index) == m->append.prev_term ||
                   (MUTANT(append_unchecked) && m->append.prev_index <= raft->log.last);
    if (!matches) {
        refuse(raft, m);
        return;
    }
    uint32_t known = count_known(raft, m);
    if (known < m->append.count) {
        uint64_t first = m->append.prev_index + 1 + known;
        /* Not from a leader: within a term its log only grows, and its terms never fall (3.5). */
        if (first <= raft->verified ||
            raft_log_term(&raft->log, first - 1) > m->append.entry_term) {
            return;
        }
        if (first <= raft->log.last && !MUTANT(conflict_kept)) {
            raft_truncate(raft, first, output); /* 3.5: the leader's log is the truth */
        }
        if (first == raft->log.last + 1) {
            take(raft, now_ms, event, known, output);
        }
    }
    uint64_t end = m->append.prev_index + m->append.count;
    if (end > raft->verified && end <= raft->log.last) {
        raft->verified = end;
    }
    take_commit(raft, m->append.commit);
    if (new_round || known == m->append.count || MUTANT(ack_before_persisted)) {
        raft_answer_append(raft);
    }
}

/* All that the leader held when it heard of the repair is here and durable. */
void raft_judge_repair(struct raft *raft, struct raft_output *output) {
    uint64_t have = raft->persisted < raft->verified ? raft->persisted : raft->verified;
    output->repaired = raft->repairing && raft->role == RAFT_FOLLOWER && raft->repair_to > 0 &&
                       have >= raft->repair_to;
}
