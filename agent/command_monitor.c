/* `cairn monitor` and `cairn keygen`. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/command.h"
#include "agent/command_client.h"
#include "net/crypto.h"

/* ---- monitor ---- */

/* Lines go out as they come, so there is nothing to flush here. */
static void on_signal(int number) {
    (void)number;
    _exit(0);
}

/* False: nobody reads any more. */
static bool print(void *context, const char *data, size_t size) {
    (void)context;
    for (size_t done = 0; done < size;) {
        ssize_t n = write(STDOUT_FILENO, data + done, size - done);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static int follow(struct client *client, const char *level, bool json) {
    const struct client_query queries[] = {{"loglevel", level}, {"logjson", NULL}};
    struct err_text text = {""};
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    switch (client_stream(client, "/v1/agent/monitor", queries, json ? 2 : 1, print, NULL, &text)) {
    case ERR_OK:
        return 0;
    case ERR_CLOSED:
        fprintf(stderr, "\nRemote side ended the monitor! This usually means that the\n"
                        "remote side has exited or crashed.\n");
        return 1;
    default:
        fprintf(stderr, "Error starting monitor: %s\n", text.s);
        return 1;
    }
}

int command_monitor(int argc, char **argv) {
    const char *level = "INFO";
    bool json = false;
    const struct command_flag flags[] = {
        {"log-json", COMMAND_FLAG_BOOL, &json, "Lines as JSON objects."},
        {"log-level", COMMAND_FLAG_STR, &level, "Least level of lines that are shown."},
    };
    const struct command_spec spec = {"monitor [options]",
                                      "  Shows the log of a running agent until interrupted.",
                                      flags, sizeof flags / sizeof flags[0], COMMAND_SET_CLIENT};
    struct command_line line;
    struct arena arena;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        struct client *client = client_create(&line.options);
        code = client != NULL ? follow(client, level, json) : 1;
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}

/* ---- keygen ---- */

#define KEY_BYTES 32

int command_keygen(int argc, char **argv) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const struct command_spec spec = {
        "keygen", "  Generates a key for the encryption of gossip: 32 random bytes in base64.",
        NULL, 0, 0};
    struct command_line line;
    struct arena arena;
    unsigned char key[KEY_BYTES + 1] = {0}; /* one zero more: 11 groups of three */
    int code = 1;
    arena_init(&arena);
    bool parsed = command_parse(&spec, argc, argv, &arena, &line, &code);
    arena_clear(&arena);
    if (!parsed) {
        return code;
    }
    crypto_random(key, KEY_BYTES);
    char text[45];
    for (size_t i = 0; i < 11; i++) {
        unsigned group =
            (unsigned)key[3 * i] << 16 | (unsigned)key[3 * i + 1] << 8 | (unsigned)key[3 * i + 2];
        for (size_t k = 0; k < 4; k++) {
            text[4 * i + k] = digits[group >> (18 - 6 * k) & 63];
        }
    }
    text[43] = '=';
    text[44] = '\0';
    printf("%s\n", text);
    return 0;
}
