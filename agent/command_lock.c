/* `cairn lock` (contract 3.6). */
#include "agent/command_lock.h"

#include <stdatomic.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/command.h"
#include "agent/command_process.h"
#include "base/duration.h"

#define GRACE_MS 5000 /* between SIGTERM and SIGKILL */
#define LOOK_MS 100   /* how often a lost lock is looked for */

struct lock_command {
    struct lock lock;
    bool pass_stdin, shell, child_exit_code;
    char **args;
    int arg_count;
};

static void say(const struct lock_command *command, const char *sentence) {
    if (command->lock.options.verbose) {
        printf("%s\n", sentence);
        fflush(stdout);
    }
}

/* ---- waiting for the lock, with signals heard ---- */

struct attempt {
    struct lock *lock;
    enum err err;
    struct err_text text;
    _Atomic bool done;
};

static void *attempt_run(void *context) {
    struct attempt *attempt = context;
    attempt->err = lock_acquire(attempt->lock, &attempt->text);
    attempt->done = true;
    return NULL;
}

static enum err acquire(struct lock_command *command, struct err_text *text) {
    struct attempt attempt = {.lock = &command->lock};
    pthread_t thread;
    bool ended;
    int status;
    if (pthread_create(&thread, NULL, attempt_run, &attempt) != 0) {
        return err_set(text, ERR_IO, "cannot start a thread");
    }
    while (!attempt.done) {
        if (process_wait(-1, 20, &ended, &status) != 0) {
            command->lock.interrupted = true;
        }
    }
    pthread_join(thread, NULL);
    *text = attempt.text;
    return attempt.err;
}

/* ---- the child ---- */

/* Signals go on to the child; once it should end it has a time for it. True: it went well. */
static bool follow_child(struct lock_command *command, pid_t pid) {
    bool ended = false;
    int status = 0, waited_ms = 0;
    bool ending = false, killed = false;
    while (!ended) {
        int number = process_wait(pid, LOOK_MS, &ended, &status);
        if (ended) {
            break;
        }
        if (number != 0) {
            kill(pid, number);
        } else if (!ending && command->lock.lost) {
            fprintf(stderr, "Lock lost, killing child\n");
            kill(pid, SIGTERM);
        }
        if (number != 0 && !ending) {
            say(command, "Shutdown triggered, killing child");
        }
        waited_ms = ending && number == 0 ? waited_ms + LOOK_MS : waited_ms;
        ending = ending || number != 0 || command->lock.lost;
        if (ending && waited_ms >= GRACE_MS && !killed) {
            killed = true;
            kill(pid, SIGKILL);
        }
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int run_child(struct lock_command *command) {
    char **args =
        process_arguments(command->args, command->arg_count, command->shell, &command->lock.arena);
    say(command, "Starting handler");
    pid_t pid =
        process_start(args, command->pass_stdin ? STDIN_FILENO : -1, "CONSUL_LOCK_HELD=true");
    if (pid < 0) {
        fprintf(stderr, "Error executing handler: %s: %s\n", args[0], strerror(errno));
        return 2;
    }
    return follow_child(command, pid) ? 0 : 2;
}

static int run(struct lock_command *command, const struct command_options *options) {
    struct lock *lock = &command->lock;
    struct err_text text = {""}, end_text = {""};
    enum err err = lock_open(lock, options, &text);
    int code = 1;
    if (err == ERR_OK) {
        say(command, "Attempting lock acquisition");
        err = acquire(command, &text);
    }
    if (err == ERR_OK) {
        say(command, "Lock acquired");
        lock_monitor(lock, options);
        code = run_child(command);
        code = command->child_exit_code ? code : 0;
    } else if (err == ERR_TIMEOUT || err == ERR_CLOSED) {
        fprintf(stderr, "Shutdown triggered or timeout during lock acquisition\n");
    } else {
        fprintf(stderr, "Lock acquisition failed: %s\n", text.s);
    }
    bool held = err == ERR_OK && !lock->lost;
    if (lock_close(lock, &end_text) != ERR_OK && held) {
        fprintf(stderr, "Lock release failed: %s\n", end_text.s);
        code = 1;
    }
    return code;
}

/* ---- arguments ---- */

static bool judge(const struct command_line *line, struct lock_command *command,
                  const char *timeout, const char *try) {
    struct lock_options *options = &command->lock.options;
    struct err_text text;
    int64_t ns = 0;
    const char *given = *timeout != '\0' ? timeout : try;
    if (line->arg_count < 2) {
        fprintf(stderr, "Key prefix and child command must be specified\n");
        return false;
    }
    if (options->holders <= 0) {
        fprintf(stderr, "Lock holder limit must be positive\n");
        return false;
    }
    if (*given != '\0' && strcmp(given, "0") != 0 && duration_parse(given, &ns, &text) != ERR_OK) {
        fprintf(stderr, "invalid value \"%s\" for flag -%s: %s\n", given,
                *timeout != '\0' ? "timeout" : "try", text.s);
        return false;
    }
    if (ns < 0) {
        fprintf(stderr, "Timeout must be positive\n");
        return false;
    }
    if (options->monitor_retry < 0) {
        fprintf(stderr, "Number for 'monitor-retry' must be >= 0\n");
        return false;
    }
    options->timeout_ms = (ns + DURATION_MS - 1) / DURATION_MS;
    return true;
}

int command_lock(int argc, char **argv) {
    struct lock_command command = {
        .lock = {.options = {.name = "", .holders = 1, .monitor_retry = 3}}, .shell = true};
    struct lock_options *options = &command.lock.options;
    const char *timeout = "", *try = "";
    const struct command_flag flags[] = {
        {"child-exit-code", COMMAND_FLAG_BOOL, &command.child_exit_code,
         "Ends with 2 if the child failed."},
        {"monitor-retry", COMMAND_FLAG_INT, &options->monitor_retry,
         "How often a failing agent is asked again before the lock counts as lost."},
        {"n", COMMAND_FLAG_INT, &options->holders, "So many may hold it at once: a semaphore."},
        {"name", COMMAND_FLAG_STR, &options->name, "Name of the session."},
        {"pass-stdin", COMMAND_FLAG_BOOL, &command.pass_stdin, "The child reads this input."},
        {"shell", COMMAND_FLAG_BOOL, &command.shell, "The child is a line for the shell."},
        {"timeout", COMMAND_FLAG_STR, &timeout, "Longest wait for the lock; 0 = without end."},
        {"try", COMMAND_FLAG_STR, &try, "The old name of -timeout."},
        {"verbose", COMMAND_FLAG_BOOL, &options->verbose, "Tells what it does."},
    };
    const struct command_spec spec = {
        "lock [options] PREFIX CHILD...",
        "  Runs a program while it holds the lock under a prefix of keys, and ends it when\n"
        "  the lock is lost. Read docs/LOCKS.md before you trust any lock.",
        flags, sizeof flags / sizeof flags[0], COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    struct command_line line;
    int code = 1;
    arena_init(&command.lock.arena);
    if (command_parse(&spec, argc, argv, &command.lock.arena, &line, &code)) {
        code = 1;
        if (judge(&line, &command, timeout, try)) {
            struct arena *arena = &command.lock.arena;
            const char *prefix = line.args[0] + (*line.args[0] == '/');
            size_t size = strlen(prefix);
            while (size > 0 && prefix[size - 1] == '/') {
                size--;
            }
            options->prefix = arena_strndup(arena, prefix, size);
            command.args = line.args + 1;
            command.arg_count = line.arg_count - 1;
            if (*options->name == '\0') {
                char **joined = process_arguments(command.args, command.arg_count, true, arena);
                options->name =
                    arena_format(arena, "Consul lock for '%s' at '%s'", joined[2], options->prefix);
            }
            process_block_signals();
            command.lock.client = client_create(&line.options);
            if (command.lock.client != NULL) {
                code = run(&command, &line.options);
            }
            client_destroy(command.lock.client);
        }
    }
    arena_clear(&command.lock.arena);
    return code;
}
