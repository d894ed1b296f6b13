/* Candidacy and leadership. */
#include <string.h>

#include "base/assert.h"
#include "base/mutant.h"
#include "raft/internal.h"

static bool has_quorum(const struct raft *raft) {
    uint32_t votes = 0;
    for (uint32_t i = 0; i < raft->configuration.count; i++) {
        votes += raft->configuration.servers[i].voter && raft->granted[i];
    }
    return votes > raft_configuration_voters(&raft->configuration) / 2;
}

static void become_leader(struct raft *raft, uint64_t now_ms, struct raft_output *output) {
    raft->role = RAFT_LEADER;
    raft->leader = raft->self;
    raft->leader_known = true;
    memset(raft->match, 0, sizeof raft->match);
    raft->match[raft->self_at] = raft->persisted;
    if (MUTANT(commit_old_term)) {
        raft_advance_commit(raft);
    }
    /* 6.4: entries of older terms commit, and reads may begin, once an entry of this term does. */
    raft->term_start = raft->log.last + 1;
    raft_append_entries(raft, now_ms, RAFT_ENTRY_NO_OP, 1, output);
}

/* A sole voter needs nobody's answer, so it waits for no timeout (3.4 is about split votes). It
 * waits for its own disk: a leader that cannot write is of no use. */
void raft_campaign_if_alone(struct raft *raft, uint64_t now_ms, struct raft_output *output) {
    if (raft->role != RAFT_FOLLOWER || raft->disk_failed || !raft_is_sole_voter(raft) ||
        raft->persisted < raft->log.last || raft->hard_state_pending) {
        return;
    }
    raft->role = RAFT_CANDIDATE;
    raft->leader_known = false;
    memset(raft->granted, 0, sizeof raft->granted);
    raft->hard_state = (struct raft_hard_state){
        .term = raft->hard_state.term + 1, .voted = true, .vote = raft->self};
    if (MUTANT(term_reused)) {
        raft->hard_state.term -= raft->hard_state.term > 2;
    }
    raft->hard_state_pending = true;
    output->write_hard_state = true;
    output->hard_state = raft->hard_state;
    if (MUTANT(vote_not_persisted)) {
        output->write_hard_state = false;
        raft->hard_state_pending = false;
        raft_vote_persisted(raft, now_ms, output);
    }
}

/* 3.6.1, 3.8: a vote, the own one too, counts once it cannot be forgotten. */
void raft_vote_persisted(struct raft *raft, uint64_t now_ms, struct raft_output *output) {
    if (raft->role != RAFT_CANDIDATE || !raft->hard_state.voted ||
        !raft_id_equal(&raft->hard_state.vote, &raft->self)) {
        return;
    }
    ASSERT(raft->self_at < raft->configuration.count);
    raft->granted[raft->self_at] = true;
    if (has_quorum(raft)) {
        become_leader(raft, now_ms, output);
    }
}

void raft_step_down(struct raft *raft) {
    raft->role = RAFT_FOLLOWER;
    raft->leader_known = false;
}
