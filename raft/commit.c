/* Which entries are committed. */
#include "base/assert.h"
#include "base/mutant.h"
#include "raft/internal.h"

uint64_t raft_quorum_match(const struct raft_configuration *configuration, const uint64_t *match) {
    /* Voters' matches, highest first: that of the majority's last member is held by all of it. */
    uint64_t sorted[LIMIT_RAFT_SERVERS];
    uint32_t voters = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (!configuration->servers[i].voter) {
            continue; /* learners count for nothing (4.2.1) */
        }
        uint32_t at = voters++;
        for (; at > 0 && sorted[at - 1] < match[i]; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = match[i];
    }
    ASSERT(voters > 0);
    return sorted[voters / 2];
}

void raft_advance_commit(struct raft *raft) {
    if (raft->role != RAFT_LEADER) {
        return;
    }
    uint64_t index = raft_quorum_match(&raft->configuration, raft->match);
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
