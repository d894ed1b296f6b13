#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_client.h"

static void help(void) {
    printf("Usage: cairn reload [options]\n\n  Makes the agent read its configuration anew, as "
           "SIGHUP does.\n\n");
    client_flags_print(false);
}

int command_reload(int argc, char **argv) {
    struct client_flags flags = {0};
    struct err_text text = {""};
    for (int i = 0; i < argc; i++) {
        const char *name = argv[i] + (argv[i][0] == '-' && argv[i][1] == '-');
        if (strcmp(name, "-h") == 0 || strcmp(name, "-help") == 0) {
            help();
            return 0;
        }
        enum client_flag taken = client_flags_take(&flags, false, argc, argv, &i, &text);
        if (taken != CLIENT_FLAG_TAKEN) {
            fprintf(stderr, "%s%s\n",
                    taken == CLIENT_FLAG_BAD ? text.s
                    : argv[i][0] == '-'      ? "flag provided but not defined: "
                                             : "Error found unexpected args: ",
                    taken == CLIENT_FLAG_BAD ? "" : argv[i]);
            return 1;
        }
    }
    struct client *client = client_open(&flags, &text);
    if (client == NULL) {
        fprintf(stderr, "Error connecting to Consul agent: %s\n", text.s);
        return 1;
    }
    struct client_answer answer;
    enum err err = client_expect(client, "PUT", "/v1/agent/reload", NULL, NULL, &answer, &text);
    if (err == ERR_OK) {
        printf("Configuration reload triggered\n");
        buf_clear(&answer.body);
    } else {
        fprintf(stderr, "Error reloading: %s\n", text.s);
    }
    client_close(client);
    return err == ERR_OK ? 0 : 1;
}
