/* The planted bugs of the gossip core, each with a seed that finds it. */
#include "tests/sim/program.h"

const struct mutant mutants[] = {
    {"refute_keeps_incarnation", "who is accused answers with a higher incarnation", 1},
    {"suspicion_never_shrinks", "independent confirmations shorten a suspicion", 10},
    {"older_incarnation_accepted", "an older incarnation changes nothing", 1},
    {"older_accusation_accepted", "an accusation of an older incarnation is void", 3},
    {"left_resurrected", "who left stays left", 13},
    {"dead_resurrected", "the dead return with a higher incarnation only", 1},
    {"tombstone_resurrected", "a tombstone holds until a higher incarnation", 16},
    {"isolated_judges", "who hears nobody judges nobody", 4},
    {"guard_never_holds", "clients are not evicted in masses", 3},
    {"guard_holds_servers", "the guard holds no servers", 3},
    {"clash_merges", "members of one name are two members", 6},
    {"id_clash_accepted", "a clone does not take a live member's place", 14},
    {"digest_says_equal", "a push/pull repairs what rumours missed", 3},
    {"event_told_again", "a user event is told once", 17},
    {"event_of_earlier_life", "a member hears of no event from before its start", 17},
    {"event_not_in_sync", "push/pulls bring events that rumours missed", 17},
    {"rounds_not_shared", "each member is probed once a round", 186},
};
const uint32_t mutant_count = sizeof mutants / sizeof mutants[0];
