#include "agent/command_process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"

char **process_arguments(char **args, int count, bool shell, struct arena *arena) {
    char **out = arena_alloc(arena, ((size_t)count + 4) * sizeof *out);
    if (!shell) {
        memcpy(out, args, (size_t)count * sizeof *out);
        out[count] = NULL;
        return out;
    }
    char *line = arena_strdup(arena, "");
    for (int i = 0; i < count; i++) {
        line = arena_format(arena, "%s%s%s", line, i > 0 ? " " : "", args[i]);
    }
    const char *name = str_or_empty(getenv("SHELL"));
    out[0] = arena_strdup(arena, *name != '\0' ? name : "/bin/sh");
    out[1] = arena_strdup(arena, "-c");
    out[2] = line;
    out[3] = NULL;
    return out;
}

static void list_signals(sigset_t *signals) {
    sigemptyset(signals);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGCHLD);
}

void process_block_signals(void) {
    sigset_t signals;
    list_signals(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

static void run_child(char **args, int input, const char *env, int report) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A shell that starts this in the background ignores SIGINT, and its heirs would too: what is
     * forwarded should be heard. */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (input < 0) {
        input = open("/dev/null", O_RDONLY);
    }
    dup2(input, STDIN_FILENO);
    if (env != NULL) {
        putenv((char *)(uintptr_t)env);
    }
    execvp(args[0], args);
    int number = errno;
    if (write(report, &number, sizeof number) < 0) {
        _exit(126);
    }
    _exit(127);
}

pid_t process_start(char **args, int input, const char *env) {
    int report[2], number = 0;
    if (pipe2(report, O_CLOEXEC) != 0) {
        return -1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        run_child(args, input, env, report[1]);
    }
    close(report[1]);
    /* Nothing to read: the program runs, and the pipe closed with it. */
    if (pid > 0 && read(report[0], &number, sizeof number) == (ssize_t)sizeof number) {
        waitpid(pid, NULL, 0);
        pid = -1;
    }
    close(report[0]);
    if (number != 0) {
        errno = number;
    }
    return pid;
}

int process_wait(pid_t pid, int wait_ms, bool *ret_ended, int *ret_status) {
    struct timespec wait = {wait_ms / 1000, wait_ms % 1000 * 1000000L};
    sigset_t signals;
    list_signals(&signals);
    *ret_ended = pid > 0 && waitpid(pid, ret_status, WNOHANG) == pid;
    if (*ret_ended) {
        return 0;
    }
    int number = sigtimedwait(&signals, NULL, &wait);
    *ret_ended = pid > 0 && waitpid(pid, ret_status, WNOHANG) == pid;
    return number == SIGINT || number == SIGTERM ? number : 0;
}
