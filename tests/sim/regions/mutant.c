/* The planted bugs, each with a seed that finds it. */
#include "tests/sim/program.h"

const struct mutant mutants[] = {
    {"streams_share_numbers", "streams of one connection are told apart", 6},
    {"half_part_counts", "a command told in part is not whole", 4},
    {"gone_untold", "a node that went is told", 1},
    {"any_cluster_resumes", "another cluster's rows are told from scratch", 10},
    {"forgotten_resumes", "nobody goes on behind what is forgotten", 1},
    {"swapped_early", "a mirror answers once it is whole", 2},
    {"age_from_arrival", "age counts from when the source was asked", 1},
    {"lag_forgotten", "the age of what the source knows is added", 1},
    {"home_passed_over", "home's instances first", 1},
    {"sick_elsewhere", "an answer from elsewhere has a healthy instance", 2},
    {"old_as_good", "rows that are not fresh come last", 5},
    {"no_hold_down", "nobody comes home before the hold-down ends", 1},
    {"break_forgotten", "a break begins the hold-down anew", 2},
};
const uint32_t mutant_count = sizeof mutants / sizeof mutants[0];
