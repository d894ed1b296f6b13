/* Reads that need no log entry (6.4), and the lease (6.4.1). */
#include <stdlib.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "raft/internal.h"

/* Clocks run at a rate within 10 % of the true one: what the leader counts, on the slowest clock,
 * is over before the voters' minimum election timeout is on the fastest. */
#define RATE_SLOW 9
#define RATE_FAST 11
#define ROUNDING_MS 2 /* both clocks tell whole milliseconds */

bool raft_is_ready(const struct raft *raft) {
    return raft->role == RAFT_LEADER && raft->commit >= raft->term_start;
}

static uint64_t confirmed_round(const struct raft *raft) {
    const struct raft_configuration *configuration = raft_configuration(raft);
    uint64_t rounds[LIMIT_RAFT_SERVERS];
    for (uint32_t i = 0; i < configuration->count; i++) {
        rounds[i] = i == raft->self_at ? raft->round : raft->peers[i].round;
    }
    return raft_quorum_match(configuration, rounds);
}

static void answer(struct raft *raft, uint64_t ticket, uint64_t index) {
    if (raft->answered_read_count == raft->answered_read_capacity) {
        raft->answered_read_capacity += raft->answered_read_capacity + 8;
        raft->answered_reads = mem_realloc(raft->answered_reads, raft->answered_read_capacity *
                                                                     sizeof *raft->answered_reads);
    }
    raft->answered_reads[raft->answered_read_count++] =
        (struct raft_read){.ticket = ticket, .index = index};
}

enum err raft_read(struct raft *raft, uint64_t ticket) {
    if (raft->role != RAFT_LEADER || (!raft_is_ready(raft) && !MUTANT(read_before_ready))) {
        return ERR_NO_LEADER; /* 6.4 step 1: its commit may be behind an older leader's */
    }
    if (raft_is_sole_voter(raft) || MUTANT(read_without_round)) {
        answer(raft, ticket, raft->commit);
        return ERR_OK;
    }
    if (raft->read_count >= LIMIT_RAFT_READS) {
        return ERR_OVERLOADED;
    }
    if (raft->read_count == raft->read_capacity) {
        raft->read_capacity += raft->read_capacity + 8;
        raft->reads = mem_realloc(raft->reads, raft->read_capacity * sizeof *raft->reads);
    }
    /* 6.4 step 3: a round that begins after the read came in. */
    raft->reads[raft->read_count++] = (struct raft_waiting_read){
        .ticket = ticket, .index = raft->commit, .round = raft->round + 1};
    raft->round_due = true;
    return ERR_OK;
}

void raft_answer_reads(struct raft *raft) {
    if (raft->role != RAFT_LEADER || raft->read_count == 0) {
        return;
    }
    uint64_t round = confirmed_round(raft);
    uint32_t done = 0;
    while (done < raft->read_count && raft->reads[done].round <= round) {
        answer(raft, raft->reads[done].ticket, raft->reads[done].index);
        done++;
    }
    for (uint32_t i = done; done > 0 && i < raft->read_count; i++) {
        raft->reads[i - done] = raft->reads[i];
    }
    raft->read_count -= done;
}

uint64_t raft_lease_until(const struct raft *raft, uint64_t now_ms) {
    const struct raft_configuration *configuration = raft_configuration(raft);
    if (!raft_is_ready(raft)) {
        return 0;
    }
    if (raft_is_sole_voter(raft)) {
        return RAFT_NEVER;
    }
    if (raft->lease_lost) {
        return 0;
    }
    uint64_t sent[LIMIT_RAFT_SERVERS];
    for (uint32_t i = 0; i < configuration->count; i++) {
        /* From the time the round was sent, not from that of its answer. */
        sent[i] = i == raft->self_at ? now_ms : raft->peers[i].round_sent_at_ms;
    }
    uint64_t from = raft_quorum_match(configuration, sent);
    uint64_t length = raft->options.election_ms * (uint64_t)RATE_SLOW / RATE_FAST;
    if (MUTANT(lease_too_long)) {
        length = raft->options.election_ms * 2ull;
    }
    return from == 0 || length <= ROUNDING_MS ? 0 : from + length - ROUNDING_MS;
}
