/* sim_disk: see program.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "tests/sim/program.h"
#include "tests/sim/sim.h"

static uint64_t starts, entries, crashes, rots, snapshots;

static void run(uint64_t seed, struct sim_result *ret) {
    struct sim *sim = mem_calloc(1, sizeof *sim);
    ret->clean = sim_run(sim, seed);
    memcpy(ret->message, sim->message, sizeof ret->message);
    starts += sim->starts;
    entries += sim->known;
    crashes += sim->crashes;
    rots += sim->rots;
    snapshots += sim->snapshots;
    ret->hash = hash_bytes(0, sim->facts, sizeof sim->facts) + rand_next(&sim->rand);
    free(sim);
}

static void summary(void) {
    printf("%" PRIu64 " starts, %" PRIu64 " crashes, %" PRIu64 " rots, %" PRIu64
           " snapshots, %" PRIu64 " entries\n",
           starts, crashes, rots, snapshots, entries);
}

int main(int count, char **v) {
    static const struct sim_program program = {
        .name = "sim_disk", .usage = "", .run = run, .summary = summary};
    return sim_main(&program, count, v);
}
