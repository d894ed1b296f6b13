/* sim_regions: see program.h; --trace prints what happens. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "tests/sim/program.h"
#include "tests/sim/regions/regions.h"

static struct totals {
    uint64_t writes, lookups, away, looks, stale, kills, wipes, wan_bytes, oldest_ms;
} t;
static struct shape shape = {.regions = 5};

static void run(uint64_t seed, struct sim_result *ret) {
    struct world *world = mem_calloc(1, sizeof *world);
    ret->clean = world_run(world, seed, &shape);
    memcpy(ret->message, world->message, sizeof ret->message);
    t.writes += world->writes;
    t.lookups += world->lookups;
    t.away += world->away;
    t.looks += world->looks;
    t.stale += world->stale;
    t.kills += world->kills;
    t.wipes += world->wipes;
    t.wan_bytes += world->wan_bytes;
    t.oldest_ms = t.oldest_ms > world->oldest_ms ? t.oldest_ms : world->oldest_ms;
    ret->hash = world->hash ^ rand_next(&world->rand);
    free(world);
}

static void summary(void) {
    printf("%" PRIu64 " writes, %" PRIu64 " lookups (%" PRIu64 " answered from elsewhere), %" PRIu64
           " looks at mirrors (%" PRIu64 " older than 5 s, the oldest %" PRIu64 " s), %" PRIu64
           " kills, %" PRIu64 " regions lost, %" PRIu64 " MB over the WAN\n",
           t.writes, t.lookups, t.away, t.looks, t.stale, t.oldest_ms / 1000, t.kills, t.wipes,
           t.wan_bytes / 1000000);
}

static int option(const char *name, const char *value) {
    uint64_t regions = 0;
    if (strcmp(name, "--trace") == 0) {
        shape.trace = true;
        return 1;
    }
    if (strcmp(name, "--gentle") == 0) {
        shape.gentle = true;
        return 1;
    }
    if (strcmp(name, "--regions") == 0 && str_parse_u64(value, &regions) && regions >= 2 &&
        regions <= REGIONS_MAX) {
        shape.regions = (uint32_t)regions;
        return 2;
    }
    return 0;
}

int main(int count, char **v) {
    static const struct sim_program program = {
        .name = "sim_regions",
        .usage = "       sim_regions --seed N --trace    and what happened in it\n"
                 "       --regions N                     instead of 5\n"
                 "       --gentle                        links and servers are well\n",
        .run = run,
        .summary = summary,
        .option = option};
    return sim_main(&program, count, v);
}
