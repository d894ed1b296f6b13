#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/config.h"
#include "base/arena.h"
#include "base/str.h"

struct options {
    bool quiet, help;
    const char *format;
    int first; /* of the paths */
};

static void help(void) {
    printf(
        "Usage: cairn validate [options] FILE_OR_DIRECTORY...\n\n"
        "  Judges configuration as an agent that starts with it does: all the files and folders\n"
        "  together.\n\nCommand Options\n\n"
        "  -config-format=<value>\n     hcl or json: what all of them hold\n\n"
        "  -quiet\n     prints errors only\n\n");
}

/* False: a sentence is on stderr. */
static bool parse(int argc, char **argv, struct options *out) {
    int i = 0;
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        const char *name = argv[i] + (argv[i][1] == '-') + 1;
        if (strcmp(name, "h") == 0 || strcmp(name, "help") == 0) {
            out->help = true;
            return true;
        }
        if (strcmp(name, "quiet") == 0 ||
            (str_starts_with(name, "quiet=") && str_parse_bool(name + 6, &out->quiet))) {
            out->quiet = name[5] == '\0' || out->quiet;
        } else if (str_starts_with(name, "config-format=")) {
            out->format = name + strlen("config-format=");
        } else if (strcmp(name, "config-format") == 0 && i + 1 < argc) {
            out->format = argv[++i];
        } else {
            fprintf(stderr, "flag provided but not defined: -%s\n", name);
            return false;
        }
    }
    out->first = i;
    if (*out->format != '\0' && strcmp(out->format, "hcl") != 0 &&
        strcmp(out->format, "json") != 0) {
        fprintf(stderr, "-config-format must be either 'hcl' or 'json'\n");
        return false;
    }
    if (i == argc) {
        fprintf(stderr, "Must specify at least one config file or directory\n");
        return false;
    }
    return true;
}

int command_validate(int argc, char **argv) {
    struct options options = {.format = ""};
    if (!parse(argc, argv, &options)) {
        return 1;
    }
    if (options.help) {
        help();
        return 0;
    }
    struct arena arena;
    struct config config;
    const char *error = NULL;
    arena_init(&arena);
    enum err err = config_load_files(argv + options.first, argc - options.first, options.format,
                                     &arena, &config, &error);
    for (uint32_t i = 0; !options.quiet && i < config.warnings.count; i++) {
        fprintf(stderr, "%s\n", config.warnings.v[i]);
    }
    if (err != ERR_OK) {
        fprintf(stderr, "Config validation failed: %s\n", error);
    } else if (!options.quiet) {
        printf("Configuration is valid!\n");
    }
    arena_clear(&arena);
    return err == ERR_OK ? 0 : 1;
}
