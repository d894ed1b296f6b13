#include <stdio.h>
#include <string.h>

#include "agent/command.h"

static void print_json(void) {
    printf("{\n   \"Version\": \"%s\",\n   \"Revision\": \"\",\n   \"Prerelease\": \"\",\n"
           "   \"BuildDate\": \"%s\",\n   \"Cairn\": \"%s\",\n   \"RPC\": {\n      \"Default\": "
           "2,\n      \"Min\": 2,\n"
           "      \"Max\": 3\n   }\n}\n",
           CAIRN_API_VERSION, CAIRN_BUILD_DATE, CAIRN_VERSION);
}

int command_version(int argc, char **argv) {
    const char *format = "pretty";
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i] + (argv[i][0] == '-' && argv[i][1] == '-');
        if (strncmp(arg, "-format=", 8) == 0) {
            format = arg + 8;
        } else if (strcmp(arg, "-format") == 0 && i + 1 < argc) {
            format = argv[++i];
        } else if (strcmp(arg, "-h") == 0 || strcmp(arg, "-help") == 0) {
            printf("Usage: cairn version [options]\n\n  Prints the version of this program.\n\n"
                   "Command Options\n\n  -format=<pretty|json>\n     how to print it\n");
            return 0;
        } else {
            fprintf(stderr, "flag provided but not defined: %s\n", argv[i]);
            return 1;
        }
    }
    if (strcmp(format, "json") == 0) {
        print_json();
        return 0;
    }
    if (strcmp(format, "pretty") != 0) {
        fprintf(stderr, "Invalid output format: %s (supported: pretty, json)\n", format);
        return 1;
    }
    printf("cairn v%s\nConsul v%s (the API that it speaks)\nBuild Date %s\nProtocol 2 spoken by "
           "default, understands 2 to 3 (agent will "
           "automatically use protocol >2 when speaking to compatible agents)\n\n",
           CAIRN_VERSION, CAIRN_API_VERSION, CAIRN_BUILD_DATE);
    return 0;
}
