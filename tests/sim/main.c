/* sim_disk --seed N | --seeds FROM:COUNT [--bug NAME]; --bugs; --list-bugs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "tests/sim/sim.h"

struct options {
    uint64_t from;
    uint64_t count;
    const char *bug;
    bool all_bugs;
};

static int usage(void) {
    fprintf(stderr, "usage: sim_disk --seed N | --seeds FROM:COUNT [--bug NAME]\n"
                    "       sim_disk --bugs        each planted bug with its pinned seed\n"
                    "       sim_disk --list-bugs\n");
    return 2;
}

/* In a child: a bug may well break an invariant and abort. True: the run was clean. */
static bool run_apart(uint64_t seed, const char *bug, bool quiet) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct sim *sim = calloc(1, sizeof *sim);
        mutant_choose(bug);
        if (quiet && freopen("/dev/null", "w", stderr) == NULL) {
            _exit(3);
        }
        bool clean = sim_run(sim, seed);
        if (!clean) {
            fprintf(stderr, "%s\n", sim->message);
        }
        _exit(clean ? 0 : 1);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("sim_disk");
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
            printf("sim_disk --seed %" PRIu64 " --bug %s: %s\n", mutant->seed, mutant->name,
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
            printf("found: sim_disk --seed %" PRIu64 " --bug %s\n", seed, options->bug);
            return 1;
        }
    }
    printf("%s: not found\n", options->bug);
    return 0;
}

static int run_seeds(const struct options *options) {
    struct sim *sim = calloc(1, sizeof *sim);
    uint64_t starts = 0, entries = 0, crashes = 0, rots = 0, snapshots = 0;
    int failed = 0;
    for (uint64_t seed = options->from; seed < options->from + options->count; seed++) {
        if (!sim_run(sim, seed)) {
            printf("sim_disk --seed %" PRIu64 ": %s\n", seed, sim->message);
            failed = 1;
        }
        starts += sim->starts;
        entries += sim->known;
        crashes += sim->crashes;
        rots += sim->rots;
        snapshots += sim->snapshots;
    }
    printf("%" PRIu64 " seeds: %" PRIu64 " starts, %" PRIu64 " crashes, %" PRIu64 " rots, %" PRIu64
           " snapshots, %" PRIu64 " entries\n",
           options->count, starts, crashes, rots, snapshots, entries);
    free(sim);
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
