/* sim_datacenter: see program.h; --trace prints what happens. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "tests/sim/datacenter/datacenter.h"
#include "tests/sim/program.h"

static struct totals {
    uint64_t runs, commands, calls, kills, leaves, wipes, removals, leaders, healed_us, longest_us;
} t;
static struct shape shape;

static void run(uint64_t seed, struct sim_result *ret) {
    struct world *world = mem_calloc(1, sizeof *world);
    ret->clean = world_run(world, seed, &shape);
    memcpy(ret->message, world->message, sizeof ret->message);
    t.runs++;
    t.commands += world->commands;
    t.calls += world->calls;
    t.kills += world->kills;
    t.leaves += world->leaves;
    t.wipes += world->wipes;
    t.removals += world->removals;
    t.leaders += world->leaders;
    t.healed_us += world->healed_us;
    t.longest_us = t.longest_us > world->healed_us ? t.longest_us : world->healed_us;
    ret->hash = world->hash ^ rand_next(&world->rand);
    free(world);
}

static void summary(void) {
    printf("%" PRIu64 " calls of clients, %" PRIu64 " commands, %" PRIu64 " leaders, %" PRIu64
           " kills, %" PRIu64 " leaves, %" PRIu64 " hosts wiped, %" PRIu64
           " removed; equal after %" PRIu64 " s in the mean, %" PRIu64 " s at most\n",
           t.calls, t.commands, t.leaders, t.kills, t.leaves, t.wipes, t.removals,
           (uint64_t)(t.runs > 0 ? t.healed_us / SECOND / t.runs : 0),
           (uint64_t)(t.longest_us / SECOND));
}

static int option(const char *name, const char *value) {
    uint64_t clients = 0;
    if (strcmp(name, "--trace") == 0) {
        shape.trace = true;
        return 1;
    }
    if (strcmp(name, "--gentle") == 0) {
        shape.gentle = true;
        return 1;
    }
    if (strcmp(name, "--clients") == 0 && str_parse_u64(value, &clients) && clients >= 1 &&
        clients <= CLIENTS_MAX) {
        shape.clients = (uint32_t)clients;
        return 2;
    }
    return 0;
}

int main(int count, char **v) {
    static const struct sim_program program = {
        .name = "sim_datacenter",
        .usage = "       sim_datacenter --seed N --trace    and what happened in it\n"
                 "       --clients N                        instead of 6 to 12\n"
                 "       --gentle                           hosts and links are well\n",
        .run = run,
        .summary = summary,
        .option = option};
    return sim_main(&program, count, v);
}
