/* sim_group --seed N | --seeds FROM:COUNT [--bug NAME] [--trace]; --bugs; --list-bugs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include <sim_commit.h>
#include "tests/sim/group/group.h"

struct options {
    uint64_t from;
    uint64_t count;
    const char *bug;
    bool all_bugs;
    bool trace;
};

static int usage(void) {
    fprintf(stderr, "usage: sim_group --seed N | --seeds FROM:COUNT [--bug NAME] [--trace]\n"
                    "       sim_group --bugs        each planted bug with its pinned seed\n"
                    "       sim_group --list-bugs\n");
    return 2;
}

/* In a child: a bug may well break an invariant and abort. True: the run was clean. */
static bool run_apart(uint64_t seed, const char *bug, bool quiet) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct world *world = calloc(1, sizeof *world);
        mutant_choose(bug);
        if (quiet && freopen("/dev/null", "w", stderr) == NULL) {
            _exit(3);
        }
        bool clean = world_run(world, seed, false);
        fflush(NULL);
        if (!clean) {
            fprintf(stderr, "%s\n", world->message);
        }
        _exit(clean ? 0 : 1);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("sim_group");
        exit(3);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int run_all_bugs(void) {
    int missed = 0;
    for (uint32_t i = 0; i < mutant_count; i++) {
        const struct mutant *mutant = &mutants[i];
        bool found = !run_apart(mutant->seed, mutant->name, true);
        bool clean = run_apart(mutant->seed, NULL, false);
        if (!found || !clean) {
            missed++;
            printf("sim_group --seed %" PRIu64 " --bug %s: %s\n", mutant->seed, mutant->name,
                   !clean ? "fails without the bug" : "the bug is not found");
        }
    }
    printf("%u bugs, %d missed\n", mutant_count, missed);
    return missed > 0;
}

/* With a bug: looks for the first seed that finds it. */
static int find_bug(const struct options *options) {
    for (uint64_t seed = options->from; seed < options->from + options->count; seed++) {
        if (!run_apart(seed, options->bug, options->count > 1)) {
            printf("found: sim_group --seed %" PRIu64 " --bug %s\n", seed, options->bug);
            return 1;
        }
    }
    printf("%s: not found\n", options->bug);
    return 0;
}

struct totals {
    uint64_t acked, reads, leases, elections, crashes, installs, repairs, wipes, wakes, changes,
        transfers, truncations;
};

static void add(struct totals *totals, const struct world *world) {
    totals->acked += world->acked;
    totals->reads += world->reads;
    totals->leases += world->lease_reads;
    totals->elections += world->elections;
    totals->crashes += world->crashes;
    totals->installs += world->installs;
    totals->repairs += world->repairs;
    totals->wipes += world->wipes;
    totals->wakes += world->watch_wakes;
    totals->changes += world->changes;
    totals->transfers += world->transfers;
    totals->truncations += world->truncations;
}

static int run_seeds(const struct options *options) {
    struct world *world = calloc(1, sizeof *world);
    struct totals t = {0};
    int failed = 0;
    for (uint64_t seed = options->from; seed < options->from + options->count; seed++) {
        if (!world_run(world, seed, options->trace)) {
            /* All that is needed to see it again. */
            printf("sim_group --seed %" PRIu64 "   at commit %s: %s\n", seed, SIM_COMMIT,
                   world->message);
            fflush(stdout);
            failed = 1;
        }
        add(&t, world);
    }
    printf("%" PRIu64 " seeds: %" PRIu64 " writes, %" PRIu64 " reads (%" PRIu64
           " by lease), %" PRIu64 " watches, %" PRIu64 " elections, %" PRIu64 " crashes, %" PRIu64
           " installs, %" PRIu64 " repairs, %" PRIu64 " wipes, %" PRIu64 " changes, %" PRIu64
           " transfers, %" PRIu64 " cuts\n",
           options->count, t.acked, t.reads, t.leases, t.wakes, t.elections, t.crashes, t.installs,
           t.repairs, t.wipes, t.changes, t.transfers, t.truncations);
    free(world);
    return failed;
}

static bool parse_seeds(const char *s, struct options *options) {
    char from[32];
    const char *colon = strchr(s, ':');
    if (colon == NULL || (size_t)(colon - s) >= sizeof from) {
        return false;
    }
    memcpy(from, s, (size_t)(colon - s));
    from[colon - s] = '\0';
    return str_parse_u64(from, &options->from) && str_parse_u64(colon + 1, &options->count);
}

static bool parse_options(int count, char **v, struct options *options) {
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? v[i + 1] : "";
        if (strcmp(v[i], "--seed") == 0 && str_parse_u64(value, &options->from)) {
            options->count = 1;
            i++;
        } else if (strcmp(v[i], "--seeds") == 0 && parse_seeds(value, options)) {
            i++;
        } else if (strcmp(v[i], "--bug") == 0 && mutant_choose(value)) {
            options->bug = value;
            i++;
        } else if (strcmp(v[i], "--trace") == 0) {
            options->trace = true;
        } else if (strcmp(v[i], "--bugs") == 0) {
            options->all_bugs = true;
        } else if (strcmp(v[i], "--list-bugs") == 0) {
            for (uint32_t k = 0; k < mutant_count; k++) {
                printf("%-32s %-60s seed %" PRIu64 "\n", mutants[k].name, mutants[k].rule,
                       mutants[k].seed);
            }
            exit(0);
        } else {
            return false;
        }
    }
    return options->all_bugs || options->count > 0;
}

int main(int count, char **v) {
    struct options options = {0};
    if (!parse_options(count, v, &options)) {
        return usage();
    }
    mutant_choose(NULL);
    if (options.all_bugs) {
        return run_all_bugs();
    }
    return options.bug != NULL ? find_bug(&options) : run_seeds(&options);
}
