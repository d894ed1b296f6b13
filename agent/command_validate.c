#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_flags.h"
#include "agent/config.h"

static int judge(const struct command_line *line, const char *format, bool quiet,
                 struct arena *arena) {
    struct config config;
    const char *error = NULL;
    enum err err =
        config_load_files(line->args, line->arg_count, format, false, arena, &config, &error);
    for (uint32_t i = 0; !quiet && i < config.warnings.count; i++) {
        fprintf(stderr, "%s\n", config.warnings.v[i]);
    }
    if (err != ERR_OK) {
        fprintf(stderr, "Config validation failed: %s\n", error);
    } else if (!quiet) {
        printf("Configuration is valid!\n");
    }
    return err == ERR_OK ? 0 : 1;
}

int command_validate(int argc, char **argv) {
    const char *format = "";
    bool quiet = false;
    const struct command_flag flags[] = {
        {"config-format", COMMAND_FLAG_STR, &format, "hcl or json: what all of them hold."},
        {"quiet", COMMAND_FLAG_BOOL, &quiet, "Prints errors only."},
    };
    const struct command_spec spec = {
        "validate [options] FILE_OR_DIRECTORY...",
        "  Judges configuration as an agent that starts with it does: all the files and folders\n"
        "  together.",
        flags, 2, 0};
    struct command_line line;
    struct arena arena;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        code = 1;
        if (*format != '\0' && strcmp(format, "hcl") != 0 && strcmp(format, "json") != 0) {
            fprintf(stderr, "-config-format must be either 'hcl' or 'json'\n");
        } else if (line.arg_count == 0) {
            fprintf(stderr, "Must specify at least one config file or directory\n");
        } else {
            code = judge(&line, format, quiet, &arena);
        }
    }
    arena_clear(&arena);
    return code;
}
