/* The planted bugs, each with a seed that finds it. */
#include <stddef.h>
#include <string.h>

#include "base/mutant.h"
#include "tests/sim/group/group.h"

const struct mutant mutants[] = {
    {"vote_not_persisted", "a candidacy counts once it is durable", 0},
    {"peer_vote_not_persisted", "a vote is given once it is durable", 0},
    {"votes_twice", "one vote a term", 0},
    {"vote_ignores_log", "a vote goes to a log that is up to date (3.6.1)", 0},
    {"term_reused", "each candidacy has a term of its own", 0},
    {"vote_right_after_restart", "no vote before a lease that may run is over", 0},
    {"vote_against_leader", "no vote while a leader is heard (4.2.3)", 0},
    {"ack_before_persisted", "a follower acknowledges what is on its disk", 0},
    {"commit_unpersisted", "the leader counts itself once its disk has it (10.2.1)", 0},
    {"late_sync_believed", "a late report does not confirm what was overwritten", 0},
    {"frozen_disk_leader", "a leader whose disk hangs steps down", 0},
    {"commit_old_term", "no older term is committed by counting (3.6.2)", 0},
    {"minority_commits", "a commit needs a majority", 0},
    {"learner_counted", "learners count for nothing (4.2.1)", 0},
    {"conflict_kept", "a conflicting suffix goes (3.5)", 0},
    {"append_unchecked", "entries follow one that matches (3.5)", 0},
    {"follower_commit_unverified", "a follower commits what equals the leader's log", 0},
    {"apply_uncommitted", "only what is committed is applied", 0},
    {"apply_again_after_install", "nothing is applied twice after a snapshot", 0},
    {"apply_from_log_start", "nothing is applied twice after a restart", 0},
    {"log_not_reset", "a snapshot replaces a log that does not fit", 0},
    {"read_before_ready", "no read before an entry of the term is committed (6.4)", 0},
    {"read_without_round", "a consistent read costs a round (6.4)", 0},
    {"read_before_apply", "a read waits for its index to be applied (6.4)", 0},
    {"lease_from_answer", "a lease counts from the sending of the round (6.4.1)", 0},
    {"lease_too_long", "a lease allows for clocks 10 % apart", 0},
    {"lease_kept_in_transfer", "no lease once a transfer was begun", 0},
    {"two_changes_at_once", "one membership change at a time (4.1)", 0},
    {"change_before_own_commit", "no change before an own commit (2015)", 0},
    {"repair_ignored", "a server with rot neither votes nor campaigns", 0},
    {"repair_match_kept", "the leader forgets what a rotten server held", 0},
    {"repair_not_noted", "a loss is noted before the log is cut", 0},
    {"rot_cut", "rot is no torn tail", 0},
    {"wiped_keeps_id", "a wiped server comes back as another one", 0},
    {"truncated_not_zeroed", "what was cut cannot come back", 0},
    {"truncated_mark_kept", "the mark comes down before the cut", 0},
    {"tombstone_dropped", "a deleted key keeps its index", 0},
    {"watch_after_read", "nothing falls between a read and its watch", 0},
    {"watch_twice", "a watch is answered once", 0},
    {"install_wakes_nobody", "a snapshot wakes who watches", 0},
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
