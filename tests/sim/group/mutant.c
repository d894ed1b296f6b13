/* The planted bugs, each with a seed that finds it. */
#include <stddef.h>
#include <string.h>

#include "base/mutant.h"
#include "tests/sim/group/group.h"

const struct mutant mutants[] = {
    {"vote_not_persisted", "a candidacy counts once it is durable", 1},
    {"peer_vote_not_persisted", "a vote is given once it is durable", 1},
    {"votes_twice", "one vote a term", 3},
    {"vote_ignores_log", "a vote goes to a log that is up to date (3.6.1)", 3},
    {"term_reused", "each candidacy has a term of its own", 1},
    {"vote_right_after_restart", "no vote before a lease that may run is over", 1},
    {"ack_before_persisted", "a follower acknowledges what is on its disk", 1},
    {"commit_unpersisted", "the leader counts itself once its disk has it (10.2.1)", 1},
    {"frozen_disk_leader", "a leader whose disk hangs steps down", 30},
    {"commit_old_term", "no older term is committed by counting (3.6.2)", 1},
    {"minority_commits", "a commit needs a majority", 1},
    {"learner_counted", "learners count for nothing (4.2.1)", 1},
    {"conflict_kept", "a conflicting suffix goes (3.5)", 1},
    {"append_unchecked", "entries follow one that matches (3.5)", 15},
    {"follower_commit_unverified", "a follower commits what equals the leader's log", 1},
    {"apply_uncommitted", "only what is committed is applied", 1},
    {"apply_again_after_install", "nothing is applied twice after a snapshot", 1},
    {"apply_from_log_start", "nothing is applied twice after a restart", 1},
    {"log_not_reset", "a snapshot replaces a log that does not fit", 2},
    {"read_before_ready", "no read before an entry of the term is committed (6.4)", 1},
    {"read_without_round", "a consistent read costs a round (6.4)", 106},
    {"lease_too_long", "a lease allows for clocks 10 % apart", 317},
    {"lease_kept_in_transfer", "no lease once a transfer was begun", 173},
    {"two_changes_at_once", "one membership change at a time (4.1)", 3},
    {"change_before_own_commit", "no change before an own commit (2015)", 3},
    {"repair_not_noted", "a loss is noted before the log is cut", 2},
    {"rot_cut", "rot is no torn tail", 2},
    {"wiped_keeps_id", "a wiped server comes back as another one", 30},
    {"tombstone_dropped", "a deleted key keeps its index", 1},
    {"watch_after_read", "nothing falls between a read and its watch", 231},
    {"watch_twice", "a watch is answered once", 1},
};
const uint32_t mutant_count = sizeof mutants / sizeof mutants[0];

static const char *chosen;

bool mutant_choose(const char *name) {
    chosen = NULL;
    if (name == NULL) {
        return true;
    }
    for (uint32_t i = 0; i < mutant_count; i++) {
        if (strcmp(mutants[i].name, name) == 0) {
            chosen = mutants[i].name;
            return true;
        }
    }
    return false;
}

bool mutant_is_on(const char *name) {
    return chosen != NULL && strcmp(chosen, name) == 0;
}
