/* RequestVote (3.4, 3.6.1), as a vote and as a pre-vote (9.6). */
#include "base/mutant.h"
#include "raft/internal.h"

void raft_request_votes(struct raft *raft, bool pre_vote) {
    const struct raft_configuration *configuration = raft_configuration(raft);
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (i == raft->self_at || !configuration->servers[i].voter) {
            continue;
        }
        struct raft_message *m =
            raft_add_message(raft, RAFT_MESSAGE_VOTE_REQUEST, &configuration->servers[i].id);
        m->term += pre_vote;
        m->vote_request.last_index = raft->log.last;
        m->vote_request.last_term = raft_log_term(&raft->log, raft->log.last);
        m->vote_request.pre_vote = pre_vote;
        m->vote_request.transfer = !pre_vote && raft->transfer_asked;
    }
}

/* 3.6.1: the log of a server that is voted for holds everything that can be committed. */
static bool is_up_to_date(const struct raft *raft, const struct raft_message *m) {
    uint64_t last_term = raft_log_term(&raft->log, raft->log.last);
    if (MUTANT(vote_ignores_log)) {
        return true;
    }
    return m->vote_request.last_term > last_term ||
           (m->vote_request.last_term == last_term && m->vote_request.last_index >= raft->log.last);
}

/* 4.2.3, 6.4.1: while a leader is there, and for as long as one may believe in its lease. */
static bool is_loyal(const struct raft *raft, uint64_t now_ms, bool transfer) {
    bool restarted = now_ms < raft->vote_allowed_at_ms && !raft_was_always_alone(raft) &&
                     !MUTANT(vote_right_after_restart);
    if (restarted) {
        return true; /* a lease that this server granted before it restarted may still run */
    }
    if (transfer) {
        return false;
    }
    return raft->role == RAFT_LEADER ||
           (raft->leader_contacted &&
            now_ms < raft->leader_contact_at_ms + raft->options.election_ms);
}

static bool can_vote(const struct raft *raft) {
    return !raft->disk_failed && !raft->repairing;
}

static void answer(struct raft *raft, const struct raft_id *to, uint64_t term, bool pre_vote,
                   bool granted) {
    struct raft_message *m = raft_add_message(raft, RAFT_MESSAGE_VOTE_ANSWER, to);
    m->term = term;
    m->vote_answer.pre_vote = pre_vote;
    m->vote_answer.granted = granted;
}

/* Changes nothing here: a promise would be worth nothing. */
static void receive_pre_vote(struct raft *raft, uint64_t now_ms, const struct raft_message *m) {
    bool granted = m->term > raft->hard_state.term && is_up_to_date(raft, m) && can_vote(raft) &&
                   !is_loyal(raft, now_ms, false);
    answer(raft, &m->from, granted ? m->term : raft->hard_state.term, true, granted);
}

void raft_answer_vote(struct raft *raft) {
    if (raft->vote_answer_due && !raft->hard_state_pending) {
        raft->vote_answer_due = false;
        answer(raft, &raft->vote_answer_to, raft->hard_state.term, false, true);
    }
}

void raft_receive_vote_request(struct raft *raft, uint64_t now_ms, const struct raft_message *m,
                               struct raft_output *output) {
    if (m->vote_request.pre_vote) {
        receive_pre_vote(raft, now_ms, m);
        return;
    }
    if (m->term < raft->hard_state.term) {
        answer(raft, &m->from, raft->hard_state.term, false, false);
        return;
    }
    if (is_loyal(raft, now_ms, m->vote_request.transfer)) {
        return; /* and the term stays: a leader that serves is not disrupted (4.2.3) */
    }
    if (m->term > raft->hard_state.term) {
        raft_enter_term(raft, now_ms, m->term, output);
    }
    struct raft_hard_state *state = &raft->hard_state;
    bool free = !state->voted || raft_id_equal(&state->vote, &m->from) || MUTANT(votes_twice);
    if (!free || !can_vote(raft) || raft->role != RAFT_FOLLOWER || raft->leader_known ||
        !is_up_to_date(raft, m)) {
        answer(raft, &m->from, state->term, false, false);
        return;
    }
    if (!state->voted || !raft_id_equal(&state->vote, &m->from)) {
        state->voted = true;
        state->vote = m->from;
        raft_write_hard_state(raft, output);
        if (MUTANT(peer_vote_not_persisted)) {
            output->write_hard_state = false;
            raft->hard_state_pending = false;
        }
    }
    raft_rest_election(raft, now_ms);
    raft->pre_voting = false;
    raft->vote_answer_due = true;
    raft->vote_answer_to = m->from;
    raft_answer_vote(raft);
}
