/* Candidacy and leadership: timers, terms, roles (3.4, 9.6). */
#include <string.h>

#include "base/assert.h"
#include "base/mutant.h"
#include "raft/internal.h"

/* 3.4: randomized, so that votes seldom split. */
void raft_rest_election(struct raft *raft, uint64_t now_ms) {
    uint64_t election_ms = raft->options.election_ms;
    raft->election_at_ms = now_ms + election_ms + rand_below(&raft->rand, election_ms);
}

static bool has_quorum(const struct raft *raft) {
    const struct raft_configuration *configuration = raft_configuration(raft);
    uint32_t votes = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        votes += configuration->servers[i].voter && raft->peers[i].granted;
    }
    return votes > raft_configuration_voters(configuration) / 2;
}

static void clear_votes(struct raft *raft) {
    for (uint32_t i = 0; i < raft_configuration(raft)->count; i++) {
        raft->peers[i].granted = false;
    }
}

static void become_leader(struct raft *raft, uint64_t now_ms, struct raft_output *output) {
    raft->role = RAFT_LEADER;
    raft->leader = raft->self;
    raft->leader_known = true;
    raft->pre_voting = false;
    raft->read_count = 0;
    raft->transferring = false;
    raft->lease_lost = false;
    raft->round = 0;
    raft->heartbeat_at_ms = now_ms;
    raft_start_peers(raft, now_ms);
    /* 6.4: entries of older terms commit, and reads may begin, once an entry of this term does. */
    raft->term_start = raft->log.last + 1;
    raft_append_entries(raft, now_ms, RAFT_ENTRY_NO_OP, 1, NULL, output);
}

bool raft_may_campaign(const struct raft *raft) {
    return raft_is_electable(raft) && !raft->disk_failed && raft->may_lead &&
           !raft->hard_state_pending && raft->persisted == raft->log.last &&
           !raft->receiving.installing && !raft->repairing;
}

void raft_campaign(struct raft *raft, uint64_t now_ms, bool transfer, struct raft_output *output) {
    raft->role = RAFT_CANDIDATE;
    raft->leader_known = false;
    raft->leader_contacted = false;
    raft->pre_voting = false;
    raft->transfer_asked = transfer;
    raft->vote_answer_due = false;
    raft->verified = raft->commit;
    clear_votes(raft);
    raft_rest_election(raft, now_ms);
    raft->hard_state = (struct raft_hard_state){
        .term = raft->hard_state.term + 1, .voted = true, .vote = raft->self};
    if (MUTANT(term_reused)) {
        raft->hard_state.term -= raft->hard_state.term > 2;
    }
    raft_write_hard_state(raft, output);
    if (MUTANT(vote_not_persisted)) {
        output->write_hard_state = false;
        raft->hard_state_pending = false;
        raft_vote_persisted(raft, now_ms, output);
    }
}

/* A sole voter needs nobody's answer, so it waits for no timeout (3.4 is about split votes). It
 * waits for its own disk: a leader that cannot write is of no use. */
void raft_campaign_if_alone(struct raft *raft, uint64_t now_ms, struct raft_output *output) {
    /* Not while the voter before it, which has removed itself, may still lead. */
    bool heard =
        raft->leader_contacted && now_ms < raft->leader_contact_at_ms + raft->options.election_ms;
    bool may_wait = heard || now_ms < raft->vote_allowed_at_ms;
    if (raft->role == RAFT_FOLLOWER && raft_is_sole_voter(raft) && raft_may_campaign(raft) &&
        (!may_wait || raft_was_always_alone(raft))) {
        raft_campaign(raft, now_ms, false, output);
    }
}

/* 3.6.1, 3.8: a vote, the own one too, counts once it cannot be forgotten. */
void raft_vote_persisted(struct raft *raft, uint64_t now_ms, struct raft_output *output) {
    if (raft->role != RAFT_CANDIDATE || !raft->hard_state.voted ||
        !raft_id_equal(&raft->hard_state.vote, &raft->self)) {
        return;
    }
    if (raft->self_at < raft_configuration(raft)->count) {
        raft->peers[raft->self_at].granted = true;
    }
    if (has_quorum(raft)) {
        become_leader(raft, now_ms, output);
    } else {
        raft_request_votes(raft, false);
    }
}

void raft_step_down(struct raft *raft, uint64_t now_ms) {
    raft->role = RAFT_FOLLOWER;
    raft->leader_known = false;
    raft->leader_contacted = false;
    raft->pre_voting = false;
    raft->read_count = 0;
    raft->verified = raft->commit;
    raft->acknowledged = 0;
    raft_end_transfer(raft);
    raft_rest_election(raft, now_ms);
    for (uint32_t i = 0; i < raft_configuration(raft)->count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        raft_clear_peer(peer);
        peer->next = peer->from = raft->log.last + 1;
    }
}

/* 3.3: a later term makes a follower of everybody. */
void raft_enter_term(struct raft *raft, uint64_t now_ms, uint64_t term,
                     struct raft_output *output) {
    ASSERT(term > raft->hard_state.term);
    raft_step_down(raft, now_ms);
    raft->hard_state = (struct raft_hard_state){.term = term};
    raft->vote_answer_due = false;
    raft->round_seen = 0;
    raft->round_seen_at_ms = 0;
    raft->repair_to = 0;
    raft_write_hard_state(raft, output);
}

/* 9.6: asks first whether a majority would vote, so that a server that was cut off does not come
 * back with a higher term. */
static void pre_vote(struct raft *raft) {
    clear_votes(raft);
    raft->pre_voting = true;
    if (raft_is_voter(raft)) {
        raft->peers[raft->self_at].granted = true;
    }
    raft_request_votes(raft, true);
}

void raft_election_timer(struct raft *raft, uint64_t now_ms, struct raft_output *output) {
    if (raft->role == RAFT_LEADER || now_ms < raft->election_at_ms) {
        return;
    }
    raft_rest_election(raft, now_ms);
    if (raft->role == RAFT_CANDIDATE && raft->hard_state_pending) {
        return; /* nobody was asked yet */
    }
    raft->role = RAFT_FOLLOWER;
    raft->leader_known = false;
    raft->pre_voting = false;
    if (!raft_may_campaign(raft)) {
        return;
    }
    if (raft_is_sole_voter(raft)) {
        raft_campaign(raft, now_ms, false, output);
    } else {
        pre_vote(raft);
    }
}

void raft_receive_vote_answer(struct raft *raft, uint64_t now_ms, const struct raft_message *m,
                              struct raft_output *output) {
    struct raft_peer *peer = raft_find_peer(raft, &m->from);
    if (peer == NULL || !m->vote_answer.granted) {
        return;
    }
    if (m->vote_answer.pre_vote) {
        if (raft->role == RAFT_FOLLOWER && raft->pre_voting &&
            m->term == raft->hard_state.term + 1) {
            peer->granted = true;
            if (has_quorum(raft) && raft_may_campaign(raft)) {
                raft_campaign(raft, now_ms, false, output);
            }
        }
    } else if (raft->role == RAFT_CANDIDATE && m->term == raft->hard_state.term &&
               !raft->hard_state_pending) {
        peer->granted = true;
        if (has_quorum(raft)) {
            become_leader(raft, now_ms, output);
        }
    }
}
