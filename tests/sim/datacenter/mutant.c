/* The planted bugs, each with a seed that finds it. */
#include "tests/sim/program.h"

const struct mutant mutants[] = {
    {"nothing", "nothing", 1},
};
const uint32_t mutant_count = 0;
