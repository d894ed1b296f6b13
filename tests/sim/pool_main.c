/* sim_pool: see program.h; and the figures. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "tests/sim/pool_sim.h"
#include "tests/sim/program.h"

static uint64_t steps, changes, members;
static const char *figure;
static bool plain;

static void run(uint64_t seed, struct sim_result *ret) {
    uint64_t steps_before = steps, changes_before = changes;
    ret->clean = pool_run_seed(seed, ret->message, &steps, &changes);
    ret->hash = (steps - steps_before) << 32 ^ (changes - changes_before);
}

static void summary(void) {
    printf("%" PRIu64 " steps, %" PRIu64 " changes\n", steps, changes);
}

static int option(const char *name, const char *value) {
    static const char *const figures[] = {"--detect",  "--paused",  "--join",
                                          "--restart", "--traffic", "--wan"};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        if (strcmp(name, figures[i]) == 0) {
            figure = figures[i] + 2;
            return 1;
        }
    }
    if (strcmp(name, "--plain") == 0) {
        plain = true;
        return 1;
    }
    return strcmp(name, "--members") == 0 && str_parse_u64(value, &members) ? 2 : 0;
}

static int show_figure(const struct sim_options *options) {
    uint32_t wanted = (uint32_t)members;
    if (figure == NULL) {
        return -1;
    }
    if (strcmp(figure, "detect") == 0) {
        return pool_figure_detect(wanted > 0 ? wanted : 30,
                                  options->count > 0 ? (uint32_t)options->count : 200);
    }
    if (strcmp(figure, "paused") == 0) {
        uint64_t count = options->count > 0 ? options->count : 10;
        return pool_figure_paused(wanted > 0 ? wanted : 256, options->from, count, plain);
    }
    if (strcmp(figure, "join") == 0) {
        return pool_figure_join(wanted > 0 ? wanted : 10000);
    }
    if (strcmp(figure, "restart") == 0) {
        return pool_figure_restart(wanted > 0 ? wanted : 1000);
    }
    if (strcmp(figure, "wan") == 0) {
        return pool_figure_wan(wanted > 0 ? wanted : 150,
                               options->count > 0 ? (uint32_t)options->count : 20);
    }
    return pool_figure_traffic();
}

int main(int count, char **v) {
    static const struct sim_program program = {
        .name = "sim_pool",
        .usage = "       sim_pool --detect [--members N] [--seeds 1:RUNS]    how soon a death is "
                 "known\n"
                 "       sim_pool --paused [--members N] [--seeds FROM:COUNT] [--plain]\n"
                 "                                           who is evicted while others are "
                 "paused\n"
                 "       sim_pool --join [--members N]       how soon a new member is known\n"
                 "       sim_pool --restart [--members N]    all at once\n"
                 "       sim_pool --traffic                  by size of the pool\n"
                 "       sim_pool --wan [--members N] [--seeds 1:RUNS]      the servers of 50 "
                 "datacenters\n",
        .run = run,
        .summary = summary,
        .option = option,
        .mode = show_figure};
    return sim_main(&program, count, v);
}
