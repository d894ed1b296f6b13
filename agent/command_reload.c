#include <stdio.h>

#include "agent/command.h"
#include "agent/command_client.h"

int command_reload(int argc, char **argv) {
    const struct command_spec spec = {
        "reload [options]", "  Makes the agent read its configuration anew, as SIGHUP does.", NULL,
        0, COMMAND_SET_CLIENT};
    struct command_line line;
    struct arena arena;
    struct err_text text = {""};
    struct client *client = NULL;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        code = 1;
        if (line.arg_count > 0) {
            fprintf(stderr, "Error found unexpected args: %s\n", line.args[0]);
        } else if ((client = client_create(&line.options)) != NULL) {
            code = client_request(client, "PUT", "/v1/agent/reload", NULL, 0, NULL, NULL, &text) !=
                   ERR_OK;
            if (code == 0) {
                printf("Configuration reload triggered\n");
            } else {
                fprintf(stderr, "Error reloading: %s\n", text.s);
            }
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}
