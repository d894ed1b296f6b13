/* `cairn watch` (contract 3.6, 3.9). */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/command.h"
#include "agent/command_client.h"
#include "agent/command_process.h"
#include "base/json.h"
#include "checks/watch_plan.h"

#define WAIT_S 300
#define JSON_BYTES_MAX (512 * 1024 * 1024)

struct watch_command {
    struct client *client;
    struct arena arena;
    struct command_line line;
    struct watch_plan plan;
    struct watch_seen seen;
    const char *passing_only;
    bool shell;
};

static _Atomic bool interrupted;

static enum err ask(struct watch_command *command, struct arena *arena, bool *ret_news,
                    const char **ret_payload, uint64_t *ret_index, struct err_text *text) {
    struct client_answer answer = {.status = 0};
    const char *target = watch_plan_target(&command->plan, &command->seen, WAIT_S, arena);
    enum err err = client_exchange(command->client, "GET", target, NULL, 0, NULL, 0, &answer, text);
    if (err == ERR_OK) {
        err = watch_plan_take(&command->plan, &command->seen, answer.status, answer.index,
                              answer.body.count > 0 ? answer.body.data : "", answer.body.count,
                              arena, ret_news, ret_payload, ret_index, text);
    }
    buf_clear(&answer.body);
    return err;
}

static void print_payload(const char *payload) {
    struct buf out;
    struct json json;
    buf_init(&out, JSON_BYTES_MAX);
    json_init(&json, &out, true);
    json_raw(&json, payload);
    buf_append_byte(&out, '\n');
    fwrite(out.data, 1, out.count, stdout);
    buf_clear(&out);
}

/* ---- the child ---- */

/* False: it failed, or a signal ended the watching. */
static bool run_child(const struct watch_command *command, const char *payload, uint64_t index,
                      struct arena *arena) {
    char **args =
        process_arguments(command->line.args, command->line.arg_count, command->shell, arena);
    int input = memfd_create("answer", MFD_CLOEXEC);
    ssize_t size = (ssize_t)strlen(payload);
    if (input < 0 || write(input, payload, (size_t)size) != size || write(input, "\n", 1) != 1 ||
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

/* While the agent is asked, a signal ends the program; while the child runs, it is the child's. */
static void hear_signals(bool on) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(on ? SIG_UNBLOCK : SIG_BLOCK, &signals, NULL);
}

/* The exit code, or -1: go on. */
static int turn(struct watch_command *command, unsigned *failures) {
    struct arena arena;
    struct err_text text = {""};
    const char *payload = NULL;
    uint64_t index = 0;
    bool news = false, once = command->line.arg_count == 0;
    int code = -1;
    arena_init(&arena);
    hear_signals(true);
    enum err err = ask(command, &arena, &news, &payload, &index, &text);
    if (err != ERR_OK && once) {
        fprintf(stderr, "Error querying Consul agent: %s\n", text.s);
        code = 1;
    } else if (err != ERR_OK) {
        fprintf(stderr, "Watch errored: type: %s error: %s\n", command->plan.type, text.s);
        sleep(watch_retry_s(++*failures));
    } else {
        *failures = 0;
    }
    hear_signals(false);
    if (news && once) {
        print_payload(payload);
        code = 0;
    } else if (news && !run_child(command, payload, index, &arena)) {
        code = interrupted ? 0 : 1;
    }
    arena_clear(&arena);
    return code;
}

static int watch(struct watch_command *command) {
    unsigned failures = 0;
    int code = -1;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    process_block_signals();
    while (code < 0) {
        code = turn(command, &failures);
    }
    return code;
}

static bool judge(struct watch_command *command) {
    struct err_text text = {""};
    const char *type = command->plan.type, *passing = command->passing_only;
    if (strncmp(type, "connect_", 8) == 0 || strncmp(type, "agent_", 6) == 0) {
        err_set(&text, ERR_INVALID, "Type %.64s is not supported in the CLI tool", type);
    } else if (*passing != '\0' && !str_parse_bool(passing, &command->plan.passing_only)) {
        err_set(&text, ERR_INVALID, "Invalid value for -passingonly: %.64s", passing);
    } else if (watch_plan_judge(&command->plan, &text) == ERR_OK) {
        return true;
    }
    fprintf(stderr, "%s\n", text.s);
    return false;
}

int command_watch(int argc, char **argv) {
    struct watch_command command = {.plan = {.type = ""}, .passing_only = "", .shell = true};
    struct watch_plan *plan = &command.plan;
    const struct command_flag flags[] = {
        {"filter", COMMAND_FLAG_STR, &plan->filter,
         "Of the types services, nodes, service, checks."},
        {"key", COMMAND_FLAG_STR, &plan->key, "Of the type key."},
        {"name", COMMAND_FLAG_STR, &plan->name, "Of the type event: events of this name alone."},
        {"passingonly", COMMAND_FLAG_STR, &command.passing_only,
         "Of the type service: true or false."},
        {"prefix", COMMAND_FLAG_STR, &plan->prefix, "Of the type keyprefix."},
        {"service", COMMAND_FLAG_STR, &plan->service, "Of the types service and checks."},
        {"shell", COMMAND_FLAG_BOOL, &command.shell, "The child is a line for the shell."},
        {"state", COMMAND_FLAG_STR, &plan->state, "Of the type checks."},
        {"tag", COMMAND_FLAG_LIST, &plan->tags, "Of the type service; may be repeated."},
        {"type", COMMAND_FLAG_STR, &plan->type,
         "What is watched: key, keyprefix, services, nodes, service, checks or event."},
    };
    const struct command_spec spec = {
        "watch [options] [CHILD...]",
        "  Runs a program whenever an answer changes, with the answer as its input; without one,\n"
        "  prints the answer once.",
        flags, sizeof flags / sizeof flags[0], COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    int code = 1;
    arena_init(&command.arena);
    plan->key = plan->prefix = plan->service = plan->state = plan->name = plan->filter = "";
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
