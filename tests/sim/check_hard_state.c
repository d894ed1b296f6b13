#include <string.h>

#include "tests/sim/sim.h"

static bool goes_back(const struct store_vote *from, const struct store_vote *to) {
    if (to->term != from->term) {
        return to->term < from->term;
    }
    return from->voted && (!to->voted || memcmp(from->vote, to->vote, STORE_VOTE_BYTES) != 0);
}

void check_hard_state(struct sim *sim, const struct store_vote *found) {
    if (goes_back(&sim->vote, found)) {
        sim_fail(sim, "hard state went back from term %lu to %lu", sim->vote.term, found->term);
    }
    sim->vote = *found;
}

void check_hard_state_answered(struct sim *sim, const struct store_vote *answered) {
    if (goes_back(&sim->vote, answered)) {
        sim_fail(sim, "hard state was written back from term %lu to %lu", sim->vote.term,
                 answered->term);
    }
    sim->vote = *answered;
}

void check_leader(struct sim *sim, const struct raft_output *output) {
    if (!output->role_changed || output->role != RAFT_LEADER) {
        return;
    }
    if (output->term <= sim->leader_term) {
        sim_fail(sim, "a second leader was elected in term %lu", output->term);
    }
    if (output->term != sim->vote.term || !sim->vote.voted) {
        sim_fail(sim, "a leader of term %lu without a vote on the disk", output->term);
    }
    sim->leader_term = output->term;
}
