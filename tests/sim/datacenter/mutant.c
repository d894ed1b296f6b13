/* The planted bugs, each with a seed that finds it. */
#include "tests/sim/program.h"

const struct mutant mutants[] = {
    {"told_again_and_again", "once all is equal nothing is told", 1},
    {"critical_for_good", "who is back is passing again", 1},
    {"left_stays", "who has left is deregistered", 5},
    {"dead_unnoticed", "who is dead is critical", 3},
    {"dead_remembered", "whom the pool has forgotten is deregistered", 20},
    {"external_reaped", "nodes without an agent are left alone", 1},
    {"failure_counts", "what failed is told again", 6},
    {"unknown_kept", "what its agent does not know is deregistered", 2},
    {"server_not_compared", "once a server is there all is compared", 2},
    {"old_answer_counts", "an answer is of the state that was told", 72},
    {"old_comparison_counts", "what equals an old comparison is not in sync for that", 561},
    {"check_ahead", "a check has the tags of its service", 2316},
    {"stale_view_counts", "the leader changes only what is still so", 446},
    {"agent_row_overwritten", "the leader leaves alone what an agent has told of its node", 1},
};
const uint32_t mutant_count = sizeof mutants / sizeof mutants[0];
