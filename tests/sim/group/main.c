/* sim_group: see program.h; --trace prints what happens. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/sim/group/group.h"
#include "tests/sim/program.h"

static struct totals {
    uint64_t acked, reads, leases, elections, crashes, installs, repairs, wipes, wakes, changes,
        transfers, truncations, grants, expiries, leaves, forwards;
} t;
static bool trace;

static void run(uint64_t seed, struct sim_result *ret) {
    struct world *world = mem_calloc(1, sizeof *world);
    ret->clean = world_run(world, seed, trace);
    memcpy(ret->message, world->message, sizeof ret->message);
    t.acked += world->acked;
    t.reads += world->reads;
    t.leases += world->lease_reads;
    t.elections += world->elections;
    t.crashes += world->crashes;
    t.installs += world->installs;
    t.repairs += world->repairs;
    t.wipes += world->wipes;
    t.wakes += world->watch_wakes;
    t.changes += world->changes;
    t.transfers += world->transfers;
    t.truncations += world->truncations;
    t.grants += world->grants;
    t.expiries += world->expiries;
    t.leaves += world->leaves;
    t.forwards += world->forwards;
    ret->hash = world->hash ^ rand_next(&world->rand);
    free(world);
}

static void summary(void) {
    printf("%" PRIu64 " writes, %" PRIu64 " reads (%" PRIu64 " by lease), %" PRIu64
           " watches, %" PRIu64 " elections, %" PRIu64 " crashes, %" PRIu64 " installs, %" PRIu64
           " repairs, %" PRIu64 " wipes, %" PRIu64 " changes, %" PRIu64 " transfers, %" PRIu64
           " cuts, %" PRIu64 " grants, %" PRIu64 " expiries, %" PRIu64 " leaves, %" PRIu64
           " forwards\n",
           t.acked, t.reads, t.leases, t.wakes, t.elections, t.crashes, t.installs, t.repairs,
           t.wipes, t.changes, t.transfers, t.truncations, t.grants, t.expiries, t.leaves,
           t.forwards);
}

static int option(const char *name, const char *value) {
    (void)value;
    trace = trace || strcmp(name, "--trace") == 0;
    return strcmp(name, "--trace") == 0;
}

int main(int count, char **v) {
    static const struct sim_program program = {
        .name = "sim_group",
        .usage = "       sim_group --seed N --trace    and what happened in it\n",
        .run = run,
        .summary = summary,
        .option = option};
    return sim_main(&program, count, v);
}
