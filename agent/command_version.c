#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_flags.h"

static void print_json(void) {
    printf("{\n   \"Version\": \"%s\",\n   \"Revision\": \"\",\n   \"Prerelease\": \"\",\n"
           "   \"BuildDate\": \"%s\",\n   \"Cairn\": \"%s\",\n   \"RPC\": {\n      \"Default\": "
           "2,\n      \"Min\": 2,\n"
           "      \"Max\": 3\n   }\n}\n",
           CAIRN_API_VERSION, CAIRN_BUILD_DATE, CAIRN_VERSION);
}

static void print_pretty(void) {
    printf("cairn v%s\nConsul v%s (the API that it speaks)\nBuild Date %s\nProtocol 2 spoken by "
           "default, understands 2 to 3 (agent will "
           "automatically use protocol >2 when speaking to compatible agents)\n\n",
           CAIRN_VERSION, CAIRN_API_VERSION, CAIRN_BUILD_DATE);
}

int command_version(int argc, char **argv) {
    const char *format = "pretty";
    const struct command_flag flags[] = {
        {"format", COMMAND_FLAG_STR, &format, "pretty or json. The default is pretty."},
    };
    const struct command_spec spec = {"version [options]", "  Prints the version of this program.",
                                      flags, 1, 0};
    struct command_line line;
    struct arena arena;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        code = 0;
        if (strcmp(format, "json") == 0) {
            print_json();
        } else if (strcmp(format, "pretty") == 0) {
            print_pretty();
        } else {
            fprintf(stderr, "Invalid format, valid formats are {pretty, json}: %s\n", format);
            code = 1;
        }
    }
    arena_clear(&arena);
    return code;
}
