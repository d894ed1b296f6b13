/* sim_pool --seed N | --seeds FROM:COUNT [--bug NAME]; --bugs; --list-bugs; and the figures. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "tests/sim/pool_sim.h"

struct options {
    uint64_t from;
    uint64_t count;
    uint64_t members;
    const char *bug;
    const char *mode; /* bugs, list-bugs or a figure */
    bool plain;
};

static int usage(void) {
    fprintf(stderr,
            "usage: sim_pool --seed N | --seeds FROM:COUNT [--bug NAME]\n"
            "       sim_pool --bugs | --list-bugs\n"
            "       sim_pool --detect [--members N] [--seeds 1:RUNS]    how soon a death is known\n"
            "       sim_pool --paused [--members N] [--seeds FROM:COUNT] [--plain]\n"
            "                                           who is evicted while others are paused\n"
            "       sim_pool --join [--members N]       how soon a new member is known\n"
            "       sim_pool --restart [--members N]    all at once\n"
            "       sim_pool --traffic                  by size of the pool\n");
    return 2;
}

/* In a child: a bug may well break an invariant and abort. True: the run was clean. */
static bool run_apart(uint64_t seed, const char *bug, bool quiet) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        char message[256];
        uint64_t steps = 0, changes = 0;
        pool_mutant_choose(bug);
        if (quiet && freopen("/dev/null", "w", stderr) == NULL) {
            _exit(3);
        }
        bool clean = pool_run_seed(seed, message, &steps, &changes);
        if (!clean) {
            fprintf(stderr, "%s\n", message);
        }
        _exit(clean ? 0 : 1);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("sim_pool");
        exit(3);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int run_all_bugs(void) {
    int missed = 0;
    for (uint32_t i = 0; i < pool_mutant_count; i++) {
        const struct pool_mutant *mutant = &pool_mutants[i];
        bool found = !run_apart(mutant->seed, mutant->name, true);
        bool clean = run_apart(mutant->seed, NULL, false);
        if (!found || !clean) {
            missed++;
            printf("sim_pool --seed %" PRIu64 " --bug %s: %s\n", mutant->seed, mutant->name,
                   !clean ? "fails without the bug" : "the bug is not found");
        }
    }
    printf("%u bugs, %d missed\n", pool_mutant_count, missed);
    return missed > 0;
}

/* Looks for the first seed that finds a bug and is clean without it. */
static int find_bug(const struct options *options) {
    for (uint64_t seed = options->from; seed < options->from + options->count; seed++) {
        if (!run_apart(seed, options->bug, options->count > 1)) {
            printf("found: sim_pool --seed %" PRIu64 " --bug %s\n", seed, options->bug);
            return 1;
        }
    }
    printf("%s: not found\n", options->bug);
    return 0;
}

static int run_seeds(const struct options *options) {
    uint64_t steps = 0, changes = 0;
    int failed = 0;
    for (uint64_t seed = options->from; seed < options->from + options->count; seed++) {
        char message[256];
        if (!pool_run_seed(seed, message, &steps, &changes)) {
            printf("sim_pool --seed %" PRIu64 ": %s\n", seed, message);
            failed = 1;
        }
    }
    printf("%" PRIu64 " seeds: %" PRIu64 " steps, %" PRIu64 " changes\n", options->count, steps,
           changes);
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
    static const char *const modes[] = {"--bugs", "--list-bugs", "--detect", "--paused",
                                        "--join", "--restart",   "--traffic"};
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? v[i + 1] : "";
        bool known = false;
        for (size_t k = 0; k < sizeof modes / sizeof modes[0]; k++) {
            if (strcmp(v[i], modes[k]) == 0) {
                options->mode = modes[k] + 2;
                known = true;
            }
        }
        if (known) {
            continue;
        }
        if (strcmp(v[i], "--plain") == 0) {
            options->plain = true;
            continue;
        }
        if (strcmp(v[i], "--seed") == 0 && str_parse_u64(value, &options->from)) {
            options->count = 1;
        } else if (strcmp(v[i], "--bug") == 0 && pool_mutant_choose(value)) {
            options->bug = value;
        } else if (!(strcmp(v[i], "--seeds") == 0 && parse_seeds(value, options)) &&
                   !(strcmp(v[i], "--members") == 0 && str_parse_u64(value, &options->members))) {
            return false;
        }
        i++;
    }
    return options->mode != NULL || options->count > 0;
}

static int list_bugs(void) {
    for (uint32_t k = 0; k < pool_mutant_count; k++) {
        printf("%-32s %-60s seed %" PRIu64 "\n", pool_mutants[k].name, pool_mutants[k].rule,
               pool_mutants[k].seed);
    }
    return 0;
}

static int run_mode(const struct options *options) {
    const char *mode = options->mode;
    uint32_t members = (uint32_t)options->members;
    if (strcmp(mode, "bugs") == 0) {
        return run_all_bugs();
    }
    if (strcmp(mode, "list-bugs") == 0) {
        return list_bugs();
    }
    if (strcmp(mode, "detect") == 0) {
        return pool_figure_detect(members > 0 ? members : 30,
                                  options->count > 0 ? (uint32_t)options->count : 200);
    }
    if (strcmp(mode, "paused") == 0) {
        uint64_t count = options->count > 0 ? options->count : 10;
        return pool_figure_paused(members > 0 ? members : 256, options->from, count,
                                  options->plain);
    }
    if (strcmp(mode, "join") == 0) {
        return pool_figure_join(members > 0 ? members : 10000);
    }
    if (strcmp(mode, "restart") == 0) {
        return pool_figure_restart(members > 0 ? members : 1000);
    }
    return pool_figure_traffic();
}

int main(int count, char **v) {
    struct options options = {0};
    pool_mutant_choose(NULL);
    if (!parse_options(count, v, &options)) {
        return usage();
    }
    if (options.mode != NULL) {
        return run_mode(&options);
    }
    return options.bug != NULL ? find_bug(&options) : run_seeds(&options);
}
