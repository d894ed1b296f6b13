#include "tests/sim/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mutant.h"
#include "base/str.h"
#include <sim_commit.h>

static const struct sim_program *program;
static const char *chosen; /* bug */

bool mutant_is_on(const char *name) {
    return chosen != NULL && strcmp(chosen, name) == 0;
}

static const struct mutant *find_mutant(const char *name) {
    for (uint32_t i = 0; i < mutant_count; i++) {
        if (strcmp(mutants[i].name, name) == 0) {
            return &mutants[i];
        }
    }
    return NULL;
}

static int usage(void) {
    fprintf(stderr,
            "usage: %s --seed N | --seeds FROM:COUNT [--bug NAME] [--twice]\n"
            "       %s --bugs        each planted bug with its pinned seed\n"
            "       %s --list-bugs\n%s",
            program->name, program->name, program->name, program->usage);
    return 2;
}

/* In a child: a bug may well break an invariant and abort. True: the run was clean. */
static bool run_apart(uint64_t seed, const char *bug, bool quiet) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct sim_result result = {0};
        chosen = bug;
        if (quiet && freopen("/dev/null", "w", stderr) == NULL) {
            _exit(3);
        }
        program->run(seed, &result);
        fflush(NULL);
        if (!result.clean) {
            fprintf(stderr, "%s\n", result.message);
        }
        _exit(result.clean ? 0 : 1);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror(program->name);
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
            printf("%s --seed %" PRIu64 " --bug %s: %s\n", program->name, mutant->seed,
                   mutant->name, !clean ? "fails without the bug" : "the bug is not found");
        }
    }
    printf("%u bugs, %d missed\n", mutant_count, missed);
    return missed > 0;
}

static int list_bugs(void) {
    for (uint32_t i = 0; i < mutant_count; i++) {
        printf("%-32s %-60s seed %" PRIu64 "\n", mutants[i].name, mutants[i].rule, mutants[i].seed);
    }
    return 0;
}

/* The first seed that finds the bug. */
static int find_bug(const struct sim_options *options) {
    for (uint64_t seed = options->from; seed < options->from + options->count; seed++) {
        if (!run_apart(seed, options->bug, options->count > 1)) {
            printf("found: %s --seed %" PRIu64 " --bug %s\n", program->name, seed, options->bug);
            return 1;
        }
    }
    printf("%s: not found\n", options->bug);
    return 0;
}

static bool run_seed(const struct sim_options *options, uint64_t seed) {
    struct sim_result result = {0}, again = {0};
    program->run(seed, &result);
    if (options->twice && result.clean) {
        program->run(seed, &again);
        if (again.hash != result.hash) {
            result.clean = false;
            snprintf(result.message, sizeof result.message, "runs of one seed went two ways");
        }
    }
    if (!result.clean) {
        /* All that is needed to see it again. */
        printf("%s --seed %" PRIu64 "   at commit %s: %s\n", program->name, seed, SIM_COMMIT,
               result.message);
        fflush(stdout);
    }
    return result.clean;
}

static int run_seeds(const struct sim_options *options) {
    int failed = 0;
    for (uint64_t seed = options->from; seed < options->from + options->count; seed++) {
        failed |= !run_seed(options, seed);
    }
    printf("%" PRIu64 " seeds: ", options->count);
    program->summary();
    return failed;
}

static bool parse_seeds(const char *s, struct sim_options *options) {
    char from[32];
    const char *colon = strchr(s, ':');
    if (colon == NULL || (size_t)(colon - s) >= sizeof from) {
        return false;
    }
    memcpy(from, s, (size_t)(colon - s));
    from[colon - s] = '\0';
    return str_parse_u64(from, &options->from) && str_parse_u64(colon + 1, &options->count);
}

/* How many words it takes; 0: unknown. */
static int parse_option(const char *name, const char *value, struct sim_options *options) {
    if (strcmp(name, "--seed") == 0 && str_parse_u64(value, &options->from)) {
        options->count = 1;
        return 2;
    }
    if (strcmp(name, "--seeds") == 0 && parse_seeds(value, options)) {
        return 2;
    }
    if (strcmp(name, "--bug") == 0 && find_mutant(value) != NULL) {
        options->bug = value;
        return 2;
    }
    if (strcmp(name, "--twice") == 0) {
        options->twice = true;
        return 1;
    }
    return program->option != NULL ? program->option(name, value) : 0;
}

int sim_main(const struct sim_program *self, int count, char **v) {
    struct sim_options options = {0};
    program = self;
    if (count == 2 && strcmp(v[1], "--bugs") == 0) {
        return run_all_bugs();
    }
    if (count == 2 && strcmp(v[1], "--list-bugs") == 0) {
        return list_bugs();
    }
    for (int i = 1; i < count;) {
        int words = parse_option(v[i], i + 1 < count ? v[i + 1] : "", &options);
        if (words == 0) {
            return usage();
        }
        i += words;
    }
    int code = program->mode != NULL ? program->mode(&options) : -1;
    if (code >= 0) {
        return code;
    }
    if (options.count == 0) {
        return usage();
    }
    return options.bug != NULL ? find_bug(&options) : run_seeds(&options);
}
