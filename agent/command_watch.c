/* `cairn watch` (contract 3.6, 3.9): kinds key and keyprefix. */
#include <stdatomic.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/command.h"
#include "agent/command_kv.h"
#include "agent/command_process.h"

#define WAIT "300s"
#define RETRY_S 5 /* after a failure, times the square of how many came in a row */
#define RETRY_MAX_S 180
#define JSON_BYTES_MAX (512 * 1024 * 1024)

struct watch_command {
    struct client *client;
    struct arena arena;
    struct command_line line;
    const char *type, *key, *prefix;
    bool shell;
    bool one; /* a key, not a prefix */
    uint64_t index;
};

static _Atomic bool interrupted;

/* ---- the answer as JSON ---- */

static void put_row(struct json *json, const struct kv_row *row) {
    json_object_begin(json);
    json_member_str(json, "Key", row->key);
    json_member_u64(json, "CreateIndex", row->create_index);
    json_member_u64(json, "ModifyIndex", row->modify_index);
    json_member_u64(json, "LockIndex", row->lock_index);
    json_member_u64(json, "Flags", row->flags);
    json_key(json, "Value");
    if (*row->value != '\0') {
        json_str(json, row->value);
    } else {
        json_null(json);
    }
    json_member_str(json, "Session", row->session);
    json_object_end(json);
}

static void put_answer(const struct watch_command *command, const struct decode_objects *rows,
                       bool pretty, struct buf *out) {
    struct json json;
    const struct kv_row *row = rows->v;
    buf_init(out, JSON_BYTES_MAX);
    json_init(&json, out, pretty);
    if (command->one && rows->count == 0) {
        json_null(&json);
    } else if (command->one) {
        put_row(&json, row);
    } else {
        json_array_begin(&json);
        for (uint32_t i = 0; i < rows->count; i++, row++) {
            put_row(&json, row);
        }
        json_array_end(&json);
    }
    buf_append_byte(out, '\n');
}

static enum err ask(struct watch_command *command, struct arena *arena,
                    struct decode_objects *ret_rows, struct err_text *text) {
    struct client_query queries[3];
    size_t count = 0;
    if (!command->one) {
        queries[count++] = (struct client_query){"recurse", NULL};
    }
    if (command->index > 0) {
        queries[count++] = (struct client_query){
            "index", arena_format(arena, "%llu", (unsigned long long)command->index)};
        queries[count++] = (struct client_query){"wait", WAIT};
    }
    uint64_t index;
    enum err err = kv_get(command->client, command->one ? command->key : command->prefix, queries,
                          count, arena, ret_rows, &index, text);
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        command->index = index < command->index ? 0 : index; /* back: from the start */
        return ERR_OK;
    }
    return err;
}

/* ---- the child ---- */

/* False: it failed, or a signal ended the watching. */
static bool run_child(const struct watch_command *command, const struct buf *json, uint64_t index,
                      struct arena *arena) {
    char **args =
        process_arguments(command->line.args, command->line.arg_count, command->shell, arena);
    int input = memfd_create("answer", MFD_CLOEXEC);
    if (input < 0 || write(input, json->data, json->count) != (ssize_t)json->count ||
        lseek(input, 0, SEEK_SET) != 0) {
        fprintf(stderr, "Error executing handler: %s\n", strerror(errno));
        return false;
    }
    pid_t pid = process_start(args, input,
                              arena_format(arena, "CONSUL_INDEX=%llu", (unsigned long long)index));
    close(input);
    if (pid < 0) {
        fprintf(stderr, "Error executing handler: %s: %s\n", args[0], strerror(errno));
        return false;
    }
    bool ended = false;
    int status = 0;
    while (!ended) {
        int number = process_wait(pid, 1000, &ended, &status);
        if (number != 0 && !ended) {
            interrupted = true;
            kill(pid, number);
        }
    }
    bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!well && !interrupted) {
        fprintf(stderr, "Error executing handler: %s %d\n",
                WIFEXITED(status) ? "exit status" : "signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    }
    return well && !interrupted;
}

/* ---- the loop ---- */

static void on_signal(int number) {
    (void)number;
    _exit(0);
}

static void pause_after(unsigned failures) {
    unsigned seconds = RETRY_S * failures * failures;
    sleep(seconds > RETRY_MAX_S ? RETRY_MAX_S : seconds);
}

/* While the agent is asked, a signal ends the program; while the child runs, it is the child's. */
static void hear_signals(bool on) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(on ? SIG_UNBLOCK : SIG_BLOCK, &signals, NULL);
}

static int watch(struct watch_command *command) {
    struct buf last;
    unsigned failures = 0;
    buf_init(&last, JSON_BYTES_MAX);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    process_block_signals();
    int code = -1;
    while (code < 0) {
        struct arena arena;
        struct decode_objects rows;
        struct err_text text;
        struct buf json = {0};
        arena_init(&arena);
        hear_signals(true);
        enum err err = ask(command, &arena, &rows, &text);
        if (err != ERR_OK && command->line.arg_count == 0) {
            fprintf(stderr, "Error querying Consul agent: %s\n", text.s);
            code = 1;
        } else if (err != ERR_OK) {
            fprintf(stderr, "Watch errored: type: %s error: %s\n", command->type, text.s);
            pause_after(++failures);
        } else {
            failures = 0;
            put_answer(command, &rows, command->line.arg_count == 0, &json);
        }
        hear_signals(false);
        bool changed = err == ERR_OK && (last.count != json.count || last.count == 0 ||
                                         memcmp(last.data, json.data, json.count) != 0);
        if (changed && command->line.arg_count == 0) {
            fwrite(json.data, 1, json.count, stdout);
            code = 0;
        } else if (changed && !run_child(command, &json, command->index, &arena)) {
            code = interrupted ? 0 : 1;
        }
        if (err == ERR_OK) {
            buf_clear(&last);
            last = json;
        }
        arena_clear(&arena);
    }
    buf_clear(&last);
    return code;
}

static bool judge(struct watch_command *command) {
    const char *type = command->type;
    if (*type == '\0') {
        fprintf(stderr, "Watch type must be specified\n");
    } else if (strncmp(type, "connect_", 8) == 0 || strncmp(type, "agent_", 6) == 0) {
        fprintf(stderr, "Type %s is not supported in the CLI tool\n", type);
    } else if (strcmp(type, "key") == 0 && *command->key == '\0') {
        fprintf(stderr, "Must specify a single key to watch\n");
    } else if (strcmp(type, "keyprefix") == 0 && *command->prefix == '\0') {
        fprintf(stderr, "Must specify a single prefix to watch\n");
    } else if (strcmp(type, "key") != 0 && strcmp(type, "keyprefix") != 0) {
        fprintf(stderr, "Unsupported watch type: %s\n", type);
    } else {
        command->one = strcmp(type, "key") == 0;
        return true;
    }
    return false;
}

int command_watch(int argc, char **argv) {
    struct watch_command command = {.type = "", .key = "", .prefix = "", .shell = true};
    const struct command_flag flags[] = {
        {"key", COMMAND_FLAG_STR, &command.key, "For the type key."},
        {"prefix", COMMAND_FLAG_STR, &command.prefix, "For the type keyprefix."},
        {"shell", COMMAND_FLAG_BOOL, &command.shell, "The child is a line for the shell."},
        {"type", COMMAND_FLAG_STR, &command.type, "What is watched: key or keyprefix."},
    };
    const struct command_spec spec = {
        "watch [options] [CHILD...]",
        "  Runs a program whenever an answer changes, with the answer as its input; without one,\n"
        "  prints the answer once.",
        flags, sizeof flags / sizeof flags[0], COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    int code = 1;
    arena_init(&command.arena);
    if (command_parse(&spec, argc, argv, &command.arena, &command.line, &code)) {
        code = 1;
        struct err_text text = {""};
        command.client = judge(&command) ? client_create(&command.line.options) : NULL;
        if (command.client != NULL && client_request(command.client, "GET", "/v1/status/leader",
                                                     NULL, 0, NULL, NULL, &text) != ERR_OK) {
            fprintf(stderr, "Error querying Consul agent: %s\n", text.s);
        } else if (command.client != NULL) {
            code = watch(&command);
        }
        client_destroy(command.client);
    }
    arena_clear(&command.arena);
    return code;
}
