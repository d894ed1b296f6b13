/* What the simulators' command lines share: seeds, planted bugs, runs apart from each other.
 *
 *   --seed N | --seeds FROM:COUNT [--bug NAME]    runs, or a search for a seed that finds the bug
 *   --twice                                       each seed two times: both must go the same way
 *   --bugs, --list-bugs                           all pinned pairs of bug and seed
 *
 * A failing run prints one line: how to see it again, and the commit that it was built from. */
#ifndef SIM_PROGRAM_H
#define SIM_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_MESSAGE_BYTES 256

struct mutant {
    const char *name;
    const char *rule; /* what it breaks */
    uint64_t seed;    /* that finds it */
};
/* Each simulator's own. */
extern const struct mutant mutants[];
extern const uint32_t mutant_count;

struct sim_result {
    bool clean;
    char message[SIM_MESSAGE_BYTES]; /* of a run that is not clean */
    uint64_t hash;                   /* of all that happened: equal for equal seeds */
};

struct sim_options {
    uint64_t from, count;
    const char *bug;
    bool twice;
};

struct sim_program {
    const char *name;
    const char *usage; /* of the program's own options, lines; "": it has none */
    /* One run; adds to sums of the program's own. */
    void (*run)(uint64_t seed, struct sim_result *ret_result);
    /* One line about all runs so far, behind the number of seeds. */
    void (*summary)(void);
    /* How many words of the command line it takes; 0: the option is not known. NULL: none is. */
    int (*option)(const char *name, const char *value);
    /* Once all options are read: an exit code, or -1 to go on. May be NULL. */
    int (*mode)(const struct sim_options *options);
};

/* main, whole. */
int sim_main(const struct sim_program *program, int count, char **v);

#endif
