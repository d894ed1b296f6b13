#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "checks/checks.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *synopsis;
} commands[] = {
    {"agent", command_agent, "Runs an agent"},
    {"reload", command_reload, "Makes the agent read its configuration anew"},
    {"validate", command_validate, "Judges configuration files and folders"},
    {"version", command_version, "Prints the version"},
};

#define COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *to) {
    fprintf(to,
            "Usage: cairn [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(to, "    %-9s%s\n", commands[i].name, commands[i].synopsis);
    }
    fprintf(to, "\n");
}

static int is_one_of(const char *s, const char *a, const char *b, const char *c) {
    return strcmp(s, a) == 0 || strcmp(s, b) == 0 || strcmp(s, c) == 0;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        usage(stderr);
        return 127;
    }
    if (strcmp(argv[1], CHECKS_HELPER_COMMAND) == 0) { /* for the agent alone, so not listed */
        return checks_helper_main();
    }
    if (is_one_of(argv[1], "-h", "-help", "--help")) {
        usage(stdout);
        return 0;
    }
    if (is_one_of(argv[1], "-v", "-version", "--version")) {
        return command_version(0, NULL);
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 2, argv + 2);
        }
    }
    if (argv[1][0] == '-') {
        fprintf(stderr,
                "Invalid flags before the subcommand. If these flags are for the subcommand, "
                "please put them after the subcommand.\n\n");
        usage(stderr);
        return 1;
    }
    usage(stderr);
    return 127;
}
