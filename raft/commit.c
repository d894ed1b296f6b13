/* Which entries are committed. */
#include "base/assert.h"
#include "base/mutant.h"
#include "raft/internal.h"

uint64_t raft_quorum_match(const struct raft_configuration *configuration, const uint64_t *values) {
    /* Voters' values, highest first: that of the majority's last member is reached by all of it. */
    uint64_t sorted[LIMIT_RAFT_SERVERS];
    uint32_t voters = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (!configuration->servers[i].voter && !MUTANT(learner_counted)) {
            continue; /* learners count for nothing (4.2.1) */
        }
        uint32_t at = voters++;
        for (; at > 0 && sorted[at - 1] < values[i]; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = values[i];
    }
    ASSERT(voters > 0);
    return sorted[MUTANT(minority_commits) && voters > 2 ? voters / 2 - 1 : voters / 2];
}

void raft_advance_commit(struct raft *raft) {
    if (raft->role != RAFT_LEADER) {
        return;
    }
    const struct raft_configuration *configuration = raft_configuration(raft);
    uint64_t match[LIMIT_RAFT_SERVERS];
    for (uint32_t i = 0; i < configuration->count; i++) {
        /* 10.2.1: the leader's own copy counts once it is durable, not when it is written. */
        match[i] = i == raft->self_at ? raft->persisted : raft->peers[i].match;
    }
    uint64_t index = raft_quorum_match(configuration, match);
    ASSERT(index <= raft->log.last);
    if (index <= raft->commit) {
        return;
    }
    /* 3.6.2: an entry of an older term is never committed by counting; one of the current term
     * commits all before it. */
    if (raft_log_term(&raft->log, index) == raft->hard_state.term || MUTANT(commit_old_term)) {
        raft->commit = index;
    }
}
